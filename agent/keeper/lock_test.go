//go:build linux

package keeper

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asStranger runs f on a thread of another user, which ends with it.
func asStranger(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		cannotRun(t, "needs root to become another user")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		const other = 65534
		// Not unix.Setresuid, which is for all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, other, other, other); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}

// Any user can take any lock, and must not keep the keeper of another from its release
// at start: that one waits no longer than a hook may take, whether the stranger listens,
// hangs up, writes, or does not even listen.
func TestLockOfAStrangerIsNotWaitedForForEver(t *testing.T) {
	listen := func(serve func(net.Conn)) func(*net.UnixAddr) (io.Closer, error) {
		return func(at *net.UnixAddr) (io.Closer, error) {
			l, err := net.ListenUnix("unix", at)
			if err != nil || serve == nil {
				return l, err
			}
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					serve(c)
					c.Close()
				}
			}()
			return l, nil
		}
	}
	bound := func(at *net.UnixAddr) (io.Closer, error) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), at.Name), unix.Bind(fd, &unix.SockaddrUnix{Name: at.Name})
	}
	for name, test := range map[string]struct {
		take func(*net.UnixAddr) (io.Closer, error)
		want string
	}{
		"listens":       {listen(nil), "of user 65534 keeps the lock @"},
		"hangs up":      {listen(func(net.Conn) {}), "of user 65534 keeps the lock @"},
		"writes":        {listen(func(c net.Conn) { c.Write([]byte{0}) }), "of user 65534 keeps the lock @"},
		"never listens": {bound, "a process that does not listen keeps the lock @"},
	} {
		t.Run(name, func(t *testing.T) {
			at := &net.UnixAddr{Name: fmt.Sprintf("@doyen-test-%d", os.Getpid()), Net: "unix"}
			var stranger io.Closer
			asStranger(t, func() {
				var err error
				if stranger, err = test.take(at); err != nil {
					t.Error(err)
				}
			})
			if t.Failed() {
				return
			}
			defer stranger.Close()
			ctx, cancel := context.WithTimeout(t.Context(), limit/3)
			defer cancel()
			if l, err := lock(ctx, at.Name, "tests", 50*ms, func(error) {}); l != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want the stranger named, got %v, %v", l, err)
			}
		})
	}
}

// The parent of a keeper is its agent, unless it is another program, which has taken
// over the orphan.
func TestAgentOfAnOrphan(t *testing.T) {
	dir := t.TempDir()
	// A shell that runs this file has the command line of a keeper.
	if err := os.WriteFile(filepath.Join(dir, Command), []byte("echo $$ $PPID >$1.tmp; mv $1.tmp $1; read _\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		line  string
		agent func(parent int) int
	}{
		"agent":  {"sh " + Command + " agent", func(parent int) int { return parent }},
		"orphan": {"exec sh " + Command + " orphan", func(int) int { return 0 }},
	} {
		cmd := exec.Command("sh", "-c", test.line+"; :")
		cmd.Dir = dir
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var keeper, parent int
		if _, err := fmt.Sscan(awaitText(t, filepath.Join(dir, name)), &keeper, &parent); err != nil {
			t.Error(err)
		}
		if got, want := agentOf(keeper), test.agent(parent); got != want {
			t.Errorf("%s: want %d as the agent of %d, which is a child of %d, got %d", name, want, keeper, parent, got)
		}
		in.Close()
		if err := cmd.Wait(); err != nil && name == "agent" {
			t.Error(err)
		}
	}
}
