package floatingip

import (
	"errors"
	"time"
)

// Config is what New needs.
type Config struct {
	// Addresses move together, in this order.
	Addresses []Address
	// Quorum says that another node may lead from the end of a lease on. Without
	// nftables an address then has no lifetime beyond it, and a lease that is too
	// short for one in whole seconds makes Take fail. Otherwise the lifetime only
	// cleans up.
	Quorum bool
	// Leads says whether this node leads at the moment of the call. It is asked
	// before every address put and every packet sent, and must not block.
	Leads func() bool
	// Now reads the boot time, the clock of Take and Renew; nil: clock.Boot.
	Now func() time.Duration
	// Report, if not nil, is told of what happens to the addresses. It must not
	// block, nor call the Set.
	Report func(Event)
}

// ErrNotLeading is wrapped by the errors of calls that came when the node did
// not lead, or no longer.
var ErrNotLeading = errors.New("this node does not lead")

// ErrNoInterface, ErrNoCarrier, ErrNoARP and ErrOwnAddress are wrapped by what
// Links.Usable returns; the first and the last also by the errors of Take. ErrSetDown
// stands beside ErrNoCarrier.
var (
	ErrNoInterface = errors.New("does not exist")
	ErrNoCarrier   = errors.New("has no carrier")
	ErrSetDown     = errors.New("is set down on this host")
	ErrNoARP       = errors.New("does not answer for floating addresses")
	ErrOwnAddress  = errors.New("is an address of this host itself")
)
