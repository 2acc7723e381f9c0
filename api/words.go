package api

import (
	"fmt"
	"strings"
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
		shown = append(shown, printable(n, maxText))
	}
	switch rest := len(names) - len(shown); {
	case len(names) == 0:
		return "nobody"
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
