package gossip

import (
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
	advertised advertised
	keyring    *memberlist.Keyring
	mux        *mux
	ledger     *ledger
	roster     *roster

	greeting atomic.Pointer[[]byte]
	onAsk    atomic.Pointer[func() []byte]
	inbox    inbox
	relay    relay
	wills    bucket
	queue    memberlist.TransmitLimitedQueue
	publish  chan struct{} // capacity one: this member's meta has changed
	// The comparison of views: questions of others, and the answers to this
	// member's; see compare.go.
	questions chan question
	agreed    chan uint64

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
	g := &Gossip{cfg: c, ledger: &ledger{}, publish: make(chan struct{}, 1), questions: make(chan question, 16), agreed: make(chan uint64, 1)}
	g.roster = newRoster(g.ledger.count)
	g.inbox = newInbox(g.ledger.count)
	g.queue.NumNodes = func() int { return min(g.roster.size()+1, maxFanout) }
	g.queue.RetransmitMult = memberlist.DefaultLANConfig().RetransmitMult
	if g.keyring, err = openKeyring(c.KeyFile); err != nil {
		return nil, err
	}
	inner, httpAddr, err := g.transport()
	if err != nil {
		return nil, err
	}
	if g.cfg.Name == "" {
		g.cfg.Name = g.advertised.text
	}
	g.life, g.end = context.WithCancel(context.Background())
	g.mux = newMux(inner, labelPrefix+c.Cluster, g.keyring != nil, g.ledger, g.roster.size)
	g.mux.http = newHTTPListener(httpAddr)
	g.mux.will, g.mux.ask = g.takeWill, g.answer
	g.mux.run()
	g.wg.Add(1)
	go g.summarise()
	return g, nil
}

// transport returns the one configured, or opens the sockets.
func (g *Gossip) transport() (memberlist.NodeAwareTransport, net.Addr, error) {
	if t := g.cfg.Transport; t != nil {
		ip, port, err := t.FinalAdvertiseAddr("", 0)
		if err != nil {
			return nil, nil, err
		}
		a, _ := netip.AddrFromSlice(ip)
		g.bound, g.port = a.Unmap(), uint16(port)
		g.advertised.addr = netip.AddrPortFrom(g.bound, g.port)
		g.advertised.text = g.advertised.addr.String()
		if g.cfg.Advertise != "" {
			g.advertised.text = g.cfg.Advertise
		}
		return t, net.TCPAddrFromAddrPort(g.advertised.addr), nil
	}
	var err error
	if g.bound, err = bindAddr(g.cfg.BindAddr); err != nil {
		return nil, nil, err
	}
	s, err := listen(g.bound, g.cfg.BindPort)
	if err != nil {
		return nil, nil, err
	}
	g.port = s.port()
	ctx, cancel := context.WithTimeout(context.Background(), resolveLimit)
	defer cancel()
	if g.advertised, err = resolveAdvertise(ctx, &g.cfg, g.bound, g.port); err != nil {
		return nil, nil, errors.Join(err, s.Shutdown())
	}
	s.advertise = g.advertised.addr
	return s, s.tcp.Addr(), nil
}

// Name returns the member's name.
func (g *Gossip) Name() string { return g.cfg.Name }

// Addr returns the advertised host:port, as it was given if it was.
func (g *Gossip) Addr() string { return g.advertised.text }

// AddrPort returns the address that the others reach this member at.
func (g *Gossip) AddrPort() netip.AddrPort { return g.advertised.addr }

// Changed has one element when the view has changed since it was last received
// from.
func (g *Gossip) Changed() <-chan struct{} { return g.roster.changed }

// View returns the membership as it is believed to be now. Before Start it is
// empty.
func (g *Gossip) View() View { return g.roster.current() }

// Gone tells of runs that are known to have ended; if nobody reads, the oldest
// news is lost.
func (g *Gossip) Gone() <-chan Gone { return g.roster.gone }

// HTTP returns a listener for the connections on the port that speak HTTP.
// Close ends it. Before the first call such connections are closed at once.
func (g *Gossip) HTTP() net.Listener {
	g.mux.http.want()
	return g.mux.http
}

// Counters returns how much was refused or lost, by reason.
func (g *Gossip) Counters() map[string]uint64 { return g.ledger.totals() }

// Start takes part in the group as self and begins to join. Name, address and
// incarnation of self are this Gossip's own. It may be called once.
func (g *Gossip) Start(self seniority.Member, extra Extra) error {
	p := Peer{Member: self, Extra: extra, Advertise: g.advertised.text}
	p.Name, p.Addr, p.Incarnation = g.cfg.Name, g.advertised.addr, g.cfg.Incarnation
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
	g.roster.begin(p, len(seeds))
	g.mux.started.Store(true)
	if g.list, err = memberlist.Create(g.listConfig()); err != nil {
		return fmt.Errorf("gossip cannot start: %w", err)
	}
	g.wg.Add(1)
	go g.publisher(g.list)
	g.joiner = newJoiner(g.life, g, seeds)
	g.joiner.run()
	return nil
}

func (g *Gossip) parseSeeds() ([]seed, error) {
	port := uint16(g.cfg.BindPort)
	if port == 0 {
		port = defaultPort
	}
	var all []seed
	for _, s := range g.cfg.Seeds {
		sd, err := parseSeed(s, port)
		if err != nil {
			return nil, err
		}
		all = append(all, sd)
	}
	return all, nil
}

// listConfig is memberlist's LAN profile with this member's parts.
func (g *Gossip) listConfig() *memberlist.Config {
	d := &delegate{Gossip: g, started: time.Now()}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label, c.Transport, c.Keyring = g.cfg.Name, g.mux.label, g.mux, g.keyring
	c.BindPort, c.AdvertisePort = int(g.port), int(g.port)
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Merge = d, d, d, d, d
	c.TCPTimeout = streamLimit
	c.ProbeInterval, c.ProbeTimeout = g.cfg.ProbeInterval, g.cfg.ProbeInterval/2
	// A name that died may come back at another address at once: whether it
	// is dead was decided before.
	c.DeadNodeReclaimTime = time.Nanosecond
	c.PushPullInterval = 0 // see compare.go
	// Packets are small, and compressing each costs more than it saves.
	c.EnableCompression = false
	c.LogOutput = io.Discard
	if g.cfg.Log != nil {
		c.LogOutput = nil
		c.Logger = log.New(&memberlistLog{log: g.cfg.Log, ledger: g.ledger}, "", 0)
	}
	return c
}

// SetSelf publishes a new state of this member: join number, eligibility and
// the like. It never blocks; of several in a row only the last is published.
func (g *Gossip) SetSelf(self seniority.Member) {
	p := g.roster.own()
	self.Name, self.Addr, self.Incarnation = p.Name, p.Addr, p.Incarnation
	if p.Member == self {
		return
	}
	p.Member = self
	g.roster.setSelf(p)
	poke(g.publish)
}

// publisher tells memberlist of a new meta. UpdateNode tells everybody by
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
	if a == g.advertised.addr || a == netip.AddrPortFrom(g.bound, g.port) {
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
// have been accepted are left to whoever accepted them. When it returns, no
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
