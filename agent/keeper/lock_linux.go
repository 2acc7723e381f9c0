package keeper

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockNode takes the node-wide lock, and waits while another process has it:
// the keeper of an agent that has crashed, releasing, or one that still runs.
// say is told once whom it waits for.
//
// The lock is a listening socket in the abstract namespace: nobody needs a
// directory that can be written, the kernel gives it back however its owner
// ends, its scope is the network namespace, as that of addresses is, and whoever
// waits is woken by the connection's end. Any user can take any name there; so
// one who is neither root nor this user is waited for only as long as a hook
// may take.
func lockNode(ctx context.Context, cfg *Config, say func(error)) (io.Closer, error) {
	sum := sha256.Sum256([]byte(cfg.Cluster + "\x00" + cfg.Node))
	addr := &net.UnixAddr{Name: fmt.Sprintf("@doyen-keeper-%x", sum[:12]), Net: "unix"}
	for said := false; ; {
		lock, err := net.ListenUnix("unix", addr)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("taking the node-wide lock: %w", err)
		}
		owner, conn := lockOwner(addr)
		if conn != nil && !said {
			said = true
			say(fmt.Errorf("process %d runs hooks for %s already; waiting for it to end", owner.Pid, cfg.Node))
		}
		if err := awaitEnd(ctx, conn, owner, cfg.HookTimeout); err != nil {
			return nil, err
		}
	}
}

// lockOwner connects to whoever has the lock; nil if it is being taken or given
// back at this moment.
func lockOwner(addr *net.UnixAddr) (owner unix.Ucred, conn *net.UnixConn) {
	conn, err := net.DialUnix("unix", nil, addr)
	if err != nil {
		return owner, nil
	}
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				owner = *c
			}
		})
	}
	return owner, conn
}

// awaitEnd waits until the owner of the lock has gone; the error says why that
// is not worth waiting for.
func awaitEnd(ctx context.Context, conn *net.UnixConn, owner unix.Ucred, patience time.Duration) error {
	if conn == nil {
		time.Sleep(time.Millisecond)
		return context.Cause(ctx)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	stranger := owner.Uid != 0 && int(owner.Uid) != os.Geteuid()
	if stranger {
		conn.SetReadDeadline(time.Now().Add(patience))
	}
	_, err := conn.Read(make([]byte, 1)) // nobody ever writes
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stranger && errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("process %d of user %d keeps the node-wide lock; going on without it", owner.Pid, owner.Uid)
	}
	return nil
}
