package keeper

import (
	"time"

	"doyen/agent/floatingip"
	"doyen/agent/hook"
)

// Tools are what a keeper does besides running hooks. The keeper process gets
// them from Init, since functions do not travel between processes.
type Tools struct {
	// Deliver hands a dead leader's will to the others. It may take some
	// milliseconds, and reports nothing: no process is left to try again.
	Deliver func(will []byte, targets []string)
	// Addresses prepares the floating addresses of an election; leads says whether
	// this node leads it at the moment of the call, and report takes what happens to
	// them. Nil: Election.Addresses must be empty.
	Addresses func(c Config, e Election, leads func() bool, report func(floatingip.Event)) (*Addresses, error)
}

// Addresses are floating addresses that move together, safe for concurrent use. Renew,
// Ended, Cut and Announce return at once. The others may take seconds: they wait for a lock of
// the kernel that all namespaces of the machine share. They are functions rather
// than methods of an interface, because a type that is in an interface brings
// every exported method of every type in it into the program (text/template
// might look one up by its name): with netlink's that is more than a megabyte.
type Addresses struct {
	// Begin makes what guards the addresses. It comes first, once, and under the
	// node-wide locks.
	Begin func() error
	// Take puts the addresses on, until the boot time given unless renewed.
	Take func(until time.Duration) error
	// Renew moves that time.
	Renew func(until time.Duration) error
	// Check puts back what is missing.
	Check func() error
	// Announce tells the neighbours again.
	Announce func()
	// Ended says that no renewal comes any more.
	Ended func()
	// Cut has the kernel cut the addresses off until they are taken again.
	Cut func() error
	// Drop takes the addresses off, where an agent has put them.
	Drop func() error
	// Change goes on with other addresses, and touches none that stays.
	Change func(addresses []string) error
	// Close lets go of everything; before Begin it changes nothing on the host.
	Close func() error
}

// Order is all that the agent wants of one election now. The newest counts; one
// that is replaced before it was read does not matter.
type Order struct {
	// Election is the election's name; "": Group.
	Election string `json:",omitempty"`
	// Lead: this node leads Term, for as long as the deadline says so.
	Lead bool
	// Term is the term of the leader, this node or another.
	Term uint64
	// ReleaseTerm, if not 0, is the term whose release the agent waits for: a
	// report with Released answers it. ReleaseBy is when it must have ended
	// (boot time); 0: Election.HookTimeout alone limits it.
	ReleaseTerm uint64
	ReleaseBy   time.Duration
	// ReleaseUntil, if not 0, is the limit of all tries of a release of
	// ReleaseTerm that is part of a planned hand-over: the boot time fixed when
	// it began. The agent renews the promises meanwhile, so ReleaseBy moves on; it
	// ends the release only if the renewals fail.
	ReleaseUntil time.Duration
	// Leader is who leads, "" if there is none, Previous who led before; Reason
	// says why that changed.
	Leader, LeaderAddr, Previous, Reason string
	// Leadership numbers the leaderships: with another number, the same Leader leads
	// anew, which is a change; with another Term alone, it goes on.
	Leadership uint64
	// CheckNow counts the reasons to run check at once, and Announce those of them for
	// which the neighbours are told again too.
	CheckNow, Announce uint64
	// Will is this leadership's will, Death that of the agent, which says that it
	// is dead (nil: its end is planned), and WillTargets the members they go to. Death
	// counts in the orders of the first election of the Config alone.
	Will        []byte   `json:",omitempty"`
	Death       []byte   `json:",omitempty"`
	WillTargets []string `json:",omitempty"`

	// Gen is the generation of the deadline that Lead is about, and Seq counts the
	// orders given to one keeper process. The package fills them in.
	Gen uint32
	Seq uint64
}

// Unresponsive is the Report.Err of a keeper process that the agent has killed.
const Unresponsive = "it did not do what it was told in time, and was killed"

// Report is one thing that happened. Reports of one election come in order. Every
// field is news of this report alone, except Held.
type Report struct {
	// Election is the election's name; "" if the report is of all (KeeperDied).
	Election string `json:",omitempty"`
	// Event, if not "", is the hook event of a run under Term that has begun
	// (Running) or ended: with exit status Exit, or -1 and a reason in Err if it
	// was killed or could not be started.
	Event    string        `json:",omitempty"`
	Term     uint64        `json:",omitempty"`
	Running  bool          `json:",omitempty"`
	Exit     int           `json:",omitempty"`
	Duration time.Duration `json:",omitempty"`
	Err      string        `json:",omitempty"`
	// Overtaken: it was killed because something newer made it pointless, or the
	// lead had gone before it began, which is no failure of the hook.
	Overtaken bool `json:",omitempty"`
	// Output is the first hook.MaxOutput bytes of what the run printed.
	Output string `json:",omitempty"`
	// Left names the processes that the run left running, which were killed.
	Left []string `json:",omitempty"`
	// Held: acquire has succeeded, and nothing has happened since that would
	// make it doubtful.
	Held bool `json:",omitempty"`
	// AcquireFailures, if not 0, is how often in a row acquire of Term failed.
	AcquireFailures int `json:",omitempty"`
	// Fired, if not 0, is a term whose leadership the keeper has ended.
	Fired uint64 `json:",omitempty"`
	// Late is, with Fired, how long after the deadline the keeper has fired.
	Late time.Duration `json:",omitempty"`
	// Released, if not 0, is a term whose release has ended: nothing of it runs
	// any more and, unless ReleaseFailed, nothing is held.
	Released      uint64 `json:",omitempty"`
	ReleaseFailed bool   `json:",omitempty"`
	// StartupDone: the election's release at start has ended; until then no
	// leadership can begin.
	StartupDone bool `json:",omitempty"`
	// Refused, if not "", says why the keeper cannot act for an election as
	// Configure wants it: there is no leadership of it until that has changed.
	Refused string `json:",omitempty"`
	// KeeperDied: the keeper process has ended and another is being started.
	// Nothing of any hook runs any more, and all leaderships are over.
	KeeperDied bool `json:",omitempty"`

	// Command, if not nil, is what has happened to the command under Term.
	Command *CommandReport `json:",omitempty"`

	// Watchdog, if not nil, is what has happened to the watchdog of the host.
	Watchdog *WatchdogReport `json:",omitempty"`

	// Address, if not nil, is what has happened to the floating addresses.
	Address *floatingip.Event `json:",omitempty"`

	// Note is a sentence for the log, and Seen the Seq of an order taken in.
	// Both are for the package's own use.
	Note string `json:",omitempty"`
	Seen uint64 `json:",omitempty"`
}

// droppable reports whether r only tells of a run, or that an address was removed and put
// back: losing it changes nothing.
func (r *Report) droppable() bool {
	if a := r.Address; a != nil {
		return a.What == floatingip.Removed || a.What == floatingip.PutBack
	}
	return r.Seen == 0 && r.Fired == 0 && r.Released == 0 && !r.StartupDone && r.Refused == "" && r.Command == nil && r.Watchdog == nil && !r.KeeperDied && r.AcquireFailures == 0 &&
		(r.Event != string(hook.Acquire) || r.Running)
}
