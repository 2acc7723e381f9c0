package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// groupElection is the name of the group's own election.
const groupElection = "group"

// elections answers what elections there are.
func (a *api) elections(w http.ResponseWriter, _ *http.Request) {
	a.json(w, http.StatusOK, a.agent.Elections())
}

// of returns the election that ?election= names, the group's own without it. If
// there is none of that name it answers so and returns false.
func (a *api) of(w http.ResponseWriter, r *http.Request) (Election, bool) {
	if r.URL.RawQuery == "" {
		return a.agent, true
	}
	return a.named(w, electionName(r.URL.Query()))
}

// named returns the election of that name, or answers that there is none.
func (a *api) named(w http.ResponseWriter, name string) (Election, bool) {
	if name == groupElection {
		return a.agent, true
	}
	if a.election != nil {
		if e := a.election(name); e != nil {
			return e, true
		}
	}
	names := slices.Sorted(maps.Keys(a.agent.Elections()))
	a.fail(w, http.StatusNotFound, "there is no election "+printable(name, maxText)+"; there is "+strings.Join(names, ", "))
	return nil, false
}

// electionName is the name that a query gives.
func electionName(query url.Values) string {
	if name := query.Get("election"); name != "" {
		return name
	}
	return groupElection
}
