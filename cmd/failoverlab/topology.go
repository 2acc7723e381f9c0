//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The addresses of the lab. Each host sees one Ethernet.
const (
	hostCount  = 3
	floatLen   = 24
	clientName = "client"
	watchName  = "watch"
)

var (
	floatIP  = netip.MustParseAddr("10.77.0.100")
	clientIP = netip.MustParseAddr("10.77.0.50")
	watchIP  = netip.MustParseAddr("10.77.0.60")
)

// node is a network namespace with an interface eth0, plugged into the switch.
type node struct {
	name string // also that of its port on the switch
	ns   netns.NsHandle
	ip   netip.Addr
	mac  net.HardwareAddr
	link int // index of eth0
}

// network is a switch, the hosts, a client, and a watcher.
type network struct {
	sw            *node
	hosts         [hostCount]*host
	client, watch *node
	cables        *cables
}

// newNetwork builds all of it.
func newNetwork() (*network, error) {
	n := new(network)
	if err := n.build(); err != nil {
		n.close()
		return nil, fmt.Errorf("building the network: %w", err)
	}
	return n, nil
}

func (n *network) build() error {
	var err error
	if n.sw, err = newNode("switch"); err != nil {
		return err
	}
	err = n.sw.do(func() error {
		off := false
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &off}
		return errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge))
	})
	if err != nil {
		return err
	}
	for i := range n.hosts {
		p, err := n.plug(fmt.Sprintf("h%d", i+1), netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}))
		if err != nil {
			return err
		}
		n.hosts[i] = &host{node: p, index: i}
	}
	if n.client, err = n.plug(clientName, clientIP); err != nil {
		return err
	}
	if n.watch, err = n.plug(watchName, watchIP); err != nil {
		return err
	}
	n.cables, err = newCables(n.sw)
	return err
}

// plug makes a node with the address ip and a cable to the switch.
func (n *network) plug(name string, ip netip.Addr) (*node, error) {
	p, err := newNode(name)
	if err != nil {
		return nil, err
	}
	p.ip = ip
	p.mac = net.HardwareAddr{2, 0x77, 0, 0, 0, ip.As4()[3]}
	err = n.sw.do(func() error {
		cable := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer",
			PeerNamespace: netlink.NsFd(p.ns), PeerHardwareAddr: p.mac,
		}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetMaster(cable, bridge), netlink.LinkSetUp(cable))
	})
	if err != nil {
		return nil, fmt.Errorf("plugging in %s: %w", name, err)
	}
	return p, p.do(func() error {
		eth0, err := netlink.LinkByName("peer")
		if err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		p.link = eth0.Attrs().Index
		addr, err := netlink.ParseAddr(netip.PrefixFrom(ip, floatLen).String())
		return errors.Join(err, netlink.LinkSetName(eth0, "eth0"), netlink.AddrAdd(eth0, addr),
			netlink.LinkSetUp(eth0), netlink.LinkSetUp(lo))
	})
}

// close lets go of the namespaces; the kernel takes them down once no process
// is left in them.
func (n *network) close() {
	for _, h := range n.hosts {
		if h != nil {
			h.kill()
			h.ns.Close()
		}
	}
	for _, p := range []*node{n.sw, n.client, n.watch} {
		if p != nil {
			p.ns.Close()
		}
	}
}

// unplug takes the carrier off a node's interface; plugIn brings it back.
func (n *network) unplug(p *node) error { return n.port(p, netlink.LinkSetDown) }
func (n *network) plugIn(p *node) error { return n.port(p, netlink.LinkSetUp) }

func (n *network) port(p *node, change func(netlink.Link) error) error {
	return n.sw.do(func() error {
		port, err := netlink.LinkByName(p.name)
		if err != nil {
			return err
		}
		return change(port)
	})
}

func newNode(name string) (*node, error) {
	p := &node{name: name}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		if p.ns, err = netns.Get(); err != nil {
			return err
		}
		// A new namespace takes this over from the machine's own; a host that
		// forwards would answer, by way of another, for an address it has not.
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0)
	})
	if err != nil {
		return nil, fmt.Errorf("making the namespace of %s: %w", name, err)
	}
	return p, nil
}

// do runs f in the node's namespace. Sockets that f opens, and processes that
// it starts, stay there.
func (p *node) do(f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(p.ns); err != nil {
			return fmt.Errorf("entering the namespace of %s: %w", p.name, err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that ends with it, so that the namespace of no
// other goroutine changes.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
