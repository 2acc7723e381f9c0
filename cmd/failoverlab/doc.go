// Failoverlab measures, from outside, how long the clients of a floating address
// miss it when things go wrong, and whether two hosts ever hold it at once.
//
//	failoverlab [-subjects LIST] [-scenarios LIST] [-runs N] [-together N] [-json FILE]
//
// It builds three hosts, a client and a watcher as network namespaces with a
// switch between them, runs the agent on the hosts, or keepalived as a peer to
// compare with, does to them what each scenario says, and prints a table. It
// needs root, and for the peer Debian's package keepalived.
//
// # What is measured
//
// The client sends a small UDP packet to the address every 5 ms, through its
// kernel's ordinary ARP, and notes when answers come and from which host: the
// longest time without an answer, less the 5 ms, is the outage. The watcher,
// whose own cables no fault touches, asks every host separately, by a ping sent
// to its hardware address, and all of them by ARP, every 4 ms: so every holder
// answers, wherever the client's packets go. And a third observer hears the
// kernel of each host say when the address comes and goes.
//
//   - outage: the longest that the client had no answer after the fault
//   - takeover: from the fault to the first answer of another host; missing if
//     there was none within 10 s
//   - overlap: how long two hosts answered the watcher. It counts a host as
//     holding only between an answer received and a question sent later that it
//     answered too, so that it never counts too much, and less than 10 ms
//     (two rounds) may escape it
//   - overlap-address: how long two hosts had the address on their interfaces, by
//     the kernels' own events; a host whose programs are all dead or frozen does
//     not count from then on, since nobody is there to take it off
//   - old-answers: how long after the fault the former holder still answered
//   - old-address: how long after the fault its interface still had the address
//   - heal-outage, heal-overlap, heal-settle: the same after the fault is
//     undone; heal-settle is when the last but one holder has answered last
//   - failovers: how often a host came to have the address on its interface
//
// The programs that observe run with real-time priority, so that a busy machine
// delays what is measured and not the measuring.
//
// # Proofs
//
// The tests of this package run three voters of quorum mode on the same hosts,
// do the worst to them, and look whether two ever say that they lead, and
// whether one's acquire ever begins before another's release has ended. Two
// rounds of each run with DOYEN_TEST_REQUIRE=1; for more of them, and for
// times to be checked besides their order:
//
//	go test -run TestQuorum -v -timeout 0 -quorum.rounds 100 -quorum.strict
//
// # What is touched
//
// Everything runs in process, mount and network namespaces that are this
// program's own. Whatever ends it, kill -9 included, the kernel ends the rest;
// so nothing is left over, and two labs can run at the same time.
package main
