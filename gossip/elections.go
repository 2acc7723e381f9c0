package gossip

import (
	"encoding/binary"
	"errors"

	"doyen/seniority"
)

// The messages of further elections travel in envelopes that name the election.
// A member of a version without them counts such a packet as unknown and passes
// over it; the group's own election needs no envelope, so members of all versions
// take part in that.
//
// Messages to one member that are due at the same time share a datagram, in
// which what they have in common stands once: sender, sender's voter entry, list
// of voters. In the messages themselves these fields are empty.

const (
	bundleByte   = 'e' // messages of further elections for this member alone
	electionByte = 'G' // a message of a further election for all members, to be passed on

	// maxBundle is how long a datagram of several messages may become, so that it
	// crosses an Ethernet whole, with room for label, encryption and framing.
	maxBundle = 1200
	// maxElection is the longest name of an election, in bytes.
	maxElection = 32
)

// ElectionMessage is a message of a further election.
type ElectionMessage struct {
	Election string
	Message  seniority.Message
}

var errEnvelope = errors.New("envelope-malformed")

// ElectionMessages is where the messages of further elections arrive. At most
// 1024 wait; the oldest makes room and is counted.
func (g *Gossip) ElectionMessages() <-chan ElectionMessage { return g.elections.c }

// SendAll sends messages of further elections, each as Send does one of the
// group's own; those to one member share datagrams.
func (g *Gossip) SendAll(messages []ElectionMessage) {
	var receivers []string
	byReceiver := map[string][]*ElectionMessage{}
	for i := range messages {
		m := &messages[i]
		if m.Message.To == "" {
			g.spread(m)
			continue
		}
		if byReceiver[m.Message.To] == nil {
			receivers = append(receivers, m.Message.To)
		}
		byReceiver[m.Message.To] = append(byReceiver[m.Message.To], m)
	}
	for _, to := range receivers {
		g.sendBundles(to, byReceiver[to])
	}
}

// spread hands a message to gossip, for all members.
func (g *Gossip) spread(m *ElectionMessage) {
	b := appendName([]byte{electionByte}, m.Election)
	b = seniority.AppendMessage(b, &m.Message)
	if len(b) > 1+MaxGossip {
		g.findings.Count("send-too-long")
		return
	}
	if g.electionRelay.newer(m.Election+"\x00"+m.Message.From, &m.Message) {
		g.queue.QueueBroadcast(&broadcast{name: m.Election + "\x00" + m.Message.From, b: b})
	}
}

// sendBundles sends messages to one member in as few datagrams as they fit into.
func (g *Gossip) sendBundles(to string, messages []*ElectionMessage) {
	for len(messages) > 0 {
		addr, stamp, ok := g.members.outgoing(to)
		if !ok {
			g.findings.Count("send-unknown-member")
			return
		}
		stamp[0] = bundleByte
		b := appendBundleHead(stamp, &messages[0].Message)
		n := 0
		for n < len(messages) {
			entry := appendEntry(nil, messages[n])
			if n > 0 && len(b)+len(entry) > maxBundle {
				break
			}
			b = append(b, entry...)
			n++
		}
		g.sendTo(to, addr, b)
		messages = messages[n:]
	}
}

func appendBundleHead(b []byte, m *seniority.Message) []byte {
	b = appendName(b, m.From)
	b = appendName(b, m.Voter)
	b = binary.AppendUvarint(b, uint64(len(m.Voters)))
	for _, v := range m.Voters {
		b = appendName(b, v)
	}
	return b
}

// appendEntry appends one message without what the head of the bundle says.
func appendEntry(b []byte, m *ElectionMessage) []byte {
	short := m.Message
	short.From, short.To, short.Voter, short.Voters = "", "", "", nil
	text := seniority.AppendMessage(nil, &short)
	b = appendName(b, m.Election)
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// appendName appends a text of at most 255 bytes after its length.
func appendName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// takeName returns the text that appendName has put before the rest.
func takeName(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	return string(b[1 : 1+b[0]]), b[1+b[0]:], true
}

// takeElection returns the name of an election that stands before the rest.
func takeElection(b []byte) (name string, rest []byte, ok bool) {
	name, rest, ok = takeName(b)
	return name, rest, ok && name != "" && len(name) <= maxElection && checkText(name) == nil
}

// receiveBundle takes a bundle for this member alone.
func (g *Gossip) receiveBundle(b []byte) {
	if len(b) < stampSize {
		g.findings.Count(errEnvelope.Error())
		return
	}
	messages, err := parseBundle(b[stampSize:], g.cfg.Name)
	if err != nil || len(messages) == 0 {
		g.findings.Count(errEnvelope.Error())
		return
	}
	if err := g.members.incoming(messages[0].Message.From, b[:stampSize]); err != nil {
		g.findings.Count(err.Error())
		return
	}
	for _, m := range messages {
		g.elections.put(m)
	}
}

// parseBundle reads what follows the stamp of a bundle to the member to.
func parseBundle(b []byte, to string) ([]ElectionMessage, error) {
	head, b, err := parseBundleHead(b)
	if err != nil {
		return nil, err
	}
	var all []ElectionMessage
	for len(b) > 0 {
		election, rest, ok := takeElection(b)
		if !ok {
			return nil, errEnvelope
		}
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return nil, errEnvelope
		}
		m, err := seniority.ParseMessage(rest[n : n+int(size)])
		if err != nil || m.From != "" || m.To != "" || m.Voter != "" || len(m.Voters) > 0 {
			return nil, errEnvelope
		}
		m.From, m.To, m.Voter, m.Voters = head.From, to, head.Voter, head.Voters
		all = append(all, ElectionMessage{Election: election, Message: m})
		b = rest[n+int(size):]
	}
	return all, nil
}

func parseBundleHead(b []byte) (head seniority.Message, rest []byte, err error) {
	var ok bool
	if head.From, b, ok = takeName(b); !ok || head.From == "" {
		return head, nil, errEnvelope
	}
	if head.Voter, b, ok = takeName(b); !ok {
		return head, nil, errEnvelope
	}
	voters, n := binary.Uvarint(b)
	if n <= 0 || voters > uint64(len(b)-n) {
		return head, nil, errEnvelope
	}
	b = b[n:]
	for range voters {
		var v string
		if v, b, ok = takeName(b); !ok {
			return head, nil, errEnvelope
		}
		head.Voters = append(head.Voters, v)
	}
	return head, b, nil
}

// hearElection takes a message of a further election that goes round by gossip.
func (g *Gossip) hearElection(b []byte) {
	election, rest, ok := takeElection(b[1:])
	if !ok {
		g.findings.Count(errEnvelope.Error())
		return
	}
	if m, ok := g.heard(b, rest, &g.electionRelay, election+"\x00"); ok {
		g.elections.put(ElectionMessage{Election: election, Message: m})
	}
}
