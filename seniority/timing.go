package seniority

import (
	"fmt"
	"time"
)

// Timing is a set of times that fit together. All nodes of a group should use
// the same; see Profile.
type Timing struct {
	// Lease is how long a confirmed claim is good for.
	Lease time.Duration
	// Renewal is how often a holder renews: a third of the lease, so that two
	// renewals may be lost before the lease is.
	Renewal time.Duration
	// Confirm is how long a claimant waits for an answer before it asks again.
	Confirm time.Duration
	// Stagger is the head start of one place in the line of succession.
	Stagger time.Duration
	// Settle is how long a group that has never had a leader waits for seeds
	// that neither answer nor refuse.
	Settle time.Duration
	// ReleaseBudget is, in quorum mode, how long before the end of the lease a
	// holder that could not renew stops, so that its release ends in time.
	ReleaseBudget time.Duration
}

// Drift bounds how much faster one host's clock may run than another's: a
// voter keeps a promise for the lease and a hundredth of it. Crystal
// oscillators stay within 100 parts per million and NTP slews by at most 500,
// so this is twenty times what working hardware shows.
const Drift = 100

// Drifted returns d as a voter must count it: d × (1 + 1/Drift), rounded up.
func Drifted(d time.Duration) time.Duration { return d + (d+Drift-1)/Drift }

// The timing profiles.
var profiles = map[string]Timing{
	"edge": {
		Lease: 60 * time.Millisecond, Renewal: 20 * time.Millisecond, Confirm: 6 * time.Millisecond,
		Stagger: 6 * time.Millisecond, Settle: 300 * time.Millisecond, ReleaseBudget: 9 * time.Millisecond,
	},
	"fast": {
		Lease: 300 * time.Millisecond, Renewal: 100 * time.Millisecond, Confirm: 40 * time.Millisecond,
		Stagger: 20 * time.Millisecond, Settle: 500 * time.Millisecond, ReleaseBudget: 100 * time.Millisecond,
	},
	"lan": {
		Lease: time.Second, Renewal: 333 * time.Millisecond, Confirm: 100 * time.Millisecond,
		Stagger: 50 * time.Millisecond, Settle: time.Second, ReleaseBudget: 300 * time.Millisecond,
	},
	"wan": {
		Lease: 6 * time.Second, Renewal: 2 * time.Second, Confirm: 600 * time.Millisecond,
		Stagger: 400 * time.Millisecond, Settle: 5 * time.Second, ReleaseBudget: 2 * time.Second,
	},
}

// Profile returns a timing profile by name:
//   - edge: one switch, and real-time scheduling for the agents: without it a
//     busy processor alone makes a healthy leader miss its lease. With 25 ms for
//     the kernel's cut-off at 100 ticks a second, its times fill the lease exactly;
//   - fast: one switch between the nodes, nothing else heavy on the hosts;
//   - lan: one site, or zones of one region (round trips below 30 ms);
//   - wan: anything slower, up to round trips of half a second.
func Profile(name string) (Timing, error) {
	t, ok := profiles[name]
	if !ok {
		return Timing{}, fmt.Errorf("profile %q is none of edge, fast, lan, wan", name)
	}
	return t, nil
}

// LongestLease is the longest lease of any profile: what a voter of quorum mode
// that starts and knows nothing of its last run takes it to have promised.
func LongestLease() time.Duration {
	longest := time.Duration(0)
	for _, t := range profiles {
		longest = max(longest, t.Lease)
	}
	return longest
}

// Check reports the first time that does not fit the others; quorum says
// whether the release budget counts, kernel is the slowest kernel mechanism
// that must have taken a floating address off before the lease ends.
func (t Timing) Check(quorum bool, kernel time.Duration) error {
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"lease", t.Lease}, {"renewal", t.Renewal}, {"confirm", t.Confirm}, {"stagger", t.Stagger}, {"settle", t.Settle}} {
		if f.d <= 0 || f.d > 10*time.Minute {
			return fmt.Errorf("%s of %v is not between 1ns and 10m", f.name, f.d)
		}
	}
	if t.Renewal > t.Lease/2 {
		return fmt.Errorf("renewal of %v is more than half the lease of %v: one lost renewal would end a leadership", t.Renewal, t.Lease)
	}
	if t.Confirm > t.Renewal {
		return fmt.Errorf("confirm of %v is longer than the renewal of %v", t.Confirm, t.Renewal)
	}
	if !quorum {
		return nil
	}
	if t.ReleaseBudget < 0 {
		return fmt.Errorf("release-budget of %v is negative", t.ReleaseBudget)
	}
	if sum := t.Renewal + t.Confirm + t.ReleaseBudget + kernel; t.Lease < sum {
		return fmt.Errorf("lease of %v is shorter than renewal %v + confirm %v + release-budget %v + kernel %v = %v",
			t.Lease, t.Renewal, t.Confirm, t.ReleaseBudget, kernel, sum)
	}
	return nil
}

// SilentFailover is the usual time, in a quiet network, from the moment a leader
// falls silent to the next: its last renewal was sent at any moment of a
// renewal before, and the first in line claims when the lease since then is over.
func (t Timing) SilentFailover() (least, most time.Duration) {
	return t.Lease - t.Renewal, Drifted(t.Lease)
}

// FailoverBound is the longest that a group stays without a leader after one
// fault, with the network quiet afterwards: the promises to the old holder run
// out, the candidates before the first one alive pass their turn, and each of
// up to retries claims is answered or given up. The figure leaves out the
// hook's acquire.
func (t Timing) FailoverBound(candidates int) time.Duration {
	return Drifted(t.Lease) + time.Duration(max(candidates-1, 1))*t.Stagger + 4*t.Confirm
}

// PartialBound is the longest that a group takes to have a leader in a topology
// that stands still and is not whole, if an eligible voter exchanges messages
// both ways with a majority: the failover, each candidate without a majority may
// have claimed before, once, and the voter may have claimed in vain before,
// without a link to the leader, and wait the longest time before it claims again.
func (t Timing) PartialBound(candidates int) time.Duration {
	return t.FailoverBound(candidates) + maxBackoff*t.Lease + time.Duration(candidates)*(3*t.Confirm+t.Lease)
}
