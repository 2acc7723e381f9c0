//go:build linux

package main

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const ms = time.Millisecond

func TestOutage(t *testing.T) {
	answers := []reply{{95 * ms, 0}, {100 * ms, 0}, {105 * ms, 0}, {155 * ms, 1}, {160 * ms, 1}}
	for _, test := range []struct {
		name           string
		from, to, want time.Duration
	}{
		{"within", 100 * ms, 160 * ms, 45 * ms},
		{"counts from the fault only", 130 * ms, 160 * ms, 20 * ms},
		{"lasts to the end", 157 * ms, 260 * ms, 95 * ms},
		{"no answer at all", 200 * ms, 300 * ms, 95 * ms},
		{"none", 155 * ms, 160 * ms, 0},
	} {
		if got := outage(answers, test.from, test.to); got != test.want {
			t.Errorf("%s: want %v, got %v", test.name, test.want, got)
		}
	}
}

// row is a row of proofs of one host, each answered after 1 ms.
func row(host int, sent ...time.Duration) (list []proof) {
	for _, s := range sent {
		list = append(list, proof{host, s, s + ms})
	}
	return list
}

func TestHeld(t *testing.T) {
	proofs := slices.Concat(row(0, 0, 4*ms, 8*ms, 12*ms), row(1, 16*ms, 20*ms), row(0, 40*ms), row(0, 60*ms, 64*ms))
	got := held(proofs, watchEvery, 0, time.Second)
	if want := []span{{1 * ms, 12 * ms}, {61 * ms, 64 * ms}}; !slices.Equal(got[0], want) {
		t.Errorf("host 0: want %v, got %v", want, got[0])
	}
	if want := []span{{17 * ms, 20 * ms}}; !slices.Equal(got[1], want) {
		t.Errorf("host 1: want %v, got %v", want, got[1])
	}
	if got := held(proofs, watchEvery, 2*ms, 10*ms)[0]; !slices.Equal(got, []span{{5 * ms, 8 * ms}}) {
		t.Errorf("in a window: want 5ms to 8ms, got %v", got)
	}
}

func TestOverlap(t *testing.T) {
	for _, test := range []struct {
		name  string
		spans [maxHosts][]span
		want  time.Duration
	}{
		{"none", [maxHosts][]span{{{0, 5 * ms}}, {{6 * ms, 9 * ms}}}, 0},
		{"a hand-over at one moment", [maxHosts][]span{{{0, 5 * ms}}, {{5 * ms, 9 * ms}}}, 0},
		{"two", [maxHosts][]span{{{0, 5 * ms}}, {{3 * ms, 9 * ms}}}, 2 * ms},
		{"three count once", [maxHosts][]span{{{0, 9 * ms}}, {{3 * ms, 9 * ms}}, {{5 * ms, 12 * ms}}}, 6 * ms},
		{"twice", [maxHosts][]span{{{0, 2 * ms}, {8 * ms, 9 * ms}}, {{1 * ms, 20 * ms}}}, 2 * ms},
	} {
		if got := overlap(test.spans); got != test.want {
			t.Errorf("%s: want %v, got %v", test.name, test.want, got)
		}
	}
}

func TestOnInterfaces(t *testing.T) {
	changes := []change{{0, 0, true}, {1, 50 * ms, true}, {0, 60 * ms, false}, {2, 70 * ms, false}}
	got := onInterfaces(changes, 10*ms, 100*ms, -1, 0)
	if !slices.Equal(got[0], []span{{10 * ms, 60 * ms}}) || !slices.Equal(got[1], []span{{50 * ms, 100 * ms}}) || got[2] != nil {
		t.Errorf("want 10ms to 60ms, 50ms to the end, and nothing, got %v", got)
	}
	if got := onInterfaces(changes, 10*ms, 100*ms, 0, 40*ms)[0]; !slices.Equal(got, []span{{10 * ms, 40 * ms}}) {
		t.Errorf("with host 0 dead at 40ms: want 10ms to 40ms, got %v", got)
	}
	if got := addressStayed(changes, 0, 20*ms, 100*ms); got != 40*ms {
		t.Errorf("want the address to stay 40ms, got %v", got)
	}
	if got := addressStayed(changes, 1, 20*ms, 100*ms); got != 0 {
		t.Errorf("want an address that was not there not to have stayed, got %v", got)
	}
}

func TestTakeoverAndFailovers(t *testing.T) {
	proofs := slices.Concat(row(0, 0, 10*ms, 20*ms), row(1, 5*ms, 30*ms, 34*ms))
	if at, ok := takeover(proofs, 0, 8*ms, time.Second); !ok || at != 23*ms {
		t.Errorf("want a takeover 23ms after the fault, got %v, %v", at, ok)
	}
	if _, ok := takeover(proofs, 0, 40*ms, time.Second); ok {
		t.Error("want no takeover after the last answer")
	}
	if got := lastAnswer(proofs, func(h int) bool { return h == 0 }, 8*ms, time.Second); got != 12*ms {
		t.Errorf("want the former holder's last answer 12ms after the fault, got %v", got)
	}
	changes := []change{{0, 1 * ms, true}, {1, 3 * ms, true}, {0, 4 * ms, false}, {0, 5 * ms, true}, {2, 9 * ms, true}}
	if got := failovers(changes, 2*ms, 8*ms); got != 2 {
		t.Errorf("want 2 failovers, got %d", got)
	}
}

func TestRecordForgets(t *testing.T) {
	r := new(record)
	for _, c := range []change{{0, 1 * ms, true}, {0, 2 * ms, true} /* a renewal */, {1, 3 * ms, true}, {1, 4 * ms, false}} {
		r.keep(seen{change: &c})
	}
	r.keep(seen{reply: &reply{1 * ms, 0}})
	r.keep(seen{reply: &reply{9 * ms, 0}})
	r.forget(8 * ms)
	v := r.view()
	if want := []change{{0, 8 * ms, true}}; !slices.Equal(v.changes, want) {
		t.Errorf("want only what is needed to know who has the address, %v, got %v", want, v.changes)
	}
	if want := []reply{{9 * ms, 0}}; !slices.Equal(v.replies, want) {
		t.Errorf("want %v, got %v", want, v.replies)
	}
}

func TestSummary(t *testing.T) {
	got := summarize([]result{
		{Scenario: "stop", Figures: map[string]float64{"outage": 3}},
		{Scenario: "stop", Figures: map[string]float64{"outage": 1}},
		{Scenario: "stop", Error: "failed"},
		{Scenario: "stop", Figures: map[string]float64{"outage": 8, "takeover": 5}},
	})["stop"]
	if want := (summary{Median: 3, Min: 1, Max: 8, Count: 3}); got["outage"] != want {
		t.Errorf("want %v, got %v", want, got["outage"])
	}
	if want := (summary{Median: 5, Min: 5, Max: 5, Count: 1}); got["takeover"] != want {
		t.Errorf("want %v, got %v", want, got["takeover"])
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("want the middle between 2 and 3, got %v", got)
	}
}

func TestPick(t *testing.T) {
	groups := map[string]func(*scenario) bool{"calm": func(s *scenario) bool { return s.calm }}
	name := func(s *scenario) string { return s.name }
	got, err := pick("scenarios", "stop,calm", scenarios, name, groups)
	if err != nil || len(got) != 4 || got[0].name != "stop" || !got[1].calm {
		t.Errorf("want stop and the three calm ones, got %d, %v", len(got), err)
	}
	if _, err := pick("scenarios", "earthquake", scenarios, name, groups); err == nil {
		t.Error("want an unknown scenario to be refused")
	}
}

func TestConnections(t *testing.T) {
	list := []attempt{
		{at: 1 * ms, took: 30 * ms},                          // before the stretch
		{at: 10 * ms, took: 4 * ms},                          //
		{at: 20 * ms, took: 9 * ms},                          // the slowest
		{at: 30 * ms, took: 1 * ms, err: unix.ECONNREFUSED},  //
		{at: 40 * ms, took: 20 * ms, err: unix.EHOSTUNREACH}, //
		{at: 50 * ms, took: 60 * ms},                         // ends after it
	}
	if got := slowestConnect(list, 5*ms, 100*ms); got != 9*ms {
		t.Errorf("want the slowest connection to take 9ms, got %v", got)
	}
	if got := len(failedAttempts(list, 5*ms, 100*ms)); got != 2 {
		t.Errorf("want 2 attempts to have failed, got %d", got)
	}
	if got := refusals(list, 5*ms, 100*ms); got != 1 {
		t.Errorf("want 1 of them refused, got %d", got)
	}
}
