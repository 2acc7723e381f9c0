package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/cmd/internal/testrun"
)

// floatingFlag is the floating address as --floating-ip takes it.
const floatingFlag = floating + "/24@eth0"

// answers reports whether the floating address answers TCP clients on h.
func (h *host) answers() bool {
	return h.run("curl", "-s", "-m", "2", "http://"+floating+":4000/ping") == "OK"
}

// run runs a command on a host, scheduled as the agents are, and returns what it prints, or
// why it failed.
func (h *host) run(args ...string) string {
	line := append(slices.Clone(h.within), args...)
	cmd := exec.Command(line[0], line[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := testrun.First(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Sprintf("%v: %s", err, &out)
	}
	return out.String()
}

// addresses lists the IPv4 addresses of eth0, as ADDR/LEN.
func (h *host) addresses() (list []string) {
	for line := range strings.Lines(h.run("ip", "-4", "-o", "addr", "show", "dev", "eth0")) {
		if f := strings.Fields(line); len(f) > 3 {
			list = append(list, f[3])
		}
	}
	return list
}

// holds reports whether a host has the floating address.
func (h *host) holds() bool {
	return slices.ContainsFunc(h.addresses(), func(a string) bool { return strings.HasPrefix(a, floating+"/") })
}

// holder waits until exactly one host leads and has the floating address, and the others
// follow it under the same term.
func (l *lan) holder() *host {
	l.t.Helper()
	var leader *host
	l.eventually(func() error {
		leader = nil
		term := l.hosts[0].state().Term
		for _, h := range l.hosts {
			s := h.state()
			if s.Term != term {
				return fmt.Errorf("%s: got term %d, want %d", h.name, s.Term, term)
			}
			if s.IsLeader != h.holds() || s.IsLeader && leader != nil {
				return fmt.Errorf("%s: leads %v, has the address %v", h.name, s.IsLeader, h.holds())
			}
			if s.IsLeader {
				leader = h
			}
		}
		if leader == nil {
			return fmt.Errorf("no member leads")
		}
		return nil
	})
	return leader
}

// startFloating starts an agent on every host of a new LAN of three.
func startFloating(t *testing.T, more ...string) *lan {
	l := newLAN(t, 3)
	for _, h := range l.hosts {
		h.args = append([]string{"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--floating-ip", floatingFlag}, more...)
		h.start()
	}
	return l
}

// TestFloatingAddressRemovedComesBack removes the address of the leader again and
// again, and flushes the host's nftables: neither costs more than the moment.
func TestFloatingAddressRemovedComesBack(t *testing.T) {
	t.Parallel()
	// A lease that no busy machine lets end: the member is to lead on.
	l := startFloating(t, "--voters", "seeds", "--check-interval", "0s", "--lease", "5s")
	h := l.holder()
	var before agent.State
	l.eventually(func() error { // the kernel has the address before the agent is told
		if before = h.state(); len(before.Addresses) != 1 || !before.Addresses[0].Held || before.Addresses[0].Interface != "eth0" {
			return fmt.Errorf("want the address held, got %+v", before.Addresses)
		}
		return nil
	})
	var took []time.Duration
	for round := range 50 {
		began := time.Now()
		ip(t, "-n", h.ns, "addr", "del", floating+"/24", "dev", "eth0")
		if !poll(h.holds) {
			t.Fatalf("round %d: the address has not come back; log:\n%s", round, h.log())
		}
		took = append(took, time.Since(began))
		if round%10 == 9 {
			h.run("nft", "flush", "ruleset")
		}
	}
	slices.Sort(took)
	t.Logf("address back after a median of %v, at worst %v, each with the time of two ip commands", took[25], took[49])
	after := h.state()
	if after.Term != before.Term || after.KeeperPID == nil || *after.KeeperPID != *before.KeeperPID || !after.IsLeader {
		t.Errorf("want the same term and keeper: before %d %v, after %d %v", before.Term, before.KeeperPID, after.Term, after.KeeperPID)
	}
	if !l.hosts[(slices.Index(l.hosts, h)+1)%3].answers() {
		t.Error("want the address to answer clients")
	}
	l.eventually(func() error {
		var v struct {
			Verdict struct{ Findings []agent.Finding }
		}
		h.get("/diag", &v)
		for _, f := range v.Verdict.Findings {
			if f.What == "floating-ip-removed" && f.Member == h.name {
				return nil
			}
		}
		return fmt.Errorf("want the finding in /diag, got %+v", v)
	})
	for _, want := range []string{"floating addresses taken", "floating-ip-removed", "floating-ip-tables-removed"} {
		l.eventually(func() error {
			if log := h.log(); !strings.Contains(log, want) {
				return fmt.Errorf("want %q in the log, got:\n%s", want, log)
			}
			return nil
		})
	}
	l.eventually(func() error {
		metrics := h.run("curl", "-s", "http://"+h.name+"/metrics")
		for _, want := range []string{
			`doyen_floating_address_held{address="10.88.0.100/24",election="group",interface="eth0"} 1`,
			`doyen_floating_address_events_total{election="group",what="put-back"} 50`,
		} {
			if !strings.Contains(metrics, want) {
				return fmt.Errorf("want %s in /metrics, got %s", want, metrics)
			}
		}
		return nil
	})
}

// TestAddressOfAKeeperThatHungIsNotHeld stops the leader's keeper, which the agent
// replaces, and takes the address off meanwhile, as the kernel does at the end of a
// lifetime: the member must not go on saying that it has the address.
func TestAddressOfAKeeperThatHungIsNotHeld(t *testing.T) {
	t.Parallel()
	l := startFloating(t, "--voters", "seeds")
	h := l.holder()
	before := h.state()
	if before.KeeperPID == nil {
		t.Fatal("keeper_pid: got null, want the keeper's")
	}
	if err := syscall.Kill(*before.KeeperPID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ip(t, "-n", h.ns, "addr", "del", floating+"/24", "dev", "eth0")
	l.eventually(func() error {
		if s := h.state(); s.KeeperPID == nil || *s.KeeperPID == *before.KeeperPID {
			return fmt.Errorf("want another keeper, got %v", s.KeeperPID)
		}
		return nil
	})
	l.eventually(func() error {
		for _, h := range l.hosts {
			s := h.state()
			if len(s.Addresses) != 1 || s.Addresses[0].Held != h.holds() {
				return fmt.Errorf("%s: has the address %v, and says %+v; log:\n%s", h.name, h.holds(), s.Addresses, h.log())
			}
		}
		return nil
	})
}

// TestCleanStopLeavesNothing stops a leader in good order, again and again: its
// keeper must live to take the address and the tables away.
func TestCleanStopLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newLAN(t, 1).hosts[0]
	h.args = []string{"--lone-wait", "0s", "--floating-ip", floatingFlag}
	own := h.addresses()
	for round := range 20 {
		h.start()
		if !poll(h.holds) {
			t.Fatalf("round %d: the address is not taken", round)
		}
		h.signal(syscall.SIGTERM)
		if code := h.wait(); code != 0 {
			t.Errorf("round %d: want exit code 0, got %d", round, code)
		}
		if got := h.run("nft", "list", "tables"); got != "" || !slices.Equal(h.addresses(), own) {
			t.Fatalf("round %d: want nothing left, got %q and %v", round, got, h.addresses())
		}
	}
}

// TestSecondAgentOfTheSameAddressTouchesNothing starts a second agent of the same
// name, and one of another, on the leader's host and stops it.
func TestSecondAgentOfTheSameAddressTouchesNothing(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	one, client := l.hosts[0], l.hosts[1]
	one.args = []string{"--lone-wait", "0s", "--floating-ip", floatingFlag, "--name", "same"}
	one.start()
	if !poll(client.answers) {
		t.Fatal("no answer at the start")
	}
	network := one.network()
	for _, name := range []string{"same", "another"} {
		second := exec.Command("ip", "netns", "exec", one.ns, l.exe, "--bind-port", "4001", "--name", name, "--lone-wait", "0s", "--floating-ip", floatingFlag)
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if !client.answers() {
				t.Fatalf("no answer beside a second agent named %s", name)
			}
		}
		if got := one.network(); got != network {
			t.Errorf("beside a second agent named %s the network is\n%s\nwant\n%s", name, got, network)
		}
		second.Process.Signal(syscall.SIGTERM)
		second.Wait()
		for range 5 {
			if !client.answers() {
				t.Fatalf("no answer after the end of a second agent named %s", name)
			}
		}
	}
	if !one.state().IsLeader || !one.holds() {
		t.Error("want the first agent to lead and hold the address")
	}
}

// TestFloatingAddressThatIsAHostsOwn gives three hosts the address of the first
// one as their floating address.
func TestFloatingAddressThatIsAHostsOwn(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	before := l.hosts[0].addresses()
	for _, h := range l.hosts {
		h.args = []string{"--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--floating-ip", "10.88.0.1/32@eth0"}
		h.start()
	}
	first := l.hosts[0]
	for _, h := range l.hosts {
		l.eventually(func() error {
			for _, f := range h.state().Findings {
				if f.What == "floating-ip-own" && strings.Contains(f.Evidence, "10.88.0.1") {
					return nil
				}
			}
			return fmt.Errorf("%s: want the finding, got %+v", h.name, h.state().Findings)
		})
	}
	for _, h := range l.hosts {
		if h.state().Eligible {
			t.Errorf("%s: want no candidate", h.name)
		}
		if h != first && slices.Contains(h.addresses(), "10.88.0.1/32") {
			t.Errorf("%s has taken another host's own address", h.name)
		}
	}
	for _, h := range l.hosts {
		h.signal(syscall.SIGTERM)
		h.wait()
	}
	if got := first.addresses(); !slices.Equal(got, before) {
		t.Errorf("want the host's own addresses as they were, %v, got %v", before, got)
	}
}
