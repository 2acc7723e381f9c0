//go:build linux

// Package image boots three machines from the example image under emulation, with the
// same command line, and observes them from their network.
package image

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"doyen/agent"
	"doyen/seniority"
)

// patience is how long a test waits for events that take emulated machines seconds on a
// quiet host; booting takes some ten.
const patience = 4 * time.Minute

// Three machines have one leader, which alone has the floating addresses. They move when
// it is killed, and again when the next leader is switched off.
func TestAvailableMode(t *testing.T) {
	l := newLab(t)
	began := time.Now()
	first := l.leader(l.machines...)
	t.Logf("%v after power-on: %s leads, and holds the addresses alone", time.Since(began).Round(time.Second), first.addr)

	second := l.killed(first, l.others(first))
	third := l.others(first, second)[0]
	at := l.tell(second, "system_powerdown")
	l.leader(third)
	l.logMove("switched off", at, second, third)
}

// In quorum mode another member replaces a killed leader, and a new machine with its
// address follows. A leader whose machine is stopped, its clocks included, can overlap
// with the next by no more than the lease it had left.
func TestQuorumMode(t *testing.T) {
	timing, err := seniority.Profile(*profile)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, "DOYEN_VOTERS=seeds", "DOYEN_PROFILE="+*profile)
	first := l.leader(l.machines...)
	second := l.killed(first, l.others(first))
	l.replace(first)
	l.checkNotUnseated(second)
	t.Run("StoppedClocks", func(t *testing.T) { l.standStill(t, timing, false) })
	t.Run("StoppedClocksCutOff", func(t *testing.T) { l.standStill(t, timing, true) })
}

// others returns all machines except those given.
func (l *lab) others(but ...*machine) (list []*machine) {
	for _, m := range l.machines {
		if !slices.Contains(but, m) {
			list = append(list, m)
		}
	}
	return list
}

// killed kills the leader's machine and waits for the next leader.
func (l *lab) killed(leader *machine, among []*machine) *machine {
	l.t.Helper()
	at := time.Now()
	leader.kill()
	next := l.leader(among...)
	l.logMove("killed", at, leader, next)
	return next
}

// logMove logs how long the address did not answer.
func (l *lab) logMove(how string, at time.Time, from, to *machine) {
	l.t.Helper()
	answers := since(l.eyes.from(to.mac), at)
	if len(answers) == 0 {
		l.t.Fatalf("%s does not answer from %s", l.eyes.ip, to.addr)
	}
	l.t.Logf("%s was %s: the address answers from %s %v later", from.addr, how, to.addr, ms(answers[0].answered.Sub(at)))
}

// standStill stops the leader's machine and resumes it when another leads. If it is cut
// off, no member can tell it of the new leader.
func (l *lab) standStill(t *testing.T, timing seniority.Timing, cutOff bool) {
	old := l.leader(l.machines...)
	before, err := l.State(old.addr)
	if err != nil {
		t.Fatal(err)
	}
	stopped := l.tell(old, "stop")
	next := l.leader(l.others(old)...)
	how := "stood still"
	if cutOff {
		how = "stood still and was cut off"
		l.Cut(old.port())
	}
	t.Logf("%s %s, with %d ms of its lease left when last asked; %s took over", old.addr, how, before.LeaseMS, next.addr)
	stop := l.claims(old)
	resumed := l.tell(old, "cont")
	// A claim or an answer after the longest lease would be a fault.
	time.Sleep(timing.Lease + 2*time.Second)
	claims := afterPause(stop(), stopped, resumed)
	bound := timing.Lease
	if len(claims) > 0 {
		// The lease that it had left, as it said itself.
		bound = min(bound, claims[0].answered.Sub(resumed)+claims[0].lease)
	}
	checkOverlap(t, "said that it leads", resumed, claims, bound)
	checkOverlap(t, "answered for the address", resumed, afterPause(l.eyes.from(old.mac), stopped, resumed), bound)
	if cutOff {
		l.Mend()
		if len(claims) == 0 {
			t.Error("it did not answer within the lease it had left, so the test proves nothing")
		}
	}
	l.checkNotUnseated(next)
}

// checkNotUnseated waits until all machines agree again and checks that the member that
// has come back has not taken the lead from m. m may have lost it by itself: on a busy
// host all machines sometimes stop for longer than a lease.
func (l *lab) checkNotUnseated(m *machine) {
	l.t.Helper()
	if now := l.leader(l.machines...); now == m {
		return
	}
	var past []agent.Leadership // newest first
	_, body, err := l.Get(m.addr, "/history")
	if err == nil {
		err = json.Unmarshal(body, &past)
	}
	if err != nil {
		l.t.Fatalf("the history of %s: %v", m.addr, err)
	}
	for _, p := range past {
		if !m.is(p.Leader) {
			continue
		}
		if slices.Contains([]string{"lease-lost", "keeper-fired", "asleep"}, p.EndReason) {
			l.t.Logf("this host is too busy: %s has lost its lead by itself since (%s)", m.addr, p.EndReason)
		} else {
			l.t.Errorf("want %s to go on leading, got it ended: %s", m.addr, p.EndReason)
		}
		return
	}
	l.t.Errorf("want %s to go on leading, but its history has no leadership of its own: %s", m.addr, body)
}

// checkOverlap compares with the bound how long a machine acted as leader after it was
// resumed.
func checkOverlap(t *testing.T, what string, resumed time.Time, proofs []proof, bound time.Duration) {
	t.Helper()
	if len(proofs) == 0 {
		t.Logf("after that it never %s", what)
		return
	}
	last := proofs[len(proofs)-1]
	least, most := last.asked.Sub(resumed), last.answered.Sub(resumed)
	t.Logf("after that it %s %d times, for between %v and %v; the bound, its lease left, is %v", what, len(proofs), ms(least), ms(most), ms(bound))
	if least > bound {
		t.Errorf("%v after it went on it still %s, want at most %v", ms(least), what, bound)
	}
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
