package seniority

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Config is what a core is made of. New copies and checks it once.
type Config struct {
	// Self is this node. Name and Incarnation are required.
	Self Member
	// Rule is the order of preference; required.
	Rule Rule
	// Timing is required; see Profile.
	Timing Timing
	// Preempt lets a preferred member take over from a healthy leader, once it
	// has been there for PreemptDelay. The rule's own default is Rule.Preempts.
	Preempt      bool
	PreemptDelay time.Duration
	// LoneWait is, in available mode, how long a node that has never met
	// another waits before it may lead alone: 0 at once, negative never.
	LoneWait time.Duration
	// Voters switches to quorum mode: the fixed list of entries of which a
	// majority must confirm. Self.Voter is this node's own entry, or "".
	Voters []string
	// JoinsFromView: another election over the same group gives out the join
	// numbers. They come with each View, this node's own included; this core
	// ranks by them and gives none.
	JoinsFromView bool
	// RenewalGrid puts the renewals at multiples of Timing.Renewal by the boot
	// clock, so that a node that leads several elections renews all of them at
	// the same instants. The first interval after a win is then shorter.
	RenewalGrid bool
	// Seed is drawn at random by the caller, once a run; the secrets of wills
	// are derived from it.
	Seed [32]byte
	// Highest is the highest term that a former run stored durably; 0 if none
	// did. HighestOf is the claimant that it was confirmed to, which may claim it
	// again: a leader need not raise its term because a voter has started again.
	// Without it, as when the former run was of a version that did not store it, this
	// node confirms higher terms alone.
	Highest   uint64
	HighestOf Holder
	// KeptLease is the longest lease that the last run of this node may have
	// promised; 0: nothing is known of it, and it may have promised the lease
	// of any profile. The caller stores Output.MaxLease for the next run.
	KeptLease time.Duration
}

func (cfg *Config) check() error {
	switch {
	case cfg.Self.Name == "":
		return errors.New("name is empty")
	case cfg.Self.Incarnation == 0:
		return errors.New("incarnation is zero")
	case cfg.Rule == nil:
		return errors.New("rule is missing")
	case cfg.PreemptDelay < 0:
		return fmt.Errorf("preempt-delay of %v is negative", cfg.PreemptDelay)
	case cfg.Highest > maxTerm:
		return fmt.Errorf("highest term %d is beyond %d", cfg.Highest, uint64(maxTerm))
	case len(cfg.Voters) >= places:
		return fmt.Errorf("voters has %d entries, the most is %d", len(cfg.Voters), places-1)
	}
	for i, v := range cfg.Voters {
		if v == "" || slices.Contains(cfg.Voters[:i], v) {
			return fmt.Errorf("voters: entry %d (%q) is empty or stands there twice", i+1, v)
		}
	}
	if len(cfg.Voters) > 0 {
		if cfg.Self.Role == Observer && cfg.Self.Voter != "" {
			return fmt.Errorf("voters: %q is an observer, which has no vote", cfg.Self.Voter)
		}
		if cfg.Self.Voter != "" && !slices.Contains(cfg.Voters, cfg.Self.Voter) {
			return fmt.Errorf("voters: this node's entry %q is not in the list", cfg.Self.Voter)
		}
	}
	return cfg.Timing.Check(len(cfg.Voters) > 0, 0)
}
