// Package sim runs groups of election cores in virtual time under faults and
// checks what must hold after every single step.
//
// A run is made from one seed: the size of the group, its rule, its timing, the
// clocks of its hosts, what the network does to messages, and which faults
// strike when. The same seed gives the same run, event for event.
//
// What is real: the cores, every message of theirs as it is on the wire, the order in which an
// agent carries their output out. What is modelled: the network (loss, delay,
// duplication, reordering, one-way cuts), gossip (views that lag and differ),
// hosts (clocks that run at different rates, jump and stop; pauses of agent,
// keeper or both, also between a decision and its effect), the keeper with its
// deadline word and its will, a deadline that cannot be armed, and hooks of
// random length, some of which hang or fail.
//
// The checkers know nothing of the protocol. They look at the whole world on
// its global clock: see check.go for the list.
//
// A run alternates between chaos, in which faults strike, and calm, in which
// nothing is cut and no host is down; liveness is checked at the end of calm.
// Then topologies that are not whole stand still for minutes, with hosts that
// hang or ail (standing.go). Half of the runs end with a calm in which a minority
// of the hosts is gone for good.
package sim
