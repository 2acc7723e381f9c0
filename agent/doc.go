// Package agent is one member at work: it joins a group, takes part in its
// elections, runs the hook through its keeper, and tells all that ask. It is
// also the package to embed in another program.
//
//	a, err := agent.New(agent.Config{Seeds: []string{"10.0.0.1", "10.0.0.2"}})
//	…
//	go a.Lead(ctx, func(ctx context.Context) error { … }) // runs on one member at a time
//	err = a.Run(ctx)                                      // until ctx ends
//
// # What to call
//
//	to do work on one member at a time            Lead, and Term for other systems to refuse what comes late
//	to know at each moment whether this is it     IsLeader, checked against the lease at the call
//	to know who is, and since when                Status, Leader
//	to follow changes                             Watch: never misses the last; Subscribe: everything, as events
//	to say whether this member is fit to lead     SetHealth, or Config.Health
//	to hand over, stand aside, or come back       StepDown, HandOver, StandAside, Resume
//	several things to lead                        Config.Elections, Election
//	to keep what the next leader must know        Config.Store, Store
//	to know whether a group works                 Ready, State, and package api for the verdict of all
//	to test a program that embeds this            package agenttest
//
// # How it works
//
// One goroutine, the loop, owns the cores (package seniority), one an election. What happens
// — a message or a new view from gossip, a report of the keeper, a request, the
// passing of time — becomes one input of the core, and what the core answers is
// carried out before the next, in this order:
//
//  1. what a voter has promised is stored: the highest term, if there is a state
//     directory (termfile.go), and the longest lease (leaserecord.go);
//  2. the deadline is extended, by compare-and-swap against the keeper;
//  3. messages are sent, with several elections at the end of the loop's turn;
//  4. the new state is published, and the keeper is told what is wanted.
//
// If the deadline cannot be extended, because the keeper has fired, nothing of the
// rest is done. The loop waits for nothing but the disk, and for that only when
// a term is stored: not for the hook, which the keeper runs; not for those who
// read the state, which is an immutable snapshot; not for those who read
// streams, who are cut off or skip what is old; not for the log, which is
// written by a goroutine of its own and drops lines that are not taken.
//
// The loop and its elections are in this package. What needs to know neither is in
// packages below it, each with its invariants in its own manual:
//
//	members, voters, placing          who there is, who votes, and where elections are laid
//	history, electionlog, ownfindings what people are told; none of it decides anything
//	functions, stream, logqueue       functions given to Lead; readers that nothing waits for
//	keeper, hook, floatingip, …       the second process, and what it runs and holds
//	store                             the replicated store
//
// An election at work (type election) is no package of its own: the loop and its
// elections use some thirty things of each other, so what they would have to export
// is more than what either would hide.
//
// # What it guarantees
//
//   - IsLeader, Leader, State, Status and the context of Lead check the
//     deadline and the clock at the moment of use. What they say was true
//     at some instant between the call and its return.
//   - A member whose loop is late by more than a lease vouches for no leader.
//   - Watch and Subscribe start with the current state. Watch never misses the
//     last status; Subscribe misses nothing until it is cut off.
//   - On a planned hand-over the functions given to Lead have returned, and the
//     hook's release has ended, before another may lead, unless they take
//     longer than HookTimeout.
//   - When Run returns, the leadership is handed over, the release has run, the
//     group knows that the member has left, and no goroutine is left behind.
//   - With a state directory, no claim or confirm of a term leaves this member
//     before the term is on disk. While the disk fails, the member is mute.
//   - A voter that starts promises nothing before the longest lease is over that
//     its last run may have promised, under any settings of then. That lease
//     is kept in the state directory and in the runtime directory: the first of
//     $RUNTIME_DIRECTORY, for root /run/doyen, and $XDG_RUNTIME_DIR/doyen that can
//     be written. A voter that finds neither waits for the longest lease of any
//     profile, 6 s. All runs of a node should have the same runtime directory.
//
// # Log
//
// At INFO the log tells of this member's start, of those who join, leave, die or
// are lost, of who leads and since when no member did, and of the hook's runs; a
// failover is a handful of lines, each with the reason. What this member has found
// (State.Findings) is one warning when it begins and one line when it ends. What
// the election and gossip do in detail is at DEBUG.
//
// # Health
//
// A program (Config.Health), or the program that embeds the agent (SetHealth),
// says whether this member is fit to lead. One that is not is no candidate and
// claims nothing; a leader hands over as soon as another may lead, and stays
// until then. The check runs in a goroutine of its own and reports to the loop
// only its newest verdict; see package health. A member does not join before the
// first result, for up to three seconds. When the agent is killed the kernel
// kills the check, and the keeper what the check has started.
//
// # Several elections
//
// The group's own election always exists; the methods of Agent are about it.
// Config.Elections names further ones over the same members, port, keeper and
// voters; Agent.Election returns one, with the same methods:
//
//	go a.Election("web").Lead(ctx, func(ctx context.Context) error { … })
//
// Every member votes in all elections that any member names, its own settings or
// not, and begins to do so when it first hears of one; it is a candidate of those
// that its settings name. Join numbers are the group's own. In which elections a
// member is a candidate, and whether it may lead them, is its detail (package placing).
//
// The doyen lays the elections over the members (seniority.Place) and publishes
// that in its detail, under its term. All rank candidates by the newest placement
// they know: the first choice, the second, then the rule. It is advice: a placement
// that is missing, wrong or old delays no failover. Only a new election waits for it
// for a moment. After Config.RebalanceDelay the doyen names one election at a time
// that is to move, and that one's leader hands over to the first choice.
//
// What the elections of a member decide in one turn of the loop leaves together:
// their terms in one write, their messages to one member in shared datagrams.
// Their renewals are due at the same instants (seniority.Config.RenewalGrid).
//
// Reload takes other elections over, and other hooks, addresses, health checks and
// commands, without disturbing those that stay. Rule, role, preempt and preempt-delay
// of an election count from the next start on.
//
// # Standing aside
//
// StepDown hands over and stands aside for a minute, StandAside for the time
// given, across restarts if there is a state directory: its end is kept by the
// wall clock, and no jump of that makes it longer than was asked for. Resume ends
// either. A member that stands aside is no candidate; it leads only if no
// candidate is there, and hands over as soon as one is.
//
// # Limits
//
//   - Only the group's own election's time to stand aside is kept across restarts,
//     and of a further election's history the newest 32 leaderships.
//   - Packets grow with the number of elections that a member leads, by one for each voter
//     and renewal with every fifty: a renewal takes about 20 bytes of a datagram of 1,200.
//   - The group's own election shares datagrams with further ones only on a member that
//     has such when it starts.
//   - Without a keeper process, what a health check has started goes on after a
//     crash of the program, until its next start.
//   - Without a keeper process (Config.Keeper off, the default unless the
//     program's main calls Init), a crash of the program leaves behind what the
//     hook holds, and the others notice it only when the lease has run out.
//   - A function given to Lead that ignores its context goes on; nothing can
//     stop it. It should hand the term (see Term) to the systems it writes to.
//   - The history and the durations in it are this member's own view: how long
//     detection, confirmation and the hook took is known to the winner alone. A
//     leadership is one row, also if its term was raised; in a split group, a
//     row is the time for which this member followed that leader.
package agent
