package store

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// holdCommit is how long a message that only says how far the log is committed waits for
// entries to say it with: longer than a client with one connection takes from one change
// to the next, and shorter than a reader of another copy notices.
const holdCommit = 10 * time.Millisecond

// transmit sends a message of raft. One that only says how far the log is committed waits,
// since the next entries say it too: it and its answer would be half of all messages. To
// lose it does no harm, for heartbeats say it as well.
func (s *Store) transmit(m *pb.Message) {
	if m.GetType() == pb.MsgApp {
		delete(s.held, m.GetTo())
		if len(m.GetEntries()) == 0 {
			if len(s.held) == 0 {
				s.commits.Reset(holdCommit)
			}
			s.held[m.GetTo()] = m
			return
		}
	}
	s.post(m)
}

// release sends the messages for which no entries have come.
func (s *Store) release() {
	if s.replica != nil && s.failed == nil {
		for _, m := range s.held {
			s.post(m)
		}
	}
	clear(s.held)
}

func (s *Store) post(m *pb.Message) {
	voter := s.replica.machine.voters()[m.GetTo()]
	if voter == "" {
		for _, p := range s.peers {
			if p.ID == m.GetTo() {
				voter = p.Voter
			}
		}
	}
	if voter == "" {
		return
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return
	}
	head := binary.BigEndian.AppendUint64([]byte{raftMessage}, s.replica.identity.group)
	s.network.send(voter, &parcel{body: append(head, body...), to: m.GetTo(), snapshot: m.GetType() == pb.MsgSnap})
	if m.GetType() == pb.MsgVoteResp && m.GetReject() {
		s.tell(voter) // it should know who is ahead of it
	}
}

func (s *Store) sentOne(p *parcel, err error) {
	if p.to == 0 || err == nil && !p.snapshot {
		return
	}
	select {
	case s.results <- sentResult{p, err}:
	case <-s.done:
	default:
	}
}

// noteSent tells raft how it went.
func (s *Store) noteSent(r sentResult) {
	if s.replica == nil || s.replica.node == nil {
		return
	}
	switch {
	case r.err == nil:
		s.replica.node.ReportSnapshot(r.p.to, raft.SnapshotFinish)
	case r.p.snapshot:
		s.replica.node.ReportSnapshot(r.p.to, raft.SnapshotFailure)
	default:
		s.replica.node.ReportUnreachable(r.p.to)
	}
}
