//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The addresses of the lab. Each host sees one Ethernet.
const (
	hostCount  = 3 // on which a subject runs
	maxHosts   = 5 // of a network
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
	name string     // also its port's on the switch
	mu   sync.Mutex // a connection may be dialled beside close
	ns   netns.NsHandle
	ip   netip.Addr
	mac  net.HardwareAddr
	link int // index of eth0
}

// network is a switch, the hosts, a client, and a watcher.
type network struct {
	sw            *node
	hosts         []*host
	client, watch *node
	cables        *cables
}

// newNetwork builds all of it, with a number of hosts.
func newNetwork(hosts int) (*network, error) {
	n := new(network)
	if err := n.build(hosts); err != nil {
		n.close()
		return nil, fmt.Errorf("building the network: %w", err)
	}
	return n, nil
}

func (n *network) build(hosts int) error {
	var err error
	if n.sw, err = newNode("switch"); err != nil {
		return err
	}
	if err := n.bridge("br0"); err != nil {
		return err
	}
	for i := range hosts {
		p, err := n.plug(fmt.Sprintf("h%d", i+1), netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}))
		if err != nil {
			return err
		}
		n.hosts = append(n.hosts, &host{node: p, index: i})
	}
	if n.client, err = n.plug(clientName, clientIP); err != nil {
		return err
	}
	if n.watch, err = n.plug(watchName, watchIP); err != nil {
		return err
	}
	for _, h := range n.hosts {
		if err := h.knows(n.watch); err != nil {
			return err
		}
	}
	n.cables, err = newCables(n.sw)
	return err
}

// knows tells a node for good where another is, so that it never asks. A new holder that
// had to ask for the watcher would do so in the name of the floating address, which tells
// all who hear it, the client too, where the address is now.
func (p *node) knows(other *node) error {
	return p.do(func() error {
		err := netlink.NeighSet(&netlink.Neigh{LinkIndex: p.link, State: netlink.NUD_PERMANENT, IP: other.ip.AsSlice(), HardwareAddr: other.mac})
		if err != nil {
			return fmt.Errorf("telling %s where %s is: %w", p.name, other.name, err)
		}
		return nil
	})
}

func (n *network) bridge(name string) error {
	return n.sw.do(func() error {
		off := false
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &off}
		return errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge))
	})
}

// plug makes a node with the address ip and a cable to the switch.
func (n *network) plug(name string, ip netip.Addr) (*node, error) {
	p, err := newNode(name)
	if err != nil {
		return nil, err
	}
	p.ip = ip
	p.mac = net.HardwareAddr{2, 0x77, 0, 0, 0, ip.As4()[3]}
	if p.link, err = n.cable(p, "br0", name, "eth0", p.mac, ip); err != nil {
		return nil, fmt.Errorf("plugging in %s: %w", name, err)
	}
	return p, p.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
}

// backNetwork gives every host a second interface eth1, on a switch of their own,
// with the addresses 10.78.0.1, 10.78.0.2 and so on.
func (n *network) backNetwork() error {
	if err := n.bridge("br1"); err != nil {
		return err
	}
	for _, h := range n.hosts {
		low := byte(h.index + 1)
		mac := net.HardwareAddr{2, 0x78, 0, 0, 0, low}
		if _, err := n.cable(h.node, "br1", h.name+"-back", "eth1", mac, netip.AddrFrom4([4]byte{10, 78, 0, low})); err != nil {
			return fmt.Errorf("giving %s a second interface: %w", h.name, err)
		}
	}
	return nil
}

// cable makes an interface of a node, with an address, plugs it into a bridge of
// the switch, and returns its index.
func (n *network) cable(p *node, bridge, port, iface string, mac net.HardwareAddr, ip netip.Addr) (index int, err error) {
	err = n.sw.do(func() error {
		cable := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "peer",
			PeerNamespace: netlink.NsFd(p.ns), PeerHardwareAddr: mac,
		}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetMaster(cable, bridge), netlink.LinkSetUp(cable))
	})
	if err != nil {
		return 0, err
	}
	return index, p.do(func() error {
		link, err := netlink.LinkByName("peer")
		if err != nil {
			return err
		}
		index = link.Attrs().Index
		addr, err := netlink.ParseAddr(netip.PrefixFrom(ip, floatLen).String())
		return errors.Join(err, netlink.LinkSetName(link, iface), netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	})
}

// close lets go of the namespaces; the kernel takes them down once no process
// is left in them.
func (n *network) close() {
	for _, h := range n.hosts {
		h.kill()
		h.leave()
	}
	for _, p := range []*node{n.sw, n.client, n.watch} {
		if p != nil {
			p.leave()
		}
	}
}

// leave closes the handle of the namespace.
func (p *node) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ns.Close()
}

// enter takes the thread into the namespace.
func (p *node) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return netns.Set(p.ns)
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
		if err := p.enter(); err != nil {
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
