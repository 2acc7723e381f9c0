package gossip

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/findings"
)

// Two members of one name cannot be in one group: memberlist knows members by
// their names. The one that the others knew first stays. The other finds its own
// name in the state of whomever it dials, takes none of that state over, and
// so remains outside; it goes on dialling, and joins as soon as its namesake
// is gone. Both sides, and all that it dials, report it.

// errClash is why a member that came second takes nothing over.
var errClash = errors.New("another member has this name")

// settleRestart is how long after the start news of the predecessor at the
// same address may be under way.
const settleRestart = 30 * time.Second

// olderNamesake compares this member with another of its name: negative if this one
// stays. A member that has met others stays before one that has not; of two
// that have, or have not, the one that started first.
func olderNamesake(self, other *Peer, selfMet, otherMet bool) int {
	if selfMet != otherMet {
		return boolOrder(selfMet, otherMet)
	}
	return cmp.Or(cmp.Compare(self.Start, other.Start), self.Addr.Compare(other.Addr))
}

// NotifyMerge implements memberlist.MergeDelegate: it is told of everyone that
// the other side of a join knows.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	self := d.gossip.members.own()
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
		if p, err := parseMeta(n.Name, addrOf(n), n.Meta); err == nil && p.Addr != self.Addr && p.Incarnation != self.Incarnation {
			rival = &p
		}
	}
	if rival == nil {
		d.gossip.members.clashed(false)
		return nil
	}
	if !d.conflict(&self, rival, met > 0) {
		return errClash
	}
	return nil
}

// NotifyConflict implements memberlist.ConflictDelegate: a member of a name
// that is taken has been heard of. memberlist keeps the one it has.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	now := addrOf(other)
	d.gossip.findings.Count("name-clash")
	d.findConflict(existing.Name, addrOf(existing), now)
	// A merge has told more of the namesake, and judged it before. One that only
	// gossip tells of is in the group by way of others, and so has met some.
	if self := d.gossip.members.own(); existing.Name == self.Name && !d.gossip.members.judged(now) {
		if p, err := parseMeta(other.Name, now, other.Meta); err == nil {
			d.conflict(&self, &p, true)
		}
	}
}

// findConflict notes that a member is refused because its name is taken.
func (d *delegate) findConflict(name string, was, now netip.AddrPort) {
	d.gossip.findings.Find(findings.NameClash, name, "the name belongs to "+was.String()+"; "+now.String()+" has it, too, and is refused")
}

// conflict notes a namesake of this member and reports whether this one stays.
func (d *delegate) conflict(self, rival *Peer, rivalMet bool) bool {
	stays := olderNamesake(self, rival, d.gossip.members.size() > 0, rivalMet) < 0
	verdict := "this member was there first and stays"
	if !stays {
		verdict = "that one was there first, so this member stays out of the group"
	}
	d.gossip.findings.Find(findings.NameClash, self.Name, "both "+self.Addr.String()+" (this member) and "+rival.Addr.String()+" have the name; "+verdict)
	d.gossip.members.rival(rival.Addr, !stays)
	return stays
}

// twin notices a second process with this member's name and address, which
// would else look like endless news of a predecessor.
func (d *delegate) twin(p *Peer) {
	self := d.gossip.members.own()
	if p.Addr == self.Addr && p.Incarnation != self.Incarnation && time.Since(d.started) > settleRestart {
		d.gossip.findings.Find(findings.NameClash, self.Name, "another process has both the name and the address "+self.Addr.String()+" of this member")
	}
}

// rival notes where a namesake is, so that it is dialled and learns of it, and
// whether it was first.
func (r *members) rival(addr netip.AddrPort, first bool) {
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
func (r *members) judged(addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[r.self.Name]
	return k != nil && k.addr == addr
}

// own returns this member's own entry.
func (r *members) own() Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.self
}
