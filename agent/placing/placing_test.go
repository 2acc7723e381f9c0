package placing

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"doyen/seniority"
)

// short says that names in small letters are valid.
func short(name string) bool { return name[0] >= 'a' }

// What no member of this version could publish of itself is not taken over.
func TestDetailsOutOfRangeAreDropped(t *testing.T) {
	got := parse([]byte(`{"e":{"web":{"o":2,"i":18446744073709551615},"mail":{"o":3},"Bad":{}}}`), short)
	if want := (Candidacy{ID: math.MaxUint64, Role: seniority.Observer}); len(got.Elections) != 1 || !reflect.DeepEqual(got.Elections["web"], want) {
		t.Errorf("want web alone, as %+v, got %+v", want, got.Elections)
	}
	many := Detail{Elections: map[string]Candidacy{}}
	for i := range MaxElections + 1 {
		many.Elections[fmt.Sprint("e", i)] = Candidacy{}
	}
	text, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(text, short); len(got.Elections) != 0 {
		t.Errorf("%d elections of one member are taken over, more than %d", len(got.Elections), MaxElections)
	}
	if got := parse([]byte("{"), short); got.Elections != nil || got.Placement != nil {
		t.Errorf("want nothing of what is no JSON, got %+v", got)
	}
}

func TestDetailsOfOthers(t *testing.T) {
	details := NewDetails(short)
	details.Read("b", []byte(`{"e":{"web":{"r":"bully","f":["x"]}}}`))
	details.Read("a", []byte(`{"e":{"web":{"r":"unknown"},"mail":{"r":"seniority"}}}`))
	if rule, ok := details.Rule("web"); !ok || rule.Name() != "bully" {
		t.Errorf("rule of web: want that of the first candidate that names one, bully, got %v", rule)
	}
	if got := details.Prefer("web"); !slices.Equal(got, []string{"x"}) {
		t.Errorf("preferred for web: want x, got %q", got)
	}
	details.Read("a", nil)
	if _, ok := details.Of("a", "mail"); ok {
		t.Error("what a publishes no longer is still known")
	}
	details.Keep(map[string]bool{"a": true})
	if _, ok := details.Of("b", "web"); ok {
		t.Error("what b has published is known although b has gone")
	}
}

// Elections move one at a time, each after the delay, and one that does not succeed
// leaves its turn to another.
func TestMoves(t *testing.T) {
	var p Placing
	leaders := map[string]string{"one": "a", "two": "a", "three": "a", "four": "a"}
	describe := func() (all []seniority.Placed) {
		for _, name := range []string{"one", "two", "three", "four"} {
			all = append(all, seniority.Placed{Name: name, Leader: leaders[name], Candidates: []string{"a", "b"}})
		}
		return all
	}
	c := Config{Self: "a", How: seniority.Spread, Delay: time.Minute}
	at := func(now time.Duration) string {
		p.Decide(now, c, 7, describe, func() bool { return false })
		return p.Published().Move
	}
	const began = time.Hour
	if got := at(began); got != "" {
		t.Errorf("at once: want no move, got %s", got)
	}
	first := at(began + time.Minute)
	if first == "" {
		t.Fatal("after the delay: want a move")
	}
	if got := at(began + time.Minute + moveLimit - 1); got != first {
		t.Errorf("while it is under way: want %s, got %q", first, got)
	}
	if got := at(began + time.Minute + moveLimit); got != "" {
		t.Errorf("when it has not succeeded: want none for now, got %s", got)
	}
	second := at(began + time.Minute + moveLimit)
	if second == "" || second == first {
		t.Errorf("then: want the other, got %q after %q", second, first)
	}
	leaders[second] = "b"
	if got := at(began + 2*time.Minute); got != "" {
		t.Errorf("after it has moved: want none before the delay of %s is over anew, got %s", first, got)
	}
	p.Rest()
	if p.Published() != nil {
		t.Error("a member that is not the doyen publishes a placement")
	}
}

func TestNothingIsPlacedTooEarly(t *testing.T) {
	var p Placing
	leader := ""
	describe := func() []seniority.Placed {
		return []seniority.Placed{{Name: "web", Leader: leader, Candidates: []string{"a"}}}
	}
	decide := func(early bool) *Placement {
		p.Decide(time.Hour, Config{Self: "a", How: seniority.Spread}, 7, describe, func() bool { return early })
		return p.Published()
	}
	if decide(true) != nil {
		t.Error("placed although members may still be coming")
	}
	leader = "a"
	if decide(true) == nil {
		t.Error("not placed although an election is led already")
	}
}

// The newest placement counts, and a member's own only while it is the doyen.
func TestTheNewestPlacementIsFollowed(t *testing.T) {
	var p Placing
	details := NewDetails(short)
	if p.Follow(0, &details) != nil {
		t.Error("want none before one is known")
	}
	details.Read("b", []byte(`{"p":{"t":5,"c":{"web":["b",""]}}}`))
	details.Read("c", []byte(`{"p":{"t":4,"c":{"web":["c",""]}}}`))
	if got := p.Follow(5, &details); got.Choice("web").First != "b" {
		t.Errorf("want that of term 5, got %+v", got)
	}
	p.Decide(time.Hour, Config{Self: "a", How: seniority.ByRule}, 6, nil, nil)
	if got := p.Follow(6, &details); got.Term != 6 || len(got.Choices) != 0 {
		t.Errorf("by rule: want an empty placement under term 6, got %+v", got)
	}
}

// When no election is left to be placed the placement says so: members would go by the
// last one that they have heard of.
func TestNothingLeftToPlaceIsPublished(t *testing.T) {
	placed := []seniority.Placed{{Name: "web", Candidates: []string{"a"}, Leader: "a"}}
	var p Placing
	details := NewDetails(short)
	decide := func() {
		p.Decide(1, Config{Self: "a"}, 7, func() []seniority.Placed { return placed }, func() bool { return false })
		p.Follow(7, &details)
	}
	decide()
	if got := p.Published(); got == nil || got.Choice("web").First != "a" {
		t.Fatalf("want web placed at a, got %+v", got)
	}
	placed = nil
	decide()
	if got := p.Published(); got == nil || got.Term != 7 || got.Choice("web").First != "" {
		t.Errorf("want a placement of nothing, got %+v", got)
	}
	var fresh Placing
	fresh.Decide(1, Config{Self: "a"}, 7, func() []seniority.Placed { return nil }, func() bool { return false })
	if got := fresh.Published(); got != nil {
		t.Errorf("want nothing published where nothing was ever placed, got %+v", got)
	}
}
