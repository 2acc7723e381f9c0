package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(s int) time.Time { return time.Unix(int64(s), 0).UTC() }

// short writes a history as one line a leadership.
func short(l []Leadership) []string {
	var lines []string
	for _, e := range l {
		to := "…"
		if e.To != nil {
			to = fmt.Sprint(e.To.Unix())
		}
		lines = append(lines, fmt.Sprintf("%d %s %d-%s %s/%s", e.Term, e.Leader, e.From.Unix(), to, e.Reason, e.EndReason))
	}
	return lines
}

func TestHistory(t *testing.T) {
	tests := []struct {
		name string
		do   func(*History)
		want []string
	}{
		{"a leader that ends", func(h *History) {
			h.begin(1, Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"}, time.Time{})
			h.end(at(5), "leader-died")
			h.end(at(6), "leader-silent")
		}, []string{"1 a 1-5 elected/leader-died"}},
		{"the next one ends it", func(h *History) {
			h.begin(1, Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"}, time.Time{})
			h.begin(2, Leadership{Term: 2, Leader: "b", From: at(4), Reason: "elected"}, at(3))
		}, []string{"1 a 1-4 elected/elected", "2 b 4-… elected/"}},
		{"lost from sight and found again", func(h *History) {
			h.begin(1, Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"}, time.Time{})
			h.end(at(5), "leader-silent")
			h.begin(1, Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"}, time.Time{})
		}, []string{"1 a 1-… elected/"}},
		{"found again after a restart", func(h *History) {
			h.Restore([]Leadership{{Term: 3, Leader: "a", From: at(1), Reason: "elected"}})
			h.begin(1, Leadership{Term: 3, Leader: "a", From: at(1), Reason: "elected"}, time.Time{})
		}, []string{"3 a 1-… elected/"}},
		{"found again after a restart, under a term that was raised meanwhile", func(h *History) {
			h.Restore([]Leadership{{Term: 3, Leader: "a", From: at(10), Reason: "elected"}})
			h.begin(1, Leadership{Term: 4, Leader: "a", From: at(10).Add(3 * time.Millisecond), Reason: "elected"}, time.Time{})
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "merged"}, time.Time{})
		}, []string{"5 a 10-… elected/"}},
		{"elected again while this member was away", func(h *History) {
			h.Restore([]Leadership{{Term: 3, Leader: "a", From: at(1), Reason: "elected"}})
			h.begin(1, Leadership{Term: 4, Leader: "a", From: at(8), Reason: "elected"}, time.Time{})
		}, []string{"3 a 1-8 elected/elected", "4 a 8-… elected/"}},
		{"a term that is raised", func(h *History) {
			h.begin(1, Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"}, time.Time{})
			h.begin(1, Leadership{Term: 7, Leader: "a", From: at(1), Reason: "merged"}, at(9))
		}, []string{"7 a 1-… elected/"}},
		{"a leadership of another group that began first", func(h *History) {
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "elected"}, time.Time{})
			h.begin(2, Leadership{Term: 7, Leader: "b", From: at(1), Reason: "elected"}, at(60))
		}, []string{"5 a 10-60 elected/elected", "7 b 60-… elected/"}},
		{"a leadership of another group that began while this one ran", func(h *History) {
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "elected"}, time.Time{})
			h.begin(2, Leadership{Term: 7, Leader: "b", From: at(30), Reason: "elected"}, at(60))
		}, []string{"5 a 10-60 elected/elected", "7 b 60-… elected/"}},
		{"followed for no time at all", func(h *History) {
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "elected"}, time.Time{})
			h.end(at(20), "leader-silent")
			h.begin(2, Leadership{Term: 6, Leader: "b", From: at(30), Reason: "elected"}, at(20))
			h.begin(3, Leadership{Term: 7, Leader: "c", From: at(30), Reason: "elected"}, at(30))
		}, []string{"5 a 10-20 elected/leader-silent", "7 c 30-… elected/"}},
		{"another followed for no time at all", func(h *History) {
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "elected"}, time.Time{})
			h.begin(2, Leadership{Term: 6, Leader: "b", From: at(30), Reason: "elected"}, at(30))
			h.begin(1, Leadership{Term: 7, Leader: "a", From: at(10), Reason: "merged"}, at(30))
		}, []string{"7 a 10-… elected/"}},
		{"the reason of a hand-over that comes later", func(h *History) {
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "elected"}, time.Time{})
			h.end(at(20), HandingOver)
			h.begin(2, Leadership{Term: 6, Leader: "b", From: at(21), Reason: "succeeded"}, at(20))
			h.Explain("a", 4, "outvoted")
			h.Explain("a", 5, "requested")
			h.Explain("a", 5, "departed")
		}, []string{"5 a 10-20 elected/requested", "6 b 21-… succeeded/"}},
		{"a beginning that is known better later", func(h *History) {
			h.begin(1, Leadership{Term: 5, Leader: "a", From: at(10), Reason: "elected"}, time.Time{})
			h.end(at(20), "leader-silent")
			h.begin(2, Leadership{Term: 6, Leader: "b", From: at(23), Reason: "elected"}, at(20))
			h.began(1, at(11))
			h.began(2, at(22))
			h.began(2, at(15))
			h.began(2, at(21))
		}, []string{"5 a 10-20 elected/leader-silent", "6 b 20-… elected/"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var h History
			test.do(&h)
			if got := short(h.List()); !slices.Equal(test.want, got) {
				t.Errorf("want %q, got %q", test.want, got)
			}
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h History
	for term := range uint64(size + 10) {
		h.begin(term+1, Leadership{Term: term, Leader: fmt.Sprint("m", term), From: at(int(term))}, time.Time{})
	}
	l := h.List()
	if len(l) != size || l[0].Term != 10 || l[len(l)-1].Term != size+9 {
		t.Errorf("want terms 10 to %d, got %d entries from %d to %d", size+9, len(l), l[0].Term, l[len(l)-1].Term)
	}
}

// What a member does not know of a leadership is no time of zero.
func TestWhatIsNotKnownIsNull(t *testing.T) {
	for want, l := range map[string]Leadership{
		`"detection_ms":null,"confirm_ms":null,"hook_ms":null}`: {Leader: "a"},
		`"detection_ms":700.5,"confirm_ms":4,"hook_ms":null}`:   {Leader: "a", DetectionMS: 700.5, ConfirmMS: 4},
	} {
		text, err := json.Marshal(l)
		if err != nil || !strings.HasSuffix(string(text), want) {
			t.Errorf("want %s, got %s, %v", want, text, err)
		}
		var back Leadership
		if err := json.Unmarshal(text, &back); err != nil || back != l {
			t.Errorf("want %+v back, got %+v, %v", l, back, err)
		}
	}
}

func TestHistoryNotesTheFirstAcquireOfATerm(t *testing.T) {
	var h History
	h.begin(1, Leadership{Term: 7, Leader: "a"}, time.Time{})
	h.begin(1, Leadership{Term: 9, Leader: "a"}, time.Time{}) // raised while acquire ran
	h.HookTook(6, time.Second)
	h.HookTook(7, 20*time.Millisecond)
	h.HookTook(7, time.Second)
	if got := h.List()[0].HookMS; got != 20 {
		t.Errorf("want 20, got %v", got)
	}
}
