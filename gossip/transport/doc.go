// Package transport is the one port of a member: gossip over UDP and TCP, HTTP,
// questions and wills share it, and the first byte tells them apart. It knows no
// members and no elections.
//
//   - port.go: the transport that memberlist is given, packets, dialling
//   - accept.go: tells the kinds of connection apart, and passes each on
//   - sockets.go: the TCP and the UDP socket of a real member
//   - limit.go: how much memory the connections of others may hold
//   - conn.go: connections whose first bytes have been read, and the listener of HTTP
//   - validate.go: the shape of what members send, before memberlist decodes it
//
// What is refused is counted by its reason in a findings.Record.
//
// Internal to Doyen: no promise.
package transport
