package gossip

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/transport"
)

// View is the whole membership as this member believes it to be.
type View struct {
	// Members are those believed alive, this one included, by name. The slice
	// is shared and must not be changed.
	Members []Peer
	// Settled is true once every seed has answered or refused since the start.
	Settled bool
	// Apart is true while this member may have been cut off and has not found the
	// others again; see Rejoin.
	Apart bool
	// Stray is why this member cannot be reached at its address; "": it can.
	Stray string
	// Clash is true while this member stays out of the group because another
	// with its name was there first. It must not lead.
	Clash bool
}

// Gone says that the run of a member is known to have ended: it said good-bye,
// another run has taken its name and address, or its keeper says that it is dead.
type Gone struct {
	Name        string
	Incarnation uint64
	// Died: the run did not end as it should; its keeper says so.
	Died bool
}

const (
	// maxKnown bounds the members remembered; beyond it the one that has been
	// missing longest is forgotten.
	maxKnown = 4096
	// maxMembers bounds the members; more are refused.
	maxMembers = transport.MaxMembers
	// goneBacklog is how many ends of runs wait for the reader.
	goneBacklog = 64
)

// members is who is there and who was. memberlist's callbacks write to it under
// memberlist's lock, so nothing here blocks or calls memberlist.
type members struct {
	changed chan struct{} // capacity one: the view has changed
	lost    chan struct{} // capacity one: a member is missing now
	gone    chan Gone
	drop    func(reason string)

	mu       sync.Mutex
	self     Peer
	members  map[string]Peer   // the others, believed alive
	known    map[string]*known // the others, alive or missing
	parted   []parted          // the runs that said good-bye last
	apart    bool              // see rejoin.go
	stray    string            // see address.go
	waiting  int               // seeds that have neither answered nor refused
	highest  uint64            // the number of no direct message was higher
	clash    time.Time         // the last sign of a namesake that was first
	view     *View             // nil: changed since it was last asked for
	digested uint64            // digest of view; 0: not worked out yet
	details  details
}

// known is a member that has been in the view.
type known struct {
	addr    netip.AddrPort
	home    netip.AddrPort // by which memberlist knows it
	run     uint64         // its incarnation
	missing time.Time      // since when; zero: in the view
	due     time.Time      // when it is to be dialled
	delay   time.Duration
	again   bool // it has been dialled again at once after an answer
	dead    bool // this run has ended, as its keeper says: what gossip still tells of it is old
	peer    Peer // what it published last

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

func newRoster(drop func(string)) *members {
	return &members{
		changed: make(chan struct{}, 1), lost: make(chan struct{}, 1), gone: make(chan Gone, goneBacklog),
		drop: drop, members: map[string]Peer{}, known: map[string]*known{},
		details: details{texts: map[string][]byte{}, wanted: make(chan struct{}, 1)},
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
func (r *members) touch() {
	r.view, r.digested = nil, 0
	poke(r.changed)
}

// begin puts this member into the view; seeds is how many have yet to answer.
func (r *members) begin(p Peer, seeds int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self, r.waiting = p, seeds
	r.touch()
}

// change changes this member's own entry, and reports whether it is another now.
func (r *members) change(f func(self *Peer)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.self
	if f(&r.self); r.self == was {
		return false
	}
	r.touch()
	return true
}

// put takes in a member that has joined or changed.
func (r *members) put(p Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Name == r.self.Name {
		return
	}
	if k := r.known[p.Name]; k != nil && k.dead && k.run == p.Incarnation {
		return
	}
	old, ok := r.members[p.Name]
	if ok && old.Incarnation != p.Incarnation && old.Addr == p.Addr && p.Start > old.Start {
		r.over(Gone{Name: p.Name, Incarnation: old.Incarnation})
	}
	r.members[p.Name] = p
	if p.detail != old.detail || old.Incarnation != p.Incarnation {
		r.forgetDetails()
		poke(r.details.wanted)
	}
	r.remember(&p)
	r.touch()
}

// remove takes out a member that memberlist believes dead, and has it dialled.
func (r *members) remove(name string) {
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

// died takes out a member whose run has ended without a good-bye, and has it
// dialled, for it may be started again.
func (r *members) died(name string, run uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[name]
	if k == nil || k.run != run || k.dead {
		return
	}
	delete(r.members, name)
	k.dead = true
	k.miss(time.Now())
	r.over(Gone{Name: name, Incarnation: run, Died: true})
	poke(r.lost)
	r.touch()
}

// last returns what the last known run of a member published, though it may be
// missing now; dead says that its keeper has told of its death.
func (r *members) last(name string) (p Peer, dead, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[name]
	if k == nil {
		return Peer{}, false, false
	}
	return k.peer, k.dead, true
}

// goodbye takes out a member that has left, and forgets it; false: that is no
// news. memberlist may have taken it out already, as one that died.
func (r *members) goodbye(name string, incarnation uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[name]
	if k == nil || k.run != incarnation {
		return false
	}
	delete(r.members, name)
	delete(r.known, name)
	r.parted = append(r.parted[max(len(r.parted)-maxParted+1, 0):], parted{name, incarnation, k.got})
	r.over(Gone{Name: name, Incarnation: incarnation})
	r.touch()
	return true
}

// over tells that a run has ended; the oldest news makes room.
func (r *members) over(g Gone) {
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
func (r *members) remember(p *Peer) {
	if _, ok := r.known[p.Name]; !ok && len(r.known) >= maxKnown {
		r.forgetLongest()
	}
	now := &known{addr: p.Addr, home: p.home, run: p.Incarnation, sent: r.highest, peer: *p}
	if k := r.known[p.Name]; k != nil && k.run == now.run {
		now.sent, now.got = k.sent, k.got
	}
	r.known[p.Name] = now
	for other, k := range r.known {
		// A process has taken the address over: no other will answer there.
		if k.addr == p.Addr && other != p.Name && !k.missing.IsZero() {
			delete(r.known, other)
		}
	}
}

// forgetLongest makes room for one more.
func (r *members) forgetLongest() {
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
func (r *members) addrOf(name string) (netip.AddrPort, bool) {
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
func (r *members) member(name string) (Peer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.members[name]
	return p, ok
}

// size is how many others are believed alive.
func (r *members) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members)
}

// some returns up to n of the others, at random.
func (r *members) some(n int) []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Collect(maps.Values(r.members))
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// handles reports whether addr belongs to a member that is or was in the view,
// so that no seed needs to look after it.
func (r *members) handles(addr netip.AddrPort) bool {
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
func (r *members) seedDone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.touch()
	}
}

// clashed notes whether a namesake was first, as of now.
func (r *members) clashed(yes bool) {
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
func (r *members) isClashing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clashing()
}

func (r *members) clashing() bool {
	return !r.clash.IsZero() && time.Since(r.clash) < findings.TTL
}

// current returns the view.
func (r *members) current() View {
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
func (r *members) seen() *View {
	if r.view == nil {
		all := make([]Peer, 0, len(r.members)+1)
		all = append(all, r.self)
		for _, p := range r.members {
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
		r.view = &View{Members: all, Settled: r.waiting == 0, Apart: r.apart, Stray: r.stray}
	}
	return r.view
}
