// Package diagnosis judges what the members of a group answer when they are
// asked for their state: who leads, whether all agree, and what a person should
// see to.
//
// It is a pure function of the answers. It asks no member and speaks no HTTP: its
// caller surveys the group and hands over the Evidence.
//
//   - verdict.go: what goes in, what comes out, and the status
//   - leadership.go: two leaders, disagreement, no leader and why
//   - settings.go: what follows from the settings: rules, modes, voters, versions
//   - checks.go: absent members, views, UDP, clocks, hooks, addresses, and what the
//     members have found themselves
//   - elections.go: who leads the further elections
//   - words.go: names and counts as parts of a sentence
//
// The answers are not of one instant: each was made within the survey's duration,
// so a hand-over or an election under way can show up as disagreement; the
// findings say so. What each member says of itself is of one instant.
//
// Internal to Doyen: no promise.
package diagnosis
