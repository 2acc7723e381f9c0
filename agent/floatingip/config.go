package floatingip

import (
	"errors"
	"time"
)

// Config is what New needs.
type Config struct {
	// Addresses move together, in this order.
	Addresses []Address
	// Cluster and Name are the agent's; they keep its nftables apart from those
	// of another agent on this host.
	Cluster, Name string
	// Leads says whether this node leads at the moment of the call. It is asked
	// before every address put and every packet sent, and must not block.
	Leads func() bool
	// Now reads the boot time, the clock of Take and Renew; nil: clock.Boot.
	Now func() time.Duration
	// Report, if not nil, is told of what a person should know. It must not
	// block, nor call the Set.
	Report func(Finding)
}

// ErrNotLeading is wrapped by the errors of calls that came when the node did
// not lead, or no longer.
var ErrNotLeading = errors.New("this node does not lead")

// ErrNoInterface and ErrNoCarrier are wrapped by what Links.Usable returns.
var (
	ErrNoInterface = errors.New("does not exist")
	ErrNoCarrier   = errors.New("has no carrier")
)

// Finding is something a person should know: a stable word, what was seen, and
// what to do about it.
type Finding struct {
	What, Evidence, Advice string
}
