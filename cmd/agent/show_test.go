package main

import (
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// Only what a group has is shown: a hook, and floating
// addresses.
func TestShowHookAndAddresses(t *testing.T) {
	plain := agent.State{Name: "a"}
	pid, since := 77, time.Now()
	rich := agent.State{
		Name: "b", Hook: &agent.HookRun{Event: "acquire"},
		Command:  &agent.CommandState{Argv0: "/bin/sleep", PID: &pid, Since: &since},
		Watchdog: &agent.WatchdogState{Device: "/dev/watchdog", Armed: true, TimeoutMS: 2000},
		Addresses: []agent.AddressState{
			{Address: "192.0.2.10/24", Interface: "eth0", Held: true, Since: time.Now()}, {Address: "2001:db8::10/64", Interface: "eth1"},
		},
	}
	diagnosed := func(states ...agent.State) string {
		d := diagAnswer{MemberStates: map[string]memberState{}}
		for _, s := range states {
			d.MemberStates[s.Name] = memberState{State: s}
		}
		var b strings.Builder
		showDiag(&b, d, "")
		return b.String()
	}
	status := func(s agent.State) string {
		var b strings.Builder
		showState(&b, s, "")
		return b.String()
	}
	ready := func(hook bool) string {
		var b strings.Builder
		showFailover(&b, 0, 0, 0, hook)
		return b.String()
	}
	for _, c := range []struct {
		what, got string
		want, not []string
	}{
		{"diag without", diagnosed(plain), nil, []string{"HOOK", "ADDRESS"}},
		{"diag with", diagnosed(plain, rich), []string{"HOOK", "ADDRESS", "holds 192.0.2.10/24 on eth0", "acquire: exit 0"}, []string{"2001:db8"}},
		{"status without", status(plain), nil, []string{"hook", "floating", "command", "watchdog"}},
		{"status with", status(rich), []string{"hook", "floating", "/bin/sleep runs as process 77 since ", "/dev/watchdog is armed", "holds 192.0.2.10/24 on eth0 since ", "does not hold 2001:db8::10/64 on eth1"}, nil},
		{"ready without", ready(false), nil, []string{"hook"}},
		{"ready with", ready(true), []string{"the hook's own time"}, nil},
	} {
		for _, want := range c.want {
			if !strings.Contains(c.got, want) {
				t.Errorf("%s: want %q in\n%s", c.what, want, c.got)
			}
		}
		for _, not := range c.not {
			if strings.Contains(c.got, not) {
				t.Errorf("%s: want no %q in\n%s", c.what, not, c.got)
			}
		}
	}
}

// A row that ends early leaves the columns of the others as they are.
func TestTable(t *testing.T) {
	var b strings.Builder
	table(&b, []string{"A", "BB", "C"}, []string{"aaaa", "", "c"}, []string{"a", "no answer: refused"}, []string{"ä", "bbb", "c"})
	want := "A     BB   C\naaaa  -    c\na     no answer: refused\nä     bbb  c\n"
	if got := b.String(); got != want {
		t.Errorf("want\n%s, got\n%s", want, got)
	}
}
