package gossip

import (
	"errors"
	"net/netip"
	"time"

	"doyen/gossip/findings"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. It does so under its own lock, so every
// method copies, marks and returns: none blocks, none calls memberlist.
type delegate struct {
	gossip    *Gossip
	started   time.Time
	newcomers bucket
}

// The reasons to refuse a member that meta.go does not know.
var (
	errBadName  = errors.New("bad-name")
	errBadAddr  = errors.New("bad-address")
	errTooMany  = errors.New("too-many-members")
	errNamesake = errors.New("name-clash")
)

// newcomerRate is how many new members a second are taken in, once as many have
// come at once as there may be.
const newcomerRate = 100

// addrOf is the address of a memberlist node.
func addrOf(n *memberlist.Node) netip.AddrPort {
	a, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(a.Unmap(), n.Port)
}

// NotifyAlive implements memberlist.AliveDelegate: what it refuses never
// becomes a member.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	err := d.admit(n)
	if err != nil {
		d.gossip.findings.Count(err.Error())
	}
	return err
}

func (d *delegate) admit(n *memberlist.Node) error {
	if checkText(n.Name) != nil {
		return errBadName
	}
	addr := addrOf(n)
	if !canBeReached(addr) {
		return errBadAddr
	}
	p, err := parseMeta(n.Name, addr, n.Meta)
	if err != nil {
		return err
	}
	if n.Name == d.gossip.cfg.Name {
		d.twin(&p)
		return nil
	}
	if old, ok := d.gossip.members.member(n.Name); ok {
		// A namesake may have got the address that this member had before: only
		// its meta tells the two apart, so memberlist cannot.
		if p.Addr != old.Addr && p.Incarnation != old.Incarnation && old.Addr != old.home {
			d.findConflict(n.Name, old.Addr, p.Addr)
			return errNamesake
		}
		return nil
	}
	// memberlist keeps the dead for half a minute, so their number is bounded by
	// how fast the living may come.
	if d.gossip.members.size() >= maxMembers || !d.newcomers.take(maxMembers, newcomerRate) {
		return errTooMany
	}
	return nil
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.NotifyUpdate(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) {
	if p, err := parseMeta(n.Name, addrOf(n), n.Meta); err == nil {
		d.gossip.members.put(p)
	}
}

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.gossip.members.remove(n.Name) }

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte {
	self := d.gossip.members.own()
	return appendMeta(nil, &self)
}

// NotifyMsg implements memberlist.Delegate.
func (d *delegate) NotifyMsg(b []byte) { d.gossip.receive(b) }

// GetBroadcasts implements memberlist.Delegate.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.gossip.queue.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate: the greeting.
func (d *delegate) LocalState(bool) []byte {
	if g := d.gossip.greeting.Load(); g != nil {
		return *g
	}
	return nil
}

// MergeRemoteState implements memberlist.Delegate: the greeting of another,
// empty if it has none.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if len(b) == 0 {
		return
	}
	m, err := seniority.ParseMessage(b)
	if err != nil {
		d.gossip.findings.Count(errMalformed.Error())
		return
	}
	m.Gossiped = true
	d.gossip.inbox.put(ElectionMessage{Message: m})
}

// AckPayload implements memberlist.PingDelegate.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete implements memberlist.PingDelegate: a packet to that member was
// answered by one. A probe that falls into the end of a cut can find TCP alone to work.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	d.gossip.findings.End(findings.UDPBlocked, n.Name)
}
