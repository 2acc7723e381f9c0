package packages

import (
	"strings"
	"testing"
)

// config is for a node that leads alone at once.
const config = `# kept over an upgrade
lone-wait: 0s
bind-addr: 192.0.2.1
floating-ip: 192.0.2.10/24@eth0
hook: /usr/local/bin/hook
state-dir: /var/lib/doyen
`

// hook writes its events to the journal, and to a file, because the keeper's output is
// not read while its agent is stopped.
const hook = `#!/bin/sh
echo "the hook says $1 $DOYEN_REASON, as $(id -un)" | tee -a /var/lib/doyen/events
`

// testService installs the first package, and starts, reloads and kills the service in
// every way, upgrades it to the next package, and removes it.
func testService(t *testing.T, first, next string) {
	b := newHost(t)
	install(b, first)
	if got := b.property("ActiveState"); got != "inactive" {
		t.Errorf("after the installation: want it inactive until it is configured, got %s", got)
	}
	b.Run("systemd-analyze", "verify", "--man=no", "doyen.service")
	b.Write("/etc/doyen/agent.yaml", config)
	b.Write("/usr/local/bin/hook", hook)
	b.Run("chmod", "755", "/usr/local/bin/hook")
	b.Run("install", "-D", "/usr/share/doc/doyen/examples/floating-ip.conf", "/etc/systemd/system/doyen.service.d/floating-ip.conf")
	b.Run("agent", "validate", "--config", "/etc/doyen/agent.yaml")
	b.Run("systemctl", "daemon-reload")

	b.Run("systemctl", "enable", "--now", "doyen")
	if got := b.property("StatusText"); !strings.HasPrefix(got, "leader, term ") {
		t.Errorf("status: want the leader, got %s", got)
	}
	b.until("the hook says acquire elected, as doyen")
	b.holds(true)
	priority := b.Run("journalctl", "--unit", "doyen.service", "--grep", "msg=\"hook done\"", "--output", "json", "--output-fields", "PRIORITY,MESSAGE")
	if !strings.Contains(priority, `"PRIORITY":"6"`) || strings.Contains(priority, "time=") {
		t.Errorf("a line of the log: want the priority info and no time stamp, got %s", priority)
	}
	b.forget()
	b.Run("systemctl", "reload", "doyen")
	b.until("read the log level again")
	b.until("Reloaded doyen.service")

	t.Run("agent killed", func(t *testing.T) { b.with(t).agentKilled() })
	t.Run("both killed", func(t *testing.T) { b.with(t).bothKilled() })
	t.Run("watchdog", func(t *testing.T) { b.with(t).watchdog() })
	t.Run("upgrade", func(t *testing.T) { b.with(t).upgrade(next) })
	t.Run("remove", func(t *testing.T) { b.with(t).remove() })
}

// with returns the box for a part of the test.
func (b *host) with(t *testing.T) *host {
	c := host{Box: b.With(t), t: t}
	c.forget()
	return &c
}

// install installs a package. The box sees this machine's file system.
func install(b *host, deb string) {
	b.t.Helper()
	b.Run("dpkg", "--no-triggers", "--install", deb)
}

// holds checks whether the address, and the rules that guard it, are there.
func (b *host) holds(want bool) {
	b.t.Helper()
	b.eventually(func() string {
		addr, rules := b.Run("ip", "address", "show", "dev", "eth0"), b.Run("nft", "list", "tables")
		if strings.Contains(addr, "192.0.2.10/24") != want || strings.Contains(rules, "doyen_") != want {
			return "address and rules: want " + map[bool]string{true: "them", false: "none"}[want] + ", got\n" + addr + "\n" + rules
		}
		return ""
	})
}

// backFrom waits until the service leads again, as another process, after an event.
func (b *host) backFrom(pid string) {
	b.t.Helper()
	b.eventually(func() string {
		if now := b.property("MainPID"); now == pid || now == "0" || !strings.HasPrefix(b.property("StatusText"), "leader") {
			return "the service does not come back"
		}
		return ""
	})
}

// agentKilled: the keeper releases, and systemd does not kill it.
func (b *host) agentKilled() {
	pid := b.property("MainPID")
	b.Run("kill", "-KILL", pid)
	b.until("the hook says release leader-died, as doyen")
	b.until("all is released")
	b.backFrom(pid)
	b.until("the hook says release stop, as doyen") // again, from ExecStopPost=
	if strings.Contains(b.journal(), "SIGKILL") {
		b.t.Errorf("systemd has killed the keeper:\n%s", b.journal())
	}
}

// bothKilled: ExecStopPost= releases when agent and keeper are dead.
func (b *host) bothKilled() {
	b.holds(true)
	b.Write("/run/systemd/system/doyen.service.d/late.conf", "[Service]\nRestartSec=1h\n")
	b.Run("systemctl", "daemon-reload")
	agent := b.property("MainPID")
	keeper := b.Run("sh", "-c", "cat /proc/"+agent+"/task/*/children")
	b.Run("kill", "-STOP", keeper) // so that it does not act between the two kills
	b.Run("kill", "-KILL", keeper, agent)
	b.until("the hook says release stop, as doyen")
	b.holds(false)
	b.Run("rm", "/run/systemd/system/doyen.service.d/late.conf")
	b.Run("systemctl", "daemon-reload")
	b.Run("systemctl", "restart", "doyen")
	b.holds(true)
}

// watchdog: systemd kills and restarts an agent that hangs, and the keeper releases in
// between. The watchdog is slower than the lease, so that the lease ends first.
func (b *host) watchdog() {
	b.Write("/run/systemd/system/doyen.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\n")
	b.Run("systemctl", "daemon-reload")
	b.Run("systemctl", "restart", "doyen")
	b.forget()
	pid := b.property("MainPID")
	b.Run("kill", "-STOP", pid)
	b.until("Watchdog timeout")
	b.backFrom(pid)
	if got := b.Run("tail", "-n", "5", "/var/lib/doyen/events"); !strings.Contains(got, "release lease-lost") {
		b.t.Errorf("want the keeper to have released, got\n%s", got)
	}
	if strings.Contains(b.journal(), "SIGKILL") {
		b.t.Errorf("systemd has killed the keeper:\n%s", b.journal())
	}
	b.Run("rm", "/run/systemd/system/doyen.service.d/watchdog.conf")
	b.Run("systemctl", "daemon-reload")
}

// upgrade: the leader hands over, the new version starts, the configuration stays.
func (b *host) upgrade(next string) {
	pid := b.property("MainPID")
	install(b, next)
	b.backFrom(pid)
	b.until("the hook says release departed, as doyen")
	if got := b.Run("agent", "status", "--json", "--addr", "192.0.2.1"); !strings.Contains(got, `"version": "1.0.1"`) {
		b.t.Errorf("want version 1.0.1, got %s", got)
	}
	if got := b.Run("cat", "/etc/doyen/agent.yaml"); got != strings.TrimSpace(config) {
		b.t.Errorf("the configuration has changed to %s", got)
	}
}

// remove: the service ends first; its configuration and state stay until the purge.
func (b *host) remove() {
	b.Run("dpkg", "--no-triggers", "--remove", "doyen")
	b.until("the hook says release departed, as doyen")
	b.holds(false)
	if got := b.property("LoadState") + " " + b.property("ActiveState"); got != "not-found inactive" {
		b.t.Errorf("the service: want it gone, got %s", got)
	}
	b.Run("test", "-e", "/etc/doyen/agent.yaml", "-a", "-e", "/var/lib/doyen/term.json")
	b.Run("dpkg", "--no-triggers", "--purge", "doyen")
	for _, path := range append(contents, "/etc/doyen", "/var/lib/doyen", "/usr/share/doc/doyen") {
		if _, err := b.Try("test", "-e", path); err == nil {
			b.t.Errorf("after the purge %s is left", path)
		}
	}
}
