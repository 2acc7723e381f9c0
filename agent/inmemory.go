package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

// InMemory returns c for a member on a transport of this process, by Go's own clock: it
// opens no sockets, asks no DNS, starts no second process and touches no directory but
// StateDir. It is for package agenttest. Each New opens a transport.
func InMemory(c Config, open func() (memberlist.NodeAwareTransport, error)) Config {
	began := time.Now()
	c.Keeper = Off
	c.seams = seams{
		now: func() seniority.Now {
			return seniority.Now{Boot: time.Since(began) + time.Hour, Wall: time.Now().UnixMilli()}
		},
		open:     open,
		resolver: literals{},
		leases:   &leaseRecord{kept: time.Nanosecond}, // its host has promised nothing before
	}
	return c
}

// literals resolves no names: where addresses are in memory, hosts have none.
type literals struct{}

// LookupNetIP implements gossip.Resolver.
func (literals) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is a name, and there is no DNS in memory", host)
	case network == "ip4" && !ip.Is4(), network == "ip6" && ip.Is4():
		return nil, errors.New("an address of another family")
	}
	return []netip.Addr{ip}, nil
}

// LookupSRV implements gossip.Resolver.
func (literals) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, fmt.Errorf("%s is a name, and there is no DNS in memory", name)
}
