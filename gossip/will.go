package gossip

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doyen/seniority"
)

// A will is the release of a leader whose agent has died, delivered by its
// keeper: willByte, the cluster's label, the message. It is a plain packet,
// because the keeper must be able to send it with nothing but a socket and
// after any rotation of keys; it proves itself by the secret that it carries,
// which the core compares with the claims of that term.

const (
	// maxWill is the longest will.
	maxWill = 2048
	// maxWillTargets bounds to whom a keeper delivers.
	maxWillTargets = 64
	// willSends is how often it goes out by UDP, willPause the time between.
	willSends = 3
	willPause = 3 * time.Millisecond
	// willDial bounds its way by TCP.
	willDial = 500 * time.Millisecond
	// willBurst is how many are taken at once, willRate how many a second.
	willBurst = 32
	willRate  = 50
)

// Will returns the packet that carries m, a Release with the secret of its
// term, and to whom it should go: the others in the view, at most 64.
func (g *Gossip) Will(m *seniority.Message) (packet []byte, targets []netip.AddrPort) {
	packet = append([]byte{willByte, byte(len(g.mux.label))}, g.mux.label...)
	packet = seniority.AppendMessage(packet, m)
	for _, p := range g.roster.some(maxWillTargets) {
		targets = append(targets, p.Addr)
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return packet, targets
}

// SendWill delivers a will from a socket of its own: by UDP several times, and
// by TCP for networks that lose UDP. It needs no Gossip, for the process that
// had one is dead. The error tells of the targets that TCP did not reach; UDP
// may have.
func SendWill(packet []byte, targets []netip.AddrPort) error {
	var wg sync.WaitGroup
	failed := make([]error, len(targets)+1)
	wg.Go(func() { failed[len(targets)] = sendWillUDP(packet, targets) })
	for i, to := range targets {
		wg.Go(func() {
			c, err := net.DialTimeout("tcp", to.String(), willDial)
			if err != nil {
				failed[i] = err
				return
			}
			_ = c.SetDeadline(time.Now().Add(willDial))
			_, err = c.Write(packet)
			failed[i] = errors.Join(err, c.Close())
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// sendWillUDP sends the packet to everybody before it sends it again.
func sendWillUDP(packet []byte, targets []netip.AddrPort) error {
	c, err := net.ListenUDP("udp", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range willSends {
		if i > 0 {
			time.Sleep(willPause)
		}
		for _, to := range targets {
			// One that cannot be sent to must not keep it from the others.
			_, _ = c.WriteToUDPAddrPort(packet, to)
		}
	}
	return nil
}

// takeWill takes a packet that claims to be a will. Anybody can send one, so
// whatever cannot be right is refused here and the rest is few.
func (g *Gossip) takeWill(packet []byte) {
	m, err := g.parseWill(packet)
	if err == nil && !g.wills.take(willBurst, willRate) {
		err = errFlood
	}
	if err != nil {
		g.ledger.count(err.Error())
		return
	}
	g.inbox.put(m)
}

// The reasons to refuse a will.
var (
	errWillMalformed = errors.New("will-malformed")
	errWillCluster   = errors.New("will-of-other-cluster")
	errWillStranger  = errors.New("will-of-stranger")
	errFlood         = errors.New("will-flood")
)

func (g *Gossip) parseWill(packet []byte) (seniority.Message, error) {
	if len(packet) < 2 || len(packet) > maxWill || packet[0] != willByte || len(packet) < 2+int(packet[1]) {
		return seniority.Message{}, errWillMalformed
	}
	label, rest := packet[2:2+int(packet[1])], packet[2+int(packet[1]):]
	if string(label) != g.mux.label {
		return seniority.Message{}, errWillCluster
	}
	m, err := seniority.ParseMessage(rest)
	if err != nil || m.Kind != seniority.Release || m.Will == [32]byte{} {
		return seniority.Message{}, errWillMalformed
	}
	if p, ok := g.roster.member(m.From); !ok || p.Incarnation != m.Incarnation {
		return seniority.Message{}, errWillStranger
	}
	return m, nil
}
