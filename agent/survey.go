package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"doyen/agent/members"
)

// Survey asks every member for its state, this one included and those too that
// have vanished lately, in parallel over gossip's own port, so that it works
// whether or not they serve HTTP. In quorum mode a voter that is not there is
// named as well. Each answer comes before ctx ends, or is the error that says
// why it did not.
func (a *Agent) Survey(ctx context.Context) map[string]Answer {
	s := a.group.snap.Load()
	answers := make(map[string]Answer, len(s.members))
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, m := range s.members {
		asked.Go(func() {
			answer := a.askMember(ctx, m.Name)
			mu.Lock()
			defer mu.Unlock()
			answers[m.Name] = answer
		})
	}
	asked.Wait()
	for _, voter := range s.missing {
		if slices.ContainsFunc(s.members, func(m members.Info) bool { return m.Voter == voter }) {
			continue // a member that has vanished, which was asked
		}
		answers[voter] = Answer{Err: fmt.Errorf("this voter is not in the group as %s sees it", a.self.Name)}
	}
	return answers
}

// askMember asks one member.
func (a *Agent) askMember(ctx context.Context, name string) Answer {
	if name == a.self.Name {
		return Answer{State: a.answer(false), UDP: true}
	}
	began := time.Now()
	state, udp, err := a.gossip.Query(ctx, name)
	if err == nil && !json.Valid(state) {
		state, err = nil, fmt.Errorf("the answer is not JSON")
	}
	return Answer{State: state, Err: err, UDP: udp, RTT: time.Since(began)}
}

// answer is what this member says when it is asked for its state. old: by one of
// version 0.1.0, whose verdict compares the voters as they are listed.
func (a *Agent) answer(old bool) []byte {
	s := a.State()
	if old {
		s.Voters = s.VoterEntries
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("agent: the state does not marshal: %v", err)) // it holds nothing that could fail
	}
	return text
}
