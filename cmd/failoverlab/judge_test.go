//go:build linux

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLateAnswers tells a hand-over from an old holder that answers on.
func TestLateAnswers(t *testing.T) {
	changes := []change{{0, 0, true}, {1, 50 * ms, true}, {0, 90 * ms, false}}
	for name, test := range map[string]struct {
		proofs []proof
		wrong  int
	}{
		"the old one is silent before the new one answers": {slices.Concat(row(0, 0, 10*ms, 40*ms), row(1, 5*ms, 60*ms, 80*ms)), 0},
		"it answers once more":                             {slices.Concat(row(0, 0, 10*ms, 40*ms), row(1, 5*ms, 60*ms), row(0, 0, 70*ms)), 1},
		"it is asked before the new one answers":           {[]proof{{0, 10 * ms, 10 * ms}, {1, 55 * ms, 60 * ms}, {0, 58 * ms, 70 * ms}}, 0},
		"the new one never answers":                        {row(0, 0, 10*ms, 40*ms, 70*ms), 0},
	} {
		if got := lateAnswers(test.proofs, changes, 0, 100*ms); len(got) != test.wrong {
			t.Errorf("%s: want %d findings, got %q", name, test.wrong, got)
		}
	}
	back := []change{{0, 0, true}, {0, 40 * ms, false}, {1, 50 * ms, true}, {1, 70 * ms, false}, {0, 75 * ms, true}}
	if got := lateAnswers(slices.Concat(row(0, 0, 10*ms), row(1, 0, 60*ms), row(0, 0, 80*ms)), back, 0, 100*ms); len(got) > 0 {
		t.Errorf("want a host that gets the address again not to be the old one, got %q", got)
	}
}

func TestWrongTerms(t *testing.T) {
	for name, test := range map[string]struct {
		list []said
		want string // part of what is found; "" for nothing
	}{
		"terms rise":                     {[]said{{0, 5, 0, 1 * ms}, {1, 7, 2 * ms, 3 * ms}, {1, 7, 4 * ms, 5 * ms}}, ""},
		"one term, two leaders":          {[]said{{0, 5, 0, 1 * ms}, {1, 5, 2 * ms, 3 * ms}}, "term 5 is led by"},
		"an older term after a newer":    {[]said{{1, 7, 0, 1 * ms}, {0, 5, 2 * ms, 3 * ms}}, "h1 leads term 5"},
		"asked before the newer was led": {[]said{{0, 5, 0, 9 * ms}, {1, 7, 2 * ms, 3 * ms}}, ""},
	} {
		got := strings.Join(wrongTerms(test.list), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: want %q, got %q", name, test.want, got)
		}
	}
}

func TestLongestSilence(t *testing.T) {
	const end = time.Second
	every := func(from, to time.Duration) (list []proof) {
		for at := from; at <= to; at += 10 * ms {
			list = append(list, proof{1, at, at})
		}
		return list
	}
	answers := slices.Concat(every(0, 200*ms), every(500*ms, end)) // 300 ms of silence
	whole := condition{}
	noHost0, noHost1, cut01 := whole, whole, whole
	noHost0.well[0], noHost1.well[1], cut01.cut[0][1] = never, never, true
	at := func(at time.Duration, c condition) condition { c.at = at; return c }
	for name, test := range map[string]struct {
		list  []condition
		blind []span
		want  time.Duration
	}{
		"all whole":                      {[]condition{whole}, nil, 300 * ms},
		"one away":                       {[]condition{noHost0}, nil, 300 * ms},
		"one cut, the third with each":   {[]condition{cut01}, nil, 300 * ms},
		"another majority from 400ms on": {[]condition{noHost0, at(400*ms, noHost1)}, nil, 200 * ms},
		"abstains until 450ms":           {[]condition{{well: [maxHosts]time.Duration{450 * ms, 450 * ms, 450 * ms}}}, nil, 50 * ms},
		"blind for most of it":           {[]condition{whole}, []span{{250 * ms, 480 * ms}}, 50 * ms},
		"no majority":                    {[]condition{{well: [maxHosts]time.Duration{never, never}}}, nil, 0},
	} {
		s := longestSilence(answers, test.list, 3, test.blind, end)
		if got := s.to - s.from; got != test.want {
			t.Errorf("%s: want %v, got %v, of %v", name, test.want, got, s.hosts)
		}
	}
}

// TestNemesis is its short form: random faults at three and five hosts.
func TestNemesis(t *testing.T) {
	program, agent, dir := theLab(t, "takes some twenty seconds")
	for _, hosts := range []string{"3", "5"} {
		t.Run(hosts, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(dir, hosts)
			// A busy machine needs longer; that nothing else is wrong does not depend on it.
			runLab(t, program, dir, "-agent", agent, "-subjects", "doyen-lan-quorum,doyen-lan", "-together", "2",
				"-nemesis", "15s", "-hosts", hosts, "-seed", hosts, "-slack", "20s", "-logs", dir)
		})
	}
}
