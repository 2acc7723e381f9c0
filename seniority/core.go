package seniority

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Core is the election as one node sees it: a state machine without a clock,
// a network or a goroutine. It is not safe for concurrent use; one loop owns it.
type Core struct {
	cfg        Config
	timing     Timing
	electorate electorate
	self       Member
	unfit      Reason // why this node may not lead; None: it may
	mustLead   bool   // it was handed the lead, or has found no member to hand it to
	asideUntil time.Duration
	choice     Choice // the placement of this election
	log        Log    // where this node's log ends

	view  view
	voter voter
	claim claim
	led   followed

	// former is the leadership that just ended. It is kept until its release message
	// arrives, which may be after its end was noticed.
	former followed

	phase     Phase
	answers   int           // of voters to the last claim that was outvoted; 0: none was since a leader
	waitFrom  time.Duration // when Waiting: from when on turns are counted
	electAt   time.Duration // when Waiting: this node's turn; 0: not before something changes
	failures  int           // claims given up since the last leader
	retryAt   time.Duration // after a claim given up: no claim before
	reach     reach         // which voters hear this node, and whether it could win
	started   time.Duration
	metAt     time.Duration // when another member was first seen; 0: never
	met       bool          // this node has followed another, or led one
	everLed   bool          // this node has known a leader
	graceTill time.Duration // after a pause: no claim before
	highest   uint64        // highest believable term known
	persisted uint64
	otherTill time.Duration // until then another leadership is taken for alive
	skewed    bool          // voters say that the wall clock is far ahead

	held       time.Duration // how long this node has led
	inherits   time.Duration // from when on the leadership counts that this node may go on from
	mayInherit bool          // there is one
	needsMost  bool          // and it does so only if most members confirm its claim
	vacant     time.Duration // since when it has known no leader
	silence    time.Duration // for how long its claims have had no answer
	skipSettle bool          // others have settled already

	releasing   uint64 // the term whose release is under way
	releaseBy   time.Duration
	unannounced Reason // why a term was lost whose end the voters are to be told after its release
	numbers     numbers
	welcomed    map[string]uint64
	previous    string
	reason      Reason
	shown       string // the leader and the term last told of
	shownTerm   uint64
	ended       uint64 // the term of the last leadership followed that was released

	lapsed string // the leader that lapsed last, whose vote is not waited for
	vain   vain   // leaderships of this node that were in vain
	// handedTill is when a successor that says nothing is passed over; 0: there is
	// none, or it has been heard.
	handedTill time.Duration
	deposed    string             // the leader whose word or will ended the last leadership
	courtesy   map[string]bool    // claimants that have been told of a preferred one
	penalties  map[string]penalty // members that led and failed
	suspects   map[string]suspect // leaders that lapsed or died, as long as gossip lists them

	seq  uint64
	wake time.Duration
	out  Output

	// Messages whose address the electorate is given, kept here so that a
	// renewal allocates nothing.
	received, own Message
}

// penalty keeps a preempting member that failed from taking over again before
// until; wait doubles with each term that failed.
type penalty struct {
	until, wait time.Duration
	term        uint64
	// ill is until when gossip may still show a member as one that may lead which has
	// given up the lead because its health check fails.
	ill time.Duration
}

// suspect is the run of a member that is taken for dead.
type suspect struct {
	incarnation uint64
	join        Join          // as gossip showed it then: a new one is a sign of life
	seq         uint64        // of the last claim heard
	at          time.Duration // since when
}

// New returns the core of a node that starts now.
func New(cfg Config, now Now) (*Core, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("election: %w", err)
	}
	cfg.Voters = slices.Clone(cfg.Voters)
	c := &Core{
		cfg: cfg, timing: cfg.Timing, self: cfg.Self,
		started: now.Boot, highest: cfg.Highest, persisted: cfg.Highest,
		courtesy: map[string]bool{}, penalties: map[string]penalty{}, suspects: map[string]suspect{}, welcomed: map[string]uint64{},
	}
	c.self.Join = Join{}
	if !cfg.Self.Eligible {
		c.unfit = Unhealthy
	}
	c.claim.ballots, c.claim.watched = map[string]ballot{}, map[string]uint64{}
	c.voter.floor, c.voter.floorOf = cfg.Highest, cfg.HighestOf
	if len(cfg.Voters) > 0 {
		q := &quorum{core: c, names: map[string]string{}, lists: map[string][]string{}}
		c.electorate = q
		if cfg.Self.Voter != "" {
			c.voter.abstain(now, cfg.Timing.Lease, cfg.KeptLease)
		}
	} else {
		c.electorate = &available{core: c}
	}
	c.setView(nil, false)
	c.await(now, 0)
	c.finish(now)
	return c, nil
}

// Order returns the members in the line of succession. The caller must not
// change the slice, nor keep it beyond the next Step.
func (c *Core) Order() []Member { return c.view.members }

// Greeting returns what a member that joins should be told of the leadership,
// to be passed on by gossip; false if there is nothing to tell.
func (c *Core) Greeting() (Message, bool) {
	if c.phase == Holding {
		m := c.claimMessage(Leading)
		m.Gossiped = true
		return m, true
	}
	return c.led.said, c.led.name != ""
}

// secret is the secret of a term: only this run of this node can know it.
func (c *Core) secret(term uint64) [32]byte {
	var b [40]byte
	copy(b[:], c.cfg.Seed[:])
	binary.BigEndian.PutUint64(b[32:], term)
	return sha256.Sum256(b[:])
}
