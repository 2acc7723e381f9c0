package store

import (
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// What is committed is told with the next entries, or after a moment by itself.
func TestNewsOfCommitsWaitsForEntries(t *testing.T) {
	s := loneStore()
	s.held, s.commits = map[uint64]*pb.Message{}, time.NewTimer(time.Hour)
	s.replica = &replica{machine: newMachine()}
	s.replica.machine.members[2] = "b"
	s.network = newNetwork(nil, "a", nil, nil)
	queue := make(chan *parcel, 8)
	s.network.senders["b"] = &sender{voter: "b", queue: queue}
	news := func() *pb.Message {
		return &pb.Message{Type: pb.MsgApp.Enum(), To: new(uint64(2)), Commit: new(uint64(7))}
	}
	sent := func(when string, want int) {
		t.Helper()
		if len(queue) != want {
			t.Errorf("%s: got %d messages, want %d", when, len(queue), want)
		}
	}
	s.transmit(news())
	s.transmit(news())
	sent("before anything else", 0)
	select {
	case <-s.commits.C:
		s.release()
	case <-time.After(time.Minute):
		t.Fatal("nothing tells when to send the news alone")
	}
	sent("after a moment", 1)

	s.transmit(news())
	entries := news()
	entries.Entries = []*pb.Entry{{}}
	s.transmit(entries)
	s.release()
	sent("with entries", 2)

	s.transmit(&pb.Message{Type: pb.MsgHeartbeat.Enum(), To: new(uint64(2))})
	sent("a heartbeat", 3)
}
