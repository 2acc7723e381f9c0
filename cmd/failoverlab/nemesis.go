//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"doyen/seniority"
)

// nemesis does things to a group at random, several at once, in rounds: for a
// storm's length faults come and go, then all are undone and the group settles.
type nemesis struct {
	l       *lab
	timing  seniority.Timing
	active  []*mischief
	history []string
	list    []condition
	well    [maxHosts]time.Duration
	ended   []string // agents that ended by themselves

	mu   sync.Mutex
	said []said

	report nemesisReport
}

// nemesisReport is what a run of the nemesis showed.
type nemesisReport struct {
	Subject   string          `json:"subject"`
	Hosts     int             `json:"hosts"`
	Seed      uint64          `json:"seed"`
	Lasted    time.Duration   `json:"lasted_ns"`
	Rounds    int             `json:"rounds"`
	Faults    int             `json:"faults"`
	Moves     int             `json:"moves"`      // a host got the address
	Silences  []time.Duration `json:"silence_ns"` // the longest of each round while a majority was whole
	Bound     time.Duration   `json:"bound_ns"`   // for a silence
	Heals     []time.Duration `json:"heal_ns"`    // from the end of each storm to one leader
	HealBound time.Duration   `json:"heal_bound_ns"`
	Wrong     []string        `json:"wrong"`
}

const (
	storm = 20 * time.Second
	// steady is how long one host must have served alone to be the one.
	steady = 500 * time.Millisecond
	// startTime is what a program needs from its start to its first vote, besides
	// the abstention.
	startTime = time.Second
	// joinTime is what members that were cut off for long need to find each other:
	// gossip dials those that it misses every few seconds.
	joinTime = 5 * time.Second
)

// unleash runs the nemesis on one subject for as long as the command line says.
func unleash(ctx context.Context, o *options, s *subject, stderr io.Writer) (nemesisReport, error) {
	n := &nemesis{report: nemesisReport{Subject: s.name, Hosts: o.hosts, Seed: o.seed}}
	var err error
	if n.timing, err = seniority.Profile(s.profile); err != nil {
		return n.report, fmt.Errorf("%s: the nemesis needs an agent: %w", s.name, err)
	}
	if n.l, err = newLab(o, s, stderr); err != nil {
		return n.report, fmt.Errorf("%s: %w", s.name, err)
	}
	defer n.l.close()
	n.report.Bound = n.timing.PartialBound(o.hosts) + o.slack
	// Members find each other, ask for a lease, and elect.
	n.report.HealBound = joinTime + 4*n.timing.Lease + n.timing.PartialBound(o.hosts) + o.slack
	began := now()
	for now() < began+o.nemesis && err == nil {
		err = n.round(ctx)
		n.report.Lasted = now() - began
	}
	if errors.Is(err, context.Canceled) {
		return n.report, err
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", s.name, err, strings.Join(n.history, "\n"))
	}
	return n.report, err
}

// round is one storm and what follows.
func (n *nemesis) round(ctx context.Context) error {
	n.report.Rounds++
	if _, err := n.l.settle(ctx, steady); err != nil {
		return fmt.Errorf("before a storm: %w", err)
	}
	n.l.record.forget(now() - time.Second)
	from := now()
	n.history, n.list, n.ended, n.said = nil, nil, nil, nil
	for i := range n.well {
		n.well[i] = from
	}
	n.note("all is well")
	end := n.poll(ctx)
	err := n.storm(ctx, from+storm)
	healed := now()
	if err == nil {
		_, err = n.l.settle(ctx, steady)
	}
	n.report.Heals = append(n.report.Heals, max(0, now()-healed-steady))
	end()
	if errors.Is(err, context.Canceled) {
		return err
	}
	n.judge(from, healed, now())
	return err
}

// judge looks at a round from outside.
func (n *nemesis) judge(from, healed, to time.Duration) {
	v := n.l.record.view()
	n.report.Moves += failovers(v.changes, from, to)
	wrong := slices.Clone(n.ended)
	if n.l.subject.quorum {
		wrong = append(wrong, wrongTerms(n.said)...)
		wrong = append(wrong, lateAnswers(v.pings, v.changes, from, to)...)
		wrong = append(wrong, lateAnswers(v.arps, v.changes, from, to)...)
		if d := answerOverlap(v, from, to); d > 0 {
			wrong = append(wrong, fmt.Sprintf("two hosts answer for %v", d))
		}
		s := longestSilence(v.pings, n.list, n.l.o.hosts, v.blind, to)
		n.report.Silences = append(n.report.Silences, s.to-s.from)
		if s.to-s.from > n.report.Bound {
			wrong = append(wrong, fmt.Sprintf("no answer from %v to %v, for %v, and %v were whole", s.from, s.to, s.to-s.from, s.hosts))
		}
	}
	if d := n.report.Heals[len(n.report.Heals)-1]; d > n.report.HealBound {
		wrong = append(wrong, fmt.Sprintf("from the heal at %v until one leads: %v", healed, d))
	}
	if len(wrong) == 0 {
		return
	}
	n.report.Wrong = append(n.report.Wrong, wrong...)
	fmt.Fprintf(n.l.stderr, "%s, %d hosts, seed %d, round %d, at %s:\n  %s\nwhat was done:\n  %s\n", n.l.subject.name, n.l.o.hosts, n.l.o.seed, n.report.Rounds,
		time.Now().UTC().Format("15:04:05.000"), strings.Join(wrong, "\n  "), strings.Join(n.history, "\n  "))
}

// note writes down what was done, and how the hosts are from now on.
func (n *nemesis) note(format string, args ...any) {
	at := now()
	n.history = append(n.history, fmt.Sprintf("%v (%s): ", at.Round(time.Millisecond), epoch.Add(at).UTC().Format("15:04:05.000"))+fmt.Sprintf(format, args...))
	c := condition{at: at, well: n.well}
	for _, m := range n.active {
		for _, h := range m.hurt {
			c.well[h.index] = never
		}
		for _, s := range m.spoils {
			if p, q := n.hostOf(s.from), n.hostOf(s.to); p >= 0 && q >= 0 {
				c.cut[p][q] = true
			}
		}
	}
	n.list = append(n.list, c)
}

func (n *nemesis) hostOf(port string) int {
	return slices.IndexFunc(n.l.net.hosts, func(h *host) bool { return h.name == port })
}

// storm lets faults come and go until a moment, and undoes all.
func (n *nemesis) storm(ctx context.Context, end time.Duration) error {
	for now() < end {
		next := now() + n.upTo(1500*time.Millisecond)
		for now() < next {
			if err := sleep(ctx, lookEvery); err != nil {
				return err
			}
			if err := n.undo(func(m *mischief) bool { return now() >= m.until }); err != nil {
				return err
			}
			if err := n.revive(); err != nil {
				return err
			}
		}
		if err := n.strike(); err != nil {
			return err
		}
	}
	err := n.undo(func(*mischief) bool { return true })
	return errors.Join(err, n.revive())
}

func (n *nemesis) upTo(d time.Duration) time.Duration {
	return time.Duration(n.l.dice.Int64N(int64(d)))
}

// strike does one more thing, if one that is drawn may be done now.
func (n *nemesis) strike() error {
	m := n.draw()
	if m == nil {
		return nil
	}
	n.report.Faults++
	n.active = append(n.active, m) // what is done counts before it begins
	n.note("%s, for %v", m, (m.until - now()).Round(time.Millisecond))
	if m.hit != nil {
		if err := m.hit(); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return n.spoil()
}

// undo puts right what is due.
func (n *nemesis) undo(due func(*mischief) bool) error {
	var over []*mischief
	n.active = slices.DeleteFunc(n.active, func(m *mischief) bool {
		if due(m) {
			over = append(over, m)
		}
		return slices.Contains(over, m)
	})
	if len(over) == 0 {
		return nil
	}
	if err := n.spoil(); err != nil {
		return err
	}
	for _, m := range over {
		if m.undo != nil {
			if err := m.undo(); err != nil {
				return fmt.Errorf("undoing %s: %w", m, err)
			}
		}
		for _, h := range m.hurt {
			n.well[h.index] = now()
			if m.starts {
				n.well[h.index] += startTime + seniority.Drifted(n.timing.Lease)
			}
		}
		n.note("over: %s", m)
	}
	return nil
}

// spoil makes the cables those of the faults that last.
func (n *nemesis) spoil() error {
	var list []spoil
	for _, m := range n.active {
		list = append(list, m.spoils...)
	}
	return n.l.net.cables.set(list...)
}

// revive starts an agent that ended though nothing was done to its process, and
// notes that it did.
func (n *nemesis) revive() error {
	for _, h := range n.l.net.hosts {
		down := slices.ContainsFunc(n.active, func(m *mischief) bool { return m.starts && slices.Contains(m.hurt, h) })
		if down || h.main.running() {
			continue
		}
		n.ended = append(n.ended, fmt.Sprintf("the agent on %s ended by itself at %v: %v", h.name, now(), n.l.ended()))
		n.note("%s is started again, since it has ended", h.name)
		if err := n.l.start(h); err != nil {
			return err
		}
	}
	return nil
}

// poll asks all agents all the time whether they lead, and which term.
func (n *nemesis) poll(ctx context.Context) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	var polls sync.WaitGroup
	for _, h := range n.l.net.hosts {
		polls.Go(func() {
			client, addr := clientOn(h), onLoopback(agentPort)
			defer client.CloseIdleConnections()
			const pace = 25 * time.Millisecond
			for sleep(ctx, pace) == nil {
				var s struct {
					Leads bool   `json:"is_leader"`
					Term  uint64 `json:"term"`
				}
				sent := now()
				if ask(client, http.MethodGet, addr, "/state", &s, http.StatusOK) == nil && s.Leads {
					n.mu.Lock()
					n.said = append(n.said, said{h.index, s.Term, sent, now()})
					n.mu.Unlock()
				}
			}
		})
	}
	return func() {
		stop()
		polls.Wait()
	}
}

// unleashAll runs the nemesis on every subject, and writes what it showed.
func unleashAll(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	reports, errs := make([]nemesisReport, len(o.subjects)), make([]error, len(o.subjects))
	eachSubject(o, func(i int, s *subject) { reports[i], errs[i] = unleash(ctx, o, s, stderr) })
	var rows [][]string
	for _, r := range reports {
		rows = append(rows, []string{r.Subject, fmt.Sprint(r.Hosts), fmt.Sprint(r.Seed), r.Lasted.Round(time.Second).String(), fmt.Sprint(r.Rounds),
			fmt.Sprint(r.Faults), fmt.Sprint(r.Moves), spreadOf(r.Silences), r.Bound.Round(time.Millisecond).String(), spreadOf(r.Heals),
			r.HealBound.Round(time.Millisecond).String(), fmt.Sprint(len(r.Wrong))})
		if len(r.Wrong) > 0 {
			errs = append(errs, fmt.Errorf("%s, seed %d: %d things were wrong, the first: %s", r.Subject, r.Seed, len(r.Wrong), r.Wrong[0]))
		}
	}
	m := thisMachine()
	fmt.Fprintf(stdout, "%s, %d cores, load %s. Median (minimum–maximum) of the rounds.\n", m.Kernel, m.Cores, m.Load)
	table(stdout, []string{"nemesis", "hosts", "seed", "lasted", "rounds", "faults", "moves", "longest silence", "bound", "heal", "bound", "wrong"}, rows)
	if o.json != "" {
		errs = append(errs, writeJSON(o.json, reports))
	}
	return errors.Join(errs...)
}

func spreadOf(list []time.Duration) string {
	if len(list) == 0 {
		return "–"
	}
	s := slices.Sorted(slices.Values(list))
	short := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	return fmt.Sprintf("%s (%s–%s)", short(s[len(s)/2]), short(s[0]), short(s[len(s)-1]))
}
