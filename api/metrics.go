package api

import (
	"crypto/tls"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"doyen/agent"
)

// desc names a metric; the prefix is added here and nowhere else.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("doyen_"+name, help, labels, nil)
}

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
	metricEligible       = desc("eligible", "1 while this member may be elected.")
	metricMaintenance    = desc("maintenance_remaining_seconds", "For how long this member was asked to stand aside yet; else 0.")
	metricHealthy        = desc("healthy", "1 while the health check says that this member is fit; absent without one.")
	metricHealthChecks   = desc("health_checks_total", "Runs of the health check, by result (ok, failed).", "result")
	metricHealthSeconds  = desc("health_seconds_total", "Time spent in the health check.")
	metricFindings       = desc("findings", "What this member has noticed and a person should know, by kind.", "what")
	metricLeaderChanges  = desc("leader_changes_total", "Times the leader this member follows changed.")
	metricElections      = desc("elections_total", "Claims this member made.")
	metricWins           = desc("leaderships_won_total", "Leaderships this member won.")
	metricLosses         = desc("leaderships_lost_total", "Leaderships this member lost, by reason.", "reason")
	metricElectionPart   = desc("last_election_seconds", "How long the parts of the last election won here took.", "part")
	metricHookRuns       = desc("hook_runs_total", "Runs of the hook, by event and result (ok, failed, overtaken).", "event", "result")
	metricHookSeconds    = desc("hook_seconds_total", "Time spent in the hook, by event.", "event")
	metricMessages       = desc("messages_total", "Election messages, by direction (sent, received) and kind.", "direction", "kind")
	metricDropped        = desc("messages_dropped_total", "Election messages refused or ignored, by reason.", "reason")
	metricGossipDropped  = desc("gossip_dropped_total", "Packets and streams that gossip refused, by reason.", "reason")
	metricCertificateEnd = desc("tls_certificate_end_timestamp_seconds", "When the certificate of HTTPS expires; absent without one.")
	metricHTTPRefused    = desc("http_refused_total", "Requests and connections that the API refused, by reason.", "reason")
)

// metrics returns the handler of /metrics. Its registry is its own, so what
// else runs in the program does not show up here.
func (a *api) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{a}, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w, textType)
		scrape.ServeHTTP(w, r)
	})
}

// collector reads the agent at every scrape; nothing is counted twice.
type collector struct{ *api }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		metricBuildInfo, metricIsLeader, metricLeaderInfo, metricHasLeader, metricTerm,
		metricLeaseRemaining, metricElecting, metricReady, metricMembers, metricCandidates,
		metricEligible, metricMaintenance, metricHealthy, metricHealthChecks, metricHealthSeconds, metricFindings,
		metricLeaderChanges, metricElections, metricWins, metricLosses, metricElectionPart, metricHookRuns,
		metricHookSeconds, metricMessages, metricDropped, metricGossipDropped, metricHTTPRefused, metricCertificateEnd,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	e.gauge(metricBuildInfo, 1, agent.Version, runtime.Version())
	e.gauge(metricReady, truth(c.agent.Ready().Ready))
	c.collectState(e)
	c.collectMembers(e)
	c.collectCounters(e)
	if c.certificate != nil {
		if pair, err := c.certificate(&tls.ClientHelloInfo{}); err == nil && pair.Leaf != nil {
			e.gauge(metricCertificateEnd, float64(pair.Leaf.NotAfter.Unix()))
		}
	}
	for r := range numRefusals {
		e.count(metricHTTPRefused, float64(c.refused[r].Load()), r.String())
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
	e.gauge(metricEligible, truth(s.Eligible))
	e.gauge(metricMaintenance, maintenanceLeft(s))
	if s.Health != nil {
		e.gauge(metricHealthy, truth(s.Health.Healthy))
	}
	found := map[string]int{}
	for _, f := range s.Findings {
		found[f.What]++
	}
	for what, n := range found {
		e.gauge(metricFindings, float64(n), what)
	}
}

// maintenanceLeft is in seconds, by the member's own clock.
func maintenanceLeft(s agent.State) float64 {
	if s.MaintenanceUntil == nil {
		return 0
	}
	return max(unix(*s.MaintenanceUntil)-s.WallTime, 0)
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
	e.count(metricHealthChecks, float64(n.Health.OK), "ok")
	e.count(metricHealthChecks, float64(n.Health.Failed), "failed")
	e.count(metricHealthSeconds, n.Health.Seconds)
	e.gauge(metricElectionPart, n.Failover.Detection, "detection")
	e.gauge(metricElectionPart, n.Failover.Confirm, "confirm")
	e.gauge(metricElectionPart, n.Failover.Hook, "hook")
}

// emitter sends metrics with labels that cannot spoil a scrape.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.emit(d, prometheus.GaugeValue, v, labels)
}

func (e emitter) count(d *prometheus.Desc, v float64, labels ...string) {
	e.emit(d, prometheus.CounterValue, v, labels)
}

// counts emits a table whose keys are a label, or two with a slash between.
func (e emitter) counts(d *prometheus.Desc, table map[string]uint64) {
	for key, n := range table {
		labels := []string{key}
		if d == metricMessages || d == metricHookRuns {
			first, second, _ := strings.Cut(key, "/")
			labels = []string{first, second}
		}
		e.count(d, float64(n), labels...)
	}
}

// emit makes the labels printable: names come from other members, and one that
// is no UTF-8 would fail the whole scrape.
func (e emitter) emit(d *prometheus.Desc, t prometheus.ValueType, v float64, labels []string) {
	for i := range labels {
		labels[i] = printable(labels[i], maxText)
	}
	e.ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
