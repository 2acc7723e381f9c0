package gossip

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"doyen/gossip/findings"
	"doyen/gossip/transport"
)

// memberlistLog turns memberlist's lines into ours, all of them at debug: what
// a person should know of the members the agent says itself, and what memberlist
// calls an error is what a peer or a stranger does wrong. Strangers can make it write
// as much as they like, and put in what they like, so lines are few, short and
// printable; what was refused is counted elsewhere.
type memberlistLog struct {
	log      *slog.Logger
	findings *findings.Record
	doubt    func(member string) // called with one that a probe reached over TCP alone

	mu    sync.Mutex
	since time.Time
	lines map[string]int // in the current window, by the line's beginning
	total int            // in the current window
	held  bool           // some were not written in the current window
}

const (
	logWindow  = time.Minute
	logBurst   = 3   // lines of one kind in one window
	logKeyLen  = 32  // bytes by which lines are told apart
	logTotal   = 100 // lines in one window
	maxLogLine = 300
)

// Write takes one line of memberlist's logger.
func (w *memberlistLog) Write(line []byte) (int, error) {
	text := logText(string(line))
	w.learn(text)
	if w.log.Enabled(context.Background(), slog.LevelDebug) {
		switch admitted, first := w.admit(text); {
		case admitted:
			w.log.Debug(printable(text), "from", "memberlist")
		case first:
			w.log.Debug("more lines are held back; the metrics count what is refused", "from", "memberlist", "for", logWindow)
		}
	}
	return len(line), nil
}

// logText is the text of "[LEVEL] memberlist: text".
func logText(line string) string {
	line = strings.TrimSpace(line)
	if _, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(line, "[") {
		line = rest
	}
	return strings.TrimPrefix(line, "memberlist: ")
}

// admit reports whether a line may be written and, if not, whether it is the
// first of this window that may not.
func (w *memberlistLog) admit(text string) (ok, first bool) {
	key := text[:min(len(text), logKeyLen)]
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.lines == nil || now.Sub(w.since) > logWindow {
		w.since, w.lines, w.total, w.held = now, map[string]int{}, 0, false
	}
	if w.total < logTotal && w.lines[key] < logBurst {
		w.lines[key]++
		w.total++
		return true, false
	}
	first, w.held = !w.held, true
	return false, first
}

// printable returns what may be logged of a text that others have a part in.
func printable(s string) string {
	if len(s) > maxLogLine {
		s = strings.ToValidUTF8(s[:maxLogLine], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// memberlist tells of two things by nothing but a line in its log. The texts
// are those of memberlist 0.7.0; a test keeps them.
var (
	notReceived = regexp.MustCompile(`^(?:Decrypt packet failed|failed to receive): (.*) from=(\S+)$`)
	wrongKey    = regexp.MustCompile(`no installed keys could decrypt|payload is too small to decrypt|unsupported encryption version|remote state is (?:not )?encrypted`)
	tcpOnly     = regexp.MustCompile(`^Was able to connect to (.+) over TCP but UDP probes failed`)
)

// learn takes from a line what cannot be learned otherwise.
func (w *memberlistLog) learn(text string) {
	if m := notReceived.FindStringSubmatch(text); m != nil && wrongKey.MatchString(m[1]) {
		w.findings.Undecryptable(transport.HostOf(m[2]))
	}
	if m := tcpOnly.FindStringSubmatch(text); m != nil {
		w.doubt(m[1])
	}
}
