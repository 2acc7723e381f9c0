// Package placing lays the further elections of a group over its members, and reads what
// the members publish of themselves for that: Details are the candidacies of the others,
// Placing is this member's part, as the doyen and as a member that goes by a placement.
//
// What differs by election between members does not fit into the 512 bytes that gossip
// carries of each. So a member publishes it as its detail: in which elections it is a
// candidate, whether it may lead them, and, if it is the doyen, how they are placed.
//
// Invariants: a placement is advice, so that one that is missing, wrong or old does no
// harm; the newest by its term counts, see seniority.Supersedes; at most one election
// moves at a time, and only after its better placement has lasted for the delay; what no
// member of this version could publish is dropped when it is read. How elections are
// laid out is seniority.Place, which is pure.
package placing
