package seniority

import "time"

// reach is which voters hear this node and are heard by it. In quorum mode only
// a node that reaches a majority can lead, and gossip cannot tell: its view
// holds all that are connected over others too. So
//
//   - a claimant whose claim too few voters have answered waits twice as long
//     each time before it claims again, up to maxLost leases, and probes the
//     voters meanwhile: once a majority answers, it need not wait any longer;
//   - a leader that would hand over, to a preferred member or because it should
//     not lead itself, probes the members in the line of succession, up to the
//     first that can win; those it probes probe the voters in turn, and say in
//     their echoes how many they reach (Omni-Paxos, Ng, Haridi and Carbone,
//     EuroSys 2023: only who is connected to a quorum may be elected).
//
// At rest no node probes. A probe promises nothing and asks for no promise.
type reach struct {
	lost   int           // claims that too few voters answered, since the last leader
	asked  time.Duration // until then the leader wants to know
	at     time.Duration // the next round of probes; 0: none
	since  time.Duration // when the leader began to ask; 0: it does not
	answer Message       // the last echo to the leader
	seq    uint64        // of the last round
	heard  map[string]time.Duration
	echoes map[string]echo
}

// echo is what a voter has said of its own reach.
type echo struct {
	at  time.Duration
	can bool // a majority of its list hears it
}

const (
	// maxLost is the most leases that a claimant waits which reaches no majority.
	maxLost = 8
	// unknownLeases is how many leases a leader waits for a member to say how far it
	// reaches: members of older versions never do.
	unknownLeases = 5
)

// echoLife is how long an echo counts: one lost round of probes, a lease apart, changes
// nothing.
func echoLife(lease time.Duration) time.Duration { return 5 * lease / 2 }

// lose notes a claim that too few voters have answered, and returns how long
// to wait before the next.
func (r *reach) lose(now Now, lease time.Duration) time.Duration {
	wait := min(lease<<min(r.lost, 10), maxLost*lease)
	r.lost++
	r.at = now.Boot
	return wait
}

// probe sends a round of probes when one is due.
func (c *Core) probe(now Now) {
	r := &c.reach
	names := c.electorate.probes(now)
	if len(names) == 0 {
		r.at, r.since = 0, 0
		return
	}
	if r.since == 0 {
		r.since = now.Boot
	}
	if now.Boot < r.at {
		return
	}
	r.at = now.Boot + c.timing.Lease
	if c.phase == Holding && !r.inVain(now, c.timing.Lease) && !c.known(now, names[len(names)-1]) {
		r.at = now.Boot + c.timing.Confirm // it has not probed yet itself
	}
	r.seq++
	for _, name := range names {
		c.send(Message{Kind: Probe, To: name, Incarnation: c.self.Incarnation, Term: max(c.highest, 1), Seq: r.seq})
	}
}

// inVain reports whether the leader has asked for so long that who has not said
// how far it reaches never will: members of older versions do not.
func (r *reach) inVain(now Now, lease time.Duration) bool {
	return r.since != 0 && now.Boot-r.since >= unknownLeases*lease
}

// known reports whether a member has said lately how far it reaches.
func (c *Core) known(now Now, name string) bool {
	m := c.view.member(name)
	if m == nil {
		return false
	}
	known, _ := c.electorate.reaches(now, m)
	return known
}

// onProbe answers a probe. A leader that asks wants to know how far this node
// reaches, so it probes too.
func (c *Core) onProbe(now Now, m *Message) {
	if c.self.Voter == "" {
		c.ignore(m, NotAVoter)
		return
	}
	answer := Message{Kind: Echo, To: m.From, Incarnation: m.Incarnation, Term: m.Term, Seq: m.Seq}
	if c.led.name == m.From {
		c.reach.asked, c.reach.answer = now.Boot+echoLife(c.timing.Lease), answer
	}
	c.echo(now, answer)
}

// echo sends an answer to a probe. A node that may not lead now reports only
// itself: how far it reaches does not matter.
func (c *Core) echo(now Now, answer Message) {
	answer.Hears = uint64(c.electorate.hears(now))
	if !c.mayClaim() || c.givesWay() {
		answer.Hears = 1
	}
	c.send(answer)
}

// onEcho takes the answer to a probe of the last two rounds in.
func (c *Core) onEcho(now Now, m *Message) {
	r := &c.reach
	if m.Incarnation != c.self.Incarnation || m.Seq > r.seq || m.Seq+1 < r.seq {
		c.ignore(m, LateAnswer)
		return
	}
	if reason := c.electorate.counts(m); reason != None {
		c.ignore(m, reason)
		return
	}
	if r.heard == nil {
		r.heard, r.echoes = map[string]time.Duration{}, map[string]echo{}
	}
	most := len(c.cfg.Voters) / 2
	before := c.electorate.hears(now) > most
	r.heard[m.Voter] = now.Boot
	if m.Hears > 0 {
		r.echoes[m.Voter] = echo{at: now.Boot, can: m.Hears > uint64(len(m.Voters)/2)}
	}
	if before || c.electorate.hears(now) <= most {
		return
	}
	switch {
	case c.phase == Waiting && r.lost > 0:
		r.lost, c.retryAt = 0, 0
	case c.phase == Following && now.Boot < r.asked:
		c.echo(now, r.answer) // the leader need not wait for its next round
	}
}

// forgetFailures begins anew once there is a leader.
func (c *Core) forgetFailures() {
	c.failures, c.answers, c.retryAt, c.reach.lost = 0, 0, 0, 0
}

// probes returns which voters a round of probes goes to: all, if this node
// looks for a majority or its leader wants to know; or, on a leader, those that
// might lead next.
func (e *quorum) probes(now Now) []string {
	e.probed = e.probed[:0]
	switch {
	case e.core.phase == Holding:
		unwilling := e.core.unwilling() != None
		for i := range e.core.view.members {
			m := &e.core.view.members[i]
			if m.Name == e.core.self.Name {
				if unwilling {
					continue
				}
				break
			}
			if !e.core.contends(m) || !unwilling && !e.core.cfg.Preempt {
				continue
			}
			e.probed = append(e.probed, m.Name)
			if known, can := e.reaches(now, m); known && can {
				break
			}
		}
	case !e.seats(&e.core.self) || e.core.self.Role != Candidate:
	case e.core.phase == Waiting && e.core.reach.lost > 0, e.core.phase == Following && now.Boot < e.core.reach.asked:
		e.probed = append(e.probed, e.asked...)
	}
	return e.probed
}

// hears is how many voters of the list answer this node, itself included; 0: it
// has not asked.
func (e *quorum) hears(now Now) int {
	if e.core.reach.at == 0 || e.core.phase == Holding {
		return 0
	}
	n := 0
	for _, v := range e.core.cfg.Voters {
		if at, ok := e.core.reach.heard[v]; v == e.core.self.Voter || ok && now.Boot-at <= echoLife(e.core.timing.Lease) {
			n++
		}
	}
	return n
}

// reached: a claim that a majority of the voters has answered, if only with an
// objection, shows that this node could win.
func (e *quorum) reached() bool {
	n := 0
	for _, v := range e.core.cfg.Voters {
		if _, ok := e.core.claim.ballots[v]; ok {
			n++
		}
	}
	return n > len(e.core.cfg.Voters)/2
}

// reaches reports whether a member has said lately how far it reaches, and
// whether a majority can hear it.
func (e *quorum) reaches(now Now, m *Member) (known, can bool) {
	r, ok := e.core.reach.echoes[m.Voter]
	known = ok && now.Boot-r.at <= echoLife(e.core.timing.Lease)
	return known, known && r.can
}
