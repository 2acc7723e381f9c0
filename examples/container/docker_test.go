//go:build linux

package container

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"
)

// A stack is the compose file, run by a real engine. The image is built from the last
// stage of the Dockerfile, so that nothing is pulled.
type stack struct {
	t       *testing.T
	project string
	compose []string // the command, with its files
}

// needEngine skips the test where no engine answers.
func needEngine(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) == "" {
		t.Skipf("no Docker Engine answers: %v: %s", err, out)
	}
}

// newStack builds the image. The test is skipped where no engine answers, or
// nothing reads compose files; all that is made goes with the test.
func newStack(t *testing.T) *stack {
	t.Helper()
	needEngine(t)
	compose := []string{"docker", "compose"}
	if exec.Command("docker", "compose", "version").Run() != nil {
		compose = []string{"docker-compose"}
		if out, err := exec.Command("docker-compose", "version").CombinedOutput(); err != nil {
			t.Skipf("neither docker compose nor docker-compose is there: %v: %s", err, out)
		}
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	i := buildImage(t)
	s := &stack{t: t, project: fmt.Sprintf("doyen-test-%d", os.Getpid())}
	override := i.path("override.yaml")
	s.compose = append(compose, "-p", s.project, "-f", filepath.Join(dir, "compose.yaml"), "-f", override)
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, stage, _ := strings.Cut(string(text), "\nFROM scratch\n")
	stage = "FROM scratch\n" + strings.ReplaceAll(stage, "COPY --from=build /src/bin/agent", "COPY agent")
	for name, text := range map[string]string{
		"Dockerfile":    stage,
		".dockerignore": "*\n!agent\n",
		// The check of the image, more often.
		"override.yaml": fmt.Sprintf("services:\n  %s:\n    image: %s\n    healthcheck: {interval: 1s, retries: 2}\n", service, s.project),
	} {
		if err := os.WriteFile(i.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.output("docker", "rmi", "--force", s.project) }) // after its containers
	s.run("docker", "build", "--force-rm", "-t", s.project, i.dir)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.output(append(slices.Clone(s.compose), "logs", "--no-color")...))
		}
		s.output(append(slices.Clone(s.compose), "down", "--volumes", "--remove-orphans", "--timeout", "5")...)
	})
	return s
}

// output runs a command, which may fail. Cleaning up outlives the test's context.
func (s *stack) output(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%s: %v", out, strings.Join(args, " "), err)
	}
	return string(out)
}

// run runs a command that must succeed.
func (s *stack) run(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// scale has compose run so many containers.
func (s *stack) scale(n int) {
	s.t.Helper()
	s.run(append(slices.Clone(s.compose), "up", "-d", "--no-build", "--no-recreate", "--scale", fmt.Sprintf("%s=%d", service, n))...)
}

// running are the containers that run and are not paused.
func (s *stack) running() []string {
	return strings.Fields(s.run("docker", "ps", "--filter", "label=com.docker.compose.project="+s.project, "--filter", "status=running", "--format", "{{.ID}}"))
}

// state asks a container from outside, at the port that is published for it.
func (s *stack) state(id string) (agent.State, error) {
	var st agent.State
	port, _, _ := strings.Cut(s.output("docker", "port", id, "4000/tcp"), "\n")
	_, port, _ = strings.Cut(port, ":")
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://127.0.0.1:" + port + "/status")
	if err != nil {
		return st, err
	}
	defer answer.Body.Close()
	return st, json.NewDecoder(answer.Body).Decode(&st)
}

// leader waits until n containers run, see one another, and name one leader, which
// alone says that it leads. It returns the leader's container and state.
func (s *stack) leader(n int, not string) (id string, leads agent.State) {
	s.t.Helper()
	trial.Eventually(s.t, patience, func() error {
		ids := s.running()
		if len(ids) != n {
			return fmt.Errorf("want %d containers, got %d", n, len(ids))
		}
		id = ""
		names := map[string]int{}
		for _, i := range ids {
			st, err := s.state(i)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", i, err)
			case st.Leader == nil || len(st.Members) != n:
				return fmt.Errorf("%s names no leader among %d, or sees %v", st.Name, n, st.Members)
			case st.IsLeader && id != "":
				return fmt.Errorf("%s and %s lead", st.Name, leads.Name)
			case st.IsLeader:
				id, leads = i, st
			}
			names[*st.Leader]++
		}
		if id == "" || names[leads.Name] != n || id == not {
			return fmt.Errorf("want one leader that is not %q and that all name, got %v", not, names)
		}
		return nil
	})
	return id, leads
}

// health waits until the engine reports a result of the health check.
func (s *stack) health(id, want string) {
	s.t.Helper()
	trial.Eventually(s.t, patience, func() error {
		if got := s.run("docker", "inspect", "--format", "{{.State.Health.Status}}", id); got != want {
			return fmt.Errorf("%s is %s, want %s", id, got, want)
		}
		return nil
	})
}

// The compose file under a real engine: one leader among five, through everything that is done to
// the leader's container, and after every change of scale.
func TestDocker(t *testing.T) {
	s := newStack(t)
	s.scale(5)
	first, before := s.leader(5, "")
	for _, id := range s.running() {
		s.health(id, "healthy")
	}
	s.checkHealth()

	// Killed: it stays dead until the test starts it.
	s.run("docker", "kill", first)
	second, st := s.leader(4, first)
	if st.Term <= before.Term {
		t.Errorf("want a term above %d, got %d", before.Term, st.Term)
	}
	s.run("docker", "start", first)
	if id, _ := s.leader(5, ""); id != second {
		t.Errorf("want %s to go on leading, got %s", second, id)
	}

	// Ended: the restart policy of the compose file starts it again.
	// The command may go with its container before it has ended.
	s.output("docker", "exec", second, "/agent", "leave")
	third, _ := s.leader(5, second)
	if n := s.run("docker", "inspect", "--format", "{{.RestartCount}}", second); n != "1" {
		t.Errorf("want the engine to have started it again once, got %s", n)
	}

	// Paused: its processes are frozen, and find another leader when they resume. The
	// rule decides which of the two stays.
	s.run("docker", "pause", third)
	trial.Eventually(s.t, patience, func() error {
		for _, id := range s.running() {
			if st, err := s.state(id); err == nil && st.IsLeader && id != third {
				return nil
			}
		}
		return fmt.Errorf("want another leader than %s", third)
	})
	s.run("docker", "unpause", third)
	fourth, _ := s.leader(5, "")

	// Disconnected and connected again.
	s.network("disconnect", fourth)
	trial.Eventually(s.t, patience, func() error {
		for _, id := range s.running() {
			if st, err := s.state(id); err == nil && st.IsLeader && id != fourth {
				return nil
			}
		}
		return fmt.Errorf("want another leader than %s", fourth)
	})
	s.network("connect", fourth)
	s.leader(5, "")

	s.scale(3)
	s.leader(3, "")
	s.scale(7)
	s.leader(7, "")
}

// checkHealth runs a container that never has a leader, so that its health check fails.
// A start period of zero would mean the image's.
func (s *stack) checkHealth() {
	s.t.Helper()
	id := s.run("docker", "run", "--detach", "--health-interval", "1s", "--health-start-period", "1ms", "--health-retries", "2", s.project, "--lone-wait=-1s")
	s.t.Cleanup(func() { s.output("docker", "rm", "--force", id) })
	s.health(id, "unhealthy")
}

// network connects a container to the stack's network, also by the service's name as
// compose does, or disconnects it.
func (s *stack) network(verb, id string) {
	s.t.Helper()
	args := []string{"docker", "network", verb}
	if verb == "connect" {
		args = append(args, "--alias", service)
	}
	s.run(append(args, s.project+"_default", id)...)
}
