package seniority

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// base is what every host's wall clock shows, in Unix milliseconds, when a
// world begins, unless its clock is wrong.
const base = 1_770_000_000_000

// never is later than any event.
const never = time.Duration(1<<63 - 1)

// world is a handful of hosts in virtual time. Messages take latency, unless
// their link is held or cut; gossip tells of members and broadcasts in
// gossipTime; hooks take hook. Nothing is random.
type world struct {
	now     time.Duration
	hosts   []*host // in the order of their first start
	events  []event
	cut     map[link]bool
	held    map[link]bool
	relay   bool // gossip passes cut links, over other members
	latency time.Duration
	hook    time.Duration // of a release; negative: ended by hand
	runs    uint64
	trace   traces
	print   func(string)
	sent    func(*Message)
}

const gossipTime = 20 * time.Millisecond

// traces is what is printed beside the notes that change something.
type traces struct{ messages, promises bool }

// link is the way from one host to another.
type link struct{ from, to string }

// event is an input on its way to a host.
type event struct {
	at   time.Duration
	core *Core // the run it is for; nil: whichever
	to   string
	in   Input
	held bool
}

// host is one node and its clocks.
type host struct {
	cfg       Config
	core      *Core         // nil: down
	ahead     time.Duration // of its boot clock, to the world's: no two are alike
	wall      int64         // of its wall clock to base, in milliseconds
	stopped   time.Duration // it does nothing before
	wake      time.Duration // in the world's time; never: nothing is pending
	knows     []string      // the members that gossip shows it
	settled   bool
	status    Status
	disk      bool
	highest   uint64 // on its disk
	highestOf Holder
	log       Log           // where it ends
	longest   time.Duration // lease of its last run, as its record says; 0: it is lost
	told      Member        // of itself, to gossip
	viewStale bool
}

// newHost returns a host whose record says that a run before has promised the
// lease that it has now.
func newHost(cfg Config) *host { return &host{cfg: cfg, longest: cfg.Timing.Lease} }

func newWorld() *world {
	return &world{
		latency: time.Millisecond, hook: 20 * time.Millisecond,
		cut: map[link]bool{}, held: map[link]bool{},
		print: func(string) {}, sent: func(*Message) {},
	}
}

func (w *world) host(name string) *host {
	for _, h := range w.hosts {
		if h.cfg.Self.Name == name {
			return h
		}
	}
	return nil
}

func (w *world) say(format string, args ...any) {
	w.print(fmt.Sprintf("%.3f ", w.now.Seconds()) + fmt.Sprintf(format, args...))
}

// clock is what a host's clocks show.
func (w *world) clock(h *host) Now {
	return Now{Boot: w.now + h.ahead, Wall: base + h.wall + w.now.Milliseconds()}
}

// start begins a run of a host: its first, or another with an empty memory but
// for the disk.
func (w *world) start(h *host) error {
	w.runs++
	if !slices.Contains(w.hosts, h) {
		w.hosts = append(w.hosts, h)
		h.ahead = time.Duration(len(w.hosts)) * time.Hour
	}
	cfg := h.cfg
	cfg.Self.Incarnation, cfg.Self.Eligible = w.runs, true
	if cfg.Self.Start == 0 {
		cfg.Self.Start = w.clock(h).Wall * 1e6
	}
	cfg.Seed = [32]byte{byte(w.runs)}
	if h.disk {
		cfg.Highest, cfg.HighestOf = h.highest, h.highestOf
	}
	cfg.KeptLease = h.longest
	core, err := New(cfg, w.clock(h))
	if err != nil {
		return err
	}
	h.core, h.told, h.status, h.knows, h.settled, h.stopped = core, cfg.Self, Status{}, nil, false, 0
	w.step(h, Input{Kind: Tick})
	return nil
}

// crash ends a run of a host, with all that was on its way to it.
func (w *world) crash(h *host) {
	h.core, h.wake = nil, never
	w.events = slices.DeleteFunc(w.events, func(e event) bool { return e.to == h.cfg.Self.Name })
}

// meet shows a host another by gossip, and passes on what that one has to tell.
func (w *world) meet(h, other *host) {
	if h.core == nil || other.core == nil || h == other {
		return
	}
	w.refresh(h)
	if slices.Contains(h.knows, other.cfg.Self.Name) {
		return
	}
	h.knows = append(h.knows, other.cfg.Self.Name)
	if m, ok := other.core.Greeting(); ok && m.From != h.cfg.Self.Name {
		w.post(event{at: w.now + gossipTime, core: h.core, to: h.cfg.Self.Name, in: Input{Kind: Receive, Message: m}})
	}
}

// refresh gives a host a new view soon.
func (w *world) refresh(h *host) {
	if h.core != nil && !h.viewStale {
		h.viewStale = true
		w.post(event{at: w.now + gossipTime, to: h.cfg.Self.Name, in: Input{Kind: View}})
	}
}

func (w *world) post(e event) { w.events = append(w.events, e) }

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for {
		at, i := end+1, -1
		for j := range w.events {
			e := &w.events[j]
			if t := max(e.at, w.host(e.to).stopped); !e.held && t < at {
				at, i = t, j
			}
		}
		var sleeper *host
		for _, h := range w.hosts {
			if t := max(h.wake, h.stopped); h.core != nil && t < at {
				at, sleeper = t, h
			}
		}
		if at > end {
			w.now = end
			return
		}
		w.now = max(w.now, at)
		if sleeper != nil {
			w.step(sleeper, Input{Kind: Tick})
			continue
		}
		e := w.events[i]
		w.events = slices.Delete(w.events, i, i+1)
		w.arrive(e)
	}
}

// arrive feeds an event to its host.
func (w *world) arrive(e event) {
	h := w.host(e.to)
	if e.in.Kind == View {
		h.viewStale = false
		e.in.Members, e.in.Settled = []Member{h.told}, h.settled
		for _, name := range h.knows {
			e.in.Members = append(e.in.Members, w.host(name).told)
		}
	}
	if h.core != nil && (e.core == nil || e.core == h.core) {
		w.step(h, e.in)
	}
}

// step feeds one input to a core and carries out what it answers.
func (w *world) step(h *host, in Input) Reason {
	before := h.status
	in.Log = h.log
	out := h.core.Step(w.clock(h), in)
	h.status = out.Status
	if out.Persist != 0 {
		h.highest, h.highestOf, h.longest = out.Persist, out.PersistOf, out.MaxLease
	}
	h.wake = never
	if out.Wake != 0 {
		h.wake = out.Wake - h.ahead
	}
	name, refused := h.cfg.Self.Name, out.Refused
	for i := range out.Notes {
		w.tell(name, &out.Notes[i])
	}
	if s := &out.Status; s.Releasing != 0 && s.Releasing != before.Releasing {
		w.say("%s runs release of %s", name, showTerm(s.Releasing))
		if w.hook >= 0 {
			w.post(event{at: w.now + w.hook, core: h.core, to: name, in: Input{Kind: Released, Term: s.Releasing}})
		}
	}
	if s := &out.Status; s.Join != h.told.Join || s.Eligible != h.told.Eligible {
		h.told.Join, h.told.Eligible = s.Join, s.Eligible
		for _, o := range w.hosts {
			if slices.Contains(o.knows, name) {
				w.refresh(o)
			}
		}
	}
	for i := range out.Messages {
		w.route(h, out.Messages[i])
	}
	w.check(h)
	return refused
}

// route puts a message on its way: to one host, or by gossip to all that know
// the sender.
func (w *world) route(h *host, m Message) {
	w.sent(&m)
	m = overWire(m)
	if m.To == "" {
		m.Gossiped = true
		for _, o := range w.hosts {
			if slices.Contains(o.knows, m.From) {
				w.forward(m, o.cfg.Self.Name, gossipTime)
			}
		}
		return
	}
	w.forward(m, m.To, w.latency)
}

// overWire returns a message as its receiver reads it.
func overWire(m Message) Message {
	read, err := ParseMessage(AppendMessage(nil, &m))
	if err != nil {
		panic(fmt.Sprintf("%s sends what cannot be read: %v: %s", m.From, err, showMessage(&m)))
	}
	return read
}

func (w *world) forward(m Message, to string, delay time.Duration) {
	l := link{m.From, to}
	fate := ""
	switch {
	case w.cut[l] && !(m.Gossiped && w.relay):
		fate = " (lost)"
	case w.host(to) == nil || w.host(to).core == nil:
		fate = " (no process there)"
	case w.held[l]:
		fate = " (held)"
	}
	if w.trace.messages || fate == " (held)" {
		w.say("%s → %s %s%s", m.From, to, showMessage(&m), fate)
	}
	if fate == "" || fate == " (held)" {
		w.post(event{at: w.now + delay, to: to, in: Input{Kind: Receive, Message: m}, held: fate != ""})
	}
}

// check looks for what must never be: two leaders of one electorate at one
// instant, and a candidate that nothing will ever wake.
func (w *world) check(h *host) {
	if _, ok := h.core.turn(w.clock(h)); ok && h.status.Phase == Waiting && h.wake == never {
		panic(fmt.Sprintf("at %v %s waits for nothing", w.now, h.cfg.Self.Name))
	}
	var leaders []string
	for _, h := range w.hosts {
		if h.core != nil && len(h.cfg.Voters) > 0 && h.status.Leading && w.now+h.ahead < h.status.Deadline {
			leaders = append(leaders, h.cfg.Self.Name)
		}
	}
	if len(leaders) > 1 {
		panic(fmt.Sprintf("at %v %s lead at once", w.now, strings.Join(leaders, " and ")))
	}
}

// leader returns the one host that leads, or nil.
func (w *world) leader() *host {
	for _, h := range w.hosts {
		if h.core != nil && h.status.Leading {
			return h
		}
	}
	return nil
}

// showTerm writes a term as the milliseconds that its proposer's clock showed
// since base, and the place.
func showTerm(t uint64) string {
	if ms := t / places; ms > base/2 {
		return fmt.Sprintf("T%d.%d", int64(ms)-base, t%places)
	}
	return fmt.Sprintf("T1970+%d.%d", t/places, t%places)
}

func showMessage(m *Message) string {
	s := fmt.Sprintf("%v %s", m.Kind, showTerm(m.Term))
	switch m.Kind {
	case Claim:
		s += " " + m.Stand.String()
	case Object:
		s += " " + m.Reason.String()
		if m.Leader != "" {
			s += ", see " + m.Leader
		}
	case Release:
		s += " " + m.Reason.String()
		if m.Will != [32]byte{} {
			s += ", by will"
		}
		if m.Leader != "" {
			s += ", for " + m.Leader
		}
	}
	return s
}

// tell prints a note.
func (w *world) tell(name string, n *Note) {
	t := showTerm(n.Term)
	switch n.Kind {
	case Claimed:
		w.say("%s claims %s", name, t)
	case Confirmed, Promised:
		if w.trace.promises && n.Kind == Promised {
			w.say("%s promises %s to %s", name, t, n.Peer)
		}
	case Objected:
		w.say("%s is refused %s by %s: %v", name, t, n.Peer, n.Reason)
	case RefusedClaim:
		w.say("%s refuses %s to %s: %v", name, t, n.Peer, n.Reason)
	case Ignored:
		w.say("%s ignores %s of %s: %v", name, t, n.Peer, n.Reason)
	case Won:
		w.say("%s LEADS %s: %v", name, t, n.Reason)
	case Lost:
		w.say("%s gives up %s: %v", name, t, n.Reason)
	case LeaderChanged:
		switch n.Peer {
		case name:
		case "":
			w.say("%s has no leader: %v", name, n.Reason)
		default:
			w.say("%s follows %s, %s: %v", name, n.Peer, t, n.Reason)
		}
	case OtherLeader:
		w.say("%s hears of another leader, %s, %s", name, n.Peer, t)
	case OtherYielded:
		w.say("%s hears that %s, %s, has yielded", name, n.Peer, t)
	case Unanswered:
		w.say("%s has no answer to %s, and has led in vain before", name, t)
	case Numbered:
		w.say("%s has number %d of group %s", name, w.host(name).status.Join.Number, t)
	case Awoke:
		w.say("%s awakes", name)
	case Stayed:
		w.say("%s stays, %s: %v", name, t, n.Reason)
	}
}
