package placing

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"slices"

	"doyen/seniority"
)

// MaxElections is how many further elections there may be over one group.
const MaxElections = 128

// Detail is what a member publishes beside its meta. Fields of newer versions are
// passed over.
type Detail struct {
	Elections map[string]Candidacy `json:"e,omitempty"`
	Placement *Placement           `json:"p,omitempty"`
}

// Candidacy is what ranks a member in a further election.
type Candidacy struct {
	Rule   string         `json:"r,omitempty"`
	ID     uint64         `json:"i,omitempty"`
	Role   seniority.Role `json:"o,omitempty"`
	Unfit  string         `json:"u,omitempty"` // why it may not lead; "": it may
	Prefer []string       `json:"f,omitempty"`
}

// Text is what is published of a detail; nothing if it says nothing.
func (d Detail) Text() []byte {
	if d.Elections == nil && d.Placement == nil {
		return nil
	}
	text, _ := json.Marshal(d) // it holds nothing that could fail
	return text
}

// parse reads what another member has published, and drops what none of this
// version could have: names and roles that are out of range.
func parse(text []byte, valid func(name string) bool) (d Detail) {
	if json.Unmarshal(text, &d) != nil {
		return Detail{}
	}
	maps.DeleteFunc(d.Elections, func(name string, c Candidacy) bool {
		return !valid(name) || c.Role > seniority.Observer
	})
	if len(d.Elections) > MaxElections {
		d.Elections = nil
	}
	return d
}

// Details are those of the other members, as they were read last. One goroutine uses
// them.
type Details struct {
	valid    func(name string) bool
	byMember map[string]*peerDetail
}

// peerDetail is the detail of another member.
type peerDetail struct {
	text   []byte
	detail Detail
}

// NewDetails returns what there is before anything is read; valid says whether a further
// election may have a name.
func NewDetails(valid func(name string) bool) Details {
	return Details{valid: valid, byMember: map[string]*peerDetail{}}
}

// Read takes over what a member publishes now, unless that has been read already. text
// must not change afterwards.
func (d *Details) Read(member string, text []byte) {
	switch old := d.byMember[member]; {
	case len(text) == 0:
		delete(d.byMember, member)
	case old == nil || !bytes.Equal(old.text, text):
		d.byMember[member] = &peerDetail{text: text, detail: parse(text, d.valid)}
	}
}

// Keep forgets the details of members that are not there.
func (d *Details) Keep(there map[string]bool) {
	maps.DeleteFunc(d.byMember, func(name string, _ *peerDetail) bool { return !there[name] })
}

// Of returns what a member has published of itself in an election; false: it is no
// candidate.
func (d *Details) Of(member, election string) (Candidacy, bool) {
	if p := d.byMember[member]; p != nil {
		c, ok := p.detail.Elections[election]
		return c, ok
	}
	return Candidacy{}, false
}

// Candidates are the pairs of a member and an election that it names, in no order.
func (d *Details) Candidates() iter.Seq2[string, string] {
	return func(yield func(member, election string) bool) {
		for member, p := range d.byMember {
			for election := range p.detail.Elections {
				if !yield(member, election) {
					return
				}
			}
		}
	}
}

// Rule is the rule that the candidates of an election go by: as the first of them that
// names one says. false: none does.
func (d *Details) Rule(election string) (seniority.Rule, bool) {
	for _, member := range d.members() {
		if c, ok := d.Of(member, election); ok {
			if rule, err := seniority.ParseRule(c.Rule); err == nil {
				return rule, true
			}
		}
	}
	return nil, false
}

// Prefer are the members that should lead an election, as the first of its candidates
// that prefers some says.
func (d *Details) Prefer(election string) []string {
	for _, member := range d.members() {
		if c, _ := d.Of(member, election); len(c.Prefer) > 0 {
			return c.Prefer
		}
	}
	return nil
}

// members are those whose details are here, in order.
func (d *Details) members() []string { return slices.Sorted(maps.Keys(d.byMember)) }
