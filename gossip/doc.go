// Package gossip is one member's part in the group: it finds the others, says
// who is there, and carries the messages of the election. It knows nothing of
// who leads. It is memberlist (SWIM gossip) with a transport of its own.
//
// # One port
//
// TCP and UDP on one port carry everything (package transport). The first byte
// tells what a connection or a packet is:
//
//	244      memberlist, behind its label "doyen/CLUSTER"; may be encrypted
//	A–Z, 22  HTTP, or a TLS handshake: handed to the listener of HTTP
//	0xD9     a question to this member, see Ask; encrypted if there are keys
//	0xDA     a will: a keeper says that a leadership is over, or that its agent
//	         is dead; plain, it proves itself by its secret (will.go)
//	0xDB     a stream of messages between two members, see Stream; encrypted if
//	         there are keys
//	0–13     a memberlist without a label: refused as a foreign program
//
// Each connection is read in a goroutine of its own, under a deadline, until it
// has said what it is. At most 128 may be undecided; then the oldest is closed.
// Those that gossip has taken are bounded by what they hold (transport/limit.go).
// Packets beyond 2 KiB are refused and, where nothing is encrypted, what has not
// the shape of a member's message (transport/validate.go), before memberlist
// decodes it. So no matter what strangers do on the port, gossip goes on.
// Everything refused is counted by its reason (Counters); the log tells of it in
// one line a minute at most; and what a person should know is kept with the
// evidence (Findings) for a minute after its last sign.
//
// # Members
//
// A member is a name, an address, and a meta of at most 512 bytes that ranks it
// (meta.go). Its name is the address that it advertises, unless another is
// given; the address is the one given, else the one bound, else the one from
// which this host would call the first seed, else an interface's, private ones
// first. A floating address is none of these. New fails rather than guess while a
// seed cannot be resolved or has no route, as on a host that boots. Where every
// IPv4 address is to be bound and the host and its seeds have IPv6 alone, :: is
// bound. A name with addresses of both families means the family bound; bound
// to ::, IPv4 is preferred, for a peer bound to IPv4 alone cannot reach IPv6.
//
// The seeds are resolved again and dialled for ever while they are missing from
// the view; so is every member that has ever been in it and did not say
// good-bye, up to 4096. memberlist forgets the dead after half a minute; this
// is why a partition of any length heals. The pause between two dials of one
// address grows from a quarter of a second to 5 s, in groups of more than 50
// to at most a minute; all missing members together are dialled at most some
// four times a second by each member.
//
// A member that may have been cut off asks seeds and members again at once, and
// its view says Apart until one of them has answered or all have refused (Rejoin).
//
// When the address of a host changes, its member publishes where it is reached
// now, and stays the same member under the same name (address.go). While its host
// has no address for it, its view says so (Stray). An address that was not one of
// this host's at the start, as behind a translation of addresses, is not followed.
// A member bound to one address stays bound to it.
//
// A restart is a new member: the meta carries an incarnation. The others take
// it in as soon as it dials any of them, and learn from Gone that the old run
// is over.
//
// # Cost
//
// At rest a member sends some ten packets and a kilobyte a second in a group of any size
// from ten members on, less in a smaller one: memberlist's probe, a leader's message
// passed on eight times, and every 10 s a digest of its view to another member. Only two members
// whose views differ exchange whole states (antientropy.go), which makes good what
// gossip has missed.
//
// # Names that clash
//
// Of two members of one name in one group, the one that the others knew first
// stays. The other is refused by all, takes no member in, and says so in
// View.Clash; it goes on dialling and joins once its namesake is gone. Of two
// that know no other member, the one that started first stays. When two groups meet
// and each has a member of one name, each side keeps its own, and the one that
// started later has Clash set: it should leave, which ends the clash. All that
// take part report it, and no view changes back and forth.
//
// # Messages
//
// Send puts the messages for one member into as few UDP datagrams as they fit into, at
// once, to where the member was last known; each names its election (entries.go). A
// renewal that says what the one before said, and its confirm, are a reference to that
// one (conversation.go). Without a receiver a message goes round by gossip: every member
// passes the newest of each sender and election on, within about a second. Either may be
// lost. A direct message is taken once, from the run of a member that gossip
// knows, by the run that it was sent to (replay.go); a gossiped one only while it
// is newer than the last of its sender. SetGreeting is handed to a member that
// exchanges whole states with this member, newcomers above all.
//
// Gone, Changed and Messages never block their writer: news that is not
// read is replaced or dropped, and counted.
//
// What a member publishes beyond its 512 bytes of meta is its detail: the meta has its
// sum, and a member that has another one asks for it over a connection (detail.go).
//
// # Locks
//
// memberlist calls this package with its own locks held, so no lock of this package is
// held while memberlist is called, but for Gossip.exit, which lets a member leave and shut
// down one after the other, and under which Gossip.mu is taken. Else a goroutine holds one
// lock of this package at a time; that of the findings may come last under any. None is
// held while something is sent or waited for, but for the one under which a long message
// of a stream is read.
//
// # Keys
//
// With a keyring, everything of memberlist and every question is encrypted with
// its first key (AES-GCM) and taken under any. Rekey says how to change keys
// without losing a member. Without one, everything is readable and anybody who
// reaches the port can join: then the network must be trusted.
//
// # Limits
//
// A member whose address has changed keeps its name, which may be its first
// address. A host that gets that address then clashes with it, unless it is given
// a --name of its own.
//
// Elections need UDP. memberlist keeps a member alive to which only TCP gets
// through; that is found (udp-blocked), not mended. memberlist notices the death of a host,
// or of a member without a keeper, after some seconds; leases, not gossip, decide
// when a leader is lost. In groups of more than 65 the keeper of a dead member
// tells 64 others. A member with the keys may lie about
// others, as in any gossip. Somebody on the wire without the keys may send
// memberlist's own packets again: at worst that puts a member back into the view
// that has gone, until it is probed. Two processes with one name and one address, such
// as a copied --advertise-addr, look like endless restarts; they are reported
// as a name clash after half a minute and not kept apart. Link-local IPv6
// addresses cannot be advertised, for memberlist carries no zones.
//
// Internal to Doyen: no promise.
package gossip
