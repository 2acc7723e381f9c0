//go:build linux

package bgp

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doyen/examples/internal/lan"
	"doyen/examples/internal/trial"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long the test waits for what takes a second on a quiet machine.
	patience = 90 * time.Second
	// pace is the time between two questions of the client.
	pace = 5 * time.Millisecond
	// echoPort is where each host answers with its name.
	echoPort = "7007"
)

// A lab is three hosts with agents, a router, and a client behind the router.
type lab struct {
	t              *testing.T
	agent, dir     string
	routed         bool
	address        string // the floating address
	hosts          []*host
	router, client *lan.Host

	mu      sync.Mutex
	answers []answer
}

type host struct {
	*lan.Host
	addr    string
	gateway string
	program *lan.Program
}

// An answer came to the client at a time, from a host.
type answer struct {
	at   time.Time
	host string
}

// newLab makes the hosts. With routed each has a cable to the router, which learns from
// BIRD where the address is; else all are on one switch, and the router asks by ARP.
func newLab(t *testing.T, agent string, routed bool) *lab {
	l := &lab{t: t, agent: agent, dir: t.TempDir(), routed: routed, address: "198.51.100.10"}
	tools := []string{"nsenter", "ip", "nft"}
	if routed {
		tools = append(tools, "bird", "birdc")
	}
	l.client = lan.NewHost(t, tools, "client")
	var lans *lan.LAN
	if routed {
		l.router = lan.NewHost(t, tools, "router")
	} else {
		l.address = "10.88.0.100"
		lans = lan.New(t, tools)
		l.router = lans.Host("router", "10.88.0.254/24")
	}
	for i := range 3 {
		h := &host{addr: fmt.Sprintf("10.88.0.%d", i+1), gateway: "10.88.0.254"}
		name := fmt.Sprintf("host%d", i+1)
		if routed {
			h.addr, h.gateway = fmt.Sprintf("10.88.%d.1", i+1), fmt.Sprintf("10.88.%d.254", i+1)
			h.Host = lan.NewHost(t, nil, name)
			h.Cable("eth0", h.addr+"/24", l.router, name, h.gateway+"/24")
		} else {
			h.Host = lans.Host(name, h.addr+"/24")
		}
		l.do(h.Run("ip", "route", "add", "default", "via", h.gateway))
		l.hosts = append(l.hosts, h)
	}
	l.client.Cable("eth0", "10.89.0.1/24", l.router, "client", "10.89.0.254/24")
	l.do(l.client.Run("ip", "route", "add", "default", "via", "10.89.0.254"))
	l.do(l.router.Run("sysctl", "-qw", "net.ipv4.ip_forward=1"))
	if routed {
		l.bird(l.router, "router.conf", "192.0.2.1 ", l.hosts[0].addr+" ", "192.0.2.2 ", l.hosts[1].addr+" ", "192.0.2.3 ", l.hosts[2].addr+" ")
	}
	for _, h := range l.hosts {
		if routed {
			l.bird(h.Host, "host.conf", "192.0.2.254", h.gateway)
		}
		l.echo(h)
		l.start(h)
	}
	l.ask()
	return l
}

func (l *lab) do(_ string, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// bird runs BIRD with an example in which addresses are replaced.
func (l *lab) bird(h *lan.Host, example string, replaced ...string) {
	l.t.Helper()
	text, err := os.ReadFile(example)
	if err != nil {
		l.t.Fatal(err)
	}
	file := filepath.Join(l.dir, h.Name+".conf")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replaced...).Replace(string(text))), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.do(h.Run("bird", "-p", "-c", file))
	h.Start("bird", "-f", "-c", file, "-s", filepath.Join(l.dir, h.Name+".ctl"))
}

// start starts the agent of a host.
func (l *lab) start(h *host) {
	l.t.Helper()
	var seeds []string
	for _, p := range l.hosts {
		seeds = append(seeds, p.addr)
	}
	float := l.address + "/24@eth0"
	if l.routed {
		float = l.address + "/32@lo"
	}
	h.program = h.Start("env", "RUNTIME_DIRECTORY="+filepath.Join(l.dir, h.Name), l.agent, "--seeds", strings.Join(seeds, ","),
		"--voters", "seeds", "--state-dir", filepath.Join(l.dir, h.Name), "--floating-ip", float, "--log-level", "warn")
}

// echo answers at the floating address, wherever it is, with the name of the host.
func (l *lab) echo(h *host) {
	l.t.Helper()
	var conn net.PacketConn
	free := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1) })
	}}
	err := h.Do(func() (err error) {
		conn, err = free.ListenPacket(context.Background(), "udp4", net.JoinHostPort(l.address, echoPort))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			conn.WriteTo([]byte(h.Name), from) // the client notices what is missing
		}
	}()
}

// ask has the client ask at the floating address until the test ends, and note the answers.
func (l *lab) ask() {
	l.t.Helper()
	var conn net.Conn
	err := l.client.Do(func() (err error) {
		conn, err = net.Dial("udp4", net.JoinHostPort(l.address, echoPort))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	go func() {
		for {
			if _, err := conn.Write([]byte("who?")); err != nil && strings.Contains(err.Error(), "closed") {
				return
			}
			time.Sleep(pace)
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			n, err := conn.Read(b)
			if err != nil {
				if strings.Contains(err.Error(), "closed") {
					return
				}
				continue // no route, for the moment
			}
			l.mu.Lock()
			l.answers = append(l.answers, answer{time.Now(), string(b[:n])})
			l.mu.Unlock()
		}
	}()
}

// since are the answers after a time.
func (l *lab) since(at time.Time) []answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, _ := slices.BinarySearchFunc(l.answers, at, func(a answer, at time.Time) int { return a.at.Compare(at) })
	return slices.Clone(l.answers[k:])
}

// settled waits until all members are ready and the client is answered by the leader's
// host, which it returns.
func (l *lab) settled() (leader *host) {
	l.t.Helper()
	trial.Eventually(l.t, patience, func() (err error) {
		if leader, err = lan.Settled(l.hosts); err != nil {
			return err
		}
		if l.routed {
			out, err := l.router.Run("birdc", "-s", filepath.Join(l.dir, "router.ctl"), "show", "protocols")
			if err != nil || strings.Count(out, "Established") != len(l.hosts) {
				return fmt.Errorf("the router has not a session with every host (%w): %s", err, out)
			}
		}
		got := l.since(time.Now().Add(-200 * time.Millisecond))
		if len(got) < 10 || slices.ContainsFunc(got, func(a answer) bool { return a.host != leader.Name }) {
			return fmt.Errorf("the client is not answered by the leader alone, but %v", got)
		}
		return nil
	})
	return leader
}

// outage returns the longest time without an answer from at on, less the pace, and how
// long it took until another host answered. The fault is over once that host has answered
// for a second.
func (l *lab) outage(at time.Time, former string) (outage, takeover time.Duration) {
	l.t.Helper()
	var other time.Time
	trial.Eventually(l.t, patience, func() error {
		for _, a := range l.since(at) {
			if a.host != former {
				other = a.at
				if time.Since(other) < time.Second {
					return fmt.Errorf("%s has just begun to answer", a.host)
				}
				return nil
			}
		}
		return fmt.Errorf("no other host than %s answers", former)
	})
	last := at
	for _, a := range l.since(at) {
		outage = max(outage, a.at.Sub(last)-pace)
		last = a.at
	}
	return outage, other.Sub(at)
}
