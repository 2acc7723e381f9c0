package diagnosis

import (
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	names := strings.Fields("a b c d e f g h i j")
	for n, want := range map[int]string{0: "no member", 1: "a", 2: "a and b", 8: "a, b, c, d, e, f, g and h", 9: "a, b, c, d, e, f, g, h and 1 other", 10: "a, b, c, d, e, f, g, h and 2 others"} {
		if got := list(names[:n]); got != want {
			t.Errorf("list of %d: want %q, got %q", n, want, got)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain text", 20, "plain text"},
		{"tab\tand\x7f", 20, "tab\uFFFDand\uFFFD"},
		{"\xff", 20, "\uFFFD"},
		{"für", 2, "f…"},
		{"für", 3, "fü…"},
	} {
		if got := Printable(tt.in, tt.limit); got != tt.want {
			t.Errorf("Printable(%q, %d): want %q, got %q", tt.in, tt.limit, tt.want, got)
		}
	}
}
