package floatingip

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The packets are put together here, since a library that knows every protocol
// would be a third of the program for two packets that never change.

const (
	arpRequest = 1 // RFC 826
	arpReply   = 2
	// leastFrame is the least length of a frame without its check sequence
	// (IEEE 802.3); ARP packets are shorter.
	leastFrame = 60
	// advertLength is the length of a neighbour advertisement with one option.
	advertLength = 32
)

var (
	broadcast   = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes    = netip.IPv6LinkLocalAllNodes()
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1} // RFC 2464, section 7
)

// packets builds the frames that announce a: for IPv4 an ARP request and an ARP
// reply (RFC 5227, section 3), for IPv6 an unsolicited neighbour advertisement
// (RFC 4861, section 7.2.6).
func packets(a Address, mac net.HardwareAddr, router bool) [][]byte {
	if a.IP().Is4() {
		return [][]byte{arp(a, mac, arpRequest), arp(a, mac, arpReply)}
	}
	return [][]byte{advertisement(a, mac, router)}
}

// frame begins an Ethernet frame.
func frame(to, from net.HardwareAddr, protocol uint16) []byte {
	return binary.BigEndian.AppendUint16(append(bytes.Clone(to), from...), protocol)
}

// arp builds a gratuitous ARP packet. The target's hardware address of a reply is
// the sender's: Linux takes only such a reply for gratuitous, and only a
// gratuitous one changes an entry that is younger than a second.
func arp(a Address, mac net.HardwareAddr, op uint16) []byte {
	target := make(net.HardwareAddr, len(mac))
	if op == arpReply {
		target = mac
	}
	f := frame(broadcast, mac, unix.ETH_P_ARP)
	f = binary.BigEndian.AppendUint16(f, unix.ARPHRD_ETHER)
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_IP)
	f = append(f, 6, 4) // the lengths of the addresses
	f = binary.BigEndian.AppendUint16(f, op)
	f = append(append(f, mac...), a.IP().AsSlice()...)
	f = append(append(f, target...), a.IP().AsSlice()...)
	return append(f, make([]byte, leastFrame-len(f))...)
}

// advertisement builds an unsolicited neighbour advertisement to all nodes. It
// says so if this host is a router: hosts drop a router that no longer does.
func advertisement(a Address, mac net.HardwareAddr, router bool) []byte {
	const kind, overrides, routes = 136, 0x20, 0x80
	const linkAddress, eightBytes = 2, 1 // the option: the target's hardware address
	flags := byte(overrides)
	if router {
		flags |= routes
	}
	from, to := a.IP().AsSlice(), allNodes.AsSlice()
	icmp := append([]byte{kind, 0, 0, 0, flags, 0, 0, 0}, from...)
	icmp = append(append(icmp, linkAddress, eightBytes), mac...)
	rest := []byte{0, 0, 0, advertLength, 0, 0, 0, unix.IPPROTO_ICMPV6} // of the pseudo-header (RFC 8200, section 8.1)
	binary.BigEndian.PutUint16(icmp[2:], checksum(from, to, rest, icmp))

	const hops = 255 // what has been routed is no neighbour's (RFC 4861, section 7.1.2)
	f := frame(allNodesMAC, mac, unix.ETH_P_IPV6)
	f = append(f, 0x60, 0, 0, 0, 0, advertLength, unix.IPPROTO_ICMPV6, hops)
	return append(append(append(f, from...), to...), icmp...)
}

// checksum is the Internet checksum (RFC 1071) of parts of even length.
func checksum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
