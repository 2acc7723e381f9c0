//go:build linux

package lan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"doyen/agent"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Host is a network namespace, in which the test starts programs.
type Host struct {
	// Name is what the log of the test calls the host.
	Name   string
	t      *testing.T
	ns     netns.NsHandle
	client *http.Client
}

// NewHost makes a host without any cable. Without root, or without one of the tools, it
// skips the test, or fails it where nothing may be skipped.
func NewHost(t *testing.T, tools []string, name string) *Host {
	t.Helper()
	need(t, tools)
	h := &Host{Name: name, t: t, ns: newNamespace(t)}
	must(t, h.Do(func() error { return raise("lo") }))
	h.client = clientOf(func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = h.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	})
	return h
}

// Host makes a host whose interface eth0 has an address and a cable to the switch.
func (l *LAN) Host(name, addr string) *Host {
	l.t.Helper()
	h := NewHost(l.t, nil, name)
	l.plug(h.ns, name, addr)
	return h
}

// Cable connects this host's interface to that of another. Each gets an address.
func (h *Host) Cable(iface, addr string, other *Host, otherIface, otherAddr string) {
	h.t.Helper()
	must(h.t, h.Do(func() error {
		err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: iface}, PeerName: otherIface, PeerNamespace: netlink.NsFd(other.ns)})
		return errors.Join(err, raise(iface, addr))
	}))
	must(h.t, other.Do(func() error { return raise(otherIface, otherAddr) }))
}

// Do runs f in the host's network namespace. Sockets that f opens belong to it for good.
func (h *Host) Do(f func() error) error { return in(h.ns, f) }

// Command returns a command that runs on the host.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), h.ns), name}, args...)...)
}

// Run runs a command on the host to its end, and returns what it printed on both outputs.
func (h *Host) Run(name string, args ...string) (string, error) {
	out, err := h.Command(name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %s %q: %w: %s", h.Name, name, args, err, bytes.TrimSpace(out))
	}
	return string(out), err
}

// State is the state of the agent of this host.
func (h *Host) State() (s agent.State, err error) {
	err = h.Get("/state", &s)
	return s, err
}

// Ready checks once that the agent of this host is ready and sees this number of members,
// itself included, and returns its state.
func (h *Host) Ready(members int) (s agent.State, err error) {
	var r agent.Readiness
	if s, err = h.State(); err == nil {
		err = h.Get("/ready", &r)
	}
	if err == nil && (!r.Ready || len(s.Members) != members) {
		err = fmt.Errorf("%s is not ready: %v, %d members", h.Name, r.Reasons, len(s.Members))
	}
	return s, err
}

// Settled checks once that the agents of all hosts are ready and see each other, and
// returns the host that leads. H is *Host, or a type of a test that embeds it.
func Settled[H interface {
	Ready(members int) (agent.State, error)
}](hosts []H) (leader H, err error) {
	leads := -1
	for i, h := range hosts {
		s, err := h.Ready(len(hosts))
		if err != nil {
			return leader, err
		}
		if s.IsLeader {
			leads = i
		}
	}
	if leads < 0 {
		return leader, errors.New("no host leads")
	}
	return hosts[leads], nil
}

// Get asks the agent of this host for JSON.
func (h *Host) Get(path string, into any) error {
	res, err := h.client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", Port, path))
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, path, err)
	}
	return nil
}

// Ask sends a request from this host.
func (h *Host) Ask(req *http.Request) (*http.Response, error) { return h.client.Do(req) }

// A Program is one that was started on a host.
type Program struct {
	h    *Host
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start starts a program on the host. It ends with the test, at the latest.
func (h *Host) Start(name string, args ...string) *Program {
	h.t.Helper()
	p := &Program{h: h, cmd: h.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = h.t.Output(), h.t.Output()
	must(h.t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	h.t.Cleanup(func() { p.End(syscall.SIGTERM) })
	return p
}

// PID is the number of its process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Signal sends it a signal, unless it has ended.
func (p *Program) Signal(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		p.cmd.Process.Signal(s)
	}
}

// End sends it a signal and waits for its end. It kills one that does not end within a
// minute, and fails the test.
func (p *Program) End(s syscall.Signal) {
	p.h.t.Helper()
	p.Signal(s)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.h.t.Errorf("%s: %s does not end", p.h.Name, p.cmd.Args[2])
		p.Signal(syscall.SIGKILL)
		<-p.done
	}
}
