// Package keeper acts for an agent: it alone runs the hook and touches floating
// addresses. It is a second process of the same program, and outlives the agent
// until it has cleaned up after it.
//
// # Two processes
//
// The agent decides, the keeper acts. They share three things:
//
//   - the [Deadline], in shared memory: whether this node leads, under which term, and
//     until when, the first and the last in 64 bits. All code that says or uses "I lead" asks the deadline and the clock at
//     that moment, by [Deadline.Leads];
//   - a socket. The agent writes its newest [Order], the keeper its [Report]s,
//     each one message of bounded size. Neither waits for the other: orders that
//     were not read are replaced, reports that only tell of a run are dropped;
//   - the socket's end. The kernel closes it however the agent ends.
//
// [Start] starts the process and replaces it when it dies. [Local] runs the same
// code in the agent's own process (--keeper off, or embedded); what needs the
// second process is then missing: see Limits.
//
// # Several elections
//
// A keeper acts for several elections at once. Each has an executor: one goroutine
// with a deadline, a box for orders, a hook, addresses and a command of its own. They
// run side by side and share what belongs to the node: the node-wide lock and the
// sweep at the start, the alarm, the subreaper, the watchdog, the way back to the
// agent, and the end. [Keeper.Configure] adds, changes and ends elections while the
// others go on. What follows is said of one election.
//
// # What the keeper does
//
// At the start it takes the node-wide lock, waiting for the keeper of a former
// agent to finish; kills what such a one has left running; and runs release. The
// deadline is shut until then, so that no leadership can begin.
//
// While the deadline is armed it runs acquire until that succeeds, and check: every
// CheckInterval, when the agent asks for it, and when the leadership gets
// another term. A failed check brings acquire again. Whenever nothing else is to be
// done and the leader has changed, it runs change.
//
// A leadership holds things, taken in this order and given up in the other: the
// watchdog, the addresses, what acquire has left running, the command.
//
// What acquire leaves running when it exits with status 0 lives on, beside checks and
// changes, until the leadership ends or acquire runs again: each acquire starts from
// nothing. What the other events leave running is killed at their end, and named.
//
// The command (Election.Run) starts once acquire has succeeded. When it ends it is
// started again, with growing pauses if it did so within ten seconds; the reports
// count such ends. When the leadership ends, all that it has started gets SIGTERM, and
// what is left SIGKILL after a part of the time that the release has: a third, or where
// another node may lead soon a half (three quarters without a hook). The release starts
// when all of it is dead. It keeps the
// DOYEN_TERM that it was started with.
//
// Addresses that a configuration adds are taken while the leadership goes on. If they cannot
// be, that is tried again with growing pauses, and the others are held.
//
// A hook that the configuration has no more runs release (DOYEN_REASON=reload) while
// the leadership goes on, after the end of what acquire has left running and beside a
// command that stays. The first things that a leadership holds at all wait for the
// node-wide lock.
//
// The watchdog (Config.Watchdog) is armed before an acquire with a hook or a command,
// and disarmed after the release. Each executor that holds something says now and
// then that it goes on; the device is fed while all do.
//
// When the leadership ends it kills what runs and runs release until that
// succeeds, with a growing pause between tries. It ends because the agent says
// so; or because the keeper fires: the deadline has passed (the agent is stopped
// or hangs), or the socket has ended (it is dead). After the release that
// follows a firing, it delivers the leader's will, so that the others need not
// wait for the lease. When the agent is gone without having left, it tells the
// group that it is dead, once nothing is held: gossip alone would take seconds to
// notice. A program whose agent is gone ends when all this is done,
// and the agent's health checks, which are not its own, are killed.
//
// What is done to the addresses may have to wait for a lock of the kernel that all
// namespaces of the machine share. So it is a part of the runs, before and after the
// hook, and the executor itself only renews the addresses and cuts them off, which
// needs no such lock.
//
// # Invariants
//
// Each is kept in one place, and has tests of its own.
//
//  1. No run of the hook overlaps another on a node. Within a keeper, act begins
//     none while one is under way, and a run is over only when all its
//     processes are dead (package hook). Between keepers, the lock and the sweep
//     at the start. (Every test's hook looks for processes of the runs before
//     it; TestSuccessorWaitsForTheKeeperOfTheDead,
//     TestAgentAndKeeperKilledDuringAcquire.)
//  2. A release that ends a leadership never starts while anything of an acquire or of
//     the command lives:
//     the same rule, overtake (runs.go) kills an acquire at once, and releaseNext waits for
//     the command and ends what acquire has left. (TestAgentKilledDuringAcquire,
//     TestAcquireOvertakenIsKilledAtOnce, TestKeeperKilled,
//     TestWhatAcquireLeavesRunning, TestCommandIsDeadBeforeTheRelease.)
//  3. Fired is final for its generation: no swap leads from there to armed but
//     by a new generation, and only after the release. No acquire starts once
//     the keeper has fired, as look comes before act, in one goroutine.
//     (TestEveryInterleaving, TestDeadlineEndsALeadershipOfItsOwnProcess.)
//  4. Nothing says "I lead" past the deadline or after a firing: Leads looks at
//     both, in one load. (TestEveryInterleaving, TestDeadlineByItself.)
//  5. The newest state wins: orders sit in a box of one, and a run that newer
//     events overtake is killed (acquire, check) or makes way (change, for
//     acquire and release). (TestLeadershipsThatFollowEachOtherAreKeptApart,
//     TestChangeTellsOfTheNewestLeader, TestChangeGivesWayToAcquireAndComesAgain.)
//  6. The will comes after the release, also where the time for the release was not
//     enough. (TestAgentKilled, TestAgentStopped, TestNoWillWhileSomethingIsHeld.)
//  7. Without a keeper that watches, no node leads: the deadline is shut while there
//     is none, and one that is stopped is killed and replaced.
//     (TestKeeperKilled, TestKeeperStoppedDuringAcquire,
//     TestKeeperStoppedWhileItHasNothingToDo.)
//  8. Ending one election's processes touches no other's: each process is marked as
//     its election's (package hook). (TestElectionsDoNotTouchEachOther,
//     TestConfigure.)
//  9. An executor waits for nothing that may take long: neither the addresses nor a
//     program delay a renewal, an order, or the end at the deadline.
//     (TestNothingWaitsForTheAddresses, TestOrdersDoNotWaitForTheGuards.)
//
// # Limits of time
//
// In quorum mode another node may lead ReleaseBudget after the deadline, or at
// Order.ReleaseBy. A release that still runs 10 ms before is killed, and reported
// as failed. It is then tried further, for up to HookTimeout more: it gives up
// only what this node holds, and no other can. In available mode HookTimeout
// limits all tries together. On a planned hand-over Order.ReleaseUntil does, in
// both modes: it is fixed when the hand-over begins, the hook is told it, and it
// holds while the agent renews; Order.ReleaseBy, which moves with the renewals,
// ends the release only when they fail. A hook that cannot be started at all ends a release
// at once.
//
// Floating addresses are cut off at once and taken off before the hook's release when
// time is short, and after it otherwise: on a planned hand-over the hook may still need
// them.
//
// Idle, the keeper wakes once a lease for each election that this node leads, to look
// whether the deadline has moved, and every five seconds for a sign of life: that of
// one election, each in turn.
//
// # Under a service manager
//
// The keeper catches SIGTERM, SIGINT, SIGHUP, SIGQUIT and SIGABRT and goes on: its
// work begins when the agent ends. It is in a session of its own. A service
// manager should tell the agent alone to stop, and leave the rest alone for as
// long as a release may take.
//
// With systemd that takes some care. KillMode=mixed kills the keeper at once when
// the agent has crashed: the release comes then from ExecStopPost, and nothing
// delivers the will. KillMode=control-group spares it, but sends the signal to
// the hook that is releasing, too. So the unit in examples/systemd stops the
// agent by ExecStop, and has KillMode=control-group with KillSignal=SIGCONT,
// which does nothing: systemd waits until all have ended. What is left after
// TimeoutStopSec is killed, and cleaned up by [ReleaseNow] as ExecStopPost, or by
// the next start. TimeoutStopSec should be longer than twice the hook's limit.
//
// In a container everything ends with PID 1, the keeper included. That is why
// cmd/agent as PID 1 runs the agent as its child, and lasts until agent and
// keeper have ended; a program of your own may want a small init (docker run
// --init). If PID 1 itself is killed, the next start cleans up.
//
// # Limits
//
//   - If agent and keeper are both killed, what the hook holds stays, and a
//     running acquire goes on, until the next start.
//   - With Local, this holds when the agent alone is killed.
//   - An agent that hangs without being stopped, but goes on extending the deadline,
//     is a leader.
//   - The lock is known by cluster and node name within a network namespace.
//   - A process of the hook that this user may not kill, or that the kernel does
//     not let die, lives on; see package hook.
//   - Keeper processes need Linux: shared memory without a file, the abstract
//     socket namespace, child subreapers. Elsewhere there is only Local, which
//     takes no lock.
//
// Internal to Doyen: no promise.
package keeper
