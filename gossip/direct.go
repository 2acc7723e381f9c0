package gossip

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"doyen/seniority"
)

const (
	// maxDatagram is how long a datagram of several messages may become, so that it
	// crosses an Ethernet whole, with room for label, encryption and framing.
	maxDatagram = 1200
	// maxElection is the longest name of an election, in bytes.
	maxElection = 32
)

// ElectionMessage is a message of an election; "" is the group's own.
type ElectionMessage struct {
	Election string
	Message  seniority.Message
}

var errMalformed = errors.New("message-malformed")

// Send sends messages: those with an empty To to all members by gossip, where the
// newest of one sender and election takes the place of the older; the others at once,
// in as few datagrams as they fit into, to the last known address of each receiver. A
// message may be lost; what cannot be sent at all is counted, once for a receiver. All are
// encoded before Send returns.
func (g *Gossip) Send(messages ...ElectionMessage) {
	byReceiver := map[string][]*ElectionMessage{}
	last := map[string]int{} // the place of the last message to each
	for i := range messages {
		m := &messages[i]
		if m.Message.To == "" {
			g.spread(m)
			continue
		}
		byReceiver[m.Message.To] = append(byReceiver[m.Message.To], m)
		last[m.Message.To] = i
	}
	// The one whose message comes last hears last: a successor, of the others' release.
	receivers := slices.SortedFunc(maps.Keys(last), func(a, b string) int { return last[a] - last[b] })
	for _, to := range receivers {
		for rest := byReceiver[to]; len(rest) > 0; {
			rest = g.sendSome(to, rest)
		}
	}
}

// sendSome sends as many messages to one member as fit into one datagram, at least one,
// and returns the others.
func (g *Gossip) sendSome(to string, messages []*ElectionMessage) (rest []*ElectionMessage) {
	addr, run, b, ok := g.members.outgoing(to)
	if !ok {
		g.findings.Count("send-unknown-member")
		return nil
	}
	b, n := g.conversations.say(run, appendName(b, g.cfg.Name), messages)
	g.sendTo(to, addr, b)
	return messages[n:]
}

// spread hands a message to gossip, for all members.
func (g *Gossip) spread(m *ElectionMessage) {
	b, relay := []byte{gossipByte}, &g.relay
	if m.Election != "" {
		b, relay = appendName([]byte{electionByte}, m.Election), &g.electionRelay
	}
	b = seniority.AppendMessage(b, &m.Message)
	if len(b) > 1+MaxGossip {
		g.findings.Count("send-too-long")
		return
	}
	if name := relayName(m.Election, m.Message.From); relay.newer(name, &m.Message) {
		g.queue.QueueBroadcast(&broadcast{name: name, b: b})
	}
}

// relayName tells a message's place in relay and queue apart from those of the same
// sender's messages of other elections.
func relayName(election, from string) string {
	if election == "" {
		return from
	}
	return election + "\x00" + from
}

// hearElection takes a message of a further election that goes round by gossip.
func (g *Gossip) hearElection(b []byte) {
	election, rest, ok := takeElection(b[1:])
	if !ok {
		g.findings.Count(errMalformed.Error())
		return
	}
	g.heard(b, rest, election, &g.electionRelay)
}

// heard parses a message that goes round by gossip, passes its packet on and delivers
// it: once, if a member in the view has sent it and has said nothing newer.
func (g *Gossip) heard(packet, message []byte, election string, relay *relay) {
	m, err := seniority.ParseMessage(message)
	if err != nil {
		g.findings.Count(errMalformed.Error())
		return
	}
	if m.From == g.cfg.Name {
		return // this member's own, come round
	}
	if _, known := g.members.member(m.From); !known {
		g.findings.Count("message-of-stranger")
		return
	}
	name := relayName(election, m.From)
	if !relay.newer(name, &m) {
		return
	}
	g.queue.QueueBroadcast(&broadcast{name: name, b: bytes.Clone(packet)})
	m.Gossiped = true
	g.inbox.put(ElectionMessage{Election: election, Message: m})
}

// receiveDirect takes a datagram for this member alone.
func (g *Gossip) receiveDirect(b []byte) {
	if len(b) < stampSize {
		g.findings.Count(errMalformed.Error())
		return
	}
	from, rest, ok := takeName(b[stampSize:])
	if !ok || from == "" {
		g.findings.Count(errMalformed.Error())
		return
	}
	run, err := g.members.incoming(from, b[:stampSize])
	if err != nil {
		g.findings.Count(err.Error())
		return
	}
	messages, unheard, unread, err := g.conversations.hear(run, rest, from, g.cfg.Name)
	if err != nil {
		g.findings.Count(err.Error())
		return
	}
	for range unheard {
		g.findings.Count("message-reference-unknown")
	}
	for range unread {
		g.findings.Count("message-unknown")
	}
	for _, m := range messages {
		g.inbox.put(m)
	}
}

// appendName appends a text of at most 255 bytes after its length.
func appendName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// takeName returns the text that appendName has put before the rest.
func takeName(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	end := 1 + int(b[0])
	return string(b[1:end]), b[end:], true
}

// takeElection returns the name of an election that stands before the rest.
func takeElection(b []byte) (name string, rest []byte, ok bool) {
	name, rest, ok = takeName(b)
	return name, rest, ok && name != "" && len(name) <= maxElection && checkText(name) == nil
}
