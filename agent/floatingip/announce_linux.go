package floatingip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// series is when the addresses are announced again after an announcement. It is
// dense at first, because the last word in a neighbour's cache may have come from a
// leader that is just giving up, and lasts for some seconds, because a switch may
// be slow to forward on a link that has just come up.
var series = [...]time.Duration{
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond,
	200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
}

// nowAndThen is the pause between announcements after the series.
const nowAndThen = 30 * time.Second

// announcer sends the packets. It is not safe for concurrent use.
type announcer struct {
	fd    int
	leads func() bool
}

func newAnnouncer(leads func() bool) (*announcer, error) {
	// Protocol 0 receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket to announce floating addresses: %w", err)
	}
	return &announcer{fd: fd, leads: leads}, nil
}

func (n *announcer) close() error { return os.NewSyscallError("close", unix.Close(n.fd)) }

// announce tells link's neighbours that a is here. Links without Ethernet
// addresses have no neighbours to tell.
func (n *announcer) announce(a Address, link netlink.Link) error {
	mac := link.Attrs().HardwareAddr
	if len(mac) != 6 || link.Attrs().Flags&net.FlagLoopback != 0 {
		return nil
	}
	to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}
	var errs []error
	for _, frame := range packets(a, mac, isRouter(a)) {
		// All packets are sent here, so leads is checked before each one.
		if !n.leads() {
			return nil
		}
		if err := unix.Sendto(n.fd, frame, 0, to); err != nil {
			errs = append(errs, fmt.Errorf("announcing %s: %w", a, err))
		}
	}
	return errors.Join(errs...)
}

// isRouter reports whether this host forwards IPv6 on a's interface.
func isRouter(a Address) bool {
	if a.IP().Is4() || strings.Contains(a.Iface, "..") {
		return false
	}
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + a.Iface + "/forwarding")
	return err == nil && !bytes.Equal(bytes.TrimSpace(text), []byte("0"))
}
