package seniority

import (
	"cmp"
	"crypto/sha256"
	"time"
)

// silentLeases is after how many leases without news a member that does not
// get renewals stops vouching for a leader.
const silentLeases = 3

// followed is the leadership that this node believes in.
type followed struct {
	name        string
	incarnation uint64
	term, seq   uint64
	until       time.Duration // it lapses then unless heard of again
	direct      bool          // renewals come straight from the leader
	leaving     bool          // the leader has stopped leading, its release runs
	said        Message       // its last claim, to greet newcomers with
	successor   string        // after it ended: who is to claim first
	since       time.Duration // from when on its leadership counts
	began       time.Duration // from when on it leads
}

func (f *followed) is(name string, incarnation, term uint64) bool {
	return f.name == name && f.incarnation == incarnation && f.term == term
}

// counts is from when on a leadership counts whose claim has come. Claims come late, and
// the leader's clock may be the faster one, so the earliest counts that one of its claims
// has told, as long as it does not count anew.
func (f *followed) counts(now Now, m *Message) time.Duration {
	lasted := cmp.Or(m.Lasted, m.Held)
	since := now.Boot - lasted
	if f.name == m.From && f.incarnation == m.Incarnation && lasted >= cmp.Or(f.said.Lasted, f.said.Held) {
		since = min(since, f.since)
	}
	return since
}

// heard reports whether this claim, or a newer one of the same leadership, has come before.
func (f *followed) heard(m *Message) bool {
	return f.is(m.From, m.Incarnation, m.Term) && m.Seq <= f.seq
}

// keep remembers the leader's last claim, as newcomers are to hear it.
func (f *followed) keep(m *Message) {
	f.seq, f.said = m.Seq, *m
	f.said.Gossiped, f.said.To, f.said.Given = true, "", Join{}
}

// leader returns who leads, as far as this node can vouch for it, and the term;
// without a leader "" and the highest term known.
func (c *Core) leader(now Now) (string, uint64) {
	switch {
	case c.phase == Holding:
		return c.self.Name, c.claim.term
	case c.phase != Yielding && c.led.name != "" && !c.led.leaving && now.Boot < c.led.until:
		return c.led.name, c.led.term
	}
	return "", c.highest
}

// follow adopts the leadership whose claim has just been granted.
func (c *Core) follow(now Now, m *Message) {
	if m.Watch {
		c.adopt(now, m, c.voter.until, true)
	} else {
		c.adopt(now, m, now.Boot+silentLeases*m.Lease, false)
	}
	if m.Given.Number != 0 {
		c.renumber(m.Given)
	}
}

// listen follows a leader as a member without a vote: nothing is promised.
func (c *Core) listen(now Now, m *Message) {
	if c.led.heard(m) {
		c.ignore(m, Outdated)
		return
	}
	if m.Term <= c.ended || m.Term < c.shownTerm {
		c.object(now, m, StaleTerm)
		return
	}
	c.adopt(now, m, now.Boot+silentLeases*m.Lease, false)
	if m.Given.Number != 0 {
		c.renumber(m.Given)
	}
}

// adopt takes a leadership for the one in force, until the time given.
func (c *Core) adopt(now Now, m *Message, until time.Duration, direct bool) {
	if c.led.name != "" && c.led.name != m.From {
		c.suspectLeader(now) // another has been elected, and no release was heard of
	}
	if !c.led.is(m.From, m.Incarnation, m.Term) {
		c.reason = Elected
		switch named := c.led.successor; {
		case named == m.From:
			c.reason = Succeeded
		case named != "" && named != c.self.Name && !c.electorate.merges():
			c.penalise(now, named, m.Term, maxLost*c.timing.Lease/2) // this node may be the next to hand over to it
		}
	}
	since := c.led.counts(now, m)
	c.led = followed{
		name: m.From, incarnation: m.Incarnation, term: m.Term,
		until: until, direct: direct,
		since: since, began: now.Boot - m.Held,
	}
	c.led.keep(m)
	c.former = followed{}
	c.phase, c.electAt, c.waitFrom = Following, 0, 0
	c.everLed, c.met = true, true
	c.forgetFailures()
	c.clearSuspect(m)
	c.deposed, c.handedTill, c.mustLead, c.mayInherit = "", 0, false, false
	c.vain.till = 0
	clear(c.courtesy)
}

// overhear takes in a leader's claim that is not confirmed: it came by gossip, perhaps
// late, or this voter has just started. Only a sequence number not heard before is news.
func (c *Core) overhear(now Now, m *Message) {
	if m.Stand != Leading {
		c.ignore(m, Malformed)
		return
	}
	if s, ok := c.suspects[m.From]; ok && s.incarnation == m.Incarnation && m.Seq <= s.seq {
		c.ignore(m, Outdated)
		return
	}
	if r := c.electorate.belongs(m); r != None {
		c.ignore(m, r)
		return
	}
	until := now.Boot + silentLeases*m.Lease
	if !m.Gossiped {
		until = now.Boot + Drifted(m.Lease) // the next renewal comes to this voter, too
	}
	if c.electorate.merges() && !c.led.is(m.From, m.Incarnation, m.Term) {
		c.hearsOther(now)
	}
	switch {
	case c.phase == Holding || c.phase == Yielding:
		c.overhearOther(now, m)
	case m.Deaf:
		c.ignore(m, LeaderDeaf)
	case c.led.is(m.From, m.Incarnation, m.Term):
		c.overhearOwn(now, m, until)
	case !c.led.direct && c.led.is(m.From, m.Incarnation, c.led.term) && m.Term > max(c.led.term, c.ended):
		// The leader has raised its term. That this voter has confirmed or seen released a later
		// one, of a claimant that did not win, does not count against it.
		c.learn(now, m.Term, true)
		c.adopt(now, m, until, false)
	case m.Term < c.shownTerm || c.voter.refuses(m.Term) && !c.voter.promisedTo(m.From, m.Incarnation, m.Term) && !c.knewBefore(now, m):
		c.ignore(m, SpentTerm)
		if c.led.name == "" && c.electorate.merges() {
			c.object(now, m, StaleTerm) // if it still leads, it must raise its term
		}
	case c.phase == Claiming:
		c.ignore(m, Outdated) // the voters will say so if it still leads
	case c.keepsLeader(now, m):
		c.ignore(m, HeldByAnother)
	case c.led.name == "" || !c.led.direct && m.Term > c.led.term:
		c.learn(now, m.Term, true)
		c.adopt(now, m, until, false)
	}
}

// knewBefore reports whether a node that has just started had confirmed this claim in its
// former run.
func (c *Core) knewBefore(now Now, m *Message) bool {
	return now.Boot < c.voter.abstainTill && c.voter.again(m)
}

// overhearOther takes in, on a leader, that another leads too.
func (c *Core) overhearOther(now Now, m *Message) {
	if c.phase != Holding || !c.electorate.merges() {
		return
	}
	c.note(Note{Kind: OtherLeader, Peer: m.From, Term: m.Term})
	c.meetsLeader(now, m)
	c.notifyLeader(m.From)
}

// overhearOwn takes in a claim of the leader that this node follows. One that
// is heard directly is not followed for longer because of it.
func (c *Core) overhearOwn(now Now, m *Message, until time.Duration) {
	if m.Seq <= c.led.seq {
		c.ignore(m, Outdated)
		return
	}
	c.led.since = c.led.counts(now, m)
	c.led.keep(m)
	if !c.led.direct {
		c.led.until = until
	}
}

// watchLeader ends a leadership that has not been heard of in time, and a time
// of standing aside that is over.
func (c *Core) watchLeader(now Now) {
	if c.led.name != "" && now.Boot >= c.led.until {
		c.lapse(now, LeaderSilent)
	}
	c.trustAgain(now)
	if c.asideUntil != 0 && now.Boot >= c.asideUntil {
		c.asideUntil = 0
		c.refreshSelf()
	}
}

// suspectFor is how long a follower takes a member for dead that gossip goes on
// showing: gossip has found out by then whether it is.
const suspectFor = 10 * time.Second

// trustAgain ends suspicions that have outlived their use. Followers do not speak
// to each other, so what a follower once took for dead would stay so; a leader asks
// such a member with each renewal, and believes its answer only.
func (c *Core) trustAgain(now Now) {
	if c.phase != Following || c.led.name == "" {
		return
	}
	for name, s := range c.suspects {
		if now.Boot >= s.at+suspectFor {
			delete(c.suspects, name)
		}
	}
}

// lapse takes the leader for dead and starts the search for the next.
func (c *Core) lapse(now Now, r Reason) {
	c.suspectLeader(now)
	c.lapsed = c.led.name
	if r == LeaderSilent {
		c.inheritSilent()
		c.doubtSilence(now)
	}
	c.forgetLeader(now, r)
}

// suspectLeader takes the run of the leader for dead until it is heard of again.
func (c *Core) suspectLeader(now Now) {
	s := suspect{incarnation: c.led.incarnation, seq: c.led.seq, at: now.Boot}
	if m := c.view.member(c.led.name); m != nil {
		s.join = m.Join
	}
	c.suspects[c.led.name] = s
}

// forgetLeader leaves this node without a leader.
func (c *Core) forgetLeader(now Now, r Reason) {
	if c.led.name == "" {
		return
	}
	c.former, c.led = c.led, followed{}
	c.reason = r
	if c.phase == Following {
		c.await(now, 0)
	}
}

// onRelease ends a claim or a leadership, on its holder's word or its will.
func (c *Core) onRelease(now Now, m *Message) {
	led := &c.led
	if led.name == "" {
		led = &c.former // its end may have been noticed before its last word
	}
	leads := led.is(m.From, m.Incarnation, m.Term)
	promised := c.voter.promisedTo(m.From, m.Incarnation, m.Term)
	will := m.Will != [32]byte{}
	if hash := sha256.Sum256(m.Will[:]); will && !(leads && hash == led.said.Will) && !(promised && hash == c.voter.will) {
		c.ignore(m, ForgedWill)
		return
	}
	if c.electorate.farAhead(now, m.Term) {
		c.ignore(m, FutureTerm)
		return
	}
	c.learn(now, m.Term, false)
	c.voter.released = max(c.voter.released, m.Term)
	if c.voter.again(m) {
		c.voter.floorOf = Holder{}
	}
	if leads {
		c.ended = m.Term
	}
	if promised {
		c.voter.forget()
	}
	inVain := m.Reason == KeeperFired && !will && leads && led.said.Held < 2*c.timing.Lease
	c.holdBack(now, m, inVain)
	switch {
	case leads:
		c.leaderReleased(now, led, m, will)
	case promised && c.phase != Holding && c.phase != Claiming:
		c.await(now, c.timing.Confirm)
	case c.phase == Holding && m.Reason == Merged && m.Leader == c.self.Name:
		c.claim.doubtful = false
		c.note(Note{Kind: OtherYielded, Peer: m.From, Term: m.Term})
	case !promised:
		c.ignore(m, NotMine)
	}
}

// leaderReleased goes on after the leader's last message: its own, or its will.
func (c *Core) leaderReleased(now Now, led *followed, m *Message, will bool) {
	c.deposed, c.vain.till = m.From, 0
	c.inherit(led.since)
	switch {
	case will && c.led.name != "":
		c.lapse(now, LeaderDied)
	case will && c.phase == Waiting:
		c.await(now, 0)
	default:
		c.succeed(now, m)
	}
	c.former = followed{} // nothing more is expected of it
}

// holdBack keeps a leader that has given up for a reason that may last from
// being handed the lead again soon. inVain: it led for a moment only, since its
// keeper could not hold the lead.
func (c *Core) holdBack(now Now, m *Message, inVain bool) {
	switch {
	case m.Reason == HookFailed, m.Reason == CommandFailed:
		c.penalise(now, m.From, m.Term, hookPenalty)
	case m.Reason == Unhealthy && !inVain:
		c.passBy(now, m.From)
		p := c.penalties[m.From]
		p.ill = now.Boot + metaTime
		c.penalties[m.From] = p
	case inVain:
		c.penalise(now, m.From, m.Term, maxLost*c.timing.Lease/2)
	case m.Reason == Requested, m.Reason == StoodAside:
		c.passBy(now, m.From)
	}
}

// succeed goes on after a leader that has stepped down: the successor it named
// claims at once, the others a little later.
func (c *Core) succeed(now Now, m *Message) {
	c.forgetLeader(now, m.Reason)
	c.handTo(now, m.Leader)
	if c.phase != Waiting && c.phase != Following {
		return // this node has claimed already
	}
	head := time.Duration(0)
	switch {
	case m.Reason == Merged:
		// The winner leads already; its claim is on the way. The members of
		// the group that yields keep their own order, as another group.
		if c.self.Join.Number != 0 {
			c.renumber(Join{Group: m.Term, Number: c.self.Join.Number})
		}
		head = c.timing.Lease
	case m.Leader == c.self.Name && c.acceptLead():
		c.phase = Waiting
		c.startClaim(now)
		return
	case m.Leader != "":
		head = 2 * c.timing.Confirm
	}
	if c.phase == Waiting || c.phase == Following {
		c.await(now, head)
	}
}

// acceptLead notes that this node was handed the lead, and reports whether it may claim.
func (c *Core) acceptLead() bool {
	c.mustLead = true
	return c.mayClaim()
}

// handTo notes who has been handed the lead, and gives it two confirm time-outs
// to say something: its claim, or the repetition of a lost one.
func (c *Core) handTo(now Now, successor string) {
	c.led.successor, c.handedTill = successor, 0
	if successor != "" && successor != c.self.Name {
		c.handedTill = now.Boot + 2*c.timing.Confirm
	}
}

// passOver takes a successor that has said nothing since it was handed the lead
// for dead, until it is heard of again: the turns of the others do not wait for it,
// and neither does a member that stands aside.
func (c *Core) passOver(now Now) {
	if c.handedTill == 0 || now.Boot < c.handedTill {
		return
	}
	c.handedTill = 0
	c.suspectSuccessor(now, c.led.successor)
}

// suspectSuccessor takes this run of a member for dead until it is heard of again.
func (c *Core) suspectSuccessor(now Now, name string) {
	if m := c.view.member(name); m != nil {
		c.suspects[name] = suspect{incarnation: m.Incarnation, join: m.Join, at: now.Boot}
	}
}

// hookPenalty is for how long a leader whose acquire failed is not let in
// again: as long as it stands aside itself.
const hookPenalty = stepAside

// metaTime is how long gossip may take to show that a member may not lead.
const metaTime = 2 * time.Second

// passBy keeps a member that has just given up the lead, because it should not
// have it, from being handed it back before gossip shows that it may not lead.
func (c *Core) passBy(now Now, name string) {
	p := c.penalties[name]
	p.until = max(p.until, now.Boot+metaTime)
	c.penalties[name] = p
}

// penalise makes a member that could not do its work, or did not take the lead
// that it was handed, wait before it may preempt again: at first for least, then
// twice as long each time, up to five minutes, until it has long not failed. It
// is told more than once, directly and by gossip.
func (c *Core) penalise(now Now, name string, term uint64, least time.Duration) {
	p := c.penalties[name]
	if term <= p.term {
		return
	}
	if now.Boot > p.until+p.wait {
		p.wait = 0
	}
	p.term = term
	p.wait = min(max(2*p.wait, least), 5*time.Minute)
	p.until = now.Boot + p.wait
	c.penalties[name] = p
}
