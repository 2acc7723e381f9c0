// Package floatingip holds the built-in floating addresses of a leader: it puts
// them on an interface, tells the neighbours, keeps them there, and sees to it
// that the kernel cuts them off by itself when nobody is left to take them away.
//
// # What it does
//
// A [Set] is all the addresses of one agent; they move together. [Set.Take] puts
// them on their interfaces and announces them, [Set.Renew] moves the kernel's
// cut-off on with the lease, [Set.Drop] cuts them off and takes them away,
// [Set.Check] puts back what someone removed, [Set.Announce] tells the neighbours
// again. [Links] watches the interfaces, so that a node whose link is down hands
// over, and one whose interface is missing is no candidate.
//
// IPv4 addresses are announced by gratuitous ARP, in both of its forms, since some
// devices listen to only one; IPv6 addresses by unsolicited neighbour
// advertisements. The neighbours are told at once, eleven more times over the
// next eight seconds, and every half minute from then on. The series starts again on
// demand (a sign of another leader) and when a link comes back. Before each
// single packet the caller's Leads function is asked.
//
// IPv6 addresses are added without duplicate address detection: it would take a
// second, and the election has already made sure that nobody else holds the
// address. They are deprecated (preferred lifetime 0), so that the kernel does
// not choose them as the source of the host's own connections, and bring no
// prefix route with them where the interface has one, because theirs would
// carry the lifetime of the address over to the host's own.
//
// # The kernel's own cut-off
//
// A killed or frozen host can take nothing away. So everything that makes an
// address answer passes a gate in the kernel: nftables rules that drop ARP,
// neighbour discovery and IP packets for the address unless a set holds an
// element for it. The element has a time-out in milliseconds, which every Renew
// moves on, and which ends by the end of the lease: a renewal that took too long
// is repeated, and one that came too late shuts the gate. The gate ends early
// rather than late, by less than 15 ms at 250 ticks a second; see [CutOff].
//
// The rules stand in two tables of this agent's own, inet and arp, whose name
// comes from the cluster's and the node's names; other tables are not touched.
// They look only at packets of the address on this host (routed and bridged
// traffic passes), and before any translation, so that published container ports
// are cut off as well. [Set.Close] removes them. After a crash they stay, shut,
// until the next start; `nft delete table inet NAME` and `nft delete table arp
// NAME` remove them by hand. If somebody else flushes them away, the next
// Renew or Check puts them back and says so.
//
// As a clean-up behind the gate, the addresses carry a valid lifetime, which is
// renewed too, and are gone from the interface within about three seconds of the
// last renewal.
//
// Without nftables in the kernel the lifetime is all there is: it counts in
// whole seconds. A Finding says so, and [CutOff] is then the time that a lease
// must allow for.
//
// # Guarantees
//
//   - After Drop has returned nil the host does not answer for the addresses.
//   - With nftables, an address is cut off by the `until` of the last Take or
//     Renew, with every process of the agent stopped or dead.
//   - Nothing is announced when Leads says no.
//
// # Limits
//
//   - The kernel's timers stand still while the machine is suspended: after a
//     resume the gate is open for what was left of the lease, until the caller
//     wakes and calls Drop.
//   - ARP packets are sent past the rules. A process frozen between asking Leads
//     and sending sends one packet when it thaws; the new leader's next
//     announcement corrects it.
//   - An IPv4 address with a shorter prefix than /32 that is the first of its
//     network on the interface is its network's primary address: the kernel
//     removes the others with it, unless promote_secondaries is set. Hosts that
//     have an address of their own in the network, or /32, avoid this.
//   - Who else holds the address is not looked for; the election knows.
//
// CAP_NET_ADMIN and CAP_NET_RAW are needed and enough. Other systems than Linux
// get a sentence that says so.
package floatingip
