package agenttest

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
	"doyen/agent/store"
)

// Three real agents in memory keep a store; the leader is restarted with the Config that it
// had, and has the store again.
func TestNetworkRestartsAMemberWithAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		var configs []agent.Config
		for range 3 {
			configs = append(configs, n.Member(agent.Config{
				Voters: []string{agent.VotersSeeds}, StateDir: t.TempDir(), Store: agent.On, Logger: slog.New(slog.DiscardHandler),
			}))
		}
		ended := make(chan error)
		start := func(c agent.Config) (*agent.Agent, context.CancelFunc) {
			a, err := agent.New(c)
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			go func() { ended <- a.Run(ctx) }()
			return a, leave
		}
		var agents []*agent.Agent
		var leaves []context.CancelFunc
		for _, c := range configs {
			a, leave := start(c)
			agents, leaves = append(agents, a), append(leaves, leave)
		}
		time.Sleep(20 * time.Second)
		if _, err := agents[0].Store().Do(t.Context(), store.Command{Op: store.OpPut, Key: "key", Value: []byte("value")}); err != nil {
			t.Fatal(err)
		}
		busy := configs[0]
		busy.StateDir, busy.Store = "", agent.Off
		if _, err := agent.New(busy); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("want the address in use, got %v", err)
		}
		leaves[0]()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		agents[0], leaves[0] = start(configs[0])
		time.Sleep(20 * time.Second)
		if s := agents[0].State(); s.Leader == nil || s.IsLeader || len(s.Members) != 3 || len(s.Findings) != 0 {
			t.Errorf("want it to follow another, got %+v", s)
		}
		if v, err := agents[0].Store().Get(t.Context(), "key"); err != nil || string(v.Data) != "value" {
			t.Errorf("want the value, got %+v, %v", v, err)
		}
		for _, leave := range leaves {
			leave()
		}
		for range agents {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute) // see Network
	})
}
