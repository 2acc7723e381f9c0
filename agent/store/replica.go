package store

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	// maxAppend is how many bytes of entries one message carries, beyond one entry.
	maxAppend = 1 << 20
	// maxInflight is how many messages of entries may be under way to one voter.
	maxInflight = 64
	// maxUncommitted bounds what a leader that cannot commit takes.
	maxUncommitted = 16 << 20
	// never is a raft time-out: only the doyen calls elections.
	never = math.MaxInt32
)

// compaction says when a replica makes a snapshot, and what it forgets then.
type compaction struct {
	// bytes and entries are how much may be logged before; a snapshot of a large state
	// waits for as many bytes as the state itself has.
	bytes   int
	entries uint64
	// trailing is how many entries stay in memory behind a snapshot, so that a voter
	// that is a little behind needs none.
	trailing uint64
}

var usualCompaction = compaction{bytes: 8 << 20, entries: 10000, trailing: 5000}

// replica is one voter's part in the group: raft, the disk and the state
// machine. It starts no goroutine and reads no clock: what it does depends on
// its calls alone, so that the simulator can play it. After an error of the disk
// it must be made again from the disk, as after a crash.
type replica struct {
	disk     disk
	identity identity
	log      *raft.MemoryStorage
	node     *raft.RawNode // nil: of no group yet
	machine  *machine
	config   *pb.ConfState

	// send takes a message; applied is told what became of each command.
	send    func(*pb.Message)
	applied func(proposal uint64, o outcome)

	compaction compaction
	index      uint64 // of the last entry applied
	logged     int    // bytes of entries since the last snapshot
	snapped    uint64 // its index
	term       uint64 // raft's, as it is on disk
}

// newReplica makes a replica from what its disk holds; draw draws the id of an empty one.
func newReplica(d disk, draw func() uint64, send func(*pb.Message), applied func(uint64, outcome)) (*replica, error) {
	im, err := d.load()
	if err != nil {
		return nil, err
	}
	r := &replica{disk: d, identity: im.identity, compaction: usualCompaction, log: raft.NewMemoryStorage(), machine: newMachine(), config: &pb.ConfState{}, send: send, applied: applied}
	if r.identity.id == 0 {
		r.identity.id = draw()
		if err := d.save(&batch{identity: &r.identity}); err != nil {
			return nil, err
		}
	}
	if im.snapshot != nil {
		if err := r.log.ApplySnapshot(im.snapshot); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if err := r.restore(im.snapshot); err != nil {
			return nil, err
		}
		// What a snapshot holds was committed, which the disk may have been told first
		// by the snapshot; see save.
		im.hard.Commit = new(max(im.hard.GetCommit(), r.snapped))
	}
	if err := errors.Join(r.log.SetHardState(im.hard), r.log.Append(im.entries)); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	r.term = im.hard.GetTerm()
	if r.identity.group != 0 {
		err = r.begin()
	}
	return r, err
}

// begin makes the node of raft: a follower, from what is on disk. Raft panics at what no
// replica leaves there; that is an error here.
func (r *replica) begin() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: raft refuses what is on disk: %v", p)
		}
	}()
	r.node, err = raft.NewRawNode(&raft.Config{
		ID: r.identity.id, ElectionTick: never, HeartbeatTick: 1, Storage: r.log, Applied: r.index,
		MaxSizePerMsg: maxAppend, MaxInflightMsgs: maxInflight, MaxUncommittedEntriesSize: maxUncommitted,
		DisableProposalForwarding: true, StepDownOnRemoval: true,
		Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// resign makes a leader or candidate a follower again, as a restart would:
// nothing that it has asked for under its term counts any more.
func (r *replica) resign() error {
	if r.state() == raft.StateFollower {
		return nil
	}
	return r.begin()
}

func (r *replica) state() raft.StateType {
	if r.node == nil {
		return raft.StateFollower
	}
	return r.node.BasicStatus().RaftState
}

// raftTerm is the term of raft, perhaps newer than on disk.
func (r *replica) raftTerm() uint64 {
	if r.node == nil {
		return 0
	}
	return r.node.BasicStatus().GetTerm()
}

// last is the place of the last entry on disk, by which raft tells whose log is
// newer.
func (r *replica) last() (term, index uint64) {
	index, _ = r.log.LastIndex()
	term, _ = r.log.Term(index)
	return term, index
}

// promotable reports whether this replica has a vote, without which it cannot lead.
func (r *replica) promotable() bool {
	return r.node != nil && contains(r.config.GetVoters(), r.identity.id)
}

// pristine reports whether this replica has neither voted nor acknowledged
// anything: it may become part of another group without breaking its word.
func (r *replica) pristine() bool {
	_, last := r.last()
	return r.term <= 1 && last <= 1
}

// found makes a pristine replica a voter of a new group. state is the machine's.
func (r *replica) found(group uint64, members map[uint64]string, state *machine) error {
	if !r.pristine() || members[r.identity.id] == "" {
		return nil
	}
	m := newMachine()
	m.index, m.members = 1, members
	if state != nil {
		for key, v := range state.keys { // versions count from the start of the group
			state.keys[key] = &value{data: v.data, version: 1}
		}
		m.keys, m.size, m.terms = state.keys, state.size, state.terms
	}
	config := &pb.ConfState{}
	for id := range members {
		config.Voters = append(config.Voters, id)
	}
	snap := &pb.Snapshot{Data: m.snapshot(), Metadata: &pb.SnapshotMetadata{Index: new(uint64(1)), Term: new(uint64(1)), ConfState: config}}
	hard := &pb.HardState{Term: new(uint64(1)), Vote: new(uint64(0)), Commit: new(uint64(1))}
	id := identity{id: r.identity.id, group: group}
	if err := r.disk.save(&batch{identity: &id, snapshot: snap, hard: hard, reset: true}); err != nil {
		return err
	}
	r.identity, r.term = id, 1
	r.log = raft.NewMemoryStorage()
	if err := errors.Join(r.log.ApplySnapshot(snap), r.log.SetHardState(hard)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := r.restore(snap); err != nil {
		return err
	}
	return r.begin()
}

// join makes an empty replica part of a group that has been founded: it has no
// vote until the leader has brought it up.
func (r *replica) join(group uint64) error {
	if r.identity.group != 0 || group == 0 {
		return nil
	}
	id := identity{id: r.identity.id, group: group}
	if err := r.disk.save(&batch{identity: &id}); err != nil {
		return err
	}
	r.identity = id
	return r.begin()
}

// receive takes one message of another replica. Raft panics at what no replica
// sends; that is an error here.
func (r *replica) receive(m *pb.Message) (err error) {
	if r.node == nil || m.GetTo() != r.identity.id {
		return nil
	}
	switch m.GetType() {
	case pb.MsgApp, pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgSnap, pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgTimeoutNow:
	default:
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: a message of another replica cannot be true: %v", p)
		}
	}()
	_ = r.node.Step(m) // its errors say that the message is old
	return nil
}

// pump does what raft wants until it wants nothing more: it saves, sends and
// applies, in this order. A leader sends entries while it saves them, for its
// own copy counts only once it is saved. What is committed and on disk here is applied
// first: the answer to a change need not wait until later ones are saved.
func (r *replica) pump() error {
	for r.node != nil && r.node.HasReady() {
		rd := r.node.Ready()
		leads := r.state() == raft.StateLeader && (rd.HardState == nil || rd.HardState.GetTerm() == r.term)
		for _, m := range rd.Messages {
			if leads && early(m) {
				r.send(m)
			}
		}
		done := onDisk(&rd)
		if err := r.applyAll(rd.CommittedEntries[:done]); err != nil {
			return err
		}
		if err := r.save(&rd); err != nil {
			return err
		}
		for _, m := range rd.Messages {
			if !leads || !early(m) {
				r.send(m)
			}
		}
		if err := r.applyAll(rd.CommittedEntries[done:]); err != nil {
			return err
		}
		r.node.Advance(rd)
	}
	return r.compact()
}

// onDisk is how many of the committed entries need not be saved first: all that are not
// among those to be saved.
func onDisk(rd *raft.Ready) int {
	n := len(rd.CommittedEntries)
	for n > 0 && len(rd.Entries) > 0 && rd.CommittedEntries[n-1].GetIndex() >= rd.Entries[0].GetIndex() {
		n--
	}
	return n
}

// early reports whether a leader may send a message before its own copy of what
// it says is saved.
func early(m *pb.Message) bool { return m.GetType() == pb.MsgApp }

// save puts on disk what must be there before anything is said of it.
func (r *replica) save(rd *raft.Ready) error {
	b := batch{entries: rd.Entries}
	if !raft.IsEmptyHardState(rd.HardState) {
		b.hard = rd.HardState
	}
	var state *machine
	if !raft.IsEmptySnap(rd.Snapshot) {
		// One that a newer version has made may not replace what can be read.
		var err error
		if state, err = parseSnapshot(rd.Snapshot.GetData()); err != nil {
			return fmt.Errorf("store: from the leader: %w", err)
		}
		b.snapshot, b.reset = rd.Snapshot, true
	}
	// A commit index alone need not be saved: the next leader tells it again.
	if rd.MustSync || b.snapshot != nil || len(b.entries) > 0 {
		if err := r.disk.save(&b); err != nil {
			return err
		}
	}
	if b.snapshot != nil {
		if err := r.log.ApplySnapshot(b.snapshot); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		r.adopt(b.snapshot, state)
	}
	if b.hard != nil {
		r.term = b.hard.GetTerm()
		if err := r.log.SetHardState(b.hard); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	for _, e := range b.entries {
		r.logged += len(e.GetData()) + 64
	}
	if err := r.log.Append(b.entries); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// restore replaces the state by that of a snapshot.
func (r *replica) restore(s *pb.Snapshot) error {
	state, err := parseSnapshot(s.GetData())
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	r.adopt(s, state)
	return nil
}

func (r *replica) adopt(s *pb.Snapshot, state *machine) {
	r.machine.adopt(state)
	r.index, r.snapped, r.logged = s.GetMetadata().GetIndex(), s.GetMetadata().GetIndex(), 0
	r.config = s.GetMetadata().GetConfState()
}

// applyAll carries out committed entries.
func (r *replica) applyAll(entries []*pb.Entry) error {
	for _, e := range entries {
		if err := r.apply(e); err != nil {
			return err
		}
	}
	return nil
}

// apply carries out one committed entry.
func (r *replica) apply(e *pb.Entry) error {
	r.index = e.GetIndex()
	switch e.GetType() {
	case pb.EntryConfChangeV2, pb.EntryConfChange:
		var cc pb.ConfChangeV2
		if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
			return fmt.Errorf("store: entry %d: %w", e.GetIndex(), err)
		}
		r.config = r.node.ApplyConfChange(&cc)
		r.logged = math.MaxInt / 2 // a new voter needs a snapshot that it is part of
		r.machine.skip(e.GetIndex(), func(members map[uint64]string) {
			for _, c := range cc.GetChanges() {
				if c.GetType() == pb.ConfChangeRemoveNode {
					delete(members, c.GetNodeId())
				} else if len(cc.GetContext()) > 0 {
					members[c.GetNodeId()] = string(cc.GetContext())
				}
			}
		})
		return nil
	}
	if len(e.GetData()) == 0 { // the first of a raft leader
		r.machine.skip(e.GetIndex(), nil)
		return nil
	}
	c, err := decodeCommand(e.GetData())
	if err != nil {
		return fmt.Errorf("store: entry %d: %w", e.GetIndex(), err)
	}
	r.applied(c.proposal, r.machine.apply(e.GetIndex(), &c))
	return nil
}

// compact makes a snapshot if much has been logged since the last.
func (r *replica) compact() error {
	if r.node == nil || r.logged < max(r.compaction.bytes, r.machine.size) && r.index-r.snapped < r.compaction.entries {
		return nil
	}
	if r.index <= r.snapped {
		return nil
	}
	data := r.machine.snapshot()
	snap, err := r.log.CreateSnapshot(r.index, r.config, data)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := r.disk.save(&batch{snapshot: snap, compact: r.index}); err != nil {
		return err
	}
	first, _ := r.log.FirstIndex()
	keep := r.compaction.trailing
	if r.logged > r.compaction.bytes {
		keep = 0 // large entries
	}
	if to := r.index - min(r.index, keep); to >= first {
		if err := r.log.Compact(to); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	r.snapped, r.logged = r.index, 0
	return nil
}

// campaign asks the others for their votes.
func (r *replica) campaign() {
	if r.node != nil {
		_ = r.node.Campaign()
	}
}

// lend has a leader of raft bring another replica up, which then asks for the votes.
func (r *replica) lend(to uint64) {
	if r.state() == raft.StateLeader && r.node.BasicStatus().LeadTransferee != to {
		r.node.TransferLeader(to)
	}
}

// errNotTaken is returned for a proposal of which nothing was done.
var errNotTaken = errors.New("the store takes no more for now")

// propose appends commands to the leader's log, all or none of them, and tells each of
// the others with one message.
func (r *replica) propose(all ...*Command) error {
	if r.state() != raft.StateLeader {
		return errNotTaken
	}
	m := &pb.Message{Type: pb.MsgProp.Enum(), From: &r.identity.id}
	for _, c := range all {
		m.Entries = append(m.Entries, &pb.Entry{Data: c.encode()})
	}
	if r.node.Step(m) != nil {
		return errNotTaken
	}
	return nil
}
