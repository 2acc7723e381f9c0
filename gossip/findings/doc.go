// Package findings holds what a person should know about a group: things that are
// wrong or odd, with the evidence and what to do. Finding is the one type for it,
// in gossip, the agent, its floating addresses and the verdict of /diag.
//
// Record is how package gossip collects its own: it counts what it refuses, and
// keeps a bounded number of findings for a minute after the last sign of each.
package findings
