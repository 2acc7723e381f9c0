package packages

import (
	"strings"
	"testing"
)

// config is that of a node which leads at once, alone.
const config = `# kept over an upgrade
lone-wait: 0s
bind-addr: 192.0.2.1
floating-ip: 192.0.2.10/24@eth0
hook: /usr/local/bin/hook
state-dir: /var/lib/doyen
`

// hook tells the journal what happens, and a file, because nobody takes what the
// keeper reports while its agent is stopped.
const hook = `#!/bin/sh
echo "the hook says $1 $DOYEN_REASON, as $(id -un)" | tee -a /var/lib/doyen/events
`

// testService takes the first package through the life of a service: installed,
// started, told to read its files again, killed in every way, upgraded to the next
// package, removed.
func testService(t *testing.T, first, next string) {
	b := newBox(t)
	install(b, first)
	if got := b.property("ActiveState"); got != "inactive" {
		t.Errorf("after the installation: want it inactive until it is configured, got %s", got)
	}
	b.run("systemd-analyze", "verify", "--man=no", "doyen.service")
	b.write("/etc/doyen/agent.yaml", config)
	b.write("/usr/local/bin/hook", hook)
	b.run("chmod", "755", "/usr/local/bin/hook")
	b.run("install", "-D", "/usr/share/doc/doyen/examples/floating-ip.conf", "/etc/systemd/system/doyen.service.d/floating-ip.conf")
	b.run("agent", "validate", "--config", "/etc/doyen/agent.yaml")
	b.run("systemctl", "daemon-reload")

	b.run("systemctl", "enable", "--now", "doyen")
	if got := b.property("StatusText"); !strings.HasPrefix(got, "leader, term ") {
		t.Errorf("status: want the leader, got %s", got)
	}
	b.until("the hook says acquire elected, as doyen")
	b.holds(true)
	priority := b.run("journalctl", "--unit", "doyen.service", "--grep", "msg=\"hook done\"", "--output", "json", "--output-fields", "PRIORITY,MESSAGE")
	if !strings.Contains(priority, `"PRIORITY":"6"`) || strings.Contains(priority, "time=") {
		t.Errorf("a line of the log: want the priority info and no time stamp, got %s", priority)
	}
	b.forget()
	b.run("systemctl", "reload", "doyen")
	b.until("read the log level again")
	b.until("Reloaded doyen.service")

	t.Run("agent killed", func(t *testing.T) { b.with(t).agentKilled() })
	t.Run("both killed", func(t *testing.T) { b.with(t).bothKilled() })
	t.Run("watchdog", func(t *testing.T) { b.with(t).watchdog() })
	t.Run("upgrade", func(t *testing.T) { b.with(t).upgrade(next) })
	t.Run("remove", func(t *testing.T) { b.with(t).remove() })
}

// with is the box for a part of the test.
func (b *box) with(t *testing.T) *box {
	c := *b
	c.t = t
	c.forget()
	return &c
}

// install installs a package. What is on this machine's file system is on that of
// the box, too.
func install(b *box, deb string) {
	b.t.Helper()
	b.run("dpkg", "--no-triggers", "--install", deb)
}

// holds checks whether the address, and the rules that guard it, are there.
func (b *box) holds(want bool) {
	b.t.Helper()
	b.eventually(func() string {
		addr, rules := b.run("ip", "address", "show", "dev", "eth0"), b.run("nft", "list", "tables")
		if strings.Contains(addr, "192.0.2.10/24") != want || strings.Contains(rules, "doyen_") != want {
			return "address and rules: want " + map[bool]string{true: "them", false: "none"}[want] + ", got\n" + addr + "\n" + rules
		}
		return ""
	})
}

// backFrom waits until the service, after some event, leads again as another
// process.
func (b *box) backFrom(pid string) {
	b.t.Helper()
	b.eventually(func() string {
		if now := b.property("MainPID"); now == pid || now == "0" || !strings.HasPrefix(b.property("StatusText"), "leader") {
			return "the service does not come back"
		}
		return ""
	})
}

// agentKilled: the keeper releases, and systemd lets it.
func (b *box) agentKilled() {
	pid := b.property("MainPID")
	b.run("kill", "-KILL", pid)
	b.until("the hook says release leader-died, as doyen")
	b.until("all is released")
	b.backFrom(pid)
	b.until("the hook says release stop, as doyen") // once more, from outside
	if strings.Contains(b.journal(), "SIGKILL") {
		b.t.Errorf("systemd has killed the keeper:\n%s", b.journal())
	}
}

// bothKilled: what nobody is left to give up is given up from outside.
func (b *box) bothKilled() {
	b.holds(true)
	b.write("/run/systemd/system/doyen.service.d/late.conf", "[Service]\nRestartSec=1h\n")
	b.run("systemctl", "daemon-reload")
	agent := b.property("MainPID")
	keeper := b.run("sh", "-c", "cat /proc/"+agent+"/task/*/children")
	b.run("kill", "-STOP", keeper) // or it might act between the two kills
	b.run("kill", "-KILL", keeper, agent)
	b.until("the hook says release stop, as doyen")
	b.holds(false)
	b.run("rm", "/run/systemd/system/doyen.service.d/late.conf")
	b.run("systemctl", "daemon-reload")
	b.run("systemctl", "restart", "doyen")
	b.holds(true)
}

// watchdog: an agent that has stopped is ended and started again, and its keeper
// releases in between.
func (b *box) watchdog() {
	b.write("/run/systemd/system/doyen.service.d/watchdog.conf", "[Service]\nWatchdogSec=1s\n")
	b.run("systemctl", "daemon-reload")
	b.run("systemctl", "restart", "doyen")
	b.forget()
	pid := b.property("MainPID")
	b.run("kill", "-STOP", pid)
	b.until("Watchdog timeout")
	b.backFrom(pid)
	if got := b.run("tail", "-n", "5", "/var/lib/doyen/events"); !strings.Contains(got, "release lease-lost") {
		b.t.Errorf("want the keeper to have released, got\n%s", got)
	}
	if strings.Contains(b.journal(), "SIGKILL") {
		b.t.Errorf("systemd has killed the keeper:\n%s", b.journal())
	}
	b.run("rm", "/run/systemd/system/doyen.service.d/watchdog.conf")
	b.run("systemctl", "daemon-reload")
}

// upgrade: the leader hands over, the new version starts, the configuration stays.
func (b *box) upgrade(next string) {
	pid := b.property("MainPID")
	install(b, next)
	b.backFrom(pid)
	b.until("the hook says release departed, as doyen")
	if got := b.run("agent", "status", "--json", "--addr", "192.0.2.1"); !strings.Contains(got, `"version": "1.0.1"`) {
		b.t.Errorf("want version 1.0.1, got %s", got)
	}
	if got := b.run("cat", "/etc/doyen/agent.yaml"); got != strings.TrimSpace(config) {
		b.t.Errorf("the configuration has changed to %s", got)
	}
}

// remove: the service ends first, what was configured and kept stays until it is
// purged.
func (b *box) remove() {
	b.run("dpkg", "--no-triggers", "--remove", "doyen")
	b.until("the hook says release departed, as doyen")
	b.holds(false)
	if got := b.property("LoadState") + " " + b.property("ActiveState"); got != "not-found inactive" {
		b.t.Errorf("the service: want it gone, got %s", got)
	}
	b.run("test", "-e", "/etc/doyen/agent.yaml", "-a", "-e", "/var/lib/doyen/term.json")
	b.run("dpkg", "--no-triggers", "--purge", "doyen")
	for _, path := range append(contents, "/etc/doyen", "/var/lib/doyen", "/usr/share/doc/doyen") {
		if _, err := b.try("test", "-e", path); err == nil {
			b.t.Errorf("after the purge %s is left", path)
		}
	}
}
