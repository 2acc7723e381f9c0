package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestCloudEvents(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		quiet := func(event, node string, want int) {
			t.Helper()
			if requests, _ := m.counted(func() { m.run(want, node, event, "DOYEN_REASON=startup") }); requests != 0 {
				t.Errorf("%s made %d requests, want none", event, requests)
			}
		}
		quiet("release", "a", 0) // at start
		m.run(1, "a", "check")
		m.run(0, "a", "acquire")
		m.checkHolder(m.a)
		if _, writes := m.counted(func() { m.run(0, "a", "acquire") }); writes != 0 {
			t.Errorf("acquire of what is held made %d assignments, want none", writes)
		}
		if requests, _ := m.counted(func() { m.run(0, "a", "check") }); requests != 1 {
			t.Errorf("check made %d requests, want 1", requests)
		}
		quiet("change", "b", 0)
		quiet("no-such-event", "b", 64)

		quiet("release", "a", 0) // on a hand-over
		m.run(0, "b", "acquire")
		m.checkHolder(m.b)
		quiet("release", "a", 0) // late, while b leads
		m.run(0, "b", "check")
		m.run(1, "a", "check")
		m.checkHolder(m.b)
	})
}

// TestCloudSlowAction: acquire succeeds when the assignment has ended with success, not
// when it has begun.
func TestCloudSlowAction(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		if !m.lasting {
			t.Skip("an assignment takes no time here")
		}
		m.do(func() { m.holder, m.polls, m.failures = m.b, 2, 1 })
		_, writes := m.counted(func() { m.run(0, "a", "acquire") })
		m.checkHolder(m.a)
		if writes != 2 {
			t.Errorf("got %d assignments, want one that fails and one more", writes)
		}
		m.do(func() {
			if m.refused != 0 {
				t.Errorf("%d assignments were asked for while one was under way", m.refused)
			}
		})
	})
}

// TestCloudHiccups: after a temporary error the hook tries again.
func TestCloudHiccups(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		m.do(func() { m.holder = m.b })
		series := [][]fault{
			{{status: 500}, {status: 429}, {status: 503}},
			{{status: 500, write: true}, {status: 423, write: true}, {status: 422, write: true}, {status: 409, write: true}},
		}
		if !m.lasting {
			series[1] = []fault{{status: 500, write: true}, {status: 400, write: true}} // IncorrectInstanceState
		}
		for i, node := range []string{"a", "b"} {
			m.meet(series[i]...)
			m.run(0, node, "acquire")
			m.checkHolder(map[string]string{"a": m.a, "b": m.b}[node])
			m.do(func() {
				if len(m.faults) != 0 {
					t.Errorf("%d faults were not met", len(m.faults))
				}
			})
		}
	})
}

// TestCloudRefusal: a permanent error is reported at once. A check fails only if the
// address is certainly elsewhere.
func TestCloudRefusal(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		for _, c := range []struct{ status, check int }{{401, 0}, {403, 0}, {404, 1}, {500, 0}} {
			m.meet(fault{status: c.status})
			m.run(c.check, "a", "check")
			if c.status == 500 {
				continue
			}
			m.meet(fault{status: c.status})
			var r run
			requests, _ := m.counted(func() { r = m.run(1, "a", "acquire") })
			if requests != 1 {
				t.Errorf("after %d acquire made %d requests, want 1", c.status, requests)
			}
			if r.out == "" {
				t.Errorf("after %d acquire reported nothing", c.status)
			}
		}
		m.checkHolder("")
	})
}

// TestCloudToken: a token file that is missing or not valid is named, and nothing is sent.
func TestCloudToken(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		if !m.lasting {
			t.Skip("there is no token")
		}
		setting := "DIGITALOCEAN_TOKEN_FILE="
		if m.hook == hetzner.hook {
			setting = "HCLOUD_TOKEN_FILE="
		}
		for _, path := range []string{"/nonexistent", m.file("quoted", `a"b`), m.file("empty", ""), m.file("two", "a\nb\n")} {
			var r run
			if n, _ := m.counted(func() { r = m.run(1, "a", "acquire", setting+path) }); n != 0 || !strings.Contains(r.out, path) {
				t.Errorf("got %d requests and %q, want none and %s named", n, r.out, path)
			}
		}
		wrong := m.file("wrong", "dop_v1_another")
		if r := m.run(1, "a", "acquire", setting+wrong); !strings.Contains(r.out, wrong) {
			t.Errorf("got %q, want %s named", r.out, wrong)
		}
		m.run(0, "a", "check", setting+wrong)
	})
}

// TestCloudDeadline: a run ends by itself before its deadline, even if the API hangs. At
// most twice, a run that was too slow on a loaded machine is repeated.
func TestCloudDeadline(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		// A machine under load starts processes late.
		const limit, late = 3 * time.Second, 3 * time.Second
		ends := func(event string, want int) {
			t.Helper()
			r := m.within(limit, "a", event)
			for range 2 {
				if r.took > limit {
					r = m.within(limit, "a", event)
				}
			}
			if r.exit != want || r.took > limit+late {
				t.Errorf("%s: got exit %d after %v, want %d within %v", event, r.exit, r.took, want, limit)
			}
		}
		m.meet(fault{}) // the API does not answer
		ends("acquire", 1)
		ends("check", 0)
		m.meet(slices.Repeat([]fault{{status: 500}}, 1000)...) // the API does not recover
		ends("acquire", 1)
		m.meet(fault{write: true}) // an assignment is not answered
		ends("acquire", 1)
		m.meet()
		if m.lasting {
			m.do(func() { m.polls = -1 }) // an action does not end
			ends("acquire", 1)
		}
		m.do(func() { m.deaf = true })
		if n, _ := m.counted(func() { ends("acquire", 1); ends("check", 0); ends("release", 0) }); n != 0 {
			t.Errorf("without the metadata service there were %d requests, want none", n)
		}
	})
}

// awaitRequest waits for a request of the API.
func (m *mock) awaitRequest() {
	m.t.Helper()
	select {
	case <-m.seen:
	case <-time.After(deadline):
		m.t.Fatal("there was no request")
	}
}

// TestCloudSlowSuccess: node a loses the leadership while its assignment is under way.
// Its acquire is killed, but the assignment succeeds. The new leader waits for its end,
// and then has the address.
func TestCloudSlowSuccess(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		if !m.lasting {
			t.Skip("an assignment takes no time here")
		}
		m.do(func() { m.polls = -1 })
		a, _ := m.start(deadline, "a", "acquire")
		for open := false; !open; m.do(func() { open = m.action.open }) {
			m.awaitRequest()
		}
		kill(a)
		a.Wait()
		m.run(0, "a", "release")

		acquired := make(chan run)
		before := 0
		m.do(func() { before = m.requests })
		go func() { acquired <- m.within(deadline, "b", "acquire") }()
		for waits := false; !waits; m.do(func() { waits = m.requests > before+2 }) {
			m.awaitRequest()
		}
		m.do(func() {
			if m.writes != 1 {
				t.Errorf("there were %d assignments while the first was under way, want 1", m.writes)
			}
			m.end() // a has it
			m.polls = 0
		})
		if r := <-acquired; r.exit != 0 {
			t.Fatalf("acquire on b: got exit %d, want 0", r.exit)
		}
		m.checkHolder(m.b)
		m.run(0, "b", "check")
	})
}

// TestCloudLateRequest: node a is killed, and its request arrives when node b already has
// the address. b's check notices, and its acquire takes the address back.
func TestCloudLateRequest(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		late := make(chan struct{})
		arrive := sync.OnceFunc(func() { close(late) })
		t.Cleanup(arrive)
		m.meet(fault{write: true, late: late})
		a, _ := m.start(deadline, "a", "acquire")
		for taken := false; !taken; m.do(func() { taken = len(m.faults) == 0 }) {
			m.awaitRequest()
		}
		kill(a)
		a.Wait()
		m.run(0, "b", "acquire")
		m.checkHolder(m.b)

		arrive()
		for arrived := false; !arrived; time.Sleep(time.Millisecond) {
			m.do(func() { m.tick(); arrived = m.holder == m.a })
		}
		m.run(0, "a", "release") // a's restart changes nothing
		m.checkHolder(m.a)
		m.run(1, "b", "check")
		m.run(0, "b", "acquire")
		m.checkHolder(m.b)
		m.run(0, "b", "check")
	})
}

// TestCloudSecrets: no secret is in the arguments or the environment of a process, where
// other users may read it.
func TestCloudSecrets(t *testing.T) {
	clouds(t, func(t *testing.T, m *mock) {
		m.meet(fault{})
		cmd, _ := m.start(deadline, "a", "acquire")
		defer cmd.Wait()
		defer kill(cmd)
		m.awaitRequest()
		told := ""
		for _, pid := range group(t, cmd.Process.Pid) {
			for _, file := range []string{"cmdline", "environ"} {
				content, err := os.ReadFile(filepath.Join("/proc", pid, file))
				if err != nil {
					t.Logf("process %s has ended: %v", pid, err)
				}
				told += strings.ReplaceAll(string(content), "\x00", " ") + "\n"
			}
		}
		if !strings.Contains(told, "curl ") {
			t.Fatalf("no curl is among the processes:\n%s", told)
		}
		for _, s := range m.secrets {
			if strings.Contains(told, s) {
				t.Errorf("other users can read the secret %q:\n%s", s, told)
			}
		}
	})
}

// group lists the processes of a process group.
func group(t *testing.T, pgid int) (pids []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		var pid int
		fmt.Sscan(filepath.Base(dir), &pid)
		if got, err := syscall.Getpgid(pid); err == nil && got == pgid {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}
