package gossip

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// Two members of one name cannot be in one group: memberlist knows members by
// their names. Whoever the others knew first stays. The other finds its own
// name in the state of whomever it dials, takes none of that state over, and
// so remains outside; it goes on dialling, and joins as soon as its namesake
// is gone. Both sides, and all that it dials, report it.

// errClash is why a member that came second takes nothing over.
var errClash = errors.New("another member has this name")

// settleRestart is how long after the start news of the predecessor at the
// same address may be under way.
const settleRestart = 30 * time.Second

// namesake compares this member with another of its name: negative if this one
// stays. A member that has met others stays before one that has not; of two
// that have, or have not, the one that started first.
func namesake(self, other *Peer, selfMet, otherMet bool) int {
	if selfMet != otherMet {
		return boolOrder(selfMet, otherMet)
	}
	return cmp.Or(cmp.Compare(self.Start, other.Start), self.Addr.Compare(other.Addr))
}

// NotifyMerge implements memberlist.MergeDelegate: it is told of everyone that
// the other side of a join knows.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	self := d.roster.own()
	var rival *Peer
	met := 0
	for _, n := range nodes {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			continue
		}
		if n.Name != self.Name {
			met++
			continue
		}
		if p, err := parseMeta(n.Name, addrOf(n), n.Meta); err == nil && p.Addr != self.Addr {
			rival = &p
		}
	}
	if rival == nil {
		d.roster.clashed(false)
		return nil
	}
	if !d.clash(&self, rival, met > 0) {
		return errClash
	}
	return nil
}

// NotifyConflict implements memberlist.ConflictDelegate: a member of a name
// that is taken has been heard of. memberlist keeps the one it has.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	was, now := addrOf(existing), addrOf(other)
	d.ledger.count("name-clash")
	d.ledger.find(foundClash, existing.Name, "the name belongs to "+was.String()+"; "+now.String()+" has it, too, and is refused")
	// A merge has told more of the namesake, and judged it before. One that only
	// gossip tells of is in the group by way of others, and so has met some.
	if self := d.roster.own(); existing.Name == self.Name && !d.roster.judged(now) {
		if p, err := parseMeta(other.Name, now, other.Meta); err == nil {
			d.clash(&self, &p, true)
		}
	}
}

// clash notes a namesake of this member and reports whether this one stays.
func (d *delegate) clash(self, rival *Peer, rivalMet bool) bool {
	stays := namesake(self, rival, d.roster.size() > 0, rivalMet) < 0
	verdict := "this member was there first and stays"
	if !stays {
		verdict = "that one was there first, so this member stays out of the group"
	}
	d.ledger.find(foundClash, self.Name, "both "+self.Addr.String()+" (this member) and "+rival.Addr.String()+" have the name; "+verdict)
	d.roster.rival(rival.Addr, !stays)
	return stays
}

// twin notices a second process with this member's name and address, which
// would else look like endless news of a predecessor.
func (d *delegate) twin(p *Peer) {
	self := d.roster.own()
	if p.Addr == self.Addr && p.Incarnation != self.Incarnation && time.Since(d.started) > settleRestart {
		d.ledger.find(foundClash, self.Name, "another process has both the name and the address "+self.Addr.String()+" of this member")
	}
}

// rival notes where a namesake is, so that it is dialled and learns of it, and
// whether it was first.
func (r *roster) rival(addr netip.AddrPort, first bool) {
	r.mu.Lock()
	if k := r.known[r.self.Name]; k == nil || k.addr != addr {
		k = &known{addr: addr}
		k.miss(time.Now())
		r.known[r.self.Name] = k
		poke(r.lost)
	} else {
		k.missing = time.Now()
	}
	r.mu.Unlock()
	r.clashed(first)
}

// judged reports whether there is a verdict on the namesake at addr.
func (r *roster) judged(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[r.self.Name]
	return k != nil && k.addr == addr
}

// own returns this member's own entry.
func (r *roster) own() Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.self
}
