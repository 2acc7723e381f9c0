//go:build linux

package container

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"doyen/examples/internal/lan"
)

// The addresses of the two hosts, of a client, and the one that the leader holds.
const (
	plainAddr    = "10.98.0.1"
	dockerAddr   = "10.98.0.2"
	clientAddr   = "10.98.0.3"
	floatingAddr = "10.98.0.10"
)

// A dockerHost is a host with a Docker Engine of its own, whose iptables are rules of
// nftables: it drops what it does not forward, and translates the ports it publishes.
type dockerHost struct {
	*lan.Host
	t      *testing.T
	lan    *lan.LAN
	dir    string
	engine *lan.Program
}

// start starts the engine, and waits until it answers.
func (h *dockerHost) start() {
	h.t.Helper()
	config := strings.ReplaceAll(`{"hosts": ["unix://DIR/docker.sock"], "data-root": "DIR/data", "exec-root": "DIR/exec",
		"pidfile": "DIR/pid", "storage-driver": "vfs", "log-level": "error"}`, "DIR", h.dir)
	// Without a file of its own it reads that of the host's engine.
	if err := os.WriteFile(h.dir+"/daemon.json", []byte(config), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.engine = h.Start("dockerd", "--config-file", h.dir+"/daemon.json")
	h.lan.Eventually(patience, func() error {
		_, err := h.Run("docker", "--host", "unix://"+h.dir+"/docker.sock", "info")
		return err
	})
}

// docker runs a command that must succeed.
func (h *dockerHost) docker(args ...string) {
	h.t.Helper()
	if _, err := h.Run("docker", append([]string{"--host", "unix://" + h.dir + "/docker.sock"}, args...)...); err != nil {
		h.t.Fatal(err)
	}
}

// timeouts are what the agent renews all the time.
var timeouts = regexp.MustCompile(` timeout \w+`)

// rules are the tables of nftables without what changes in them: the agent's, and all
// others.
func (h *dockerHost) rules() (agent, others string) {
	h.t.Helper()
	list, err := h.Run("nft", "--stateless", "list", "ruleset")
	if err != nil {
		h.t.Fatal(err)
	}
	list = timeouts.ReplaceAllString(list, "")
	for table := range strings.SplitSeq(list, "\ntable ") {
		table = strings.TrimSpace(strings.TrimPrefix(table, "table "))
		if _, name, _ := strings.Cut(table, " "); strings.HasPrefix(name, "doyen_") {
			agent += table + "\n"
		} else {
			others += table + "\n"
		}
	}
	return agent, others
}

// An agent with a hook holds a floating address on a host with a Docker Engine, on which
// containers publish ports: it answers from outside, as the ports do, neither changes the
// other's rules, and a restart of the engine changes nothing.
func TestDockerHost(t *testing.T) {
	needEngine(t)
	if _, err := exec.LookPath("dockerd"); err != nil {
		t.Skipf("the Docker Engine runs elsewhere: %v", err)
	}
	l := lan.New(t, []string{"nsenter", "nft"})
	client, plain := l.Host("client", clientAddr+"/24"), l.Host("plain", plainAddr+"/24")
	host := &dockerHost{Host: l.Host("docker", dockerAddr+"/24"), t: t, lan: l, dir: t.TempDir()}
	image := buildImage(t)
	// Docker drops what it does not forward only where it has turned forwarding on itself.
	if err := host.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) }); err != nil {
		t.Fatal(err)
	}
	host.start()
	tar := host.dir + "/image.tar"
	if out, err := exec.Command("tar", "-C", image.dir, "-cf", tar, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	host.docker("import", "--change", `ENTRYPOINT ["/agent"]`, tar, "image")
	host.docker("network", "create", "inner")
	// What is in the containers does not matter: the program of the image serves HTTP.
	for port, network := range map[string]string{"8001": "bridge", "8002": "inner"} {
		host.docker("run", "--detach", "--restart", "always", "--network", network, "--publish", port+":4000",
			"image", "--name", "in-"+network, "--lone-wait", "0s")
	}
	// who is the name of the agent that answers at a port of the floating address.
	who := func(port, want string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+floatingAddr+":"+port+"/leader?format=json", nil)
		if err != nil {
			return err
		}
		res, err := client.Ask(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), `"`+want+`"`) {
			return fmt.Errorf("port %s: want %s, got %d, %q, %v", port, want, res.StatusCode, body, err)
		}
		return nil
	}
	answers := func(ports map[string]string) {
		t.Helper()
		for port, want := range ports {
			l.Eventually(patience, func() error { return who(port, want) })
		}
	}
	_, dockers := host.rules()
	if !strings.Contains(dockers, "policy drop") || !strings.Contains(dockers, "8002") {
		t.Fatalf("want rules of Docker's, got %s", dockers)
	}

	log := filepath.Join(host.dir, "events")
	hook := image.path("hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho \"$DOYEN_NODE $1\" >>"+log+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := func(h *lan.Host) *lan.Program {
		return h.Start(image.path("agent"), "--name", h.Name, "--advertise-addr", map[string]string{"plain": plainAddr, "docker": dockerAddr}[h.Name],
			"--seeds", plainAddr+","+dockerAddr, "--lone-wait", "1s", "--floating-ip", floatingAddr+"/24@eth0", "--hook", hook)
	}
	joined := func(h *lan.Host) {
		t.Helper()
		l.Eventually(patience, func() error {
			s, err := h.State()
			if err == nil && len(s.Members) != 2 {
				err = fmt.Errorf("want two members, got %v", s.Members)
			}
			return err
		})
	}
	other := start(plain)
	answers(map[string]string{"4000": "plain"})
	start(host.Host)
	joined(host.Host)

	other.End(syscall.SIGKILL)
	onDocker := map[string]string{"4000": "docker", "8001": "in-bridge", "8002": "in-inner"}
	answers(onDocker)
	l.Eventually(patience, func() error { // the address answers before the hook has ended
		events, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(events), "docker acquire\n") {
			err = fmt.Errorf("want the hook to have run, got %q", events)
		}
		return err
	})
	before, err := host.State()
	if err != nil {
		t.Fatal(err)
	}
	agents, others := host.rules()
	if agents == "" || others != dockers {
		t.Errorf("want Docker's rules as they were and tables of the agent, got %s\nwas\n%s\n%s", others, dockers, agents)
	}

	host.engine.End(syscall.SIGTERM)
	host.start()
	answers(onDocker)
	// Docker's own are not compared: the containers may have changed addresses.
	if again, _ := host.rules(); again != agents {
		t.Errorf("want the agent's tables to outlive the engine, got\n%s\nwas\n%s", again, agents)
	}
	if after, err := host.State(); err != nil || after.Term != before.Term {
		t.Errorf("want the same leadership, got %v, %v, was %v", after.Term, err, before.Term)
	}

	start(plain)
	joined(plain)
	l.Eventually(patience, func() error { // the new member must have answered once
		_, err := host.Run(image.path("agent"), "step-down")
		return err
	})
	answers(map[string]string{"4000": "plain"})
}
