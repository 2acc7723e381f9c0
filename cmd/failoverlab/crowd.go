//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"doyen/agent"
)

// A crowd is one large group of agents with the profile lan, all in one network
// namespace, each with an address of its own on the loopback interface. What it costs at
// rest, how long it needs to follow another leader, and whether it keeps its leader while
// members are stopped, as by Dadgar et al. (Lifeguard: local health awareness for more
// accurate failure detection, DSN-W 2018), for 0.1 to 32 s at a time.
type crowd struct {
	o       *options
	members []*crowdMember
	client  http.Client
}

// crowdMember is an agent of the crowd.
type crowdMember struct {
	addr netip.AddrPort
	cmd  *exec.Cmd
}

const (
	// startEvery is how long after a member the next is started: all at once, they would
	// keep each other from the processors for minutes.
	startEvery = 200 * time.Millisecond
	// crowdEvery is how often all members are asked who leads.
	crowdEvery = 500 * time.Millisecond
	// longestStop is the longest that a member is stopped for.
	longestStop = 32 * time.Second
	// crowdPatience is how long a crowd may take to follow one leader.
	crowdPatience = 5 * time.Minute
)

// measureCrowd starts a crowd and prints what it shows.
func measureCrowd(ctx context.Context, o *options, stdout io.Writer) error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("the loopback interface: %w", err)
	}
	c := &crowd{o: o, client: http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}}
	began := now()
	for i := range o.crowd {
		m := &crowdMember{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i&255 + 1)}), agentPort)}
		c.members = append(c.members, m)
		if err := c.start(m); err != nil {
			return err
		}
		if err := sleep(ctx, startEvery); err != nil {
			return err
		}
	}
	leader, _, err := c.followed(ctx, c.members, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d members: started %v apart, all follow one %.1f s after the first was started\n", o.crowd, startEvery, (now() - began).Seconds())
	if err := c.known(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "all know all after %.1f s\n", (now() - began).Seconds())
	if err := c.rest(ctx, stdout); err != nil {
		return err
	}
	var times []time.Duration
	for range o.runs {
		var took time.Duration
		if leader, took, err = c.failOver(ctx, leader); err != nil {
			return err
		}
		times = append(times, took)
	}
	fmt.Fprintf(stdout, "agent and keeper of the leader killed: all others follow another after %s, %d runs\n", spreadOf(times), len(times))
	return c.stops(ctx, leader, stdout)
}

// start starts a member, whose first three are the seeds.
func (c *crowd) start(m *crowdMember) error {
	var seeds []string
	for i := range 3 {
		seeds = append(seeds, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, 0, byte(i + 1)}), agentPort).String())
	}
	log, err := os.OpenFile(filepath.Join(c.o.logs, "crowd-"+m.addr.Addr().String()+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("-logs: %w", err)
	}
	defer log.Close()
	m.cmd = exec.Command(c.o.agent, "run", "--bind-addr", m.addr.Addr().String(), "--bind-port", strconv.Itoa(agentPort),
		"--seeds", strings.Join(seeds, ","), "--cluster", "crowd")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	return startChild(m.cmd)
}

// ask gets a call's JSON from a member.
func (c *crowd) ask(ctx context.Context, m *crowdMember, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.addr.String()+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// leaders are the leaders that these members name, at most eight asked at a time; "" for one
// that names none or does not answer.
func (c *crowd) leaders(ctx context.Context, members []*crowdMember) []string {
	names := make([]string, len(members))
	var asked sync.WaitGroup
	places := make(chan struct{}, 8)
	for i, m := range members {
		places <- struct{}{}
		asked.Go(func() {
			var l agent.Leader
			if c.ask(ctx, m, "/leader?format=json", &l) == nil {
				names[i] = l.Leader
			}
			<-places
		})
	}
	asked.Wait()
	return names
}

// without are all members but these.
func (c *crowd) without(these ...*crowdMember) []*crowdMember {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *crowdMember) bool { return slices.Contains(these, m) })
}

// followed waits until members follow one leader, and not the one given.
func (c *crowd) followed(ctx context.Context, members []*crowdMember, not string) (leader *crowdMember, at time.Duration, err error) {
	for end := now() + crowdPatience; now() < end; {
		names := c.leaders(ctx, members)
		if first := names[0]; first != "" && first != not && !slices.ContainsFunc(names, func(n string) bool { return n != first }) {
			for _, m := range c.members {
				if m.addr.String() == first {
					return m, now(), nil
				}
			}
			return nil, 0, fmt.Errorf("the leader %s is no member", first)
		}
		if err := sleep(ctx, crowdEvery); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("not all members follow one leader within %v", crowdPatience)
}

// known waits until each member knows all.
func (c *crowd) known(ctx context.Context) error {
	for end := now() + crowdPatience; now() < end; {
		all := true
		for _, m := range c.members {
			var s agent.State
			if all = c.ask(ctx, m, "/state", &s) == nil && len(s.Members) == len(c.members); !all {
				break
			}
		}
		if all {
			return nil
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("not all members know all within %v", crowdPatience)
}

// rest measures what a member costs while nothing happens and nothing is asked. Gossip
// repeats the news of the start for the first minutes.
func (c *crowd) rest(ctx context.Context, stdout io.Writer) error {
	if err := sleep(ctx, settleIdle+time.Duration(len(c.members))*300*time.Millisecond); err != nil {
		return err
	}
	cpu, packets, err := c.used()
	if err != nil {
		return err
	}
	began := now()
	if err := sleep(ctx, c.o.calm); err != nil {
		return err
	}
	cpuAfter, packetsAfter, err := c.used()
	if err != nil {
		return err
	}
	per := (now() - began).Seconds() * float64(len(c.members))
	pss := 0
	for _, pid := range processes() {
		if n, err := pssOf(pid); err == nil {
			pss += n
		}
	}
	fmt.Fprintf(stdout, "at rest for %v, a member: %v of CPU a second, %.1f packets a second, %.1f MiB (PSS, agent and keeper)\n", c.o.calm,
		time.Duration(float64(cpuAfter-cpu)/per).Round(time.Microsecond), float64(packetsAfter-packets)/per, float64(pss)/1024/float64(len(c.members)))
	return nil
}

// used is what all processes but this one have used of the processors, and all packets.
func (c *crowd) used() (cpu time.Duration, packets uint64, err error) {
	for _, pid := range processes() {
		if used, _, err := cpuOf(pid); err == nil {
			cpu += used
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return 0, 0, err
	}
	return cpu, lo.Attrs().Statistics.TxPackets, nil
}

// failOver kills agent and keeper of the leader, and starts it again once all others
// follow another.
func (c *crowd) failOver(ctx context.Context, leader *crowdMember) (next *crowdMember, took time.Duration, err error) {
	var s agent.State
	if err := c.ask(ctx, leader, "/state", &s); err != nil {
		return nil, 0, err
	}
	began := now()
	if s.KeeperPID != nil {
		_ = syscall.Kill(*s.KeeperPID, syscall.SIGKILL)
	}
	_ = leader.cmd.Process.Kill()
	_ = waitChild(leader.cmd)
	next, at, err := c.followed(ctx, c.without(leader), leader.addr.String())
	if err != nil {
		return nil, 0, err
	}
	if err := c.start(leader); err != nil {
		return nil, 0, err
	}
	if _, _, err := c.followed(ctx, c.members, ""); err != nil {
		return nil, 0, err
	}
	return next, at - began, sleep(ctx, settleIdle)
}

// stops stops a quarter of the members, not the leader, again and again, and counts which leader
// the others name.
func (c *crowd) stops(ctx context.Context, leader *crowdMember, stdout io.Writer) error {
	random := rand.New(rand.NewPCG(c.o.seed, 1))
	candidates := c.without(leader)
	random.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	stopped := candidates[:len(c.members)/4]
	until, cancel := context.WithTimeout(ctx, c.o.calm)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range stopped {
		pauses := rand.New(rand.NewPCG(random.Uint64(), 1))
		all.Go(func() {
			for until.Err() == nil {
				_ = m.cmd.Process.Signal(syscall.SIGSTOP)
				_ = sleep(until, 100*time.Millisecond+time.Duration(pauses.Int64N(int64(longestStop))))
				_ = m.cmd.Process.Signal(syscall.SIGCONT)
				_ = sleep(until, time.Second+time.Duration(pauses.Int64N(int64(longestStop))))
			}
		})
	}
	well := c.without(stopped...)
	others, none, looks := 0, 0, 0
	for until.Err() == nil {
		for _, name := range c.leaders(ctx, well) {
			switch name {
			case leader.addr.String():
			case "":
				none++
			default:
				others++
			}
			looks++
		}
		_ = sleep(until, time.Second)
	}
	all.Wait()
	fmt.Fprintf(stdout, "%d members stopped for 0.1 to 32 s at a time, for %v: of %d answers of the others, %d named another leader and %d none\n",
		len(stopped), c.o.calm, looks, others, none)
	if others > 0 {
		return errors.New("the leader was well, and did not stay")
	}
	return ctx.Err()
}
