package agent

import (
	"slices"
	"time"

	"doyen/agent/floatingip"
)

// noteAddress tells of what has happened to the floating addresses, as the
// keeper reports it; nil is nothing.
func (u *runs) noteAddress(now time.Duration, ev *floatingip.Event) {
	if ev == nil {
		return
	}
	if ev.What == floatingip.NotHeld && !u.holds() {
		return // a keeper that starts says so in any case
	}
	u.addresses = addressStates(ev.Addresses)
	u.pub.tally.add(func(c *Counters) {
		if !ev.Over {
			c.AddressEvents[ev.What]++
		}
	})
	u.pub.emit("address", AddressEvent{What: ev.What, Evidence: ev.Evidence, Over: ev.Over, Addresses: u.addresses})
	// Findings are logged as all findings are; and a quarrel with another program
	// about an address, which may come to twenty repairs a second, once a second.
	repeated := ev.What == floatingip.PutBack && now < u.putBackLogged+time.Second
	if ev.Evidence == "" && !ev.Over && !repeated {
		if ev.What == floatingip.PutBack {
			u.putBackLogged = now
		}
		ev.Log(u.pub.log)
	}
	switch {
	case ev.Over:
		u.findings.Clear(ev.What, u.pub.self.Name)
	case ev.Evidence != "":
		keep := findingsKept
		if ev.Lasts() {
			keep = 0
		}
		u.findings.Set(now, keep, ev.Finding(u.pub.self.Name))
	}
}

// holds reports whether a floating address is held.
func (u *runs) holds() bool {
	return slices.ContainsFunc(u.addresses, func(a AddressState) bool { return a.Held })
}

// addressStates turns the keeper's states into those of the API.
func addressStates(states []floatingip.State) []AddressState {
	list := make([]AddressState, len(states))
	for i, s := range states {
		list[i] = AddressState(s)
	}
	return list
}
