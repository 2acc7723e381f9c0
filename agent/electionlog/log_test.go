package electionlog

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent/history"
	"doyen/agent/members"
	"doyen/gossip"
	"doyen/seniority"
)

// lines collects what is logged at INFO and above.
func lines() (*slog.Logger, func() []string) {
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return log, func() []string { return strings.Split(strings.TrimSpace(text.String()), "\n") }
}

func TestFailoverIsAHandfulOfLines(t *testing.T) {
	log, logged := lines()
	l, track := New(log, "b"), &history.Track{}
	at := func(second int, st seniority.Status, notes ...seniority.Note) {
		now := seniority.Now{Boot: time.Duration(second) * time.Second}
		track.Follow(now, &st, notes)
		l.Notes(Step{Now: now, Status: &st, Track: track}, notes)
	}
	now := seniority.Now{Boot: 10 * time.Second}
	track.Hear(&seniority.Message{Kind: seniority.Claim, Stand: seniority.Leading, From: "a", Incarnation: 1, Term: 7}, now)
	at(10, seniority.Status{}, seniority.Note{Kind: seniority.LeaderChanged, Peer: "a", Term: 7, Reason: seniority.Elected})
	at(13, seniority.Status{Previous: "a"}, seniority.Note{Kind: seniority.LeaderChanged, Reason: seniority.LeaderSilent, Term: 7},
		seniority.Note{Kind: seniority.Claimed, Term: 8})
	at(14, seniority.Status{Previous: "a", Leading: true, Since: 14 * time.Second}, seniority.Note{Kind: seniority.Won, Peer: "b", Term: 8, Reason: seniority.Elected},
		seniority.Note{Kind: seniority.LeaderChanged, Peer: "b", Term: 8})
	want := []string{
		`level=INFO msg="following a leader" leader=a term=7 reason=elected`,
		`level=INFO msg="there is no leader" previous=a reason=leader-silent why="its renewals stopped: its host is dead, cut off, or frozen" last_heard="3s ago"`,
		`level=INFO msg="this member leads" term=8 reason=elected previous=a without_leader=4s`,
	}
	if got := logged(); !slices.Equal(want, got) {
		t.Errorf("want\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// How long there was no leader is counted from the last sign of the one before to the
// beginning of the next leadership, as far as this member knows both.
func TestTimeWithoutALeader(t *testing.T) {
	led := func(peer string, reason seniority.Reason) seniority.Note {
		return seniority.Note{Kind: seniority.LeaderChanged, Peer: peer, Term: 7, Reason: reason}
	}
	for _, test := range []struct {
		name     string
		previous string
		reason   seniority.Reason // of the end, which is noticed at 50 s
		held     time.Duration    // how long the next leadership, first heard of at 60 s, has lasted then
		want     string
	}{
		{"the leader falls silent", "a", seniority.LeaderSilent, 0, "without_leader=50s"},
		{"the leader hands over", "a", seniority.Requested, 0, "without_leader=10s"},
		{"this member has led", "b", seniority.LeaseLost, 9 * time.Second, "without_leader=1s"},
		{"this member was paused", "a", seniority.Asleep, time.Second, "without_leader=9s"},
		{"the next leadership is older", "b", seniority.Merged, 30 * time.Second, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, logged := lines()
			l, track := New(log, "b"), &history.Track{}
			at := func(second int, st seniority.Status, note seniority.Note) {
				now := seniority.Now{Boot: time.Duration(second) * time.Second}
				track.Follow(now, &st, []seniority.Note{note})
				l.Notes(Step{Now: now, Status: &st, Track: track}, []seniority.Note{note})
			}
			claim := seniority.Message{Kind: seniority.Claim, Stand: seniority.Leading, From: test.previous, Incarnation: 1, Term: 7}
			track.Hear(&claim, seniority.Now{Boot: 10 * time.Second})
			at(10, seniority.Status{Leading: test.previous == "b", Since: 10 * time.Second}, led(test.previous, seniority.Elected))
			at(50, seniority.Status{Previous: test.previous}, led("", test.reason))
			claim.From, claim.Term, claim.Held = "c", 8, test.held
			track.Hear(&claim, seniority.Now{Boot: 60 * time.Second})
			at(60, seniority.Status{Previous: test.previous}, led("c", seniority.Elected))
			got := logged()
			if last := got[len(got)-1]; !strings.Contains(last, "leader=c") || !strings.HasSuffix(last, test.want) || test.want == "" && strings.Contains(last, "without_leader") {
				t.Errorf("want %q at the end, got %q", test.want, last)
			}
		})
	}
}

// A reason that has no words has no empty ones, and a leader that hears nothing has some.
func TestWhyThereIsNoLeader(t *testing.T) {
	for reason, want := range map[seniority.Reason]string{
		seniority.LeaderDeaf: `reason=leader-deaf why="it hears no answer, or few, as it says itself: most packets from or to it are lost"`,
		seniority.NoWatchdog: `reason=no-watchdog`,
	} {
		log, logged := lines()
		note := seniority.Note{Kind: seniority.LeaderChanged, Term: 7, Reason: reason}
		New(log, "b").Notes(Step{Status: &seniority.Status{Previous: "a"}, Track: &history.Track{}}, []seniority.Note{note})
		if got := logged(); len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("want one line with %q at its end, got %q", want, got)
		}
	}
}

// In available mode no votes renew a lease; and a member whose settings name a further
// election no longer departs from that, and not from the group.
func TestWhyAMemberLeadsNoMore(t *testing.T) {
	for _, test := range []struct {
		name             string
		further, retired bool
		peer, want       string
		lost             bool // the lease
		quorum, late     bool
	}{
		{name: "a lease in available mode", peer: "b", lost: true, want: `why="it was too late to renew its lease: its agent or its host stood still"`},
		{name: "a lease in quorum mode", peer: "b", lost: true, quorum: true, want: `why="it could not renew its lease: fewer than a majority of the voters confirmed in time" silent=c`},
		{name: "a lease in quorum mode by being late", peer: "b", lost: true, quorum: true, late: true,
			want: `why="it was too late to renew its lease: its agent or its host stood still"` + "\n"},
		{name: "this member leaves", peer: "b", want: `why="it leaves the group"`},
		{name: "this member stays", further: true, retired: true, peer: "b", want: `why="its settings name the election no longer"`},
		{name: "another leaves", peer: "", want: `why="it leaves the group"`},
		{name: "another leaves, or stays", further: true, peer: "", want: `why="it leaves the group, or its settings name the election no longer"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, logged := lines()
			l, note := New(log, "b"), seniority.Note{Kind: seniority.Lost, Peer: test.peer, Term: 7, Reason: seniority.Departed}
			if test.lost {
				note.Reason = seniority.LeaseLost
			}
			l.Quorum = test.quorum
			if l.Further = test.further; test.peer == "" {
				note.Kind = seniority.LeaderChanged
			}
			l.Notes(Step{Status: &seniority.Status{Previous: "a"}, Track: &history.Track{}, Retired: test.retired,
				Late: func() bool { return test.late }, Silent: func() []string { return []string{"c"} }}, []seniority.Note{note})
			if got := logged(); len(got) != 1 || !strings.Contains(got[0]+"\n", test.want) {
				t.Errorf("want one line with %q, got %q", test.want, got)
			}
		})
	}
}

func TestAnotherLeaderIsToldOfOnce(t *testing.T) {
	log, logged := lines()
	l := New(log, "b")
	for second := range 10 {
		l.Notes(Step{Now: seniority.Now{Boot: time.Duration(second+1) * time.Second}, Status: &seniority.Status{}, Track: &history.Track{}},
			[]seniority.Note{{Kind: seniority.OtherLeader, Peer: "a", Term: 7}})
	}
	if got := logged(); len(got) != 1 {
		t.Errorf("want one line, got %q", got)
	}
}

// A good-bye may come after the end was noticed: a member that has vanished is lost only
// when none has come for a moment.
func TestMembersThatVanish(t *testing.T) {
	for _, test := range []struct {
		name string
		gone *gossip.Gone
		want string
	}{
		{"lost", nil, "lost from the group"},
		{"left", &gossip.Gone{Name: "a", Incarnation: 1}, "left the group"},
		{"died", &gossip.Gone{Name: "a", Incarnation: 1, Died: true}, "died"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, logged := lines()
			l, line := New(log, "b"), &members.Line{}
			a, b := seniority.Member{Name: "a", Incarnation: 1}, seniority.Member{Name: "b", Incarnation: 2}
			line.Update(time.Second, []seniority.Member{a, b}, &gossip.View{}, nil)
			l.Moves(time.Second, line.Update(time.Second, []seniority.Member{b}, &gossip.View{}, nil), line, false)
			if test.gone != nil {
				line.Ended(*test.gone)
			}
			l.Moves(time.Second+byeWait, line.Update(time.Second+byeWait, []seniority.Member{b}, &gossip.View{}, nil), line, false)
			if got := logged(); len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("want one line with %q, got %q", test.want, got)
			}
		})
	}
}
