package api

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"doyen/agent"
)

// scrape returns the samples of /metrics as text.
func scrape(t *testing.T, f *fake) string {
	t.Helper()
	w := ask(t, New(quiet(f)), "GET", "/metrics")
	if w.Code != 200 {
		t.Fatalf("want 200, got %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// full is a fake of which every metric has a sample.
func full() *fake {
	f := newFake()
	f.state.LeaseMS = 750
	f.state.Health = &agent.Health{Healthy: true}
	f.state.MaintenanceUntil = new(time.UnixMilli(int64(f.state.WallTime*1000) + 90_500))
	f.members = append(f.members, agent.MemberInfo{Name: "d", Role: "candidate", Alive: true},
		agent.MemberInfo{Name: "e", Role: "candidate", Eligible: true})
	f.state.Findings = []agent.Finding{{What: "name-clash"}, {What: "name-clash"}}
	f.counters = agent.Counters{
		Elections: 1, LeaderChanges: 2, Wins: 3,
		Losses:        map[string]uint64{"lease-lost": 4},
		Messages:      map[string]uint64{"sent/claim": 5, "received/confirm": 6},
		Dropped:       map[string]uint64{"stale-term": 7},
		HookRuns:      map[string]uint64{"acquire/failed": 8},
		HookSeconds:   map[string]float64{"acquire": 0.5},
		GossipDropped: map[string]uint64{"other-cluster": 9},
		Health:        agent.HealthCounters{OK: 11, Failed: 12, Seconds: 0.125},
		Failover:      agent.FailoverSeconds{Detection: 1.5, Confirm: 0.25, Hook: 2},
	}
	return f
}

func TestMetrics(t *testing.T) {
	got := scrape(t, full())
	for _, want := range []string{
		`doyen_build_info{goversion="go`, `doyen_is_leader{election="group"} 1`, `doyen_has_leader{election="group"} 1`, `doyen_leader_info{election="group",leader="a"} 1`,
		`doyen_term{election="group"} 7`, `doyen_lease_remaining_seconds{election="group"} 0.75`, `doyen_electing{election="group"} 0`, `doyen_ready{election="group"} 1`,
		`doyen_members{role="candidate"} 3`, `doyen_members{role="witness"} 1`, `doyen_members{role="observer"} 0`,
		`doyen_eligible{election="group"} 1`, `doyen_maintenance_remaining_seconds{election="group"} 90.5`,
		`doyen_healthy{election="group"} 1`, `doyen_health_checks_total{election="group",result="ok"} 11`, `doyen_health_checks_total{election="group",result="failed"} 12`, `doyen_health_seconds_total{election="group"} 0.125`, `doyen_eligible_candidates{election="group"} 2`, `doyen_findings{what="name-clash"} 2`,
		`doyen_leader_changes_total{election="group"} 2`, `doyen_elections_total{election="group"} 1`, `doyen_leaderships_won_total{election="group"} 3`,
		`doyen_leaderships_lost_total{election="group",reason="lease-lost"} 4`,
		`doyen_last_election_seconds{election="group",part="detection"} 1.5`, `doyen_last_election_seconds{election="group",part="hook"} 2`,
		`doyen_hook_runs_total{election="group",event="acquire",result="failed"} 8`, `doyen_hook_seconds_total{election="group",event="acquire"} 0.5`,
		`doyen_messages_total{direction="sent",election="group",kind="claim"} 5`, `doyen_messages_dropped_total{election="group",reason="stale-term"} 7`,
		`doyen_gossip_dropped_total{reason="other-cluster"} 9`, `doyen_http_refused_total{reason="no-token"} 0`,
		`process_resident_memory_bytes`,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("no sample %s", want)
		}
	}
}

func TestMetricsWithoutLeader(t *testing.T) {
	f := newFake()
	f.state.Leader, f.state.IsLeader = nil, false
	got := scrape(t, f)
	if !strings.Contains(got, "\ndoyen_has_leader{election=\"group\"} 0\n") || strings.Contains(got, "doyen_leader_info{") || strings.Contains(got, "\ndoyen_healthy{") {
		t.Errorf("want no leader, and no health without a check:\n%s", got)
	}
}

// TestMetricsWithHostileNames sees that a name can neither fail the scrape nor
// add a line to it.
func TestMetricsWithHostileNames(t *testing.T) {
	f := newFake()
	f.state.Leader = new("x\"} 1\ndoyen_is_leader 5\n" + hostile)
	got := scrape(t, f)
	if !strings.Contains(got, `doyen_leader_info{election="group",leader="x\"} 1`) {
		t.Error("the leader's name failed its metric")
	}
	for l := range strings.SplitSeq(strings.TrimSpace(got), "\n") {
		if strings.HasPrefix(l, "doyen_is_leader") && l != `doyen_is_leader{election="group"} 1` {
			t.Errorf("a name made a sample: %s", l)
		}
		if !utf8.ValidString(l) || strings.ContainsAny(l, "\x00\x1b\r") {
			t.Errorf("a name's control characters got out: %q", l)
		}
	}
}
