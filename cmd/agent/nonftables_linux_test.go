package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutNftables, as the first argument of the tests' program, makes it run the
// rest as a command on a kernel that offers no nftables.
const withoutNftables = "without-nftables"

func init() {
	if len(os.Args) < 3 || os.Args[1] != withoutNftables {
		return
	}
	runtime.LockOSThread()
	err := refuseNetfilter()
	path := ""
	if err == nil {
		path, err = exec.LookPath(os.Args[2])
	}
	if err == nil {
		err = syscall.Exec(path, os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// refuseNetfilter has the kernel answer this thread, and what it executes, that it
// knows no netlink of netfilter, as one built without it does.
func refuseNetfilter() error {
	// Offsets in struct seccomp_data: the number of the call, and the lower half
	// of its first and third argument on a little-endian machine.
	const number, domain, protocol = 0, 16, 32
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	end := func(verdict uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
	}
	filter := []unix.SockFilter{
		load(number), unless(unix.SYS_SOCKET, 5),
		load(domain), unless(unix.AF_NETLINK, 3),
		load(protocol), unless(unix.NETLINK_NETFILTER, 1),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
		end(unix.SECCOMP_RET_ALLOW),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// On a kernel without nftables the address is held all the same; its lifetime alone
// takes it off when agent and keeper are dead, and a finding says so.
func TestFloatingAddressWithoutNftables(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := newLAN(t, 2)
	l.secondNetwork()
	h, client := l.hosts[0], l.hosts[1]
	l.nodes = l.nodes[:1]
	h.within = append(slices.Clone(h.within), exe, withoutNftables)
	if out := h.run("nft", "list", "tables"); !strings.Contains(out, "not supported") {
		t.Fatalf("nftables is there all the same: %s", out)
	}
	h.start()
	l.eventually(func() error {
		if s := h.state(); !s.IsLeader || len(s.Addresses) != 1 || !s.Addresses[0].Held {
			return fmt.Errorf("the address is not taken: %+v", s)
		}
		return client.answered()
	})
	before := h.state()
	found := false
	for _, f := range before.Findings {
		found = found || f.What == "floating-ip-no-nftables"
	}
	if !found || !poll(func() bool { return strings.Contains(h.log(), "floating-ip-no-nftables") }) {
		t.Errorf("want a finding and a line in the log, got %+v and\n%s", before.Findings, h.log())
	}
	// Longer than any lifetime that the address is given.
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := client.answered(); err != nil {
			t.Fatal(err)
		}
	}
	if after := h.state(); after.Term != before.Term || *after.KeeperPID != *before.KeeperPID {
		t.Errorf("term %d under keeper %d became term %d under keeper %d", before.Term, *before.KeeperPID, after.Term, *after.KeeperPID)
	}
	h.killBoth()
	l.eventually(func() error {
		if h.holds() {
			return fmt.Errorf("the address stays although agent and keeper are dead")
		}
		return nil
	})
}
