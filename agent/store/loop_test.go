package store

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A doyen that leads raft again without having asked for it says once more under which
// term it leads, before it orders anything: the entry that said so may be lost.
func TestDoyenThatLeadsRaftAgain(t *testing.T) {
	s := loneStore()
	d := openTestDisk(t, filepath.Join(t.TempDir(), "store.db"))
	defer d.close()
	var err error
	if s.replica, err = newReplica(d, draw, func(*pb.Message) {}, s.applied); err != nil {
		t.Fatal(err)
	}
	r := s.replica
	pump := func() {
		t.Helper()
		if err := r.pump(); err != nil {
			t.Fatal(err)
		}
		s.advance()
	}
	put := func() error {
		p := &proposal{command: Command{Op: OpPut, Key: "k"}, reply: make(chan reply, 1)}
		s.asked = []*proposal{p}
		s.propose()
		pump()
		return (<-p.reply).err
	}
	if err := r.found(9, map[uint64]string{r.identity.id: "a"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // to lead raft, and to say so
		s.lead()
		pump()
	}
	if err := put(); err != nil || s.serving.Load() != 7 {
		t.Fatalf("a doyen of one voter: serves %d, %v", s.serving.Load(), err)
	}
	// Another led raft, and gave it back.
	if err := r.receive(&pb.Message{Type: pb.MsgHeartbeat.Enum(), From: new(uint64(3)), To: &r.identity.id, Term: new(r.raftTerm() + 5)}); err != nil {
		t.Fatal(err)
	}
	r.campaign()
	pump()
	if KindOf(put()) != Unavailable {
		t.Error("a change was ordered before the entry that says who leads")
	}
	before, _ := r.log.LastIndex()
	s.lead()
	pump()
	last, err := r.log.LastIndex()
	if err != nil || last != before+1 {
		t.Errorf("the log ends at %d, and ended at %d: want one entry that says who leads (%v)", last, before, err)
	}
	if err := put(); err != nil {
		t.Error(err)
	}
}

// loneStore is a store without its goroutine and its disk, of a doyen under term 7.
func loneStore() *Store {
	return &Store{
		cfg: Config{Voter: "a", Leads: func() uint64 { return 7 }, Ready: func() {}}, log: slog.New(slog.DiscardHandler),
		pending: map[uint64]*proposal{}, next: draw(),
	}
}

// A doyen whose disk failed and works again serves only once it knows that its log has
// all that it had acknowledged before.
func TestDoyenWhoseDiskWorksAgain(t *testing.T) {
	s := loneStore()
	d := openTestDisk(t, filepath.Join(t.TempDir(), "store.db"))
	defer d.close()
	const other = 3
	var sent []*pb.Message
	begin := func() {
		s.abandon(errNotServing)
		s.campaign = time.Time{}
		var err error
		if s.replica, err = newReplica(d, func() uint64 { return 1 }, func(m *pb.Message) { sent = append(sent, m) }, s.applied); err != nil {
			t.Fatal(err)
		}
	}
	// turn has the store do what is due, and the other voter answer if it is there.
	turn := func(there bool) {
		t.Helper()
		s.lead()
		if err := s.replica.pump(); err != nil {
			t.Fatal(err)
		}
		s.advance()
		all := sent
		sent = nil
		for _, m := range all {
			r := &pb.Message{From: new(uint64(other)), To: new(uint64(1)), Term: m.Term}
			switch {
			case m.GetType() == pb.MsgVote:
				r.Type = pb.MsgVoteResp.Enum()
			case m.GetType() == pb.MsgApp && there:
				r.Type, r.Index = pb.MsgAppResp.Enum(), new(m.GetIndex()+uint64(len(m.GetEntries())))
			case m.GetType() == pb.MsgHeartbeat && there:
				r.Type = pb.MsgHeartbeatResp.Enum()
			default:
				continue
			}
			if err := s.replica.receive(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func() *proposal {
		p := &proposal{command: Command{Op: OpPut, Key: "k"}, reply: make(chan reply, 1)}
		s.asked = []*proposal{p}
		s.propose()
		return p
	}
	begin()
	if err := s.replica.found(9, map[uint64]string{1: "a", other: "b"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		turn(true)
	}
	for range 3 { // each has the disk told that the one before was committed
		put()
		turn(true)
	}
	begin()
	for range 6 {
		turn(false)
	}
	if s.replica.state() != raft.StateLeader || s.replica.machine.led(GroupElection) != 7 {
		t.Fatalf("want it to lead raft, and to remember its term: %v, %d", s.replica.state(), s.replica.machine.led(GroupElection))
	}
	if got := s.serving.Load(); got != 0 {
		t.Errorf("it serves under term %d, and the other voter may hold more than it does", got)
	}
	for range 6 {
		s.replica.node.Tick() // asks again
		turn(true)
	}
	if got := s.serving.Load(); got != 7 {
		t.Errorf("with the other voter it serves under term %d, want 7", got)
	}
}

// Two voters that have come to keep different stores say so: neither can follow the other.
func TestVotersOfDifferentStores(t *testing.T) {
	s := loneStore()
	s.cfg.Voters = []string{"a", "b"}
	d := openTestDisk(t, filepath.Join(t.TempDir(), "store.db"))
	defer d.close()
	var err error
	if s.replica, err = newReplica(d, func() uint64 { return 1 }, func(*pb.Message) {}, s.applied); err != nil {
		t.Fatal(err)
	}
	if err := s.replica.found(9, map[uint64]string{1: "a", 2: "b"}, nil); err != nil {
		t.Fatal(err)
	}
	s.replica.campaign()
	if err := s.replica.pump(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		other status
		want  string
	}{
		{status{Group: 9}, ""},
		{status{Group: 0, Pristine: true}, ""},
		{status{Group: 8, Pristine: true}, ""},
		{status{Group: 8}, "voter b keeps another store than this one: "},
	} {
		step.other.Voter, step.other.at = "b", time.Now()
		s.peers = map[string]*status{"b": &step.other}
		if got := s.trouble(&State{}); !strings.HasPrefix(got, step.want) || step.want == "" && got != "" {
			t.Errorf("%+v: got %q, want %q", step.other, got, step.want)
		}
	}
}

// A snapshot that a newer version has made does not replace what this one can read.
func TestSnapshotOfANewerVersion(t *testing.T) {
	d := openTestDisk(t, filepath.Join(t.TempDir(), "store.db"))
	defer d.close()
	open := func() (*replica, error) {
		return newReplica(d, func() uint64 { return 1 }, func(*pb.Message) {}, func(uint64, outcome) {})
	}
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.found(9, map[uint64]string{1: "a", 2: "b", 3: "c"}, nil); err != nil {
		t.Fatal(err)
	}
	newer := newMachine().snapshot()
	newer[0]++
	snapshot := &pb.Snapshot{Data: newer, Metadata: &pb.SnapshotMetadata{
		Index: new(uint64(50)), Term: new(uint64(4)), ConfState: &pb.ConfState{Voters: []uint64{1, 2, 3}},
	}}
	if err := r.receive(&pb.Message{Type: pb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(5)), Snapshot: snapshot}); err != nil {
		t.Fatal(err)
	}
	if err := r.pump(); err == nil || !strings.Contains(err.Error(), "unknown format") {
		t.Errorf("a snapshot of a newer version: got %v", err)
	}
	if r, err = open(); err != nil {
		t.Errorf("the voter does not start any more: %v", err)
	} else if _, last := r.last(); last != 1 {
		t.Errorf("its log ends at %d, want 1", last)
	}
}
