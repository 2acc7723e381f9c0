package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"doyen/seniority"
)

// Options choose what a run is about. The zero value of each field leaves the
// choice to the seed.
type Options struct {
	Seed   uint64
	Quorum bool
	// Trace, when set, gets the transcript.
	Trace io.Writer
	// Drift is the largest difference of clock rates, in parts per million; 0:
	// within the bound that the protocol states.
	Drift int
	// Stops lets hypervisors stop the clocks of their guests.
	Stops bool
	// Rounds is how often chaos comes.
	Rounds int
	// Standing is how many standing topologies follow; Graphs makes them all
	// there is to the run.
	Standing int
	Graphs   bool
	// Elections is how many further elections run over the same hosts, laid over
	// them by a placement; the run is then about these (several.go).
	Elections int
}

// Result is what a run saw.
type Result struct {
	Steps     int           // of cores
	Elections int           // leaderships won
	Virtual   time.Duration // simulated
	Covered   Coverage
	// Longest is the longest time, in parts of the stated bound, that no host led
	// in a standing topology though somebody could.
	Longest float64
}

// World is one simulated group.
type World struct {
	opt     Options
	rng     *rand.Rand
	now     time.Duration
	queue   *queue
	hosts   []*host
	check   checker
	rule    seniority.Rule
	lists   [][]string // of voters, one after another
	changed bool
	timing  seniority.Timing
	// disagree: wall clocks are not all right, and terms need not rise across a
	// restart of all hosts.
	disagree bool

	loneWait time.Duration
	runs     uint64
	steps    int
	won      int

	still   int // events at this instant
	changes int // leaderships won; a raised term is none
	chaos   bool
	// standsStill: a standing topology is in force.
	standsStill bool
	loss        float64
	dup         float64
	slow        float64 // share of messages delayed beyond time-outs
	late        *host   // what is sent to it before lateTill takes up to a lease
	lateTill    time.Duration
	cut         [][]bool
	covered     Coverage
	wire        []byte // of the last message
	// hookFailed: a leader has handed over because its hook failed, so the
	// first of the rule may have to wait.
	hookFailed bool
	longest    float64

	// name is the election's, and prefer the hosts that should lead it, the first
	// first; group is the world of the group's own election, nil in that one; further
	// are the worlds of the others, and laid what places them.
	name    string
	prefer  []string
	group   *World
	further []*World
	logs    logs
	laid    laid
}

// Violation is what a checker found, with how to see it again.
type Violation struct {
	Seed uint64
	Mode string
	At   time.Duration
	What string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s mode, seed %d, at %v: %s\nreplay: go test ./seniority/sim -run TestReplay -sim.mode=%s -sim.seed=%d -v",
		v.Mode, v.Seed, v.At, v.What, v.Mode, v.Seed)
}

// mode is the word for what the options ask for.
func (o *Options) mode() string {
	switch {
	case o.Elections > 0 && o.Quorum:
		return "elections"
	case o.Elections > 0:
		return "elections-available"
	case o.Graphs && o.Quorum:
		return "graphs"
	case o.Graphs:
		return "graphs-available"
	case o.Stops:
		return "stops"
	case o.Quorum:
		return "quorum"
	}
	return "available"
}

// Run plays one seed to its end.
func Run(opt Options) (res Result, err error) {
	w := &World{opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0x5eed)), queue: &queue{}}
	w.check = newChecker(w)
	defer func() {
		res = Result{Steps: w.steps, Elections: w.won, Virtual: w.now, Covered: w.covered, Longest: w.longest}
		for _, f := range w.further {
			res.Steps, res.Elections = res.Steps+f.steps, res.Elections+f.won
		}
		switch v := recover().(type) {
		case nil:
		case *Violation:
			err = v
		default:
			panic(fmt.Sprintf("seed %d, %s mode, at %v: %v", opt.Seed, opt.mode(), w.now, v))
		}
	}()
	w.build()
	w.keepLogs()
	if opt.Elections > 0 {
		w.buildFurther()
		w.playSeveral()
		return res, nil
	}
	w.play()
	return res, nil
}

// maxStill is how many events one instant may have.
const maxStill = 100_000

// fail ends the run with a violation.
func (w *World) fail(format string, args ...any) {
	v := &Violation{Seed: w.opt.Seed, Mode: w.opt.mode(), At: w.now, What: fmt.Sprintf(format, args...)}
	if w.name != "" {
		v.What = "election " + w.name + ": " + v.What
	}
	w.trace("VIOLATION %s", v.What)
	panic(v)
}

func (w *World) at(t time.Duration, do func()) {
	if g := w.group; g != nil {
		w.queue.push(t, func() { w.now = g.now; do() })
		return
	}
	w.queue.push(t, do)
}

func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// runUntil plays events up to the time t.
func (w *World) runUntil(t time.Duration) {
	for len(w.queue.events) > 0 && w.queue.events[0].at <= t {
		e := w.queue.pop()
		if w.still++; e.at > w.now {
			w.still = 0
		} else if w.still > maxStill {
			w.fail("time stands still: something asks to be woken at once, again and again")
		}
		w.now = e.at
		e.do()
	}
	w.now = t
}

// span draws a time from [lo, hi).
func (w *World) span(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func (w *World) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// hookTime draws how long a run of the hook takes: mostly short, at times
// longer than a lease.
func (w *World) hookTime() time.Duration {
	if w.chaos && w.chance(0.15) {
		return w.span(0, 2*w.timing.Lease)
	}
	return w.span(0, 20*time.Millisecond)
}

// connected reports whether messages pass from a to b.
func (w *World) connected(a, b *host) bool { return !w.cut[a.id][b.id] }

// overWire returns a message as its receiver reads it, which may be less than what its
// sender has written.
func (w *World) overWire(m seniority.Message) seniority.Message {
	w.wire = seniority.AppendMessage(w.wire[:0], &m)
	read, err := seniority.ParseMessage(w.wire)
	if err != nil {
		w.fail("%s sends what cannot be read: %v: %s", m.From, err, message(&m))
	}
	return read
}

// send puts a message on the network.
func (w *World) send(from *host, m seniority.Message) {
	m = w.overWire(m)
	w.covered.sent(&m)
	w.logged(from, &m)
	if m.To == "" {
		w.gossip(from, m)
		return
	}
	for _, to := range w.hosts {
		if to.name == m.To {
			w.deliver(from, to, m)
			if w.chance(w.dup) {
				w.deliver(from, to, m)
			}
			return
		}
	}
}

// deliver carries one copy; whether it passes is decided when it arrives.
func (w *World) deliver(from, to *host, m seniority.Message) {
	if w.chance(w.loss) || !w.connected(from, to) {
		return
	}
	delay := w.span(100*time.Microsecond, 1500*time.Microsecond)
	if w.chance(w.slow) {
		delay = w.span(0, 5*w.timing.Lease)
	}
	if to == w.late && w.now < w.lateTill {
		delay = w.span(0, w.timing.Lease)
	}
	w.after(delay, func() {
		if w.connected(from, to) && to.up {
			w.check.delivered(to, &m)
			to.feed(seniority.Input{Kind: seniority.Receive, Message: m})
		}
	})
}

func (w *World) trace(format string, args ...any) {
	if w.opt.Trace != nil {
		fmt.Fprintf(w.opt.Trace, "%12.6f  %s%s\n", w.now.Seconds(), w.name, fmt.Sprintf(format, args...))
	}
}
