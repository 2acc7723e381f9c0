package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
)

// memberMark is set in the environment of a process that is a member: the
// address to bind, and after it those of the seeds.
const memberMark = "DOYEN_TEST_MEMBER"

// runMember is one agent that serves its API, until SIGTERM. It says its
// address on its output.
func runMember() int {
	addrs := strings.Fields(os.Getenv(memberMark))
	host, port, _ := net.SplitHostPort(addrs[0])
	number, err := strconv.Atoi(port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	a, err := agent.New(agent.Config{BindAddr: host, BindPort: &number, Seeds: addrs[1:], Logger: log})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go NewServer(Config{Agent: a, Log: log}).Serve(a.HTTP())
	fmt.Println(a.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := a.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// member is an agent with its API as a process of its own.
type member struct {
	t    *testing.T
	addr string // also its name
	cmd  *exec.Cmd
	log  strings.Builder
}

// startMember starts a member at an address, whose port may be 0, and returns
// when it listens. When the test ends it is killed.
func startMember(t *testing.T, addr string, seeds ...string) *member {
	t.Helper()
	m := &member{t: t, cmd: exec.Command(os.Args[0])}
	m.cmd.Env = append(os.Environ(), memberMark+"="+strings.Join(append([]string{addr}, seeds...), " "))
	m.cmd.Stderr = &m.log
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", m.addr, m.log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the member at %s does not start: %v", addr, err)
	}
	go io.Copy(io.Discard, out)
	m.addr = strings.TrimSpace(line)
	return m
}

// signal sends the member a signal; one that has ended needs none.
func (m *member) signal(s syscall.Signal) { _ = m.cmd.Process.Signal(s) }

// kill ends the member at once, and waits for its end.
func (m *member) kill() {
	m.signal(syscall.SIGKILL)
	_ = m.cmd.Wait()
}

// startThree starts three members one after another, which is their line of
// succession.
func startThree(t *testing.T) [3]*member {
	t.Helper()
	var group [3]*member
	for i := range group {
		var seeds []string
		for _, m := range group[:i] {
			seeds = append(seeds, m.addr)
		}
		group[i] = startMember(t, "127.0.0.1:0", seeds...)
		time.Sleep(10 * time.Millisecond) // so that their start times differ
	}
	return group
}
