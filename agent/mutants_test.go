package agent

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var flagMutants = flag.Bool("mutants", false, "break everything around the core on purpose, in every way listed, and run the test that must notice")

// mutant is one way to break what surrounds the core: texts to replace, and the
// test that must fail then. The simulator has the mutants of the core.
type mutant struct {
	name      string
	edits     []edit
	pkg, test string // from the top of the module
}

// edit replaces old, which must stand once in file, by new.
type edit struct{ file, old, new string }

var mutants = []mutant{
	// Calm in available mode.
	{"one that has led in vain leads alone as soon again",
		[]edit{{"seniority/vain.go", "	if v.times == 0 {", "	if true {"}},
		"./seniority", "TestScenario"},
	{"one that has led in vain counts a vote of one round",
		[]edit{{"seniority/vain.go", "b.confirms == c.claim.rounds", "b.confirms > 0"}},
		"./seniority", "TestScenario"},
	{"a majority wins before the confirm time-out",
		[]edit{{"seniority/available.go", "return granted == total || timeout && (2*granted > total || e.core.claim.asks >= maxAsks)", "return granted == total || e.core.claim.asks > 0 && 2*granted > total || timeout && e.core.claim.asks >= maxAsks"},
			{"seniority/available.go", "	if !timeout && len(", "	if e.core.claim.asks == 0 && len("}},
		"./seniority", "TestScenario"},
	{"a leadership without a majority does not say so",
		[]edit{{"seniority/leading.go", "	cl.minority = 2*granted <= total", "	cl.minority = false"}},
		"./seniority", "TestScenario"},
	{"a leader that was silent takes the lead back from the one that all others elected",
		[]edit{{"seniority/follower.go", "		c.inheritSilent()\n", ""}},
		"./seniority", "TestScenario"},
	{"a leader that most members have replaced is told to raise its term",
		[]edit{{"seniority/deaf.go", " || m.Term < term", ""}},
		"./seniority", "TestScenario"},
	{"a follower leaves its leader for one that led before",
		[]edit{{"seniority/deaf.go", " || now.Boot-m.Held < c.led.began", ""}},
		"./seniority", "TestScenario"},
	{"UDP is taken for blocked after one lost ping",
		[]edit{{"gossip/udp.go", "udpTries = 5", "udpTries = 1"}},
		"./gossip", "TestLostPacketsAreNoBlockedUDP"},
	{"a few members that gossip has cut off count as most",
		[]edit{{"seniority/leading.go", "2*granted > c.size(now)", "2*granted > c.view.voting"}},
		"./seniority", "TestScenario"},
	{"a member that refuses a renewal has not heard it",
		[]edit{{"seniority/deaf.go", "if b.answered >= c.claim.round {", "if b.confirmed >= c.claim.round {"}},
		"./seniority", "TestARefusalIsAnAnswer"},
	{"a leader does not judge its link",
		[]edit{{"seniority/deaf.go", "return patchy > 1 && !well", "return false"}},
		"./agent", "TestGreyMembers"},
	{"a member that is no watcher any more is not told",
		[]edit{{"seniority/available.go", "case stand == Leading && e.core.claim.watched[m.Name] != 0:", "case false:"}},
		"./seniority", "TestScenario"},
	{"a short pause counts as an absence",
		[]edit{{"agent/effects.go", " && n.Paused >= awayAfter", ""}},
		"./agent", "TestTheLastOfTwoLeadsAfterAShortPause"},
	{"a member that looks for the others waits for one that hangs",
		[]edit{{"gossip/rejoin.go", "			if o == joined {\n", "			if o == joined && pending == 0 && looked == nil {\n"}},
		"./gossip", "TestRejoinEndsWithTheFirstAnswer"},
	{"one that was alone takes the clients over when it meets the leader",
		[]edit{{"agent/orders.go", "met && !st.Doubtful || stays", "met || stays"}},
		"./agent", "TestOneThatWasAloneAnnouncesNothingWhenItMeetsTheLeader"},
	{"a leader that was cut off takes the clients over when it meets its successor",
		[]edit{{"seniority/status.go", " || c.claim.outdone && now.Boot < c.claim.metTill", ""}},
		"./agent", "TestPartitionHeals"},
	// The agent's loop.
	{"messages decided before a pause are sent after it",
		[]edit{{"agent/effects.go", "if durable && !e.late(now) {", "if durable {"}},
		"./agent", "TestMessagesDecidedBeforeAPauseAreNotSent"},
	{"the loop goes on as leader when its keeper has died",
		[]edit{{"agent/orders.go", "			e.fitness.keeperless = true\n			e.fire()", "			e.fitness.keeperless = true"}},
		"./agent", "TestKeeperThatDiesEndsTheLeadership"},
	{"a member without a keeper claims",
		[]edit{{"agent/fitness.go", "case e.fitness.keeperless:", "case false:"}},
		"./cmd/agent", "TestMemberWithoutAKeeperWinsNothing"},
	{"a hand-over does not wait for functions given to Lead",
		[]edit{{"agent/orders.go", "	if e.pub.functions.Busy(term) {\n		e.released = term", "	if false {\n		e.released = term"}},
		"./agent", "TestQuorumHandOverWaitsForLeadFunctions"},
	{"the limit of a release moves on",
		[]edit{{"agent/orders.go", "if e.yielded.term != st.Releasing {", "if true {"}},
		"./cmd/agent", "TestReleaseHasOneLimit"},
	{"another member's own address is taken for a floating one",
		[]edit{{"agent/fitness.go", "len(e.fitness.owners) > 0", "false"}},
		"./cmd/agent", "TestFloatingAddressThatIsAHostsOwn"},
	{"what a function given to Lead is told does not end with the deadline",
		[]edit{{"agent/lead.go", "		if s.status.Term != term || !s.leads(now) {\n			end(ErrLeadershipOver)", "		if s.status.Term != term {\n			end(ErrLeadershipOver)"}},
		"./agent", "TestALeadershipEndsAtItsDeadlineThoughTheLoopHangs"},
	{"acquires that failed under an older term end a leadership",
		[]edit{{"agent/orders.go", "case r.AcquireFailures >= acquireLimit && e.last.Leading && r.Term == e.last.Term:", "case r.AcquireFailures >= acquireLimit && e.last.Leading:"}},
		"./agent", "TestFailuresOfAnOlderTermEndNothing"},
	{"a command that failed under an older term ends a leadership",
		[]edit{{"agent/orders.go", "commandLimit && e.last.Leading && r.Term == e.last.Term:", "commandLimit && e.last.Leading:"}},
		"./agent", "TestFailuresOfAnOlderTermEndNothing"},
	{"a finding about what has happened stays for ever",
		[]edit{{"agent/ownfindings/list.go", "if n.until != 0 && now >= n.until {", "if false {"}},
		"./agent", "TestFindingOfWhatHasHappenedEnds"},
	{"findings of an election that is over stay",
		[]edit{{"agent/reload.go", "		e.findings.ClearAll(e.self.Name)\n", ""}},
		"./agent", "TestElectionIsForgotten"},
	{"maintenance that is not stored is no error",
		[]edit{{"agent/maintenance.go", "return r, fmt.Errorf(\"it is done, but a restart would forget it: %w\", err)", "return r, nil"}},
		"./agent", "TestMaintenanceThatCannotBeStored"},
	{"an election that its keeper refused is led",
		[]edit{{"agent/orders.go", "	case r.Refused != \"\":\n		e.fitness.keeperless = true\n", "	case r.Refused != \"\":\n"}},
		"./agent", "TestElectionThatTheKeeperRefusesIsNotLed"},
	{"an election is forgotten while its promises last",
		[]edit{{"agent/forget.go", "case now >= e.unnamed+l.promisesLast(e):", "default:"}},
		"./agent", "TestElectionIsForgotten"},
	{"a member that only votes goes by another rule than the candidates",
		[]edit{{"agent/candidacy.go", "!e.candidate && rule.Name() != e.cfg.rule.Name()", "false"}},
		"./agent", "TestVotersGoByTheRuleOfTheCandidates"},
	{"messages of several elections decided before a pause are sent after it",
		[]edit{{"agent/outbox.go", "if o.decided[i] > oldest {", "if o.decided[i] > oldest || true {"}},
		"./agent", "TestMessagesDecidedBeforeAPauseAreNotSent"},
	{"the first things held do not wait for the lock of the node",
		[]edit{{"agent/keeper/reconfigure.go", "e.cleared = e.awaitLock(true)", "e.cleared = e.awaitLock(false)"}},
		"./agent/keeper", "TestFirstThingWaitsForTheLock"},
	{"a hook that is taken away does not release",
		[]edit{{"agent/keeper/reconfigure.go", "anew && c.Hook == \"\" && t != nil", "false"}},
		"./agent/keeper", "TestLeadershipGoesOnWithTheFirstAndTheLastThing"},
	{"an acquire under way counts for another hook",
		[]edit{{"agent/keeper/reconfigure.go", "		e.run.outdated = true\n", "		_ = e.run\n"}},
		"./agent/keeper", "TestAnotherHookWhileAcquireRuns"},
	{"a voter that starts again forgets whose term it has confirmed",
		[]edit{{"seniority/core.go", "c.voter.floor, c.voter.floorOf = cfg.Highest, cfg.HighestOf", "c.voter.floor = cfg.Highest"}},
		"./cmd/agent", "TestRestartOfAFollowerDisturbsNothing"},
	{"a member of available mode leads beside a group of quorum mode",
		[]edit{{"agent/fitness.go", "e.fitness.quorum = votes > 1 && votes >= others; e.fitness.quorum && e.last.Leading", "false"}},
		"./cmd/agent", "TestMemberWithoutVotersBesideAQuorum"},
	{"a member that was handed the lead gives it up when its check fails",
		[]edit{{"seniority/view.go", "c.unfit == Unhealthy && c.mustLead", "false"}},
		"./cmd/agent", "TestHealthFailsEverywhere"},
	{"a term is written over the newest record",
		[]edit{{"agent/termfile.go", "int64(f.sequence+1)%2*int64(f.size)", "0"}},
		"./agent", "TestTermsSurviveACrash"},
	{"half a record counts",
		[]edit{{"agent/termfile.go", "if !ok || fmt.Sprintf", "if !ok || false && fmt.Sprintf"}},
		"./agent", "TestTermsSurviveACrash"},
	{"what the old hook has failed to do stays a finding when there is a new one",
		[]edit{{"agent/reload.go", "		e.runs.failed = \"\"\n		e.findings.Clear(hookFailed, e.self.Name)\n", ""}},
		"./agent", "TestReload"},
	{"a record of a lease that is too short stays when it cannot be written",
		[]edit{{"agent/leaserecord.go", "if gone := os.Remove(r.path); gone != nil && ", "if gone := error(nil); gone != nil && "}},
		"./agent", "TestLeaseRecordThatCannotBeWritten"},
	{"maintenance lasts longer when the clock was set back",
		[]edit{{"agent/maintenance.go", "max(min(p.Until.Sub(now), p.For, MaxAside), 0)", "max(min(p.Until.Sub(now), MaxAside), 0)"}},
		"./agent", "TestWhatIsLeftOfAMaintenance"},
	{"what a member that has gone stood for stays",
		[]edit{{"agent/candidacy.go", "	l.details.Keep(there)\n", ""}},
		"./agent", "TestElectionIsForgotten"},
	{"a role that no member can have is taken over",
		[]edit{{"agent/placing/details.go", "|| c.Role > seniority.Observer ", ""}},
		"./agent/placing", "TestDetailsOutOfRangeAreDropped"},

	// The store.
	{"a change is acknowledged before it is on disk",
		[]edit{{"agent/store/replica.go", "if leads && early(m) {", "if leads || true {"}, {"agent/store/replica.go", "if !leads || !early(m) {", "if !leads && false {"}},
		"./agent/store", "TestSimulation"},
	{"changes are applied before they are committed",
		[]edit{{"agent/store/replica.go", "applyAll(rd.CommittedEntries[done:])", "applyAll(rd.Entries)"}},
		"./agent/store", "TestSimulation"},
	{"after a crash a replica thinks less committed than its snapshot holds",
		[]edit{{"agent/store/replica.go", "im.hard.Commit = new(max(im.hard.GetCommit(), r.snapped))", ""}},
		"./agent/store", "TestSimulation"},
	{"fences are not checked",
		[]edit{{"agent/store/machine.go", "c.Fence != 0 && led > c.Fence", "false && led > c.Fence"}},
		"./agent/store", "TestSimulation"},
	{"a member reads without its lease",
		[]edit{{"agent/store/calls.go", "if term == 0 || s.cfg.Leads() != term {", "if term == 0 {"},
			{"agent/store/calls.go", "s.cfg.Leads() != term || s.machine", "s.machine"}},
		"./agent/store", "TestReadsNeedTheLease"},
	{"a voter with an empty disk has its vote at once",
		[]edit{{"agent/store/founding.go", "change(pb.ConfChangeAddLearnerNode, p.ID, v)", "change(pb.ConfChangeAddNode, p.ID, v)"}},
		"./agent/store", "TestAWipedVoterCatchesUpBeforeItVotes"},
	{"what an earlier journal holds is done again",
		[]edit{{"agent/store/journal.go", "	if of != epoch {", "	if false && of != epoch {"}},
		"./agent/store", "TestDiskAfterACrashAnywhere"},
	{"a record that is cut short is done",
		[]edit{{"agent/store/journal.go", "!= crc32.Checksum(body, checksums) {", "!= crc32.Checksum(body, checksums) && false {"}},
		"./agent/store", "TestDiskAfterACrashAnywhere"},
	{"records after a hole in the journal are forgotten",
		[]edit{{"agent/store/journal.go", "ok && of == epoch {", "ok && of == epoch && false {"}},
		"./agent/store", "TestJournalRefusesDamage"},
	{"after a stop the file still needs its journal",
		[]edit{{"agent/store/disk.go", "d.fold(&batch{}, 0)", "d.fold(&batch{}, draw())"}},
		"./agent/store", "TestFileAloneAfterAStop"},
	{"a doyen whose log is behind is not brought up",
		[]edit{{"agent/store/loop.go", "	if s.borrow() {", "	if false && s.borrow() {"}},
		"./agent/store", "TestDoyenIsBroughtUp"},
	{"a change of any version is taken",
		[]edit{{"agent/store/machine.go", "case c.IfVersion != 0 && old.version != c.IfVersion:", "case false:"}},
		"./agent/store", "TestMachine"},
	{"calls to a leader that leads no more go on waiting",
		[]edit{{"agent/store/callstream.go", "if !leading && !followed {", "if false && !followed {"}},
		"./agent/store", "TestCallStreams"},
	{"a stream that is closed takes another call",
		[]edit{{"agent/store/network.go", "!alone && l.why() == nil {", "!alone {"}},
		"./agent/store", "TestCallStreams"},
	{"a doyen that leads raft again orders changes without having said so",
		[]edit{{"agent/store/loop.go", "|| s.under != s.replica.raftTerm() {", "{"}, {"agent/store/loop.go", "|| r.raftTerm() != s.under {", "{"}},
		"./agent/store", "TestDoyenThatLeadsRaftAgain"},
	{"a doyen whose disk works again serves before its log is whole",
		[]edit{{"agent/store/loop.go", "&& s.entry == 0 {", "{"}},
		"./agent/store", "TestDoyenWhoseDiskWorksAgain"},
	{"a voter that has lent its log orders nothing when it leads itself",
		[]edit{{"agent/store/loop.go", "	if s.lending.to != 0 { //", "	if false { //"}},
		"./agent/store", "TestLenderThatIsElected"},
	{"one member can take all places of calls",
		[]edit{{"agent/store/calls.go", "make(chan struct{}, maxStreamCalls)", "make(chan struct{}, 10*maxStreamCalls)"}},
		"./agent/store", "TestMemberThatReadsNoAnswers"},
	{"long answers go over the stream of short ones",
		[]edit{{"agent/store/network.go", "alone := kind == callList || kind == callSave", "alone := false"}},
		"./agent/store", "TestCallStreams"},
	{"a change that may have been done is said not to be",
		[]edit{{"agent/store/calls.go", "			unsure = last\n", "			_ = last\n"}},
		"./agent/store", "TestChangeThatMayHaveBeenDoneIsNotDenied"},
	{"what is committed is told with later changes alone",
		[]edit{{"agent/store/transmit.go", "				s.commits.Reset(holdCommit)\n", ""}},
		"./agent/store", "TestNewsOfCommitsWaitsForEntries"},
	{"what was sent to a voter counts as waiting for ever",
		[]edit{{"agent/store/network.go", "			s.queued.Add(-int64(len(p.body)))\n", ""}},
		"./agent/store", "TestQueueOfAVoterEmpties"},

	// The keeper.
	{"a leadership is released under the term of the one that follows it",
		[]edit{{"agent/keeper/deadline.go", "return term, d.load().gen == gen", "return term, true"}},
		"./agent/keeper", "TestEveryInterleaving"},
	{"the deadline counts for ever",
		[]edit{{"agent/keeper/deadline.go", "return c.state == armed && now < c.deadline", "return c.state == armed"}},
		"./agent/keeper", "TestDeadlineByItself"},
	{"the keeper fires any leadership",
		[]edit{{"agent/keeper/deadline.go", "if old.state != armed || old.gen != gen || ", "if old.state != armed || "}},
		"./agent/keeper", "TestEveryInterleaving"},
	{"no member hears of a leader's death from its keeper",
		[]edit{{"agent/keeper/releasing.go", "if t != nil && (t.fired || e.orphaned) && !r.late {", "if false {"}},
		"./agent/keeper", "TestAgentStopped"},
	{"an acquire goes on after the loss of the lead",
		[]edit{{"agent/keeper/runs.go", "		overtaken = t.over\n", "		overtaken = false\n"}},
		"./agent/keeper", "TestAcquireOvertakenIsKilledAtOnce"},
	{"a release that failed is not tried again",
		[]edit{{"agent/keeper/releasing.go", "	case err == nil || unusable:\n", "	case true:\n"}},
		"./agent/keeper", "TestReleaseIsTriedUntilItSucceeds"},
	{"a keeper that is stopped is left alone",
		[]edit{{"agent/keeper/tend_linux.go", "due = min(due, g.since+patience)", "due = min(due, g.since+1000*patience)"}},
		"./agent/keeper", "TestKeeperStoppedWhileItHasNothingToDo"},
	{"the end of a keeper that starts is noticed by the time-out alone",
		[]edit{{"agent/keeper/process_linux.go", "	theirs.Close() // now its end is that of the process alone\n", ""}},
		"./agent/keeper", "TestKeeperDiesWhileStarting"},
	{"a hook may run beside the release",
		[]edit{{"agent/keeper/executor.go", "	case e.run != nil:\n		e.overtake()\n", "	case e.run != nil && e.run.event != hook.Acquire:\n		e.overtake()\n"}},
		"./agent/keeper", "TestAcquireOvertakenIsKilledAtOnce"},
	{"what acquire leaves running lives on beside the release",
		[]edit{{"agent/keeper/releasing.go", "	case e.leadership != nil && e.leadership.lasting:\n		e.beginEnding()\n", ""}},
		"./agent/keeper", "TestWhatAcquireLeavesRunning"},
	{"ending one election's processes ends another's",
		[]edit{{"agent/hook/reaper_linux.go", "	default:\n		return false\n", "	default:\n		return true\n"}},
		"./agent/keeper", "TestElectionsDoNotTouchEachOther"},
	{"processes without our environment are not known at the next start",
		[]edit{{"agent/hook/sweep_linux.go", "			return o.Election == \"\" && isOfNode", "			return false && isOfNode"}},
		"./agent/keeper", "TestWhatAcquireLeftIsFoundAtTheNextStart"},
	{"a change is told of every leader but the newest",
		[]edit{{"agent/keeper/runs.go", "			e.told = r.about\n", "			e.told = e.leader()\n"}},
		"./agent/keeper", "TestChangeTellsOfTheNewestLeader"},
	{"the keeper waits for what is done to the addresses",
		[]edit{{"agent/keeper/runs.go", "	go func() {\n		res := hook.Result{Exit: -1}", "	func() {\n		res := hook.Result{Exit: -1}"}},
		"./agent/keeper", "TestNothingWaitsForTheAddresses"},
	{"a member is told that a leader is dead whose release has not ended",
		[]edit{{"agent/keeper/releasing.go", "(t.fired || e.orphaned) && !r.late {", "(t.fired || e.orphaned) {"}},
		"./agent/keeper", "TestNoWillWhileSomethingIsHeld"},
	{"a release is killed only when another may lead",
		[]edit{{"agent/keeper/releasing.go", "	return e.releaseEnd() - killMargin\n}\n\n// promisedLimit", "	return e.releaseEnd()\n}\n\n// promisedLimit"}},
		"./agent/keeper", "TestTimeThatAReleaseHas"},
	{"a command that ends at once is started again at once",
		[]edit{{"agent/keeper/command.go", "c.startAt = e.now() + e.node.cfg.backoff(c.quick)", "c.startAt = e.now()"}},
		"./agent/keeper", "TestCommandIsStartedAgainAfterAPause"},
	{"a lock of another user is waited for without end",
		[]edit{{"agent/keeper/lock_linux.go", "until = time.Now().Add(patience)", "until = time.Time{}"}},
		"./agent/keeper", "TestLockOfAStrangerIsNotWaitedForForEver"},
	{"the parent that collects orphans is taken for the agent",
		[]edit{{"agent/keeper/lock_linux.go", "|| own != theirs {", "|| own != theirs && false {"}},
		"./agent/keeper", "TestAgentOfAnOrphan"},
	{"the watchdog is fed while an executor hangs",
		[]edit{{"agent/keeper/watchdog.go", "if now-at > 2*g.every() {", "if now-at > 2*g.every() && false {"}},
		"./agent/keeper", "TestGuard"},
	{"a watchdog without a way out is fed for an executor that hangs",
		[]edit{{"agent/keeper/watchdog.go", "if g.device != nil && len(g.beats) == 0 {\n			g.feed()", "if g.device != nil {\n			g.feed()"}},
		"./agent/keeper", "TestWatchdogThatCannotBeDisarmed"},
	{"a late release goes on beside a new leadership",
		[]edit{{"agent/keeper/runs.go", "e.orphaned && !e.started || e.release.late && e.successor()", "e.orphaned && !e.started"}},
		"./agent/keeper", "TestLateReleaseGivesWayToANewLeadership"},
	{"release from outside leaves the processes of acquire running",
		[]edit{{"agent/keeper/releasenow.go", "	if err := hook.Sweep(hook.Owner{Cluster: cfg.Cluster, Node: cfg.Node}); err != nil {\n		return err\n	}\n", "	_ = hook.Sweep\n"}},
		"./agent/keeper", "TestReleaseNowEndsWhatAcquireLeft"},
	{"addresses stay on while the release uses up the time",
		[]edit{{"agent/keeper/releasing.go", "	if t.fired || e.orphaned || !e.orderIsStale() {\n		e.cutEarly()\n	}\n", ""},
			{"agent/keeper/releasing.go", "		e.cutEarly()\n		e.begin(hook.Release", "		e.begin(hook.Release"}},
		"./agent/keeper", "TestAddresses"},
	{"locks of addresses that are given up stay",
		[]edit{{"agent/keeper/moving.go", "			lock.Close()\n			delete(e.locks, ip)\n", "			_ = lock\n"}},
		"./agent/keeper", "TestAddressesChange"},
	{"what became of a command is dropped while the agent is stopped",
		[]edit{{"agent/keeper/order.go", "r.Refused == \"\" && r.Command == nil &&", "r.Refused == \"\" &&"}},
		"./agent/keeper", "TestReportsThatChangeSomethingAreKept"},
	{"another hook acquires only with the next leadership",
		[]edit{{"agent/keeper/reconfigure.go", "case anew || first:", "case first:"}},
		"./agent/keeper", "TestAnotherHookAcquires"},

	// Hooks, health checks, the watchdog and commands.
	{"root runs a program of another user in a directory that all may write",
		[]edit{{"agent/hook/check.go", "if othersWrite(dir) && portable.Owner(entry) != 0 {", "if false {"}},
		"./agent/hook", "TestCheckPath"},
	{"a hook that others may write is run once the agent has started",
		[]edit{{"agent/hook/program.go", "	if os.Geteuid() == 0 {\n", "	if false {\n"}},
		"./agent/hook", "TestHowARunEnds"},
	{"what a command has started is not asked to end",
		[]edit{{"agent/hook/command.go", "		t.signal(syscall.SIGTERM)\n", ""}},
		"./agent/keeper", "TestDaemonOfTheCommandEndsByItself"},
	{"what a command has started gets no time to end",
		[]edit{{"agent/hook/command.go", "	for t.lives() {", "	for false {"}},
		"./agent/keeper", "TestDaemonOfTheCommandEndsByItself"},
	{"a member is sick after one failed check",
		[]edit{{"agent/health/gauge.go", "case !ok && g.streak >= g.fall:", "case !ok:"}},
		"./agent/health", "TestRiseAndFall"},
	{"the late end of a health check that was counted as hanging counts as well",
		[]edit{{"agent/health/monitor.go", "			if !stuck {\n", "			if !stuck || true {\n"}},
		"./agent/health", "TestACheckThatCannotBeKilled"},
	{"the watchdog restarts the host of an agent that has ended",
		[]edit{{"agent/watchdog/device_linux.go", "_, err := d.file.Write([]byte(\"V\"))", "_, err := d.file.Write(nil)"}},
		"./agent/watchdog", "TestLifeOfADevice"},
	{"what a command leaves running lives on",
		[]edit{{"agent/supervise/guard_linux.go", "return report{Status: status, Remains: g.killAll()}", "return report{Status: status}"}},
		"./agent/supervise", "TestWhatTheCommandLeavesIsKilled"},
	{"a command outlives its guard where exec is killed as well",
		[]edit{{"agent/supervise/guard_linux.go", "Pdeathsig: syscall.SIGKILL", "Pdeathsig: 0"}},
		"./agent/supervise", "TestGuardAndItsStarterKilled"},
	{"a guard that is late kills although the deadline has moved",
		[]edit{{"agent/supervise/guard_linux.go", "	for past(g.deadline) {\n		select {", "	for past(g.deadline) {\n		return true\n		select {"}},
		"./agent/supervise", "TestOrderThatWaitsMovesTheDeadline"},

	// The floating address.
	{"a gate is opened for less than the kernel can count",
		[]edit{{"agent/floatingip/gate_linux.go", "if d < leastTimeout {", "if false {"}},
		"./agent/floatingip", "TestTimeoutsThatRoundToNothingShut"},
	{"giving the addresses up leaves the gate open",
		[]edit{{"agent/floatingip/set_linux.go", "	return s.gate.shut()\n", "	return nil\n"}},
		"./agent/floatingip", "TestDropShutsTheGate"},
	{"it is not asked whether the node leads once an address is there",
		[]edit{{"agent/floatingip/apply_linux.go", "			return err\n		}\n		if !s.cfg.Leads() {\n			return ErrNotLeading\n		}\n		return nil", "			return err\n		}\n		return nil"}},
		"./agent/floatingip", "TestLosingWhileTaking"},
	{"an address that somebody else put is removed",
		[]edit{{"agent/floatingip/iface_linux.go", "	if addr.Flags&unix.IFA_F_PERMANENT != 0 {\n		return false\n", "	if addr.Flags&unix.IFA_F_PERMANENT != 0 {\n		return true\n"}},
		"./agent/floatingip", "TestDropLeavesWhatOthersPut"},
	{"an address becomes its network's primary one",
		[]edit{{"agent/floatingip/iface_linux.go", "	return alone(a)\n}\n\n// promotes", "	return a.Prefix\n}\n\n// promotes"},
			{"agent/floatingip/iface_linux.go", "|| there && form != alone(a) && !isSecondary(a, list) {", "|| there && false {"}},
		"./agent/floatingip", "TestOwnAddressComesLater"},
	{"tables of another name stay",
		[]edit{{"agent/floatingip/gate_linux.go", "		if other {", "		if other && false {"}},
		"./agent/floatingip", "TestBeginClearsTablesOfOtherNames"},
	{"an agent without the lock takes the addresses off",
		[]edit{{"agent/floatingip/set_linux.go", "		if s.begun {", "		if true {"}},
		"./agent/floatingip", "TestCloseBeforeBeginTouchesNothing"},
	{"an address of the host's own is cut off",
		[]edit{{"agent/floatingip/set_linux.go", "		if where == \"\" {", "		if true {"}},
		"./agent/floatingip", "TestDropLeavesWhatOthersPut"},
	{"a member announces that does not lead",
		[]edit{{"agent/floatingip/announce_linux.go", "		if !n.leads() {", "		if false {"}},
		"./agent/floatingip", "TestAnnouncesOnlyWhileLeading"},
	{"a removed address waits for the next check",
		[]edit{{"agent/floatingip/watch_linux.go", "if !ok || s.concerns(update) {", "if !ok || s.concerns(update) && false {"}},
		"./agent/floatingip", "TestRemovedByHandIsPutBack"},
	{"a renewal waits for the kernel's lock of the network's configuration",
		[]edit{{"agent/floatingip/set_linux.go", "	s.cut.Lock()\n	defer s.cut.Unlock()\n	if !s.held || until", "	s.mu.Lock()\n	defer s.mu.Unlock()\n	s.cut.Lock()\n	defer s.cut.Unlock()\n	if !s.held || until"}},
		"./agent/floatingip", "TestRoutingLockDelaysNoRenewal"},
	{"the route of an address that is given up stays",
		[]edit{{"agent/floatingip/iface_linux.go", "		errs = append(errs, i.unroute(a, link))\n", "		_ = link\n"}},
		"./agent/floatingip", "TestDropTakesTheRouteAway"},
	{"addresses that others put go with a floating one",
		[]edit{{"agent/floatingip/iface_linux.go", "	for n := range before {", "	for n := range before[:0] {"}},
		"./agent/floatingip", "TestDropKeepsTheOwnAddressBehindAFloatingOne"},
	{"a finding about a floating address does not end",
		[]edit{{"agent/floatingip/apply_linux.go", "		s.event(Event{What: what, Over: true})\n", ""}},
		"./agent/floatingip", "TestFindingEndsWithItsReason"},
	{"tables of an address that is given up stay",
		[]edit{{"agent/floatingip/change_linux.go", "			s.gate.conn.DelTable(x.table)\n", ""}},
		"./agent/floatingip", "TestChangeTouchesOnlyWhatChanges"},
	{"two programs that quarrel about an address take a whole core",
		[]edit{{"agent/floatingip/watch_linux.go", "	return max(s.restored+restoreEvery-s.cfg.Now(), 0)", "	return 0"}},
		"./agent/floatingip", "TestRepairsKeepADistance"},
	{"what was put stays when taking the addresses fails",
		[]edit{{"agent/floatingip/set_linux.go", "return errors.Join(fmt.Errorf(\"taking the floating addresses: %w\", err), s.drop())", "return fmt.Errorf(\"taking the floating addresses: %w\", err)"}},
		"./agent/floatingip", "TestLosingWhileTaking"},
	{"a renewal that took long leaves the gate open too long",
		[]edit{{"agent/floatingip/apply_linux.go", "		if s.cfg.Now()-before <= slack {", "		if true {"}},
		"./agent/floatingip", "TestGateShutsInTimeAfterAStop"},

	// Gossip.
	{"the end of a run is told for any start times",
		[]edit{{"gossip/members.go", "old.Addr == p.Addr && p.Start > old.Start {", "old.Addr == p.Addr {"}},
		"./gossip", "TestOlderRunEndsNoNewerOne"},
	{"a message is taken twice",
		[]edit{{"gossip/replay.go", "	if !got.take(number) {", "	if !got.take(number) && false {"}},
		"./gossip", "TestDirectMessagesAreTakenOnce"},
	{"a will of an earlier run is taken",
		[]edit{{"gossip/will.go", "case !ok || p.Incarnation != m.Incarnation:", "case !ok:"}},
		"./gossip", "TestWillArrivesOverUDPAndTCP"},
	{"any sender may say that a member is dead",
		[]edit{{"gossip/will.go", "|| p.Death != deathMark(m.Will)):", "):"}},
		"./gossip", "TestDeathIsTold"},
	{"a finding of gossip stays for ever",
		[]edit{{"gossip/findings/record.go", "if time.Since(s.at) > TTL {", "if false {"}},
		"./gossip/findings", "TestFindingsEnd"},
	{"an answer of old is taken for the one to this question",
		[]edit{{"gossip/query.go", "seal(g.keyring, (*f)(old), append([]byte(\"answer\"), question...))", "seal(g.keyring, (*f)(old), []byte(\"answer\"))"},
			{"gossip/query.go", "open(g.keyring, frame, append([]byte(\"answer\"), question...))", "open(g.keyring, frame, []byte(\"answer\"))"}},
		"./gossip", "TestAnswerIsBoundToItsQuestion"},
	{"a frame of a stream is taken twice",
		[]edit{{"gossip/stream.go", "		s.reads++\n", ""},
			{"gossip/stream.go", "		s.writes++\n", ""}},
		"./gossip", "TestStreamRefusesAReplay"},
	{"the places of streams that have ended stay taken",
		[]edit{{"gossip/stream.go", "	defer g.streams.leave(host)\n", ""}},
		"./gossip", "TestStreamsOfOneHostAreBounded"},
	{"the group of a secret file may read it",
		[]edit{{"gossip/secretfile/secretfile.go", ", own && mode&0o070 != 0:", ":"}},
		"./gossip/secretfile", "TestWhoMayHaveAccess"},
	{"a stream's message has no limit",
		[]edit{{"gossip/stream.go", "if len(message)+len(frame) > MaxMessage {", "if false {"}},
		"./gossip", "TestMessageOfAStreamIsBounded"},
	{"wills have no limit",
		[]edit{{"gossip/will.go", "!g.wills.take(willBurst, willRate)", "false"}},
		"./gossip", "TestWillArrivesOverUDPAndTCP"},
	{"the places of HTTP connections that have ended stay taken",
		[]edit{{"gossip/transport/accept.go", "closed: func() { m.httpOpen.Add(-1) }}", "closed: func() {}}"}},
		"./gossip/transport", "TestHTTPConnectionsAreBounded"},
	{"the weight of a connection that has ended stays",
		[]edit{{"gossip/transport/limit.go", "		delete(g.open, c)\n		g.weight -= c.weight\n", "		delete(g.open, c)\n"}},
		"./gossip/transport", "TestGuestsMakeRoomForNewcomers"},
	{"a name clash that is over keeps a member out",
		[]edit{{"gossip/conflict.go", "	if rival == nil {\n		d.gossip.members.clashed(false)", "	if rival == nil {"}},
		"./gossip", "TestNamesakeStaysOutUntilTheFirstIsGone"},
	{"connections that say nothing are not bounded",
		[]edit{{"gossip/transport/accept.go", "if m.undecided.Len() >= maxUndecided {", "if false {"}},
		"./gossip/transport", "TestUndecidedConnectionsAreBounded"},

	{"a claim is brief though the one before was not confirmed",
		[]edit{{"gossip/conversation.go", "		return s.confirmed\n", "		return true\n"}},
		"./gossip", "TestAClaimAfterALostOneIsWhole"},
	{"a brief message is taken for the newest one of its sender",
		[]edit{{"gossip/conversation.go", "	c.newest[what], c.heard[", "	e.sum = digest{}\n	c.newest[what], c.heard["},
			{"gossip/conversation.go", "h := c.heard[heardKey{run, e.sum}]", "h := c.heard[heardKey{run, digest{}}]"}},
		"./gossip", "TestBriefMessagesSayWhatWasSent"},
	{"a message that says something else is brief",
		[]edit{{"gossip/conversation.go", "if s == nil || s.sum != sum {", "if s == nil {"},
			{"gossip/conversation.go", "appendEntry(b, briefEntry, sum[:], &m.Message)", "appendEntry(b, briefEntry, c.said[topic{run, m.Election, m.Message.Kind}].sum[:], &m.Message)"}},
		"./gossip", "TestBriefMessagesSayWhatWasSent"},
	{"no message is ever brief",
		[]edit{{"gossip/conversation.go", "if s == nil || s.sum != sum {", "if true {"}},
		"./gossip", "TestRenewalIsShort"},
	{"a confirm is brief though its claim was whole",
		[]edit{{"gossip/conversation.go", "return claim != nil && claim.last == markOf(&m.Message)", "return claim != nil"}},
		"./gossip", "TestAClaimantThatHasForgottenHearsTheConfirm"},
	{"what a member says to be remembered is not counted",
		[]edit{{"gossip/entries.go", "	e.size += len(b) + int(count)*stringSize\n", ""}},
		"./gossip", "TestConversationsAreBounded"},
	// The HTTP API, its diagnosis and the commands.
	{"a stranger may change the store",
		[]edit{{"api/store.go", "a.refuse(r); status != 0 {", "a.refuse(r); status != 0 && false {"}},
		"./api", "TestEveryChangeNeedsPermission"},
	{"a stranger may hold a leadership",
		[]edit{{"api/hold.go", "	if !a.permit(w, r) {\n		return\n	}\n", ""}},
		"./api", "TestEveryChangeNeedsPermission"},
	{"the places of event streams that have ended stay taken",
		[]edit{{"api/events.go", "	defer a.streams.leave(host)\n", ""}},
		"./api", "TestEventsEnd"},
	{"the places of holds that have ended stay taken",
		[]edit{{"api/hold.go", "		defer func() { <-a.holds }()\n", ""}},
		"./api", "TestHoldRefused"},
	{"a change that was refused is an event",
		[]edit{{"api/store.go", "all[i].Error == \"\" && ", ""}},
		"./api", "TestStoreEvents"},
	{"a client that comes back gets the last event twice",
		[]edit{{"api/store.go", "		next = last + 1\n", "		next = last\n"}},
		"./api", "TestStoreEvents"},
	{"a member that is dead may lead elsewhere",
		[]edit{{"api/diagnosis/settings.go", "	out = slices.DeleteFunc(out, q.hasDied)\n", ""}},
		"./api/diagnosis", "TestJudge"},
	{"a leader without a successor is no finding",
		[]edit{{"api/diagnosis/settings.go", "if meant > 0 && able == 0 {", "if false {"}},
		"./api/diagnosis", "TestJudge"},
	{"a command sees the settings of the agent",
		[]edit{{"cmd/agent/exec_linux.go", "return strings.HasPrefix(kv, \"DOYEN_\")", "return false"}},
		"./cmd/agent", "TestExec"},
	{"validate does not look at the keys",
		[]edit{{"cmd/agent/validate.go", "	if o.EncryptKeyFile != \"\" {\n", "	if false {\n"}},
		"./cmd/agent", "TestBadSecretFiles"},
	{"exec says that a program is not there that may not be run",
		[]edit{{"cmd/agent/exec.go", "case errors.Is(err, fs.ErrNotExist):", "case errors.Is(err, fs.ErrNotExist) || err != nil:"}},
		"./cmd/agent", "TestExec"},
	{"plain HTTP is taken from other hosts where HTTPS is offered",
		[]edit{{"api/server.go", "if s.tls != nil && c.tls.Load() == nil && !c.host.IsLoopback() {", "if false {"}},
		"./api", "TestOnePortSpeaksBoth"},
	{"a connection that has ended keeps its place",
		[]edit{{"api/limit.go", "	if _, ok := l.open[c]; ok {\n		l.add(c, -1)\n	}", "	_ = c"}},
		"./api", "TestConnectionLimits"},
	{"a page whose name leads to this host may change something",
		[]edit{{"api/change.go", "case !a.namesUs(r.Host):", "case false:"}},
		"./api", "TestWhoMayChange"},
}

// TestMutants breaks the program in every way listed and expects one test to
// notice. It needs -mutants and root; without them it looks only that each text
// to break is still there, and each test, so that no mutant turns into nothing.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			overlay := m.overlay(t)
			if !m.hasTest(t) {
				t.Errorf("%s has no %s", m.pkg, m.test)
			}
			if !*flagMutants {
				return
			}
			cmd := exec.Command("go", "test", "-count=1", "-run", "^"+m.test+"$", m.pkg)
			cmd.Dir = ".."
			// In the environment, so that tests that build the program build this one.
			cmd.Env = append(os.Environ(), "GOFLAGS=-overlay="+overlay)
			out, err := cmd.CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("%s did not notice", m.test)
			case !strings.Contains(string(out), "--- FAIL: "+m.test) && !strings.Contains(string(out), "panic: "):
				t.Errorf("%s failed otherwise: %v\n%s", m.test, err, out)
			}
		})
	}
}

// hasTest reports whether the test that must notice is there.
func (m mutant) hasTest(t *testing.T) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", m.pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+m.test+"(t ") {
			return true
		}
	}
	return false
}

// overlay writes the broken files and the list of them that the go command reads.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range m.edits {
		path, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := texts[path]; !ok {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(src)
		}
		if n := strings.Count(texts[path], e.old); n != 1 {
			t.Fatalf("the text to break stands %d times in %s: %s", n, e.file, e.old)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	list := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range texts {
		broken := filepath.Join(dir, fmt.Sprintf("broken%d.go", len(list.Replace)))
		if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list.Replace[path] = broken
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
