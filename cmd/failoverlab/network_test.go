//go:build linux

package main

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// needRoot skips the test without root, or fails it where it is required.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
		t.Fatal("needs root to make network namespaces")
	}
	t.Skip("needs root to make network namespaces")
}

// observed builds a network and its observers, without a subject.
func observed(t *testing.T) (*network, *record) {
	t.Helper()
	needRoot(t)
	n, err := newNetwork(hostCount)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	r := newRecord(watchEvery)
	eyes, err := observe(n, r, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	t.Cleanup(eyes.stop)
	return n, r
}

// give puts the floating address on a host, or takes it off.
func give(t *testing.T, h *host, has bool) {
	t.Helper()
	err := h.do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(netip.PrefixFrom(floatIP, floatLen).String())
		if err != nil {
			return err
		}
		if has {
			return netlink.AddrAdd(eth0, addr)
		}
		return netlink.AddrDel(eth0, addr)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// within waits for what a kernel or another thread does.
func within(t *testing.T, what string, cond func() bool) {
	t.Helper()
	const patience = 60 * time.Second
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// TestObservers has two hosts hold the address at once, as a bad failover would.
func TestObservers(t *testing.T) {
	n, r := observed(t)
	serves := func(want int) func() bool {
		return func() bool { host, ok := r.serving(200 * time.Millisecond); return ok && host == want }
	}
	give(t, n.hosts[0], true)
	within(t, "host 0 serves alone", serves(0))
	from := now()
	give(t, n.hosts[2], true)
	answers := func() time.Duration { return answerOverlap(r.view(), from, now()) }
	within(t, "both answer", func() bool { return answers() > 50*time.Millisecond })
	if _, ok := r.serving(200 * time.Millisecond); ok {
		t.Error("want no host to serve alone while two hosts answer")
	}
	v := r.view()
	for name, proofs := range map[string][]proof{"pings": v.pings, "ARP": v.arps} {
		if overlap(held(proofs, watchEvery, from, now())) == 0 {
			t.Errorf("want %s to show the overlap", name)
		}
	}
	give(t, n.hosts[0], false)
	within(t, "host 0 answers no more", func() bool {
		end := now()
		return lastAnswer(r.view().pings, func(h int) bool { return h == 0 }, end-100*time.Millisecond, end) == 0
	})
	within(t, "the kernels' events are of hosts 0 and 2, with an overlap", func() bool {
		shown := onInterfaces(r.view().changes, from, now(), -1, 0)
		return len(shown[0]) == 1 && len(shown[1]) == 0 && len(shown[2]) == 1 && overlap(shown) > 0
	})
}

// TestTCPClients moves the address between two hosts that both live on: the
// connections to the first break, and no later one does.
func TestTCPClients(t *testing.T) {
	n, r := observed(t)
	connected := func(want int) func() bool {
		return func() bool {
			v := r.view().tried
			return len(v) > 0 && v[len(v)-1].err == nil && v[len(v)-1].host == want
		}
	}
	give(t, n.hosts[0], true)
	within(t, "host 0 has connections", connected(0))
	time.Sleep(keepEvery * connectEvery) // one of them stays open
	from := now()
	give(t, n.hosts[0], false)
	give(t, n.hosts[1], true)
	// What an agent does by announcing the address.
	err := n.client.do(func() error {
		return netlink.NeighDel(&netlink.Neigh{LinkIndex: n.client.link, IP: floatIP.AsSlice()})
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "host 1 has connections", connected(1))
	within(t, "a connection to host 0 is broken", func() bool { return len(brokenTo(r.view().broken, 0, from, now())) > 0 })
	if list := brokenTo(r.view().broken, 1, from, now()); len(list) > 0 {
		t.Errorf("want no connection to host 1 broken, got %v", list)
	}
	give(t, n.hosts[1], false)
	within(t, "an attempt fails", func() bool { return len(failedAttempts(r.view().tried, from, now())) > 0 })
	if tcpOutage(r.view().tried, from, now()) == 0 {
		t.Error("want a time without new connections")
	}
}

func TestCables(t *testing.T) {
	n, r := observed(t)
	h := n.hosts[1]
	give(t, h, true)
	answered := func() bool { return outage(r.view().replies, now()-100*time.Millisecond, now()) < 50*time.Millisecond }
	silent := func() bool { return outage(r.view().replies, now()-100*time.Millisecond, now()) > 90*time.Millisecond }
	within(t, "the client is answered", answered)
	for name, cut := range map[string][]spoil{
		"both ways": both(h.node, n.client), "to the host": in(h.node, n.client), "from the host": out(h.node, n.client),
	} {
		if err := n.cables.set(cut...); err != nil {
			t.Fatal(err)
		}
		within(t, "no answer with the cable cut "+name, silent)
		if host, _ := lastHost(r.view().pings); host != h.index {
			t.Errorf("cut %s: want the watcher to be answered still", name)
		}
		if err := n.cables.set(); err != nil {
			t.Fatal(err)
		}
		within(t, "the client is answered again after the cut "+name, answered)
	}
	if err := n.unplug(h.node); err != nil {
		t.Fatal(err)
	}
	within(t, "no answer without a carrier", silent)
	if err := n.plugIn(h.node); err != nil {
		t.Fatal(err)
	}
	within(t, "the client is answered with the carrier back", answered)
}

func lastHost(proofs []proof) (host int, ok bool) {
	if len(proofs) == 0 {
		return -1, false
	}
	return proofs[len(proofs)-1].host, true
}

// TestLoss asks a thousand questions by itself, so that their number is known; at 30 %
// each way, 49 % are answered, and ten points beside that are six standard deviations.
func TestLoss(t *testing.T) {
	n, r := observed(t)
	give(t, n.hosts[0], true)
	within(t, "the client is answered", func() bool { return len(r.view().replies) > 10 })
	if err := n.cables.set(lossy(30, n.hosts[0].node, n.client)...); err != nil {
		t.Fatal(err)
	}
	const questions = 1000
	got := 0
	err := n.client.do(func() error {
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(floatIP, servicePort)))
		if err != nil {
			return err
		}
		defer conn.Close()
		count := func(wait time.Duration) {
			conn.SetReadDeadline(time.Now().Add(wait))
			for answer := make([]byte, 64); ; got++ {
				if _, err := conn.Read(answer); err != nil {
					return
				}
			}
		}
		const burst = 10 // which the sockets hold
		for range questions / burst {
			for range burst {
				if _, err := conn.Write([]byte("ask")); err != nil {
					return err
				}
			}
			count(time.Millisecond)
		}
		count(time.Second) // of the last questions
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got < 390 || got > 590 {
		t.Errorf("want about 490 of %d questions answered, got %d", questions, got)
	}
}

// TestWatcherAsks counts answers: a question with a wrong checksum has none, and
// those by ARP have no checksum.
func TestWatcherAsks(t *testing.T) {
	n, r := observed(t)
	give(t, n.hosts[0], true)
	within(t, "every question of two seconds is answered", func() bool {
		v, from, to := r.view(), now()-2100*time.Millisecond, now()-100*time.Millisecond
		pings, arps := 0, 0
		for _, p := range v.pings {
			pings += boolToInt(p.sent >= from && p.sent <= to)
		}
		for _, p := range v.arps {
			arps += boolToInt(p.sent >= from && p.sent <= to)
		}
		return pings > 300 && pings >= arps-2 && arps >= pings-2
	})
}
