package floatingip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// series is when the addresses are announced again after an announcement. It is
// dense at first, because the last word in a neighbour's cache may be that of a
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
	frames, err := packets(a, mac, isRouter(a))
	if err != nil {
		return fmt.Errorf("building the announcement of %s: %w", a, err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}
	var errs []error
	for _, frame := range frames {
		// The one place where packets leave: nobody else's word counts.
		if !n.leads() {
			return nil
		}
		if err := unix.Sendto(n.fd, frame, 0, to); err != nil {
			errs = append(errs, fmt.Errorf("announcing %s: %w", a, err))
		}
	}
	return errors.Join(errs...)
}

// packets builds the frames that announce a: for IPv4 an ARP request and an ARP
// reply (RFC 5227, section 3), for IPv6 an unsolicited neighbour advertisement
// (RFC 4861, section 7.2.6).
func packets(a Address, mac net.HardwareAddr, router bool) ([][]byte, error) {
	if !a.IP().Is4() {
		frame, err := advertisement(a, mac, router)
		return [][]byte{frame}, err
	}
	request, err := arp(a, mac, layers.ARPRequest)
	if err != nil {
		return nil, err
	}
	reply, err := arp(a, mac, layers.ARPReply)
	return [][]byte{request, reply}, err
}

// arp builds a gratuitous ARP packet. The target's hardware address of a reply is
// the sender's: Linux takes only such a reply for gratuitous, and only a
// gratuitous one changes an entry that is younger than a second.
func arp(a Address, mac net.HardwareAddr, op uint16) ([]byte, error) {
	target := make(net.HardwareAddr, len(mac))
	if op == layers.ARPReply {
		target = mac
	}
	return serialize(
		&layers.Ethernet{SrcMAC: mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
			HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: mac, SourceProtAddress: a.IP().AsSlice(),
			DstHwAddress: target, DstProtAddress: a.IP().AsSlice(),
		})
}

// advertisement builds an unsolicited neighbour advertisement to all nodes. It
// says so if this host is a router: hosts drop a router that no longer does.
func advertisement(a Address, mac net.HardwareAddr, router bool) ([]byte, error) {
	const overrides, routes = 0x20, 0x80
	flags := uint8(overrides)
	if router {
		flags |= routes
	}
	ip := &layers.IPv6{
		Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: a.IP().AsSlice(), DstIP: net.IPv6linklocalallnodes,
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	return serialize(
		&layers.Ethernet{SrcMAC: mac, DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6},
		ip, icmp,
		&layers.ICMPv6NeighborAdvertisement{
			Flags: flags, TargetAddress: a.IP().AsSlice(),
			Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: mac}},
		})
}

func serialize(list ...gopacket.SerializableLayer) ([]byte, error) {
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, list...); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// isRouter reports whether this host forwards IPv6 on a's interface.
func isRouter(a Address) bool {
	if a.IP().Is4() || strings.Contains(a.Iface, "..") {
		return false
	}
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + a.Iface + "/forwarding")
	return err == nil && !bytes.Equal(bytes.TrimSpace(text), []byte("0"))
}
