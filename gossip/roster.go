package gossip

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// View is the whole membership as this member believes it to be.
type View struct {
	// Members are those believed alive, this one included, by name. The slice
	// is shared and must not be changed.
	Members []Peer
	// Settled is true once every seed has answered or refused since the start.
	Settled bool
	// Clash is true while this member stays out of the group because another
	// with its name was there first. It must not lead.
	Clash bool
}

// Gone says that the run of a member is known to have ended: it said good-bye,
// or another run has taken its name and address.
type Gone struct {
	Name        string
	Incarnation uint64
}

const (
	// maxKnown bounds the members remembered; beyond it the one that has been
	// missing longest is forgotten.
	maxKnown = 4096
	// maxMembers bounds the members; more are refused.
	maxMembers = 8192
	// goneBacklog is how many ends of runs wait for the reader.
	goneBacklog = 64
)

// roster is who is there and who was. memberlist's callbacks write to it under
// memberlist's lock, so nothing here blocks or calls memberlist.
type roster struct {
	changed chan struct{} // capacity one: the view has changed
	lost    chan struct{} // capacity one: a member is missing now
	gone    chan Gone
	drop    func(reason string)

	mu       sync.Mutex
	self     Peer
	members  map[string]Peer   // the others, believed alive
	known    map[string]*known // the others, alive or missing
	parted   []parted          // the runs that said good-bye last
	waiting  int               // seeds that have neither answered nor refused
	highest  uint64            // the number of no direct message was higher
	clash    time.Time         // the last sign of a namesake that was first
	view     *View             // nil: changed since it was last asked for
	digested uint64            // digest of view; 0: not worked out yet
}

// known is a member that has been in the view.
type known struct {
	addr    netip.AddrPort
	run     uint64    // its incarnation
	missing time.Time // since when; zero: in the view
	due     time.Time // when it is to be dialled
	delay   time.Duration
	again   bool // it has been dialled again at once after an answer

	sent uint64 // the number of the last direct message to this run; see replay.go
	got  window // the numbers of those from it
}

// parted is a run that has said good-bye. What it said before may come after
// that, memberlist takes packets that wait in any order: above all the release
// of a leader.
type parted struct {
	name string
	run  uint64
	got  window
}

// maxParted bounds how many of them are remembered.
const maxParted = 32

func newRoster(drop func(string)) *roster {
	return &roster{
		changed: make(chan struct{}, 1), lost: make(chan struct{}, 1), gone: make(chan Gone, goneBacklog),
		drop: drop, members: map[string]Peer{}, known: map[string]*known{},
	}
}

// poke fills a mailbox of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// touch notes, with mu held, that the view has changed.
func (r *roster) touch() {
	r.view, r.digested = nil, 0
	poke(r.changed)
}

// begin puts this member into the view; seeds is how many have yet to answer.
func (r *roster) begin(p Peer, seeds int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self, r.waiting = p, seeds
	r.touch()
}

// setSelf replaces this member's own entry.
func (r *roster) setSelf(p Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self = p
	r.touch()
}

// put takes in a member that has joined or changed.
func (r *roster) put(p Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Name == r.self.Name {
		return
	}
	old, ok := r.members[p.Name]
	if ok && old.Incarnation != p.Incarnation && old.Addr == p.Addr && p.Start > old.Start {
		r.over(Gone{p.Name, old.Incarnation})
	}
	r.members[p.Name] = p
	r.remember(&p)
	r.touch()
}

// remove takes out a member that memberlist believes dead, and has it dialled.
func (r *roster) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.members[name]; !ok {
		return
	}
	delete(r.members, name)
	if k := r.known[name]; k != nil {
		k.miss(time.Now())
	}
	poke(r.lost)
	r.touch()
}

// goodbye takes out a member that has left, and forgets it; false: that is no
// news. memberlist may have taken it out already, as one that died.
func (r *roster) goodbye(name string, incarnation uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[name]
	if k == nil || k.run != incarnation {
		return false
	}
	delete(r.members, name)
	delete(r.known, name)
	r.parted = append(r.parted[max(len(r.parted)-maxParted+1, 0):], parted{name, incarnation, k.got})
	r.over(Gone{name, incarnation})
	r.touch()
	return true
}

// over tells that a run has ended; the oldest news makes room.
func (r *roster) over(g Gone) {
	for {
		select {
		case r.gone <- g:
			return
		default:
		}
		select {
		case <-r.gone:
			r.drop("gone-full")
		default:
		}
	}
}

// remember notes, with mu held, where a member in the view is reached.
func (r *roster) remember(p *Peer) {
	if _, ok := r.known[p.Name]; !ok && len(r.known) >= maxKnown {
		r.forgetLongest()
	}
	now := &known{addr: p.Addr, run: p.Incarnation, sent: r.highest}
	if k := r.known[p.Name]; k != nil && k.run == now.run {
		now.sent, now.got = k.sent, k.got
	}
	r.known[p.Name] = now
	for other, k := range r.known {
		// A process has taken the address over: nobody else will answer there.
		if k.addr == p.Addr && other != p.Name && !k.missing.IsZero() {
			delete(r.known, other)
		}
	}
}

// forgetLongest makes room for one more.
func (r *roster) forgetLongest() {
	longest := ""
	for name, k := range r.known {
		if k.missing.IsZero() {
			continue
		}
		if longest == "" || k.missing.Before(r.known[longest].missing) {
			longest = name
		}
	}
	if longest != "" {
		delete(r.known, longest)
		r.drop("members-forgotten")
	}
}

// addrOf is where a member is reached, or was when it was last in the view.
func (r *roster) addrOf(name string) (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.self.Name {
		return r.self.Addr, true
	}
	if k := r.known[name]; k != nil {
		return k.addr, true
	}
	return netip.AddrPort{}, false
}

// member returns a member believed alive.
func (r *roster) member(name string) (Peer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.members[name]
	return p, ok
}

// size is how many others are believed alive.
func (r *roster) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members)
}

// some returns up to n of the others, at random.
func (r *roster) some(n int) []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Collect(maps.Values(r.members))
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// handles reports whether addr belongs to a member that is or was in the view,
// so that no seed needs to look after it.
func (r *roster) handles(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.known {
		if k.addr == addr {
			return true
		}
	}
	return false
}

// seedDone notes that one more seed has answered or refused.
func (r *roster) seedDone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.touch()
	}
}

// clashed notes whether a namesake was first, as of now.
func (r *roster) clashed(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.clashing()
	r.clash = time.Time{}
	if yes {
		r.clash = time.Now()
	}
	if before != r.clashing() {
		r.touch()
	}
}

// isClashing reports whether a namesake that was first has been heard of lately.
func (r *roster) isClashing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clashing()
}

func (r *roster) clashing() bool {
	return !r.clash.IsZero() && time.Since(r.clash) < findingTTL
}

// current returns the view.
func (r *roster) current() View {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.self.Name == "" {
		return View{}
	}
	v := *r.seen()
	v.Clash = r.clashing()
	return v
}

// seen returns the view, with mu held, but for Clash.
func (r *roster) seen() *View {
	if r.view == nil {
		all := make([]Peer, 0, len(r.members)+1)
		all = append(all, r.self)
		for _, p := range r.members {
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
		r.view = &View{Members: all, Settled: r.waiting == 0}
	}
	return r.view
}
