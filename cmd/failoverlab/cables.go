//go:build linux

package main

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// cables spoils what goes over the switch, by rules of nftables for bridges.
type cables struct {
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain
}

// spoil is one direction between two ports of the switch that loses packets.
type spoil struct {
	from, to string
	percent  uint32 // of the packets; 100 cuts the direction
}

func newCables(sw *node) (*cables, error) {
	c := &cables{table: &nftables.Table{Name: "cables", Family: nftables.TableFamilyBridge}}
	err := sw.do(func() error {
		var err error
		c.conn, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the switch's nftables: %w", err)
	}
	c.conn.AddTable(c.table)
	c.chain = c.conn.AddChain(&nftables.Chain{
		Table: c.table, Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	if err := c.conn.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the switch's nftables: %w", err), c.conn.CloseLasting())
	}
	return c, nil
}

// set makes the list all that is spoilt, at one instant. Without a list
// everything is sound.
func (c *cables) set(list ...spoil) error {
	c.conn.FlushChain(c.chain)
	for _, s := range list {
		exprs := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(s.from)},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(s.to)},
		}
		if s.percent < 100 {
			exprs = append(exprs,
				&expr.Numgen{Register: 1, Modulus: 100, Type: unix.NFT_NG_RANDOM},
				// Random numbers come in host order; comparing needs network order.
				&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
				&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(s.percent)})
		}
		exprs = append(exprs, &expr.Verdict{Kind: expr.VerdictDrop})
		c.conn.AddRule(&nftables.Rule{Table: c.table, Chain: c.chain, Exprs: exprs})
	}
	if err := c.conn.Flush(); err != nil {
		return fmt.Errorf("spoiling the cables: %w", err)
	}
	return nil
}

// ifname is the form in which the kernel compares names of interfaces.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// Which directions to spoil around one node p, given its peers.

func out(p *node, peers ...*node) (list []spoil) {
	for _, q := range peers {
		list = append(list, spoil{p.name, q.name, 100})
	}
	return list
}

func in(p *node, peers ...*node) (list []spoil) {
	for _, q := range peers {
		list = append(list, spoil{q.name, p.name, 100})
	}
	return list
}

func both(p *node, peers ...*node) []spoil { return append(out(p, peers...), in(p, peers...)...) }

// lossy spoils everything between any two nodes.
func lossy(percent uint32, nodes ...*node) (list []spoil) {
	for _, p := range nodes {
		for _, q := range nodes {
			if p != q {
				list = append(list, spoil{p.name, q.name, percent})
			}
		}
	}
	return list
}
