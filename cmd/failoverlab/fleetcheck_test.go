//go:build linux

package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"doyen/agent"
)

// eventually waits until what returns no error, and reports whether it did.
func (f *fleet) eventually(what string, patience time.Duration, check func() error) bool {
	f.t.Helper()
	var err error
	for end := now() + patience; now() < end; time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return true
		}
	}
	f.errorf("not within %v: %s: %v", patience, what, err)
	return false
}

// settleTime is more than any machine needs until all is well.
const settleTime = 60 * time.Second

// settled waits until all agree on a leader, it alone has the address, a
// failover would work, and clients connect. It returns the leader. A fleet that
// does not settle ends its test: nothing more can be learnt from it.
func (f *fleet) settled() (leader *host) {
	f.t.Helper()
	if !f.eventually("all settle under one leader", settleTime, func() (err error) {
		leader, err = f.agree(f.net.hosts...)
		return err
	}) {
		f.t.FailNow()
	}
	return leader
}

// agree returns the leader that all these hosts name, if it alone has the
// address, they are ready for a failover, and clients reach it.
func (f *fleet) agree(hosts ...*host) (leader *host, err error) {
	for _, h := range hosts {
		if err := f.get(h, "/ready", nil, http.StatusOK); err != nil {
			return nil, err
		}
	}
	if leader, err = f.named(hosts...); err == nil {
		err = f.served(leader)
	}
	return leader, err
}

// named returns the leader that all these hosts name, if it alone has the
// address.
func (f *fleet) named(hosts ...*host) (leader *host, err error) {
	var first agent.State
	for i, h := range hosts {
		s, err := f.state(h)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = s
		}
		if s.Leader == nil || *s.Leader != *first.Leader || s.Term != first.Term || s.Electing {
			return nil, fmt.Errorf("%s says leader %s, term %d, electing %v", h.name, text(s.Leader), s.Term, s.Electing)
		}
		if s.IsLeader {
			leader = h
		}
	}
	if leader == nil {
		return nil, fmt.Errorf("%s is to lead, and none says that it does", text(first.Leader))
	}
	if have := f.holders(); !slices.Equal(have, []int{leader.index}) {
		return nil, fmt.Errorf("hosts %v have the address, and %s leads", have, leader.name)
	}
	return leader, nil
}

// served checks that clients reach the leader and no other host answers.
func (f *fleet) served(leader *host) error {
	if failed := failedAttempts(f.record.view().tried, now()-500*time.Millisecond, now()); len(failed) > 0 {
		return fmt.Errorf("a client cannot connect: %w", failed[0].err)
	}
	if host, ok := f.record.serving(500 * time.Millisecond); !ok || host != leader.index {
		return fmt.Errorf("%s leads, and clients are answered by %d (alone: %v)", leader.name, host, ok)
	}
	return nil
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// holders are the hosts whose interfaces have the address.
func (f *fleet) holders() (list []int) {
	f.record.mu.Lock()
	defer f.record.mu.Unlock()
	for i, has := range f.record.has {
		if has {
			list = append(list, i)
		}
	}
	return list
}

// others are the hosts but the given ones.
func (f *fleet) others(but ...*host) (list []*host) {
	for _, h := range f.net.hosts {
		if !slices.Contains(but, h) {
			list = append(list, h)
		}
	}
	return list
}

// unbroken checks that from one moment to another no connection to a host broke
// and every new one came about: as it must be while the address does not move.
func (f *fleet) unbroken(h *host, from, to time.Duration) {
	f.t.Helper()
	v := f.record.view()
	if list := brokenTo(v.broken, h.index, from, to); len(list) > 0 {
		f.errorf("%d connections to %s, whose address did not move, broke, the first %v after the beginning: %v", len(list), h.name, list[0].at-from, list[0])
	}
	if list := failedAttempts(v.tried, from, to); len(list) > 0 {
		first, last := list[0], list[len(list)-1]
		f.errorf("%d new connections did not come about (%d refused), the first %v after the beginning, in %v: %v; until %v later %d pings were answered",
			len(list), refusals(v.tried, from, to), first.at-from, first.took, first.err,
			last.at-first.at, answersOf(v.pings, h.index, first.at, last.at))
	}
	for _, c := range v.changes {
		if c.at > from && c.at <= to {
			f.errorf("%v after the beginning %s has the address: %v", c.at-from, f.net.hosts[c.host].name, c.has)
		}
	}
}

// errorf notes what is wrong with this round; the first time with the logs.
func (f *fleet) errorf(format string, args ...any) {
	f.t.Helper()
	f.t.Errorf(format, args...)
	if f.bad {
		return
	}
	f.bad = true
	for _, h := range f.net.hosts {
		text, _ := os.ReadFile(f.logName(h)) // without it the failure is poorer, no more
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(s string) bool { return strings.Contains(s, "level=DEBUG") })
		const enough = 25
		f.t.Logf("%s, at %v:\n%s", h.name, time.Now().UTC().Format("15:04:05.000"), strings.Join(lines[max(0, len(lines)-enough):], "\n"))
	}
}

// answersOf is how many proofs of a host began and ended between two moments.
func answersOf(proofs []proof, host int, from, to time.Duration) (number int) {
	for _, p := range proofs {
		number += boolToInt(p.host == host && p.sent >= from && p.got <= to)
	}
	return number
}

// total notes how long something took.
func (f *fleet) total(name string, d time.Duration) {
	if f.totals[name] == nil {
		f.order = append(f.order, name)
	}
	f.totals[name] = append(f.totals[name], d)
}

func (f *fleet) print() {
	for _, name := range f.order {
		f.t.Log(spread(name, f.totals[name]))
	}
}

// atMost checks a time by what is promised with -hosts.strict, else by what
// is kept on a busy machine too.
func (f *fleet) atMost(name string, d, promised time.Duration) {
	f.t.Helper()
	f.total(name, d)
	if !*hostStrict {
		promised = 2*promised + time.Second
	}
	if d > promised {
		f.errorf("%s: %v, want at most %v", name, d, promised)
	}
}

// poll asks all hosts whether they lead, until the function that it returns is
// called; that one returns when they said so.
func (f *fleet) poll() (end func() []proof) {
	stop, found := make(chan struct{}), make(chan []proof)
	for _, h := range f.net.hosts {
		go func() {
			var said []proof
			for {
				select {
				case <-stop:
					found <- said
					return
				case <-time.After(10 * time.Millisecond):
				}
				if sent := now(); f.get(h, "/is-leader", nil, http.StatusOK) == nil {
					said = append(said, proof{h.index, sent, now()})
				}
			}
		}()
	}
	return func() (all []proof) {
		close(stop)
		for range f.net.hosts {
			all = append(all, <-found...)
		}
		slices.SortFunc(all, func(a, b proof) int { return cmp.Compare(a.got, b.got) })
		return all
	}
}

// leaderless is the longest time in which no host said that it leads.
func leaderless(said []proof, from, to time.Duration) time.Duration {
	var replies []reply
	for _, p := range said {
		replies = append(replies, reply{p.got, p.host})
	}
	return longestPause(replies, from, to)
}
