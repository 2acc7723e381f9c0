// Package seniority is the election: which member leads, on whose word, and
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
// not block once a majority has answered; after three time-outs nobody silent
// blocks. Silence never deposes a leader; but one that hears nobody says so, and
// those who hear it elect another, and one that itself hangs is released by its
// keeper a tenth of the lease before the others elect. A node that has never met another
// leads alone after LoneWait; a group that never had a leader waits until its
// seeds have answered or refused, or for Settle.
//
// Quorum mode: a majority of a fixed list of voters must confirm, whatever
// gossip says. While the list is being changed, a claim needs a majority of its
// own list and of the list of everyone who confirms it; a node that sees a
// voter whose list is more than one entry away neither claims nor confirms.
//
// # Voters
//
// A voter promises its vote to at most one holder at a time, and a term to one
// holder only. The promise lasts for the claim's lease × (1 + 1/Drift) by the
// voter's clock, from receipt. Only a confirm raises the floor under which new
// terms are refused; a refused claim changes nothing; the renewal of the last
// promise is accepted whatever else was seen. So a node that comes back and
// asks for votes cannot unseat a leader that is well.
//
// A voter of quorum mode that has just started promises nothing for the longest
// of its own lease, the lan lease and the longest it has on disk, × (1 +
// 1/Drift), and never a lease longer than that: it may have promised before.
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
// Candidates that split the votes give up after three confirm time-outs, and
// each adds a time of its own before it tries again: the next vote is not split.
//
// A leader that should not be the one to lead, because it is sick or stands
// aside, hands over as soon as another may lead, and goes on until then. A sick
// node claims nothing. One that stands aside claims if all candidates that it
// sees do, or are sick: somebody must lead.
//
// A voter whose floor has risen above the term of a leader that is well, by a
// confirm of a claim that came to nothing, cannot renew it. The leader then
// raises its term: it asks for a higher one, counts confirms of either as
// promises to itself, and uses the new term once a majority has confirmed it.
// Nothing is handed over and nothing stops.
//
// # Terms
//
// See term.go. A term that nobody has led and that is a day or more ahead of
// everything a voter of quorum mode knows is refused; the claimant falls back to
// one more than what the voter knows. In available mode it is accepted: a member
// with a wrong clock may have led alone under it, and terms must not fall.
//
// # Seniority
//
// Members are ordered by join number, in one function (rule.go). The first
// leader of a group that meets anybody founds the group and numbers its members
// by start time and name; until Settle has passed it goes on sorting in those
// who claim to have started after itself. Everybody else gets the next number,
// whatever its clock shows. When two led groups meet, one that never met anybody
// yields; else the leadership that has lasted longer stays, and the members of
// the other follow it in their own order. Of two leaders the one with the lower
// name decides, on an answer that echoes its own last round; two that compared
// for themselves could both win, and an old claim could depose either.
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
//   - Each term has one leader; what a node shows as its leader's term never falls.
//   - Whoever leads has the confirms that its mode asks for.
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
// # Limits
//
//   - A hypervisor that stops a guest's clocks cannot be seen by the guest: on
//     resume it believes in what is left of its lease, normally until the first
//     objection.
//   - In available mode a partition has a leader on each side.
//   - Two leaderless groups that meet are ordered by the age of their groups'
//     terms, which wall clocks propose.
//   - Members are trusted: a member that lies can win any election.
package seniority
