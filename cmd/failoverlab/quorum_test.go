//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"doyen/agent"
	"doyen/seniority"

	"golang.org/x/sys/unix"
)

// The proofs of quorum mode on real processes. checkRound looks in every round
// for what must never be; each test adds what its fault must bring about. Times
// are asserted only with -quorum.strict.

// successor waits until another than the former leader says that it leads, and
// returns its first such answer.
func (l *trio) successor(former *host, fault time.Duration) (first proof) {
	l.t.Helper()
	l.eventually("another leads", func() error {
		for _, p := range l.said() {
			if p.host != former.index && p.sent > fault && (first.got == 0 || p.got < first.got) {
				first = p
			}
		}
		if first.got == 0 {
			return errors.New("no other host says so")
		}
		return nil
	})
	return first
}

// checkTakeover looks at how the lead went from one to another after a fault:
// the former leader stopped saying that it leads, and ran its release to the
// end, before the successor said so and began its acquire.
func (l *trio) checkTakeover(former *host, fault time.Duration, first proof) {
	l.t.Helper()
	next := l.net.hosts[first.host]
	var acquired hookLine
	l.eventually("the successor's acquire", func() error {
		var ok bool
		if acquired, ok = find(l.lines(), fault, nameOf(next), "acquire", "begin"); !ok {
			return errors.New("it has not begun")
		}
		return nil
	})
	last := fault
	for _, p := range l.said() {
		if p.host == former.index {
			last = max(last, p.sent)
		}
	}
	if last > first.got {
		l.errorf("%s still says that it leads %v after %s said so", former.name, last-first.got, next.name)
	}
	if l.releaseKilled(nameOf(former)) && !*quorumStrict {
		return // it was tried again, later
	}
	lines := l.lines()
	began, ok := find(lines, fault, nameOf(former), "release", "begin")
	if !ok || began.at > acquired.at || began.at > first.got {
		l.errorf("%s leads without a release of %s before", next.name, former.name)
		return
	}
	if ended, ok := find(lines, fault, nameOf(former), "release", "end"); ok {
		if ended.at > first.got {
			l.errorf("the release of %s ends %v after %s said that it leads", former.name, ended.at-first.got, next.name)
		}
		l.figure("from the fault to the end of release", ended.at-fault)
		l.figure("from the end of release to the next acquire", acquired.at-ended.at)
	}
	l.figure("from the fault to the last word of the former", last-fault)
	l.figure("from the fault to the next leader's word", first.got-fault)
}

// noAcquire checks that a node did not acquire after a fault.
func (l *trio) noAcquire(h *host, fault time.Duration) {
	l.t.Helper()
	if x, ok := find(l.lines(), fault, nameOf(h), "acquire", "begin"); ok {
		l.errorf("%s acquires again, term %d", h.name, x.term)
	}
}

// slowRelease makes an overlap of release and acquire long enough to be seen.
const slowRelease = "RELEASE_TAKES=0.05"

// A leader that is cut off from both others has stopped before another leads.
func TestQuorumLeaderCutOff(t *testing.T) {
	onTrio(t, func(l *trio, _ int) {
		former, _ := l.settled()
		fault := now()
		var peers []*node
		for _, h := range l.others(former) {
			peers = append(peers, h.node)
		}
		if err := l.net.cables.set(both(former.node, peers...)...); err != nil {
			t.Fatal(err)
		}
		l.checkTakeover(former, fault, l.successor(former, fault))
		if err := l.net.cables.set(); err != nil {
			t.Fatal(err)
		}
		l.settled()
		l.noAcquire(former, fault)
	}, slowRelease)
}

// The keeper of an agent that hangs releases before another leads, and the agent
// follows when it wakes.
func TestQuorumLeaderFrozen(t *testing.T) {
	onTrio(t, func(l *trio, _ int) {
		former, _ := l.settled()
		fault := now()
		if err := former.signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		first := l.successor(former, fault)
		if err := former.signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		l.settled()
		l.checkTakeover(former, fault, first)
		l.noAcquire(former, fault)
	}, slowRelease)
}

// The keeper of an agent that was killed releases at once, and its word lets
// another lead at once.
func TestQuorumLeaderKilled(t *testing.T) {
	onTrio(t, func(l *trio, number int) {
		former, _ := l.settled()
		fault := now()
		if err := former.signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l.checkTakeover(former, fault, l.successor(former, fault))
		<-former.main.ended
		l.start(former)
		if number == *quorumRounds-1 && *quorumStrict && l.median("from the fault to the next leader's word") >= 100*time.Millisecond {
			l.errorf("a leader's crash takes 100 ms or more at the median")
		}
	})
}

// One of three voters never leads, and says why; two lead again.
func TestQuorumMinority(t *testing.T) {
	onTrio(t, func(l *trio, number int) {
		leader, _ := l.settled()
		down := l.others(leader)
		if number%2 == 1 {
			down[0] = leader
		}
		fault := now()
		for _, h := range down {
			l.die(h)
		}
		dead := now()
		left := l.others(down...)[0]
		var ready agent.Readiness
		l.eventually("the one that is left says why no member leads", func() error { return l.saysWhy(left, &ready) })
		l.figure("from the fault to saying why", now()-fault)
		timing, err := seniority.Profile("lan")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(max(0, dead+2*timing.Lease-now()))
		for _, p := range l.said() {
			if p.sent > dead+timing.Lease {
				l.errorf("%s leads without a majority", l.net.hosts[p.host].name)
				break
			}
		}
		back := down[l.dice.IntN(2)]
		l.start(back)
		up := l.up(back)
		took := l.successorOf(up) - up
		l.figure("from one being back to a leader", took)
		bound := time.Duration(ready.WorstFailoverMS)*time.Millisecond + seniority.Drifted(timing.Lease)
		if took > bound && *quorumStrict {
			l.errorf("a leader after %v, want within %v", took, bound)
		}
		for _, h := range down {
			if h != back {
				l.start(h)
			}
		}
	})
}

// saysWhy checks what a voter without a majority answers.
func (l *trio) saysWhy(h *host, ready *agent.Readiness) error {
	const why = "only 1 of 3 voters are there, and a majority must confirm"
	if err := l.get(h, "/ready", ready, http.StatusServiceUnavailable); err != nil {
		return err
	}
	if !strings.Contains(strings.Join(ready.Reasons, "\n"), why) {
		return fmt.Errorf("/ready says %q", ready.Reasons)
	}
	var diag struct {
		Verdict struct {
			Status   string
			Findings []struct{ Evidence string }
		}
	}
	if err := l.get(h, "/diag?timeout=200ms", &diag, http.StatusOK, http.StatusServiceUnavailable); err != nil {
		return err
	}
	if diag.Verdict.Status != "no-leader" || !strings.Contains(fmt.Sprint(diag.Verdict.Findings), "1 of 3 voters answered (10.77.0.") {
		return fmt.Errorf("/diag says %+v", diag.Verdict)
	}
	return nil
}

// up waits until an agent that was started answers, and returns when it did.
func (l *trio) up(h *host) time.Duration {
	l.t.Helper()
	l.eventually(h.name+" answers", func() error { return l.get(h, "/ping", nil, http.StatusOK) })
	return now()
}

// successorOf returns when somebody first says that he leads, after a moment.
func (l *trio) successorOf(moment time.Duration) time.Duration {
	l.t.Helper()
	return l.successor(&host{index: -1}, moment).got
}

// A node that was isolated and comes back changes neither leader nor term.
func TestQuorumFollowerIsolated(t *testing.T) {
	onTrio(t, func(l *trio, number int) {
		leader, term := l.settled()
		others := l.others(leader)
		alone := others[number%2]
		fault := now()
		if err := l.net.cables.set(both(alone.node, leader.node, others[1-number%2].node)...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(*quorumAlone)
		healed := now()
		if err := l.net.cables.set(); err != nil {
			t.Fatal(err)
		}
		l.settled()
		l.figure("from the return to all being settled", now()-healed)
		time.Sleep(2 * time.Second) // what the return stirs up comes late, if ever
		after, again := l.settled()
		if after != leader || again != term {
			l.errorf("%s led term %d, after the return of %s leads %s term %d", leader.name, term, alone.name, after.name, again)
		}
		for _, event := range []string{"acquire", "release"} {
			if x, ok := find(l.lines(), fault, "", event, "begin"); ok {
				l.errorf("the hook of %s runs %s, term %d, reason %s", x.node, event, x.term, x.reason)
			}
		}
	})
}

// Terms rise across a restart of all, in good order or not, without a disk.
func TestQuorumFullRestart(t *testing.T) {
	onTrio(t, func(l *trio, number int) {
		_, term := l.settled()
		for _, h := range l.net.hosts {
			if number%2 == 1 {
				l.die(h)
			} else if err := h.signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range l.net.hosts {
			<-h.main.ended
		}
		started := now()
		for _, h := range l.net.hosts {
			l.start(h)
		}
		var up time.Duration
		for _, h := range l.net.hosts {
			up = max(up, l.up(h))
		}
		first := l.successorOf(started)
		l.figure("from the last being started to a leader", first-started)
		l.figure("from the last being up to a leader", first-up)
		timing, err := seniority.Profile("lan")
		if err != nil {
			t.Fatal(err)
		}
		if bound := timing.Lease + 500*time.Millisecond; first-up > bound && *quorumStrict {
			l.errorf("a leader %v after the last is up, want within %v", first-up, bound)
		}
		if _, again := l.settled(); again <= term {
			l.errorf("term %d after a restart of all, %d before", again, term)
		}
	})
}
