package floatingip

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Where the fields are that the rules read.
const (
	arpSenderIP = 14 // RFC 826, Ethernet and IPv4
	arpTargetIP = 24
	ip4Source   = 12 // RFC 791
	ip4Dest     = 16
	ip6Source   = 8 // RFC 8200
	ip6Dest     = 24
	ndTarget    = 8 // RFC 4861, solicitation and advertisement alike
	ndSolicit   = 135
	ndAdvertise = 136
)

// The hooks of the arp family have numbers of their own (linux/netfilter_arp.h).
var (
	arpIn  = nftables.ChainHookRef(0)
	arpOut = nftables.ChainHookRef(1)
)

// reg is the register that every expression of a rule uses.
const reg = 1

// addARP adds the rules that keep this host from answering, and from speaking,
// ARP as the address.
func (g *gate) addARP(x *guard) {
	in := g.chain(x.table, "in", arpIn, *nftables.ChainPriorityFilter)
	out := g.chain(x.table, "out", arpOut, *nftables.ChainPriorityFilter)
	g.dropUnless(x.set, in, address(expr.PayloadBaseNetworkHeader, arpTargetIP, x.addr.IP()))
	g.dropUnless(x.set, out, address(expr.PayloadBaseNetworkHeader, arpSenderIP, x.addr.IP()))
}

// addINet adds the rules for IP packets and neighbour discovery. Packets to the
// address are dropped before any translation of addresses, those from it after,
// and only where the address is this host's own: a host may route or bridge
// between the true holder and others. Neighbour discovery is looked at where
// only this host's own passes.
func (g *gate) addINet(x *guard) {
	pre := g.chain(x.table, "pre", nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw)
	post := g.chain(x.table, "post", nftables.ChainHookPostrouting, *nftables.ChainPrioritySELinuxLast)
	const network, transport = expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	ip := x.addr.IP()
	if ip.Is4() {
		g.dropUnless(x.set, pre, family(unix.NFPROTO_IPV4), address(network, ip4Dest, ip), own(false))
		g.dropUnless(x.set, post, family(unix.NFPROTO_IPV4), address(network, ip4Source, ip), own(true))
		return
	}
	in := g.chain(x.table, "in", nftables.ChainHookInput, *nftables.ChainPriorityRaw)
	out := g.chain(x.table, "out", nftables.ChainHookOutput, *nftables.ChainPriorityRaw)
	g.dropUnless(x.set, pre, family(unix.NFPROTO_IPV6), address(network, ip6Dest, ip), own(false))
	g.dropUnless(x.set, post, family(unix.NFPROTO_IPV6), address(network, ip6Source, ip), own(true))
	g.dropUnless(x.set, in, discovery(ndSolicit), address(transport, ndTarget, ip))
	g.dropUnless(x.set, out, discovery(ndAdvertise), address(transport, ndTarget, ip))
}

func (g *gate) chain(t *nftables.Table, name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	return g.conn.AddChain(&nftables.Chain{
		Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority,
	})
}

// condition is a part of a rule. One made by address leaves the address in the
// register, where the look-up finds it.
type condition []expr.Any

// dropUnless adds a rule: what meets all conditions is dropped unless the set
// holds the address.
func (g *gate) dropUnless(set *nftables.Set, c *nftables.Chain, conditions ...condition) {
	var exprs []expr.Any
	for _, cond := range conditions {
		exprs = append(exprs, cond...)
		if _, ok := cond[0].(*expr.Payload); ok {
			exprs = append(exprs, &expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID, Invert: true})
		}
	}
	exprs = append(exprs, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	g.conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: exprs})
}

// address: the field at offset is ip.
func address(base expr.PayloadBase, offset uint32, ip netip.Addr) condition {
	raw := ip.AsSlice()
	return condition{
		&expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: uint32(len(raw))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: raw},
	}
}

// family: the packet is of this IP version.
func family(proto byte) condition {
	return condition{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{proto}},
	}
}

// own: the destination, or the source, is an address of this host.
func own(source bool) condition {
	local := binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)
	return condition{
		&expr.Fib{Register: reg, ResultADDRTYPE: true, FlagSADDR: source, FlagDADDR: !source},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: local},
	}
}

// discovery: the packet is ICMPv6 of this type.
func discovery(kind byte) condition {
	return condition{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.NFPROTO_IPV6}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{kind}},
	}
}
