package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"doyen/agent"
	"doyen/api"
)

const (
	// joinPatience is how long the service manager is kept waiting for a leader:
	// a node that is alone, or in a minority, has started all the same.
	joinPatience = 30 * time.Second
	// lookInterval is how often the notifier looks at the agent at least.
	lookInterval = time.Second
	// tellLimit is how long a message to a service manager that does not read
	// may take. The next one says it again.
	tellLimit = time.Second
)

// A notifier tells the service manager how the agent is (sd_notify(3)): that it
// has joined, in words what it does, that it reads its files again or leaves,
// and, for a watchdog, that the election loop turns. The nil one tells no manager.
type notifier struct {
	conn     net.Conn
	watchdog time.Duration // 0: none
	began    time.Time

	mu      sync.Mutex // for what follows
	ready   bool
	leaving bool
	status  string
	fed     time.Time
}

// notable is what a notifier looks at; *agent.Agent is one.
type notable interface {
	Live(limit time.Duration) error
	Joined() error
	Status() agent.Status
	Watch(context.Context) <-chan agent.Status
	Leaving() <-chan struct{}
}

// openNotifier connects to the service manager that wants to be told; nil if
// none does. It takes the variables that say so out of the environment: what
// the agent starts is not the service.
func openNotifier() (*notifier, error) {
	socket, watchdog, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("the environment: %w", err)
		}
	}
	if socket == "" {
		return nil, nil
	}
	// A name that begins with @ is one of the abstract namespace, as in systemd.
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	n := &notifier{conn: conn, began: time.Now()}
	if usec, err := strconv.ParseInt(watchdog, 10, 64); err == nil && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n, nil
}

// follow tells about a until the function returned is called, which ends it.
func (n *notifier) follow(a notable) (stop func()) {
	if n == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	interval := lookInterval
	if n.watchdog > 0 {
		interval = min(interval, n.watchdog/4)
	}
	var following sync.WaitGroup
	following.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		changes, leaving := a.Watch(ctx), a.Leaving()
		for {
			select {
			case <-ctx.Done():
				return
			case <-leaving:
				leaving = nil
				n.leave()
			case _, ok := <-changes:
				if !ok {
					changes = nil
				}
			case <-tick.C:
			}
			n.look(a, time.Now())
		}
	})
	return func() {
		cancel()
		following.Wait()
	}
}

// look tells what is new.
func (n *notifier) look(a notable, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var news []string
	joined, turns := a.Joined(), a.Live(api.LiveLimit) == nil
	if !n.ready && !n.leaving && turns && (joined == nil || now.Sub(n.began) > joinPatience) {
		n.ready = true
		news = append(news, "READY=1")
	}
	if status := describe(a.Status(), joined); status != n.status && !n.leaving {
		n.status = status
		news = append(news, "STATUS="+status)
	}
	if n.watchdog > 0 && turns && now.Sub(n.fed) >= n.watchdog/4 {
		n.fed = now
		news = append(news, "WATCHDOG=1")
	}
	n.say(news...)
}

// describe says in a few words what the agent does.
func describe(s agent.Status, joined error) string {
	switch {
	case s.IsLeader:
		return fmt.Sprintf("leader, term %d", s.Term)
	case s.Leader != "":
		return fmt.Sprintf("follows %s, term %d", clean(s.Leader), s.Term)
	case joined != nil:
		return clean(joined.Error())
	}
	return "there is no leader"
}

// leave tells that the agent is about to end.
func (n *notifier) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaving = true
	n.say("STOPPING=1", "STATUS=leaving the group")
}

// whileReloading calls reload, and tells that it runs and that it has ended. An
// agent that is not ready yet, or no more, must not seem to be.
func (n *notifier) whileReloading(reload func()) {
	if n == nil || !n.sayIfReady(reloading()...) {
		reload()
		return
	}
	reload()
	n.sayIfReady("READY=1")
}

// reloading is the message that a reload begins; its time tells the service
// manager which of its requests is being answered.
func reloading() []string {
	now, err := monotonic()
	if err != nil {
		return []string{"RELOADING=1"}
	}
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Microseconds())}
}

func (n *notifier) sayIfReady(lines ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready || n.leaving {
		return false
	}
	n.say(lines...)
	return true
}

// say sends lines as one message. Nothing depends on whether it arrives.
func (n *notifier) say(lines ...string) {
	if len(lines) == 0 {
		return
	}
	_ = n.conn.SetWriteDeadline(time.Now().Add(tellLimit))
	_, _ = n.conn.Write([]byte(strings.Join(lines, "\n")))
}
