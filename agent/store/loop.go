package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"runtime"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// run owns the replica.
func (s *Store) run(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for noted := uint64(0); ; {
		if now := s.serving.Load(); noted != now {
			noted = now
			s.note()
		}
		ticked := false
		select {
		case <-ctx.Done():
			s.abandon(&Error{Kind: Unknown, Text: "this member ends, and it may or may not have been done"})
			return
		case <-ticker.C:
			ticked = true
		case <-s.poked:
		case <-s.commits.C:
			s.release()
		case m := <-s.inbox:
			s.take(m)
		case p := <-s.proposals:
			s.lead()
			s.asked = append(s.asked, p)
		case r := <-s.results:
			s.noteSent(r)
		}
		s.drain()
		s.propose()
		s.lead()
		if ticked {
			s.tick()
			s.note()
		}
		if s.replica != nil && s.failed == nil {
			s.check(s.replica.pump())
			s.advance()
			s.noteLast()
		}
	}
}

// drain takes what waits, so that it shares one write to the disk, and one message to
// each of the others. Goroutines that can run, such as those that serve clients, run
// first: what they ask for is shared as well.
func (s *Store) drain() {
	runtime.Gosched()
	for range maxBatch {
		select {
		case m := <-s.inbox:
			s.take(m)
		case p := <-s.proposals:
			s.asked = append(s.asked, p)
		case r := <-s.results:
			s.noteSent(r)
		default:
			return
		}
	}
}

// check takes in an error of the disk: the replica is made again from it, later.
func (s *Store) check(err error) {
	if err == nil || s.failed != nil {
		return
	}
	s.failed, s.retryAt = err, time.Now().Add(reopenEvery)
	s.log.Error("the store of this member takes no part until its disk works", "error", err)
	s.abandon(&Error{Kind: Unknown, Text: "the disk of the leader failed, and it may or may not have been done"})
}

// reopen makes the replica again from the disk.
func (s *Store) reopen() {
	if s.failed == nil || time.Now().Before(s.retryAt) {
		return
	}
	s.retryAt = time.Now().Add(reopenEvery)
	if s.disk != nil {
		_ = s.disk.close()
		s.disk = nil
	}
	if err := s.open(); err != nil {
		s.failed = err
		return
	}
	s.failed = nil
	s.log.Info("the disk of the store works again")
}

// lead makes this member the leader of raft exactly while it is the doyen.
func (s *Store) lead() {
	r := s.replica
	if r == nil || s.failed != nil || r.node == nil {
		return
	}
	term := s.cfg.Leads()
	if term == 0 {
		s.behindAt, s.campaign, s.askedAt = time.Time{}, time.Time{}, time.Time{}
		if s.lends() {
			r.lend(s.lending.to)
			return
		}
		if r.state() != raft.StateFollower {
			s.check(r.resign())
		}
		if s.serving.Load() != 0 || len(s.pending) > 0 {
			s.abandon(&Error{Kind: Unknown, Text: "this member leads no more, and it may or may not have been done"})
		}
		return
	}
	if s.lending.to != 0 { // handing raft over to another, it would take no proposal
		s.lending = lending{}
		s.check(r.resign())
		if s.failed != nil {
			return
		}
	}
	if r.state() == raft.StateLeader {
		if term > s.proposed || r.raftTerm() != s.under {
			s.proposed = 0
			c := Command{Op: opLead, term: term, election: GroupElection, proposal: s.number()}
			if r.propose(&c) == nil {
				s.proposed, s.under, s.entry = term, r.raftTerm(), c.proposal
			}
		}
		return
	}
	if s.borrow() {
		return
	}
	if time.Since(s.campaign) >= campaignEvery {
		s.proposed, s.campaign = 0, time.Now()
		r.campaign()
	}
}

// advance notes when the entry that says who leads has been committed. That of an
// earlier time under the same term does not count: what followed it need not be here.
func (s *Store) advance() {
	r := s.replica
	if r.node == nil || r.state() != raft.StateLeader || s.proposed == 0 {
		return
	}
	if led := r.machine.led(GroupElection); s.serving.Load() != led && led == s.proposed && s.entry == 0 {
		s.behindAt = time.Time{}
		s.serving.Store(led)
		s.cfg.Ready()
	}
}

func (s *Store) number() uint64 {
	s.next++
	return s.next
}

// propose orders the commands that were asked for, or says that they were not taken.
func (s *Store) propose() {
	all := s.asked
	s.asked = nil
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && (n == 0 || size < maxAppend) {
			size += len(all[n].command.Value)
			n++
		}
		s.proposeTogether(all[:n])
		all = all[n:]
	}
}

func (s *Store) proposeTogether(all []*proposal) {
	text := ""
	commands := make([]*Command, len(all))
	for i, p := range all {
		p.command.proposal = s.number()
		commands[i] = &p.command
	}
	// Before the entry that says who leads, a fence would be held against an old term.
	if s.replica == nil || s.failed != nil || s.proposed == 0 || s.under != s.replica.raftTerm() {
		text = "this member does not order changes yet, so nothing was done"
	} else if s.replica.propose(commands...) != nil {
		text = "the leader takes no more for now, so nothing was done"
	}
	for _, p := range all {
		if text != "" {
			p.reply <- reply{err: &Error{Kind: Unavailable, Text: text}}
		} else {
			s.pending[p.command.proposal] = p
		}
	}
}

// applied is told what became of a command.
func (s *Store) applied(number uint64, o outcome) {
	if number == s.entry {
		s.entry = 0
	}
	if p := s.pending[number]; p != nil {
		delete(s.pending, number)
		p.reply <- reply{outcome: o}
	}
}

// abandon answers all who wait, and stops to serve.
func (s *Store) abandon(err error) {
	was := s.serving.Swap(0)
	s.proposed = 0
	for number, p := range s.pending {
		delete(s.pending, number)
		p.reply <- reply{err: err}
	}
	if was != 0 {
		s.cfg.Ready()
	}
}

// take takes one message of another voter.
func (s *Store) take(m inboxed) {
	if s.replica == nil || s.failed != nil {
		return
	}
	switch m.kind {
	case raftMessage:
		if len(m.body) < 8 || binary.BigEndian.Uint64(m.body) != s.replica.identity.group {
			return
		}
		var msg pb.Message
		if proto.Unmarshal(m.body[8:], &msg) == nil {
			s.check(s.replica.receive(&msg))
		}
	case statusMessage:
		var p status
		if json.Unmarshal(m.body, &p) == nil && p.Voter != "" && len(s.peers) <= 2*len(s.cfg.Voters)+8 {
			p.at = time.Now()
			s.peers[p.Voter] = &p
		}
	case joinMessage:
		if len(m.body) == 8 {
			s.check(s.replica.join(binary.BigEndian.Uint64(m.body)))
		}
	case lendMessage:
		if len(m.body) == 16 && binary.BigEndian.Uint64(m.body) == s.replica.identity.group {
			s.lendTo(binary.BigEndian.Uint64(m.body[8:]))
		}
	case foundMessage:
		s.takeFound(m.body)
	}
}

// tell sends this voter's status to another.
func (s *Store) tell(voter string) {
	body, err := json.Marshal(s.own())
	if err == nil {
		s.network.send(voter, &parcel{body: append([]byte{statusMessage}, body...)})
	}
}

func (s *Store) own() *status {
	term, index := s.replica.last()
	return &status{
		Voter: s.cfg.Voter, ID: s.replica.identity.id, Group: s.replica.identity.group, Pristine: s.replica.pristine(),
		Term: term, Index: index, Digest: s.digest, at: time.Now(),
	}
}

// tick does what is due from time to time.
func (s *Store) tick() {
	if s.cfg.Voter == "" {
		return
	}
	s.reopen()
	if s.replica == nil || s.failed != nil {
		return
	}
	if s.replica.state() == raft.StateLeader {
		s.replica.node.Tick()
	}
	if time.Since(s.sentAt) >= statusEvery {
		s.sentAt = time.Now()
		s.peers[s.cfg.Voter] = s.own()
		for _, v := range s.cfg.Voters {
			if v != s.cfg.Voter {
				s.tell(v)
			}
		}
		if s.cfg.Leads() != 0 {
			s.reconcile()
		}
	}
}
