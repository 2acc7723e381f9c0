package gossip

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// leaveFanout is how many members are told directly; they tell the rest.
	leaveFanout = 16
	// leaveLimit is how long to wait for them to confirm.
	leaveLimit = 100 * time.Millisecond
)

// Leave tells the others that this member leaves, so that they neither miss
// nor dial it. memberlist would wait for its gossip to go round, a second in a
// small group; instead some members are told at once, by the news that
// memberlist adds to any packet, and Leave returns when they have answered or
// ctx ends. Close must follow. Members that hear nothing notice by probing.
func (g *Gossip) Leave(ctx context.Context) error {
	told := g.members.some(leaveFanout)
	list, ok := g.resign()
	if !ok {
		return nil
	}
	bye := g.goodbye()
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	var acks sync.WaitGroup
	for _, p := range told {
		g.sendTo(p.Name, p.Addr, bye)
		acks.Go(func() { _, _ = list.Ping(p.Name, net.UDPAddrFromAddrPort(p.Addr)) })
	}
	done := make(chan struct{})
	go func() {
		acks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil
}

// resign has memberlist queue the news that this member leaves; false: it is
// not running. memberlist panics if it is told so after its end.
func (g *Gossip) resign() (*memberlist.Memberlist, bool) {
	g.exit.Lock()
	defer g.exit.Unlock()
	list, ok := g.running()
	if ok {
		g.end() // from here on no member is dialled, so none takes this member back
		_ = list.Leave(time.Nanosecond)
	}
	return list, ok
}
