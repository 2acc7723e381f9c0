// Package process reads from /proc which processes there are and who their parents
// are (proc_pid_stat(5), proc_pid_task_children(5)). Processes come and go while it
// reads: a caller that must know them all looks again until nothing changes.
//
// Internal to Doyen: no promise.
package process
