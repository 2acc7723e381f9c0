package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/transport"
	"doyen/seniority"

	"github.com/hashicorp/memberlist"
)

const (
	// resolveLimit bounds what New spends on finding the address to advertise.
	resolveLimit = 2 * lookupLimit
	// streamLimit bounds the exchange of states with one member.
	streamLimit = 5 * time.Second
	// maxFanout is from which size of the group on a member passes each message
	// on no more often: eight times. One member in three thousand misses it then;
	// a leader says again every second that it leads, and what is said once is
	// told to those who need it directly. So a crowd's members send no more.
	maxFanout = 99
)

// Gossip is one member's part in the group. All methods are safe for
// concurrent use.
type Gossip struct {
	cfg        Config
	bound      netip.Addr
	port       uint16
	advertised atomic.Pointer[advertised]
	local      bool // the address advertised at the start was one of this host
	keyring    *memberlist.Keyring
	mux        *transport.Port
	findings   *findings.Record
	members    *members

	greeting atomic.Pointer[[]byte]
	onAsk    atomic.Pointer[func(old bool) []byte]
	inbox    inbox
	relay    relay
	detail   atomic.Pointer[[]byte]

	electionRelay relay
	conversations conversations
	wills         bucket
	// deathSecret proves that this member is dead.
	deathSecret [32]byte
	queue       memberlist.TransmitLimitedQueue
	publish     chan struct{} // capacity one: this member's meta has changed
	// The comparison of views: questions of others, and the answers to this
	// member's; see antientropy.go.
	questions chan question
	agreed    chan uint64
	doubts    chan string // members to which UDP may be blocked

	streams streams // that others have opened; see stream.go

	life context.Context // ends with Close, or when leaving begins
	end  context.CancelFunc
	wg   sync.WaitGroup

	exit sync.Mutex // held while memberlist is told to leave or to shut down

	mu     sync.Mutex // guards what follows
	list   *memberlist.Memberlist
	joiner *joiner
	closed bool
}

// New binds the port and finds out the address to advertise. It answers HTTP
// from then on, if HTTP is called, and takes no part in gossip before Start.
// Its errors are sentences that name the flag.
func New(c Config) (*Gossip, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	g := &Gossip{cfg: c, deathSecret: newSecret(), findings: &findings.Record{}, publish: make(chan struct{}, 1), questions: make(chan question, 16), agreed: make(chan uint64, 1), doubts: make(chan string, 16)}
	g.detail.Store(new([]byte(nil)))
	g.members = newRoster(g.findings.Count)
	g.inbox = newInbox(g.findings.Count)
	g.queue.NumNodes = func() int { return min(g.members.size()+1, maxFanout) }
	g.queue.RetransmitMult = memberlist.DefaultLANConfig().RetransmitMult
	if g.keyring, err = openKeyring(c.KeyFile); err != nil {
		return nil, err
	}
	inner, httpAddr, err := g.underneath()
	if err != nil {
		return nil, err
	}
	if g.cfg.Name == "" {
		g.cfg.Name = g.advertised.Load().text
	}
	g.life, g.end = context.WithCancel(context.Background())
	g.mux = transport.New(transport.Config{
		Inner: inner, Addr: httpAddr, Label: labelPrefix + c.Cluster, ClusterOf: clusterOf, Sealed: g.keyring != nil,
		Findings: g.findings, Others: g.members.size, Will: g.takeWill, Ask: g.answer, Talk: g.talk, Route: g.members.route,
	})
	g.mux.Run()
	g.wg.Add(1)
	go g.summarise()
	return g, nil
}

// underneath returns the transport configured, or opens the sockets.
func (g *Gossip) underneath() (memberlist.NodeAwareTransport, net.Addr, error) {
	if t := g.cfg.Transport; t != nil {
		ip, port, err := t.FinalAdvertiseAddr("", 0)
		if err != nil {
			return nil, nil, err
		}
		a, _ := netip.AddrFromSlice(ip)
		g.bound, g.port = a.Unmap(), uint16(port)
		at := netip.AddrPortFrom(g.bound, g.port)
		g.advertised.Store(&advertised{text: cmp.Or(g.cfg.Advertise, at.String()), addr: at})
		return t, net.TCPAddrFromAddrPort(at), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveLimit)
	defer cancel()
	var err error
	if g.bound, err = bindTo(ctx, &g.cfg); err != nil {
		return nil, nil, err
	}
	s, err := transport.Listen(g.bound, g.cfg.BindPort)
	if err != nil {
		return nil, nil, err
	}
	g.port = s.Port()
	at, err := resolveAdvertise(ctx, &g.cfg, g.bound, g.port)
	if err != nil {
		return nil, nil, errors.Join(err, s.Shutdown())
	}
	g.advertised.Store(&at)
	s.Advertise(at.addr)
	g.local = onHost(at.addr.Addr())
	return s, s.TCP.Addr(), nil
}

// Name returns the member's name.
func (g *Gossip) Name() string { return g.cfg.Name }

// Addr returns the advertised host:port, as it was given if it was.
func (g *Gossip) Addr() string { return g.advertised.Load().text }

// AddrPort returns the address that the others reach this member at now.
func (g *Gossip) AddrPort() netip.AddrPort { return g.advertised.Load().addr }

// Changed has one element when the view has changed since it was last received
// from.
func (g *Gossip) Changed() <-chan struct{} { return g.members.changed }

// View returns the membership as it is believed to be now. Before Start it is
// empty.
func (g *Gossip) View() View { return g.members.current() }

// Gone tells of runs that are known to have ended; if they are not read, the oldest
// news is lost.
func (g *Gossip) Gone() <-chan Gone { return g.members.gone }

// Bound is the address that the port is bound to, which may stand for all of this host's.
func (g *Gossip) Bound() netip.AddrPort { return netip.AddrPortFrom(g.bound, g.port) }

// HTTP returns a listener for the connections on the port that speak HTTP.
// Close ends it. Before the first call such connections are closed at once.
func (g *Gossip) HTTP() net.Listener {
	return g.mux.HTTP()
}

// Counters returns how much was refused or lost, by reason.
func (g *Gossip) Counters() map[string]uint64 { return g.findings.Totals() }

// Start takes part in the group as self and begins to join. Name, address and
// incarnation of self are this Gossip's own. It may be called once.
func (g *Gossip) Start(self seniority.Member, extra Extra) error {
	at := g.advertised.Load()
	p := Peer{Member: self, Extra: extra, Advertise: at.text, home: at.addr, Death: deathMark(g.deathSecret)}
	p.Name, p.Addr, p.Incarnation = g.cfg.Name, at.addr, g.cfg.Incarnation
	if err := checkMeta(&p); err != nil {
		return err
	}
	seeds, err := g.parseSeeds()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.list != nil {
		return errors.New("gossip can be started only once")
	}
	g.members.begin(p, len(seeds))
	g.mux.Start()
	if g.list, err = memberlist.Create(g.listConfig()); err != nil {
		return fmt.Errorf("gossip cannot start: %w", err)
	}
	g.wg.Add(3)
	go g.publisher(g.list)
	go g.checkUDP(g.list)
	go g.fetchDetails()
	if g.local {
		// One that was never this host's is translated on the way, and stays.
		changed, err := watchAddresses(g.life.Done())
		if err != nil {
			g.cfg.Log.Warn("a changed address will be noticed late", "error", err)
		}
		g.wg.Add(1)
		go g.keepAddress(changed)
	}
	g.joiner = newJoiner(g.life, g, seeds)
	g.joiner.run()
	return nil
}

// seedPort is the port of seeds that name none: this member's own.
func (g *Gossip) seedPort() uint16 {
	port := uint16(g.cfg.BindPort)
	if port == 0 {
		port = defaultPort
	}
	return port
}

func (g *Gossip) parseSeeds() ([]seed, error) {
	var all []seed
	for _, s := range g.cfg.Seeds {
		sd, err := parseSeed(s, g.seedPort())
		if err != nil {
			return nil, err
		}
		all = append(all, sd)
	}
	return all, nil
}

// listConfig is memberlist's LAN profile with this member's parts.
func (g *Gossip) listConfig() *memberlist.Config {
	d := &delegate{gossip: g, started: time.Now()}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label, c.Transport, c.Keyring = g.cfg.Name, g.mux.Label(), g.mux, g.keyring
	c.BindPort, c.AdvertisePort = int(g.port), int(g.port)
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Merge, c.Ping = d, d, d, d, d, d
	c.TCPTimeout = streamLimit
	c.ProbeInterval, c.ProbeTimeout = g.cfg.ProbeInterval, g.cfg.ProbeInterval/2
	// A name that died may come back at another address at once: whether it
	// is dead was decided before.
	c.DeadNodeReclaimTime = time.Nanosecond
	c.PushPullInterval = 0 // see antientropy.go
	// Packets are small, and compressing each costs more than it saves.
	c.EnableCompression = false
	c.LogOutput = io.Discard
	if g.cfg.Log != nil {
		c.LogOutput = nil
		c.Logger = log.New(&memberlistLog{log: g.cfg.Log, findings: g.findings, doubt: g.doubtUDP}, "", 0)
	}
	return c
}

// SetSelf publishes a new state of this member: join number, eligibility and
// the like, and unfit, why it is not eligible. It never blocks; of several in a
// row only the last is published.
func (g *Gossip) SetSelf(self seniority.Member, unfit string) {
	changed := g.members.change(func(p *Peer) {
		self.Name, self.Addr, self.Incarnation = p.Name, p.Addr, p.Incarnation
		p.Member, p.Unfit = self, unfit
	})
	if changed {
		poke(g.publish)
	}
}

// publisher tells memberlist of a new meta. UpdateNode tells all members by
// itself; it would only wait for that, hence the shortest time-out.
func (g *Gossip) publisher(list *memberlist.Memberlist) {
	defer g.wg.Done()
	for {
		select {
		case <-g.life.Done():
			return
		case <-g.publish:
			_ = list.UpdateNode(time.Nanosecond)
		}
	}
}

// SetGreeting sets the message that members exchanging states with this one
// are given; nil: none. It arrives there as a gossiped message.
func (g *Gossip) SetGreeting(b []byte) {
	b = slices.Clone(b)
	g.greeting.Store(&b)
}

// running returns memberlist while it runs.
func (g *Gossip) running() (*memberlist.Memberlist, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list, g.list != nil && !g.closed
}

// isSelf reports whether an address is this member's own.
func (g *Gossip) isSelf(a netip.AddrPort) bool {
	if a == g.AddrPort() || a == netip.AddrPortFrom(g.bound, g.port) {
		return true
	}
	if a.Port() != g.port || g.cfg.Transport != nil || !g.bound.IsUnspecified() || !family(g.bound, a.Addr()) {
		return false
	}
	if a.Addr().IsLoopback() || a.Addr().IsUnspecified() {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	return slices.Contains(reachable(addrs), a.Addr())
}

// Close ends everything at once and gives the port back; HTTP connections that
// have been accepted are left to their owners. When it returns, no
// goroutine of this package runs any more; one of memberlist's may wait for
// the end of a probe, a second usually. Close may be called more than once.
func (g *Gossip) Close() error {
	g.end()
	g.mu.Lock()
	g.closed = true
	list, j := g.list, g.joiner
	g.mu.Unlock()
	// Nothing is locked while this waits: what answers a question may ask for
	// findings.
	var err error
	if list != nil {
		g.exit.Lock()
		err = list.Shutdown()
		g.exit.Unlock()
	}
	err = errors.Join(err, g.mux.Shutdown())
	if j != nil {
		j.wg.Wait()
	}
	g.wg.Wait()
	return err
}
