// Package electionlog writes what a person reads who is woken at night: who came and
// went, who leads, and why there is no leader.
//
// Invariants: what matters to that person is at INFO or WARN, and a failover is a handful
// of lines, each with the reason; what the election does in detail is at DEBUG. A line is written once for what lasts or repeats. It decides nothing.
package electionlog
