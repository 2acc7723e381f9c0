package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A seed that may be good is refused while it cannot be dialled, as one that comes too late.
func TestJoinIsRefusedWhileThisAgentDoesNotRun(t *testing.T) {
	a, err := New(Config{BindAddr: "127.0.0.1", BindPort: new(int)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Join(t.Context(), "127.0.0.1"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not begun") {
		t.Errorf("before Run: want it refused, got %v", err)
	}
	if _, err := a.Join(t.Context(), "no address"); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("what is no address: want that named, got %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := a.Run(ended); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Join(t.Context(), "127.0.0.1"); !errors.Is(err, ErrRefused) {
		t.Errorf("after Run: want it refused, got %v", err)
	}
}
