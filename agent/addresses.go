package agent

import (
	"time"

	"doyen/agent/floatingip"
)

// noteAddress tells of what has happened to the floating addresses, as the
// keeper reports it; nil is nothing.
func (e *election) noteAddress(now time.Duration, ev *floatingip.Event) {
	if ev == nil {
		return
	}
	e.addresses = addressStates(ev.Addresses)
	e.pub.tally.add(func(c *Counters) {
		if !ev.Over {
			c.AddressEvents[ev.What]++
		}
	})
	e.pub.emit("address", AddressEvent{What: ev.What, Evidence: ev.Evidence, Over: ev.Over, Addresses: e.addresses})
	// Findings are logged as all findings are; and a quarrel with another program
	// about an address, which may come to twenty repairs a second, once a second.
	repeated := ev.What == floatingip.PutBack && now < e.putBackLogged+time.Second
	if ev.Evidence == "" && !ev.Over && !repeated {
		if ev.What == floatingip.PutBack {
			e.putBackLogged = now
		}
		ev.Log(e.log)
	}
	switch {
	case ev.Over:
		e.findings.Clear(ev.What, e.self.Name)
	case ev.Evidence != "":
		keep := findingsKept
		if ev.Lasts() {
			keep = 0
		}
		e.findings.Set(now, keep, ev.Finding(e.self.Name))
	}
}

// addressStates turns the keeper's states into those of the API.
func addressStates(states []floatingip.State) []AddressState {
	list := make([]AddressState, len(states))
	for i, s := range states {
		list[i] = AddressState(s)
	}
	return list
}
