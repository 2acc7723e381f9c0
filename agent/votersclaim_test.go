package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Voters whose names no claim could carry would leave those without a vote in
// the dark.
func TestVotersThatNoClaimCarries(t *testing.T) {
	for count, want := range map[int]string{7: "", 60: "voters are too long together"} {
		c := Config{BindAddr: "127.0.0.1", BindPort: new(0), Logger: slog.New(slog.DiscardHandler)}
		for i := range count {
			c.Voters = append(c.Voters, fmt.Sprintf("192.0.2.%d:4000", 100+i))
		}
		a, err := New(c)
		if err == nil {
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			err = a.Run(ended)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d voters: want an error with %q, got %v", count, want, err)
		}
	}
}
