package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"doyen/agent/store"
	"doyen/gossip"
	"doyen/seniority"
)

// storeFile is the file of the store in the state directory.
const storeFile = "store.db"

const (
	// slowDisk is how long a write to the disk of the store may take before it is
	// a finding: every change waits for one.
	slowDisk = 500 * time.Millisecond
	// laggingVoter is how many entries a voter may lack before it is a finding.
	laggingVoter = 20000
	// nearlyFull is how many bytes make a finding.
	nearlyFull = store.MaxSize * 9 / 10
	// storeAsk is how long the store is asked to note who leads an election, before
	// it is asked again.
	storeAsk = 5 * time.Second
)

// keptStore is the store as the agent holds it. Nil: it is off.
type keptStore struct {
	*store.Store
	changed chan struct{} // capacity one: what it serves may have changed
	wg      sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc

	mu     sync.Mutex
	led    map[string]uint64 // the term that the store has noted, by election
	asking map[string]uint64
}

// checkStore checks what the store needs.
func checkStore(s *settings) error {
	s.Store = cmp.Or(s.Store, Off)
	switch {
	case s.Store != On && s.Store != Off:
		return fmt.Errorf("store %q is neither on nor off", s.Store)
	case s.Store == On && !s.quorum():
		return errors.New("store on needs voters: a majority of them keeps every change")
	case s.Store == On && s.StateDir == "":
		return errors.New("store on needs state-dir: that is where this member keeps its copy")
	}
	return nil
}

// openStore opens the store, if it is on.
func (a *Agent) openStore() error {
	if a.cfg.Store != On {
		if a.cfg.StoreRestore != "" {
			a.log.Warn("store-restore has no effect: the store is off")
		}
		return nil
	}
	k := &keptStore{changed: make(chan struct{}, 1), led: map[string]uint64{}, asking: map[string]uint64{}}
	k.ctx, k.stop = context.WithCancel(context.Background())
	c := store.Config{
		Voter: a.self.Voter, Voters: a.cfg.Voters, Self: a.self.Name, Network: storeNetwork{a.gossip}, Restore: a.cfg.StoreRestore,
		Log: a.log, Ready: k.poke, Member: a.voterMember, Leads: a.leadsGroup,
		Leader: func() string { l, _ := a.group.Leader(); return l.Leader },
	}
	if c.Voter != "" {
		c.Path = filepath.Join(a.cfg.StateDir, storeFile)
	}
	var err error
	if k.Store, err = store.Open(c); err != nil {
		return err
	}
	a.store = k
	return nil
}

// storeNetwork is gossip as the store knows it.
type storeNetwork struct{ gossip *gossip.Gossip }

// Open implements store.Network.
func (n storeNetwork) Open(ctx context.Context, member string) (store.Stream, error) {
	s, err := n.gossip.OpenStream(ctx, member)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Serve implements store.Network.
func (n storeNetwork) Serve(serve func(store.Stream)) {
	n.gossip.OnStream(func(s *gossip.Stream) { serve(s) })
}

// leadsGroup returns the term under which this member leads the group's own
// election, checked against the clock now; 0: it does not.
func (a *Agent) leadsGroup() uint64 {
	if l, ok := a.group.Leader(); ok && l.Self && a.group.IsLeader() {
		return l.Term
	}
	return 0
}

// voterMember returns the name of the member that a voter is; "": it is not there.
func (a *Agent) voterMember(voter string) string {
	for _, m := range a.group.Members() {
		if m.Voter == voter && m.Alive {
			return m.Name
		}
	}
	return ""
}

// Store returns the replicated store of the group, or nil if it is off. The agent itself
// calls its Close, Lead, Poke and Serves; a program that embeds the agent leaves these
// alone.
func (a *Agent) Store() *store.Store {
	if a.store == nil {
		return nil
	}
	return a.store.Store
}

func (k *keptStore) poke() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// news tells of changes; nil, which never does, if the store is off.
func (k *keptStore) news() <-chan struct{} {
	if k == nil {
		return nil
	}
	return k.changed
}

// look makes the store see who leads now.
func (k *keptStore) look() {
	if k != nil {
		k.Poke()
	}
}

// close ends the store.
func (k *keptStore) close() error {
	if k == nil {
		return nil
	}
	k.stop()
	k.wg.Wait()
	return k.Close()
}

// noted reports whether the store has committed that an election is led under a
// term, before which nothing is acquired; it sees to that if need be.
func (k *keptStore) noted(election string, term uint64) bool {
	if k == nil {
		return true
	}
	unfounded := k.State().Unfounded
	if election == GroupElection {
		return unfounded || k.Serves(term)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.led[election] >= term {
		return true
	}
	if k.asking[election] != term {
		k.asking[election] = term
		k.wg.Go(func() { k.tell(election, term) })
	}
	return unfounded
}

// tell makes the store note that an election is led under a term.
func (k *keptStore) tell(election string, term uint64) {
	for k.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(k.ctx, storeAsk)
		err := k.Lead(ctx, election, term)
		cancel()
		k.mu.Lock()
		if err == nil {
			k.led[election] = max(k.led[election], term)
		}
		over := err == nil || k.asking[election] != term
		k.mu.Unlock()
		if over {
			break
		}
	}
	k.poke()
}

// storeChanged takes in what the store serves now, and what keeps it from that.
func (l *loop) storeChanged() {
	l.findStore()
	for _, e := range l.elections {
		if e.core == nil {
			continue
		}
		e.judgeFitness()
		if e.candidate {
			e.instruct(&e.last, nil, false)
		}
	}
}

// storeLacks is why the store keeps this member from leading the group's own
// election, which would order no changes; None: it does not.
func (e *election) storeLacks() seniority.Reason {
	k := e.member.agent.store
	if k == nil || e.pub.name != GroupElection {
		return seniority.None
	}
	switch st := k.State(); {
	case st.DiskError != "":
		return seniority.StateUnwritable
	case st.Behind:
		return seniority.LogBehind
	}
	return seniority.None
}

// logEnd is where the log that the election is about ends here: the store's, in the
// group's own election.
func (e *election) logEnd() (l seniority.Log) {
	if k := e.member.agent.store; k != nil && e.pub.name == GroupElection {
		l.Term, l.Index = k.Last()
	}
	return l
}

// findStore keeps the findings about the store up to date.
func (l *loop) findStore() {
	k, name := l.agent.store, l.agent.self.Name
	if k == nil {
		return
	}
	now, st := l.agent.cfg.now().Boot, k.State()
	find := func(when bool, f Finding) {
		if f.Member = name; when {
			l.findings.Set(now, 0, f)
		} else {
			l.findings.Clear(f.What, name)
		}
	}
	find(st.DiskError != "", Finding{
		What: "store-unwritable", Evidence: st.DiskError, Degrades: true,
		Advice: "Make room on the disk of --state-dir and make it writable; until then this voter keeps no changes and does not lead.",
	})
	find(st.DiskError == "" && st.Trouble != "", Finding{
		What: "store-waits", Evidence: st.Trouble, Degrades: true,
		Advice: "Start voters that are missing, with --store on, and see that this member reaches them over TCP.",
	})
	find(st.SlowestMS > float64(slowDisk.Milliseconds()), Finding{
		What: "store-disk-slow", Evidence: fmt.Sprintf("a write to the disk of the store took %.0f ms", st.SlowestMS),
		Advice: "Give --state-dir a faster disk; every change waits for it.",
	})
	find(st.Bytes > nearlyFull, Finding{
		What: "store-full", Evidence: fmt.Sprintf("the store holds %d of %d bytes", st.Bytes, store.MaxSize), Degrades: true,
		Advice: "Delete keys; a full store refuses what would make it grow.",
	})
	var lagging []string
	for voter, lag := range st.Lag {
		if lag < 0 || lag > laggingVoter {
			lagging = append(lagging, voter)
		}
	}
	slices.Sort(lagging)
	find(len(lagging) > 0, Finding{
		What: "store-voter-lags", Evidence: "far behind, or not heard of: " + strings.Join(lagging, ", "), Degrades: true,
		Advice: "See whether they run with --store on, and whether their disks are fast enough.",
	})
}
