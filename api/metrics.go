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
	metricIsLeader       = desc("is_leader", "1 while this member leads, by the clock at the time of the scrape.", "election")
	metricLeaderInfo     = desc("leader_info", "1, with the leader this member knows; absent while it knows none.", "leader", "election")
	metricHasLeader      = desc("has_leader", "1 while this member knows a leader.", "election")
	metricTerm           = desc("term", "Term of the leader, or the highest term known.", "election")
	metricLeaseRemaining = desc("lease_remaining_seconds", "Lease left, on the leader; else 0.", "election")
	metricElecting       = desc("electing", "1 while an election is under way.", "election")
	metricReady          = desc("ready", "1 while a failover would work.", "election")
	metricMembers        = desc("members", "Members believed alive, this one included, by role.", "role")
	metricCandidates     = desc("eligible_candidates", "Members believed alive that may lead now.", "election")
	metricEligible       = desc("eligible", "1 while this member may be elected.", "election")
	metricMaintenance    = desc("maintenance_remaining_seconds", "For how long this member was asked to stand aside yet; else 0.", "election")
	metricHealthy        = desc("healthy", "1 while the health check says that this member is fit; absent without one.", "election")
	metricHealthChecks   = desc("health_checks_total", "Runs of the health check, by result (ok, failed).", "result", "election")
	metricHealthSeconds  = desc("health_seconds_total", "Time spent in the health check.", "election")
	metricFindings       = desc("findings", "What this member has noticed and a person should know, by kind.", "what")
	metricLeaderChanges  = desc("leader_changes_total", "Times the leader this member follows changed.", "election")
	metricElections      = desc("elections_total", "Claims this member made.", "election")
	metricWins           = desc("leaderships_won_total", "Leaderships this member won.", "election")
	metricLosses         = desc("leaderships_lost_total", "Leaderships this member lost, by reason.", "reason", "election")
	metricElectionPart   = desc("last_election_seconds", "How long the parts of the last election won here took.", "part", "election")
	metricHookRuns       = desc("hook_runs_total", "Runs of the hook, by event and result (ok, failed, overtaken).", "event", "result", "election")
	metricAddressHeld    = desc("floating_address_held", "1 while this member has the floating address on its interface.", "address", "interface", "election")
	metricAddressEvents  = desc("floating_address_events_total", "What happened to the floating addresses here, by kind.", "what", "election")
	metricHookSeconds    = desc("hook_seconds_total", "Time spent in the hook, by event.", "event", "election")
	metricMessages       = desc("messages_total", "Election messages, by direction (sent, received) and kind.", "direction", "kind", "election")
	metricDropped        = desc("messages_dropped_total", "Election messages refused or ignored, by reason.", "reason", "election")
	metricGossipDropped  = desc("gossip_dropped_total", "Packets and streams that gossip refused, or could not send, by reason.", "reason")
	metricCertificateEnd = desc("tls_certificate_end_timestamp_seconds", "When the certificate of HTTPS expires; absent without one.")
	metricStoreIndex     = desc("store_index", "Index of the last change applied to this member's copy of the store.")
	metricStoreCommit    = desc("store_commit_index", "Index up to which changes are known here to be committed.")
	metricStoreKeys      = desc("store_keys", "Keys in this member's copy of the store.")
	metricStoreBytes     = desc("store_bytes", "Size of all keys and values in this member's copy, in bytes.")
	metricStoreServing   = desc("store_serving", "1 while this member orders the changes of the store.")
	metricStoreWorking   = desc("store_working", "1 while nothing keeps this member's store from its work; absent without a store.")
	metricStoreDisk      = desc("store_disk_seconds", "How long the slowest of the last writes to the disk of the store took.")
	metricStoreLag       = desc("store_voter_lag", "On the member that orders: how many entries the voter lacks; -1: it has not been heard of.", "voter")
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
		metricHookSeconds, metricAddressHeld, metricAddressEvents, metricMessages, metricDropped, metricGossipDropped, metricHTTPRefused, metricCertificateEnd,
		metricStoreIndex, metricStoreCommit, metricStoreKeys, metricStoreBytes, metricStoreServing, metricStoreWorking, metricStoreDisk, metricStoreLag,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	e.gauge(metricBuildInfo, 1, agent.Version, runtime.Version())
	c.collectMember(e)
	c.collectStore(e)
	c.collectElection(e, groupElection, c.agent)
	if c.election != nil {
		for name := range c.agent.Elections() {
			if further := c.election(name); name != groupElection && further != nil {
				c.collectElection(e, name, further)
			}
		}
	}
	if c.certificate != nil {
		if pair, err := c.certificate(&tls.ClientHelloInfo{}); err == nil && pair.Leaf != nil {
			e.gauge(metricCertificateEnd, float64(pair.Leaf.NotAfter.Unix()))
		}
	}
	for r := range numRefusals {
		e.count(metricHTTPRefused, float64(c.refused[r].Load()), r.String())
	}
}

// collectMember emits what is the member's, whichever elections there are.
func (c collector) collectMember(e emitter) {
	found := map[string]int{}
	for _, f := range c.agent.State().Findings {
		found[f.What]++
	}
	for what, n := range found {
		e.gauge(metricFindings, float64(n), what)
	}
	roles := map[string]int{"candidate": 0, "witness": 0, "observer": 0}
	for _, m := range c.agent.Members() {
		if m.Alive {
			roles[m.Role]++
		}
	}
	for role, n := range roles {
		e.gauge(metricMembers, float64(n), role)
	}
	e.counts(metricGossipDropped, c.agent.Counters().GossipDropped)
}

// collectElection emits what is one election's.
func (c collector) collectElection(e emitter, name string, election Election) {
	e.gauge(metricReady, truth(election.Ready().Ready), name)
	s := election.State()
	e.gauge(metricIsLeader, truth(s.IsLeader), name)
	e.gauge(metricHasLeader, truth(s.Leader != nil), name)
	if s.Leader != nil {
		e.gauge(metricLeaderInfo, 1, *s.Leader, name)
	}
	e.gauge(metricTerm, float64(s.Term), name)
	e.gauge(metricLeaseRemaining, float64(s.LeaseMS)/1000, name)
	e.gauge(metricElecting, truth(s.Electing), name)
	e.gauge(metricEligible, truth(s.Eligible), name)
	e.gauge(metricMaintenance, maintenanceLeft(s), name)
	if s.Health != nil {
		e.gauge(metricHealthy, truth(s.Health.Healthy), name)
	}
	for _, a := range s.Addresses {
		e.gauge(metricAddressHeld, truth(a.Held), a.Address, a.Interface, name)
	}
	mayLead := 0
	for _, m := range election.Members() {
		if m.Alive && m.Eligible && m.Role == agent.DefaultRole {
			mayLead++
		}
	}
	e.gauge(metricCandidates, float64(mayLead), name)
	collectCounters(e, name, election.Counters())
}

// maintenanceLeft is in seconds, by the member's own clock.
func maintenanceLeft(s agent.State) float64 {
	if s.MaintenanceUntil == nil {
		return 0
	}
	return max(unix(*s.MaintenanceUntil)-s.WallTime, 0)
}

func collectCounters(e emitter, name string, n agent.Counters) {
	e.count(metricLeaderChanges, float64(n.LeaderChanges), name)
	e.count(metricElections, float64(n.Elections), name)
	e.count(metricWins, float64(n.Wins), name)
	e.counts(metricLosses, n.Losses, name)
	e.counts(metricMessages, n.Messages, name)
	e.counts(metricDropped, n.Dropped, name)
	e.counts(metricHookRuns, n.HookRuns, name)
	e.counts(metricAddressEvents, n.AddressEvents, name)
	for event, seconds := range n.HookSeconds {
		e.count(metricHookSeconds, seconds, event, name)
	}
	e.count(metricHealthChecks, float64(n.Health.OK), "ok", name)
	e.count(metricHealthChecks, float64(n.Health.Failed), "failed", name)
	e.count(metricHealthSeconds, n.Health.Seconds, name)
	e.gauge(metricElectionPart, n.Failover.Detection, "detection", name)
	e.gauge(metricElectionPart, n.Failover.Confirm, "confirm", name)
	e.gauge(metricElectionPart, n.Failover.Hook, "hook", name)
}

// emitter sends metrics with labels that cannot spoil a scrape.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.emit(d, prometheus.GaugeValue, v, labels)
}

func (e emitter) count(d *prometheus.Desc, v float64, labels ...string) {
	e.emit(d, prometheus.CounterValue, v, labels)
}

// counts emits a table whose keys are a label, or two with a slash between; more
// labels follow.
func (e emitter) counts(d *prometheus.Desc, table map[string]uint64, more ...string) {
	for key, n := range table {
		labels := []string{key}
		if d == metricMessages || d == metricHookRuns {
			first, second, _ := strings.Cut(key, "/")
			labels = []string{first, second}
		}
		e.count(d, float64(n), append(labels, more...)...)
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
