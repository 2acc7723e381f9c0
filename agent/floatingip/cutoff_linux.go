package floatingip

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// gate is the kernel's cut-off: while a set of its tables holds an address, the
// address answers; when the element's time is over, it does not. It is not safe
// for concurrent use.
type gate struct {
	conn   *nftables.Conn
	addrs  []Address
	tables []*nftables.Table
	sets   []*nftables.Set
}

// newGate installs the tables, shut. An error means that this kernel, or this
// container, offers no nftables that would do.
func newGate(name string, addrs []Address) (*gate, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	g := &gate{conn: conn, addrs: addrs}
	for _, family := range families(addrs) {
		g.tables = append(g.tables, &nftables.Table{Name: name, Family: family})
	}
	if err := g.install(); err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}
	return g, nil
}

// tableName derives the name of an agent's tables. Names of members contain
// characters that nft does not take, and may be long.
func tableName(cluster, name string) string {
	sum := sha256.Sum256([]byte(cluster + "\x00" + name))
	return "doyen_" + hex.EncodeToString(sum[:6])
}

// families are the tables needed: inet for IP and neighbour discovery, arp for
// ARP, which only IPv4 uses.
func families(addrs []Address) []nftables.TableFamily {
	list := []nftables.TableFamily{nftables.TableFamilyINet}
	for _, a := range addrs {
		if a.IP().Is4() {
			return append(list, nftables.TableFamilyARP)
		}
	}
	return list
}

// install makes the tables anew in one transaction, without elements. Adding
// before deleting is how nftables says "delete if there".
func (g *gate) install() error {
	g.sets = nil
	for _, t := range g.tables {
		g.conn.AddTable(t)
		g.conn.DelTable(t)
		g.conn.AddTable(t)
		set := func(name string, kind nftables.SetDatatype) (*nftables.Set, error) {
			s := &nftables.Set{Table: t, Name: name, KeyType: kind, HasTimeout: true}
			g.sets = append(g.sets, s)
			return s, g.conn.AddSet(s, nil)
		}
		set4, err := set("lead4", nftables.TypeIPAddr)
		if err != nil {
			return fmt.Errorf("making a set of nftables: %w", err)
		}
		if t.Family == nftables.TableFamilyARP {
			g.addARP(t, set4)
			continue
		}
		set6, err := set("lead6", nftables.TypeIP6Addr)
		if err != nil {
			return fmt.Errorf("making a set of nftables: %w", err)
		}
		g.addINet(t, set4, set6)
	}
	if err := g.conn.Flush(); err != nil {
		return fmt.Errorf("making the tables %s of nftables: %w", g.tables[0].Name, err)
	}
	return nil
}

// open lets the addresses answer for d from the moment the kernel reads it. The
// old elements go and the new ones come in one transaction: older kernels cannot
// move the time-out of an element, and no packet sees the set without one.
func (g *gate) open(d time.Duration) error {
	for _, s := range g.sets {
		g.conn.FlushSet(s)
		if elements := g.elements(s, d); len(elements) > 0 {
			if err := g.conn.SetAddElements(s, elements); err != nil {
				return fmt.Errorf("adding to set %s of nftables: %w", s.Name, err)
			}
		}
	}
	if err := g.conn.Flush(); err != nil {
		return fmt.Errorf("renewing the elements of nftables table %s: %w", g.tables[0].Name, err)
	}
	return nil
}

// elements are the addresses of the set's family, for d.
func (g *gate) elements(s *nftables.Set, d time.Duration) []nftables.SetElement {
	var list []nftables.SetElement
	for _, a := range g.addrs {
		if a.IP().Is4() == (s.KeyType.Bytes == nftables.TypeIPAddr.Bytes) {
			list = append(list, nftables.SetElement{Key: a.IP().AsSlice(), Timeout: d})
		}
	}
	return list
}

// shut cuts the addresses off at once. Tables that somebody removed are made
// again, since without them nothing is cut off.
func (g *gate) shut() error {
	for _, s := range g.sets {
		g.conn.FlushSet(s)
	}
	err := g.conn.Flush()
	if isGone(err) {
		return g.install()
	}
	if err != nil {
		return fmt.Errorf("emptying the sets of nftables table %s: %w", g.tables[0].Name, err)
	}
	return nil
}

// remove takes the tables away.
func (g *gate) remove() error {
	for _, t := range g.tables {
		g.conn.AddTable(t)
		g.conn.DelTable(t)
	}
	err := g.conn.Flush()
	if err != nil {
		err = fmt.Errorf("removing nftables table %s: %w", g.tables[0].Name, err)
	}
	return errors.Join(err, g.conn.CloseLasting())
}

// isGone reports whether err says that the tables are not there.
func isGone(err error) bool { return errors.Is(err, unix.ENOENT) }
