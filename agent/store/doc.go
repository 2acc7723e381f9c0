// Package store is a small set of keys and values, the same on every voter. The
// leader of the group's own election, the doyen, orders every change; a majority
// of the voters has it on disk before it is acknowledged.
//
// # How it works
//
// The order is a log of go.etcd.io/raft. A replica (replica.go) is a pure part:
// raft, a disk and the state machine (machine.go), which no clock and no goroutine
// reaches, so that tests play it with crashes that lose what was not synced. A
// Store (store.go) is the goroutine around it, with the network (network.go), the
// calls of clients (calls.go), and the stream that carries them to the doyen (callstream.go).
//
// One leader, not two: only the doyen campaigns, ticks and proposes, and only
// while its deadline holds; raft's own election time-outs never end. A member
// that is the doyen no more starts raft again as a follower from what is on disk,
// which is what a crash would do. So raft's safety does not rest on leases: a
// wrong doyen delays, and corrupts nothing.
//
// A claim in the election says where the claimant's log ends, so that the voter with
// the newest log leads where it may (package seniority, section Logs). A doyen whose
// log is behind all the same, of a voter that is a witness or ails, has that voter
// bring it up (lend.go). If that takes too long it says log-behind, may lead no more,
// and hands over.
//
// # Leaderships
//
// The first entry of each leadership says under which term the doyen leads. The
// state machine holds fences against it, in order: a change that was decided on
// under a lower term is refused. The agent runs acquire only after that entry has
// been committed; or where there is no store yet, which has nothing to guard.
//
// # Reads
//
// The doyen answers reads from its own state once its first entry has been
// applied, and checks before and after that its lease holds. Nothing can have
// been acknowledged elsewhere meanwhile, so they are linearizable. Other members
// pass calls on. Their own copies learn of a change with the next one, or 10 ms later if
// none comes (transmit.go).
//
// # Founding, and voters with an empty disk
//
// A voter's id in raft is a random number that belongs to its disk. The doyen
// founds a group once it has heard of every voter and none has kept anything: a
// voter that is missing might have. A group that has been founded brings in a
// voter whose disk is a new one like a new voter: the old id is taken out by a
// majority of the others, the new one comes in as a learner, without a vote, and
// gets the vote once its log is within a thousand entries of the leader's. So a
// voter that has lost what it promised never votes with an empty memory. It also
// follows that two voters of which one has lost its disk have no majority; the
// store of such a group must be restored from a saved copy.
//
// Voters that are added to or taken off the list follow in the same way, once
// every voter that is heard of has the same list.
//
// # The disk
//
// Everything that raft must remember is synced before anything is said of it, but that a
// leader sends entries while it syncs them; all that waits shares one sync. A change is
// answered once a majority has synced it, and does not wait for the sync of later ones.
//
// What is kept is in one file of bbolt and a journal of 2 MiB beside it (journal.go): a
// transaction of bbolt syncs twice, its pages and then the page that names them, an append
// to the journal once, and nearly every write needs only an append. Snapshots, and what a
// full journal has no room for, go into the file in one transaction with what the journal
// holds. The same happens at a start and at a stop; after a stop the file alone holds all.
//
// Every record has a checksum. A file or a journal that is damaged is refused at the
// start, and both are left as they are. Only the last record of a journal may be
// incomplete: a crash cut it short before it was acknowledged, which shows by a
// sector (512 bytes) that is still zero. A disk that fails later takes this voter out
// until it works again, and what was acknowledged is still there.
//
// # Limits
//
// 64 MiB of keys and values, 255 bytes a key, 512 KiB a value. The last 16,384
// changes and request ids are kept. A snapshot holds the whole state in memory
// once more while it is made. Two voters with a lost disk: see above. Members are
// trusted, as in elections.
package store
