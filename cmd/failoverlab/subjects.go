//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// subject is something that holds a floating address on three hosts.
type subject struct {
	name, about string
	// command is the program for a host; files go to dir. Subjects measured
	// together share no name.
	command func(name string, o *options, h *host, dir string) (*exec.Cmd, error)
	// decider is the process on a host that decides, for faults that hit it alone.
	decider func(h *host) (pid int, err error)
	// ready says whether the hosts agree that leader leads, and that it could
	// fail over now: a fault is measured by itself, not on top of the last one.
	ready func(ctx context.Context, n *network, leader int) bool
	// version is the version measured.
	version func(o *options) string
	// profile and quorum are the agent's; the profile is empty for others.
	profile string
	quorum  bool
}

// subjects is everything that can be measured.
var subjects = allSubjects()

func allSubjects() []*subject {
	var list []*subject
	for _, profile := range []string{"edge", "fast", "lan"} {
		for _, quorum := range []bool{false, true} {
			for _, hook := range []bool{false, true} {
				list = append(list, doyen(profile, quorum, hook))
			}
		}
	}
	list = append(list,
		keepalived("keepalived", "keepalived with 0.1 s adverts", "0.1"),
		keepalived("keepalived-20ms", "keepalived with 0.02 s adverts", "0.02"),
		keepalived("keepalived-10ms", "keepalived with 0.01 s adverts", "0.01"),
		keepalived("keepalived-default", "keepalived with its default of 1 s adverts", "1"))
	for _, s := range slices.Clone(list) {
		if s.quorum {
			list = append(list, withStore(s))
		}
	}
	for _, s := range slices.Clone(list) {
		list = append(list, inRealTime(s))
	}
	return list
}

// withStore is a subject whose voters keep a store, in which nothing is written but who
// leads.
func withStore(s *subject) *subject {
	st := *s
	st.name, st.about = s.name+"-store", s.about+", with the store"
	st.command = func(name string, o *options, h *host, dir string) (*exec.Cmd, error) {
		cmd, err := s.command(name, o, h, dir)
		if err == nil {
			cmd.Args = append(cmd.Args, "--store", "on", "--state-dir", filepath.Join(dir, name+"-"+h.name+"-state"))
		}
		return cmd, err
	}
	return &st
}

// inRealTime is a subject whose processes are scheduled in real time, as
// examples/systemd/edge.conf has it.
func inRealTime(s *subject) *subject {
	rt := *s
	rt.name, rt.about = s.name+"-rt", s.about+", scheduled in real time"
	rt.command = func(name string, o *options, h *host, dir string) (*exec.Cmd, error) {
		cmd, err := s.command(name, o, h, dir)
		if err != nil {
			return nil, err
		}
		inside := exec.Command("chrt", append([]string{"--rr", "50"}, cmd.Args...)...)
		cmd.Path, cmd.Args, cmd.Err = inside.Path, inside.Args, inside.Err
		return cmd, nil
	}
	return &rt
}

// agentPort is the agents' port on every host.
const agentPort = 4000

func doyen(profile string, quorum, hook bool) *subject {
	s := &subject{
		name:    "doyen-" + profile,
		about:   "the agent, --profile " + profile,
		decider: func(h *host) (int, error) { return h.main.pid, nil },
		ready:   agentsAgree,
		version: func(o *options) string { return firstLine(o.agent, "version") },
		profile: profile, quorum: quorum,
	}
	mode, carrier := "available mode", "the built-in floating address"
	if quorum {
		s.name, mode = s.name+"-quorum", "quorum mode"
	}
	if hook {
		s.name, carrier = s.name+"-hook", "the address moved by a hook"
	}
	s.about += ", " + mode + ", " + carrier
	s.command = func(name string, o *options, h *host, dir string) (*exec.Cmd, error) {
		var seeds []string
		for i := range o.hosts {
			seeds = append(seeds, fmt.Sprintf("10.77.0.%d:%d", i+1, agentPort))
		}
		addr := netip.AddrPortFrom(h.ip, agentPort)
		// The hosts of subjects that are measured together have the same names and
		// one process table: a cluster of its own keeps a keeper off their hooks.
		cmd := exec.Command(o.agent, "run", "--bind-port", fmt.Sprint(agentPort),
			"--advertise-addr", addr.String(), "--seeds", strings.Join(seeds, ","), "--cluster", name,
			"--profile", profile, "--log-level", "debug")
		float := netip.PrefixFrom(floatIP, floatLen).String()
		if quorum {
			cmd.Args = append(cmd.Args, "--voters", "seeds")
		}
		if hook {
			cmd.Args = append(cmd.Args, "--hook", o.hook)
			cmd.Env = append(os.Environ(), "FLOATING_IP="+float, "FLOATING_DEV=eth0")
		} else {
			cmd.Args = append(cmd.Args, "--floating-ip", float+"@eth0")
		}
		return cmd, nil
	}
	return s
}

// agentsAgree asks every agent who leads and whether it is ready for a failover.
func agentsAgree(ctx context.Context, n *network, leader int) bool {
	want := netip.AddrPortFrom(n.hosts[leader].ip, agentPort).String()
	for _, h := range n.hosts {
		if ctx.Err() != nil {
			return false
		}
		client := clientOn(h)
		defer client.CloseIdleConnections()
		addr := onLoopback(agentPort)
		var state struct {
			Members []string `json:"members"`
			Leader  string   `json:"leader"`
		}
		if ask(client, http.MethodGet, addr, "/state", &state, http.StatusOK) != nil || state.Leader != want ||
			len(state.Members) != len(n.hosts) || ask(client, http.MethodGet, addr, "/ready", nil, http.StatusOK) != nil {
			return false
		}
	}
	return true
}

// keepalived is Debian's package, as it is usually tuned: no host is preferred,
// for a host that comes back need not take the address again.
func keepalived(name, about, advert string) *subject {
	return &subject{
		name: name, about: about,
		command: func(_ string, _ *options, h *host, dir string) (*exec.Cmd, error) {
			// A file of an earlier run, with a process id that is used again, would
			// keep it from starting.
			dir, err := os.MkdirTemp(dir, h.name)
			if err != nil {
				return nil, err
			}
			config := filepath.Join(dir, "keepalived.conf")
			text := fmt.Sprintf(`global_defs {
	vrrp_version 3
}
vrrp_instance lab {
	state BACKUP
	nopreempt
	interface eth0
	virtual_router_id 77
	priority %d
	advert_int %s
	virtual_ipaddress {
		%s
	}
}
`, 150-10*h.index, advert, netip.PrefixFrom(floatIP, floatLen))
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				return nil, err
			}
			file := func(kind string) string { return filepath.Join(dir, kind+".pid") }
			return exec.Command("keepalived", "--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--use-file", config,
				"--pid", file("main"), "--vrrp_pid", file("vrrp"), "--checkers_pid", file("checkers")), nil
		},
		decider: vrrpChild,
		ready:   func(context.Context, *network, int) bool { return true },
		version: func(*options) string { return firstLine("keepalived", "--version") },
	}
}

// vrrpChild is the process of keepalived that speaks VRRP; the main one only
// starts it again.
func vrrpChild(h *host) (int, error) {
	pids := slices.DeleteFunc(h.pids(), func(pid int) bool { return pid == h.main.pid })
	if len(pids) != 1 {
		return 0, fmt.Errorf("%s: want one VRRP process besides keepalived's main one, got %v", h.name, pids)
	}
	return pids[0], nil
}

// firstLine is the first line that a program prints.
func firstLine(name string, args ...string) string {
	text, err := runChild(exec.Command(name, args...))
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if err != nil {
		line = strings.TrimSpace(line + " (" + err.Error() + ")")
	}
	return line
}

// provide makes ready what the chosen subjects need.
func (o *options) provide(ctx context.Context) error {
	dir, err := os.MkdirTemp(filesDir, "failoverlab")
	if err != nil {
		return fmt.Errorf("making a directory for files: %w", err)
	}
	o.dir, o.logs = dir, cmp.Or(o.logs, dir)
	if err := os.MkdirAll(o.logs, 0o755); err != nil {
		return fmt.Errorf("-logs: %w", err)
	}
	names := func(part string) bool {
		return slices.ContainsFunc(o.subjects, func(s *subject) bool { return strings.Contains(s.name, part) })
	}
	if names("keepalived") {
		if _, err := exec.LookPath("keepalived"); err != nil {
			return fmt.Errorf("keepalived is to be measured: %w", err)
		}
	}
	if names("-hook") {
		// A copy of root's own: the agent refuses a hook that others could change.
		text, err := os.ReadFile(o.hook)
		if err != nil {
			return fmt.Errorf("-hook: %w", err)
		}
		o.hook = filepath.Join(dir, "hook")
		if err := os.WriteFile(o.hook, text, 0o700); err != nil {
			return fmt.Errorf("copying the hook: %w", err)
		}
	}
	if !names("doyen") || o.agent != "" {
		return nil
	}
	o.agent = filepath.Join(dir, "agent")
	build := exec.CommandContext(ctx, "go", "build", "-o", o.agent, "./cmd/agent")
	if out, err := runChild(build); err != nil {
		return fmt.Errorf("building ./cmd/agent (or give -agent): %w\n%s", err, out)
	}
	return nil
}
