//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"doyen/agent"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// onLink changes or looks at a host's eth0.
func (f *fleet) onLink(h *host, change func(eth0 netlink.Link) error) {
	f.t.Helper()
	f.must(h.do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return change(eth0)
	}))
}

func addrOf(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}

// own is a host's own address, the nth of those in the network of the lab.
func own(h *host, nth int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(nth*70 + h.index + 1)}), floatLen)
}

// removeFloat takes the floating address off, as `ip addr del` does.
func (f *fleet) removeFloat(h *host) {
	f.t.Helper()
	f.must(h.do(func() error {
		eth0, floats, err := floatsHere()
		if err != nil {
			return err
		}
		if len(floats) != 1 {
			return fmt.Errorf("want one floating address to remove, got %v", floats)
		}
		return netlink.AddrDel(eth0, &floats[0])
	}))
}

// sameAgent checks that a leader still leads under the same term, with the same
// processes.
func (f *fleet) sameAgent(h *host, before agent.State) {
	f.t.Helper()
	s, err := f.state(h)
	switch {
	case err != nil:
		f.errorf("the leader no longer answers: %v", err)
	case !s.IsLeader || s.Term != before.Term:
		f.errorf("want %s to lead on under term %d, got leader %v, term %d", h.name, before.Term, s.IsLeader, s.Term)
	case s.PID != before.PID || s.KeeperPID == nil || before.KeeperPID == nil || *s.KeeperPID != *before.KeeperPID:
		f.errorf("want the same processes, got agent %d and keeper %s, before %d and %s", s.PID, pidText(s.KeeperPID), before.PID, pidText(before.KeeperPID))
	}
}

func pidText(pid *int) string {
	if pid == nil {
		return "none"
	}
	return fmt.Sprint(*pid)
}

// TestHostsAddressRemoved takes the floating address off the leader's interface,
// again and again: it comes back at once, under the same term.
func TestHostsAddressRemoved(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		t.Run(mode(quorum), func(t *testing.T) {
			onFleet(t, shape{quorum: quorum}, func(f *fleet, _ int) {
				h := f.settled()
				before, err := f.state(h)
				f.must(err)
				times := 50
				if f.short {
					times = 10
				}
				from := now()
				for range times {
					time.Sleep(time.Duration(f.dice.Int64N(int64(300 * time.Millisecond))))
					if !f.removeAndWait(h) {
						return
					}
				}
				f.sameAgent(h, before)
				for _, c := range f.record.view().changes {
					if c.at > from && c.host != h.index {
						f.errorf("%s has the address: %v", f.net.hosts[c.host].name, c.has)
					}
				}
				if list := brokenTo(f.record.view().broken, h.index, from, now()); len(list) > 0 {
					f.errorf("%d connections broke: %v", len(list), list[0])
				}
				if f.settled() != h {
					f.errorf("another leads after the address was removed")
				}
			})
		})
	}
}

// removeAndWait removes the address and waits until it is back.
func (f *fleet) removeAndWait(h *host) bool {
	at := now()
	f.removeFloat(h)
	back := time.Duration(0)
	if !f.eventually("the address is back", settleTime, func() error {
		gone := false
		for _, c := range f.record.view().changes {
			switch {
			case c.host != h.index || c.at <= at:
			case !c.has:
				gone = true
			case gone:
				back = c.at
				return nil
			}
		}
		return errors.New("it is not")
	}) {
		return false
	}
	f.atMost("from the removal of the address to its return", back-at, 100*time.Millisecond)
	return true
}

// TestHostsRulesFlushed flushes the leader's packet filter, as every reload of a
// host's own rules does. The leader leads on, and the kernel still cuts the
// address off when agent and keeper are killed.
func TestHostsRulesFlushed(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		t.Run(mode(quorum), func(t *testing.T) {
			onFleet(t, shape{quorum: quorum}, func(f *fleet, _ int) {
				h := f.settled()
				before, err := f.state(h)
				f.must(err)
				from := now()
				for range 5 {
					f.must(h.do(func() error {
						conn, err := nftables.New()
						if err != nil {
							return err
						}
						conn.FlushRuleset()
						return conn.Flush()
					}))
					time.Sleep(time.Second)
				}
				f.sameAgent(h, before)
				f.unbroken(h, from, now())
				killed := now()
				h.kill()
				f.eventually("another takes the address", settleTime, func() error {
					if host, ok := f.record.serving(300 * time.Millisecond); !ok || host == h.index {
						return errors.New("none does")
					}
					return nil
				})
				time.Sleep(2 * time.Second)
				v := f.record.view()
				former := func(host int) bool { return host == h.index }
				last := max(lastAnswer(v.pings, former, killed, now()), lastAnswer(v.arps, former, killed, now()))
				f.atMost("from the death of agent and keeper to the last answer", last, time.Second)
				f.start(h)
				f.settled()
			})
		})
	}
}

// TestHostsRestartedAsAnother kills agent and keeper of the leader, or stops them,
// and starts them under another name or port. Once that one leads, clients reach
// the address: what guarded it before is gone.
func TestHostsRestartedAsAnother(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		t.Run(mode(quorum), func(t *testing.T) {
			onFleet(t, shape{quorum: quorum}, func(f *fleet, number int) {
				for _, way := range []string{"kill-name", "kill-port", "stop-name", "stop-port"} {
					if quorum && way[5:] == "port" {
						continue // it would not be the voter that its list names
					}
					f.restartAsAnother(way)
				}
			})
		})
	}
}

func (f *fleet) restartAsAnother(way string) {
	h := f.settled()
	if way[:4] == "kill" {
		h.kill()
	} else {
		f.must(h.signal(unix.SIGTERM))
		<-h.main.ended
	}
	if way[5:] == "port" {
		f.ports[h.index]++
	} else {
		f.names[h.index] = fmt.Sprintf("other-%d", f.dice.Uint32())
	}
	f.start(h)
	if f.settled() == h {
		f.errorf("%s: a member that comes back is to follow", way)
		return
	}
	if !f.handOverTo(h) {
		return
	}
	f.settled()
	from := now()
	time.Sleep(time.Second)
	answered := 0
	for _, p := range f.record.view().pings {
		answered += boolToInt(p.host == h.index && p.sent > from && p.sent <= from+time.Second)
	}
	// A busy machine asks more seldom, and then no question is lost either.
	if want := 5; answered < want {
		f.errorf("%s: want %d pings to the address of the new leader answered, got %d", way, want, answered)
	}
	if failed := failedAttempts(f.record.view().tried, from, now()); len(failed) > 0 {
		f.errorf("%s: %d connections to the new leader did not come about: %v", way, len(failed), failed[0].err)
	}
}

// TestHostsAddressChanges gives a running member another address, as DHCP may.
// Within ten seconds there is one leader and one holder again, and all follow.
func TestHostsAddressChanges(t *testing.T) {
	besideOthers(t)
	for _, quorum := range []bool{false, true} {
		for _, r := range []role{follower, leader} {
			who := map[role]string{follower: "follower", leader: "leader"}[r]
			t.Run(mode(quorum)+"-"+who, func(t *testing.T) {
				onFleet(t, shape{quorum: quorum}, func(f *fleet, number int) {
					victim := f.settled()
					if r == follower {
						victim = f.others(victim)[number%2]
					}
					pause := time.Duration(f.dice.Int64N(int64(2 * time.Second)))
					f.readdress(victim, own(victim, 0), own(victim, 1), pause)
					f.readdress(victim, own(victim, 1), own(victim, 0), pause)
				})
			})
		}
	}
}

// readdress takes one address off a host and gives it another.
func (f *fleet) readdress(h *host, old, next netip.Prefix, pause time.Duration) {
	f.t.Helper()
	f.settledUnder(h, old)
	f.onLink(h, func(eth0 netlink.Link) error { return netlink.AddrDel(eth0, addrOf(old)) })
	time.Sleep(pause)
	f.onLink(h, func(eth0 netlink.Link) error { return netlink.AddrAdd(eth0, addrOf(next)) })
	at := now()
	var leads *host
	what := fmt.Sprintf("%s has %v instead of %v: one leader, one holder, all follow", h.name, next, old)
	if !f.eventually(what, settleTime, func() (err error) {
		leads, err = f.follow(h, next)
		return err
	}) {
		f.t.FailNow()
	}
	// The host may still name the leader that it had before, whose renewals do not
	// reach it yet: it notices within a lease.
	began := now()
	for now() < began+2*time.Second {
		time.Sleep(50 * time.Millisecond)
		if leader, err := f.named(f.net.hosts...); err != nil {
			began = now()
		} else {
			leads = leader
		}
		if began > at+settleTime {
			f.errorf("%s, for two seconds: not within %v", what, settleTime)
			return
		}
	}
	f.atMost("from the new address to one leader and all following", began-at, 10*time.Second)
	// What is unsteady shows within the time that gossip needs to miss the old name.
	from, while := now(), 25*time.Second
	if f.short {
		while = 12 * time.Second
	}
	for now() < from+while {
		time.Sleep(200 * time.Millisecond)
		if _, err := f.named(f.net.hosts...); err != nil {
			f.errorf("%v later: %v", now()-at, err)
			break
		}
	}
	f.unbroken(leads, from, now())
}

// settledUnder waits until all is well with a host that has an address.
func (f *fleet) settledUnder(h *host, p netip.Prefix) {
	f.t.Helper()
	if !f.eventually("all settle", settleTime, func() error { _, err := f.follow(h, p); return err }) {
		f.t.FailNow()
	}
}

// follow checks that all agree on a leader though one has another address: in
// quorum mode it is then no voter, and follows all the same.
func (f *fleet) follow(h *host, p netip.Prefix) (*host, error) {
	if p == own(h, 0) || !f.shape.quorum {
		return f.agree(f.net.hosts...)
	}
	leads, err := f.named(f.net.hosts...)
	if err != nil {
		return nil, err
	}
	return leads, f.served(leads)
}
