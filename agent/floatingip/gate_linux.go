package floatingip

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// tablePrefix begins the name of every table that guards an address.
	tablePrefix = "doyen_"
	// probePrefix begins the names of the tables that CutOff makes and removes.
	probePrefix = tablePrefix + "probe_"
	// leastTimeout is the shortest time-out that the kernel keeps. It counts in
	// ticks and rounds down, and takes a time-out of 0 for none at all
	// (nf_msecs_to_jiffies64 in net/netfilter/nf_tables_api.c).
	leastTimeout = slowestTick
)

// gate is the kernel's cut-off: while the set of an address's table holds the
// address, it answers; when the element's time is over, it does not. It is not
// safe for concurrent use.
type gate struct {
	conn    *nftables.Conn
	renewal *renewal
	guards  []guard
}

// guard is one table, and the set of it that opens the gate of one address.
type guard struct {
	addr  Address
	table *nftables.Table
	set   *nftables.Set
}

// newGate installs the tables of addrs, shut. An error means that this kernel,
// or this container, offers no nftables that would do.
func newGate(prefix string, addrs []Address) (*gate, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	g := &gate{conn: conn}
	if g.renewal, err = newRenewal(); err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}
	if err := g.add(newGuards(prefix, addrs)); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// add installs the tables of more guards, shut, or with an error none: nothing would open
// those that are there already.
func (g *gate) add(guards []guard) error {
	if err := g.install(guards, 0); err != nil {
		_ = g.takeAway(guards) // what fails here as well is not there
		return err
	}
	g.use(append(g.guards, guards...))
	return nil
}

// use makes these the guards of the gate. Their tables are there or to be installed.
func (g *gate) use(guards []guard) {
	g.guards = guards
	g.renewal.describe(guards)
}

// newGuards describes the tables of addrs.
func newGuards(prefix string, addrs []Address) (guards []guard) {
	for _, a := range addrs {
		guards = append(guards, newGuard(prefix, a, nftables.TableFamilyINet))
		if a.IP().Is4() {
			guards = append(guards, newGuard(prefix, a, nftables.TableFamilyARP))
		}
	}
	return guards
}

// newGuard describes a table; the address names it, so that a later agent finds
// and replaces the table, also one that an agent of another name left.
func newGuard(prefix string, a Address, family nftables.TableFamily) guard {
	table := &nftables.Table{Name: tableName(prefix, a), Family: family}
	set := &nftables.Set{Table: table, Name: "lead", KeyType: nftables.TypeIPAddr, HasTimeout: true}
	if !a.IP().Is4() {
		set.KeyType = nftables.TypeIP6Addr
	}
	return guard{addr: a, table: table, set: set}
}

// of returns the guards of these addresses.
func (g *gate) of(addrs []Address) (guards []guard) {
	for _, x := range g.guards {
		if slices.Contains(addrs, x.addr) {
			guards = append(guards, x)
		}
	}
	return guards
}

// tableName is the name of the tables that guard a. nft reads letters, digits,
// dots and underscores as a name, but no colons.
func tableName(prefix string, a Address) string {
	return prefix + strings.ReplaceAll(a.IP().String(), ":", "_")
}

// perTransaction is how many tables one transaction is about. The kernel answers each of
// its messages before any answer can be read, a dozen for a table that is made, and the
// buffer of a socket has room for some 250 answers (net.core.rmem_default).
const perTransaction = 8

// inParts has f add messages about each of these guards, and carries them out.
func (g *gate) inParts(guards []guard, f func(*guard) error) error {
	for part := range slices.Chunk(guards, perTransaction) {
		for i := range part {
			if err := f(&part[i]); err != nil {
				return err
			}
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush carries out what has been added. After some errors the library leaves answers
// unread (Conn.Flush), which it would take for those of the next transaction: so that has
// another connection.
func (g *gate) flush() error {
	err := g.conn.Flush()
	if err == nil || isGone(err) {
		return err
	}
	conn, failed := nftables.New(nftables.AsLasting())
	if failed != nil {
		return errors.Join(err, fmt.Errorf("opening nftables: %w", failed))
	}
	_ = g.conn.CloseLasting() // nothing waits for it
	g.conn = conn
	return err
}

// install makes the tables anew, each in one transaction; the addresses answer for d from
// then on, not at all if d is below leastTimeout. No packet sees the tables of a leader
// without their elements: one dropped there is sent again after a second (RFC 6298).
// Adding before deleting is how nftables says "delete if there".
func (g *gate) install(guards []guard, d time.Duration) error {
	id := uint32(0)
	err := g.inParts(guards, func(guard *guard) error {
		g.conn.AddTable(guard.table)
		g.conn.DelTable(guard.table)
		g.conn.AddTable(guard.table)
		var open []nftables.SetElement
		if d >= leastTimeout {
			open = []nftables.SetElement{{Key: guard.addr.IP().AsSlice(), Timeout: d}}
		}
		id++
		guard.set.ID = id // unique within the transaction; the counter of the library is not safe for several goroutines
		if err := g.conn.AddSet(guard.set, open); err != nil {
			return fmt.Errorf("making a set of nftables: %w", err)
		}
		if guard.table.Family == nftables.TableFamilyARP {
			g.addARP(guard)
		} else {
			g.addINet(guard)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("making the tables %s of nftables: %w", tableNames(guards), err)
	}
	return nil
}

// tableNames lists the tables, for a person.
func tableNames(guards []guard) string {
	var names []string
	for _, guard := range guards {
		if !slices.Contains(names, guard.table.Name) {
			names = append(names, guard.table.Name)
		}
	}
	return strings.Join(names, ", ")
}

// open lets the addresses answer for d from the moment the kernel reads it; a d
// below leastTimeout shuts the gate. The old elements go and the new ones come in
// one transaction: older kernels cannot move the time-out of an element, and no
// packet sees the set without one.
func (g *gate) open(d time.Duration) error {
	if d < leastTimeout {
		return g.shut()
	}
	if err := g.renewal.send(d); err != nil {
		return fmt.Errorf("renewing the elements of the nftables tables %s: %w", tableNames(g.guards), err)
	}
	return nil
}

// shut cuts the addresses off at once. Tables that somebody removed are made
// again, since without them nothing is cut off.
func (g *gate) shut() error {
	err := g.empty(g.guards)
	if isGone(err) {
		return g.install(g.guards, 0)
	}
	if err != nil {
		return fmt.Errorf("emptying the sets of the nftables tables %s: %w", tableNames(g.guards), err)
	}
	return nil
}

// empty empties the sets of these guards, so that their addresses are cut off.
func (g *gate) empty(guards []guard) error {
	return g.inParts(guards, func(guard *guard) error { g.conn.FlushSet(guard.set); return nil })
}

// takeAway removes the tables of these guards.
func (g *gate) takeAway(guards []guard) error {
	return g.inParts(guards, func(guard *guard) error {
		g.conn.AddTable(guard.table)
		g.conn.DelTable(guard.table)
		return nil
	})
}

// remove takes the tables away.
func (g *gate) remove() error {
	err := g.takeAway(g.guards)
	if err != nil {
		err = fmt.Errorf("removing the nftables tables %s: %w", tableNames(g.guards), err)
	}
	return errors.Join(err, g.close())
}

func (g *gate) close() error { return errors.Join(g.conn.CloseLasting(), g.renewal.close()) }

// clearOthers removes every table of another name that guards one of the
// addresses of these guards: earlier versions named theirs by the agent, and the kernel applies
// all of them. The caller has the locks of the addresses, so no agent uses them.
func (g *gate) clearOthers(guards []guard) error {
	tables, err := g.conn.ListTables()
	if err != nil {
		return fmt.Errorf("listing the nftables tables: %w", err)
	}
	for _, t := range tables {
		known := slices.ContainsFunc(guards, func(x guard) bool { return x.table.Name == t.Name })
		if known || !strings.HasPrefix(t.Name, tablePrefix) || strings.HasPrefix(t.Name, probePrefix) || namesAddress(t.Name) {
			continue // of no agent, of none that has started, or of another address
		}
		other, err := g.guardedBy(t, guards)
		if err != nil {
			return err
		}
		if other {
			g.conn.DelTable(t)
		}
	}
	if err := g.flush(); err != nil && !isGone(err) {
		return fmt.Errorf("removing nftables tables of another name: %w", err)
	}
	return nil
}

// namesAddress reports whether tableName gives a table this name. Such a table guards
// no other address; with many elections there are hundreds, and to read them takes seconds.
func namesAddress(name string) bool {
	ip, err := netip.ParseAddr(strings.ReplaceAll(strings.TrimPrefix(name, tablePrefix), "_", ":"))
	return err == nil && name == tableName(tablePrefix, Address{Prefix: netip.PrefixFrom(ip, ip.BitLen())})
}

// guardedBy reports whether a rule of t compares with one of the addresses of these guards.
func (g *gate) guardedBy(t *nftables.Table, guards []guard) (bool, error) {
	chains, err := g.conn.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return false, fmt.Errorf("listing the chains of nftables: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != t.Name {
			continue
		}
		rules, err := g.conn.GetRules(t, c)
		if err != nil {
			return false, fmt.Errorf("listing the rules of nftables table %s: %w", t.Name, err)
		}
		for _, r := range rules {
			if slices.ContainsFunc(r.Exprs, func(e expr.Any) bool { return compares(e, guards) }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// compares reports whether a part of a rule compares with one of the addresses of these guards.
func compares(e expr.Any, guards []guard) bool {
	cmp, ok := e.(*expr.Cmp)
	return ok && slices.ContainsFunc(guards, func(x guard) bool { return bytes.Equal(cmp.Data, x.addr.IP().AsSlice()) })
}

// isGone reports whether err says that the tables are not there.
func isGone(err error) bool { return errors.Is(err, unix.ENOENT) }
