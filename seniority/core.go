package seniority

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Config is what a core is made of. New copies and checks it once.
type Config struct {
	// Self is this node. Name and Incarnation are required.
	Self Member
	// Rule is the order of preference; required.
	Rule Rule
	// Timing is required; see Profile.
	Timing Timing
	// Preempt lets a preferred member take over from a healthy leader, once it
	// has been there for PreemptDelay. The rule's own default is Rule.Preempts.
	Preempt      bool
	PreemptDelay time.Duration
	// LoneWait is, in available mode, how long a node that has never met
	// another waits before it may lead alone: 0 at once, negative never.
	LoneWait time.Duration
	// Voters switches to quorum mode: the fixed list of entries of which a
	// majority must confirm. Self.Voter is this node's own entry, or "".
	Voters []string
	// Seed is drawn at random by the caller, once a run; the secrets of wills
	// are derived from it.
	Seed [32]byte
	// Highest is the highest term, and KeptLease the longest lease promised,
	// that a former run stored durably; 0 if none did.
	Highest   uint64
	KeptLease time.Duration
}

func (cfg *Config) check() error {
	switch {
	case cfg.Self.Name == "":
		return errors.New("name is empty")
	case cfg.Self.Incarnation == 0:
		return errors.New("incarnation is zero")
	case cfg.Rule == nil:
		return errors.New("rule is missing")
	case cfg.PreemptDelay < 0:
		return fmt.Errorf("preempt-delay of %v is negative", cfg.PreemptDelay)
	case cfg.Highest > maxTerm:
		return fmt.Errorf("highest term %d is beyond %d", cfg.Highest, uint64(maxTerm))
	case len(cfg.Voters) >= places:
		return fmt.Errorf("voters has %d entries, the most is %d", len(cfg.Voters), places-1)
	}
	for i, v := range cfg.Voters {
		if v == "" || slices.Contains(cfg.Voters[:i], v) {
			return fmt.Errorf("voters: entry %d (%q) is empty or stands there twice", i+1, v)
		}
	}
	if len(cfg.Voters) > 0 {
		if cfg.Self.Role == Observer && cfg.Self.Voter != "" {
			return fmt.Errorf("voters: %q is an observer, which has no vote", cfg.Self.Voter)
		}
		if cfg.Self.Voter != "" && !slices.Contains(cfg.Voters, cfg.Self.Voter) {
			return fmt.Errorf("voters: this node's entry %q is not in the list", cfg.Self.Voter)
		}
	}
	return cfg.Timing.Check(len(cfg.Voters) > 0, 0)
}

// Core is the election as one node sees it: a state machine without a clock,
// a network or a goroutine. It is not safe for concurrent use; one loop owns it.
type Core struct {
	cfg        Config
	timing     Timing
	electorate electorate
	self       Member
	healthy    bool
	asideUntil time.Duration

	view  view
	voter voter
	claim claim
	led   followed

	// former is the leadership followed last, after its end was noticed and
	// until its own last word on it comes, which may be later.
	former followed

	phase     Phase
	answers   int           // of voters to the last claim that was outvoted; 0: none was since a leader
	waitFrom  time.Duration // when Waiting: from when on turns are counted
	electAt   time.Duration // when Waiting: this node's turn; 0: not before something changes
	failures  int           // claims given up since the last leader
	started   time.Duration
	metAt     time.Duration // when another member was first seen; 0: never
	met       bool          // this node has followed another, or led one
	everLed   bool          // this node has known a leader
	graceTill time.Duration // after a pause: no claim before
	highest   uint64        // highest believable term known
	persisted uint64
	skewed    bool // voters say that the wall clock is far ahead

	held    time.Duration // how long this node has led
	silence time.Duration // for how long nobody has answered its claims
	hurried bool          // others have settled already

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

	lapsed    string             // the leader that lapsed last: no vote of its is waited for
	deposed   string             // the leader whose word or will ended the last leadership
	courtesy  map[string]bool    // claimants that have been told of a preferred one
	penalties map[string]penalty // members that led and failed
	suspects  map[string]suspect // leaders that lapsed or died, as long as gossip lists them

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
}

// suspect is the run of a member that is taken for dead.
type suspect struct {
	incarnation uint64
	join        Join   // as gossip showed it then: a new one is a sign of life
	seq         uint64 // of the last claim heard
}

// New returns the core of a node that starts now.
func New(cfg Config, now Now) (*Core, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("election: %w", err)
	}
	cfg.Voters = slices.Clone(cfg.Voters)
	c := &Core{
		cfg: cfg, timing: cfg.Timing, self: cfg.Self, healthy: cfg.Self.Eligible,
		started: now.Boot, highest: cfg.Highest, persisted: cfg.Highest,
		courtesy: map[string]bool{}, penalties: map[string]penalty{}, suspects: map[string]suspect{}, welcomed: map[string]uint64{},
	}
	c.self.Join = Join{}
	c.claim.ballots = map[string]ballot{}
	c.voter.floor = cfg.Highest
	if len(cfg.Voters) > 0 {
		q := &quorum{Core: c, names: map[string]string{}, lists: map[string][]string{}}
		c.electorate = q
		lan := profiles["lan"]
		c.voter.abstained = max(cfg.Timing.Lease, lan.Lease, cfg.KeptLease)
		c.voter.abstainTill = now.Boot + Drifted(c.voter.abstained)
	} else {
		c.electorate = &available{Core: c}
	}
	c.setView(nil, false)
	c.await(now, 0)
	c.finish(now)
	return c, nil
}

// Step takes one input at the time now and returns what to do about it. Time
// must not run backwards.
func (c *Core) Step(now Now, in Input) *Output {
	c.begin()
	c.arise(now)
	// Before the input: a claim may arrive at the instant the leader lapses,
	// and must not be told that the dead leader is preferred.
	c.watchLeader(now)
	switch in.Kind {
	case Tick:
	case Receive:
		c.received = in.Message
		c.receive(now, &c.received)
	case View:
		c.meet(now, in.Members, in.Settled)
	case Gone:
		c.gone(now, in.Name, in.Incarnation)
	case StepDown:
		c.out.Refused = c.stepDown(now, in.Reason, in.Aside)
	case Released:
		c.released(now, in.Term)
	case Fired:
		c.fired(now, in.Term, in.Reason)
	case Health:
		c.setHealth(now, in.Eligible)
	case Elect:
		c.out.Refused = c.elect(now)
	case StandAside:
		c.standAside(now, in.Aside)
	default:
		panic(fmt.Sprintf("seniority: input of unknown kind %d", in.Kind))
	}
	c.advance(now)
	c.finish(now)
	return &c.out
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

// begin empties the output of the step before.
func (c *Core) begin() {
	c.out.Messages = c.out.Messages[:0]
	c.out.Notes = c.out.Notes[:0]
	c.out.Refused = None
	c.out.Persist = 0
}

// arise notices a pause. Invariant: nothing is done on the strength of what
// was known before a pause longer than the lease; a holder whose deadline has
// passed stops before it looks at anything else.
func (c *Core) arise(now Now) {
	c.held, c.silence = now.Boot-c.claim.since, 0
	if c.claim.silent != 0 {
		c.silence = now.Boot - c.claim.silent
	}
	late := c.wake != 0 && now.Boot > c.wake+c.timing.Lease
	if c.phase == Holding && now.Boot >= c.claim.deadline {
		reason := LeaseLost
		if late {
			reason = Asleep
		}
		c.lose(now, reason)
	}
	if !late {
		return
	}
	c.note(Note{Kind: Awoke})
	c.graceTill = now.Boot + c.timing.Lease
	if c.phase == Claiming {
		c.abandon(now, Asleep)
	}
	c.forgetLeader(now, Asleep)
}

// advance does what is due at the time now. Each part looks at the state, not
// at what changed, so calling it too often does nothing.
func (c *Core) advance(now Now) {
	c.watchLeader(now)
	switch c.phase {
	case Following, Waiting:
		c.takeTurn(now)
	case Claiming:
		c.pursue(now)
	case Holding:
		c.hold(now)
	case Yielding:
		c.keepOut(now)
	}
	if c.phase == Waiting {
		c.electAt, _ = c.turn(now) // a claim or a lease may have ended just now
	}
}

// receive sorts a message out.
func (c *Core) receive(now Now, m *Message) {
	if r := c.malformed(m); r != None {
		c.ignore(m, r)
		return
	}
	if m.Kind != Release { // a will is from anybody until its secret is checked
		c.electorate.heard(now, m)
		if !m.Gossiped && !m.Deaf {
			c.absolve(m)
		}
	}
	switch m.Kind {
	case Claim:
		c.onClaim(now, m)
	case Confirm:
		c.onConfirm(now, m)
	case Object:
		c.onObject(now, m)
	case Release:
		c.onRelease(now, m)
	}
}

// malformed names what is wrong with a message that nobody following the
// protocol sends.
func (c *Core) malformed(m *Message) Reason {
	switch {
	case m.From == "" || m.Term == 0 || m.Term > maxTerm || m.Incarnation == 0:
		return Malformed
	case m.From == c.self.Name:
		return NotMine
	case m.Kind == Claim && (m.Lease <= 0 || m.Lease > 10*time.Minute):
		return Malformed
	case m.Kind < Claim || m.Kind > Release:
		return Malformed
	case m.To != "" && m.To != c.self.Name:
		return NotMine
	}
	return None
}

// learn takes note of a term that somebody knows. A term far ahead of
// everything is believed only of a leadership that has been won.
func (c *Core) learn(now Now, term uint64, won bool) {
	if term > c.highest && (won || !c.electorate.farAhead(now, term)) {
		c.highest = term
	}
}

// secret is the secret of a term: only this run of this node can know it.
func (c *Core) secret(term uint64) [32]byte {
	var b [40]byte
	copy(b[:], c.cfg.Seed[:])
	binary.BigEndian.PutUint64(b[32:], term)
	return sha256.Sum256(b[:])
}

func (c *Core) send(m Message) {
	m.From = c.self.Name
	m.Voter, m.Voters = c.self.Voter, c.cfg.Voters
	c.out.Messages = append(c.out.Messages, m)
}

func (c *Core) note(n Note) { c.out.Notes = append(c.out.Notes, n) }

func (c *Core) ignore(m *Message, r Reason) {
	c.note(Note{Kind: Ignored, Peer: m.From, Term: m.Term, Reason: r})
}

// finish describes the state after a step and the time of the next one.
func (c *Core) finish(now Now) {
	s := &c.out.Status
	leader, term := c.leader(now)
	if leader != c.shown || (leader != "" && term != c.shownTerm) {
		if c.shown != "" {
			c.previous = c.shown
		}
		c.shown = leader
		if leader != "" {
			c.shownTerm = term
		}
		c.note(Note{Kind: LeaderChanged, Peer: leader, Term: term, Reason: c.reason})
	}
	*s = Status{
		Phase: c.phase, Leader: leader, Term: term, Leading: c.phase == Holding,
		Reason: c.reason, Previous: c.previous, Electing: c.electing(now),
		Releasing: c.releasing, ReleaseBy: c.releaseBy,
		Join: c.self.Join, Eligible: c.self.Eligible, Highest: c.highest, AsideUntil: c.asideUntil,
		Abstaining: now.Boot < c.voter.abstainTill, Answers: c.answers,
	}
	if c.phase == Holding || c.phase == Yielding {
		s.Deadline, s.LeaseEnd, s.Since = c.claim.deadline, c.claim.leaseEnd, c.claim.since
		s.Will, s.Successor = c.claim.secret, c.claim.successor
	}
	if leader != "" && !s.Leading {
		s.Lapse = c.led.until
	}
	if c.voter.floor > c.persisted && (s.Leading || c.mustPersist()) {
		c.persisted = c.voter.floor
		c.out.Persist = c.voter.floor
	}
	c.out.MaxLease = max(c.timing.Lease, c.voter.longest)
	c.wake = c.nextWake(now)
	c.out.Wake = c.wake
}

// mustPersist reports whether the messages rest on the highest term: a claim or
// a confirm is about to be sent. A leader may have nobody to send one to.
func (c *Core) mustPersist() bool {
	return slices.ContainsFunc(c.out.Messages, func(m Message) bool { return m.Kind == Claim || m.Kind == Confirm })
}

// electing reports whether an election is under way as far as this node knows.
func (c *Core) electing(now Now) bool {
	switch c.phase {
	case Claiming:
		return true
	case Waiting, Following:
		if name, _ := c.leader(now); name != "" {
			return false
		}
		return c.voter.running(now) && c.voter.stand == Asking || c.phase == Waiting && c.electAt != 0 && c.electAt <= now.Boot+c.timing.Lease
	}
	return false
}

// nextWake is the earliest time at which advance has something to do.
func (c *Core) nextWake(now Now) time.Duration {
	var w time.Duration
	at := func(t time.Duration) {
		if t > 0 && (w == 0 || t < w) {
			w = t
		}
	}
	if c.led.name != "" {
		at(c.led.until)
	}
	if c.asideUntil > 0 {
		at(c.asideUntil)
	}
	switch c.phase {
	case Following, Waiting:
		at(c.electAt)
	case Claiming:
		at(c.claim.reaskAt)
	case Holding:
		at(c.claim.renewAt)
		at(c.claim.deadline)
		at(c.claim.preemptAt)
		at(c.claim.beaconAt)
		at(c.resendAt())
	case Yielding:
		at(c.claim.renewAt)
		at(c.electorate.releaseBy())
	}
	if w != 0 && w < now.Boot {
		w = now.Boot
	}
	return w
}
