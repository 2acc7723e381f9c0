// Package supervise runs a command until a deadline that may be moved, and then
// kills all of it: the command and every process that descends from it, no matter what
// session or process group it is in.
//
// Two processes do that. The caller of [Start] moves the deadline. Its guard, the
// same program again (see [Init]), starts the command. Both are child subreapers
// (PR_SET_CHILD_SUBREAPER in prctl(2)), and each has the deadline on a clock of
// its own, so that either does without the other:
//
//   - The caller is killed: the guard sees the end of their socket, and kills all.
//   - The caller is stopped or hangs: the deadline is moved no more, and the guard
//     kills all when it has passed.
//   - The guard is killed: the kernel kills the command (PR_SET_PDEATHSIG), the
//     command's descendants become children of the caller, and it kills them.
//   - The guard is stopped: the caller kills it when the deadline has passed, and
//     then all the others as above.
//
// # Limits
//
// If both processes are killed or stopped in the same instant, the kernel kills
// the command only, and not its descendants. A process that another user owns,
// such as a set-user-ID program, may not be killed by this one: [Command.Kill]
// names it. Linux only.
//
// Internal to Doyen: no promise.
package supervise
