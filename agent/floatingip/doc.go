// Package floatingip holds the built-in floating addresses of a leader: it puts
// them on an interface, tells the neighbours, keeps them there, and sees to it
// that the kernel cuts them off by itself when no process is left to take them away.
//
// # What it does
//
// A [Set] is all the addresses of one agent; they move together. [Set.Begin]
// installs what guards them, once the caller has the locks of the addresses.
// [Set.Take] puts them on their interfaces and announces them, [Set.Renew] moves
// the kernel's cut-off on with the lease, [Set.Drop] cuts them off and takes them
// away, [Set.Check] puts back what someone removed, [Set.Announce] tells the
// neighbours again. What happens to the addresses is reported as an [Event].
// [Links] watches the interfaces, so that a node whose link is down hands over,
// and one whose interface is missing, or that has one of the addresses as its
// own, is no candidate.
//
// All Sets and Links of a process in one network namespace share the subscriptions
// to what changes there (feed). Each is told only of what concerns it: its interfaces,
// its addresses, and for a Set the host's own addresses in their networks. So what one
// election does costs the others nothing. A Set that is told reads what is so: no order of
// changes can leave a wrong state behind.
//
// # What is the agent's, and what is the host's
//
// An address put by an agent carries a lifetime and a mark: a label that ends in
// ":doyen" for IPv4, deprecated without duplicate address detection for IPv6.
// Only such an address is ever taken away. Any other one that equals a floating
// address is the host's own: it is refused by [ErrOwnAddress], it is not guarded,
// and it stays.
//
// The kernel makes the first IPv4 address of a network on an interface its
// primary one: it is the source of the host's own traffic, and takes the others
// with it when it goes, unless promote_secondaries is set; then another becomes
// the primary one. A floating address is never that. Beside an address of the
// host's own in the same network it has the length configured and is secondary.
// Where the host has none, or promote_secondaries is set, it has length 32 and
// scope host, which the kernel never chooses as a source; where the host has none,
// a route of the last resort (metric 65535) leads to the network configured, so
// that the neighbours get answers. When the host's own addresses come and go, the
// form follows. Neighbours see no difference.
//
// IPv4 addresses are announced by gratuitous ARP, in both of its forms, since some
// devices listen to only one; IPv6 addresses by unsolicited neighbour
// advertisements. The neighbours are told at once, eleven more times over the
// next eight seconds, and every half minute from then on. The series starts again on
// demand (a sign of another leader, unless this one may have taken over from it while it
// was well) and when a link comes back. Before each
// single packet the caller's Leads function is asked.
//
// IPv6 addresses are added without duplicate address detection: it would take a
// second, and the election has already made sure that no other member holds the
// address. They have length 128 and bring no route with them, for the same reasons
// as IPv4 ones, and are deprecated (preferred lifetime 0), so that the kernel does
// not choose them as a source where the host has another global address.
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
// The rules of an address stand in two tables, inet and arp, which the address
// names (doyen_192.0.2.10): whichever agent has the lock of the address next
// replaces them, and removes tables of another name that guard it. They look
// only at packets of the address on this host (routed and bridged traffic
// passes), and before any translation, so that published container ports are cut
// off as well. [Set.Close] removes them. After a crash they stay, shut, until
// the next start; `nft delete table inet NAME` and `nft delete table arp NAME`
// remove them by hand. If somebody else flushes them away, the next Renew or
// Check puts them back and says so.
//
// A time-out shorter than the kernel's tick counts as none, so the gate is shut
// instead of being opened for less than 10 ms.
//
// As a clean-up behind the gate, the addresses carry a valid lifetime, which is
// renewed too, once a second, and are gone from the interface within about three seconds
// of the last renewal. The lifetimes of all Sets of a feed are moved on together: one list
// of the addresses that there are says which an agent has put and still has the form that
// it has, and one message for each of these follows.
//
// Without nftables in the kernel the lifetime is all there is: it counts in
// whole seconds. A finding says so. In quorum mode [CutOff] is then the time that
// a lease must allow for; in available mode an address may stay for three seconds
// after agent and keeper have both been killed.
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
//   - The kernel does not answer ARP where the sysctl arp_ignore of the interface
//     is 8; such an interface is refused by [ErrNoARP]. With 2 or 3 it answers only
//     while the address has the length configured.
//   - The name of an interface longer than 13 bytes leaves no room for the mark of
//     an IPv4 address; its lifetime is then the mark.
//   - The tables of an address that is no longer configured stay after a crash,
//     shut, until they are removed by hand.
//   - Who else holds the address is not looked for; the election knows.
//
// CAP_NET_ADMIN and CAP_NET_RAW are needed and enough. Other systems than Linux
// get a sentence that says so.
//
// Internal to Doyen: no promise.
package floatingip
