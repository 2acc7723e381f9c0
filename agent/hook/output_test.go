package hook

import (
	"strings"
	"testing"
	"time"
)

// The limit of a run's output may pass before the reader runs, on a host without CPU:
// here it has passed, and the reader has ended, before anything is printed.
func TestOutputIsKeptHoweverLateItIsRead(t *testing.T) {
	for name, returned := range map[string]func(*output) string{"finish": (*output).finish, "pause": (*output).pause} {
		o, pipe, err := newOutput()
		if err != nil {
			t.Fatal(err)
		}
		o.pipe.SetReadDeadline(time.Unix(1, 0))
		<-o.done
		pipe.WriteString("said\n" + strings.Repeat(".", 3*MaxOutput/2))
		pipe.Close()
		if got := returned(o); !strings.HasPrefix(got, "said\n..") || !strings.HasSuffix(got, ".\n[the rest is left out]") {
			t.Errorf("%s: got %.20q and %d bytes", name, got, len(got))
		}
	}
}
