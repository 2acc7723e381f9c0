package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"doyen/agent"
)

// A calm watches the event streams of agents for what must not happen while a
// test does something to them: a change of leader, a member that is lost, or a
// stream that ends.
type calm struct {
	t      *testing.T
	end    context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	events []string
}

// patient makes a group calm by itself on a machine that is busy with other
// tests: it takes six seconds without a renewal to lose a leader.
var patient = []string{"--profile", "wan"}

// newCalm watches from now on; it returns once every stream has begun.
func newCalm(t *testing.T, nodes ...*node) *calm {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	c := &calm{t: t, end: end}
	for _, n := range nodes {
		resp, err := n.client().open(ctx, http.MethodGet, "/events")
		if err != nil {
			t.Fatal(err)
		}
		c.wg.Go(func() {
			defer resp.Body.Close()
			_, err := readEvents(resp.Body, func(kind string, data json.RawMessage) error {
				c.see(n, kind, data)
				return nil
			})
			if ctx.Err() == nil {
				c.note("%s: the stream has ended: %v", n.name, err)
			}
		})
	}
	return c
}

func (c *calm) see(n *node, kind string, data json.RawMessage) {
	switch kind {
	case "leader":
		c.note("%s: %s", n.name, data)
	case "member":
		var e agent.MemberEvent
		if err := json.Unmarshal(data, &e); err != nil || e.Change == "leave" {
			c.note("%s: %s", n.name, errors.Join(err, fmt.Errorf("%s", data)))
		}
	}
}

func (c *calm) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, fmt.Sprintf(format, args...))
}

// check ends the watch and fails the test for everything that happened.
func (c *calm) check() {
	c.t.Helper()
	c.end()
	c.wg.Wait()
	for _, e := range c.events {
		c.t.Errorf("want the group undisturbed, got %s", e)
	}
}
