// Package realtime tells whether the kernel schedules this process ahead of
// ordinary ones, and keeps its memory from being paged out. The profile edge
// needs both: with a lease of 60 ms one time slice lost to another program, or
// one page read from a disk, makes a healthy leader miss its renewals.
//
// The scheduling is given from outside, by the service manager
// (CPUSchedulingPolicy= in systemd.exec(5)) or chrt(1), and inherited by the
// keeper and by what it runs. A hook that spins at a real-time priority keeps a
// processor to itself, so the drop-in in examples/systemd bounds the service by
// RLIMIT_RTTIME.
//
// Internal to Doyen: no promise.
package realtime
