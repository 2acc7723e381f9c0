package gossip

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"

	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

// Every message that memberlist carries for this package begins with a byte
// that says what it is.
const (
	directByte   = 'm' // messages of elections for this member alone; see direct.go
	gossipByte   = 'g' // a message of the group's own election for all members, to be passed on
	electionByte = 'G' // one of a further election
	farewellByte = 'b' // a member leaves: its incarnation and name; passed on
	questionByte = 'q' // a digest of the sender's view, and its name: is it yours?
	agreedByte   = 'a' // the digest again: it is
)

const (
	// inboxSize is how many messages wait for the reader.
	inboxSize = 2048
	// MaxGossip is the longest message of the core that fits into one packet of
	// gossip, with room for label, encryption and framing.
	MaxGossip = 999
	// maxRelay bounds the senders whose newest message is remembered.
	maxRelay = maxMembers
)

// Messages is where the messages of the others arrive. At most 2048 wait; the
// oldest makes room and is counted.
func (g *Gossip) Messages() <-chan ElectionMessage { return g.inbox.c }

// sendTo sends one datagram through memberlist, which labels and encrypts it.
func (g *Gossip) sendTo(name string, addr netip.AddrPort, b []byte) {
	list, ok := g.running()
	if !ok {
		g.findings.Count("send-not-running")
		return
	}
	to := &memberlist.Node{Name: name, Addr: addr.Addr().AsSlice(), Port: addr.Port()}
	if list.SendBestEffort(to, b) != nil {
		g.findings.Count("send-failed")
	}
}

// broadcast is a message in the queue of gossip; a newer one of the same name
// takes its place.
type broadcast struct {
	name string
	b    []byte
}

// Name implements memberlist.NamedBroadcast.
func (b *broadcast) Name() string { return b.name }

// Message implements memberlist.Broadcast.
func (b *broadcast) Message() []byte { return b.b }

// Invalidates implements memberlist.Broadcast; names do it.
func (b *broadcast) Invalidates(memberlist.Broadcast) bool { return false }

// Finished implements memberlist.Broadcast.
func (b *broadcast) Finished() {}

// receive takes a message that memberlist has carried. It runs in memberlist's
// one goroutine for messages and does not block. b is memberlist's own.
func (g *Gossip) receive(b []byte) {
	if len(b) == 0 {
		g.findings.Count("message-empty")
		return
	}
	switch b[0] {
	case directByte:
		g.receiveDirect(b)
	case gossipByte:
		g.heard(b, b[1:], "", &g.relay)
	case electionByte:
		g.hearElection(b)
	case farewellByte:
		g.farewell(b)
	case questionByte:
		g.hearQuestion(b)
	case agreedByte:
		g.hearAgreed(b)
	default:
		g.findings.Count("message-unknown")
	}
}

// goodbye is what this member says when it leaves.
func (g *Gossip) goodbye() []byte {
	b := binary.BigEndian.AppendUint64([]byte{farewellByte}, g.cfg.Incarnation)
	return append(b, g.cfg.Name...)
}

// farewell takes a good-bye and passes it on, if it is news.
func (g *Gossip) farewell(b []byte) {
	if len(b) < 9 {
		g.findings.Count(errMalformed.Error())
		return
	}
	name := string(b[9:])
	if g.members.goodbye(name, binary.BigEndian.Uint64(b[1:9])) {
		// It must not take the place of the member's last message.
		g.queue.QueueBroadcast(&broadcast{name: "\x00" + name, b: bytes.Clone(b)})
	}
}

// relay remembers the newest gossiped message of each sender, so that gossip
// is passed on once and never goes back in time.
type relay struct {
	mu   sync.Mutex
	last map[string]mark
}

// mark orders the gossiped messages of a sender: by term, then the release
// after every claim, then by sequence. Terms only rise, across restarts, too.
type mark struct {
	term, seq uint64
	released  bool
}

func (a mark) before(b mark) bool {
	switch {
	case a.term != b.term:
		return a.term < b.term
	case a.released != b.released:
		return b.released
	}
	return a.seq < b.seq
}

// newer notes m and reports whether it is newer than what is known of its
// sender.
func (r *relay) newer(sender string, m *seniority.Message) bool {
	k := mark{m.Term, m.Seq, m.Kind == seniority.Release}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.last[sender]
	if ok && !old.before(k) {
		return false
	}
	if r.last == nil || len(r.last) >= maxRelay {
		r.last = map[string]mark{}
	}
	r.last[sender] = k
	return true
}

// inbox is a channel that never blocks its writers.
type inbox struct {
	mu   sync.Mutex
	c    chan ElectionMessage
	drop func(string)
}

func newInbox(drop func(string)) inbox {
	return inbox{c: make(chan ElectionMessage, inboxSize), drop: drop}
}

func (i *inbox) put(m ElectionMessage) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		select {
		case i.c <- m:
			return
		default:
		}
		select {
		case <-i.c:
			i.drop("inbox-full")
		default:
		}
	}
}
