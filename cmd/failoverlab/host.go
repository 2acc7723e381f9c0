//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// host is a node on which a subject runs.
type host struct {
	*node
	index int
	main  *process // the agent, or keepalived
}

// process is the main process of a subject on a host.
type process struct {
	pid   int
	ended chan struct{}
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// start runs a subject's program on the host.
func (h *host) start(cmd *exec.Cmd) error {
	if h.main.running() {
		return fmt.Errorf("%s runs a subject already", h.name)
	}
	if err := h.ownRun(cmd); err != nil {
		return fmt.Errorf("preparing /run of %s: %w", h.name, err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.do(func() error { return startChild(cmd) }); err != nil {
		return fmt.Errorf("starting %s on %s: %w", filepath.Base(cmd.Path), h.name, err)
	}
	p := &process{pid: cmd.Process.Pid, ended: make(chan struct{})}
	h.main = p
	go func() {
		waitChild(cmd) // how it ended is for its log to tell
		close(p.ended)
	}()
	return nil
}

// ownRun gives a program the /run of its host, which stays the same from one
// start to the next: what an agent keeps there is its host's, not the lab's.
// It outlasts boot too, since the lab's hosts have been up for as long as the
// machine, and an agent may go by that.
func (h *host) ownRun(cmd *exec.Cmd) error {
	var ns unix.Stat_t
	if err := unix.Fstat(int(h.ns), &ns); err != nil {
		return err
	}
	dir := filepath.Join(filesDir, fmt.Sprintf("run-%d", ns.Ino))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := append([]string{"-m", "sh", "-c", `mount --bind "$0" /run && exec "$@"`, dir, cmd.Path}, cmd.Args[1:]...)
	inside := exec.Command("unshare", args...)
	cmd.Path, cmd.Args, cmd.Err = inside.Path, inside.Args, inside.Err
	return nil
}

// signal sends a signal to the main process.
func (h *host) signal(s syscall.Signal) error {
	if !h.main.running() {
		return fmt.Errorf("the subject on %s has ended by itself", h.name)
	}
	return os.NewSyscallError("kill", unix.Kill(h.main.pid, s))
}

// signalAll sends a signal to every process on the host.
func (h *host) signalAll(s syscall.Signal) {
	for _, pid := range h.pids() {
		unix.Kill(pid, s) // it may have just ended
	}
}

// kill ends every process on the host at one instant: stopped first, none sees
// another die.
func (h *host) kill() {
	h.signalAll(syscall.SIGSTOP)
	for end := time.Now().Add(5 * time.Second); len(h.pids()) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		h.signalAll(syscall.SIGKILL)
	}
	if h.main.running() {
		<-h.main.ended
	}
}

// pids lists the processes in the host's network namespace.
func (h *host) pids() []int {
	var own unix.Stat_t
	if unix.Fstat(int(h.ns), &own) != nil {
		return nil
	}
	var list []int
	for _, pid := range processes() {
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil && st.Ino == own.Ino {
			list = append(list, pid)
		}
	}
	return list
}

// clean does what a reboot does: no floating address, no rules.
func (h *host) clean() error {
	return h.do(func() error {
		eth0, floats, err := floatsHere()
		if err != nil {
			return err
		}
		var errs []error
		for _, a := range floats {
			errs = append(errs, netlink.AddrDel(eth0, &a))
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		conn.FlushRuleset()
		return errors.Join(append(errs, conn.Flush())...)
	})
}

// floatsHere finds eth0 of this namespace, and the floating address on it with
// any prefixes.
func floatsHere() (eth0 netlink.Link, floats []netlink.Addr, err error) {
	if eth0, err = netlink.LinkByName("eth0"); err != nil {
		return nil, nil, err
	}
	addrs, err := netlink.AddrList(eth0, netlink.FAMILY_V4)
	for _, a := range addrs {
		if a.IP.Equal(floatIP.AsSlice()) {
			floats = append(floats, netlink.Addr{IPNet: a.IPNet})
		}
	}
	return eth0, floats, err
}
