package seniority

import (
	"crypto/sha256"
	"time"
)

// maxAsks is how often a claimant asks before silence no longer blocks it (available
// mode) or before it gives the claim up (quorum mode).
const maxAsks = 3

// maxBackoff is the most leases that a claimant waits whose claim a majority
// has answered, though not for it.
const maxBackoff = 4

// reasksPerConfirm is how often a confirm time-out a voter is asked again that is about
// to hear of the end of a leadership.
const reasksPerConfirm = 20

// sentRing is how many rounds of claims back a confirm may refer to.
const sentRing = 16

// claim is the other half of a node: its own claim or leadership. A claim is
// live from its first round until it is spent; after that no confirm counts
// and the term is never claimed again.
type claim struct {
	live        bool
	term        uint64        // as won, or as first asked for
	asked       uint64        // the term that rounds ask for: term, or the next while it is raised
	at, since   time.Duration // first asked; won
	misjudged   bool          // a voter has refused its term itself
	minority    bool          // won without a majority, and none has confirmed it since
	doubtful    bool          // won after a leader had fallen silent, and not all have answered; see vain.go
	rounds      int           // asked for so far
	asks        int
	round       time.Duration // when the last round to all was sent
	silent      time.Duration // the first round without an answer since; 0: none
	patchy      bool          // answers come seldom, from all members; see deaf.go
	ahead       time.Duration // how much longer than since it was won it counts where two meet
	resends     int
	awaited     int // members asked in the round that have not confirmed it
	reaskAt     time.Duration
	renewAt     time.Duration
	beaconAt    time.Duration
	preemptAt   time.Duration
	deadline    time.Duration
	leaseEnd    time.Duration
	secret      [32]byte // of term
	will        [32]byte // the hash that goes with asked
	successor   string
	courted     string // a member that a hand-over was asked for, and that is asked with every round since
	ending      Reason
	other       Message       // the last claim of another leader that was met
	confrontAt  time.Duration // not before this is it asked again
	metTill     time.Duration // another leader was met less than a lease before this,
	outdone     bool          // and its leadership is preferred to this one, as its claim says
	refusedTill time.Duration // a member that follows another has refused less than a lease before this
	verdict     Holder        // who was last told that this leadership stays,
	verdictOn   uint64        // and its term, and
	verdictTill time.Duration // until when that stands
	overcame    uint64        // the term of the last leadership that yielded to this one
	rival       string        // the preferred member that waits to preempt
	rivalSince  time.Duration
	ballots     map[string]ballot
	watched     map[string]uint64 // who was told that renewals follow: the last claim that said so
	sent        [sentRing]struct {
		seq   uint64
		at    time.Duration
		stand Stand
	}
}

// ballot is what one voter answered, under its entry (quorum mode) or name.
type ballot struct {
	confirmed time.Duration // when the newest claim it confirmed was sent
	granted   bool
	confirms  int           // rounds of the claim that it confirmed before it was won
	answered  time.Duration // when the newest claim it answered was sent
	asked     int           // rounds of renewals, up to hearing
	rounds    uint16        // which of the last were answered, the newest in the lowest bit
	term      uint64        // the highest it confirmed
	excused   bool          // it answered that it has no part in this
	voters    []string
}

// await starts the wait for this node's turn to claim, head from now.
func (c *Core) await(now Now, head time.Duration) {
	c.phase = Waiting
	c.waitFrom = now.Boot + head
	c.electAt = 0
}

// deferTo makes room for a claimant that has just been promised the vote.
func (c *Core) deferTo(now Now) {
	if c.phase == Waiting {
		c.waitFrom = max(c.waitFrom, c.voter.until)
	}
}

// takeTurn claims when it is this node's turn. The turn is computed anew each
// time from the view, so that a change of the view changes it.
func (c *Core) takeTurn(now Now) {
	if name, _ := c.leader(now); name != "" || c.led.leaving {
		c.phase, c.electAt = Following, 0
		return
	}
	if c.phase == Following {
		c.await(now, 0)
	}
	c.passOver(now)
	turn, ok := c.turn(now)
	c.electAt = turn
	if ok && turn <= now.Boot {
		c.startClaim(now)
	}
}

// turn is when it is this node's turn; false: not before something changes.
func (c *Core) turn(now Now) (time.Duration, bool) {
	if !c.mayClaim() {
		return 0, false
	}
	ready, ok := c.electorate.ready(now)
	if !ok {
		return 0, false
	}
	if c.voter.running(now) {
		ready = max(ready, c.voter.until)
	}
	if c.givesWay() {
		ready = max(ready, c.vacant+lastResort*c.timing.Lease)
	}
	return max(c.waitFrom, c.retryAt, c.graceTill, ready) + time.Duration(c.place())*c.timing.Stagger, true
}

// startClaim claims a new term.
func (c *Core) startClaim(now Now) {
	term := c.newTerm(now)
	if term == 0 {
		c.await(now, c.timing.Lease) // Status.Terms says why
		return
	}
	ballots, watched := c.claim.ballots, c.claim.watched
	clear(ballots)
	clear(watched)
	c.claim = claim{live: true, term: term, ballots: ballots, watched: watched, reaskAt: now.Boot + c.timing.Confirm}
	c.askFor(term)
	c.phase, c.claim.at = Claiming, now.Boot
	c.note(Note{Kind: Claimed, Term: c.claim.term})
	if !c.ask(now, Asking) {
		c.abandon(now, HeldByAnother)
		return
	}
	c.advanceClaim(now)
}

// newTerm returns a term never claimed before; 0 if there is none, see term.go.
func (c *Core) newTerm(now Now) uint64 {
	wall := now.Wall
	if c.skewed {
		wall = 0
	}
	known := max(c.highest, c.voter.floor, c.voter.released)
	if own := c.claim.asked; own > known && !tooFarAhead(own, known, wall) {
		known = own
	}
	if known == 0 && clockBeyond(wall) && !c.electorate.merges() {
		return 0
	}
	return nextTerm(known, wall, c.electorate.seat())
}

// termTrouble is what Status.Terms says.
func (c *Core) termTrouble(now Now) Reason {
	switch {
	case clockBeyond(now.Wall):
		return ClockBeyond
	case c.newTerm(now) == 0:
		return TermsUsedUp
	}
	return None
}

// askFor makes the rounds that follow ask for a term.
func (c *Core) askFor(term uint64) {
	c.claim.asked = term
	secret := c.secret(term)
	c.claim.will = sha256.Sum256(secret[:])
}

// ask puts the claim to this node's own vote and to the whole electorate;
// false if its own vote is not free.
func (c *Core) ask(now Now, stand Stand) bool {
	if !c.askSelf(now, stand) {
		return false
	}
	c.askOthers(now, stand, c.electorate.ask(stand))
	return true
}

// askOthers puts the claim to the electorate, once it has this node's own vote.
func (c *Core) askOthers(now Now, stand Stand, names []string) {
	m := c.claimMessage(stand)
	c.expect(now, names)
	for _, name := range names {
		c.sendClaim(m, name)
	}
	c.claim.round, c.claim.resends, c.claim.awaited = now.Boot, 0, len(names)
	c.claim.rounds++
}

// askSelf starts a round: a new sequence number, and this node's own vote, a
// promise like any other.
func (c *Core) askSelf(now Now, stand Stand) bool {
	c.seq++
	c.claim.sent[c.seq%sentRing].seq = c.seq
	c.claim.sent[c.seq%sentRing].at = now.Boot
	c.claim.sent[c.seq%sentRing].stand = stand
	c.own = c.claimMessage(stand)
	if r := c.judge(now, &c.own); r != None {
		return false
	}
	c.grant(now, &c.own)
	c.claim.ballots[c.electorate.ballot(&c.own)] = ballot{confirmed: now.Boot, granted: true, term: c.own.Term, voters: c.cfg.Voters}
	return true
}

// claimMessage is the claim as it stands, without a receiver.
func (c *Core) claimMessage(stand Stand) Message {
	m := Message{
		Kind: Claim, From: c.self.Name, Incarnation: c.self.Incarnation, Term: c.claim.asked, Seq: c.seq,
		Lease: c.timing.Lease, Stand: stand, Met: c.met, Join: c.self.Join, Will: c.claim.will,
		Voter: c.self.Voter, Voters: c.cfg.Voters,
	}
	if stand != Asking {
		m.Held = c.held
		if c.claim.ahead != 0 && c.electorate.merges() {
			m.Lasted = max(c.lasted(), 1)
		}
	} else {
		m.Log = c.log
	}
	if stand == Leading {
		m.Deaf, m.Minority = c.deaf(), c.claim.minority
	}
	return m
}

// sendClaim sends the claim to one member, with its join number if it lacks it.
func (c *Core) sendClaim(m Message, to string) {
	m.To = to
	m.Given = Join{}
	if m.Stand == Leading {
		m.Given = c.numbers.pending(c.view.member(to))
		if m.Watch = c.electorate.watches(to); m.Watch {
			c.claim.watched[to] = m.Seq
		}
	}
	c.send(m)
}

// onConfirm counts a vote.
func (c *Core) onConfirm(now Now, m *Message) {
	cl := &c.claim
	switch {
	case m.Incarnation != c.self.Incarnation:
		c.ignore(m, OldIncarnation)
		return
	case !cl.live || m.Term != cl.term && m.Term != cl.asked:
		c.ignore(m, SpentTerm)
		return
	case cl.sent[m.Seq%sentRing].seq != m.Seq || m.Lease != c.timing.Lease:
		c.ignore(m, LateAnswer)
		return
	}
	c.answered(now, m)
	if r := c.electorate.counts(m); r != None {
		c.ignore(m, r)
		return
	}
	key := c.electorate.ballot(m)
	b := cl.ballots[key]
	first := !b.granted
	sent := cl.sent[m.Seq%sentRing].at
	if c.phase == Claiming && sent > b.confirmed {
		b.confirms++
	}
	b.granted, b.excused, b.voters, b.term = true, false, m.Voters, max(b.term, m.Term)
	if sent == cl.round && b.confirmed < sent {
		cl.awaited--
	}
	b.confirmed = max(b.confirmed, sent)
	b.answered = max(b.answered, sent)
	cl.ballots[key] = b
	switch c.phase {
	case Claiming:
		c.note(Note{Kind: Confirmed, Peer: m.From, Term: m.Term})
	case Holding:
		c.confirmed(now, m, first)
	case Yielding:
		c.extend(now)
	}
}

// onObject takes a refusal in.
func (c *Core) onObject(now Now, m *Message) {
	cl := &c.claim
	if m.Incarnation != c.self.Incarnation || !cl.live || m.Term != cl.asked {
		c.ignore(m, SpentTerm)
		return
	}
	c.answered(now, m)
	if m.Reason == FutureTerm && m.Known > 0 {
		c.skewed = true
		c.highest = max(min(c.highest, m.Known), c.voter.floor, c.voter.released)
	}
	c.learn(now, m.Known, false)
	switch c.phase {
	case Claiming:
		c.note(Note{Kind: Objected, Peer: m.From, Term: m.Term, Reason: m.Reason})
		c.consider(now, m)
	case Holding:
		c.defend(now, m)
	default:
		c.ignore(m, SpentTerm)
	}
}

// consider decides what an objection means for a claim that is not won yet.
func (c *Core) consider(now Now, m *Message) {
	key := c.electorate.ballot(m)
	if _, ok := c.claim.ballots[key]; !ok && c.electorate.counts(m) == None {
		c.claim.ballots[key] = ballot{} // it has answered, if no more
	}
	switch m.Reason {
	case HeldByAnother, JustStarted:
		c.considerHeld(now, m)
	case StaleTerm, FutureTerm:
		c.claim.misjudged = true
		if c.electorate.blocks(m) {
			c.abandon(now, m.Reason)
			if c.failures <= maxAsks {
				c.retryAt = 0
			}
		}
	case AnotherPreferred:
		if p := c.view.member(m.Leader); p == nil || !c.contends(p) || c.compare(p, &c.self) > 0 {
			// That voter's view is older than this node's; it says so once.
			c.claim.reaskAt = min(c.claim.reaskAt, now.Boot+c.timing.Confirm/reasksPerConfirm)
			return
		}
		c.abandon(now, AnotherPreferred)
		c.failures--
		c.retryAt = now.Boot + c.timing.Confirm
	case LogBehind:
		c.considerLog(now, m)
	case WrongElectorate, NotAVoter, LeaseTooLong, Asleep:
		c.claim.ballots[c.electorate.ballot(m)] = ballot{excused: true}
	default: // what later versions may say: it will answer again
	}
}

// considerHeld decides what it means that a vote is promised to another, or
// that a voter abstains.
func (c *Core) considerHeld(now Now, m *Message) {
	switch {
	case m.Leader == c.self.Name:
		c.ignore(m, Outdated)
		return
	case c.deposed != "" && m.Leader == c.deposed && m.From != c.deposed && now.Boot < c.claim.at+c.timing.Confirm:
		// Its leader has ended its term, but that voter has not heard yet.
		c.claim.reaskAt = min(c.claim.reaskAt, now.Boot+c.timing.Confirm/reasksPerConfirm)
		return
	case m.Leader != m.From && m.Held <= c.timing.Confirm:
		c.claim.reaskAt = min(c.claim.reaskAt, now.Boot+max(m.Held, time.Millisecond))
		return
	case !c.electorate.blocks(m):
		return
	}
	// A leader lives, or another's claim is fresh, or a voter abstains: ask again
	// when the vote could be free.
	c.abandon(now, m.Reason)
	c.waitFrom = now.Boot + m.Held
	switch {
	case m.Leader == c.lapsed && c.failures == 1:
		c.retryAt = 0 // the voter still holds its promise to the leader that is gone: this is no split vote
	case m.Held <= 2*c.timing.Confirm:
		c.failures-- // no leader; another claim is under way
	}
}

// advanceClaim wins a claim, asks again, or gives it up.
func (c *Core) advanceClaim(now Now) {
	cl := &c.claim
	if !c.voter.running(now) || !c.voter.promisedTo(c.self.Name, c.self.Incarnation, cl.asked) {
		c.abandon(now, Asleep) // after a pause its own vote is free, or another's
		return
	}
	if c.electorate.elects(now, false) {
		c.win(now)
		return
	}
	if now.Boot < cl.reaskAt {
		return
	}
	timeout := now.Boot >= cl.at+time.Duration(cl.asks+1)*c.timing.Confirm
	if timeout {
		cl.asks++
	}
	switch {
	case timeout && c.electorate.elects(now, true):
		c.win(now)
	case cl.asks >= maxAsks:
		c.abandon(now, Outvoted)
	default:
		cl.reaskAt = now.Boot + c.timing.Confirm
		if !c.ask(now, Asking) {
			c.abandon(now, HeldByAnother)
		}
	}
}

// abandon gives a claim up that has not been won: its term is spent, the votes
// given to it are free again, and the next try waits twice as long each time.
// Only a leader ends that wait, or an answer of a majority: the release of
// another's claim does not. A claim that too few voters answered has shown that
// this node cannot win, and waits longer (reach.go). After a split vote each
// claimant adds a time of its own, by its place in the digits of its terms: two
// that both take themselves for the first in line would go on in step.
func (c *Core) abandon(now Now, r Reason) {
	cl := &c.claim
	cl.live = false
	if c.voter.promisedTo(c.self.Name, c.self.Incarnation, cl.term) {
		c.voter.forget()
	}
	for _, name := range c.electorate.ask(Asking) {
		c.send(Message{Kind: Release, To: name, Incarnation: c.self.Incarnation, Term: cl.term, Reason: Outvoted})
	}
	c.note(Note{Kind: Lost, Term: cl.term, Reason: r})
	backoff := min(c.timing.Confirm<<min(c.failures, 10), maxBackoff*c.timing.Lease)
	if r == Outvoted || r == HeldByAnother {
		backoff += time.Duration(c.electorate.seat()%8) * c.timing.Stagger
	}
	if r == Outvoted {
		c.sayUnanswered(now)
		c.answers = len(cl.ballots)
		switch {
		case cl.misjudged: // a voter that may be free knew of a higher term; so does this node now
			backoff = time.Duration(c.electorate.seat()%8) * c.timing.Stagger
		case !c.electorate.reached():
			backoff = c.reach.lose(now, c.timing.Lease)
		}
	}
	c.failures++
	c.await(now, 0)
	c.retryAt = now.Boot + backoff
	if now.Boot < c.vain.till {
		c.retryAt = min(c.retryAt, c.vain.till)
	}
}
