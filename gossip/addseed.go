package gossip

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxAdded bounds the seeds that are added while this member runs.
const maxAdded = 64

// ErrNotJoining is the error of AddSeed before Join.
var ErrNotJoining = errors.New("this member has not begun to join yet")

// AddSeed adds one more seed, host[:port] or [v6]:port, until this member ends:
// it is dialled like the seeds of the configuration, for ever. The group does
// not wait for it to settle. Adding one that is there already changes nothing.
// The error is a sentence that names what is wrong with it.
func (g *Gossip) AddSeed(text string) error {
	s, err := parseSeed(text, g.seedPort())
	switch {
	case err != nil:
		return err
	case s.kind != seedHost:
		return fmt.Errorf("%q is no host:port", text)
	}
	g.mu.Lock()
	j := g.joiner
	g.mu.Unlock()
	if j == nil {
		return ErrNotJoining
	}
	return j.add(s)
}

// AddedSeeds returns the seeds that were added since the start, in their order.
func (g *Gossip) AddedSeeds() []string {
	g.mu.Lock()
	j := g.joiner
	g.mu.Unlock()
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var added []string
	for _, s := range j.seeds {
		if s.added {
			added = append(added, s.text)
		}
	}
	return added
}

// add begins to dial another seed.
func (j *joiner) add(s seed) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if slices.ContainsFunc(j.seeds, func(known *seedState) bool { return known.host == s.host && known.port == s.port }) {
		return nil
	}
	added := 0
	for _, known := range j.seeds {
		if known.added {
			added++
		}
	}
	switch {
	case j.ctx.Err() != nil:
		return errors.New("this member is leaving")
	case added >= maxAdded:
		return fmt.Errorf("%d seeds have been added already, the most there can be", maxAdded)
	}
	state := newSeedState(s)
	state.added, state.done, state.since = true, true, time.Now()
	j.seeds = append(j.seeds, state)
	j.wg.Go(func() { j.keepSeed(state) })
	return nil
}
