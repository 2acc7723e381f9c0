package hooks

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A provider is what differs between the clouds.
type provider struct {
	hook string
	// a and b are what the metadata services call the two nodes, or what of
	// them has the address.
	a, b string
	// lasting says that an assignment is an action that takes time.
	lasting bool
	// settings are the environment of the hook on a node; secrets what is in
	// them, or comes from the metadata service, and must not be seen.
	settings func(m *mock, node string) []string
	secrets  []string
	metadata func(w http.ResponseWriter, r *http.Request, id string)
	// api answers a request; write says that it would change something. refuse
	// answers with an error as this provider writes it.
	api    func(m *mock, w http.ResponseWriter, r *http.Request, body []byte)
	write  func(r *http.Request, body []byte) bool
	refuse func(w http.ResponseWriter, status int)
}

// A fault is what becomes of one request instead of an answer.
type fault struct {
	status int // 0: no answer, for ever
	header map[string]string
	write  bool          // only a request that would change something
	late   chan struct{} // it is carried out when this is closed, and nobody hears
}

// A mock is a cloud with one address and two nodes, a and b: their metadata
// services and the API, made from the provider's documentation.
type mock struct {
	provider
	t   *testing.T
	dir string
	url string

	mu     sync.Mutex
	faults []fault
	deaf   bool // the metadata services do not answer
	holder string
	action action
	// polls is how often an action is seen under way before it ends; -1: it
	// ends by finish.
	polls    int
	failures int // actions that will fail
	requests int // of the API
	writes   int
	refused  int
	seen     chan struct{} // of capacity one: there was a request
}

// An action is the newest assignment.
type action struct {
	id     int
	to     string
	polls  int
	open   bool
	failed bool
}

func newMock(t *testing.T, p provider) *mock {
	t.Helper()
	need(t, "curl", "jq")
	m := &mock{provider: p, t: t, dir: t.TempDir(), seen: make(chan struct{}, 1)}
	server := httptest.NewServer(m)
	m.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return m
}

// TestMain lets many tests run at once: they wait far more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// clouds runs a test for every provider.
func clouds(t *testing.T, test func(t *testing.T, m *mock)) {
	t.Parallel()
	for _, p := range []provider{digitalOcean, hetzner, aws} {
		t.Run(strings.TrimSuffix(p.hook, ".sh"), func(t *testing.T) {
			t.Parallel()
			test(t, newMock(t, p))
		})
	}
}

func (m *mock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	service, path, _ := strings.Cut(r.URL.Path[1:], "/")
	r.URL.Path = "/" + path
	m.mu.Lock()
	defer m.mu.Unlock()
	if id := map[string]string{"a": m.a, "b": m.b}[service]; id != "" {
		if m.deaf {
			m.hang(r)
			return
		}
		m.metadata(w, r, id)
		return
	}
	m.requests++
	select {
	case m.seen <- struct{}{}:
	default:
	}
	write := m.write(r, body)
	for i, f := range m.faults {
		if f.write && !write {
			continue
		}
		if f.late != nil {
			m.faults = slices.Delete(m.faults, i, i+1)
			m.await(f.late)
			m.api(m, httptest.NewRecorder(), r, body)
			panic(http.ErrAbortHandler)
		}
		if f.status == 0 {
			m.hang(r)
			return
		}
		m.faults = slices.Delete(m.faults, i, i+1)
		for k, v := range f.header {
			w.Header().Set(k, v)
		}
		m.refuse(w, f.status)
		return
	}
	m.api(m, w, r, body)
}

// hang keeps a client waiting until it goes.
func (m *mock) hang(r *http.Request) { m.await(r.Context().Done()) }

func (m *mock) await(c <-chan struct{}) {
	m.mu.Unlock()
	<-c
	m.mu.Lock()
}

// begin begins an assignment; false: an action is under way.
func (m *mock) begin(to string) bool {
	if m.tick(); m.action.open {
		m.refused++
		return false
	}
	m.writes++
	m.action = action{id: m.action.id + 1, to: to, polls: m.polls, open: true}
	return true
}

// tick lets the action come nearer to its end.
func (m *mock) tick() {
	if !m.action.open || m.action.polls < 0 {
		return
	}
	if m.action.polls > 0 {
		m.action.polls--
		return
	}
	m.end()
}

func (m *mock) end() {
	m.action.open = false
	if m.failures > 0 {
		m.failures--
		m.action.failed = true
		return
	}
	m.holder = m.action.to
}

// do changes or reads the mock under its lock.
func (m *mock) do(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// meet puts faults in the way of the requests to come.
func (m *mock) meet(faults ...fault) {
	m.do(func() { m.faults = faults })
}

// file makes a file of the test and returns its path.
func (m *mock) file(name, content string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// A run is one run of the hook.
type run struct {
	exit int // -1: it was killed, being endless
	out  string
	took time.Duration
}

// deadline is that of a run whose time is not at stake, and grace how much
// longer than its deadline a run may take before it counts as endless: this
// machine may be loaded.
const deadline, grace = 2 * time.Minute, 20 * time.Second

// start starts an event on a node.
func (m *mock) start(limit time.Duration, node, event string, extra ...string) (*exec.Cmd, *bytes.Buffer) {
	m.t.Helper()
	out := new(bytes.Buffer)
	cmd := exec.Command("./"+m.hook, event)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "DOYEN_TERM=7",
		fmt.Sprintf("DOYEN_DEADLINE_MS=%d", limit.Milliseconds())}, m.settings(m, node)...)
	cmd.Env = append(cmd.Env, extra...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return cmd, out
}

// kill ends a run as the keeper does.
func kill(cmd *exec.Cmd) {
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// within runs an event on a node.
func (m *mock) within(limit time.Duration, node, event string, extra ...string) run {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), limit+grace)
	defer cancel()
	began := time.Now()
	cmd, out := m.start(limit, node, event, extra...)
	stop := context.AfterFunc(ctx, func() { kill(cmd) })
	defer stop()
	err := cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	r := run{exit: cmd.ProcessState.ExitCode(), out: strings.TrimSpace(out.String()), took: time.Since(began)}
	m.t.Logf("%s on %s: exit %d after %v\n%s", event, node, r.exit, r.took.Round(time.Millisecond), r.out)
	for _, s := range m.secrets {
		if strings.Contains(r.out, s) {
			m.t.Errorf("%s prints the secret %q", event, s)
		}
	}
	return r
}

// run runs an event and wants an exit status.
func (m *mock) run(want int, node, event string, extra ...string) run {
	m.t.Helper()
	r := m.within(deadline, node, event, extra...)
	if r.exit != want {
		m.t.Errorf("%s on %s: got exit %d, want %d", event, node, r.exit, want)
	}
	return r
}

func (m *mock) checkHolder(want string) {
	m.t.Helper()
	m.do(func() {
		if m.holder != want {
			m.t.Fatalf("the address is at %q, want %q", m.holder, want)
		}
	})
}

// counted returns how many requests and writes f makes.
func (m *mock) counted(f func()) (requests, writes int) {
	m.do(func() { requests, writes = m.requests, m.writes })
	f()
	m.do(func() { requests, writes = m.requests-requests, m.writes-writes })
	return requests, writes
}
