package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doyen/agent"
)

// lines are the lines of a member's log from the line number on, each without
// its time.
func (n *node) lines(from int) []string {
	if _, err := os.Stat(n.logFile()); err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(n.log()), "\n")
	for i, line := range lines {
		_, lines[i], _ = strings.Cut(line, " ")
	}
	return lines[min(from, len(lines)):]
}

// story is what the log of one member must tell of an event: these patterns in
// this order, each in a line of its own, within so many lines.
type story struct {
	of    *node
	tells []string
	most  int
}

// happens causes an event and waits until every log tells its story. Nothing that
// never says may be said, and nothing needs more lines than it may.
func (l *lan) happens(name string, cause func(), never []string, stories ...story) {
	l.t.Helper()
	from := make([]int, len(stories))
	for i, s := range stories {
		from[i] = len(s.of.lines(0))
	}
	cause()
	for i, s := range stories {
		if !poll(func() bool { return tells(s.of.lines(from[i]), s.tells) }) {
			l.t.Errorf("%s: the log of %s does not tell\n%s\nbut\n%s", name, s.of.name, strings.Join(s.tells, "\n"), strings.Join(s.of.lines(from[i]), "\n"))
		}
	}
	for i, s := range stories {
		lines := s.of.lines(from[i])
		if len(lines) > s.most {
			l.t.Errorf("%s: want at most %d lines of %s, got %d:\n%s", name, s.most, s.of.name, len(lines), strings.Join(lines, "\n"))
		}
		for _, line := range lines {
			for _, pattern := range append(never, "from=memberlist") {
				if regexp.MustCompile(pattern).MatchString(line) {
					l.t.Errorf("%s: the log of %s must not say %s: %s", name, s.of.name, pattern, line)
				}
			}
		}
	}
}

// tells reports whether the patterns match lines in order.
func tells(lines, patterns []string) bool {
	for _, p := range patterns {
		at := slices.IndexFunc(lines, regexp.MustCompile(p).MatchString)
		if at < 0 {
			return false
		}
		lines = lines[at+1:]
	}
	return true
}

// lostLeader matches how the log of a member tells that its leader is gone. If the claim
// of the next is the first that it hears of this, it has had no leader to miss.
func lostLeader(name, reason string) string {
	return `there is no leader" previous=` + name + ` reason=` + reason + ` why=|following a leader" .* reason=elected previous=` + name
}

// A group of three hosts in quorum mode, and the log of each at INFO when the
// usual things happen to it.
func TestLogTellsWhatHappens(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	a, b, c := l.nodes[0], l.nodes[1], l.nodes[2]
	l.happens("start", func() {
		l.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds", "--hook", l.hook())
		l.checkLeader(a, a, b, c)
	}, []string{"level=WARN"},
		story{a, []string{`listening on`,
			`msg="this member starts" version=\S+ name=10.88.0.1:4000 address=10.88.0.1:4000 cluster=default mode=quorum rule=seniority role=candidate profile=lan lease=1s seeds="10.88.0.1, .*" voters=.* hook=/.* floating_ips=none keeper=on`,
			`joined the group" .*members=3`, `msg="this member leads" term=\d+ reason=elected`}, 8}, // the others come together or one by one
		story{c, []string{`this member starts`, `joined the group" .*members=3`, `following a leader" leader=10.88.0.1:4000`}, 6})

	l.happens("planned hand-over", func() {
		a.tell("step-down")
		l.checkLeader(b, a, b, c)
	}, []string{"level=WARN"},
		story{a, []string{`asked to step down`, `this member leads no more" term=\d+ reason=requested .*successor=10.88.0.2:4000`, `event=release`, `following a leader" leader=10.88.0.2:4000 term=\d+ reason=succeeded`}, 5},
		story{b, []string{`there is no leader" previous=10.88.0.1:4000 reason=(handing-over|requested)`, `this member leads" term=\d+ reason=succeeded previous=10.88.0.1:4000 without_leader=`, `event=acquire`}, 4},
		story{c, []string{`following a leader" leader=10.88.0.2:4000 term=\d+ reason=succeeded previous=10.88.0.1:4000`}, 3})

	l.happens("crash", func() {
		b.signal(syscall.SIGKILL)
		b.wait()
		l.agreeOn([]*node{a, c})
	}, nil,
		story{c, []string{lostLeader("10.88.0.2:4000", "leader-died"), `msg=died who=10.88.0.2:4000 members=2 why="its agent ended without leaving; its keeper says so"`}, 5})
	l.happens("restart", func() {
		b.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3", "--voters", "seeds", "--hook", l.hook())
		l.eventually(func() error { return expectMembers(a, 3) })
	}, []string{"level=WARN"}, story{c, []string{`joined the group" who=10.88.0.2:4000 members=3`}, 1})
	leader := l.agreeOn(l.nodes)

	var others []*node
	for _, n := range l.nodes {
		if n != leader {
			others = append(others, n)
		}
	}
	at := slices.Index(l.nodes, leader)
	l.happens("cut", func() {
		l.hosts[at].isolate(true)
		l.agreeOn(others)
		l.eventually(func() error { return expectMembers(leader, 1) })
		for _, n := range others {
			l.eventually(func() error { return expectMembers(n, 2) })
		}
	}, []string{"CPU", "keeper-fired", "agent-late"},
		story{leader, []string{`level=WARN msg=finding what=no-majority`, `level=WARN msg="this member leads no more" term=\d+ reason=lease-lost why=.* silent=`, `lost from the group`}, 6},
		story{others[0], []string{lostLeader(leader.name, "leader-silent"), `lost from the group" who=` + leader.name}, 4})
	l.happens("heal", func() {
		l.hosts[at].isolate(false)
		for _, n := range l.nodes {
			l.eventually(func() error { return expectMembers(n, 3) })
		}
		l.agreeOn(l.nodes)
	}, []string{"leads as well"},
		story{leader, []string{`finding is over" what=no-majority`}, 6},
		story{others[0], []string{`joined the group" who=` + leader.name + ` members=3`}, 3})

	l.checkSameLeadership()
	leader = l.agreeOn(l.nodes)
	others = slices.DeleteFunc(slices.Clone(l.nodes), func(n *node) bool { return n == leader })
	l.happens("a host's death", func() {
		l.hosts[slices.Index(l.nodes, leader)].die()
		l.agreeOn(others)
	}, nil, story{others[0], []string{lostLeader(leader.name, "leader-silent"), `lost from the group" who=` + leader.name}, 4})
}

// agreeOn waits until members agree on one of them, and returns it.
func (l *lan) agreeOn(members []*node) *node {
	l.t.Helper()
	var leader *node
	l.eventually(func() error {
		leader = nil
		for _, n := range members {
			s := n.state()
			if s.Leader == nil {
				return fmt.Errorf("%s names no leader", n.name)
			}
			at := slices.IndexFunc(members, func(m *node) bool { return m.name == *s.Leader })
			if at < 0 || leader != nil && leader != members[at] {
				return fmt.Errorf("%s names %s", n.name, *s.Leader)
			}
			leader = members[at]
		}
		return nil
	})
	return leader
}

// checkSameLeadership checks that all members date the present leadership alike,
// and that the rows of each history follow each other.
func (l *lan) checkSameLeadership() {
	l.t.Helper()
	l.eventually(func() error {
		var first agent.State
		for i, n := range l.nodes {
			s := n.state()
			if s.LeaderSince == nil {
				return fmt.Errorf("%s: no leader_since", n.name)
			}
			if i == 0 {
				first = s
			}
			if d := s.LeaderSince.Sub(*first.LeaderSince).Abs(); d.Milliseconds() > 100 {
				return fmt.Errorf("%s and %s differ by %v about when the leadership began", n.name, l.nodes[0].name, d)
			}
		}
		return nil
	})
	for _, n := range l.nodes {
		checkHistory(l.t, n)
	}
}

// checkHistory checks that no row of a member's history overlaps another, ends
// before it begins, or is there twice.
func checkHistory(t *testing.T, n *node) {
	t.Helper()
	var rows []agent.Leadership
	if !n.get("/history", &rows) {
		t.Fatalf("%s does not show its history", n.name)
	}
	for i, r := range rows {
		if r.To != nil && !r.To.After(r.From) {
			t.Errorf("%s: a row ends before it begins: %+v", n.name, r)
		}
		if r.To == nil && i > 0 {
			t.Errorf("%s: an old row has no end: %+v", n.name, r)
		}
		if i+1 < len(rows) && (rows[i+1].To == nil || rows[i+1].To.After(r.From)) {
			t.Errorf("%s: rows overlap: %+v and %+v", n.name, rows[i+1], r)
		}
		if r.DetectionMS > 30_000 || r.ConfirmMS > 5_000 {
			t.Errorf("%s: detection or confirmation belongs to another leadership: %+v", n.name, r)
		}
	}
}

// The usual split of available mode: a leader on each side, and one yields when
// they meet. Each log tells of the other leader once, all members date what is
// left alike, and the histories are in order.
func TestLogAndHistoryOfASplitThatHeals(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	a, b, c := l.nodes[0], l.nodes[1], l.nodes[2]
	l.start("--seeds", "10.88.0.1,10.88.0.2,10.88.0.3")
	l.checkLeader(a, a, b, c)
	l.happens("cut", func() {
		l.hosts[0].isolate(true)
		l.agreeOn([]*node{b, c})
		l.eventually(func() error { return expectMembers(a, 1) })
		for _, n := range []*node{b, c} {
			l.eventually(func() error { return expectMembers(n, 2) })
		}
	}, []string{"CPU"},
		story{a, []string{`lost from the group" .*it may lead there, too`}, 2},
		story{c, []string{lostLeader("10.88.0.1:4000", "leader-silent"), `lost from the group" who=10.88.0.1:4000`}, 3})
	from := map[*node]int{a: len(a.lines(0)), b: len(b.lines(0))}
	l.hosts[0].isolate(false)
	for _, n := range l.nodes {
		l.eventually(func() error { return expectMembers(n, 3) })
	}
	leader := l.agreeOn(l.nodes)
	l.checkSameLeadership()
	for n, first := range from {
		var text string
		yields := poll(func() bool {
			text = strings.Join(n.lines(first), "\n")
			return n == leader || strings.Contains(text, `this member leads no more" term=`)
		})
		if got := strings.Count(text, "another member leads as well"); got > 1 {
			t.Errorf("the log of %s tells %d times of the other leader:\n%s", n.name, got, text)
		}
		if !yields {
			t.Errorf("the log of %s does not tell that it yields:\n%s", n.name, text)
		}
	}
	var rows []agent.Leadership
	l.eventually(func() error {
		if !leader.get("/history", &rows) || len(rows) == 0 || rows[0].Leader != leader.name || rows[0].To != nil {
			return fmt.Errorf("%s: want its leadership first, and still running: %+v", leader.name, rows)
		}
		return nil
	})
	for i, r := range rows {
		if i > 0 && r.Leader == leader.name && rows[i-1].Leader == leader.name {
			t.Errorf("%s: two rows of one leadership: %+v and %+v", leader.name, r, rows[i-1])
		}
	}
}
