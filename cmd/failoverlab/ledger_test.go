//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ledger is what a host's eth0 has of the lab: its own addresses in the order in
// which they were put there, and a route by a gateway. All else but the floating
// address is a fault, and so is what is missing of this.
type ledger struct {
	f       *fleet
	h       *host
	mu      sync.Mutex // held while the lab changes or looks
	own     []netip.Prefix
	promote bool
	route   bool
	wrong   map[string]string // the first of each kind of fault
}

// farNet is reached by way of the client.
var farNet = netip.MustParsePrefix("10.99.0.0/16")

// sinkPort is where the client hears the hosts' own traffic.
const sinkPort = 9999

// change does something to a host's interface, with no check meanwhile.
func (l *ledger) change(do func(eth0 netlink.Link) error) {
	l.f.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.f.onLink(l.h, do)
}

func (l *ledger) add(p netip.Prefix) {
	l.f.t.Helper()
	if slices.Contains(l.own, p) {
		return
	}
	l.change(func(eth0 netlink.Link) error {
		l.own = append(l.own, p)
		// It is there if what the lab did not do has kept it; that is a fault already.
		if err := netlink.AddrAdd(eth0, addrOf(p)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("adding %v: %w", p, err)
		}
		if l.route || !p.Contains(clientIP) {
			return nil
		}
		l.route = true
		return netlink.RouteReplace(l.farRoute(eth0))
	})
}

func (l *ledger) farRoute(eth0 netlink.Link) *netlink.Route {
	return &netlink.Route{
		LinkIndex: eth0.Attrs().Index, Gw: clientIP.AsSlice(),
		Dst: &net.IPNet{IP: farNet.Addr().AsSlice(), Mask: net.CIDRMask(farNet.Bits(), 32)},
	}
}

// remove takes an address off, and with it the kernel takes all others of its
// network if it was the first there and none is to be promoted.
func (l *ledger) remove(p netip.Prefix) {
	l.f.t.Helper()
	if !slices.Contains(l.own, p) {
		return
	}
	l.change(func(eth0 netlink.Link) error {
		first := slices.IndexFunc(l.own, func(q netip.Prefix) bool { return q.Masked() == p.Masked() })
		all := !l.promote && l.own[first] == p
		l.own = slices.DeleteFunc(l.own, func(q netip.Prefix) bool { return q == p || all && q.Masked() == p.Masked() })
		// The kernel forgets routes when the last address goes, which may be now or
		// when the floating one does.
		l.route = l.route && len(l.own) > 0
		return netlink.AddrDel(eth0, addrOf(p))
	})
}

// flush is `ip addr flush dev eth0`: it takes the floating address too.
func (l *ledger) flush() {
	l.f.t.Helper()
	l.change(func(eth0 netlink.Link) error {
		l.own, l.route = nil, false
		for {
			addrs, err := netlink.AddrList(eth0, netlink.FAMILY_V4)
			if err != nil || len(addrs) == 0 {
				return err
			}
			if err := netlink.AddrDel(eth0, &addrs[0]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return err
			}
		}
	})
}

func (l *ledger) setPromote(on bool) {
	l.f.t.Helper()
	l.change(func(netlink.Link) error {
		l.promote = on
		return os.WriteFile("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", fmt.Append(nil, boolToInt(on)), 0)
	})
}

// downUp takes the interface down for a moment: its addresses stay, its routes go.
func (l *ledger) downUp() {
	l.f.t.Helper()
	l.change(func(eth0 netlink.Link) error {
		l.route = false
		return errors.Join(netlink.LinkSetDown(eth0), netlink.LinkSetUp(eth0))
	})
}

// look notes what is wrong on the host now, and sends a packet of the host's own.
func (l *ledger) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.h.do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(eth0, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		l.lookAt(addrs)
		if routes, err := netlink.RouteGet(clientIP.AsSlice()); err == nil && len(routes) > 0 && routes[0].Src.Equal(floatIP.AsSlice()) {
			l.fault("source", "the host's own traffic leaves from the floating address; its interface has %v", addrs)
		}
		if l.route {
			routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, l.farRoute(eth0), netlink.RT_FILTER_DST)
			if err == nil && len(routes) == 0 {
				l.fault("route", "the route to %v is gone; the interface has %v", farNet, addrs)
			}
		}
		conn, err := net.Dial("udp4", netip.AddrPortFrom(clientIP, sinkPort).String())
		if err != nil {
			return nil // a host without an address has no way
		}
		defer conn.Close()
		conn.Write([]byte(l.h.name)) // nor one whose link is down
		return nil
	})
	if err != nil {
		l.fault("lab", "looking: %v", err)
	}
}

func (l *ledger) lookAt(addrs []netlink.Addr) {
	missing := slices.Clone(l.own)
	for _, a := range addrs {
		ones, _ := a.Mask.Size()
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		p := netip.PrefixFrom(ip, ones)
		switch i := slices.Index(missing, p); {
		case i >= 0:
			missing = slices.Delete(missing, i, i+1)
		case ip != floatIP:
			l.fault("added", "the interface has %v, which the lab did not put there", p)
		case a.Flags&unix.IFA_F_SECONDARY == 0 && slices.ContainsFunc(l.own, func(q netip.Prefix) bool { return q.Masked() == p.Masked() }):
			l.fault("primary", "the floating address is the primary one of %v, where the host has %v", p.Masked(), l.own)
		}
	}
	for _, p := range missing {
		l.fault("removed", "%v is gone, which the lab did not take away; the interface has %v", p, addrs)
	}
}

// fault notes the first of each kind.
func (l *ledger) fault(kind, format string, args ...any) {
	if _, ok := l.wrong[kind]; !ok {
		l.wrong[kind] = fmt.Sprintf("%s at %s: ", l.h.name, time.Now().UTC().Format("15:04:05.000")) + fmt.Sprintf(format, args...)
	}
}

// ledgers watches all hosts of a fleet until the test ends.
func (f *fleet) ledgers() (list []*ledger) {
	f.t.Helper()
	stop := make(chan struct{})
	var ended sync.WaitGroup
	for _, h := range f.net.hosts {
		l := &ledger{f: f, h: h, own: []netip.Prefix{own(h, 0)}, wrong: make(map[string]string)}
		l.setPromote(false)
		l.add(own(h, 1))
		list = append(list, l)
		ended.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					l.look()
				}
			}
		})
	}
	f.hearTraffic(list)
	f.t.Cleanup(func() { close(stop); ended.Wait() })
	return list
}

// hearTraffic notes whose packets come from the floating address.
func (f *fleet) hearTraffic(list []*ledger) {
	var conn net.PacketConn
	f.must(f.net.client.do(func() (err error) {
		conn, err = net.ListenPacket("udp4", fmt.Sprintf(":%d", sinkPort))
		return err
	}))
	f.t.Cleanup(func() { conn.Close() })
	go func() {
		data := make([]byte, 64)
		for {
			n, from, err := conn.ReadFrom(data)
			if err != nil {
				return
			}
			if !strings.HasPrefix(from.String(), floatIP.String()+":") {
				continue
			}
			for _, l := range list {
				if l.h.name == string(data[:n]) {
					l.mu.Lock()
					l.fault("packet", "a packet of the host's own came from the floating address")
					l.mu.Unlock()
				}
			}
		}
	}()
}

// report is what is wrong by now, once.
func (f *fleet) report(list []*ledger) {
	f.t.Helper()
	for _, l := range list {
		l.mu.Lock()
		for _, what := range l.wrong {
			f.errorf("%s", what)
		}
		clear(l.wrong)
		l.mu.Unlock()
	}
	for _, h := range f.net.hosts {
		if s, err := f.state(h); err == nil && strings.HasPrefix(s.Addr, floatIP.String()+":") {
			f.errorf("%s advertises the floating address", h.name)
		}
	}
}
