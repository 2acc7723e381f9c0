// Package seniority is the election: which member leads, by whose votes, and
// until when. It is a state machine and nothing else. It does no I/O, starts no
// goroutine, reads no clock and draws no random number: the time goes in with
// every input, what to store, send and publish comes out, and when to call
// again. One loop owns a Core:
//
//	out := core.Step(now, input)
//	// store out.Persist; extend the deadline; send out.Messages; publish
//	// out.Status; call again at out.Wake — in this order.
//
// # Messages
//
// There are four. A claim asks for a vote for a term, for the length of a lease;
// claims repeated under the same term renew it. A confirm grants it and echoes
// the holder's incarnation, the term, the sequence number and the lease. An
// object refuses it for a named reason. A release ends a term: never again under
// it. The bully algorithm's election, answer and coordinator (Garcia-Molina
// 1982) are this exchange under another order of preference.
//
// Beside them, in quorum mode, a probe asks a voter whether it hears the sender,
// and an echo says so and how many voters echo its own probes. They promise
// nothing, and no node probes at rest (section Partial connectivity).
//
//	          no leader, my turn                     enough confirms
//	Following ─────► Waiting ──────────► Claiming ───────────────► Holding
//	    ▲               ▲    claim           │ object, silence,       │   │
//	    │               └────────────────────┘ a preferred claim      │   │ step down,
//	    │                     release                                 │   │ preferred member
//	    │                                                             │   ▼
//	    │◄────────────────────────────────────────────────────────────┘  Yielding
//	    │    lease lost, keeper fired, another leadership stays           │
//	    └◄────────────────────────────────────────────────────────────────┘
//	          release has ended: the voters are told who may claim first
//
// # Two electorates, one protocol
//
// Which votes suffice is all that differs between the modes (electorate.go).
//
// Available mode: all live voting members of the node's view must confirm. The
// leader that lapsed is not counted; one silent past the confirm time-out does
// not block once a majority has answered; after three time-outs no silent member
// blocks. Silence never deposes a leader; but one that hears no answer says so, and
// the members that hear it elect another, and one that itself hangs is released by its
// keeper a tenth of the lease before the others elect. A node that has never met another
// leads alone after LoneWait; a group that never had a leader waits until its
// seeds have answered or refused, or for Settle. A node that may have been cut off
// (View.Apart) claims only once it has found the others again, or after LoneWait
// and ten seconds at least: what it last knew of them says nothing.
//
// A leadership that met no majority says so (Message.Minority): members that have a
// leader keep it. A leader whose link loses most packets, as its answers show, hands
// over. See deaf.go. A node whose leadership without answers was in vain, since a leader
// was there that it did not hear, waits longer the next time, or needs votes that are
// confirmed in every round: a bad link must not move the lead, and what goes with it, to
// and fro. See vain.go.
//
// Quorum mode: a majority of a fixed list of voters must confirm,
// independent of gossip. While the list is being changed, a claim needs a majority of its
// own list and of the list of everyone who confirms it; a node that sees a
// voter whose list is more than one entry away begins no claim and confirms none. A
// leader goes on: a voter whose settings are wrong must not end it.
//
// # Voters
//
// A voter promises its vote to at most one holder at a time, and a term to one
// holder only. The promise lasts for the claim's lease × (1 + 1/Drift) by the
// voter's clock, from receipt. Only a confirm raises the floor under which new
// terms are refused; a refused claim changes nothing; the renewal of the last
// promise is accepted even if other claims were seen. So a node that comes back and
// asks for votes cannot unseat a leader that is well.
//
// A voter of quorum mode that has just started abstains: it promises nothing
// until all that its last run may have promised has run out, and never a longer
// lease than it abstained for. It follows the leader whose renewals it refuses.
// Its own lease says nothing of the one before, which may have been longer. So
// the caller keeps the longest lease that a run may have promised
// (Output.MaxLease) for the next one (Config.KeptLease), stored before the
// promise is made. Where it is not known, the voter takes it for the longest
// lease of any profile: of the last run nothing is known on a new machine that
// an entry has moved to, in a new container, after a version that kept nothing,
// and after a boot if it was kept in memory only. The time, × (1 + 1/Drift),
// counts from the start. That the host booted long ago proves nothing in these
// cases; and that it has just booted, only that no promise of this host is
// younger than the boot. The price is that a voter without a record votes 1.01 ×
// 6 s after its start, and a group of such voters has its first leader then;
// with one it votes after the lease of its profile.
//
// # Holders
//
// A holder counts from sending: its lease ends at the majority-th newest
// confirmed time of sending plus the lease, so it always stops before its
// voters are free. Its own vote is a promise like any other. It renews every
// third of the lease, and asks those that did not answer again a confirm
// time-out later; as long as a round does not carry the lease, an eighth of
// that apart. In quorum mode it stops saying that it leads ReleaseBudget
// before the end of its lease, and its release has ended or been killed at the
// end. A term is spent from the moment it is given up: late confirms of it do
// not count.
//
// A planned hand-over stops leading first, keeps renewing while the release
// runs, then tells the voters who is to claim next: one round trip and a half.
// A connection that closes may overtake that word, and the word of a will; it
// counts all the same when it comes.
//
// The successor is the first in the line of succession that has confirmed a
// claim of the last lease, both when the release begins and when it ends: gossip
// may take many seconds to notice that a member hangs. If it says nothing for two
// confirm time-outs after it was handed the lead, all pass it over until they
// hear of it again.
//
// Candidates that split the votes give up after three confirm time-outs, and
// each adds a time of its own before it tries again: the next vote is not split.
//
// A leader that should not be the one to lead, because it is sick or stands
// aside, hands over as soon as another may lead, and goes on until then. A
// successor must have answered within the last lease. A member that was handed
// the lead and did not take it, or whose acquire failed, waits longer each time
// before it is let in again.
//
// Whether a node may lead at all is one input (Health). A node that may not, or
// that still runs the release of its last term, claims nothing. One that stands
// aside claims if all candidates that it sees do, or are sick, and after four
// leases without a leader in any case: somebody must lead, and the others may be
// there and not be able to win.
//
// A voter whose floor has risen above the term of a leader that is well, by a
// confirm of a claim that came to nothing, cannot renew it. The leader then
// raises its term: it asks for a higher one, counts confirms of either as
// promises to itself, and uses the new term once a majority has confirmed it.
// Nothing is handed over and nothing stops.
//
// # Partial connectivity
//
// Links may be cut one by one and one way, and stay so; gossip then still shows
// all members to all, relayed by others. In quorum mode a member that exchanges
// messages both ways with a majority, and may lead, must get to lead, and stay
// (reach.go; Omni-Paxos's quorum loss, constrained election and chained
// scenarios).
//
// A voter promises to one claimant at a time, so a claimant that cannot win
// keeps those from winning that can. It does so once: a claim that no majority
// has answered shows that it cannot, and the wait before the next one doubles up
// to eight leases. The release of another's claim does not end that wait; a
// majority that echoes its probes does. A voter that refuses a claim because its
// vote is asked for by another says when that one will have won or given up.
//
// A leader hands over to a preferred member only when that member has said that
// a majority hears it; so does one that should not lead. It probes the members
// in the line of succession up to the first that has said so, which takes two
// round trips; members of versions that never say count as able after five
// leases. Voters that have not answered for three leases hear of the leader by
// gossip, so that they follow it and do not claim.
//
// # Logs
//
// What the leader decides outlives it: the members keep a log, of which the core knows
// only where it ends on this node (Input.Log). While a leader is sought, logs come
// before the rule: a voter that may lead itself refuses a claimant whose log is behind
// its own, says log-behind, and claims when its turn comes; a claimant gives way to one
// whose log is newer. So if an entry counts once a majority has it, the next leader has
// all that count, as long as those that have them may lead. This holds for two leases
// without a leader, since the voter with the newest log may not be able to win, and not
// against a successor that the leader has named (log.go). Whether entries are kept does
// not depend on it.
//
// # Terms
//
// See term.go, also on clocks that no term can hold. A term that no member has led and that is a day or more ahead of
// everything a voter of quorum mode knows is refused; the claimant falls back to
// one more than what the voter knows. In available mode it is accepted: a member
// with a wrong clock may have led alone under it, and terms must not fall.
//
// # Seniority
//
// Members are ordered by join number, in one function (rule.go). The first
// leader of a group that meets another member founds the group and numbers its members
// by start time and name; until Settle has passed it goes on sorting in those
// who claim to have started after itself. Every other member gets the next number;
// its clock does not matter. When two led groups meet, one that never met another
// yields; else the leadership that has lasted longer stays, and the members of
// the other follow it in their own order. One goes on from the one before it that ended by
// its own word or was deaf, and counts for as long as both; also from one that fell silent
// or died, if most members have elected it: a leader that was cut off alone, or hears little, does
// not take the lead back from the others. A follower keeps its leader meanwhile, also if
// one that led before has a higher term. Of two leaders the one with the lower
// name decides, on an answer that echoes its own last round; two that compared
// for themselves could both win, and an old claim could depose either. A verdict
// stands for the terms it was given on.
//
// # Available mode where not all members hear each other
//
// Two leaders that do not hear each other cannot compare. Their followers' votes
// are promised, so a candidate that hears followers of both may not be able to
// win, even if it is the preferred one. So while a leader has heard by gossip,
// within the last silentLeases, of a leadership other than its own, it does not
// hand over for preference, nor to a member that was handed the lead and did not take
// it: in a network that stands still there are a few changes, then none. A claim
// tells followers of one leader of the other, and their objection tells that one;
// leaders that hear each other over any path of messages settle who stays.
//
// # The leader's will
//
// Every claim carries the SHA-256 of a secret of its term. A release that comes
// with the secret is the leader's will, sent by its keeper; it needs no key and
// cannot be moved to another term.
//
// # What must hold
//
//   - Quorum mode: no two nodes are Leading before their deadlines at any
//     instant, while clock rates differ by less than 1/Drift.
//   - In a network that stands still, however it is cut, the leader changes at most
//     a few times and then no more.
//   - Each term has one leader; what a node shows as its leader's term never falls.
//   - A leader has the confirms that its mode asks for.
//   - A group that can talk has one leader after a stated time, and keeps it. In
//     available mode that is one of the group, even while another leader, which
//     cannot hear the group or cannot be heard, leads itself.
//
// The simulator (package sim) checks these after every step.
//
// # How long without a leader
//
// After one fault, with a majority connected and messages arriving: the promises
// to the old holder run out, lease × (1 + 1/Drift) after its last renewal; the
// candidates before the first that lives are given Stagger each; a claim is
// answered within Confirm, or asked again up to three times. Timing.FailoverBound
// adds this up. With a will, or a planned hand-over, the first part is zero.
//
// Where the majority that is connected is not all connected to one another,
// every other candidate may have asked for votes before, once; and votes that
// were lost with the links run out first. Timing.PartialBound adds that.
//
// # Limits
//
//   - A hypervisor that stops a guest's clocks cannot be seen by the guest: on
//     resume it believes in what is left of its lease, normally until the first
//     objection.
//   - A run that kept nothing is not noticed where an older record is still
//     there: one of a version without records between two with them, or one on
//     another machine that an entry was moved to and back from. The voter then
//     abstains for the longer of its own lease and what the record says.
//   - A lease longer than that of any profile must be kept on disk to be known
//     after a boot.
//   - In available mode a partition has a leader on each side.
//   - Two leaderless groups that meet are ordered by the age of their groups'
//     terms, which wall clocks propose.
//   - Members are trusted: a member that lies can win any election.
package seniority
