package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

// Extra is what a member publishes besides what ranks it.
type Extra struct {
	// HTTP is where the member answers HTTP: "" on the gossip port, "off"
	// nowhere, else a host:port.
	HTTP string
	// Rule and Mode are those the member elects by. They must be the same
	// everywhere; a difference is a finding.
	Rule, Mode string
	// Voters stands for the list of voters the member goes by: a digest of it,
	// the same for the same list; "" for none.
	Voters string
}

// Peer is one member as gossip knows it.
type Peer struct {
	seniority.Member
	Extra
	// Advertise is the host:port that the member is reached at, as it was
	// given to that member.
	Advertise string
	// Unfit is the reason, in a word, why the member is not eligible; "": it is,
	// or it is of a version that does not say.
	Unfit string
	// Death is the mark of the secret that tells that the member is dead; see
	// will.go. Zero: its death cannot be told.
	Death [deathMarkSize]byte

	detail detailSum // of what else it publishes; see detail.go

	// home is the address by which memberlist knows the member. Addr differs from
	// it after the member's address has changed.
	home netip.AddrPort
}

// The meta of a member is a version and fields: a tag, the length of the
// value, the value. Fields come in the order of their tags, at most once, and
// zero values are left out, so a member has one encoding only. A reader skips
// tags it does not know: a newer version may add some.
const metaVersion = 1

const (
	tagIncarnation = iota + 1
	tagStart
	tagID
	tagRole
	tagEligible
	tagGroup
	tagNumber
	tagVoter
	tagAdvertise
	tagHTTP
	tagRule
	tagMode
	tagVoters
	tagDeath
	tagMoved
	tagUnfit
	tagDetail
	tagsKnown
)

// The reasons to refuse a meta; each is a counter of its own.
var (
	errMetaVersion   = errors.New("meta-version")
	errMetaTruncated = errors.New("meta-truncated")
	errMetaOrder     = errors.New("meta-order")
	errMetaValue     = errors.New("meta-value")
	errMetaLong      = errors.New("meta-long")
	errMetaRole      = errors.New("meta-role")
	errMetaText      = errors.New("meta-text")
)

// appendMeta appends the encoding of p to b. Name and address are not part of
// it, because memberlist carries them.
func appendMeta(b []byte, p *Peer) []byte {
	b = append(b, metaVersion)
	b = appendUint(b, tagIncarnation, p.Incarnation)
	b = appendUint(b, tagStart, uint64(p.Start))
	b = appendUint(b, tagID, p.ID)
	b = appendUint(b, tagRole, uint64(p.Role))
	if p.Eligible {
		b = appendUint(b, tagEligible, 1)
	}
	b = appendUint(b, tagGroup, p.Join.Group)
	b = appendUint(b, tagNumber, p.Join.Number)
	b = appendText(b, tagVoter, p.Voter, p.Name)
	b = appendText(b, tagAdvertise, p.Advertise, p.Name)
	b = appendText(b, tagHTTP, p.HTTP, "")
	b = appendText(b, tagRule, p.Rule, "")
	b = appendText(b, tagMode, p.Mode, "")
	b = appendText(b, tagVoters, p.Voters, "")
	if p.Death != [deathMarkSize]byte{} {
		b = append(append(b, tagDeath, deathMarkSize), p.Death[:]...)
	}
	if p.home.IsValid() && p.Addr != p.home {
		b = appendText(b, tagMoved, p.Addr.String(), "")
	}
	b = appendText(b, tagUnfit, p.Unfit, "")
	if p.detail != (detailSum{}) {
		b = append(append(b, tagDetail, byte(len(p.detail))), p.detail[:]...)
	}
	return b
}

// longestUnfit is as long as the longest word that says why a member is not
// eligible.
const longestUnfit = "state-unwritable"

// longestMeta is the length of p's meta when its numbers have grown as far as
// they may: what must fit before the member starts.
func longestMeta(p Peer) int {
	p.Join = seniority.Join{Group: 1<<64 - 1, Number: 1<<64 - 1}
	p.Eligible, p.Unfit, p.detail = true, longestUnfit, detailSum{1}
	return len(appendMeta(nil, &p))
}

// sameAsName stands for a text that equals the member's name, which is the
// usual case and would else be carried twice.
const sameAsName = "="

func appendText(b []byte, tag byte, s, name string) []byte {
	if s == "" {
		return b
	}
	if s == name {
		s = sameAsName
	}
	return append(append(b, tag, byte(len(s))), s...)
}

func appendUint(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	at := len(b)
	b = binary.AppendUvarint(append(b, tag, 0), v)
	b[at+1] = byte(len(b) - at - 2)
	return b
}

// parseMeta returns the member of that name and address that published meta.
func parseMeta(name string, addr netip.AddrPort, meta []byte) (Peer, error) {
	p := Peer{Member: seniority.Member{Name: name, Addr: addr}, home: addr}
	if len(meta) > memberlist.MetaMaxSize {
		return Peer{}, errMetaLong
	}
	if len(meta) == 0 || meta[0] != metaVersion {
		return Peer{}, errMetaVersion
	}
	last := byte(0)
	for b := meta[1:]; len(b) > 0; {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return Peer{}, errMetaTruncated
		}
		tag, value := b[0], b[2:2+int(b[1])]
		if b = b[2+len(value):]; tag <= last {
			return Peer{}, errMetaOrder
		}
		last = tag
		if err := p.set(tag, value); err != nil {
			return Peer{}, err
		}
	}
	if p.Incarnation == 0 || p.Advertise == "" {
		return Peer{}, errMetaValue
	}
	return p, nil
}

// set fills in one field of the meta.
func (p *Peer) set(tag byte, value []byte) error {
	if tag >= tagsKnown {
		return nil
	}
	if tag == tagDeath {
		if len(value) != deathMarkSize || [deathMarkSize]byte(value) == [deathMarkSize]byte{} {
			return errMetaValue
		}
		p.Death = [deathMarkSize]byte(value)
		return nil
	}
	if tag == tagDetail {
		if len(value) != len(p.detail) || detailSum(value) == (detailSum{}) {
			return errMetaValue
		}
		p.detail = detailSum(value)
		return nil
	}
	if tag >= tagVoter {
		return p.setText(tag, string(value))
	}
	v, n := binary.Uvarint(value)
	if n != len(value) || v == 0 || n > 1 && value[n-1] == 0 {
		return errMetaValue
	}
	switch tag {
	case tagIncarnation:
		p.Incarnation = v
	case tagStart:
		p.Start = int64(v)
	case tagID:
		p.ID = v
	case tagRole:
		if v > uint64(seniority.Observer) {
			return errMetaRole
		}
		p.Role = seniority.Role(v)
	case tagEligible:
		if v != 1 {
			return errMetaValue
		}
		p.Eligible = true
	case tagGroup:
		p.Join.Group = v
	case tagNumber:
		p.Join.Number = v
	}
	return nil
}

// setText fills in one text; what other members would print is checked here.
func (p *Peer) setText(tag byte, s string) error {
	if err := checkText(s); err != nil {
		return errMetaText
	}
	if s == sameAsName && (tag == tagVoter || tag == tagAdvertise) {
		s = p.Name
	} else if s == p.Name && (tag == tagVoter || tag == tagAdvertise) {
		return errMetaValue
	}
	switch tag {
	case tagVoter:
		p.Voter = s
	case tagAdvertise:
		p.Advertise = s
	case tagHTTP:
		p.HTTP = s
	case tagRule:
		p.Rule = s
	case tagMode:
		p.Mode = s
	case tagVoters:
		p.Voters = s
	case tagUnfit:
		p.Unfit = s
	case tagMoved:
		a, err := netip.ParseAddrPort(s)
		if err != nil || a.String() != s || a == p.home || !canBeReached(a) {
			return errMetaValue
		}
		p.Addr = a
	}
	return nil
}

// canBeReached reports whether an address can belong to a member.
func canBeReached(a netip.AddrPort) bool {
	return a.IsValid() && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast() && a.Port() != 0
}

// checkMeta reports why a member cannot be published: its texts are too long
// together, or one of them is none that the others would accept.
func checkMeta(p *Peer) error {
	if n := longestMeta(*p); n > memberlist.MetaMaxSize {
		return fmt.Errorf("advertise-addr, voters entry and http address of %d bytes together are longer than the %d that gossip carries", n, memberlist.MetaMaxSize)
	}
	if _, err := parseMeta(p.Name, p.home, appendMeta(nil, p)); err != nil {
		return fmt.Errorf("member %s cannot be published: %w", p.Name, err)
	}
	return nil
}
