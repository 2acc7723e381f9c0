package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"doyen/agent/floatingip"
	"doyen/agent/store"
	"doyen/agent/voters"
	"doyen/gossip"
	"doyen/gossip/portable"
	"doyen/seniority"
)

// CheckHost reports what of this host, as it is now, keeps an agent of this
// configuration from running or from leading, as sentences that name the flags.
// It only looks: it takes no port, makes no file and changes nothing in the
// kernel, so it can be asked beside a running agent.
//
// A configuration that is itself bad is checked as far as it can be understood.
func (c Config) CheckHost() error {
	faults := []error{gossip.Config{BindAddr: c.BindAddr}.CheckHost(), checkStateDir(c.StateDir), checkListen(c.HTTP)}
	_, err := resolveRun(c.Run)
	faults = append(faults, err)
	if c.Store == On && c.StoreRestore != "" {
		faults = append(faults, store.CheckSaved(c.StoreRestore))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Elections)) {
		if _, err := resolveRun(c.Elections[name].Run); err != nil {
			faults = append(faults, fmt.Errorf("election %s: %w", name, err))
		}
	}
	return errors.Join(append(faults, c.checkInterfaces(nil))...)
}

// checkInterfaces reports which floating addresses are on interfaces that this host does
// not have, but for those that are known.
func (c Config) checkInterfaces(known []floatingip.Address) error {
	var faults []error
	c.eachFloating(func(where string, a floatingip.Address) {
		if slices.Contains(known, a) {
			return
		}
		if _, err := net.InterfaceByName(a.Iface); err != nil {
			faults = append(faults, fmt.Errorf("%s: this host has no interface %s", where, a.Iface))
		}
	})
	return errors.Join(faults...)
}

// eachFloating calls f with each floating address that can be parsed, and with where it
// is in the configuration.
func (c Config) eachFloating(f func(where string, a floatingip.Address)) {
	each := func(where string, texts []string) {
		for _, text := range texts {
			if a, err := floatingip.Parse(text); err == nil {
				f(where+"floating-ip "+a.String(), a)
			}
		}
	}
	each("", c.FloatingIPs)
	for _, name := range slices.Sorted(maps.Keys(c.Elections)) {
		each("election "+name+": ", c.Elections[name].FloatingIPs)
	}
}

// checkListen reports that the address of where is not this host's.
func checkListen(where string) error {
	if where == "" || where == Off {
		return nil
	}
	host, _, err := net.SplitHostPort(where)
	if err != nil {
		return nil // Validate says so
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return fmt.Errorf("http of %q: %s is no address of this host", where, host)
	}
	return l.Close()
}

// checkStateDir reports why the directory could not be opened, or made.
func checkStateDir(path string) error {
	if path == "" {
		return nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	for at := abs; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue // it will be made
		case err != nil:
			return fmt.Errorf("state-dir: %w", err)
		case !info.IsDir():
			return fmt.Errorf("state-dir %s: %s is no directory", path, at)
		case errors.Is(portable.Writable(at), syscall.EROFS):
			return fmt.Errorf("state-dir %s: %s is on a file system that is mounted read-only", path, at)
		case portable.Writable(at) != nil:
			return fmt.Errorf("state-dir %s: this user may not write to %s", path, at)
		}
		break
	}
	_, _, err = readTerms(filepath.Join(abs, termName))
	return err
}

// Warnings says, in a sentence each, what of this configuration is good and
// perhaps not meant. It asks neither the network nor the host.
func (c Config) Warnings() []string {
	s, err := c.validate()
	if err != nil {
		return nil
	}
	var all []string
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if w := voters.Wasted(len(s.Voters)); w != "" {
		warn("%s", w)
	}
	if s.ID != 0 && s.rule.Name() != "bully" {
		warn("id of %d has no effect with the rule %s: it ranks members with --rule bully alone", s.ID, s.rule.Name())
	}
	if s.StoreRestore != "" && s.Store != On {
		warn("store-restore of %s has no effect without the store (--store on)", s.StoreRestore)
	}
	return all
}

// HostWarnings says the same of this configuration on this host. It looks up
// the names of seeds and voters, until ctx ends.
func (c Config) HostWarnings(ctx context.Context) []string {
	s, err := c.validate()
	if err != nil {
		return nil
	}
	var all []string
	if len(s.allFloating()) > 0 {
		if err := floatingip.Capable(); err != nil {
			all = append(all, fmt.Sprintf("floating-ip: as this user an agent could not hold an address: %v", err))
		}
	}
	c.eachFloating(func(where string, a floatingip.Address) {
		if floatingip.IsOwn(a) {
			all = append(all, where+": the address is this host's own, so an agent here would be no candidate; take it off the host first")
		}
	})
	all = append(all, s.watchdogWarnings()...)
	if s.needsRealtime() {
		all = append(all, fmt.Sprintf("a lease of %v needs real-time scheduling of agent and keeper (CPUSchedulingPolicy=rr): without it a busy processor can end a healthy leadership; ready says whether a running agent has it", s.timing.Lease))
	}
	if !s.quorum() || s.role == seniority.Observer {
		return all
	}
	name, addr, err := gossip.Identity(ctx, s.gossipConfig())
	if err != nil {
		return append(all, fmt.Sprintf("whether this node is a voter is not known: %v", err))
	}
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return append(all, fmt.Sprintf("whether this node is a voter is not known: %v", err))
	}
	ap := at.AddrPort()
	switch own, err := voters.Own(s.Voters, name, addr, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), s.resolver); {
	case err != nil:
		all = append(all, err.Error())
	case own == "":
		all = append(all, fmt.Sprintf("none of the voters is this node, which is %s: it would neither vote nor lead", addr))
	}
	return all
}

// WastedVoters says what one more voter would be worth to a group of n, where that
// is much: one voter, or an even number, lose their majority no later than one less
// would, and one more carries one loss more. "" for an odd number, and for none.
func WastedVoters(n int) string { return voters.Wasted(n) }
