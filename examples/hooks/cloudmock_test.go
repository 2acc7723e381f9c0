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

	"doyen/examples/internal/trial"
)

// A provider holds the differences between the clouds.
type provider struct {
	hook string
	// a and b are the ids of the two nodes in the metadata services, or the ids of
	// the parts of them that have the address.
	a, b string
	// lasting is true if an assignment is an action that takes time.
	lasting bool
	// settings are the environment of the hook on a node. secrets are the values in
	// it, or from the metadata service, that other users must not see.
	settings func(m *mock, node string) []string
	secrets  []string
	metadata func(w http.ResponseWriter, r *http.Request, id string)
	// api answers a request, and calls write if it would change something. refuse
	// answers with an error in the form of this provider.
	api    func(m *mock, w http.ResponseWriter, r *http.Request, body []byte)
	write  func(r *http.Request, body []byte) bool
	refuse func(w http.ResponseWriter, status int)
}

// A fault is what happens to one request instead of an answer.
type fault struct {
	status int // 0: the request is never answered
	header map[string]string
	write  bool          // only a request that would change something
	late   chan struct{} // it is carried out, unanswered, when this is closed
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
	// polls is how many requests see an action under way before it ends; -1: it ends
	// by finish.
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
	trial.Needs(t, "curl", "jq")
	m := &mock{provider: p, t: t, dir: t.TempDir(), seen: make(chan struct{}, 1)}
	server := httptest.NewServer(m)
	m.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return m
}

// TestMain lets many tests run at the same time, because they mostly wait.
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

// begin begins an assignment. It returns false if an action is under way.
func (m *mock) begin(to string) bool {
	if m.tick(); m.action.open {
		m.refused++
		return false
	}
	m.writes++
	m.action = action{id: m.action.id + 1, to: to, polls: m.polls, open: true}
	return true
}

// tick brings the action nearer to its end.
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

// meet makes the next requests meet these faults.
func (m *mock) meet(faults ...fault) {
	m.do(func() { m.faults = faults })
}

// file writes a file for the test and returns its path.
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
	exit int // -1: it did not end, and was killed
	out  string
	took time.Duration
}

// deadline is the limit of a run whose time is not tested. grace is how much longer than
// its deadline a run may take before the test kills it, because the machine may be
// loaded.
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

// run runs an event and checks its exit status.
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
