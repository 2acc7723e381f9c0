package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"doyen/gossip/portable"
)

const (
	// execLimit is how long a program that prints seeds may take.
	execLimit = 10 * time.Second
	// maxPrinted bounds what it may print, in bytes, maxSeedAddrs how many
	// addresses one seed may stand for.
	maxPrinted   = 64 << 10
	maxSeedAddrs = 1024
)

type seedKind uint8

const (
	seedHost seedKind = iota
	seedSRV
	seedExec
)

// seed is one entry of the seeds.
type seed struct {
	text string
	kind seedKind
	host string // host name or address, the SRV name, or the program
	port uint16
}

// parseSeed understands host[:port], [v6]:port, a bare v6 address, srv+NAME
// and exec:/path. port is for hosts without one.
func parseSeed(s string, port uint16) (seed, error) {
	if path, ok := strings.CutPrefix(s, "exec:"); ok {
		if !strings.HasPrefix(path, "/") {
			return seed{}, fmt.Errorf("seeds entry %q must name the program by its full path", s)
		}
		return seed{text: s, kind: seedExec, host: path, port: port}, nil
	}
	if name, ok := strings.CutPrefix(s, "srv+"); ok {
		if name == "" {
			return seed{}, fmt.Errorf("seeds entry %q names no SRV record", s)
		}
		return seed{text: s, kind: seedSRV, host: name, port: port}, nil
	}
	host, p, err := splitHostPort(s)
	if err == nil {
		err = checkText(host)
	}
	if err != nil && !strings.Contains(s, "/") {
		return seed{}, fmt.Errorf("seeds entry %w", err)
	}
	if err := checkHostText("seeds entry", s, host); err != nil {
		return seed{}, err
	}
	if p == 0 {
		p = port
	}
	return seed{text: s, kind: seedHost, host: host, port: p}, nil
}

// resolve returns the addresses that the seed stands for now. Addresses may
// come together with an error: some parts could be resolved, others not.
func (s *seed) resolve(ctx context.Context, r Resolver, bound netip.Addr) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	var err error
	switch s.kind {
	case seedHost:
		all, err = resolveHost(ctx, r, bound, s.host, s.port)
	case seedSRV:
		all, err = s.resolveSRV(ctx, r, bound)
	case seedExec:
		all, err = s.resolveExec(ctx, r, bound)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	all = slices.Compact(all)
	return all[:min(len(all), maxSeedAddrs)], err
}

func resolveHost(ctx context.Context, r Resolver, bound netip.Addr, host string, port uint16) ([]netip.AddrPort, error) {
	addrs, err := lookup(ctx, r, bound, host)
	all := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		all[i] = netip.AddrPortFrom(a, port)
	}
	return all, err
}

// resolveSRV asks for the SRV records of the name as it stands.
func (s *seed) resolveSRV(ctx context.Context, r Resolver, bound netip.Addr) ([]netip.AddrPort, error) {
	limited, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	_, records, err := r.LookupSRV(limited, "", "", s.host)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be resolved: %w", s.host, err)
	}
	var all []netip.AddrPort
	var failed []error
	for _, rec := range records[:min(len(records), maxSeedAddrs)] {
		addrs, err := resolveHost(ctx, r, bound, strings.TrimSuffix(rec.Target, "."), rec.Port)
		all, failed = append(all, addrs...), append(failed, err)
	}
	return all, errors.Join(failed...)
}

// resolveExec runs the program and reads the addresses it prints, separated by
// spaces, commas or newlines. The whole process group is killed at the limit.
func (s *seed) resolveExec(ctx context.Context, r Resolver, bound netip.Addr) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, execLimit)
	defer cancel()
	out := &limitedBuffer{}
	cmd := exec.CommandContext(ctx, s.host)
	cmd.Stdout = out
	cmd.SysProcAttr = portable.OwnGroup()
	cmd.Cancel = func() error { return portable.SignalGroup(cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s failed: %w", s.text, err)
	}
	var all []netip.AddrPort
	var failed []error
	split := func(r rune) bool { return strings.ContainsRune(" ,\t\r\n", r) }
	for _, word := range strings.FieldsFunc(out.String(), split) {
		host, port, err := splitHostPort(word)
		if port == 0 {
			port = s.port
		}
		var addrs []netip.AddrPort
		if err == nil {
			addrs, err = resolveHost(ctx, r, bound, host, port)
		}
		if all = append(all, addrs...); len(all) > maxSeedAddrs {
			break
		}
		failed = append(failed, err)
	}
	return all, errors.Join(failed...)
}

// limitedBuffer keeps the beginning of what is written and drops the rest.
type limitedBuffer struct{ strings.Builder }

// Write implements io.Writer; it always takes everything.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Builder.Write(p[:min(len(p), maxPrinted-b.Len())])
	return len(p), nil
}
