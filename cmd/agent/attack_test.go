package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	crand "crypto/rand"
	bigendian "encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doyen/agent"
)

// An attack sends to the port of agents what strangers can send, all kinds at
// the same time and for as long as it runs.
type attack struct {
	t     *testing.T
	addrs []string // of the ports themselves
	tap   *tap
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
	sent  map[string]*atomic.Int64
	idle  sync.Map // connections that are only held
}

// hostileTexts are what no log, terminal, page or scrape must be led by.
var hostileTexts = []string{
	"\x1b[2J\x1b[31mred", "a\nlevel=ERROR msg=forged", "a\r\nX: y", "<script>alert(1)</script>", "\x00", "\xff\xfe",
	"\u202eevil", "\u009b31m", "{{.}}", "a\"} 1\n", strings.Repeat("x", 4000), "../../etc/passwd", "' OR 1=1 --", "",
}

// label is what stands before everything of memberlist in the group.
var label = fmt.Sprintf("\xf4%cdoyen/%s", len("doyen/"+agent.DefaultCluster), agent.DefaultCluster)

func newAttack(t *testing.T, nodes []*node, p *tap, encrypted bool) *attack {
	a := &attack{t: t, tap: p, sent: map[string]*atomic.Int64{}}
	for _, n := range nodes[1:] {
		a.addrs = append(a.addrs, n.name)
	}
	a.addrs = append(a.addrs, p.to)
	a.ctx, a.end = context.WithCancel(t.Context())
	packet := func(what string, every time.Duration, make func(*rand.Rand) []byte) {
		a.run(what, every, func(r *rand.Rand, to string) { a.packet(to, make(r)) })
	}
	stream := func(what string, every time.Duration, make func(*rand.Rand) []byte) {
		a.run(what, every, func(r *rand.Rand, to string) { a.stream(to, make(r)) })
	}
	const often, seldom = 2 * time.Millisecond, 20 * time.Millisecond
	packet("random packets", often, func(r *rand.Rand) []byte { return random(r, 4000) })
	packet("random packets behind the label", often, func(r *rand.Rand) []byte { return behind(label, random(r, 2000)) })
	packet("packets of ours with rubbish", often, func(r *rand.Rand) []byte { return behind(label+"\x08", random(r, 1000)) })
	packet("wills of no member", often, func(r *rand.Rand) []byte { return behind("\xda"+label[1:], random(r, 200)) })
	packet("packets under a wrong key", often, func(r *rand.Rand) []byte { return behind(label, sealed(random(r, 1000), label[2:])) })
	packet("packets sent again", often, func(r *rand.Rand) []byte { return p.seen(&p.packets, r.Int()) })
	packet("packets sent again, cut short", often, func(r *rand.Rand) []byte { return cut(r, p.seen(&p.packets, r.Int())) })
	packet("members with hostile names", often, func(r *rand.Rand) []byte { return behind(label+"\x04", hostileNode(r, "Node")) })
	stream("random streams", seldom, func(r *rand.Rand) []byte { return random(r, 100_000) })
	stream("random streams behind the label", seldom, func(r *rand.Rand) []byte { return behind(label, random(r, 100_000)) })
	stream("streams sent again", seldom, func(r *rand.Rand) []byte { return p.seen(&p.streams, r.Int()) })
	stream("streams sent again, cut short", seldom, func(r *rand.Rand) []byte { return cut(r, p.seen(&p.streams, r.Int())) })
	stream("lists of thousands of members", 200*time.Millisecond, func(r *rand.Rand) []byte { return behind(label, exchange(r, 8000)) })
	stream("lists that never come", seldom, func(r *rand.Rand) []byte { return behind(label, exchange(r, 0)) })
	stream("streams that claim 20 MB", seldom, func(r *rand.Rand) []byte { return behind(label+"\x0a\x01\x31\x2d\x00", random(r, 1<<20)) })
	stream("streams under a wrong key", seldom, func(r *rand.Rand) []byte {
		b := sealed(random(r, 50_000), label[2:])
		return behind(label+"\x0a", append(bigendian.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	})
	stream("questions with rubbish", seldom, func(r *rand.Rand) []byte { return behind("\xd9"+label[1:], random(r, 400)) })
	stream("TLS with rubbish", seldom, func(r *rand.Rand) []byte { return behind("\x16\x03\x01\x02\x00", random(r, 512)) })
	stream("HTTP with rubbish", seldom, func(r *rand.Rand) []byte { return behind("GET /"+hostileText(r)+" HTTP/1.1\r\n", random(r, 40_000)) })
	stream("HTTP with hostile texts", seldom, func(r *rand.Rand) []byte {
		return fmt.Appendf(nil, "GET /diag?timeout=%s HTTP/1.1\r\nHost: %s\r\nX-%s: %s\r\nConnection: close\r\n\r\n", hostileText(r), hostileText(r), hostileText(r), hostileText(r))
	})
	stream("changes without the right to", seldom, func(r *rand.Rand) []byte {
		header := []string{"Host: evil.example", "Host: localhost\r\nX-Forwarded-For: 127.0.0.1", "Host: localhost\r\nOrigin: http://evil.example",
			"Host: localhost\r\nSec-Fetch-Site: cross-site", "Host: localhost\r\nVia: 1.1 x\r\nAuthorization: Bearer x"}[r.IntN(5)]
		return fmt.Appendf(nil, "POST /%s HTTP/1.1\r\n%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", []string{"leave", "step-down", "election"}[r.IntN(3)], header)
	})
	if encrypted { // without keys what is garbled is forged, and anybody can be a member
		packet("packets sent again, as memberlist once sealed them", often, func(r *rand.Rand) []byte { return oldSeal(p.seen(&p.packets, r.Int()), len(label)) })
		stream("streams sent again, as memberlist once sealed them", seldom, func(r *rand.Rand) []byte { return oldSeal(p.seen(&p.streams, r.Int()), len(label)+5) })
		packet("packets sent again, garbled", often, func(r *rand.Rand) []byte { return garble(r, p.seen(&p.packets, r.Int())) })
		stream("streams sent again, garbled", seldom, func(r *rand.Rand) []byte { return garble(r, p.seen(&p.streams, r.Int())) })
	}
	a.hold("connections that say nothing", func(*rand.Rand) string { return "" })
	a.hold("headers that never end", func(*rand.Rand) string { return "GET /is-leader HTTP/1.1\r\nX-A: " })
	a.hold("bodies that never come", func(*rand.Rand) string {
		return "POST /leave HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 4000\r\n\r\n"
	})
	a.hold("event streams that are not read", func(*rand.Rand) string { return "GET /events?lease=100ms HTTP/1.1\r\nHost: x\r\n\r\n" })
	a.hold("exchanges that never end", func(r *rand.Rand) string { return label + string(exchange(r, 100))[:200] })
	return a
}

// run does one thing again and again until the attack ends.
func (a *attack) run(what string, every time.Duration, do func(*rand.Rand, string)) {
	n := &atomic.Int64{}
	a.sent[what] = n
	r := rand.New(rand.NewPCG(rand.Uint64(), 1))
	a.wg.Go(func() {
		pace := time.NewTicker(every)
		defer pace.Stop()
		for {
			select {
			case <-a.ctx.Done():
				return
			case <-pace.C:
				do(r, a.addrs[r.IntN(len(a.addrs))])
				n.Add(1)
			}
		}
	})
}

func (a *attack) packet(to string, b []byte) {
	c, err := net.Dial("udp", to)
	if err != nil {
		a.t.Error(err)
		return
	}
	defer c.Close()
	c.Write(b) // a port unreachable is the attacked agent's to explain
}

// stream sends over a connection of its own and does not wait for an answer for
// long. What cannot be sent has been refused, which is as it should be.
func (a *attack) stream(to string, b []byte) {
	c, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	c.Write(b)
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
}

// hold opens connections, sends a beginning over each, and keeps them as long
// as the agent does, some hundred at a time.
func (a *attack) hold(what string, begin func(*rand.Rand) string) {
	var held []net.Conn
	a.run(what, 20*time.Millisecond, func(r *rand.Rand, to string) {
		c, err := net.DialTimeout("tcp", to, time.Second)
		if err != nil {
			return
		}
		a.idle.Store(c, nil)
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		io.WriteString(c, begin(r))
		if held = append(held, c); len(held) > 150 {
			held[0].Close()
			a.idle.Delete(held[0])
			held = held[1:]
		}
	})
}

// stop ends the attack.
func (a *attack) stop() {
	a.end()
	a.wg.Wait()
	a.idle.Range(func(c, _ any) bool {
		c.(net.Conn).Close()
		return true
	})
}

// String says how much was sent.
func (a *attack) String() string {
	sum := int64(0)
	for _, n := range a.sent {
		sum += n.Load()
	}
	return fmt.Sprintf("%d packets and connections of %d kinds were sent", sum, len(a.sent))
}

func random(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func behind(head string, b []byte) []byte { return append([]byte(head), b...) }

func hostileText(r *rand.Rand) string { return hostileTexts[r.IntN(len(hostileTexts))] }

func cut(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }

// garble changes a few bytes behind the label.
func garble(r *rand.Rand, b []byte) []byte {
	for range 1 + r.IntN(4) {
		if i := r.IntN(len(b)); i >= len(label) {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// oldSeal changes the version of what is sealed at a place: the seal does not
// cover it.
func oldSeal(b []byte, at int) []byte {
	if at < len(b) {
		b[at] = 0
	}
	return b
}

// sealed encrypts as memberlist does, with a key that is of no member.
func sealed(b []byte, label string) []byte {
	block, err := aes.NewCipher(make([]byte, keySize))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := make([]byte, aead.NonceSize())
	crand.Read(nonce)
	return aead.Seal(append([]byte{1}, nonce...), nonce, b, []byte(label))
}

// hostileNode is a member as memberlist writes one, with a name that is none or
// a meta that is none, so that no member takes it in.
func hostileNode(r *rand.Rand, nameKey string) []byte {
	str := func(b []byte, s string) []byte { return append(append(b, 0xda, byte(len(s)>>8), byte(len(s))), s...) }
	b := []byte{0x87}
	b = str(str(b, nameKey), hostileText(r))
	b = str(str(b, "Addr"), "\x7f\x00\x00\x01")
	b = append(str(b, "Port"), 0xcd, 0x4e, 0x20)
	b = str(str(b, "Meta"), string(random(r, 300)))
	b = append(str(b, "Incarnation"), 1)
	b = append(str(b, "State"), 0)
	return str(str(b, "Vsn"), "\x01\x05\x05\x00\x00\x00")
}

// exchange is a state with so many members, which announces 8000.
func exchange(r *rand.Rand, members int) []byte {
	b := []byte("\x06\x83\xa4Join\xc3\xa5Nodes\xcd\x1f\x40\xacUserStateLen\x00")
	for range members {
		b = append(b, hostileNode(r, "Name")...)
	}
	return b
}
