// Package voters is the list of voters of quorum mode: how it is checked and written,
// which of its entries this member is, and whether enough of them are there.
//
// Invariant: an entry is one node and a node is one entry, and all members write the
// list in the same way; else votes could be counted twice, or lists that are equal
// taken for different ones. Places in the list count, see Digest.
package voters
