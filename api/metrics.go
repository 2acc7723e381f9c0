package api

import (
	"crypto/tls"
	"net/http"
	"runtime"
	"strings"

	"doyen/agent"
)

// The metrics. Their names are an interface: dashboards and the alert rules in
// examples/prometheus use them.
var (
	metricBuildInfo      = desc("build_info", "Always 1; the labels say which program runs.", "version", "goversion")
	metricIsLeader       = desc("is_leader", "1 while this member leads, by the clock at the time of the scrape.")
	metricLeaderInfo     = desc("leader_info", "1, with the leader this member knows; absent while it knows none.", "leader")
	metricHasLeader      = desc("has_leader", "1 while this member knows a leader.")
	metricTerm           = desc("term", "Term of the leader, or the highest term known.")
	metricLeaseRemaining = desc("lease_remaining_seconds", "Lease left, on the leader; else 0.")
	metricElecting       = desc("electing", "1 while an election is under way.")
	metricReady          = desc("ready", "1 while a failover would work.")
	metricMembers        = desc("members", "Members believed alive, this one included, by role.", "role")
	metricCandidates     = desc("eligible_candidates", "Members believed alive that may lead now.")
	metricFindings       = desc("findings", "What this member has noticed and a person should know, by kind.", "what")
	metricLeaderChanges  = desc("leader_changes_total", "Times the leader this member follows changed.")
	metricElections      = desc("elections_total", "Claims this member made.")
	metricWins           = desc("leaderships_won_total", "Leaderships this member won.")
	metricLosses         = desc("leaderships_lost_total", "Leaderships this member lost, by reason.", "reason")
	metricElectionPart   = desc("last_election_seconds", "How long the parts of the last election won here took.", "part")
	metricHookRuns       = desc("hook_runs_total", "Runs of the hook, by event and result (ok, failed).", "event", "result")
	metricHookSeconds    = desc("hook_seconds_total", "Time spent in the hook, by event.", "event")
	metricMessages       = desc("messages_total", "Election messages, by direction (sent, received) and kind.", "direction", "kind")
	metricDropped        = desc("messages_dropped_total", "Election messages refused or ignored, by reason.", "reason")
	metricGossipDropped  = desc("gossip_dropped_total", "Packets and streams that gossip refused, by reason.", "reason")
	metricCertificateEnd = desc("tls_certificate_end_timestamp_seconds", "When the certificate of HTTPS expires; absent without one.")
	metricHTTPRefused    = desc("http_refused_total", "Requests and connections that the API refused, by reason.", "reason")
)

// metrics answers with the newest samples, in the text format of Prometheus.
func (a *api) metrics(w http.ResponseWriter, _ *http.Request) {
	samples := make(emitter)
	collector{a}.collect(samples)
	process(samples)
	setHeaders(w, metricsType)
	// A scraper that has gone away is told nothing.
	_, _ = w.Write(samples.text())
}

// collector reads the agent at every scrape; nothing is counted twice.
type collector struct{ *api }

func (c collector) collect(e emitter) {
	e.gauge(metricBuildInfo, 1, agent.Version, runtime.Version())
	e.gauge(metricReady, truth(c.agent.Ready().Ready))
	c.collectState(e)
	c.collectMembers(e)
	c.collectCounters(e)
	for r := range numRefusals {
		e.count(metricHTTPRefused, float64(c.refused[r].Load()), r.String())
	}
	if c.certificate != nil {
		if pair, err := c.certificate(&tls.ClientHelloInfo{}); err == nil && pair.Leaf != nil {
			e.gauge(metricCertificateEnd, float64(pair.Leaf.NotAfter.Unix()))
		}
	}
}

func (c collector) collectState(e emitter) {
	s := c.agent.State()
	e.gauge(metricIsLeader, truth(s.IsLeader))
	e.gauge(metricHasLeader, truth(s.Leader != nil))
	if s.Leader != nil {
		e.gauge(metricLeaderInfo, 1, *s.Leader)
	}
	e.gauge(metricTerm, float64(s.Term))
	e.gauge(metricLeaseRemaining, float64(s.LeaseMS)/1000)
	e.gauge(metricElecting, truth(s.Electing))
	found := map[string]int{}
	for _, f := range s.Findings {
		found[f.What]++
	}
	for what, n := range found {
		e.gauge(metricFindings, float64(n), what)
	}
}

func (c collector) collectMembers(e emitter) {
	roles := map[string]int{"candidate": 0, "witness": 0, "observer": 0}
	mayLead := 0
	for _, m := range c.agent.Members() {
		if !m.Alive {
			continue
		}
		roles[m.Role]++
		if m.Eligible && m.Role == agent.DefaultRole {
			mayLead++
		}
	}
	for role, n := range roles {
		e.gauge(metricMembers, float64(n), role)
	}
	e.gauge(metricCandidates, float64(mayLead))
}

func (c collector) collectCounters(e emitter) {
	n := c.agent.Counters()
	e.count(metricLeaderChanges, float64(n.LeaderChanges))
	e.count(metricElections, float64(n.Elections))
	e.count(metricWins, float64(n.Wins))
	e.counts(metricLosses, n.Losses)
	e.counts(metricMessages, n.Messages)
	e.counts(metricDropped, n.Dropped)
	e.counts(metricGossipDropped, n.GossipDropped)
	e.counts(metricHookRuns, n.HookRuns)
	for event, seconds := range n.HookSeconds {
		e.count(metricHookSeconds, seconds, event)
	}
	e.gauge(metricElectionPart, n.Failover.Detection, "detection")
	e.gauge(metricElectionPart, n.Failover.Confirm, "confirm")
	e.gauge(metricElectionPart, n.Failover.Hook, "hook")
}

// counts emits a table whose keys are a label, or two with a slash between.
func (e emitter) counts(m *metric, table map[string]uint64) {
	for key, n := range table {
		e.count(m, float64(n), strings.SplitN(key, "/", len(m.labels))...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
