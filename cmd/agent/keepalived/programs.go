package keepalived

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// A Program is a file that the settings name, to be written with mode 0755.
type Program struct {
	Path string
	Text string
}

// check is the health check of a unit.
type check struct {
	program           string // "": none
	interval, timeout time.Duration
	rise, fall        int
}

// health makes the health check of a unit. One script without arguments is taken
// as it is; several, or interfaces that are watched, make a program.
func (c *converter) health(u *unit) check {
	var k check
	var list []*script
	for _, l := range u.scripts {
		s := c.model.scripts[l.key()]
		if s == nil || s.command == "" {
			c.notes.add(l, "there is no vrrp_script of this name with a script")
			continue
		}
		if slices.Contains(list, s) {
			continue
		}
		list = append(list, s)
		if s.interval > 0 && (k.interval == 0 || s.interval < k.interval) {
			k.interval = s.interval
		}
		k.timeout = max(k.timeout, s.timeout)
		k.rise, k.fall = max(k.rise, s.rise), max(k.fall, s.fall)
	}
	for _, s := range list {
		if s.interval > 0 && s.interval != k.interval || s.timeout > 0 && s.timeout != k.timeout || s.rise > 0 && s.rise != k.rise || s.fall > 0 && s.fall != k.fall {
			c.notes.add(s.at, "the checks are one program here, with the shortest interval and the longest timeout, rise and fall of all")
		}
	}
	var commands []string
	for _, s := range list {
		commands = append(commands, s.command)
	}
	for _, iface := range u.watched() {
		commands = append(commands, fmt.Sprintf(`[ "$(cat '/sys/class/net/%s/carrier')" = 1 ]`, iface))
	}
	switch {
	case len(commands) == 0:
		return check{}
	case len(commands) == 1 && len(list) == 1 && list[0].plain:
		k.program = list[0].command
		return k
	}
	shell := "/bin/sh"
	if strings.Contains(strings.Join(commands, " "), "/dev/tcp/") {
		shell = "/bin/bash"
	}
	k.program = c.program(u, "health", "#!"+shell+"\n# Fails if one of these fails, as with track_script, track_process and track_interface.\nset -e\n"+
		strings.Join(commands, "\n")+"\n")
	return k
}

// watched are the interfaces that are watched besides those with an address, whose
// carrier counts anyway.
func (u *unit) watched() []string {
	var list []string
	for _, iface := range u.interfaces {
		carries := slices.ContainsFunc(u.addresses(), func(a string) bool { return strings.HasSuffix(a, "@"+iface) })
		if !carries && !slices.Contains(list, iface) {
			list = append(list, iface)
		}
	}
	return list
}

// hook makes the program that calls the notify scripts of a unit; "" for none.
// keepalived did not look at their exit status, so neither does it.
func (c *converter) hook(u *unit) string {
	by := map[string][]notify{}
	for _, n := range u.notify {
		by[n.state] = append(by[n.state], n)
	}
	release := "BACKUP"
	for _, state := range []string{"FAULT", "STOP"} {
		if len(by[release]) == 0 && len(by[state]) > 0 {
			release = state
		}
	}
	for _, state := range []string{"FAULT", "STOP"} {
		for _, n := range by[state] {
			if state != release && !slices.ContainsFunc(by[release], func(o notify) bool { return o.command == n.command }) {
				c.notes.add(n.at, "there is one event for the end of a leadership, release, for every reason (DOYEN_REASON says what): add the command there if it is to run")
			}
		}
	}
	if len(u.notify) == 0 {
		return ""
	}
	commands := func(state, to string) string {
		var b strings.Builder
		for _, n := range append(slices.Clone(by[state]), by[""]...) {
			command := n.command
			if n.state == "" {
				kind, name, _ := strings.Cut(u.source, " ")
				kind = map[string]string{"vrrp_instance": "INSTANCE", "vrrp_sync_group": "GROUP"}[kind]
				command = fmt.Sprintf("%s %s '%s' %s %d", command, kind, name, to, cmp.Or(u.priority(), defaultPriority))
			}
			fmt.Fprintf(&b, "\t%s || :\n", command)
		}
		if b.Len() == 0 {
			return "\t:\n"
		}
		return b.String()
	}
	return c.program(u, "hook", `#!/bin/sh
# Calls the notify scripts of `+u.source+` on the events of an agent.
# As in keepalived, their exit status is not looked at: without '|| :' an acquire
# that fails is tried again, and another node leads after three failures.
case $1 in
acquire)
`+commands("MASTER", "MASTER")+`	;;
release)
`+commands(release, "BACKUP")+`	;;
esac
`)
}

// defaultPriority is keepalived's.
const defaultPriority = 100

// program adds a program of a unit and returns its path.
func (c *converter) program(u *unit, kind, text string) string {
	p := Program{Path: path.Join(c.options.Programs, kind+"-"+u.name), Text: text}
	c.programs = append(c.programs, p)
	return p.Path
}
