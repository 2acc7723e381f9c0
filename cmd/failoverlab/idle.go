//go:build linux

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"doyen/agent"

	"github.com/vishvananda/netlink"
)

// What agents cost while nothing happens: processor time, waking up, packets and
// bytes of each host, memory. Nothing observes meanwhile, so that all that a host
// sends is its agent's.

// An idle case is agents of one profile, with a floating address for each election.
type idleCase struct {
	profile   string
	quorum    bool
	elections int // with the group's own
}

// name is what the report calls it.
func (c *idleCase) name() string {
	if c.quorum {
		return c.profile + "-quorum"
	}
	return c.profile
}

// load is what the programs of a host have used, or use.
type load struct {
	agent, keeper       time.Duration // on a processor
	wakes               int           // of all threads of both
	packets, bytes      uint64        // sent
	agentPSS, keeperPSS int           // KiB
}

// settleIdle is how long agents run before they are measured: gossip repeats for
// some seconds the news of their start, and the placement moves elections.
const settleIdle = 15 * time.Second

// measureIdle measures every case in turn, as often as wanted, and prints a table.
func measureIdle(ctx context.Context, o *options, stdout io.Writer) error {
	fmt.Fprintf(stdout, "| case | elections | run | host | agent CPU | keeper CPU | of a core | wakes/s | packets/s | bytes/s | agent PSS | keeper PSS |\n")
	fmt.Fprintf(stdout, "|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for run := 1; run <= o.runs; run++ {
		for i := range o.idleCases {
			c := &o.idleCases[i]
			if err := o.runIdle(ctx, c, run, stdout); err != nil {
				return fmt.Errorf("%s with %d elections: %w", c.name(), c.elections, err)
			}
		}
	}
	return nil
}

// runIdle measures one case once.
func (o *options) runIdle(ctx context.Context, c *idleCase, run int, stdout io.Writer) error {
	n, err := newNetwork(hostCount)
	if err != nil {
		return err
	}
	defer n.close()
	for _, h := range n.hosts {
		if err := o.startIdle(c, h); err != nil {
			return err
		}
	}
	leader, err := idleLeader(ctx, n)
	if err != nil {
		return err
	}
	if err := sleep(ctx, settleIdle); err != nil {
		return err
	}
	var before, after [hostCount]load
	began := now()
	for i, h := range n.hosts {
		if before[i], err = h.load(); err != nil {
			return err
		}
	}
	if err := sleep(ctx, o.idle); err != nil {
		return err
	}
	took := now() - began
	for i, h := range n.hosts {
		if after[i], err = h.load(); err != nil {
			return err
		}
	}
	for i := range n.hosts {
		role := "follower"
		if i == leader {
			role = "leader"
		}
		after[i].less(&before[i]).print(stdout, c, run, role, took)
	}
	return nil
}

func (l load) less(before *load) *load {
	l.agent -= before.agent
	l.keeper -= before.keeper
	l.wakes -= before.wakes
	l.packets -= before.packets
	l.bytes -= before.bytes
	return &l
}

func (l *load) print(w io.Writer, c *idleCase, run int, role string, took time.Duration) {
	s := took.Seconds()
	perSecond := func(d time.Duration) time.Duration { return time.Duration(float64(d) / s).Round(time.Microsecond) }
	fmt.Fprintf(w, "| %s | %d | %d | %s | %v | %v | %.2f %% | %.0f | %.1f | %.0f | %.1f MiB | %.1f MiB |\n",
		c.name(), c.elections, run, role, perSecond(l.agent), perSecond(l.keeper), 100*(l.agent+l.keeper).Seconds()/s,
		float64(l.wakes)/s, float64(l.packets)/s, float64(l.bytes)/s, float64(l.agentPSS)/1024, float64(l.keeperPSS)/1024)
}

// startIdle starts an agent with further elections.
func (o *options) startIdle(c *idleCase, h *host) error {
	var seeds []string
	for i := range hostCount {
		seeds = append(seeds, fmt.Sprintf("10.77.0.%d:%d", i+1, agentPort))
	}
	args := []string{"run", "--bind-port", fmt.Sprint(agentPort), "--advertise-addr", netip.AddrPortFrom(h.ip, agentPort).String(),
		"--seeds", strings.Join(seeds, ","), "--cluster", "idle", "--profile", c.profile,
		"--floating-ip", netip.PrefixFrom(floatIP, floatLen).String() + "@eth0"}
	if c.quorum {
		args = append(args, "--voters", "seeds")
	}
	if c.elections > 1 {
		file := filepath.Join(o.logs, fmt.Sprintf("idle-%d.yaml", c.elections))
		if err := os.WriteFile(file, []byte(furtherElections(c.elections-1)), 0o644); err != nil {
			return fmt.Errorf("-logs: %w", err)
		}
		args = append(args, "--config", file, "--rebalance-delay", "1s")
	}
	log, err := os.OpenFile(filepath.Join(o.logs, "idle-"+h.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("-logs: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(o.agent, args...)
	cmd.Stdout, cmd.Stderr = log, log
	return h.start(cmd)
}

// furtherElections is what a configuration file says of n elections.
func furtherElections(n int) string {
	text, ip := "elections:\n", floatIP
	for i := range n {
		ip = ip.Next()
		text += fmt.Sprintf("  e%d: {floating-ip: %v@eth0}\n", i+1, netip.PrefixFrom(ip, floatLen))
	}
	return text
}

// idleLeader waits until all agents follow one, and returns its host.
func idleLeader(ctx context.Context, n *network) (int, error) {
	for end := now() + settleLimit; now() < end; {
		for i := range n.hosts {
			if agentsAgree(ctx, n, i) {
				return i, nil
			}
		}
		if err := sleep(ctx, 10*lookEvery); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("the agents do not agree on a leader within %v", settleLimit)
}

// load reads what the host's agent and keeper have used until now.
func (h *host) load() (l load, err error) {
	pids := h.pids()
	slices.Sort(pids) // the agent starts the keeper
	if len(pids) != 2 {
		return l, fmt.Errorf("%s: want agent and keeper, got processes %v", h.name, pids)
	}
	wakes := 0
	if l.agent, wakes, err = cpuOf(pids[0]); err != nil {
		return l, err
	}
	if l.keeper, l.wakes, err = cpuOf(pids[1]); err != nil {
		return l, err
	}
	l.wakes += wakes
	if l.agentPSS, err = pssOf(pids[0]); err != nil {
		return l, err
	}
	if l.keeperPSS, err = pssOf(pids[1]); err != nil {
		return l, err
	}
	return l, h.do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		stats := eth0.Attrs().Statistics
		l.packets, l.bytes = stats.TxPackets, stats.TxBytes
		return nil
	})
}

// cpuOf returns the time that the threads of a process have had a processor, and
// how often they gave it up to wait. What threads have used that have ended is
// missing; at rest none ends.
func cpuOf(pid int) (cpu time.Duration, wakes int, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread + "/schedstat")
		if err != nil {
			return 0, 0, err
		}
		ns, err := strconv.ParseInt(string(bytes.Fields(text)[0]), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s/schedstat: %w", thread, err)
		}
		n, err := numberIn(thread+"/status", "voluntary_ctxt_switches:")
		if err != nil {
			return 0, 0, err
		}
		cpu, wakes = cpu+time.Duration(ns), wakes+n
	}
	return cpu, wakes, nil
}

// pssOf is the memory of a process in KiB, what is shared counted in part.
func pssOf(pid int) (int, error) { return numberIn(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:") }

// numberIn returns the number after a word that begins a line of a file.
func numberIn(file, word string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == word {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("%s has no line %s", file, word)
}

// idleFlags declares the flags for measuring at rest, and returns what takes them in.
func idleFlags(f *flag.FlagSet) func(*options) error {
	idle := f.Duration("idle", 0, "instead of the scenarios, measure what agents cost at rest for so long (0: not)")
	profiles := f.String("profiles", "lan,lan-quorum,fast-quorum", "profiles to measure at rest, comma-separated; with -quorum: in quorum mode")
	elections := f.String("elections", "1", "numbers of elections, with an address each, to measure at rest, comma-separated")
	return func(o *options) (err error) {
		o.idle = *idle
		o.idleCases, err = idleCases(*profiles, *elections)
		return err
	}
}

// idleCases reads the profiles and numbers of elections to be measured.
func idleCases(profiles, elections string) (list []idleCase, err error) {
	for _, name := range strings.Split(profiles, ",") {
		for _, text := range strings.Split(elections, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 1+agent.MaxElections {
				return nil, fmt.Errorf("-elections: %q is no number of elections between 1 and %d", text, 1+agent.MaxElections)
			}
			profile, quorum := strings.CutSuffix(name, "-quorum")
			list = append(list, idleCase{profile: profile, quorum: quorum, elections: n})
		}
	}
	return list, nil
}
