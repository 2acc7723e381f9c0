// Package keepalived reads a configuration of keepalived and writes the file of
// settings with which a group of agents does the same.
//
// It is pure: files come from an fs.FS, and the outcome is text. Convert is all of
// it: lines.go reads files into a tree of lines, model.go takes from the tree what
// has a counterpart, convert.go prints it. Each line of the source is used by exactly
// one of the two: the file of settings, or the list of notes that says why a line
// has no counterpart (reasons.go). No line is passed over in silence.
//
// # What becomes of what
//
// Instances that share a sync group move together, and so are one election; every
// other instance is one by itself. If there is one in all, it is the group's own
// election and its settings stand at the top of the file; else each is an entry
// under elections.
//
// The file is for every host alike, except where keepalived knows only of the host
// that the file is from: a priority becomes the rule bully with an id, which differs
// between hosts. With several elections prefer names the host, which is known if
// the file gives the addresses of both hosts.
//
// Scripts take arguments there and none here, and there may be several of them. They
// become programs, which the outcome holds beside the file.
//
// # Limitations
//
// Definitions with ~SEQ and ~LST are not expanded. Conditions on a configuration id
// (@id) are followed if the id is given. IPVS, BFD and static routes are no task of
// an agent, and are named as such.
package keepalived
