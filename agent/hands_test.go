package agent

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doyen/agent/keeper"
)

// lines is a log that is kept.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// A check that goes as it always does is no news.
func TestOnlyTheChangeOfACheckIsLogged(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		log := &lines{}
		m := g.add(func(c *Config, _ *fakeHands) {
			c.Logger = slog.New(slog.NewTextHandler(log, nil))
		})
		time.Sleep(time.Second)
		for _, exit := range []int{0, 0, 1, 1, 0, 0} {
			m.hands.reports <- keeper.Report{Event: "check", Exit: exit}
		}
		m.hands.reports <- keeper.Report{Event: "acquire"}
		time.Sleep(time.Second)
		log.mu.Lock()
		defer log.mu.Unlock()
		var got []string
		for line := range strings.Lines(log.text.String()) {
			if _, rest, ok := strings.Cut(line, `msg="hook `); ok {
				result, _, _ := strings.Cut(rest, `"`)
				_, event, _ := strings.Cut(line, " event=")
				event, _, _ = strings.Cut(event, " ")
				got = append(got, event+" "+result)
			}
		}
		if want := []string{"check failed", "check failed", "check done", "acquire done"}; !slices.Equal(want, got) {
			t.Errorf("want %q, got %q", want, got)
		}
	})
}
