package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"doyen/agent"
)

// stage is an agent whose part is written by the test while it is watched.
type stage struct {
	Agent // for what no test changes

	mu    sync.Mutex
	f     *fake
	cast  map[string]agent.State // what the members say when they are asked
	mute  map[string]string      // why those do not who do not
	watch map[chan agent.Event]bool
}

// newStage is a group of so many healthy members, n1 to n…, of which the
// first leads; the page is n2's, or n1's if it is alone.
func newStage(count int) *stage {
	f := newFake()
	s := &stage{Agent: f, f: f, cast: map[string]agent.State{}, mute: map[string]string{}, watch: map[chan agent.Event]bool{}}
	var names []string
	s.f.members = nil
	for i := 1; i <= count; i++ {
		name := fmt.Sprintf("n%d.example.org:4000", i)
		names = append(names, name)
		s.f.members = append(s.f.members, agent.MemberInfo{
			Name: name, Addr: fmt.Sprintf("10.0.0.%d:4000", i), Role: "candidate", Rank: i, Alive: true, Eligible: true,
			StartTime: unix(time.Now()) - float64(90000-i*60),
		})
	}
	began := time.Now().Add(-3 * time.Hour)
	for i, name := range names {
		state := healthy("a")
		state.LeaderSince = &began
		state.Name, state.Members, state.Leader, state.Term = name, names, &names[0], 1763733612345051
		state.IsLeader, state.Phase = i == 0, "following"
		state.Hook = &agent.HookRun{Event: "change", DurationMS: 4}
		state.PID, state.Cluster = 4100+i, "default"
		if i == 0 {
			state.Phase, state.LeaseMS = "holding", 800
			state.Hook = &agent.HookRun{Event: "acquire", DurationMS: 31}
		}
		s.cast[name] = state
	}
	s.f.history = []agent.Leadership{{Term: 1763733612345051, Leader: names[0], From: began, Reason: "elected", ConfirmMS: 4, HookMS: 31}}
	s.f.state = s.cast[names[min(1, count-1)]]
	s.f.lease = agent.Lease{Leader: &names[0], Term: s.f.state.Term, IsLeader: count == 1, Phase: s.f.state.Phase, LeftMS: 900, OfMS: 1010}
	s.f.ready = agent.Readiness{Ready: true, LeastFailoverMS: 677, UsualFailoverMS: 1110, WorstFailoverMS: 1410, Reasons: []string{}}
	if count > 1 {
		s.f.ready.WouldLead = &names[1]
	} else {
		s.f.ready.Ready, s.f.ready.Reasons = false, []string{"no other member may lead"}
	}
	return s
}

// change changes what the member says, and then tells those who watch.
func (s *stage) change(how func(s *stage), kind string, data any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
	if kind == "" {
		return
	}
	for c := range s.watch {
		c <- agent.Event{Kind: kind, Time: time.Now(), Data: data}
	}
}

// play tells those who watch of an election's step.
func (s *stage) play(what, peer, reason string) {
	s.change(func(*stage) {}, "election", agent.ElectionEvent{What: what, Peer: peer, Term: s.f.lease.Term, Reason: reason})
}

func (s *stage) Survey(context.Context) map[string]agent.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := map[string]agent.Answer{}
	for name, state := range s.cast {
		answers[name] = says(state)
	}
	for name, why := range s.mute {
		answers[name] = agent.Answer{Err: fmt.Errorf("%s", why)}
	}
	return answers
}

func (s *stage) Subscribe(ctx context.Context) <-chan agent.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan agent.Event, 1000)
	c <- agent.Event{Kind: "state", Time: time.Now(), Data: s.f.State()}
	s.watch[c] = true
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watch, c)
	})
	return c
}

// view returns the part as it is now; no field of it changes any more.
func (s *stage) view() *fake {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := *s.f
	return &f
}

func (s *stage) State() agent.State           { return s.view().State() }
func (s *stage) Leader() (agent.Leader, bool) { return s.view().Leader() }
func (s *stage) Lease() agent.Lease           { return s.view().Lease() }
func (s *stage) IsLeader() bool               { return s.view().IsLeader() }
func (s *stage) Members() []agent.MemberInfo  { return s.view().Members() }
func (s *stage) History() []agent.Leadership  { return s.view().History() }
func (s *stage) Ready() agent.Readiness       { return s.view().Ready() }
