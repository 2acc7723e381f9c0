package store

import "time"

// behind reports whether a doyen cannot order changes since another has newer ones.
func (s *Store) behind() bool {
	if s.replica == nil || s.failed != nil || s.cfg.Leads() == 0 || s.serving.Load() != 0 {
		return false
	}
	if !s.replica.promotable() {
		for _, p := range s.peers {
			if p.fresh() && p.Voter != s.cfg.Voter && p.Group != 0 && !p.Pristine {
				return true
			}
		}
	}
	return !s.behindAt.IsZero() && time.Since(s.behindAt) > behindAfter
}

// unfounded reports whether there is no store yet.
func (s *Store) unfounded() bool {
	heard := 0
	for _, v := range s.cfg.Voters {
		switch p := s.peers[v]; {
		case !p.fresh():
		case !p.Pristine:
			return false
		default:
			heard++
		}
	}
	return heard > len(s.cfg.Voters)/2 && s.replica.pristine()
}

// note publishes the state.
func (s *Store) note() {
	st := &State{Voter: s.cfg.Voter != "", Serving: s.serving.Load() != 0}
	if s.failed != nil {
		st.DiskError = s.failed.Error()
	}
	if r := s.replica; r != nil {
		r.machine.mu.RLock()
		st.Term, st.Index, st.Keys, st.Bytes = r.machine.term, r.machine.index, len(r.machine.keys), r.machine.size
		r.machine.mu.RUnlock()
		st.Votes = r.promotable()
		st.Behind = s.behind()
		st.Unfounded = s.unfounded()
		if r.node != nil && s.failed == nil {
			st.Commit = r.node.BasicStatus().GetCommit()
			if st.Serving {
				st.Lag = s.lags()
			}
		}
		if s.disk != nil {
			st.SlowestMS = float64(s.disk.slowest.Microseconds()) / 1000
		}
		st.Trouble = s.trouble(st)
	}
	switch {
	case st.Trouble == "":
		s.troubled = time.Time{}
	case s.troubled.IsZero():
		s.troubled = time.Now()
	}
	if time.Since(s.troubled) < troubleAfter { // every start has some
		st.Trouble = ""
	}
	old := s.state.Swap(st)
	if old.Unfounded != st.Unfounded || old.Behind != st.Behind || old.DiskError != st.DiskError {
		s.cfg.Ready()
	}
}

// lags returns how far each voter is behind.
func (s *Store) lags() map[string]int64 {
	lags := map[string]int64{}
	_, last := s.replica.last()
	for _, v := range s.cfg.Voters {
		lags[v] = -1
		if p := s.peers[v]; p.fresh() {
			lags[v] = max(0, int64(last)-int64(p.Index))
		}
	}
	lags[s.cfg.Voter] = 0
	return lags
}
