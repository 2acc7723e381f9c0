//go:build linux

package keeper

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A file is a watchdog whose feedings, and the V that disarms it, can be read.
func (s *stage) watchdog() string {
	s.t.Helper()
	s.cfg.Watchdog = s.path("watchdog")
	if err := os.WriteFile(s.cfg.Watchdog, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.cfg.Watchdog
}

func (s *stage) fed(at least) string {
	s.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(ms) {
		if b, _ := os.ReadFile(s.cfg.Watchdog); len(b) >= int(at) {
			return string(b)
		}
	}
	s.t.Fatalf("the watchdog was not fed %d times", at)
	return ""
}

type least int

func TestWatchdogIsArmedWhileAHookHoldsSomething(t *testing.T) {
	s := newStage(t, `[ $DOYEN_EVENT = release ] && [ -s $D/watchdog ] && sleep 0.1; tr '\0' x <$D/watchdog | tail -c 1 >>$D/last-$DOYEN_EVENT`)
	s.watchdog()
	r := s.start(Start)
	if b, err := os.ReadFile(s.cfg.Watchdog); len(b) != 0 || err != nil {
		t.Fatalf("want it left alone while nothing is held, got %q, %v", b, err)
	}
	r.lead(1)
	armed := r.until("the watchdog or acquire", func(r Report) bool { return r.Watchdog != nil || r.Event == "acquire" })
	if w := armed.Watchdog; w == nil || !w.Armed || w.Timeout != 2*time.Second {
		t.Errorf("want it armed for 2s before acquire, got %+v", armed)
	}
	if text := s.fed(3); strings.Contains(text, "V") {
		t.Errorf("want it fed, got %q", text)
	}
	r.stepDown(1, 0)
	over := r.until("the watchdog or the release", func(r Report) bool { return r.Watchdog != nil || r.Released == 1 })
	if over.Released != 1 {
		t.Errorf("want it disarmed after the release, got %+v", over)
	}
	r.until("the watchdog", func(r Report) bool { return r.Watchdog != nil && !r.Watchdog.Armed })
	if text := s.fed(4); !strings.HasSuffix(text, "V") {
		t.Errorf("want it disarmed, got %q", text)
	}
	if during, _ := os.ReadFile(s.path("last-release")); string(during) != "x" {
		t.Errorf("want it fed before the release, and not disarmed, got %q", during)
	}
}

// Agent and keeper are killed: the watchdog stays armed, and restarts the host.
func TestWatchdogStaysArmedWithoutAKeeper(t *testing.T) {
	s := newStage(t, "exit 0")
	s.watchdog()
	a := s.startAgent(time.Hour)
	a.until("acquire", func(r Report) bool { return r.Held })
	s.fed(1)
	s.await("acquire 1 elected", "change 1 elected") // its last run of the hook
	a.killBoth()
	if text := s.fed(1); strings.Contains(text, "V") {
		t.Errorf("want it armed, got %q", text)
	}
}

// A leadership with nothing that the kernel cannot take back needs no watchdog.
func TestWatchdogIsLeftAloneWithoutAHook(t *testing.T) {
	s := newStage(t, "exit 0")
	s.watchdog()
	s.election().Hook = ""
	r := s.start(Start)
	r.lead(1)
	r.until("the acquire", func(r Report) bool { return r.Held })
	r.close()
	if b, err := os.ReadFile(s.cfg.Watchdog); len(b) != 0 || err != nil {
		t.Errorf("want it left alone, got %q, %v", b, err)
	}
}

// Without its watchdog a node takes nothing.
func TestWatchdogThatCannotBeOpened(t *testing.T) {
	s := newStage(t, "exit 0")
	s.cfg.Watchdog = s.path("nowhere")
	r := s.start(Start)
	r.lead(1)
	rep := r.until("the third failure", func(r Report) bool { return r.AcquireFailures == 3 })
	if !strings.Contains(rep.Err, "watchdog") || rep.Event != "acquire" {
		t.Errorf("want the watchdog named, got %+v", rep)
	}
	s.whole("release 0 startup")
}

// The watchdog is not fed for an executor that hangs, and goes on without a way out.
func TestGuard(t *testing.T) {
	s := newStage(t, "exit 0")
	var told []Report
	g := guard{path: s.watchdog(), timeout: 4 * time.Second, report: func(r Report) { told = append(told, r) }, beats: map[string]time.Duration{}}
	size := func() int {
		b, err := os.ReadFile(g.path)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	now := time.Hour
	for _, name := range []string{"web", "mail"} {
		if err := g.hold(name, now); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // both go on
		now += time.Second
		g.beat("web", now)
		g.beat("mail", now)
	}
	if size() != 2 {
		t.Errorf("want it fed once a second, got %d in two", size())
	}
	for range 5 { // mail hangs
		now += time.Second
		g.beat("web", now)
	}
	if size() != 4 {
		t.Errorf("want it fed while mail may be late, and not any more then, got %d", size())
	}
	g.drop("mail")
	g.beat("web", now)
	g.drop("web")
	if size() != 6 || g.armed() || len(told) != 2 {
		t.Errorf("want one feeding more and the V, got %d bytes, armed %v, %+v", size(), g.armed(), told)
	}
}

// A watchdog that cannot be disarmed is fed while nothing is held; while something is,
// it is fed by those that hold it, or not at all.
func TestWatchdogThatCannotBeDisarmed(t *testing.T) {
	s := newStage(t, "exit 0")
	synctest.Test(t, func(t *testing.T) {
		g := guard{path: s.watchdog(), timeout: 4 * time.Second, report: func(Report) {}, beats: map[string]time.Duration{}}
		if err := g.hold("web", time.Hour); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		defer close(stop)
		go g.feedForGood(time.Second, stop)
		fedAfter := func(d time.Duration) int {
			time.Sleep(d)
			synctest.Wait()
			b, err := os.ReadFile(g.path)
			if err != nil {
				t.Fatal(err)
			}
			return len(b)
		}
		if n := fedAfter(10 * time.Second); n != 0 {
			t.Errorf("want it not fed for an election that hangs, got %d feedings", n)
		}
		g.mu.Lock()
		delete(g.beats, "web")
		g.mu.Unlock()
		if n := fedAfter(10 * time.Second); n < 9 || n > 11 {
			t.Errorf("want it fed once a second while nothing is held, got %d feedings in ten", n)
		}
	})
}
