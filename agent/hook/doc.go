// Package hook runs the hook program once: one event, one process group, one
// limit, and nothing left behind that its election does not hold. It runs the health
// check and the command of an election in the same way.
//
// # What a run is
//
// [Runner.Run] starts HOOK EVENT with the environment of [Env], standard input
// from /dev/null, and both outputs into a pipe. The run is over when the
// program itself has exited and everything it started is dead, or when ctx has
// ended and all of it has been killed. The caller starts the next run only then; so
// no run ever overlaps another.
//
// What the program leaves running when it exits is killed and named, with one
// exception: what an acquire that exits with status 0 leaves running is part of the
// leadership, and lives until [Runner.EndLasting]. Killing is SIGKILL at once. The
// program's process group goes first, while the program, not yet reaped, still
// reserves the number of the group; then everything that has left the group.
//
// [Command.Run] runs the command of an election until it exits or is to end. It gets
// SIGTERM first, with everything that it has started, and SIGKILL later. What it
// prints is passed on in whole lines.
//
// # Whose a process is
//
// In a keeper process (a [Reaper]) everything whose parent has died becomes a child
// of this process, even after setsid or a double fork; those of an election are
// killed until none is left. In another process (--keeper off) and after a keeper
// has been killed itself, [Sweep] looks through /proc.
//
// A process is known to be an election's, and to come from acquire, the command or
// another event, by two marks: variables in its environment, and a resource limit
// that means nothing (RLIMIT_LOCKS) and that every process inherits. The second one
// is there after env -i as well; only a Reaper sets it.
//
// # Health checks
//
// [Health.Check] runs a program without arguments in the agent's own process.
// Its group is killed like a hook's, and what has left the group when it
// had to be killed. When the agent is killed, the kernel kills the program, and
// the keeper, which outlives the agent, the rest, by [SweepHealth]: a health check's
// processes carry the run of the agent in their environment, which those of
// hooks do not.
//
// # Output
//
// Both outputs are read to the end, so that a hook never blocks on a full pipe,
// and kept up to [MaxOutput] bytes. A process that keeps the pipe open does not
// keep the run open.
//
// # Who may write the hook
//
// When this process is root, [CheckPath] comes before every run: it refuses a
// program that others could have written or replaced.
//
// # Limits
//
//   - A process that has become another user's, as by sudo, may not be killable
//     by an agent that is not root. The run then ends without it, and says so.
//   - A process in uninterruptible sleep dies when the kernel lets it; the run
//     lasts until then.
//   - Without a Reaper only the environment tells: with --keeper off a process that
//     has both left the group and cleared its environment survives, and so does one
//     that acquire has left running and that has cleared its environment.
//   - A process that has cleared its environment and set the limit anew is known only
//     while its keeper serves one election.
//   - The hook's interpreter and what it reads are not checked.
//   - Elsewhere than on Linux only the process group is killed.
//
// Internal to Doyen: no promise.
package hook
