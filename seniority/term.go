package seniority

// A term is a number that rises with every leadership and fences what a former
// leader still writes. Its three low decimal digits are the claimant's place,
// the rest the Unix time in milliseconds or one more than the highest term
// known, whichever is larger. So no two voters ever claim one term, and terms
// rise across a restart of every node without a disk while the hosts' clocks
// agree. Terms stay below 2^53, exact in JSON readers that know only doubles,
// until the year 2255. A clock beyond that proposes no terms: the claimant takes
// one more than it knows of, and in quorum mode claims nothing while it knows of
// none, since without a clock or a disk the terms would begin anew, and a term
// could have two leaders.
const (
	places  = 1000
	maxTerm = 1<<53 - 1
	// maxLead is how far ahead of everything it knows a voter believes a term
	// that it has not seen lead: a day.
	maxLead = 24 * 60 * 60 * 1000 * places
)

// clockBeyond reports whether a wall clock shows a time that terms end before.
func clockBeyond(wall int64) bool { return wall >= maxTerm/places }

// nextTerm returns the term that a claimant at place takes when it knows terms
// up to known and its wall clock shows wall milliseconds. It returns 0 when
// the terms are used up.
func nextTerm(known uint64, wall int64, place uint64) uint64 {
	base := known/places + 1
	if wall > 0 && uint64(wall) > base && !clockBeyond(wall) {
		base = uint64(wall)
	}
	t := base*places + place%places
	if t > maxTerm {
		return 0
	}
	return t
}

// tooFarAhead reports whether term is a day or more ahead of both the wall
// clock and the highest term known to have led.
func tooFarAhead(term, known uint64, wall int64) bool {
	limit := known
	if wall > 0 {
		limit = max(limit, uint64(wall)*places)
	}
	return term > maxTerm || term > limit+maxLead
}

// placeOf maps a name to a place, for members of available mode, which have
// none: FNV-1a (Fowler, Noll, Vo) reduced to three digits. Two members that
// share a place are kept apart by their voters, which promise a term once.
func placeOf(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h % places
}
