package gossip

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// addressGroups are the kernel's news of interfaces, addresses and routes (rtnetlink(7)).
const addressGroups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) |
	1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1)

// watchAddresses returns a channel of capacity one that has an element after the
// interfaces, the addresses or the routes of this host have changed, until done
// is closed. That the lifetime of an address has moved on is no change.
func watchAddresses(done <-chan struct{}) (<-chan struct{}, error) {
	file, err := openAddressNews()
	if err != nil {
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	news, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	changed := make(chan struct{}, 1)
	go func() {
		<-done
		file.Close()
	}()
	go readAddressNews(news, changed)
	return changed, nil
}

func openAddressNews() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: addressGroups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// readAddressNews reads until the socket is closed. What has changed does not matter:
// the state is read anew. An error may be that so much has changed that some of it was
// lost.
func readAddressNews(news syscall.RawConn, changed chan struct{}) {
	var known knownAddresses
	buf := make([]byte, 16<<10)
	_ = news.Read(func(fd uintptr) (done bool) {
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, 0)
			if err == unix.EAGAIN {
				return false
			}
			if err != nil || known.changedBy(buf[:n]) {
				poke(changed)
			}
			if err != nil && err != unix.ENOBUFS && err != unix.EINTR {
				return true
			}
		}
	})
}

// knownAddresses are the addresses that the kernel has told of since one went, without
// their lifetimes. A leader's floating addresses have lifetimes that move on all the time.
type knownAddresses map[string]bool

// maxAddresses bounds the addresses that are remembered.
const maxAddresses = 1024

// changedBy takes in what the kernel tells at once, and reports whether anything but a
// lifetime has changed.
func (k *knownAddresses) changedBy(b []byte) (changed bool) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil || len(messages) == 0 {
		return true
	}
	for i := range messages {
		m := &messages[i]
		text, ok := withoutLifetime(m)
		if ok && (*k)[text] {
			continue
		}
		changed = true
		if !ok || len(*k) >= maxAddresses {
			*k = nil
		}
		if ok {
			if *k == nil {
				*k = knownAddresses{}
			}
			(*k)[text] = true
		}
	}
	return changed
}

// withoutLifetime is a message that tells of an address, without what tells of its
// lifetime; not ok: it is of another kind.
func withoutLifetime(m *syscall.NetlinkMessage) (text string, ok bool) {
	if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return "", false
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return "", false
	}
	text = string(m.Data[:unix.SizeofIfAddrmsg])
	for _, a := range attributes {
		if a.Attr.Type != unix.IFA_CACHEINFO {
			text += fmt.Sprintf("%d:%x,", a.Attr.Type, a.Value)
		}
	}
	return text, true
}
