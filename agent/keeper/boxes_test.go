package keeper

import (
	"reflect"
	"testing"

	"doyen/agent/floatingip"
	"doyen/agent/hook"
)

// A report that changes something in the agent is not dropped, however many wait.
func TestReportsThatChangeSomethingAreKept(t *testing.T) {
	for _, r := range []Report{
		{Seen: 1}, {Fired: 1}, {Released: 1}, {StartupDone: true}, {Refused: "why"}, {KeeperDied: true}, {AcquireFailures: 1},
		{Address: &floatingip.Event{What: floatingip.GivenUp}}, {Address: &floatingip.Event{What: floatingip.NotAnnounced, Over: true}},
		{Command: &CommandReport{}}, {Watchdog: &WatchdogReport{}}, {Event: string(hook.Acquire), Held: true},
	} {
		o := newOutbox()
		o.add(r)
		for range 2 * maxReports {
			o.add(Report{Event: string(hook.Check), Held: true})
		}
		if first, _ := o.take(); !reflect.DeepEqual(first, r) {
			t.Errorf("want %+v kept, got %+v first", r, first)
		}
	}
}
