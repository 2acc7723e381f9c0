package api

import (
	"net"
	"net/http"
	"strconv"
)

// The calls in this file answer clients of other leader elections, whose paths
// and field names they keep.

// electionStatus answers whether an election is under way, as this member sees it.
func (a *api) electionStatus(w http.ResponseWriter, _ *http.Request) {
	a.json(w, http.StatusOK, map[string]bool{"electionStatus": a.agent.State().Electing})
}

// leaderPort answers the port that the leader is reached at.
func (a *api) leaderPort(w http.ResponseWriter, _ *http.Request) {
	l, ok := a.agent.Leader()
	if !ok {
		a.fail(w, http.StatusServiceUnavailable, "no leader")
		return
	}
	_, text, err := net.SplitHostPort(l.Addr)
	port, portErr := strconv.ParseUint(text, 10, 16)
	if err != nil || portErr != nil {
		a.fail(w, http.StatusServiceUnavailable, "the leader's address "+printable(l.Addr, maxText)+" has no port")
		return
	}
	a.json(w, http.StatusOK, map[string]uint64{"leaderPort": port})
}

// newLeaderPort refuses: no call can make a member the leader.
func (a *api) newLeaderPort(w http.ResponseWriter, _ *http.Request) {
	a.fail(w, http.StatusConflict, "leaders are elected, not appointed")
}
