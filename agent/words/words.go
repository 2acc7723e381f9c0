// Package words writes lists of names and durations as a person reads them, in the log
// and in findings.
package words

import (
	"fmt"
	"strings"
	"time"
)

// OrNone writes names as Some does, and none if there are none.
func OrNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return Some(names)
}

// Some writes names, the first few of many.
func Some(names []string) string {
	const most = 8
	shown := strings.Join(names[:min(len(names), most)], ", ")
	if rest := len(names) - most; rest > 0 {
		shown += fmt.Sprintf(" and %d more", rest)
	}
	return shown
}

// Round is a duration as a person reads it.
func Round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// Ago says how long ago something was.
func Ago(d time.Duration) string { return Round(d).String() + " ago" }
