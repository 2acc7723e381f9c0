package floatingip

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// addressGroups are the groups of rtnetlink that tell of addresses.
const addressGroups = 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1)

// subscribeAddresses does what the library's AddrSubscribe does, with a buffer that is kept,
// and without what the socket with the port given has changed, if it is not 0: each second
// all lifetimes are moved on there.
func subscribeAddresses(port uint32) func(updates chan<- netlink.AddrUpdate, done <-chan struct{}) error {
	return func(updates chan<- netlink.AddrUpdate, done <-chan struct{}) error {
		file, err := openAddressNews(port)
		if err != nil {
			return err
		}
		news, err := file.SyscallConn()
		if err != nil {
			return errors.Join(err, file.Close())
		}
		go func() {
			<-done
			file.Close()
		}()
		go tellAddressNews(news, updates)
		return nil
	}
}

func openAddressNews(port uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	if port != 0 {
		if err := ignorePort(fd, port); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: addressGroups}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), file.Close())
	}
	return file, nil
}

// ignorePort has the kernel leave out the news of addresses that are there, also from
// before, where the socket with this port made the change.
func ignorePort(fd int, port uint32) error {
	// The filter reads numbers in network order.
	native16 := func(v uint16) uint32 {
		return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v)))
	}
	native32 := func(v uint32) uint32 { return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, v)) }
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 2}, // the kind of the message
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: native16(unix.RTM_NEWADDR), SkipTrue: 3},
		bpf.LoadAbsolute{Off: 12, Size: 4}, // the port
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: native32(port), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1<<32 - 1},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for n, p := range program {
		filter[n] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	return os.NewSyscallError("setsockopt", err)
}

// tellAddressNews reads until the socket is closed, or until so much has changed that some of
// it was lost.
func tellAddressNews(news syscall.RawConn, updates chan<- netlink.AddrUpdate) {
	defer close(updates)
	buf := make([]byte, 4096) // for one address
	_ = news.Read(func(fd uintptr) (done bool) {
		for {
			n, from, err := unix.Recvfrom(int(fd), buf, 0)
			if err == unix.EAGAIN {
				return false
			}
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return true
			}
			if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 || n < addressHeader {
				continue
			}
			kind := binary.NativeEndian.Uint16(buf[4:])
			if kind != unix.RTM_NEWADDR && kind != unix.RTM_DELADDR {
				continue
			}
			a := readAddress(buf[:n])
			updates <- netlink.AddrUpdate{
				LinkAddress: *ipNet(a.prefix()), LinkIndex: a.link, Flags: int(a.flags), ValidLft: int(a.valid), NewAddr: kind == unix.RTM_NEWADDR,
			}
		}
	})
}
