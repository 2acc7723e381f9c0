//go:build linux

// Package container tests the image of the Dockerfile without a container engine: the
// test makes its file system, and each container is a process in namespaces of its
// own, on a switch whose name server knows all of them by one name.
package container

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/lan"
)

// patience is how long a test waits for an event that takes a second or two on a quiet
// machine. No test asserts the time that it really takes.
const patience = 60 * time.Second

// The name of the service, which is the seed of its containers, and their network.
const (
	service = "agent"
	gateway = "10.88.0.1" // the name server as well
)

// An engine runs containers of one image.
type engine struct {
	t          *testing.T
	lan        *lan.LAN
	image      *image
	names      *nameServer
	containers []*container // the running ones
	started    int
}

// container is a running container.
type container struct {
	cmd  *exec.Cmd
	addr netip.Addr
	log  string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	runtime.LockOSThread() // containers end with the thread that has started them
	e := &engine{t: t, lan: lan.New(t, []string{"nsenter"}, gateway+"/24"), image: buildImage(t)}
	e.names = serveNames(t, e.lan, gateway)
	return e
}

// run starts a container, as `docker run` or `docker compose up` would.
func (e *engine) run(args ...string) *container {
	e.t.Helper()
	e.started++
	c := &container{
		addr: netip.AddrFrom4([4]byte{10, 88, 0, byte(e.started + 1)}),
		log:  filepath.Join(e.t.TempDir(), "log"),
	}
	log, err := os.Create(c.log)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	plugged, plug, err := os.Pipe()
	if err != nil {
		e.t.Fatal(err)
	}
	defer plugged.Close()
	defer plug.Close()
	c.cmd = e.image.command(plugged, args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		e.t.Fatalf("starting a container: %v", err)
	}
	e.t.Cleanup(func() { e.remove(c) })
	e.lan.Plug(c.cmd.Process.Pid, c.addr.String()+"/24")
	e.containers = append(e.containers, c)
	e.names.set(e.addrs())
	return c
}

func (e *engine) addrs() []netip.Addr {
	var list []netip.Addr
	for _, c := range e.containers {
		list = append(list, c.addr)
	}
	return list
}

// kill sends a signal to a container's first process and waits for its end.
func (e *engine) kill(c *container, s syscall.Signal) (exit int) {
	e.t.Helper()
	c.cmd.Process.Signal(s)
	return e.wait(c)
}

// wait waits for a container's end and returns its exit code, -1 if it was
// killed.
func (e *engine) wait(c *container) int {
	e.t.Helper()
	overdue := time.AfterFunc(patience, func() {
		e.t.Errorf("the container at %s does not end", c.addr)
		c.cmd.Process.Kill()
	})
	c.cmd.Wait()
	overdue.Stop()
	e.containers = slices.DeleteFunc(e.containers, func(x *container) bool { return x == c })
	e.names.set(e.addrs())
	return c.cmd.ProcessState.ExitCode()
}

func (e *engine) remove(c *container) {
	if c.cmd.ProcessState == nil {
		e.kill(c, syscall.SIGKILL)
	}
	if e.t.Failed() {
		log, _ := os.ReadFile(c.log)
		e.t.Logf("log of %s:\n%s", c.addr, log)
	}
}

// leader waits until all containers agree on a leader.
func (e *engine) leader() (*container, agent.State) {
	e.t.Helper()
	s := e.lan.Leader(e.addrs(), patience)
	for _, c := range e.containers {
		if strings.HasPrefix(s.Addr, c.addr.String()+":") {
			return c, s
		}
	}
	e.t.Fatalf("the leader %s is no container", s.Addr)
	return nil, s
}

// inside returns the pid, on this host, of the only process of a container whose
// parent is the first process and whose command line holds arg.
func (c *container) inside(arg string) (int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var children []string
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		children = append(children, strings.Fields(string(text))...)
	}
	for _, pid := range children {
		line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if slices.Contains(strings.Split(string(line), "\x00"), arg) {
			var n int
			_, err := fmt.Sscan(pid, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("the container at %s has no process of %q", c.addr, arg)
}

// Five containers of one image and one command line, with the name of their service as
// seed, have one leader. When its container is killed, they have another, and a
// container that replaces it follows.
func TestScale(t *testing.T) {
	e := newEngine(t)
	const scale = 5
	command := append(composeCommand(t), "--lease", "5s") // a busy machine may be slow
	for range scale {
		e.run(command...)
	}
	first, before := e.leader()
	e.kill(first, syscall.SIGKILL)
	second, after := e.leader()
	if after.Term <= before.Term {
		t.Errorf("want a term above %d, got %d", before.Term, after.Term)
	}
	e.run(command...)
	if third, s := e.leader(); third != second || s.Term != after.Term {
		t.Errorf("want %s to go on leading in term %d, got %s in %d", second.addr, after.Term, third.addr, s.Term)
	}
	if exit := e.kill(second, syscall.SIGTERM); exit != 0 {
		t.Errorf("want a container that is stopped to exit with 0, got %d", exit)
	}
	if _, s := e.leader(); s.Reason != "succeeded" {
		t.Errorf("want a leader that has succeeded the one stopped, got one %s", s.Reason)
	}
}

// The first process of a container reaps all orphans.
func TestOrphansAreReaped(t *testing.T) {
	e := newEngine(t)
	c := e.run("--lone-wait", "0s")
	e.leader()
	// Like `docker exec`: a shell that leaves a process behind.
	const orphan = "1000.25"
	if out, err := exec.Command("nsenter", "--pid", "--target", fmt.Sprint(c.cmd.Process.Pid),
		"sh", "-c", "sleep "+orphan+" >/dev/null 2>&1 &").CombinedOutput(); err != nil {
		t.Fatalf("nsenter: %v: %s", err, out)
	}
	var pid int
	e.lan.Eventually(patience, func() (err error) {
		pid, err = c.inside(orphan)
		return err
	})
	syscall.Kill(pid, syscall.SIGKILL)
	e.lan.Eventually(patience, func() error {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			return fmt.Errorf("the orphan is still there: %s", stat)
		}
		return nil
	})
}

// When the agent is killed within its container, the keeper outlives it and
// cleans up, and the others need not wait for the lease.
func TestKeeperOutlivesItsAgent(t *testing.T) {
	e := newEngine(t)
	for range 2 {
		// A lease longer than this test could wait for.
		e.run("--seeds", service, "--lease", "5m")
	}
	c, s := e.leader()
	if s.KeeperPID == nil || s.PID == 1 {
		t.Errorf("want a keeper, and an agent that is not the first process, got %+v", s)
	}
	pid, err := c.inside("--seeds")
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	if exit, want := e.wait(c), 128+int(syscall.SIGKILL); exit != want {
		t.Errorf("want the container to exit like its agent, with %d, got %d", want, exit)
	}
	log, err := os.ReadFile(c.log)
	if err != nil || !strings.Contains(string(log), "all is released") {
		t.Errorf("want a keeper that has released, got %v:\n%s", err, log)
	}
	e.lan.Eventually(patience, func() error {
		s, err := e.lan.State(e.containers[0].addr)
		if err == nil && !s.IsLeader {
			err = fmt.Errorf("%s does not lead", s.Name)
		}
		return err
	})
}
