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
//     not count from then on, since no program is there to take it off
//   - old-answers: how long after the fault the former holder still answered
//   - old-address: how long after the fault its interface still had the address
//   - heal-outage, heal-overlap, heal-settle: the same after the fault is
//     undone; heal-settle is when the last but one holder has answered last
//   - failovers: how often a host came to have the address on its interface
//   - tcp-outage: the longest that no new TCP connection to the address came about;
//     one is tried every 20 ms
//   - tcp-broken: how many open TCP connections to the former holder broke during
//     the fault; at most five are open, and each talks every 100 ms
//   - tcp-refused: how many new ones were refused or reset, to the end of the run
//   - tcp-failed: how many did not come about for any reason, silence included
//   - tcp-connect: the longest that one took which came about
//   - heal-tcp-outage, heal-tcp-broken: the same after the fault is undone, of
//     connections to the host that served when it was
//
// Besides the scenarios, in which one thing goes wrong at a time, the nemesis does
// things at random for as long as it is told, several at once:
//
//	failoverlab -nemesis 10m [-seed N] [-hosts 3|5] [-subjects LIST]
//
// It kills, stops and freezes agents, keepers and hosts, pulls cables, cuts and
// spoils connections between hosts one way and both, takes the address off, and
// asks for hand-overs; for nine faults in ten so that a majority of the hosts is
// whole. Storms of 20 s alternate with heals. What must hold in quorum mode:
//
//   - no host answers for the address once one that got it later has answered
//   - two hosts never answer at the same time
//   - no term has two leaders, and none is led after a newer one
//   - while the hosts of a majority run, their start-up abstention is over, and
//     nothing is lost between them, the address is without an answer for at
//     most the time that seniority.Timing.PartialBound states
//
// and in both modes that no agent ends by itself, and that one host serves with
// the consent of all within the time that the table states after each heal. The
// status is 1 if something did not hold.
//
// A crowd is one large group on the loopback interface, without a floating address:
//
//	failoverlab -crowd 300 [-calm 10m] [-runs 5]
//
// It shows what a member costs at rest, how long a failover takes until all follow the
// next leader, and whether a leader that is well stays while a quarter of the others are
// stopped for up to 32 s at a time.
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
// The tests TestHosts… do to agents with the floating address what happens to
// hosts: cables are pulled, addresses and packet filters taken away under them,
// members stopped in the middle of a hand-over, links cut at random. They look
// from outside at connections of TCP clients, at answers, at the kernels' lists
// of addresses, and ask over HTTP who leads. A short form runs with
// DOYEN_TEST_REQUIRE=1; for the long one, several labs at a time:
//
//	go test -run TestHosts -v -timeout 0 -parallel 8 -hosts.rounds 20 -hosts.strict
//
// The tests TestCommandOn… and TestExecOnHosts have agents, and agent exec, run a
// command that starts two generations of processes on two and three hosts of quorum
// mode. All of them write into one log and are looked for in the table of processes:
// none lives while another host says that it leads. For the long form, `make trials`.
//
// # What is touched
//
// Everything runs in process, mount and network namespaces that are this
// program's own. However it ends, also by kill -9, the kernel ends the rest;
// so nothing is left over, and two labs can run at the same time.
package main
