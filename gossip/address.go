package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/findings"
)

// The address of a host may change while its member runs: a DHCP server gives
// another one, or a network manager starts again. memberlist knows each member
// by one address for as long as it is alive. So that address stays what it was,
// the member publishes in its meta where it is reached now, and the others send
// there. It is one member all the time: its name and its run stay the same.

const (
	// addressPause is how long changes of the host's addresses are let come to an
	// end before they are looked at: an address is often replaced in two steps.
	addressPause = 200 * time.Millisecond
	// addressEvery is how often the addresses are looked at without a change, in
	// case a change was missed, or only made a better address possible later.
	addressEvery = 5 * time.Second
)

// keepAddress follows the addresses of this host until the life of g ends.
func (g *Gossip) keepAddress(changed <-chan struct{}) {
	defer g.wg.Done()
	for {
		select {
		case <-g.life.Done():
			return
		case <-changed:
			if !sleep(g.life, addressPause) {
				return
			}
		case <-time.After(addressEvery):
		}
		g.reviewAddress()
	}
}

// sleep waits for d, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// reviewAddress brings what this member publishes in line with the addresses
// that its host has now.
func (g *Gossip) reviewAddress() {
	now := *g.advertised.Load()
	here := onHost(now.addr.Addr())
	if !here || now.guessed {
		next, ok := g.detectAgain()
		if ok && (!here || !next.guessed) && next != now {
			if err := g.move(next); err != nil {
				g.members.setStray(err.Error())
			}
			return
		}
	}
	if here {
		if g.members.setStray("") {
			g.Rejoin()
		}
		return
	}
	g.members.setStray(fmt.Sprintf("no interface of this host has its address %s any more", now.addr.Addr()))
}

// detectAgain finds the address to advertise now: the one from which this host
// calls a member it knows, else as at the start. One that was given counts only
// if it is an address of this host.
func (g *Gossip) detectAgain() (advertised, bool) {
	if g.cfg.Advertise == "" && g.bound.IsUnspecified() {
		for _, to := range g.members.addresses() {
			a, err := sourceFor(to, g.cfg.Floating)
			if err == nil && !a.IsLoopback() && family(g.bound, a) {
				ap := netip.AddrPortFrom(a, g.port)
				return advertised{text: ap.String(), addr: ap}, true
			}
		}
	}
	ctx, cancel := context.WithTimeout(g.life, resolveLimit)
	defer cancel()
	next, err := resolveAdvertise(ctx, &g.cfg, g.bound, g.port)
	return next, err == nil && onHost(next.addr.Addr())
}

// move publishes another address of this member.
func (g *Gossip) move(next advertised) error {
	p := g.members.own()
	was := p.Addr
	p.Addr, p.Advertise = next.addr, next.text
	if err := checkMeta(&p); err != nil {
		return err
	}
	g.advertised.Store(&next)
	g.members.change(func(self *Peer) { self.Addr, self.Advertise = next.addr, next.text })
	g.members.setStray("")
	poke(g.publish)
	g.Rejoin()
	if was != next.addr {
		g.findings.Forget(findings.UDPBlocked) // packets to the old address were lost
		g.cfg.Log.Info("the address of this member has changed", slog.String("from", was.String()), slog.String("to", next.addr.String()))
	}
	return nil
}

// onHost reports whether an interface of this host has the address.
func onHost(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // nothing is known
	}
	for _, x := range addrs {
		if n, ok := x.(*net.IPNet); ok {
			if ip, _ := netip.AddrFromSlice(n.IP); ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// setStray notes why this member cannot be reached at its address; "": it can.
// It reports whether that is news.
func (r *members) setStray(why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stray == why {
		return false
	}
	r.stray = why
	r.touch()
	return true
}

// route turns the address by which memberlist knows a member into the one at
// which it is reached now.
func (r *members) route(a memberlist.Address) memberlist.Address {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[a.Name]; k != nil && k.home.IsValid() && k.home != k.addr && a.Addr == k.home.String() {
		a.Addr = k.addr.String()
	}
	return a
}
