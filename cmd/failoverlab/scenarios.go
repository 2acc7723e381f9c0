//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// scenario is something that goes wrong, and how it is put right again.
type scenario struct {
	name, about string
	victim      role
	inject      func(l *lab, v *host) error
	heal        func(l *lab, v *host) error
	// gone: no program of the victim runs, so no program can take its address off.
	gone bool
	// lasts is how long the fault lasts at least; if no host is to take over
	// (steady), exactly.
	lasts  time.Duration
	steady bool
	// calm: nothing should happen at all, for as long as the command line says.
	calm bool
	// cable: one of a series that takes long.
	cable bool
	// grey: a fault that comes and goes, or loses only some packets, for as long as
	// the command line says.
	grey bool
}

// role is which host a fault hits.
type role int

const (
	leader role = iota
	follower
	noVictim
)

// The times that faults last: long enough to see another host settled, and for
// dead hosts that the address has gone within three seconds.
const (
	briefly = time.Second
	longer  = 4 * time.Second
)

// cableTimes are how long cables are pulled, besides briefly. A host forgets the
// others after some seconds without a carrier, and is forgotten by them.
var cableTimes = []time.Duration{5 * time.Second, 8 * time.Second, 11 * time.Second, time.Minute}

// scenarios is everything that can be done to a subject.
var scenarios = slices.Concat(shortScenarios, cableScenarios(), greyScenarios())

func cableScenarios() (list []*scenario) {
	for _, d := range cableTimes {
		list = append(list,
			&scenario{name: fmt.Sprintf("follower-cable-%.0fs", d.Seconds()), about: fmt.Sprintf("a follower's link loses its carrier for %v", d),
				victim: follower, inject: unplug, heal: plugIn, lasts: d, steady: true, cable: true},
			&scenario{name: fmt.Sprintf("leader-cable-%.0fs", d.Seconds()), about: fmt.Sprintf("the leader's link loses its carrier for %v", d),
				inject: unplug, heal: plugIn, lasts: d, cable: true})
	}
	return list
}

var shortScenarios = []*scenario{
	{name: "stop", about: "the leader is stopped in good order (SIGTERM)", inject: stop, heal: start, lasts: briefly},
	{name: "kill-agent", about: "the leader's deciding process is killed (kill -9)", inject: one(unix.SIGKILL), heal: start, lasts: briefly},
	{name: "kill-all", about: "all of the leader's processes are killed at once (kill -9)", inject: killAll, heal: start, gone: true, lasts: longer},
	{name: "freeze-agent", about: "the leader's deciding process is stopped (SIGSTOP)", inject: one(unix.SIGSTOP), heal: all(unix.SIGCONT), lasts: briefly},
	{name: "freeze-all", about: "all of the leader's processes are stopped (SIGSTOP)", inject: all(unix.SIGSTOP), heal: all(unix.SIGCONT), gone: true, lasts: longer},
	{name: "host-death", about: "the leader's host dies: link down, then killed; it boots again", inject: die, heal: boot, gone: true, lasts: briefly},
	{name: "link-cut", about: "the leader's link loses its carrier", inject: unplug, heal: plugIn, lasts: briefly},
	{name: "leader-isolated", about: "nothing passes between the leader and the other hosts and the client; its carrier stays", inject: isolate, heal: mend, lasts: briefly},
	{name: "leader-partitioned", about: "nothing passes between the leader and the other hosts; the client reaches all", inject: partition, heal: mend, lasts: briefly},
	{name: "leader-mute", about: "nothing passes from the leader to the other hosts and the client", inject: mute, heal: mend, lasts: briefly},
	{name: "leader-deaf", about: "nothing passes from the other hosts and the client to the leader", inject: deafen, heal: mend, lasts: briefly},
	{name: "follower-isolated", about: "as leader-isolated, for a follower", victim: follower, inject: isolate, heal: mend, lasts: longer, steady: true},
	{name: "follower-partitioned", about: "as leader-partitioned, for a follower", victim: follower, inject: partition, heal: mend, lasts: longer, steady: true},
	{name: "follower-stop", about: "as stop, for a follower", victim: follower, inject: stop, heal: start, lasts: longer, steady: true},
	{name: "follower-kill", about: "as kill-all, for a follower", victim: follower, inject: killAll, heal: start, lasts: longer, steady: true},
	{name: "follower-freeze", about: "as freeze-all, for a follower", victim: follower, inject: all(unix.SIGSTOP), heal: all(unix.SIGCONT), lasts: longer, steady: true},
	{name: "follower-restart", about: "a follower is killed and started again at once", victim: follower, inject: killAndStart, heal: nothing, lasts: longer, steady: true},
	{name: "restart", about: "all hosts are stopped in good order and started again", victim: noVictim, inject: restart, heal: nothing, lasts: briefly},
	{name: "loss-10", about: "10 % of the packets between the hosts are lost", victim: noVictim, inject: lose(10), heal: mend, lasts: 10 * time.Second, steady: true},
	{name: "loss-30", about: "30 % of the packets between the hosts are lost", victim: noVictim, inject: lose(30), heal: mend, lasts: 10 * time.Second, steady: true},
	{name: "calm-hog", about: "every core is kept busy by two programs of ordinary priority", victim: noVictim, inject: startHogs, heal: endHogs, steady: true, calm: true},
	{name: "calm-loss-10", about: "10 % loss between the hosts, for long", victim: noVictim, inject: lose(10), heal: mend, steady: true, calm: true},
	{name: "calm-loss-30", about: "30 % loss between the hosts, for long", victim: noVictim, inject: lose(30), heal: mend, steady: true, calm: true},
}

func stop(_ *lab, v *host) error { return v.signal(unix.SIGTERM) }

// start starts the subject again wherever its main process has ended.
func start(l *lab, v *host) error {
	if v.main.running() {
		// A main process that survives its child starts another by itself; one
		// that was told to stop may still be at it.
		select {
		case <-v.main.ended:
		case <-time.After(5 * time.Second):
			return nil
		}
	}
	return l.start(v)
}

func one(s syscall.Signal) func(*lab, *host) error {
	return func(l *lab, v *host) error {
		pid, err := l.subject.decider(v)
		if err != nil {
			return err
		}
		return os.NewSyscallError("kill", unix.Kill(pid, s))
	}
}

func all(s syscall.Signal) func(*lab, *host) error {
	return func(_ *lab, v *host) error {
		v.signalAll(s)
		return nil
	}
}

func killAll(_ *lab, v *host) error {
	v.kill()
	return nil
}

func killAndStart(l *lab, v *host) error {
	v.kill()
	return l.start(v)
}

func die(l *lab, v *host) error {
	err := l.net.unplug(v.node)
	v.kill()
	return err
}

func boot(l *lab, v *host) error {
	return errors.Join(v.clean(), l.net.plugIn(v.node), l.start(v))
}

func unplug(l *lab, v *host) error { return l.net.unplug(v.node) }
func plugIn(l *lab, v *host) error { return l.net.plugIn(v.node) }
func mend(l *lab, _ *host) error   { return l.net.cables.set() }
func nothing(*lab, *host) error    { return nil }

func isolate(l *lab, v *host) error {
	return l.net.cables.set(both(v.node, append(l.others(v), l.net.client)...)...)
}

func partition(l *lab, v *host) error { return l.net.cables.set(both(v.node, l.others(v)...)...) }

func mute(l *lab, v *host) error {
	return l.net.cables.set(out(v.node, append(l.others(v), l.net.client)...)...)
}

func deafen(l *lab, v *host) error {
	return l.net.cables.set(in(v.node, append(l.others(v), l.net.client)...)...)
}

func lose(percent uint32) func(*lab, *host) error {
	return func(l *lab, _ *host) error { return l.net.cables.set(lossy(percent, l.others(nil)...)...) }
}

func restart(l *lab, _ *host) error {
	for _, h := range l.net.hosts {
		if err := h.signal(unix.SIGTERM); err != nil {
			return err
		}
	}
	for _, h := range l.net.hosts {
		select {
		case <-h.main.ended:
		case <-time.After(20 * time.Second):
			return fmt.Errorf("%s does not end after SIGTERM", h.name)
		}
	}
	for _, h := range l.net.hosts {
		if err := l.start(h); err != nil {
			return err
		}
	}
	return nil
}

func startHogs(l *lab, _ *host) error {
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command("/proc/self/exe", hogCommand)
		if err := startChild(cmd); err != nil {
			return fmt.Errorf("starting a hog: %w", err)
		}
		l.hogs = append(l.hogs, cmd)
	}
	return nil
}

func endHogs(l *lab, _ *host) error {
	var errs []error
	for _, cmd := range l.hogs {
		errs = append(errs, cmd.Process.Kill())
		waitChild(cmd) // killed: its status is known
	}
	l.hogs = nil
	return errors.Join(errs...)
}
