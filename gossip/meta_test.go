package gossip

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

var here = netip.MustParseAddrPort("10.0.0.1:4000")

// fullPeer has every field set.
func fullPeer() Peer {
	return Peer{
		Member: seniority.Member{
			Name: "a", Addr: here, Incarnation: 1 << 63, Start: -5, ID: math.MaxUint64, Role: seniority.Witness, Eligible: true,
			Join: seniority.Join{Group: 9, Number: 3}, Voter: "voter",
		},
		Extra:     Extra{HTTP: "a:80", Rule: "bully", Mode: "quorum", Voters: "9f86d081884c"},
		Death:     [deathMarkSize]byte{1, 2, 3},
		Unfit:     "unhealthy",
		Advertise: "a.example:4000", home: netip.MustParseAddrPort("10.0.0.9:4000"),
	}
}

func TestMetaRoundTrip(t *testing.T) {
	plain := Peer{Member: seniority.Member{Name: "a:1", Addr: here, Incarnation: 1, Voter: "a:1"}, Advertise: "a:1", home: here}
	for _, want := range []Peer{fullPeer(), plain} {
		meta := appendMeta(nil, &want)
		got, err := parseMeta(want.Name, want.home, meta)
		if err != nil || got != want {
			t.Errorf("want %+v, got %+v, %v", want, got, err)
		}
		if n := longestMeta(want); n > memberlist.MetaMaxSize || n < len(meta) {
			t.Errorf("want a bound between %d and %d, got %d", len(meta), memberlist.MetaMaxSize, n)
		}
	}
	if got := len(appendMeta(nil, &plain)); got > 20 {
		t.Errorf("want the usual meta to be short, got %d bytes", got)
	}
}

func TestMalformedMetaIsRefusedByReason(t *testing.T) {
	p := fullPeer()
	p.home = p.Addr
	good := appendMeta(nil, &p)
	with := func(fields ...byte) []byte { return append([]byte{metaVersion, tagIncarnation, 1, 1}, fields...) }
	for _, tc := range []struct {
		name string
		meta []byte
		want error
	}{
		{"empty", nil, errMetaVersion},
		{"other version", append([]byte{99}, good[1:]...), errMetaVersion},
		{"cut", good[:len(good)-1], errMetaTruncated},
		{"tag alone", with(tagStart), errMetaTruncated},
		{"twice", with(tagIncarnation, 1, 1), errMetaOrder},
		{"wrong order", with(tagID, 1, 1, tagStart, 1, 1), errMetaOrder},
		{"zero field", with(tagID, 1, 0), errMetaValue},
		{"empty field", with(tagID, 0), errMetaValue},
		{"padded integer", with(tagID, 2, 0x81, 0), errMetaValue},
		{"trailing byte", with(tagID, 2, 1, 1), errMetaValue},
		{"eligible 2", with(tagEligible, 1, 2), errMetaValue},
		{"no such role", with(tagRole, 1, 9), errMetaRole},
		{"control character", with(tagAdvertise, 1, 7), errMetaText},
		{"empty text", with(tagAdvertise, 0), errMetaText},
		{"name spelled out", with(tagAdvertise, 1, 'a'), errMetaValue},
		{"no incarnation", []byte{metaVersion, tagAdvertise, 1, '='}, errMetaValue},
		{"no address", with(), errMetaValue},
		{"too long", append(with(), make([]byte, 600)...), errMetaLong},
	} {
		if _, err := parseMeta("a", here, tc.meta); !errors.Is(err, tc.want) {
			t.Errorf("%s: want %v, got %v", tc.name, tc.want, err)
		}
	}
	if _, err := parseMeta("a", here, with(tagAdvertise, 1, '=', tagsKnown, 2, 1, 2)); err != nil {
		t.Errorf("want a field of a newer version skipped, got %v", err)
	}
}

func TestMemberThatDoesNotFitIsRefused(t *testing.T) {
	p := fullPeer()
	p.Voter, p.Advertise = strings.Repeat("v", 250), strings.Repeat("h", 250)
	if err := checkMeta(&p); err == nil || !strings.Contains(err.Error(), "advertise-addr") {
		t.Errorf("want an error that names the flags, got %v", err)
	}
}

func FuzzMeta(f *testing.F) {
	p := fullPeer()
	f.Add(appendMeta(nil, &p))
	f.Add([]byte{metaVersion, tagIncarnation, 1, 1, tagAdvertise, 1, '='})
	f.Fuzz(func(t *testing.T, meta []byte) {
		got, err := parseMeta("a", here, meta)
		if err != nil {
			return
		}
		again := appendMeta(nil, &got)
		if back, err := parseMeta("a", here, again); err != nil || back != got {
			t.Fatalf("want %+v, got %+v, %v", got, back, err)
		}
		if !bytes.HasPrefix(meta, again) {
			t.Fatalf("want one encoding only: %x and %x mean the same", meta, again)
		}
		if checkText(got.Advertise) != nil {
			t.Fatalf("want no text that cannot be printed, got %q", got.Advertise)
		}
	})
}
