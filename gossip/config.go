package gossip

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
)

// Config is everything a Gossip is told. New copies it.
type Config struct {
	// Name is the member's unique name; "": the advertised host:port as given.
	Name string
	// BindAddr is the address, or the name of the interface, to listen on;
	// "": 0.0.0.0, every IPv4 address, or :: on a host with IPv6 alone. :: is
	// every address of both families.
	BindAddr string
	// BindPort is the one port for TCP, UDP and HTTP; 0: a free one.
	BindPort int
	// Advertise is the host[:port] the others reach this node at; "": detected.
	Advertise string
	// Floating are addresses that come and go with the lead. None of them is
	// ever advertised.
	Floating []netip.Addr
	// Seeds are where other members may be found: host[:port], [v6]:port, a
	// bare v6 address, a DNS name, srv+NAME or exec:/path. A missing port is
	// BindPort, or 4000 if that is 0.
	Seeds []string
	// Cluster names the cluster; members of another are refused.
	Cluster string
	// KeyFile is the keyring, one base64 key a line; "": nothing is encrypted.
	KeyFile string
	// ProbeInterval is how often memberlist probes one other member; 0: 1 s.
	ProbeInterval time.Duration
	// Incarnation identifies this run; another run must have another.
	Incarnation uint64
	// Log receives what memberlist and the joining have to say; nil:
	// slog.Default().
	Log *slog.Logger

	// Transport replaces the sockets, for tests in one process; nil: sockets.
	Transport memberlist.NodeAwareTransport
	// Resolver replaces the system's; nil: net.DefaultResolver.
	Resolver Resolver
}

// Resolver is what looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

const (
	// defaultPort is the port of seeds without one when no port is configured.
	defaultPort = 4000
	// maxText bounds every string that another member may make this one keep.
	maxText = 255
	// labelPrefix keeps Doyen's labels apart from those of other programs.
	labelPrefix = "doyen/"
)

// filled returns a copy of c with its defaults, or the first thing wrong with
// it as a sentence that names the flag.
func (c Config) filled() (Config, error) {
	c.BindAddr = cmp.Or(c.BindAddr, "0.0.0.0")
	c.Cluster = cmp.Or(c.Cluster, "default")
	c.ProbeInterval = cmp.Or(c.ProbeInterval, time.Second)
	c.Seeds = slices.Clone(c.Seeds)
	c.Floating = slices.Clone(c.Floating)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.BindPort < 0 || c.BindPort > 65535 {
		return c, fmt.Errorf("bind-port of %d is not between 0 and 65535", c.BindPort)
	}
	if c.ProbeInterval < 0 {
		return c, fmt.Errorf("probe-interval of %v is negative", c.ProbeInterval)
	}
	if c.Name != "" {
		if err := checkText(c.Name); err != nil {
			return c, fmt.Errorf("name %w", err)
		}
	}
	if err := checkText(c.Cluster); err != nil {
		return c, fmt.Errorf("cluster %w", err)
	}
	if len(labelPrefix+c.Cluster) > memberlist.LabelMaxSize {
		return c, fmt.Errorf("cluster of %d bytes is longer than %d", len(c.Cluster), memberlist.LabelMaxSize-len(labelPrefix))
	}
	return c, nil
}

// clusterOf returns the cluster that a label of Doyen names.
func clusterOf(label string) (string, bool) {
	cluster, ours := strings.CutPrefix(label, labelPrefix)
	return cluster, ours && checkText(cluster) == nil
}

// checkText refuses what must not reach logs, dashboards and other members: an
// empty or overlong string, spaces, and characters that cannot be printed.
func checkText(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("is empty")
	case len(s) > maxText:
		return fmt.Errorf("of %d bytes is longer than %d", len(s), maxText)
	case !utf8.ValidString(s):
		return fmt.Errorf("%q is not valid UTF-8", s)
	}
	for _, r := range s {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("%q contains a space or a character that cannot be printed", s)
		}
	}
	return nil
}
