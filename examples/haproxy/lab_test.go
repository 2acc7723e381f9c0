//go:build linux

package haproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/lan"
	"doyen/examples/internal/trial"
)

const (
	// pace is the time between two requests of a client.
	pace = 10 * time.Millisecond
	// requestLimit is how long a client waits for one answer.
	requestLimit = 10 * time.Second
	// serverAddr is the variable that makes the test's binary the HTTP server of a host, and has
	// the address with which that answers.
	serverAddr = "HAPROXY_TEST_SERVER"
)

// TestMain is the HTTP server of a host, a process of its own that can be killed, or runs
// the tests.
func TestMain(m *testing.M) {
	addr := os.Getenv(serverAddr)
	if addr == "" {
		os.Exit(m.Run())
	}
	err := http.ListenAndServe(":5432", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, addr) }))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A lab is three hosts with an agent and an HTTP server each, and two clients behind each
// haproxy.
type lab struct {
	t            *testing.T
	program, dir string
	profile      string
	lan          *lan.LAN
	hosts        []*host
	proxies      []*proxy
}

type host struct {
	*lan.Host
	addr          string
	agent, server *lan.Program
}

// A proxy is a host with haproxy, and the clients that ask through it.
type proxy struct {
	name        string // of the configuration
	fresh, kept *client
}

// newLab makes the hosts, on one switch, and waits for nothing.
func newLab(t *testing.T, program, profile string) *lab {
	t.Helper()
	l := &lab{t: t, program: program, dir: t.TempDir(), profile: profile, lan: lan.New(t, []string{"nsenter", "nft", "haproxy"})}
	for i := range 3 {
		name, addr := fmt.Sprintf("host%d", i+1), fmt.Sprintf("10.88.0.%d", i+1)
		l.hosts = append(l.hosts, &host{Host: l.lan.Host(name, addr+"/24"), addr: addr})
	}
	for _, h := range l.hosts {
		l.start(h)
	}
	from := l.lan.Host("client", "10.88.0.200/24")
	names, texts := l.configurations()
	for i, text := range texts {
		addr := fmt.Sprintf("10.88.0.%d", 201+i)
		file := filepath.Join(l.dir, fmt.Sprintf("haproxy%d.cfg", i+1))
		l.must(os.WriteFile(file, []byte(strings.ReplaceAll(text, "192.0.2.", "10.88.0.")), 0o600))
		l.lan.Host(fmt.Sprintf("proxy%d", i+1), addr+"/24").Start("haproxy", "-db", "-f", file)
		p := &proxy{name: names[i]}
		p.fresh = &client{host: from, front: addr + ":5432"}
		p.kept = &client{host: from, front: addr + ":5432", keep: true}
		p.fresh.run(t)
		p.kept.run(t)
		l.proxies = append(l.proxies, p)
	}
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// start starts the agent of a host and its HTTP server.
func (l *lab) start(h *host) {
	l.t.Helper()
	var seeds []string
	for _, p := range l.hosts {
		seeds = append(seeds, p.addr)
	}
	state := filepath.Join(l.dir, h.Name)
	h.agent = h.Start("env", "RUNTIME_DIRECTORY="+state, l.program, "--cluster", l.profile, "--profile", l.profile,
		"--seeds", strings.Join(seeds, ","), "--voters", "seeds", "--state-dir", state, "--log-level", "warn")
	own, err := os.Executable()
	l.must(err)
	h.server = h.Start("env", serverAddr+"="+h.addr, own)
}

// settled waits until all members are ready and the clients are served by the
// leader's host alone, which it returns.
func (l *lab) settled() (leader *host) {
	l.t.Helper()
	trial.Eventually(l.t, trial.Patience, func() (err error) {
		if leader, err = lan.Settled(l.hosts); err != nil {
			return err
		}
		return l.servedBy(leader)
	})
	return leader
}

// servedBy checks that each client has had answers lately, all of this host, and that no
// request is still unanswered.
func (l *lab) servedBy(leader *host) error {
	for _, p := range l.proxies {
		for _, c := range []*client{p.fresh, p.kept} {
			lately := time.Now().Add(-300 * time.Millisecond)
			got := c.from(lately)
			if oldest := c.oldest(); oldest.Before(lately) {
				return fmt.Errorf("behind %s: a request of %v ago has no answer", p.name, time.Since(oldest))
			}
			if len(got) < 5 || slices.ContainsFunc(got, func(a answer) bool { return a.err != nil || a.addr != leader.addr }) {
				return fmt.Errorf("behind %s: want answers of %s alone, got %v", p.name, leader.Name, got)
			}
		}
	}
	return nil
}

// history is the list of leaderships, newest first, as their leader knows them.
func (l *lab) history(leader *host) (list []agent.Leadership) {
	l.t.Helper()
	l.must(leader.Get("/history", &list))
	return list
}

// An answer is how a request that was sent at a time ended: with the address of the
// host that answered, or an error.
type answer struct {
	sent, at time.Time
	addr     string
	err      error
}

// A client asks at a front again and again: each request on a connection of its own,
// whether those before have been answered or not, or all on one connection, one after
// the other.
type client struct {
	host  *lan.Host
	front string
	keep  bool

	mu      sync.Mutex
	answers []answer
	waiting []time.Time // when the requests without an answer yet were sent
}

// from are the answers that came after a time.
func (c *client) from(at time.Time) []answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, _ := slices.BinarySearchFunc(c.answers, at, func(a answer, at time.Time) int { return a.at.Compare(at) })
	return slices.Clone(c.answers[k:])
}

// oldest is when the oldest request without an answer yet was sent; now, if there is none.
func (c *client) oldest() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return time.Now()
	}
	return c.waiting[0]
}

// run has the client ask until the test ends.
func (c *client) run(t *testing.T) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	t.Cleanup(func() {
		close(stop)
		running.Wait()
	})
	running.Go(func() {
		ticks := time.NewTicker(pace)
		defer ticks.Stop()
		kept := new(connection)
		defer kept.close()
		for {
			select {
			case <-stop:
				return
			case <-ticks.C:
			}
			if c.keep {
				c.ask(kept)
				continue
			}
			running.Go(func() {
				once := new(connection)
				defer once.close()
				c.ask(once)
			})
		}
	})
}

// connection is one to haproxy, or none yet.
type connection struct {
	net.Conn
	r *bufio.Reader
}

func (k *connection) close() {
	if k.Conn != nil {
		k.Conn.Close()
		k.Conn = nil
	}
}

// ask sends a request, on a new connection unless there is one, and notes how it ended. A
// connection that has failed is not used again.
func (c *client) ask(k *connection) {
	c.mu.Lock()
	a := answer{sent: time.Now()}
	c.waiting = append(c.waiting, a.sent)
	c.mu.Unlock()
	a.addr, a.err = c.exchange(k)
	if a.err != nil {
		k.close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, a.sent)
	c.waiting = slices.Delete(c.waiting, i, i+1)
	a.at = time.Now()
	c.answers = append(c.answers, a)
}

// exchange is one request and its answer. It repeats none, as libraries may do.
func (c *client) exchange(k *connection) (addr string, err error) {
	deadline := time.Now().Add(requestLimit)
	if k.Conn == nil {
		err := c.host.Do(func() (err error) {
			k.Conn, err = net.DialTimeout("tcp4", c.front, requestLimit)
			return err
		})
		if err != nil {
			k.Conn = nil
			return "", err
		}
		k.r = bufio.NewReader(k.Conn)
	}
	if err := k.SetDeadline(deadline); err != nil {
		return "", err
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+c.front+"/", nil)
	if err != nil {
		return "", err
	}
	req.Close = !c.keep
	if err := req.Write(k); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(k.r, req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", res.Status)
	}
	return string(body), err
}
