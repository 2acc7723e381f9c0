package store

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

var simSeeds = flag.Uint64("store.seeds", 60, "how many seeds the simulation of the store runs")

// TestSimulation runs groups of replicas with lost, doubled and reordered messages, two
// doyens at once, voters that bring others up, crashes in the midst of a write and disks
// that forget what was not synced. No acknowledged change may be lost, none may be
// applied twice or past its fence, and no two replicas may have applied different ones
// at one index.
func TestSimulation(t *testing.T) {
	for seed := range *simSeeds {
		if err := simulate(seed, simMutant{}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestSimulationNotices breaks the store in ways that the simulation must notice.
func TestSimulationNotices(t *testing.T) {
	for name, mutant := range map[string]simMutant{
		"acknowledged without a sync":                   {unsynced: true},
		"a request applied again":                       {forgetful: true},
		"a restart with an empty disk under the old id": {wiped: true},
	} {
		noticed := false
		for seed := uint64(0); seed < 400 && !noticed; seed++ {
			noticed = simulate(seed, mutant) != nil
		}
		if !noticed {
			t.Errorf("%s: not noticed", name)
		}
	}
}

type simMutant struct{ unsynced, forgetful, wiped bool }

var errCrash = errors.New("the host crashed")

// simDisk loses at a crash what save has not made durable.
type simDisk struct {
	sim     *sim
	durable image
	cache   []*batch // of a disk that does not sync
}

func (d *simDisk) load() (*image, error) {
	d.cache = nil
	im := d.durable
	im.hard = proto.Clone(im.hard).(*pb.HardState)
	im.entries = append([]*pb.Entry(nil), d.durable.entries...)
	return &im, nil
}

func (d *simDisk) close() error { return nil }

func (d *simDisk) save(b *batch) error {
	if d.sim.rng.IntN(300) == 0 {
		return errCrash // before
	}
	if d.cache = append(d.cache, b); !d.sim.mutant.unsynced || d.sim.rng.IntN(4) == 0 {
		for _, b := range d.cache {
			d.apply(b)
		}
		d.cache = nil
	}
	if d.sim.rng.IntN(300) == 0 {
		return errCrash // after
	}
	return nil
}

func (d *simDisk) apply(b *batch) {
	im := &d.durable
	if b.identity != nil {
		im.identity = *b.identity
	}
	if b.hard != nil {
		im.hard = proto.Clone(b.hard).(*pb.HardState)
	}
	if b.snapshot != nil {
		im.snapshot = proto.Clone(b.snapshot).(*pb.Snapshot)
	}
	if b.reset {
		im.entries = nil
	}
	kept := im.entries
	if len(b.entries) > 0 {
		for len(kept) > 0 && kept[len(kept)-1].GetIndex() >= b.entries[0].GetIndex() {
			kept = kept[:len(kept)-1]
		}
	}
	kept = append(append([]*pb.Entry(nil), kept...), b.entries...)
	for len(kept) > 0 && kept[0].GetIndex() <= im.snapshot.GetMetadata().GetIndex() {
		kept = kept[1:]
	}
	im.entries = kept
}

type simNode struct {
	disk    *simDisk
	replica *replica
	asked   map[uint64]string // the request of each proposal of this run
}

type sim struct {
	rng     *rand.Rand
	mutant  simMutant
	nodes   map[uint64]*simNode
	network [][]byte
	next    uint64
	acked   map[string]bool
	order   map[uint64]string // what was applied at each index
	fences  map[uint64]uint64 // of each proposal
	terms   map[uint64]uint64 // that each proposal says the election is led under
	led     map[uint64]uint64 // by the index at which that is applied
	doyens  uint64            // the highest term so far
	fault   error
}

func simulate(seed uint64, mutant simMutant) error {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 1)), mutant: mutant, nodes: map[uint64]*simNode{},
		acked: map[string]bool{}, order: map[uint64]string{},
		fences: map[uint64]uint64{}, terms: map[uint64]uint64{}, led: map[uint64]uint64{},
	}
	size := uint64(3 + 2*s.rng.IntN(2))
	members := map[uint64]string{}
	for id := uint64(1); id <= size; id++ {
		members[id] = fmt.Sprint("v", id)
	}
	for id := range size {
		n := &simNode{disk: &simDisk{sim: s, durable: image{mark: mark{identity: identity{id: id + 1}}, hard: &pb.HardState{}}}}
		s.nodes[id+1] = n
		s.start(id + 1)
		for n.replica.found(7, members, nil) != nil {
			s.start(id + 1)
		}
	}
	for range 1500 {
		if s.step(size); s.fault != nil {
			return s.fault
		}
	}
	return s.settle(size)
}

func (s *sim) start(id uint64) {
	n := s.nodes[id]
	n.asked = map[uint64]string{}
	for {
		r, err := newReplica(n.disk, func() uint64 { return id }, s.send, func(proposal uint64, o outcome) { s.applied(id, proposal, &o) })
		if err == nil {
			// Small, so that snapshots are made and sent, too.
			r.compaction = compaction{bytes: 8 << 20, entries: 10 + s.rng.Uint64N(20), trailing: s.rng.Uint64N(20)}
			n.replica = r
			return
		}
		if !errors.Is(err, errCrash) {
			s.fault = err
			return
		}
	}
}

func (s *sim) send(m *pb.Message) {
	b, err := proto.Marshal(m)
	if err == nil && s.rng.IntN(20) > 0 {
		s.network = append(s.network, b)
	}
	if m.GetType() == pb.MsgSnap {
		s.nodes[m.GetFrom()].replica.node.ReportSnapshot(m.GetTo(), raft.SnapshotFinish)
	}
}

func (s *sim) applied(id, proposal uint64, o *outcome) {
	n := s.nodes[id]
	if request := n.asked[proposal]; request != "" && o.kind == 0 {
		s.acked[request] = true
	}
	if n.replica == nil {
		return
	}
	if term := s.terms[proposal]; term != 0 {
		s.led[o.Index] = term
		return
	}
	for index, term := range s.led {
		// The outcome of a repeated request is that of the first.
		if fence := s.fences[proposal]; o.kind == 0 && o.Index == n.replica.index && fence != 0 && index < o.Index && term > fence {
			s.fault = fmt.Errorf("at index %d replica %d lets a change with fence %d pass, after term %d at index %d", o.Index, id, fence, term, index)
		}
	}
	v, _ := n.replica.machine.get("f")
	was, there := s.order[v.Version]
	if there && was != string(v.Data) {
		s.fault = fmt.Errorf("at index %d one replica has %q and replica %d %q", v.Version, was, id, v.Data)
	}
	s.order[v.Version] = string(v.Data)
}

// step lets one thing happen.
func (s *sim) step(size uint64) {
	id := 1 + s.rng.Uint64N(size)
	n := s.nodes[id]
	r := n.replica
	switch s.rng.IntN(40) {
	case 0: // a doyen, perhaps beside another
		r.campaign()
	case 1:
		if r.state() == raft.StateLeader {
			r.node.Tick()
		}
	case 2:
		s.crashed(id, r.resign())
	case 3:
		if s.rng.IntN(4) == 0 {
			if s.mutant.wiped {
				n.disk.durable.entries, n.disk.durable.hard = nil, &pb.HardState{Term: new(uint64(1)), Commit: n.disk.durable.snapshot.GetMetadata().Index}
			}
			s.start(id)
		}
	case 4: // a doyen, once it leads raft
		s.doyens++
		c := Command{Op: opLead, election: GroupElection, term: s.doyens, proposal: 2<<40 + s.doyens}
		if s.terms[c.proposal] = c.term; r.propose(&c) != nil {
			delete(s.terms, c.proposal)
		}
	case 9:
		r.lend(1 + s.rng.Uint64N(size))
	case 5, 6, 7, 8:
		s.ask(n)
	default:
		s.deliver()
	}
	s.crashed(id, n.replica.pump())
	s.check()
}

// ask has clients put requests to a leader at once.
func (s *sim) ask(n *simNode) {
	var all []*Command
	requests := map[uint64]string{}
	for range 1 + s.rng.IntN(3) {
		c, request := s.request(n)
		all, requests[c.proposal] = append(all, c), request
	}
	if n.replica.propose(all...) == nil {
		maps.Copy(n.asked, requests)
	}
}

// request is one that a client puts, or repeats.
func (s *sim) request(n *simNode) (*Command, string) {
	request := fmt.Sprint("r", s.rng.Uint64N(s.next+1))
	if s.next++; s.rng.IntN(3) > 0 {
		request = fmt.Sprint("r", s.next)
	}
	c := Command{Op: OpPut, Key: "f", Value: []byte{}, proposal: 1<<40 + s.next}
	if v, ok := n.replica.machine.get("f"); ok && v.Version > 0 {
		c.Op, c.Value = OpAppend, []byte(request+" ")
		if c.Request = request; s.mutant.forgetful {
			c.Request = ""
		}
	} else {
		request, c.Op = "", OpCreate
	}
	if s.doyens > 0 && s.rng.IntN(2) == 0 {
		c.Fence, c.FenceElection = 1+s.rng.Uint64N(s.doyens), GroupElection
	}
	s.fences[c.proposal] = c.Fence
	return &c, request
}

func (s *sim) deliver() {
	if len(s.network) == 0 {
		return
	}
	i := s.rng.IntN(len(s.network))
	b := s.network[i]
	if s.rng.IntN(15) > 0 { // else it comes again
		s.network = append(s.network[:i:i], s.network[i+1:]...)
	}
	var m pb.Message
	if err := proto.Unmarshal(b, &m); err != nil {
		s.fault = err
		return
	}
	to := s.nodes[m.GetTo()]
	if err := to.replica.receive(&m); err != nil {
		s.fault = err
		return
	}
	s.crashed(m.GetTo(), to.replica.pump())
}

func (s *sim) crashed(id uint64, err error) {
	switch {
	case errors.Is(err, errCrash):
		s.start(id)
	case err != nil:
		s.fault = fmt.Errorf("replica %d: %w", id, err)
	}
}

// check holds every replica's value against what must be true of it at any time.
func (s *sim) check() {
	for id, n := range s.nodes {
		v, _ := n.replica.machine.get("f")
		seen := map[string]bool{}
		for token := range strings.FieldsSeq(string(v.Data)) {
			if seen[token] {
				s.fault = fmt.Errorf("replica %d has %s twice: %q", id, token, v.Data)
			}
			seen[token] = true
		}
	}
}

// settle lets the network be good, and looks for what was acknowledged.
func (s *sim) settle(size uint64) error {
	for round := range 400 {
		for id := uint64(1); id <= size; id++ {
			n := s.nodes[id]
			if n.replica.state() == raft.StateLeader {
				n.replica.node.Tick()
			}
			s.crashed(id, n.replica.pump())
		}
		if round%80 == 0 {
			s.nodes[1+uint64(round/80)%size].replica.campaign()
			s.crashed(1+uint64(round/80)%size, s.nodes[1+uint64(round/80)%size].replica.pump())
		}
		for range 2 * size {
			s.deliver()
		}
		if s.check(); s.fault != nil {
			return s.fault
		}
	}
	most := s.nodes[1]
	for _, n := range s.nodes {
		if n.replica.index > most.replica.index {
			most = n
		}
	}
	v, _ := most.replica.machine.get("f")
	for request := range s.acked {
		if !strings.Contains(" "+string(v.Data), " "+request+" ") {
			return fmt.Errorf("%s was acknowledged and is not in %q", request, v.Data)
		}
	}
	return nil
}
