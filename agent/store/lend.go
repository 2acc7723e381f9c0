package store

import (
	"encoding/binary"
	"time"
)

// A doyen whose log is behind another voter's cannot order changes. Elections see to
// it that this is rare, and cannot always: the voter with the newest log may be a
// witness, or the successor may have been named. That voter then leads raft for the
// moment that it takes to bring the doyen up, orders nothing meanwhile, and has the
// doyen ask for the votes.

// borrow asks the voter with the newest log to bring this member, the doyen, up; it
// reports whether that is under way.
func (s *Store) borrow() bool {
	if s.campaign.IsZero() || !s.replica.promotable() {
		return false
	}
	if time.Since(s.askedAt) < lendFor {
		return true
	}
	own := s.own()
	// What a voter has said before may be of one that is dead; one that refuses its
	// vote says where its log ends.
	newest, log := (*status)(nil), own.log()
	for _, p := range s.peers {
		if p.at.After(s.campaign) && p.Group == own.Group && p.log().newer(log) {
			newest, log = p, p.log()
		}
	}
	if newest == nil {
		s.behindAt = time.Time{}
		return false
	}
	if s.behindAt.IsZero() {
		s.behindAt = time.Now()
	}
	s.askedAt = time.Now()
	body := binary.BigEndian.AppendUint64([]byte{lendMessage}, own.Group)
	s.network.send(newest.Voter, &parcel{body: binary.BigEndian.AppendUint64(body, own.ID)})
	return true
}

// lendTo has this voter lead raft until it has brought the doyen up.
func (s *Store) lendTo(id uint64) {
	if s.cfg.Leads() != 0 || id == s.replica.identity.id || !s.replica.promotable() {
		return
	}
	s.lending = lending{to: id, until: time.Now().Add(lendFor)}
	s.replica.campaign()
}

// lends reports whether this voter leads raft for the doyen, or is about to.
func (s *Store) lends() bool {
	if s.lending.to != 0 && time.Now().After(s.lending.until) {
		s.lending = lending{}
	}
	return s.lending.to != 0
}

func (p *status) log() position { return position{p.Term, p.Index} }

// noteLast publishes where the log ends.
func (s *Store) noteLast() {
	term, index := s.replica.last()
	if p := (position{term, index}); *s.last.Load() != p {
		s.last.Store(&p)
	}
}
