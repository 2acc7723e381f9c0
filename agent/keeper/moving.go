package keeper

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"

	"doyen/agent/floatingip"
)

// moved is one step to the addresses of a new configuration, and what came of it.
type moved struct {
	addresses []string // those that are had after it
	locks     map[string]io.Closer
	made      *Addresses // where there were none before
	err       error
}

// newAddresses prepares floating addresses.
func (e *executor) newAddresses(addresses []string) (*Addresses, error) {
	if e.node.tools.Addresses == nil {
		return nil, errNoAddresses
	}
	cfg, name, out := e.cfg, e.cfg.Name, e.node.out
	cfg.Addresses = addresses
	leads := func() bool { return e.deadline.Leads(e.now()) }
	report := func(ev floatingip.Event) { out.add(Report{Election: name, Address: &ev}) }
	return e.node.tools.Addresses(e.node.cfg, cfg, leads, report)
}

// move takes the next step to bring the addresses in line with the configuration, or the
// last one again after it has failed, with growing pauses: first it gives up those that are
// not wanted any more, since another election may wait for them, then it takes the locks of
// those that are new, and them. The steps are taken beside the executor, which must not wait
// for them. A step that has failed is followed by another also where its addresses are not
// wanted any more: it gives back their locks, and ends what was found.
func (e *executor) move() {
	done := slices.Equal(e.cfg.Addresses, e.addressesWanted) && !(e.moveUnfinished && e.addresses != nil)
	if e.locks == nil || e.moving || done || e.now() < e.moveAt {
		return
	}
	m, a, patience := moved{addresses: e.addressesWanted}, e.addresses, e.cfg.HookTimeout
	kept := slices.DeleteFunc(slices.Clone(e.cfg.Addresses), func(a string) bool { return !slices.Contains(e.addressesWanted, a) })
	if len(kept) < len(e.cfg.Addresses) {
		m.addresses = kept
	}
	added := slices.DeleteFunc(slices.Clone(m.addresses), func(a string) bool {
		return slices.Contains(kept, a) || e.locks[addressIP(a)] != nil // a step that failed has left its locks
	})
	if a == nil {
		if m.made, m.err = e.newAddresses(m.addresses); m.err != nil {
			e.moveFailed(m.err)
			return
		}
	}
	ctx, name, out := e.ctx, e.cfg.Name, e.node.out
	e.moving = true
	go func() {
		say := func(why error) { out.add(Report{Election: name, Note: errText(why)}) }
		var unlocked error
		m.locks, unlocked = lockAddresses(ctx, added, patience, say)
		switch {
		case ctx.Err() != nil: // the executor ends
			m.err = ctx.Err()
		case m.made != nil:
			m.err = m.made.Begin()
		default:
			m.err = a.Change(m.addresses)
		}
		if unlocked != nil && ctx.Err() == nil {
			say(unlocked)
		}
		e.moves <- m
	}()
}

// moveNow takes in a step.
func (e *executor) moveNow(m moved) {
	e.moving = false
	for ip, lock := range m.locks {
		e.locks[ip] = lock
	}
	if m.made != nil {
		e.addresses = m.made
	}
	if t := e.leadership; t != nil && !t.over && (m.made != nil || m.err != nil && e.moveFailures == 0) {
		e.takeAnew()
	}
	if m.err != nil {
		if m.made == nil {
			m.err = nil // Change has reported it
		}
		e.moveFailed(m.err)
		return
	}
	e.moveUnfinished, e.moveFailures, e.moveAt, e.moveErr = false, 0, 0, ""
	e.cfg.Addresses = m.addresses
	e.unlockOthers()
	e.move() // the next step, or a newer configuration
}

// moveFailed says when a step is tried again. An error is noted once.
func (e *executor) moveFailed(err error) {
	if text := errText(err); text != e.moveErr && !errors.Is(err, context.Canceled) {
		e.note(err)
		e.moveErr = text
	}
	e.moveUnfinished = true
	e.moveFailures++
	e.moveAt = e.now() + e.node.cfg.backoff(e.moveFailures)
}

// unlockOthers gives back the locks of addresses that are not the election's any more.
func (e *executor) unlockOthers() {
	wanted := addressIPs(e.cfg.Addresses)
	for ip, lock := range e.locks {
		if !slices.Contains(wanted, ip) {
			lock.Close()
			delete(e.locks, ip)
		}
	}
}

// unlock gives back all locks.
func unlock(locks map[string]io.Closer) error {
	var errs []error
	for _, l := range locks {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// addressIPs are the addresses without length and interface, in one order for
// all, so that two keepers never wait for each other.
func addressIPs(addresses []string) []string {
	var ips []string
	for _, a := range addresses {
		ips = append(ips, addressIP(a))
	}
	slices.Sort(ips)
	return ips
}

func addressIP(address string) string {
	ip, _, _ := strings.Cut(address, "/")
	if parsed, err := netip.ParseAddr(ip); err == nil {
		return parsed.String()
	}
	return ip
}
