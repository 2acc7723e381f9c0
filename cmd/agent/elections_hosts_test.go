package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// furtherElections are how many elections with a floating address each run over
// three hosts.
const furtherElections = 6

// addressOf is the floating address of an election of the test.
func addressOf(i int) string { return fmt.Sprintf("10.88.0.%d", 101+i) }

// electionsFile writes the settings of all hosts.
func (l *lan) electionsFile() string {
	var b strings.Builder
	fmt.Fprintln(&b, "seeds: [10.88.0.1, 10.88.0.2, 10.88.0.3]\nvoters: seeds\nrebalance-delay: 3s\nelections:")
	for i := range furtherElections {
		fmt.Fprintf(&b, "  e%d: {floating-ip: %s/24@eth0}\n", i, addressOf(i))
	}
	path := filepath.Join(l.dir, "agent.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// spread returns how many elections each host leads and has the address of, and the
// term of each election. It is an error if one has no leader or another holder than
// its leader.
func (l *lan) spread(hosts []*host) (led map[*host]int, terms map[string]uint64, err error) {
	led, terms = map[*host]int{}, map[string]uint64{}
	for _, h := range hosts {
		own := h.addresses()
		var elections map[string]agent.ElectionInfo
		if !h.get("/elections", &elections) {
			return nil, nil, fmt.Errorf("%s does not answer", h.name)
		}
		for i := range furtherElections {
			name := fmt.Sprintf("e%d", i)
			holds := slices.ContainsFunc(own, func(a string) bool { return strings.HasPrefix(a, addressOf(i)+"/") })
			if e := elections[name]; e.Self != holds {
				return nil, nil, fmt.Errorf("%s leads %s: %v, has its address: %v", h.name, name, e.Self, holds)
			} else if e.Self {
				led[h]++
				terms[name] = e.Term
			}
		}
	}
	if len(terms) != furtherElections {
		return nil, nil, fmt.Errorf("%d of %d elections are led", len(terms), furtherElections)
	}
	return led, terms, nil
}

// Six elections with an address each are spread over three hosts. A host dies: its
// two go to the two others, one each, and the other four stay. It comes back, and
// gets two again.
func TestElectionsOnHosts(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	config := l.electionsFile()
	measured := l.beside(*electionRounds)
	for _, h := range l.hosts {
		h.start("--config", config)
	}
	for round := range *electionRounds { // more than one: measured says how long the addresses did not answer
		l.loseHostOfTwo(config, round, measured)
	}
	measured.print()
}

func (l *lan) loseHostOfTwo(config string, round int, measured *electionFigures) {
	t := l.t
	t.Helper()
	began := time.Now()
	two := func(hosts []*host, each int) (terms map[string]uint64) {
		t.Helper()
		l.eventually(func() error {
			measured.pause()
			led, now, err := l.spread(hosts)
			if err != nil {
				return err
			}
			for _, h := range hosts {
				if led[h] != each {
					return fmt.Errorf("%s leads %d elections, want %d", h.name, led[h], each)
				}
			}
			terms = now
			return nil
		})
		return terms
	}
	before := two(l.hosts, 2)
	t.Logf("two elections a host %v after the start", time.Since(began).Round(time.Millisecond))

	// Not the doyen at first, so that what is seen is the failover of these elections alone.
	doyen := round%2 == 1
	dead := l.hosts[slices.IndexFunc(l.hosts, func(h *host) bool { return h.state().IsLeader == doyen })]
	left := slices.DeleteFunc(slices.Clone(l.hosts), func(h *host) bool { return h == dead })
	measured.settled(l)
	began = time.Now()
	dead.die()
	dead.wait()
	measured.die()
	after := two(left, 3)
	t.Logf("one more on each of the others %v after a host died", time.Since(began).Round(time.Millisecond))
	measured.died(doyen, began, before, after)
	if moved := len(differing(before, after)); moved != 2 {
		t.Errorf("after the death of the host of two: %d elections have another term", moved)
	}

	for i := range furtherElections { // the host lost power: its addresses are gone
		dead.run("ip", "addr", "del", addressOf(i)+"/24", "dev", "eth0")
	}
	dead.isolate(false)
	began = time.Now()
	dead.start("--config", config)
	back := two(l.hosts, 2)
	t.Logf("two a host again %v after it was started", time.Since(began).Round(time.Millisecond))
	measured.handedBack(began, after, back)
	measured.boot()
	if moved := len(differing(after, back)); moved != 2 {
		t.Errorf("after the host was back: %d elections have another term, want 2 handed over", moved)
	}
}

// differing lists the elections whose terms differ.
func differing(before, after map[string]uint64) (names []string) {
	for name, term := range before {
		if after[name] != term {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
