package haproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"
)

// TestConnectionsGoToTheLeader runs haproxy with the example and other addresses in front
// of three agents, and hands the lead over.
func TestConnectionsGoToTheLeader(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("as it stands", func(t *testing.T) { followLeader(t, string(text)) })
	// Without a path haproxy asks OPTIONS /.
	bare := strings.NewReplacer("option httpchk GET /is-leader", "option httpchk", "http-check expect status 200", "").Replace(string(text))
	t.Run("with a bare check", func(t *testing.T) { followLeader(t, bare) })
}

// followLeader runs haproxy with the configuration while the lead is handed over.
func followLeader(t *testing.T, text string) {
	trial.Needs(t, "haproxy")
	const hosts = 3
	agentPort, servicePort := trial.FreePort(t), trial.FreePort(t)
	port, _ := strconv.Atoi(agentPort)
	front := "127.0.0.1:" + trial.FreePort(t)
	config := strings.NewReplacer("bind :5432", "bind "+front, "192.0.2.", "127.0.0.", ":5432", ":"+servicePort, "port 4000", "port "+agentPort).Replace(text)
	var agents []*agent.Agent
	var seeds []string
	for i := range hosts {
		seeds = append(seeds, fmt.Sprintf("127.0.0.%d:%s", i+1, agentPort))
	}
	for i := range hosts {
		host := fmt.Sprintf("127.0.0.%d", i+1)
		serve(t, net.JoinHostPort(host, servicePort), host)
		c := agent.Config{BindAddr: host, BindPort: &port, Seeds: seeds}
		c.Timing.Lease = 5 * time.Second // a busy machine may be slow
		a, _ := trial.Run(t, c)
		agents = append(agents, a)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("haproxy", "-c", "-f", file).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Fatalf("haproxy does not take the example: %v: %s", err, out)
	}
	proxy := exec.Command("haproxy", "-db", "-f", file)
	proxy.Stdout, proxy.Stderr = t.Output(), t.Output()
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Process.Signal(syscall.SIGTERM)
		proxy.Wait()
	})
	leader, conn := eventuallyServed(t, front, agents)
	for range 2 {
		if _, err := leader.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The old connection ends with the lead, and the next goes to another host.
		conn.SetReadDeadline(time.Now().Add(trial.Patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection to %s is still open after its lead has ended", leader.Name())
		}
		former := leader
		if leader, conn = eventuallyServed(t, front, agents); leader == former {
			t.Errorf("want another than %s, which has handed over", leader.Name())
		}
	}
}

// eventuallyServed waits until a connection through haproxy reaches the host whose agent
// leads, and returns both. Before the first check all hosts get connections.
func eventuallyServed(t *testing.T, front string, agents []*agent.Agent) (*agent.Agent, net.Conn) {
	t.Helper()
	answer := ""
	for end := time.Now().Add(trial.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", front, time.Second)
		if err != nil {
			continue
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 64)
		n, _ := conn.Read(b)
		answer = string(b[:n])
		for _, a := range agents {
			if host, _, _ := strings.Cut(a.Addr(), ":"); a.IsLeader() && host == answer {
				return a, conn
			}
		}
		conn.Close()
	}
	t.Fatalf("the leader never answered through haproxy; the last answer was %q", answer)
	return nil, nil
}

// serve is the service of one host: it sends the host's name, and keeps the connection.
func serve(t *testing.T, at, host string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.WriteString(conn, host)
				io.Copy(io.Discard, conn)
			}()
		}
	}()
}
