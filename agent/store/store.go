package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Config is what a Store is told. Every field is required but Path, Voter and
// Restore.
type Config struct {
	// Path is the file of this voter; "" on a member that is none.
	Path string
	// Voter is the entry of Voters that this member is; "": none.
	Voter string
	// Voters are the entries of all voters, the same on every node.
	Voters []string
	// Self is the name of this member.
	Self string
	// Member returns the name of the member that a voter is; "": unknown.
	Member func(voter string) string
	// Leads returns the term under which this member leads the group's own
	// election, checked against the clock now; 0: it does not.
	Leads func() uint64
	// Leader returns the name of the member that leads; "": none is known.
	Leader func() string
	// Network carries the messages.
	Network Network
	// Restore is a saved copy that a new group begins with; "": none.
	Restore string
	// Ready is called, from any goroutine, when Serves may have changed.
	Ready func()
	// Log receives what there is to say.
	Log *slog.Logger
}

const (
	// tick is how often a leader asks after its voters.
	tick = 100 * time.Millisecond
	// statusEvery is how often voters tell each other how far they are, and
	// statusFresh how long that counts.
	statusEvery, statusFresh = 500 * time.Millisecond, 3 * time.Second
	// campaignEvery is how often a doyen asks for the votes again.
	campaignEvery = 150 * time.Millisecond
	// lendFor is how long a voter leads raft to bring the doyen up, and how long the
	// doyen leaves it to it.
	lendFor = time.Second
	// behindAfter is how long a doyen tries to be brought up before it hands over.
	behindAfter = 2 * time.Second
	// reopenEvery is how often a disk that failed is tried again.
	reopenEvery = 2 * time.Second
	// troubleAfter is how long something must keep the store from its work before the
	// state says so.
	troubleAfter = 5 * time.Second
	// maxBatch is how many proposals share one write to the disk.
	maxBatch = 512
	// caughtUp is how many entries a voter without a vote may lack when it gets it.
	caughtUp = 1000
)

// Store is one member's part in the store. Its methods are safe for concurrent
// use.
type Store struct {
	cfg     Config
	log     *slog.Logger
	network *network
	digest  uint64

	// What follows belongs to run.
	disk     *boltDisk
	replica  *replica
	failed   error // of the disk
	retryAt  time.Time
	pending  map[uint64]*proposal
	asked    []*proposal        // not proposed yet
	peers    map[string]*status // by voter
	next     uint64             // the number of the next proposal
	campaign time.Time          // when this member last asked for votes
	behindAt time.Time          // since when it is known that this came to nothing, as its log is behind
	askedAt  time.Time          // when another was last asked to bring this member up
	lending  lending
	proposed uint64    // the term of the last lead entry proposed
	under    uint64    // raft's term then
	entry    uint64    // the number of that proposal; 0: it has been applied
	sentAt   time.Time // of the last status
	toldAt   map[string]time.Time
	held     map[uint64]*pb.Message // by the replica that it is for; see transmit
	commits  *time.Timer            // when to send them
	troubled time.Time              // since when something keeps the store from its work

	proposals chan *proposal
	inbox     chan inboxed
	results   chan sentResult
	poked     chan struct{}
	places    chan struct{} // taken by calls of other members
	long      chan struct{} // taken by answers that may be long

	machine atomic.Pointer[machine]
	serving atomic.Uint64 // the term under which this member orders changes; 0: it does not
	state   atomic.Pointer[State]
	last    atomic.Pointer[position]
	done    chan struct{}
	stop    context.CancelFunc
}

type proposal struct {
	command Command
	reply   chan reply // capacity one
}

type reply struct {
	outcome outcome
	err     error
}

type inboxed struct {
	kind byte
	body []byte
}

type sentResult struct {
	p   *parcel
	err error
}

// position is where a log ends.
type position struct{ term, index uint64 }

func (p position) newer(than position) bool {
	return p.term > than.term || p.term == than.term && p.index > than.index
}

// lending is a voter's help to a doyen whose log is behind its own.
type lending struct {
	to    uint64 // raft's id of the doyen; 0: none is helped
	until time.Time
}

// The kinds of messages, the first byte of each.
const (
	raftMessage   = 'R'
	statusMessage = 'S'
	foundMessage  = 'F'
	lendMessage   = 'L'
	joinMessage   = 'J'
	callMessage   = 'C'
)

// status is what a voter tells the others of itself.
type status struct {
	Voter    string `json:"voter"`
	ID       uint64 `json:"id"`
	Group    uint64 `json:"group"`
	Pristine bool   `json:"pristine"`
	Term     uint64 `json:"term"`
	Index    uint64 `json:"index"`
	Digest   uint64 `json:"digest"`
	at       time.Time
}

func (p *status) fresh() bool { return p != nil && time.Since(p.at) < statusFresh }

// State is how the store of this member is.
type State struct {
	// Voter is false on a member that keeps no copy.
	Voter bool `json:"voter"`
	// Votes is false on a voter whose log has not been brought up yet.
	Votes bool `json:"votes"`
	// Serving: this member orders the changes.
	Serving bool `json:"serving"`
	// Term and Index are those of the last change applied here.
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
	// Commit is the index up to which changes are known to be committed.
	Commit uint64 `json:"commit"`
	Keys   int    `json:"keys"`
	Bytes  int    `json:"bytes"`
	// Lag is, on the member that orders, how many entries each voter lacks; -1: it
	// has not been heard of.
	Lag map[string]int64 `json:"lag,omitempty"`
	// SlowestMS is how long a write to the disk took lately.
	SlowestMS float64 `json:"slowest_ms"`
	// Trouble is why the store does not work here, in a sentence; "": it does.
	Trouble string `json:"trouble,omitempty"`
	// Behind: this member leads and cannot order changes, as the log of another
	// voter is newer than its own.
	Behind bool `json:"behind,omitempty"`
	// Unfounded: a majority of the voters is heard of, and none has kept anything
	// yet, so there is nothing that a fence could guard.
	Unfounded bool `json:"unfounded,omitempty"`
	// DiskError is why this member cannot write; "": it can.
	DiskError string `json:"disk_error,omitempty"`
}

// Open opens the file and begins to take part. The error of a file that is
// damaged says so, and the file stays as it is.
func Open(c Config) (*Store, error) {
	s := &Store{
		cfg: c, log: c.Log, pending: map[uint64]*proposal{}, peers: map[string]*status{}, toldAt: map[string]time.Time{},
		held: map[uint64]*pb.Message{}, commits: time.NewTimer(holdCommit),
		proposals: make(chan *proposal, maxBatch), inbox: make(chan inboxed, 256), results: make(chan sentResult, 1024),
		places: make(chan struct{}, maxCalls), long: make(chan struct{}, maxLong), poked: make(chan struct{}, 1), done: make(chan struct{}), digest: digest(c.Voters), next: draw(),
	}
	s.state.Store(&State{Voter: c.Voter != ""})
	s.last.Store(&position{})
	s.machine.Store(newMachine())
	if c.Restore != "" {
		if _, err := readSaved(c.Restore); err != nil {
			return nil, err
		}
	}
	s.network = newNetwork(c.Network, c.Self, c.Member, c.Leader)
	s.network.sent = s.sentOne
	if c.Voter != "" {
		if err := s.open(); err != nil {
			s.network.close()
			return nil, err
		}
	}
	c.Network.Serve(s.serveStream)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.run(ctx)
	return s, nil
}

// Close ends it. What has been acknowledged is on disk.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	s.network.close()
	if s.disk != nil {
		return s.disk.close()
	}
	return nil
}

// Poke makes the store look who leads now.
func (s *Store) Poke() { poke(s.poked) }

// Serves reports whether the entry that says that this member leads the group's own
// election under a term, or a higher one, has been committed by it.
func (s *Store) Serves(term uint64) bool { return term != 0 && s.serving.Load() >= term }

// Last returns where the log of this member ends on its disk: the term and the index
// of its newest entry, by which logs are compared; zeros: it has none.
func (s *Store) Last() (term, index uint64) {
	p := s.last.Load()
	return p.term, p.index
}

// State returns how the store is.
func (s *Store) State() State { return *s.state.Load() }

func (s *Store) open() (err error) {
	if s.disk, err = openDisk(s.cfg.Path); err != nil {
		return err
	}
	if s.replica, err = newReplica(s.disk, draw, s.transmit, s.applied); err != nil {
		err = errors.Join(err, s.disk.close())
		s.disk, s.replica = nil, nil
		return err
	}
	s.machine.Store(s.replica.machine)
	s.noteLast()
	return nil
}

// draw returns a random number that is no number of raft's own.
func draw() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])>>1 | 1
}

// CheckSaved reports why Open would refuse a file as Config.Restore.
func CheckSaved(path string) error {
	_, err := readSaved(path)
	return err
}

// readSaved reads what Save has written.
func readSaved(path string) (*machine, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("store-restore: %w", err)
	}
	if b, err = checked(b); err != nil {
		return nil, fmt.Errorf("store-restore: %s is no saved store, or is damaged: %w", path, err)
	}
	m, err := parseSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("store-restore: %s: %w", path, err)
	}
	return m, nil
}
