//go:build linux

package haproxy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"
)

var (
	rounds = flag.Int("haproxy.rounds", 0, "how often each fault is measured, with the profiles lan and fast (default: a crash, once)")
	beside = flag.String("haproxy.beside", "", "further configurations of haproxy, separated by commas, that are measured beside the example")
)

// A fault is done to a host, and undone once the clients are served again.
type fault struct {
	name     string
	follower bool // it is done to a follower
	do, undo func(l *lab, h *host)
}

var crash = fault{name: "agent and server killed", do: func(_ *lab, h *host) {
	h.agent.Signal(syscall.SIGKILL)
	h.server.Signal(syscall.SIGKILL)
}, undo: restart}

var faults = []fault{
	{name: "step-down", do: func(l *lab, h *host) { l.post(h, "/step-down") }, undo: func(l *lab, h *host) { l.post(h, "/resume") }},
	{name: "agent killed", do: func(_ *lab, h *host) { h.agent.Signal(syscall.SIGKILL) }, undo: restart},
	crash,
	{name: "host dead", do: func(l *lab, h *host) {
		s, err := h.State()
		l.must(err)
		l.lan.Cut(h.Name)
		crash.do(l, h)
		if s.KeeperPID != nil {
			l.must(syscall.Kill(*s.KeeperPID, syscall.SIGKILL))
		}
	}, undo: func(l *lab, h *host) {
		l.lan.Mend()
		restart(l, h)
	}},
	{name: "follower isolated", follower: true, do: func(l *lab, h *host) {
		l.lan.Cut(h.Name)
		time.Sleep(3 * time.Second) // three leases of lan
	}, undo: func(l *lab, _ *host) { l.lan.Mend() }},
}

// restart starts the programs of a host that have ended.
func restart(l *lab, h *host) {
	l.t.Helper()
	h.agent.End(syscall.SIGTERM)
	h.server.End(syscall.SIGTERM)
	l.start(h)
}

// TestClientsFollowTheLeader does each fault to the leader's host. In the end clients
// behind haproxy are served by the next leader's host alone, on the connections that they
// keep as well. With -haproxy.rounds it prints what they saw.
func TestClientsFollowTheLeader(t *testing.T) {
	t.Parallel() // voters that start for the first time wait for some seconds
	program := trial.Build(t)
	if *rounds == 0 {
		newLab(t, program, "lan").measure(crash)
		return
	}
	for _, profile := range []string{"lan", "fast"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, program, profile)
			seen := make(map[string][]*figures)
			for n := range *rounds {
				for _, f := range faults {
					for i, fig := range l.measure(f) {
						seen[f.name+l.proxies[i].name] = append(seen[f.name+l.proxies[i].name], fig)
						t.Logf("round %d, %s, %s: %+v", n+1, f.name, l.proxies[i].name, *fig)
					}
				}
			}
			l.print(seen)
		})
	}
}

// figures are what the clients of one haproxy saw of a fault. The first of a pair is of
// new connections, the second of the connection that is kept.
type figures struct {
	outage [2]time.Duration // the longest time without an answer of the leader's server
	failed [2]int           // requests without an answer, or with another status than 200
	slow   [2]time.Duration // the longest time that a request took
	former time.Duration    // how long a server answered requests that were sent after another host led
	took   time.Duration    // from the fault to the last leadership that began
	moves  int              // how often one began
}

// measure does a fault, undoes it, and returns what the clients of each haproxy saw.
func (l *lab) measure(f fault) (list []*figures) {
	l.t.Helper()
	leader := l.settled()
	h := leader
	if f.follower {
		h = l.hosts[(slices.Index(l.hosts, leader)+1)%len(l.hosts)]
	}
	// What went before ended with a check of haproxy; the fault falls anywhere between two.
	time.Sleep(rand.N(time.Second))
	at := time.Now()
	f.do(l, h)
	if !f.follower {
		l.replaced(leader)
	}
	f.undo(l, h)
	history := l.history(l.settled())
	end := time.Now()
	for _, p := range l.proxies {
		fig := new(figures)
		for _, lead := range history {
			if lead.From.After(at) {
				fig.moves++
				fig.took = max(fig.took, lead.From.Sub(at))
			}
		}
		for i, c := range []*client{p.fresh, p.kept} {
			fig.add(i, c.from(at), at, end, history)
		}
		list = append(list, fig)
	}
	return list
}

// add adds what one client saw between two times.
func (fig *figures) add(i int, answers []answer, at, end time.Time, history []agent.Leadership) {
	last := at
	for _, a := range answers {
		fig.slow[i] = max(fig.slow[i], a.at.Sub(a.sent))
		lead := leadership(history, a.sent)
		led := strings.HasPrefix(lead.Leader, a.addr+":") || strings.HasPrefix(leadership(history, a.at).Leader, a.addr+":")
		switch {
		case a.err != nil:
			fig.failed[i]++
		case !led: // while the request was on its way
			fig.former = max(fig.former, a.sent.Sub(lead.From))
		default:
			fig.outage[i] = max(fig.outage[i], a.at.Sub(last)-pace)
			last = a.at
		}
	}
	fig.outage[i] = max(fig.outage[i], end.Sub(last)-pace)
}

// leadership is the last that had begun at a time, or the first of the history, which has
// the newest first.
func leadership(history []agent.Leadership, at time.Time) agent.Leadership {
	for _, lead := range history {
		if lead.From.Before(at) {
			return lead
		}
	}
	return history[len(history)-1]
}

// print prints a table in Markdown: median (minimum–maximum).
func (l *lab) print(seen map[string][]*figures) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | configuration | next leads | outage, new connections | outage, kept one | failed, new | failed, kept | slowest, new | former leader |\n|%s\n",
		l.profile, strings.Repeat("---|", 9))
	for _, f := range faults {
		for _, p := range l.proxies {
			list := seen[f.name+p.name]
			column := func(of func(*figures) float64) {
				var v []float64
				for _, fig := range list {
					v = append(v, of(fig))
				}
				slices.Sort(v)
				fmt.Fprintf(&b, " %.0f (%.0f–%.0f) |", v[len(v)/2], v[0], v[len(v)-1])
			}
			ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
			fmt.Fprintf(&b, "| %s | %s |", f.name, p.name)
			column(func(fig *figures) float64 { return ms(fig.took) })
			column(func(fig *figures) float64 { return ms(fig.outage[0]) })
			column(func(fig *figures) float64 { return ms(fig.outage[1]) })
			column(func(fig *figures) float64 { return float64(fig.failed[0]) })
			column(func(fig *figures) float64 { return float64(fig.failed[1]) })
			column(func(fig *figures) float64 { return ms(fig.slow[0]) })
			column(func(fig *figures) float64 { return ms(fig.former) })
			b.WriteString("\n")
		}
		moves := 1
		if f.follower {
			moves = 0
		}
		for n, fig := range seen[f.name+l.proxies[0].name] {
			if fig.moves != moves {
				fmt.Fprintf(&b, "%s, round %d: %d leaderships began\n", f.name, n+1, fig.moves)
			}
		}
	}
	l.t.Log(b.String())
}

// post has the agent of a host do something.
func (l *lab) post(h *host, path string) {
	l.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:4000"+path, nil)
	l.must(err)
	res, err := h.Ask(req)
	l.must(err)
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		l.t.Fatalf("%s: %s: %s", h.Name, path, res.Status)
	}
}

// replaced waits until another host than this leads and serves the clients alone.
func (l *lab) replaced(former *host) {
	l.t.Helper()
	trial.Eventually(l.t, trial.Patience, func() error {
		for _, h := range l.hosts {
			if s, err := h.State(); err == nil && s.IsLeader && h != former {
				return l.servedBy(h)
			}
		}
		return fmt.Errorf("no host leads after %s", former.Name)
	})
}

// configurations are the example and, to be measured, that for HTTP and those of
// -haproxy.beside, by their names.
func (l *lab) configurations() (names, texts []string) {
	l.t.Helper()
	files := []string{"haproxy.cfg"}
	if *beside != "" {
		files = append(files, strings.Split(*beside, ",")...)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		l.must(err)
		names, texts = append(names, strings.TrimSuffix(filepath.Base(f), ".cfg")), append(texts, string(text))
	}
	if *rounds > 0 {
		names, texts = append(names, "haproxy, mode http"), append(texts, strings.Replace(texts[0], "mode tcp", "mode http", 1))
	}
	return names, texts
}
