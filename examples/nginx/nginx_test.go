package nginx

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"
	"doyen/seniority"
)

// TestRequestsGoToTheLeader runs nginx with the example, and an observer with the hook,
// and hands the lead over. A client that counts loses no request.
func TestRequestsGoToTheLeader(t *testing.T) {
	trial.Needs(t, "nginx")
	dir := t.TempDir()
	front, service := "127.0.0.1:"+trial.FreePort(t), trial.FreePort(t)
	config, hook := prepare(t, dir, front, service)

	var agents []*agent.Agent
	var seeds []string
	timing := seniority.Timing{Lease: 5 * time.Second} // a busy machine may be slow
	for i := range 3 {
		host := fmt.Sprintf("127.0.0.%d", i+1)
		serve(t, net.JoinHostPort(host, service), host)
		a, _ := trial.Run(t, agent.Config{BindAddr: host, Seeds: seeds, Timing: timing})
		agents, seeds = append(agents, a), append(seeds, a.Addr())
	}
	upstream := filepath.Join(dir, "doyen-leader.conf")
	trial.Run(t, agent.Config{BindAddr: "127.0.0.4", Seeds: seeds, Role: "observer", Hook: hook, Timing: timing})
	trial.Holds(t, "the hook has written the leader's address", func() bool {
		text, _ := os.ReadFile(upstream) // it may not be there yet
		return strings.Contains(string(text), service)
	})
	startNginx(t, config)

	served := func() string {
		client := http.Client{Timeout: trial.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + front + "/")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	leader := func() *agent.Agent {
		for _, a := range agents {
			if host, _, _ := strings.Cut(a.Addr(), ":"); a.IsLeader() && served() == host {
				return a
			}
		}
		return nil
	}
	var former *agent.Agent
	trial.Holds(t, "nginx passes requests on to the leader", func() bool {
		former = leader()
		return former != nil && former.Ready().Ready
	})
	var stop atomic.Bool
	counted := make(chan string)
	go func() {
		lost := ""
		for !stop.Load() {
			if got := served(); !strings.HasPrefix(got, "127.0.0.") {
				lost = got
			}
		}
		counted <- lost
	}()
	if _, err := former.StepDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	trial.Holds(t, "nginx passes requests on to the next leader", func() bool { l := leader(); return l != nil && l != former })
	stop.Store(true)
	if lost := <-counted; lost != "" {
		t.Errorf("a request was lost in the hand-over: %s", lost)
	}
}

// Each election has a file of its own.
func TestAFileForEachElection(t *testing.T) {
	dir := t.TempDir()
	for election, file := range map[string]string{"": "leader.conf", "group": "leader.conf", "web": "leader-web.conf"} {
		cmd := exec.Command("./nginx-leader.sh", "change")
		cmd.Env = append(os.Environ(), "UPSTREAM_FILE="+filepath.Join(dir, "leader.conf"), "RELOAD=true", "DOYEN_ELECTION="+election, "DOYEN_LEADER_ADDR="+file+":4000")
		out, err := cmd.CombinedOutput()
		got, readErr := os.ReadFile(filepath.Join(dir, file))
		if err != nil || readErr != nil || !strings.HasPrefix(string(got), "server "+file+":") {
			t.Errorf("election %q: got %v, %s, %q, %v", election, err, out, got, readErr)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("want two files, got %v", files)
	}
}

// prepare writes the example and the hook with the paths and ports of the test.
func prepare(t *testing.T, dir, front, service string) (config, hook string) {
	t.Helper()
	text, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "nginx.conf")
	here := "daemon off;\npid " + dir + "/pid;\nerror_log " + dir + "/error.log;\n" +
		strings.NewReplacer("listen 80;", "listen "+front+";", "http {", "http {\n    access_log off;\n    client_body_temp_path "+dir+"/body;\n    proxy_temp_path "+dir+"/proxy;\n    fastcgi_temp_path "+dir+"/fastcgi;\n    uwsgi_temp_path "+dir+"/uwsgi;\n    scgi_temp_path "+dir+"/scgi;").Replace(string(text))
	if err := os.WriteFile(config, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_PORT", service)
	t.Setenv("UPSTREAM_FILE", filepath.Join(dir, "doyen-leader.conf"))
	// Before nginx runs there is nothing to reload.
	t.Setenv("RELOAD", "sh "+filepath.Join(dir, "reload"))
	reload := "[ ! -s " + dir + "/pid ] || nginx -c " + config + " -s reload\n"
	if err := os.WriteFile(filepath.Join(dir, "reload"), []byte(reload), 0o600); err != nil {
		t.Fatal(err)
	}
	hook, err = filepath.Abs("nginx-leader.sh")
	if err != nil {
		t.Fatal(err)
	}
	return config, hook
}

func startNginx(t *testing.T, config string) {
	t.Helper()
	if out, err := exec.Command("nginx", "-t", "-c", config).CombinedOutput(); err != nil {
		t.Fatalf("nginx does not take the example: %v: %s", err, out)
	}
	nginx := exec.Command("nginx", "-c", config)
	nginx.Stdout, nginx.Stderr = t.Output(), t.Output()
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nginx.Process.Signal(os.Interrupt)
		nginx.Wait()
	})
}

// serve is the service of one host: it answers with the host's name.
func serve(t *testing.T, at, host string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, host) })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}
