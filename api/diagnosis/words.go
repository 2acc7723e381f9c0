package diagnosis

import (
	"fmt"
	"strings"
	"unicode"
)

// btoi orders false before true.
func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// list writes names as in a sentence, the first few of many.
func list(names []string) string {
	const most = 8
	shown := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		shown = append(shown, Printable(n, MaxText))
	}
	switch rest := len(names) - len(shown); {
	case len(names) == 0:
		return "no member"
	case rest > 0:
		return strings.Join(shown, ", ") + " and " + plural(rest, "other")
	case len(shown) == 1:
		return shown[0]
	}
	last := len(shown) - 1
	return strings.Join(shown[:last], ", ") + " and " + shown[last]
}

// plural writes a count of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// verb picks the form of a verb for so many.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// MaxText limits what another member can make a sentence of ours grow by, in
// bytes.
const MaxText = 300

// Printable returns s with everything replaced that could act on a terminal or
// a log, cut to at most limit bytes.
func Printable(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if cut {
		s += "…"
	}
	return s
}
