//go:build linux

package floatingip

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"doyen/agent/clock"

	"golang.org/x/sys/unix"
)

// What userfaultfd(2) and ioctl_userfaultfd(2) call UFFD_API, UFFDIO_API,
// UFFDIO_REGISTER, UFFDIO_REGISTER_MODE_MISSING and UFFDIO_ZEROPAGE.
const (
	uffdAPI         = 0xaa
	uffdioAPI       = 0xc018aa3f
	uffdioRegister  = 0xc020aa00
	uffdModeMissing = 1
	uffdioZeropage  = 0xc020aa04
)

// holdRoutingLock has the kernel hold its lock of the network's configuration
// (rtnl_lock) until release is called: ETHTOOL_GFEATURES reads how many answers it may
// give while it holds the lock (dev_ethtool in net/ethtool/ioctl.c), and that number
// stands in a page that is not there yet.
func holdRoutingLock(t *testing.T) (release func()) {
	t.Helper()
	page := unix.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		cannotRun(t, "this kernel, or this container, offers no userfaultfd: "+errno.Error())
	}
	if errno != 0 {
		t.Fatalf("userfaultfd: %v", errno)
	}
	control := func(request uintptr, argument unsafe.Pointer) {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
			t.Fatalf("userfaultfd, request %#x: %v", request, errno)
		}
	}
	missing := uintptr(unsafe.Pointer(&memory[page]))
	control(uffdioAPI, unsafe.Pointer(&[3]uint64{uffdAPI}))
	control(uffdioRegister, unsafe.Pointer(&[4]uint64{uint64(missing), uint64(page), uffdModeMissing}))
	// struct ethtool_gfeatures: the command ends the first page, the size begins the second.
	question := unsafe.Pointer(&memory[page-4])
	*(*uint32)(question) = unix.ETHTOOL_GFEATURES
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: question}
	copy(request.name[:], "lo")
	var ended sync.WaitGroup
	ended.Go(func() {
		onOwnThread(func() {
			s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(s)
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
				t.Errorf("ETHTOOL_GFEATURES: %v", errno)
			}
		})
	})
	// The fault says that the lock is held.
	var event [32]byte
	if n, err := unix.Read(int(fd), event[:]); err != nil || n != len(event) {
		t.Fatalf("userfaultfd: read %d, %v", n, err)
	}
	return func() {
		control(uffdioZeropage, unsafe.Pointer(&[4]uint64{uint64(missing), uint64(page)}))
		ended.Wait()
		unix.Close(int(fd))
		must(t, unix.Munmap(memory))
	}
}

// While something else holds the kernel's lock of the network's configuration, clients
// reach the addresses of a leader, and one that ends is cut off at once.
func TestRoutingLockDelaysNoRenewal(t *testing.T) {
	a, b := pair(t)
	s := a.run("a")
	a.echo()
	const lease = 1500 * time.Millisecond // less than the lifetime of the addresses, 2 s
	must(t, s.Take(clock.Boot()+lease))
	release := holdRoutingLock(t)
	late := time.AfterFunc(20*time.Second, release) // if one of the calls below waits for the lock
	var check sync.WaitGroup
	check.Go(func() { _ = s.Check() }) // what it finds does not matter here
	within(t, "the check waits for the lock", func() bool {
		if s.Set.mu.TryLock() {
			s.Set.mu.Unlock()
			return false
		}
		return true
	})
	must(t, s.Renew(clock.Boot()+time.Minute))
	time.Sleep(lease)
	if !b.asks(float4, 10*time.Second) {
		t.Error("the address does not answer once the lease before the renewal is over")
	}
	must(t, s.Cut())
	if b.asks(float4, 300*time.Millisecond) {
		t.Error("the address answers after it has been cut off")
	}
	if !late.Stop() {
		t.Fatal("the renewal or the cut-off has waited for the lock")
	}
	release()
	check.Wait()
}
