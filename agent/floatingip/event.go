package floatingip

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"doyen/gossip/findings"
)

// The values of Event.What that are no findings.
const (
	Taken   = "taken"    // all addresses are on their interfaces
	PutBack = "put-back" // an address that somebody removed is there again
	GivenUp = "given-up" // no address of the Set is on an interface
	NotHeld = "not-held" // an address has gone, or the kernel has cut it off, before it was given up
)

// The values of Event.What that are findings. The first three tell of something
// that happened; the others last until an Event says that they are over.
const (
	Removed       = "floating-ip-removed"
	TablesRemoved = "floating-ip-tables-removed"
	CutOffLate    = "floating-ip-cut-off"
	NoNftables    = "floating-ip-no-nftables"
	NotWatched    = "floating-ip-not-watched"
	NotRestored   = "floating-ip-not-restored"
	NotProlonged  = "floating-ip-not-prolonged"
	NotAnnounced  = "floating-ip-not-announced"
	NotChanged    = "floating-ip-not-changed"
)

// Lasting are the findings that last until an Event says that they are over. Of a Set that
// is no more none does.
var Lasting = []string{NoNftables, NotWatched, NotRestored, NotProlonged, NotAnnounced, NotChanged}

// Event is one thing that happened to the floating addresses.
type Event struct {
	// What is one of the constants above.
	What string
	// Evidence is what was seen, and Advice what to do about it; both are empty
	// unless What is a finding that begins.
	Evidence, Advice string `json:",omitempty"`
	// Over: the finding What has ended.
	Over bool `json:",omitempty"`
	// Addresses are all addresses of the Set as they are after the event.
	Addresses []State
	// Gone are those that were held and are no part of the Set any more.
	Gone []State `json:",omitempty"`
}

// State is one floating address at one instant.
type State struct {
	Address   string    // with the length of its network, as configured
	Interface string    // that carries it
	Held      bool      // the address is on the interface, and the kernel lets it answer
	Since     time.Time // since when Held is as it is
}

// States returns the state of addresses that are not held, since now.
func States(addrs []Address) []State {
	states := make([]State, len(addrs))
	for i, a := range addrs {
		states[i] = State{Address: a.Prefix.String(), Interface: a.Iface, Since: time.Now()}
	}
	return states
}

// Finding returns the finding that e tells of, of the member that e happened on.
func (e *Event) Finding(member string) findings.Finding {
	return findings.Finding{
		What: e.What, Member: member, Evidence: e.Evidence, Advice: e.Advice,
		Degrades: e.What != NoNftables, // the addresses work without, only less exactly
	}
}

// Lasts reports whether the finding that e tells of lasts until another event
// says that it is over.
func (e *Event) Lasts() bool { return slices.Contains(Lasting, e.What) }

// Log writes e as one line, or as two if another configuration has taken addresses away.
func (e *Event) Log(log *slog.Logger) {
	if len(e.Gone) > 0 {
		log.Info("floating addresses given up", names(e.Gone))
	}
	attrs := []any{names(e.Addresses)}
	switch {
	case len(e.Gone) > 0 && len(e.Addresses) == 0: // that was all
	case e.Evidence != "":
		attrs = append(attrs, slog.String("what", e.What), slog.String("evidence", e.Evidence), slog.String("advice", e.Advice))
		log.Warn("floating address: a finding begins", attrs...)
	case e.Over:
		log.Info("floating address: a finding has ended", append(attrs, slog.String("what", e.What))...)
	case e.What == Taken:
		log.Info("floating addresses taken and announced", attrs...)
	case e.What == PutBack:
		log.Info("floating addresses put back and announced", attrs...)
	case e.What == GivenUp:
		log.Info("floating addresses given up", attrs...)
	case e.What == NotHeld:
		log.Info("floating addresses held no longer: they have gone, or the kernel has cut them off", names(slices.DeleteFunc(slices.Clone(e.Addresses), func(s State) bool { return s.Held })))
	}
}

// names is what the log has of addresses.
func names(states []State) slog.Attr {
	var list []string
	for _, s := range states {
		list = append(list, s.Address+"@"+s.Interface)
	}
	return slog.String("addresses", strings.Join(list, ","))
}
