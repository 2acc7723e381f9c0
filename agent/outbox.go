package agent

import (
	"time"

	"doyen/gossip"
	"doyen/seniority"
)

// outbox holds the messages that elections have decided in this turn of the loop, so
// that those to one member share datagrams. What is no longer true is not sent.
type outbox struct {
	messages []gossip.ElectionMessage
	decided  []time.Duration // when each of these was
}

// add puts a message in that an election decided at a boot time.
func (o *outbox) add(election string, m *seniority.Message, decided time.Duration) {
	o.messages = append(o.messages, gossip.ElectionMessage{Election: election, Message: *m})
	o.decided = append(o.decided, decided)
}

// drop takes out what was not decided after oldest, and returns how many that were.
func (o *outbox) drop(oldest time.Duration) (late int) {
	n := 0
	for i, m := range o.messages {
		if o.decided[i] > oldest {
			o.messages[n] = m
			n++
		}
	}
	late = len(o.messages) - n
	o.messages = o.messages[:n]
	return late
}

// send hands everything to gossip, which keeps none of it.
func (o *outbox) send(g *gossip.Gossip) {
	g.Send(o.messages...)
	o.messages, o.decided = o.messages[:0], o.decided[:0]
}
