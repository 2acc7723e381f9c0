package gossip

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doyen/gossip/transport"
	"doyen/seniority"
)

// A will is the release of a leader whose agent has died, delivered by its
// keeper: willByte, the cluster's label, the message. It is a plain packet,
// because the keeper must be able to send it with nothing but a socket and
// after any rotation of keys; it proves itself by the secret that it carries,
// which the core compares with the claims of that term.
//
// Any member's keeper delivers a will of term 0 as well: the member itself is
// dead. Its secret is the member's own, and the beginning of the secret's SHA-256
// is in the member's meta. The others then take the member out of their view at
// once, where memberlist would need some seconds to notice.

const (
	// maxWillTargets bounds how many members a keeper delivers to.
	maxWillTargets = 64
	// willSends is how often it goes out by UDP, willPause the time between.
	willSends = 3
	willPause = 3 * time.Millisecond
	// willDial bounds its way by TCP.
	willDial = 500 * time.Millisecond
	// willBurst is how many are taken at once, willRate how many a second: a member
	// that led 128 elections leaves a will for each, and each comes four times.
	willBurst = 1024
	willRate  = 200
)

// Will returns the packet that carries m, a Release with the secret of its term
// in an election, "" being the group's own.
func (g *Gossip) Will(election string, m *seniority.Message) (packet []byte) {
	packet = append([]byte{transport.WillByte, byte(len(g.mux.Label()))}, g.mux.Label()...)
	if election != "" {
		packet = appendName(append(packet, electionByte), election)
	}
	return seniority.AppendMessage(packet, m)
}

// DeathWill returns the packet that says that this member is dead.
func (g *Gossip) DeathWill() (packet []byte) {
	return g.Will("", &seniority.Message{
		Kind: seniority.Release, From: g.cfg.Name, Incarnation: g.cfg.Incarnation,
		Reason: seniority.LeaderDied, Will: g.deathSecret,
	})
}

// WillTargets returns the members that wills should go to: the others in the view, at most
// 64. In a larger group the rest hear of a leader's end by its successor's
// claims, and of another's by memberlist.
func (g *Gossip) WillTargets() (targets []netip.AddrPort) {
	for _, p := range g.members.some(maxWillTargets) {
		targets = append(targets, p.Addr)
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return targets
}

// deathMark is what a member publishes of the secret that its keeper tells.
func deathMark(secret [32]byte) (mark [deathMarkSize]byte) {
	sum := sha256.Sum256(secret[:])
	copy(mark[:], sum[:])
	return mark
}

// deathMarkSize is the length of a mark in bytes: too many to find a secret for it.
const deathMarkSize = 16

// newSecret returns a secret.
func newSecret() (secret [32]byte) {
	rand.Read(secret[:])
	return secret
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

// sendWillUDP sends the packet to all before it sends it again.
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
// what cannot be right is refused here and the rest is few.
func (g *Gossip) takeWill(packet []byte) {
	election, m, err := g.parseWill(packet)
	if err == errWillKnown {
		return
	}
	if err == nil && !g.wills.take(willBurst, willRate) {
		err = errFlood
	}
	if err != nil {
		g.findings.Count(err.Error())
		return
	}
	if m.Term == 0 {
		g.members.died(m.From, m.Incarnation)
		return
	}
	g.inbox.put(ElectionMessage{Election: election, Message: m})
}

// The reasons to refuse a will.
var (
	errWillMalformed = errors.New("will-malformed")
	errWillCluster   = errors.New("will-of-other-cluster")
	errWillStranger  = errors.New("will-of-stranger")
	errWillKnown     = errors.New("will-known") // each is sent several times
	errWillForged    = errors.New("will-forged")
	errFlood         = errors.New("will-flood")
)

func (g *Gossip) parseWill(packet []byte) (election string, m seniority.Message, err error) {
	if len(packet) < 2 || len(packet) > transport.MaxWill || packet[0] != transport.WillByte || len(packet) < 2+int(packet[1]) {
		return "", m, errWillMalformed
	}
	label, rest := packet[2:2+int(packet[1])], packet[2+int(packet[1]):]
	if string(label) != g.mux.Label() {
		return "", m, errWillCluster
	}
	if len(rest) > 0 && rest[0] == electionByte {
		var ok bool
		if election, rest, ok = takeElection(rest[1:]); !ok {
			return "", m, errWillMalformed
		}
	}
	m, err = seniority.ParseMessage(rest)
	if err != nil || m.Kind != seniority.Release || m.Will == [32]byte{} || election != "" && m.Term == 0 {
		return "", m, errWillMalformed
	}
	p, dead, ok := g.members.last(m.From)
	switch {
	case !ok || p.Incarnation != m.Incarnation:
		return "", m, errWillStranger
	case m.Term == 0 && dead:
		return "", m, errWillKnown
	case m.Term == 0 && (p.Death == [deathMarkSize]byte{} || p.Death != deathMark(m.Will)):
		return "", m, errWillForged
	}
	return election, m, nil
}
