//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"doyen/agent/floatingip"
	"doyen/seniority"
)

// When an interface can be used again, each election that has an address there looks at the
// members: for itself, and not for all others too. The clock is read for each step.
func TestElectionWhoseLinkIsBackLooksAlone(t *testing.T) {
	inGroup(t, func(t *testing.T, g *group) {
		var steps atomic.Int64
		h := newFakeExecutor(g.now)
		c := Config{Name: "m0", Seeds: []string{"10.0.0.1:4000"}, Logger: slog.New(slog.DiscardHandler)}
		c.seams = seams{
			now:       func() seniority.Now { steps.Add(1); return g.now() },
			transport: g.net.Host(), resolver: literals{}, leases: &leaseRecord{},
			keeper: func(*Agent) (executor, error) { return h, nil },
		}
		const many = 50
		var names []string
		for i := range many {
			names = append(names, fmt.Sprint("e", i))
		}
		withElections(names)(&c, h)
		a, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		l, err := a.newLoop()
		if err != nil {
			t.Fatal(err)
		}
		if !l.startup(t.Context()) {
			t.Fatal("the loop has not started")
		}
		if err := l.join(); err != nil {
			t.Fatal(err)
		}
		l.look()
		e := l.elections[1]
		e.unwatch()
		<-e.watched
		e.links = new(floatingip.Links) // usable
		steps.Store(0)
		e.linksChanged()
		if n := steps.Load(); n == 0 || n >= many {
			t.Errorf("want the steps of one election of %d, got %d", many, n)
		}
		e.links = nil
		for _, e := range l.elections {
			e.close()
		}
		l.watchers.Wait()
		l.alarm.Close()
		a.logs.Close()
		if err := errors.Join(l.executor.Close(context.Background()), a.store.close(), a.gossip.Close(), a.state.close()); err != nil {
			t.Error(err)
		}
	})
}
