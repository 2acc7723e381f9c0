package agent

import (
	"fmt"
	"slices"
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
		do   func(*history)
		want []string
	}{
		{"a leader that ends", func(h *history) {
			h.begin(Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"})
			h.end(at(5), "leader-died")
			h.end(at(6), "leader-silent")
		}, []string{"1 a 1-5 elected/leader-died"}},
		{"the next one ends it", func(h *history) {
			h.begin(Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"})
			h.begin(Leadership{Term: 2, Leader: "b", From: at(4), Reason: "merged"})
		}, []string{"1 a 1-4 elected/merged", "2 b 4-… merged/"}},
		{"lost from sight and found again", func(h *history) {
			h.begin(Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"})
			h.end(at(5), "leader-silent")
			h.begin(Leadership{Term: 1, Leader: "a", From: at(1), Reason: "elected"})
		}, []string{"1 a 1-… elected/"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var h history
			test.do(&h)
			if got := short(h.list()); !slices.Equal(test.want, got) {
				t.Errorf("want %q, got %q", test.want, got)
			}
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	for term := range uint64(historySize + 10) {
		h.begin(Leadership{Term: term, Leader: "a"})
	}
	l := h.list()
	if len(l) != historySize || l[0].Term != 10 || l[len(l)-1].Term != historySize+9 {
		t.Errorf("want terms 10 to %d, got %d entries from %d to %d", historySize+9, len(l), l[0].Term, l[len(l)-1].Term)
	}
}

func TestHistoryNotesTheFirstAcquireOfATerm(t *testing.T) {
	var h history
	h.begin(Leadership{Term: 7, Leader: "a"})
	h.hookTook(6, time.Second)
	h.hookTook(7, 20*time.Millisecond)
	h.hookTook(7, time.Second)
	if got := h.list()[0].HookMS; got != 20 {
		t.Errorf("want 20, got %v", got)
	}
}
