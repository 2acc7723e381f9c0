package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTime is how long an agent of the demonstration may take to leave.
const stopTime = 10 * time.Second

// A demoNode is one agent of the demonstration.
type demoNode struct {
	addr   string // also its name
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
}

// The ports that agents are given to listen on lie below those that Linux takes
// for outgoing connections (ip_local_port_range), any of which another program
// may take between our finding it free and the agent's binding it.
const lowestPort, portCount = 20000, 12000

// freePorts returns ports of this host that are free for TCP and UDP. All are
// held until the last is found, so that they differ.
func freePorts(count int) ([]string, error) {
	var ports []string
	for _, offset := range rand.Perm(portCount) {
		if len(ports) == count {
			return ports, nil
		}
		port := strconv.Itoa(lowestPort + offset)
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue // taken
		}
		defer l.Close()
		u, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			continue
		}
		defer u.Close()
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("fewer than %d free ports from %d on", count, lowestPort)
}

func (n *demoNode) pid() int { return n.cmd.Process.Pid }

func (n *demoNode) client() *client { return &client{addr: n.addr, timeout: answerTime} }

// answers reports whether the agent answers at all.
func (n *demoNode) answers(ctx context.Context) bool {
	_, err := n.client().get(ctx, "/ping", http.StatusOK)
	return err == nil
}

// args is the agent's command line.
func (n *demoNode) args(d *demonstration) []string {
	var seeds []string
	for _, n := range d.nodes {
		seeds = append(seeds, n.addr)
	}
	host, port, err := net.SplitHostPort(n.addr)
	if err != nil {
		panic("the address of a listener: " + err.Error())
	}
	return []string{"--bind-addr", host, "--bind-port", port, "--seeds", strings.Join(seeds, ","), "--hook", d.hook()}
}

func (n *demoNode) log(d *demonstration) string {
	return filepath.Join(d.dir, strings.ReplaceAll(n.addr, ":", "_")+".log")
}

// lastWords is the end of the agent's log.
func (n *demoNode) lastWords(d *demonstration) string {
	data, err := os.ReadFile(n.log(d))
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimSpace(data)
	return string(data[bytes.LastIndexByte(data, '\n')+1:])
}

// start starts the agent's process and has its end reported. It must run on
// the goroutine that keeps its thread.
func (d *demonstration) start(n *demoNode) error {
	log, err := os.OpenFile(n.log(d), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	n.cmd = exec.Command(d.exe, n.args(d)...)
	n.cmd.Stderr = log
	n.cmd.Env = withoutSettings(os.Environ())
	// A process group of its own keeps the terminal's ^C from the agents, which
	// the demonstration stops in good order; if it is killed itself, they end.
	n.cmd.SysProcAttr = dieTogether()
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("starting an agent: %w", err)
	}
	exited, cmd := make(chan struct{}), n.cmd
	n.exited = exited
	go func() {
		cmd.Wait() // how it ended is not the point: that it did is reported
		close(exited)
		select {
		case d.ended <- n:
		default: // no reader is there any more: the demonstration is stopping
		}
	}()
	return nil
}

func (n *demoNode) signal(s syscall.Signal) { n.cmd.Process.Signal(s) }

// stop makes every agent leave, and kills one that does not.
func (d *demonstration) stop() {
	for _, n := range d.nodes {
		if n.cmd != nil {
			n.signal(syscall.SIGTERM)
		}
	}
	deadline := time.After(stopTime)
	for _, n := range d.nodes {
		if n.cmd == nil {
			continue
		}
		select {
		case <-n.exited:
		case <-deadline:
			n.signal(syscall.SIGKILL)
			<-n.exited
		}
	}
}

// withoutSettings removes the settings of the user's own agent from an
// environment.
func withoutSettings(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, "DOYEN_") {
			out = append(out, e)
		}
	}
	return out
}
