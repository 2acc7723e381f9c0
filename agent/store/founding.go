package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// founded is the head of the message by which the doyen founds the group: a
// length, this as JSON, and the state that it begins with.
type founded struct {
	Group   uint64            `json:"group"`
	Members map[string]uint64 `json:"members"` // raft's id of each voter
}

// reconcile brings raft's configuration in line with the list of voters, one step
// at a time; only the doyen calls it.
func (s *Store) reconcile() {
	r := s.replica
	if r.pristine() && !s.othersFounded() {
		s.found()
		return
	}
	if r.identity.group == 0 {
		return
	}
	if r.state() != raft.StateLeader {
		s.foundAgain()
		return
	}
	for _, p := range s.peers {
		if p.fresh() && p.Group == 0 && slices.Contains(s.cfg.Voters, p.Voter) {
			s.network.send(p.Voter, &parcel{body: binary.BigEndian.AppendUint64([]byte{joinMessage}, r.identity.group)})
		}
	}
	if s.serving.Load() != 0 {
		s.changeVoters()
	}
}

// othersFounded reports whether a voter is known that belongs to a group and has
// kept something of it.
func (s *Store) othersFounded() bool {
	for _, p := range s.peers {
		if p.fresh() && !p.Pristine {
			return true
		}
	}
	return false
}

// found founds the group, once every voter has been heard of and none has kept
// anything: a voter that is missing might have.
func (s *Store) found() {
	members := map[uint64]string{}
	head := founded{Group: draw(), Members: map[string]uint64{}}
	for _, v := range s.cfg.Voters {
		p := s.peers[v]
		if !p.fresh() || !p.Pristine || p.Digest != s.digest {
			return
		}
		members[p.ID] = v
		head.Members[v] = p.ID
	}
	if len(members) != len(s.cfg.Voters) {
		return
	}
	if group := s.replica.identity.group; group != 0 && !slices.ContainsFunc(s.cfg.Voters, func(v string) bool { return s.peers[v].Group != group }) {
		return // it has been founded, and waits for its first leader
	}
	var state *machine
	var saved []byte
	if s.cfg.Restore != "" {
		var err error
		if state, err = readSaved(s.cfg.Restore); err != nil {
			s.log.Error("the store is not founded", "error", err)
			return
		}
		saved = state.snapshot()
	}
	for _, v := range s.cfg.Voters {
		if v != s.cfg.Voter {
			s.sendFound(v, &head, saved)
		}
	}
	s.log.Info("the store is founded", "voters", strings.Join(s.cfg.Voters, ","))
	s.check(s.replica.found(head.Group, members, state))
}

func (s *Store) sendFound(voter string, head *founded, state []byte) {
	text, err := json.Marshal(head)
	if err != nil {
		return
	}
	s.network.send(voter, &parcel{body: append(appendText([]byte{foundMessage}, text), state...)})
}

// foundAgain repeats the message to voters that have not got it: they are of the
// group by their ids, and have neither voted nor acknowledged anything.
func (s *Store) foundAgain() {
	r := s.replica
	if r.snapped != 1 {
		return
	}
	head := founded{Group: r.identity.group, Members: map[string]uint64{}}
	members := r.machine.voters()
	for id, v := range members {
		head.Members[v] = id
	}
	for _, p := range s.peers {
		if p.fresh() && p.Pristine && p.Group != head.Group && members[p.ID] == p.Voter {
			snap, err := r.log.Snapshot()
			if err != nil {
				return
			}
			s.sendFound(p.Voter, &head, snap.GetData())
		}
	}
}

// takeFound takes the message of the doyen that founds the group.
func (s *Store) takeFound(b []byte) {
	r := reader{rest: b}
	text := r.bytes()
	var head founded
	if r.err != nil || json.Unmarshal(text, &head) != nil || head.Group == 0 {
		return
	}
	members := map[uint64]string{}
	for v, id := range head.Members {
		members[id] = v
	}
	var state *machine
	if len(r.rest) > 0 {
		var err error
		if state, err = parseSnapshot(r.rest); err != nil {
			return
		}
	}
	s.check(s.replica.found(head.Group, members, state))
}

// changeVoters makes the first change that is due: a voter whose disk is another
// one is taken out under its old id, comes in without a vote under its new one,
// and gets the vote once it has caught up. Voters that have left the list go,
// once every voter has the new list.
func (s *Store) changeVoters() {
	for _, v := range s.cfg.Voters {
		// One list everywhere, of those that are heard of: a list that is being
		// changed waits until it is.
		if p := s.peers[v]; p.fresh() && p.Digest != s.digest {
			return
		}
	}
	r := s.replica
	members := r.machine.voters()
	change := func(kind pb.ConfChangeType, id uint64, voter string) {
		cc := &pb.ConfChangeV2{
			Changes: []*pb.ConfChangeSingle{{Type: kind.Enum(), NodeId: new(id)}}, Context: []byte(voter),
		}
		if err := r.node.ProposeConfChange(cc); err != nil {
			s.log.Debug("a change of voters waits", "error", err)
			return
		}
		s.log.Info("the store changes its voters", "change", strings.TrimPrefix(kind.String(), "ConfChange"), "voter", voter)
	}
	for id, v := range members {
		replaced := s.peers[v].fresh() && s.peers[v].ID != id
		listed := slices.Contains(s.cfg.Voters, v)
		if id != r.identity.id && (replaced || !listed && s.allListed()) {
			change(pb.ConfChangeRemoveNode, id, v)
			return
		}
	}
	for _, v := range s.cfg.Voters {
		p := s.peers[v]
		if !p.fresh() || members[p.ID] != "" || p.Group != r.identity.group {
			continue
		}
		change(pb.ConfChangeAddLearnerNode, p.ID, v)
		return
	}
	_, last := r.last()
	for _, id := range r.config.GetLearners() {
		if pr, ok := r.node.Status().Progress[id]; ok && pr.Match > 0 && pr.Match+caughtUp >= last {
			change(pb.ConfChangeAddNode, id, members[id])
			return
		}
	}
}

// allListed reports whether every voter is there and has the same list.
func (s *Store) allListed() bool {
	for _, v := range s.cfg.Voters {
		if p := s.peers[v]; !p.fresh() || p.Digest != s.digest {
			return false
		}
	}
	return true
}

// trouble says why there is no store, or is empty.
func (s *Store) trouble(st *State) string {
	r := s.replica
	switch {
	case st.DiskError != "":
		return st.DiskError
	case r.identity.group == 0 || r.pristine() && s.cfg.Leads() != 0 && !st.Serving:
		var missing []string
		for _, v := range s.cfg.Voters {
			if !s.peers[v].fresh() {
				missing = append(missing, v)
			}
		}
		if len(missing) > 0 && !s.othersFounded() {
			return "a new store is founded once all its voters are there, and missing are " + strings.Join(missing, ", ")
		}
	case st.Behind:
		return "this member leads, and another voter has newer changes"
	}
	for _, v := range s.cfg.Voters {
		if p := s.peers[v]; p.fresh() && p.Group != 0 && p.Group != r.identity.group && !p.Pristine && !r.pristine() {
			return fmt.Sprintf("voter %s keeps another store than this one: stop each agent that keeps the one that fewer voters have, move its store.db and store.db.journal away, and start it", v)
		}
	}
	if !contains(r.config.GetVoters(), r.identity.id) && r.identity.group != 0 {
		return fmt.Sprintf("this voter has no vote until it has caught up; it has %d entries", r.index)
	}
	return ""
}

func contains(all []uint64, id uint64) bool { return slices.Contains(all, id) }

// digest stands for a list of voters.
func digest(voters []string) uint64 {
	h := fnv.New64a()
	for _, v := range voters {
		h.Write([]byte(v + "\n"))
	}
	return h.Sum64() >> 11 // exact in JSON everywhere
}
