package keeper

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockNode takes the lock of the node: it waits while another process has it, and
// tells say of that process. patience is for one of another user. Without an error
// there is a lock.
func lockNode(ctx context.Context, cfg *Config, patience time.Duration, say func(error)) (io.Closer, error) {
	sum := sha256.Sum256([]byte(cfg.Cluster + "\x00" + cfg.Node))
	node, err := lock(ctx, fmt.Sprintf("@doyen-keeper-%x", sum[:12]), "runs hooks for "+cfg.Node, patience, say)
	if err != nil {
		return nil, err
	}
	return node, nil
}

// lockAddresses takes the locks of floating addresses, which agents of other names may
// have. With an error it returns those that it has got, by address.
func lockAddresses(ctx context.Context, addresses []string, patience time.Duration, say func(error)) (map[string]io.Closer, error) {
	all := map[string]io.Closer{}
	var errs []error
	for _, ip := range addressIPs(addresses) {
		one, err := lock(ctx, "@doyen-address-"+ip, "has the floating address "+ip, patience, say)
		if err == nil {
			all[ip] = one
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// busyError says which process has a lock.
type busyError struct {
	pid  int32
	busy string
}

func (e *busyError) Error() string {
	return fmt.Sprintf("process %d %s already; waiting for it to end", e.pid, e.busy)
}

// running turns what lockNode says of a lock that is taken into an error if the
// agent behind it still runs, so that waiting would be in vain. It returns nil for
// the keeper of an agent that has ended, and where that cannot be found out.
func running(said error) error {
	busy, ok := errors.AsType[*busyError](said)
	if !ok {
		return nil
	}
	agent := agentOf(int(busy.pid))
	if agent == 0 {
		return nil
	}
	return fmt.Errorf("process %d %s already, and its agent, process %d, still runs: nothing was touched; stop the agent first", busy.pid, busy.busy, agent)
}

// agentOf is the agent that the owner of a lock works for: its parent, if it is
// a keeper, else itself; 0 if that has ended or cannot be found out.
func agentOf(pid int) int {
	proc := func(pid int, file string) string { return fmt.Sprintf("/proc/%d/%s", pid, file) }
	cmdline, err := os.ReadFile(proc(pid, "cmdline"))
	if err != nil || len(cmdline) == 0 { // a process that ends has none
		return 0
	}
	args := strings.Split(string(cmdline), "\x00")
	if len(args) > 1 && args[1] == "release" {
		return 0 // another that waits or releases, as this one
	}
	if len(args) < 2 || args[1] != Command {
		return pid
	}
	stat, err := os.ReadFile(proc(pid, "stat"))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may contain anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil || parent <= 1 {
		return 0
	}
	// An orphan has gone to another program, which collects orphans here.
	own, err := os.Readlink(proc(pid, "exe"))
	theirs, parentErr := os.Readlink(proc(parent, "exe"))
	if err != nil || parentErr != nil || own != theirs {
		return 0
	}
	return parent
}

// lock takes one lock, and waits while another process has it: the keeper of an
// agent that has crashed, releasing, or one that still runs, which does what
// busy says.
//
// A lock is a listening socket in the abstract namespace: it needs no
// directory that can be written, the kernel gives it back however its owner
// ends, its scope is the network namespace, as the scope of addresses is, and a process that
// waits is woken by the connection's end. Any user can take any name there; so
// one who is neither root nor this user is waited for only as long as a hook
// may take, also if it hangs up or writes, and so is one that does not listen.
func lock(ctx context.Context, name, busy string, patience time.Duration, say func(error)) (io.Closer, error) {
	addr := &net.UnixAddr{Name: name, Net: "unix"}
	var until time.Time // the end of the patience; zero: the owner is a keeper
	for said := false; ; {
		lock, err := net.ListenUnix("unix", addr)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("taking the lock %s: %w", name, err)
		}
		owner, conn, err := lockOwner(addr)
		// One that another election of this process gives up is no news.
		if conn != nil && !said && int(owner.Pid) != os.Getpid() {
			said = true
			say(&busyError{owner.Pid, busy})
		}
		switch silent := errors.Is(err, syscall.ECONNREFUSED); {
		case conn != nil && !owner.stranger():
			until = time.Time{}
		case conn != nil && until.IsZero(), silent && until.IsZero():
			until = time.Now().Add(patience)
		}
		if err := awaitEnd(ctx, conn, until); err != nil {
			return nil, err
		}
		if !until.IsZero() && !time.Now().Before(until) {
			return nil, fmt.Errorf("%s keeps the lock %s; going on without it", owner, name)
		}
	}
}

// lockUser is the process that has a lock; the zero value is one that does not listen.
type lockUser struct{ unix.Ucred }

func (u lockUser) stranger() bool { return u.Uid != 0 && int(u.Uid) != os.Geteuid() }

func (u lockUser) String() string {
	if u.Pid == 0 {
		return "a process that does not listen"
	}
	return fmt.Sprintf("process %d of user %d", u.Pid, u.Uid)
}

// lockOwner connects to the owner of the lock; nil if it is being taken or given
// back at this moment, or its owner does not listen (ECONNREFUSED in both cases) or does
// not accept.
func lockOwner(addr *net.UnixAddr) (owner lockUser, conn *net.UnixConn, err error) {
	conn, err = net.DialUnix("unix", nil, addr)
	if err != nil {
		return owner, nil, err
	}
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				owner.Ucred = *c
			}
		})
	}
	return owner, conn, nil
}

// awaitEnd waits until the owner of the lock may have gone, or until the time given, if
// one is. The error is that of ctx.
func awaitEnd(ctx context.Context, conn *net.UnixConn, until time.Time) error {
	if conn != nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		conn.SetReadDeadline(until)
		conn.Read(make([]byte, 1)) // a keeper never writes
	}
	if conn == nil || !until.IsZero() {
		time.Sleep(time.Millisecond) // a stranger may hang up again and again
	}
	return context.Cause(ctx)
}
