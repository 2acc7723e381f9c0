// Package hook runs the hook program once: one event, one process group, one
// limit, and nothing left behind. It runs the health check in the same way.
//
// # What a run is
//
// [Runner.Run] starts HOOK EVENT with the environment of [Env], standard input
// from /dev/null, and both outputs into a pipe. The run is over when the
// program itself has exited and everything it started is dead, or when ctx has
// ended and all of it has been killed. The caller starts the next run only then; so
// no run ever overlaps another.
//
// Whatever the program leaves running when it exits is killed: a hook that
// wants a service to run asks the service manager for it. Killing is SIGKILL at
// once. The program's process group goes first, while the program, not yet
// reaped, still reserves the number of the group; then everything that has left
// the group.
//
// # Finding what has left the group
//
// In a keeper process (Runner.Subreaper) everything whose parent has died
// becomes a child of this process, whatever setsid or double fork it tried;
// children are killed until none is left. In another process (--keeper off)
// and after a keeper has been killed itself, [Sweep] looks through /proc for
// processes that carry this node's environment.
//
// # Health checks
//
// [Health.Check] runs a program without arguments in the agent's own process.
// Its group is killed like that of a hook, and what has left the group when it
// had to be killed. When the agent is killed, the kernel kills the program, and
// whoever outlives the agent the rest, by [SweepHealth]: a health check's
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
//   - Sweep cannot know a process that has both left the group and cleared its
//     environment, so with --keeper off such a process survives.
//   - The hook's interpreter and what it reads are not checked.
//   - Elsewhere than on Linux only the process group is killed.
package hook
