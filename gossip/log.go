package gossip

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

// memberlistLog turns memberlist's lines into ours. memberlist writes an error
// for whatever a peer or a stranger does wrong, so its levels count one less
// here: nothing it says is a fault of this member. Strangers can make it write
// as much as they like, and put in what they like, so lines are few, short and
// printable; what was refused is counted elsewhere.
type memberlistLog struct {
	log    *slog.Logger
	ledger *ledger

	mu    sync.Mutex
	since time.Time
	lines map[string]int     // in the current window, by the line's beginning
	total map[slog.Level]int // in the current window
	held  bool               // some were not written in the current window
}

const (
	logWindow  = time.Minute
	logBurst   = 3  // lines of one kind in one window
	logKeyLen  = 32 // bytes by which lines are told apart
	maxLogLine = 300
)

// logTotal is how many lines of a level may be written in one window. What is
// refused is a warning, and needs no more than examples.
var logTotal = map[slog.Level]int{slog.LevelWarn: 10, slog.LevelInfo: 30, slog.LevelDebug: 100}

var logLevels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug,
	"INFO":  slog.LevelInfo,
	"WARN":  slog.LevelInfo,
	"ERR":   slog.LevelWarn,
	"ERROR": slog.LevelWarn,
}

// Write takes one line of memberlist's logger.
func (w *memberlistLog) Write(line []byte) (int, error) {
	level, text := parseLogLine(string(line))
	w.learn(text)
	if w.log.Enabled(context.Background(), level) {
		switch admitted, first := w.admit(level, text); {
		case admitted:
			w.log.LogAttrs(context.Background(), level, printable(text), slog.String("from", "memberlist"))
		case first:
			w.log.Log(context.Background(), level, "more lines are held back; the metrics count what is refused", "from", "memberlist", "for", logWindow)
		}
	}
	return len(line), nil
}

// parseLogLine splits "[LEVEL] memberlist: text".
func parseLogLine(line string) (slog.Level, string) {
	line = strings.TrimSpace(line)
	level := slog.LevelInfo
	if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "["), "] "); ok && strings.HasPrefix(line, "[") {
		if l, known := logLevels[name]; known {
			level, line = l, rest
		}
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}

// admit reports whether a line may be written and, if not, whether it is the
// first of this window that may not.
func (w *memberlistLog) admit(level slog.Level, text string) (ok, first bool) {
	key := text[:min(len(text), logKeyLen)]
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.lines == nil || now.Sub(w.since) > logWindow {
		w.since, w.lines, w.total, w.held = now, map[string]int{}, map[slog.Level]int{}, false
	}
	if w.total[level] < logTotal[level] && w.lines[key] < logBurst {
		w.lines[key]++
		w.total[level]++
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
	udpBlocked  = regexp.MustCompile(`^Was able to connect to (.+) over TCP but UDP probes failed`)
)

// learn takes from a line what cannot be learned otherwise.
func (w *memberlistLog) learn(text string) {
	if m := notReceived.FindStringSubmatch(text); m != nil && wrongKey.MatchString(m[1]) {
		w.ledger.undecryptable(m[2])
	}
	if m := udpBlocked.FindStringSubmatch(text); m != nil {
		w.ledger.find(foundUDP, m[1], "TCP to "+m[1]+" works, UDP does not")
	}
}
