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
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(eth0, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		var errs []error
		for _, a := range addrs {
			if a.IP.Equal(floatIP.AsSlice()) {
				errs = append(errs, netlink.AddrDel(eth0, &netlink.Addr{IPNet: a.IPNet}))
			}
		}
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		conn.FlushRuleset()
		return errors.Join(append(errs, conn.Flush())...)
	})
}
