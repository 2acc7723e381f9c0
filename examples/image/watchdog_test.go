//go:build linux

package image

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent"
)

// held is the address that the hook takes, which no kernel takes back by itself.
const held = "10.77.0.101"

// shellPort is where a shell of the leader's machine listens. The hook leaves it running.
const shellPort = "4999"

const watchdogHook = `#!/bin/sh
case $1 in
acquire)
	ip addr add ` + held + `/24 dev eth0
	nc -ll -p ` + shellPort + ` -e sh &
	;;
release) ip addr del ` + held + `/24 dev eth0 2>/dev/null || : ;;
esac
`

// freeze stops agent and keeper, and answers when they stand still.
const freeze = `all=$(for p in /proc/[0-9]*; do [ "$(readlink $p/exe)" = /bin/agent ] && echo ${p#/proc/}; done)
kill -STOP $all
until [ "$(for p in $all; do grep -h '^State:.*T' /proc/$p/status; done | wc -l)" = 2 ]; do :; done
echo frozen
`

// The leader's agent and keeper are frozen while its hook holds an address: its watchdog
// restarts the machine, and it comes back as a follower. A leader that hands over disarms
// its watchdog. A machine that lacks the device is no candidate, and says so.
func TestWatchdog(t *testing.T) {
	l := prepare(t, "DOYEN_VOTERS=seeds", "DOYEN_PROFILE="+*profile, "DOYEN_HOOK=/etc/hook", "DOYEN_WATCHDOG=/dev/watchdog")
	if *lease > 0 {
		l.words += " DOYEN_LEASE=" + lease.String()
	}
	l.initrd = withFile(t, l.initrd, "etc/hook", watchdogHook)
	l.guarded = func(number int) bool { return number != 13 }
	l.bootAll()
	without := l.machines[2]
	holders := l.watch(netip.MustParseAddr(held))

	first := l.leader(l.machines...)
	l.checkNoCandidate(without)
	second := l.others(first, without)[0]
	before, bound := l.checkGuarded(first)
	l.awaitHolder(holders, first)

	emulator, err := first.talk()
	if err != nil {
		t.Fatal(err)
	}
	defer emulator.Close()
	said := l.shell(first, freeze)
	frozen := time.Now()
	if said != "frozen\n" {
		t.Fatalf("want agent and keeper of %s frozen, got %q", first.addr, said)
	}
	restarted, err := emulator.await("WATCHDOG")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v after agent and keeper of %s were frozen its watchdog restarted it; the bound is %v", ms(restarted.Sub(frozen)), first.addr, bound)
	if restarted.Before(frozen) || restarted.Sub(frozen) > bound {
		t.Errorf("want the restart within %v, got %v", bound, restarted.Sub(frozen))
	}
	l.awaitHolder(holders, second)
	last := slices.MaxFunc(holders.from(first.mac), func(a, b proof) int { return a.asked.Compare(b.asked) })
	next := since(holders.from(second.mac), frozen)[0]
	t.Logf("%s held the address for %v after it was frozen; %s answered for it after %v: two did for %v",
		first.addr, ms(last.asked.Sub(frozen)), second.addr, ms(next.answered.Sub(frozen)), ms(max(0, last.asked.Sub(next.answered))))
	if stays := last.asked.Sub(frozen); stays > bound {
		t.Errorf("%v after it was frozen %s still held the address, want at most %v", stays, first.addr, bound)
	}
	l.checkNotUnseated(second)
	after, err := l.State(first.addr)
	if err != nil || after.StartTime <= before.StartTime {
		t.Errorf("want %s started again, got a start at %v, before at %v, %v", first.addr, after.StartTime, before.StartTime, err)
	}
	t.Logf("%s has started again, and follows", first.addr)
	l.checkDisarmed(second, first, bound)
}

// withFile appends an archive with one executable file to an initrd.
func withFile(t *testing.T, initrd, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	path, more := filepath.Join(dir, name), filepath.Join(dir, "initrd")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo "$1" | cpio --create --format=newc --owner=+0:+0 --quiet | gzip | cat "$2" - >initrd`, "sh", name, initrd)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return more
}

// checkNoCandidate checks what a machine whose watchdog is missing says of it.
func (l *lab) checkNoCandidate(m *machine) {
	l.t.Helper()
	s, err := l.State(m.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	i := slices.IndexFunc(s.Findings, func(f agent.Finding) bool { return f.What == "watchdog-unusable" })
	if s.Eligible || s.IsLeader || i < 0 {
		l.t.Fatalf("want %s no candidate for want of its watchdog, got eligible %v, findings %+v", m.addr, s.Eligible, s.Findings)
	}
	l.t.Logf("%s, which has no watchdog: %s", m.addr, s.Findings[i].Evidence)
	l.t.Logf("%s: %s", m.addr, l.reason(m, "no candidate: the watchdog cannot be armed"))
}

// checkGuarded checks that a leader's watchdog is armed, and returns its state and how
// long it says that the watchdog takes.
func (l *lab) checkGuarded(m *machine) (s agent.State, bound time.Duration) {
	l.t.Helper()
	s, err := l.State(m.addr)
	if err != nil || s.Watchdog == nil || !s.Watchdog.Armed {
		l.t.Fatalf("want the watchdog of %s armed, got %+v, %v", m.addr, s.Watchdog, err)
	}
	bound = time.Duration(s.Watchdog.TimeoutMS) * time.Millisecond
	l.t.Logf("%s, which leads: %s", m.addr, l.reason(m, fmt.Sprintf("its watchdog restarts the host within %v", bound)))
	return s, bound
}

// reason returns the sentence of a machine's /ready that contains some words.
func (l *lab) reason(m *machine, words string) string {
	l.t.Helper()
	var ready struct{ Reasons []string }
	_, body, err := l.Get(m.addr, "/ready")
	if err == nil {
		err = json.Unmarshal(body, &ready)
	}
	for _, r := range ready.Reasons {
		if strings.Contains(r, words) {
			return r
		}
	}
	l.t.Fatalf("want a reason %q of %s, got %s, %v", words, m.addr, body, err)
	return ""
}

// awaitHolder waits until m answers for the address that the hook takes, and no other
// machine does.
func (l *lab) awaitHolder(e *eyes, m *machine) {
	l.t.Helper()
	l.Eventually(patience, func() error { return e.onlyHolder(m.mac, time.Second) })
}

// shell has the shell of a leader's machine run a script, and returns the first line that it
// prints. The shell dies with the leadership.
func (l *lab) shell(m *machine, script string) string {
	l.t.Helper()
	var c net.Conn
	l.Eventually(patience, func() error {
		return l.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", net.JoinHostPort(m.addr.String(), shellPort), time.Second)
			return err
		})
	})
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, script); err != nil {
		l.t.Fatalf("the shell of %s: %v", m.addr, err)
	}
	line, _ := bufio.NewReader(c).ReadString('\n') // ends with the shell, too
	return line
}

// checkDisarmed has a leader hand over and checks that its machine goes on for longer
// than its watchdog takes.
func (l *lab) checkDisarmed(from, to *machine, bound time.Duration) {
	l.t.Helper()
	before, _ := l.checkGuarded(from)
	// A hook has the member's address as DOYEN_ADDR, to which only the token gives a right.
	// The other machine has just started, and may lead when a lease is over.
	l.shell(from, "until agent --addr 127.0.0.1 step-down; do sleep 1; done\n")
	if next := l.leader(l.machines...); next != to {
		l.t.Errorf("want %s to lead, got %s", to.addr, next.addr)
	}
	time.Sleep(bound + time.Second)
	after, err := l.State(from.addr)
	if err != nil || after.Watchdog.Armed || after.StartTime != before.StartTime {
		l.t.Errorf("want %s to go on with its watchdog disarmed, got %+v, a start at %v, before at %v, %v",
			from.addr, after.Watchdog, after.StartTime, before.StartTime, err)
	}
}
