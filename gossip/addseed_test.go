package gossip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"
)

// A member that no seed leads to joins by a seed that is added while it runs,
// and one that comes up only later is dialled until then.
func TestAddSeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &simnet.Network{}
		a, b := start(t, Config{Transport: n.Host()}), start(t, Config{Transport: n.Host()})
		wantNames(t, a, a)
		for _, seed := range []string{"10.0.0.2:4000", "10.0.0.2", "10.0.0.3:4000"} {
			if err := a.AddSeed(seed); err != nil {
				t.Fatalf("AddSeed(%q): %v", seed, err)
			}
		}
		time.Sleep(20 * time.Second)
		wantNames(t, a, a, b)
		c := start(t, Config{Transport: n.Host()})
		time.Sleep(20 * time.Second)
		wantNames(t, a, a, b, c)
		if got, want := a.AddedSeeds(), []string{"10.0.0.2:4000", "10.0.0.3:4000"}; !slices.Equal(got, want) {
			t.Errorf("added seeds: got %q, want %q", got, want)
		}
		found(t, a, findings.SeedAdded)
		if !a.View().Settled {
			t.Error("a seed that was added has unsettled the group")
		}
	})
}

func TestAddSeedRefusesWhatIsNoAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := start(t, Config{Transport: (&simnet.Network{}).Host()})
		for _, seed := range []string{"", "exec:/bin/sh", "srv+_doyen._udp.example", "a b", "http://a", "a:99999"} {
			if g.AddSeed(seed) == nil {
				t.Errorf("AddSeed(%q) was taken", seed)
			}
		}
		for i := range maxAdded {
			if err := g.AddSeed(fmt.Sprintf("10.1.0.1:%d", 5000+i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.AddSeed("10.2.0.1"); err == nil || !strings.Contains(err.Error(), "the most") {
			t.Errorf("one too many: got %v", err)
		}
	})
}
