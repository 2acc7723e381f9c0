// Package agent is one member at work: it joins a group, takes part in its
// elections, runs the hook through its keeper, and tells whoever asks. It is
// also the package to embed in another program.
//
//	a, err := agent.New(agent.Config{Seeds: []string{"10.0.0.1", "10.0.0.2"}})
//	…
//	go a.Lead(ctx, func(ctx context.Context) error { … }) // runs on one member at a time
//	err = a.Run(ctx)                                      // until ctx ends
//
// # How it works
//
// One goroutine, the loop, owns the core (package seniority). Whatever happens
// — a message or a new view from gossip, a report of the keeper, a request, the
// passing of time — becomes one input of the core, and what the core answers is
// carried out before the next, in this order:
//
//  1. the highest term is stored, if there is a state directory;
//  2. the deadline word is extended, by compare-and-swap against the keeper;
//  3. messages are sent;
//  4. the new state is published, and the keeper is told what is wanted.
//
// If the word cannot be extended, because the keeper has fired, nothing of the
// rest is done. The loop waits for nothing but the disk, and for that only when
// a term is stored: not for the hook, which the keeper runs; not for those who
// read the state, which is an immutable snapshot; not for those who read
// streams, who are cut off or skip what is old; not for the log, which is
// written by a goroutine of its own and drops lines that nobody takes.
//
// # What it guarantees
//
//   - IsLeader, Leader, State, Status and the context of Lead check the
//     deadline word and the clock at the moment of use. What they say was true
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
//   - Without a keeper process, what a health check has started goes on after a
//     crash of the program, until its next start.
//   - Without a keeper process (Config.Keeper off, the default unless the
//     program's main calls Init), a crash of the program leaves behind what the
//     hook holds, and the others notice it only when the lease has run out.
//   - A function given to Lead that ignores its context goes on; nothing can
//     stop it. It should hand the term (see Term) to whatever it writes to.
//   - The history and the durations in it are this member's own view: how long
//     detection, confirmation and the hook took is known to the winner alone.
package agent
