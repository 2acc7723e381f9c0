//go:build linux

package lan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Command returns a command that runs in the namespace of the switch, and is
// killed with the thread that starts it.
func (l *LAN) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), l.ns), name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Join connects an interface that a program makes in the namespace of the switch, such
// as a TAP device, to the switch as soon as it exists.
func (l *LAN) Join(port string) {
	l.t.Helper()
	l.Eventually(10*time.Second, func() error {
		return l.Do(func() error {
			link, err := netlink.LinkByName(port)
			if err != nil {
				return err
			}
			return errors.Join(netlink.LinkSetMaster(link, l.bridge), netlink.LinkSetUp(link))
		})
	})
}

// Cut drops all packets between a port and the others; the test itself can still reach
// it. Mend ends that.
func (l *LAN) Cut(port string) {
	l.t.Helper()
	l.nft(fmt.Sprintf(`add table bridge cut
		add chain bridge cut forward { type filter hook forward priority 0; }
		add rule bridge cut forward iifname %[1]s drop
		add rule bridge cut forward oifname %[1]s drop`, port))
}

// Mend undoes Cut.
func (l *LAN) Mend() {
	l.t.Helper()
	l.nft("delete table bridge cut")
}

func (l *LAN) nft(rules string) {
	l.t.Helper()
	// Else another goroutine could end with the thread, and the command with it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := l.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v: %s", err, out)
	}
}

// Neighbour asks again for the hardware address from which a host on the switch answers,
// and returns it.
func (l *LAN) Neighbour(addr netip.Addr) (net.HardwareAddr, error) {
	var found net.HardwareAddr
	err := l.Do(func() error {
		bridge, err := netlink.LinkByName(Bridge)
		if err != nil {
			return err
		}
		index := bridge.Attrs().Index
		stale := &netlink.Neigh{LinkIndex: index, IP: addr.AsSlice()}
		if err := netlink.NeighDel(stale); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		// No program needs to listen there: a host that refuses the connection
		// answers as well.
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, Port).String(), askLimit)
		if err == nil {
			conn.Close()
		} else if !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		list, err := netlink.NeighList(index, netlink.FAMILY_ALL)
		for _, n := range list {
			if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == addr {
				found = n.HardwareAddr
			}
		}
		return err
	})
	return found, err
}
