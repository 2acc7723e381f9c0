package agent

import (
	"context"
	"errors"
	"fmt"

	"doyen/gossip"
)

// Join adds one more seed, host[:port] or [v6]:port, until this run ends: for a
// machine that the configured seeds do not lead to. It returns at once; the seed
// is dialled for as long as it takes. The error wraps ErrRefused if this agent
// does not run or has not begun to join, else it is a sentence that names what is wrong with addr.
func (a *Agent) Join(_ context.Context, addr string) (Result, error) {
	select {
	case <-a.done:
		return Result{}, fmt.Errorf("%w: this agent does not run any more", ErrRefused)
	default:
	}
	switch err := a.gossip.AddSeed(addr); {
	case errors.Is(err, gossip.ErrNotJoining):
		return Result{}, fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return Result{}, err
	}
	a.log.Info("a seed was added until the restart", "seed", addr)
	return Result{OK: true, Note: addr + " is dialled until this agent ends; --seeds is what lasts"}, nil
}
