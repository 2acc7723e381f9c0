package agent

import (
	"fmt"
	"time"

	"doyen/agent/realtime"
)

// realtimeLease is the lease below which a time slice that another program gets
// is enough to end a leadership: fast, with 300 ms, has held beside busy
// processors without any help.
const realtimeLease = 200 * time.Millisecond

// needsRealtime reports whether agent and keeper must be scheduled in real time.
func (s *settings) needsRealtime() bool { return s.timing.Lease < realtimeLease }

// scheduling says what this host does not grant and the lease needs.
func (s *settings) scheduling() []string {
	if !s.needsRealtime() {
		return nil
	}
	missing := realtime.Missing()
	if missing == "" {
		return nil
	}
	return []string{fmt.Sprintf("note: a lease of %v needs real-time scheduling of this program, and %s: a busy processor can end a healthy leadership (examples/systemd/edge.conf)", s.timing.Lease, missing)}
}
