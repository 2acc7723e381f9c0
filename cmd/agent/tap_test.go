package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// A tap stands between a node and all that send to it, and keeps copies
// of what they send: all of the group's gossip, as somebody on the wire sees it.
type tap struct {
	t  *testing.T
	to string

	mu       sync.Mutex
	packets  [][]byte
	streams  [][]byte
	open     map[net.Conn]struct{}
	finished bool
}

const (
	tapPackets = 4096
	tapStreams = 256
)

// newTap puts a tap before a node that has not been started: the node is known
// by the tap's address and listens at another.
func newTap(t *testing.T, n *node) *tap {
	t.Helper()
	_, port, _ := net.SplitHostPort(n.name)
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	n.args[slices.Index(n.args, "--bind-port")+1] = ports[0]
	p := &tap{t: t, to: "127.0.0.1:" + ports[0], open: map[net.Conn]struct{}{}}
	tcp, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.forwardPackets(udp) })
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.forwardStream(c) })
		}
	})
	t.Cleanup(func() {
		tcp.Close()
		udp.Close()
		p.mu.Lock()
		p.finished = true
		for c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *tap) forwardPackets(from net.PacketConn) {
	to, err := net.Dial("udp", p.to)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer to.Close()
	for buf := make([]byte, 1<<16); ; {
		n, _, err := from.ReadFrom(buf)
		if err != nil {
			return
		}
		to.Write(buf[:n])
		p.keep(&p.packets, buf[:n], tapPackets)
	}
}

func (p *tap) forwardStream(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	if !p.track(c, to) {
		return
	}
	defer p.forget(c, to)
	go func() {
		io.Copy(c, to)
		c.Close()
	}()
	var seen bytes.Buffer
	io.Copy(to, io.TeeReader(c, &seen))
	if b := seen.Bytes(); len(b) > 2 && b[0] == 244 { // gossip, not this test's HTTP
		p.keep(&p.streams, b, tapStreams)
	}
}

func (p *tap) track(all ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range all {
		p.open[c] = struct{}{}
	}
	return !p.finished
}

func (p *tap) forget(all ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range all {
		delete(p.open, c)
	}
}

// keep adds a copy to a list, whose oldest makes room.
func (p *tap) keep(list *[][]byte, b []byte, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *list = append(*list, bytes.Clone(b)); len(*list) > most {
		*list = (*list)[1:]
	}
}

// enough is nil once there is something of every kind.
func (p *tap) enough() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.packets) < 20 || len(p.streams) < 2 {
		return fmt.Errorf("got %d packets and %d streams, want more to send again", len(p.packets), len(p.streams))
	}
	return nil
}

// seen returns a capture, chosen by the number given.
func (p *tap) seen(list *[][]byte, i int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone((*list)[i%len(*list)])
}
