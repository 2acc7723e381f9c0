package seniority

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestSeniorityOrder(t *testing.T) {
	m := func(name string, group, number uint64, start int64) Member {
		return Member{Name: name, Join: Join{group, number}, Start: start}
	}
	for _, tc := range []struct {
		what string
		a, b Member // a comes first
	}{
		{"the lower number", m("b", 1, 1, 9), m("a", 1, 2, 1)},
		{"a numbered member, independent of the other's clock", m("b", 1, 7, 9), m("a", 0, 0, -1)},
		{"the older group", m("b", 1, 2, 9), m("a", 2, 1, 1)},
		{"without numbers, the earlier start", m("b", 0, 0, 1), m("a", 0, 0, 2)},
		{"of equal starts, the lower name", m("a", 0, 0, 1), m("b", 0, 0, 1)},
	} {
		if got := (Seniority{}).Compare(&tc.a, &tc.b); got >= 0 {
			t.Errorf("%s: Compare = %d, want negative", tc.what, got)
		}
		if got := (Seniority{}).Compare(&tc.b, &tc.a); got <= 0 {
			t.Errorf("%s, turned round: Compare = %d, want positive", tc.what, got)
		}
	}
}

func TestBullyOrder(t *testing.T) {
	m := func(name string, id uint64, addr string) Member {
		return Member{Name: name, ID: id, Addr: netip.MustParseAddrPort(addr)}
	}
	for _, tc := range []struct {
		what string
		a, b Member
	}{
		{"the higher id", m("a", 2, "10.0.0.1:1"), m("b", 1, "10.0.0.2:2")},
		{"of equal ids the higher address, as a number", m("a", 1, "10.0.0.10:1"), m("b", 1, "10.0.0.9:2")},
		{"of equal addresses the higher port, as a number", m("a", 1, "10.0.0.1:10000"), m("b", 1, "10.0.0.1:9999")},
		{"of equal all, the lower name", m("a", 1, "10.0.0.1:1"), m("b", 1, "10.0.0.1:1")},
	} {
		if got := (Bully{}).Compare(&tc.a, &tc.b); got >= 0 {
			t.Errorf("%s: Compare = %d, want negative", tc.what, got)
		}
	}
}

func TestWhichLeadershipStays(t *testing.T) {
	l := func(name string, id uint64, held time.Duration, met bool) Leadership {
		return Leadership{Leader: Member{Name: name, ID: id}, Held: held, Met: met}
	}
	for _, tc := range []struct {
		what string
		rule Rule
		a, b Leadership
	}{
		{"one that met somebody before one that never did", Seniority{}, l("b", 0, time.Second, true), l("a", 0, time.Hour, false)},
		{"the longer", Seniority{}, l("b", 0, time.Hour, true), l("a", 0, time.Minute, true)},
		{"of equal lengths the lower name", Seniority{}, l("a", 0, time.Hour, true), l("b", 0, time.Hour, true)},
		{"under bully the higher id", Bully{}, l("b", 2, time.Second, false), l("a", 1, time.Hour, true)},
	} {
		if tc.rule.Prefer(&tc.a, &tc.b) >= 0 || tc.rule.Prefer(&tc.b, &tc.a) <= 0 {
			t.Errorf("%s: %s does not stay", tc.what, tc.a.Leader.Name)
		}
	}
}

// TestRulesAgainstTheirTwins compares the rules with sorts written another way:
// one stable pass for each criterion, the least important first.
func TestRulesAgainstTheirTwins(t *testing.T) {
	twins := map[string]func([]Member){
		"seniority": func(ms []Member) {
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.Start, b.Start) })
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.Join.Number, b.Join.Number) })
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.Join.Group, b.Join.Group) })
			slices.SortStableFunc(ms, func(a, b Member) int {
				return cmp.Compare(min(1, b.Join.Number), min(1, a.Join.Number))
			})
		},
		"bully": func(ms []Member) {
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(b.Addr.Port(), a.Addr.Port()) })
			slices.SortStableFunc(ms, func(a, b Member) int { return b.Addr.Addr().Compare(a.Addr.Addr()) })
			slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(b.ID, a.ID) })
		},
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		members := make([]Member, 1+r.IntN(8))
		for i := range members {
			members[i] = Member{
				Name: string(rune('a' + i)), Start: r.Int64N(3), ID: r.Uint64N(3),
				Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(2))}), uint16(r.IntN(2))),
				Join: Join{Group: r.Uint64N(3), Number: r.Uint64N(3)},
			}
		}
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		for _, rule := range []Rule{Seniority{}, Bully{}} {
			got, want := slices.Clone(members), slices.Clone(members)
			slices.SortFunc(got, func(a, b Member) int { return rule.Compare(&a, &b) })
			twins[rule.Name()](want)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s: %v, want %v", seed, rule.Name(), got, want)
			}
		}
	}
}
