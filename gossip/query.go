package gossip

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"doyen/gossip/transport"
)

// A question goes over a connection of its own to the gossip port, so that it
// needs no HTTP: askByte, the cluster's label, and then one frame each way.
// With a keyring both frames are encrypted; the answer is bound to the
// question, which is a random number but for questionMark.

// questionMark begins the questions of this version. Those of version 0.1.0 are random
// throughout, and its members answer any question.
const questionMark = "ask2"

const (
	questionSize = 16
	maxQuestion  = 256
	maxAnswer    = 1 << 20
)

// OnQuery sets what answers the questions of others; old says that a member of
// version 0.1.0 asks. It is called from any goroutine and must not block.
func (g *Gossip) OnQuery(answer func(old bool) []byte) { g.onAsk.Store(&answer) }

// Query asks a member, over TCP, for what its OnQuery says, and probes meanwhile
// whether UDP gets through to it. udp is meaningful with an error, too. A
// member that has left the view is asked at its last known address.
func (g *Gossip) Query(ctx context.Context, member string) (answer []byte, udp bool, err error) {
	list, ok := g.running()
	if !ok {
		return nil, false, errors.New("gossip is not running")
	}
	if member == g.cfg.Name {
		if f := g.onAsk.Load(); f != nil {
			return (*f)(false), true, nil
		}
		return nil, true, errNoAnswer
	}
	addr, ok := g.members.addrOf(member)
	if !ok {
		return nil, false, fmt.Errorf("no member %s is known", member)
	}
	probed := make(chan bool, 1)
	go func() { probed <- g.answersUDP(ctx, list, member, addr) }()
	answer, err = g.queryTCP(ctx, member, addr, 0)
	select {
	case udp = <-probed:
	case <-ctx.Done():
	}
	switch {
	case err != nil && udp:
		err = fmt.Errorf("%s answers over UDP, but not over TCP at %s: %w", member, addr, err)
	case err != nil:
		err = fmt.Errorf("%s does not answer at %s: %w", member, addr, err)
	}
	return answer, udp, err
}

var errNoAnswer = errors.New("it answers no questions yet")

// queryTCP sends the question and reads the answer. A kind other than 0 marks
// the question; members of older versions know none.
func (g *Gossip) queryTCP(ctx context.Context, member string, addr netip.AddrPort, kind byte) ([]byte, error) {
	limit := streamLimit
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at))
	}
	c, err := g.mux.Dial(memberlist.Address{Addr: addr.String(), Name: member}, limit)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	// Not by Close: the error should say that no answer has come in time.
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	question := make([]byte, questionSize)
	rand.Read(question[copy(question, questionMark):])
	if kind != 0 {
		question = append(question, kind)
	}
	sealed, err := seal(g.keyring, question, []byte("question"))
	if err != nil {
		return nil, err
	}
	head := append([]byte{transport.AskByte, byte(len(g.mux.Label()))}, g.mux.Label()...)
	if _, err := c.Write(appendFrame(head, sealed)); err != nil {
		return nil, err
	}
	frame, err := readFrame(c, maxAnswer)
	if err != nil {
		return nil, err
	}
	if len(frame) == 0 {
		return nil, errNoAnswer
	}
	return open(g.keyring, frame, append([]byte("answer"), question...))
}

// answer answers the question on a connection whose head has been read.
func (g *Gossip) answer(c net.Conn) {
	if c.SetDeadline(time.Now().Add(streamLimit)) != nil {
		return
	}
	frame, err := readFrame(c, maxQuestion)
	if err != nil {
		g.findings.Count("question-malformed")
		return
	}
	question, err := open(g.keyring, frame, []byte("question"))
	if err != nil {
		g.findings.Undecryptable(transport.HostOf(c.RemoteAddr().String()))
		return
	}
	detail := len(question) == questionSize+1 && question[questionSize] == detailQuestion
	if len(question) != questionSize && !detail {
		g.findings.Count("question-malformed")
		return
	}
	f := g.onAsk.Load()
	if text := g.detail.Load(); detail {
		f = new(func(bool) []byte { return *text })
	}
	if f == nil {
		_, _ = c.Write(appendFrame(nil, nil))
		return
	}
	old := !bytes.HasPrefix(question, []byte(questionMark))
	sealed, err := seal(g.keyring, (*f)(old), append([]byte("answer"), question...))
	if err != nil || len(sealed) > maxAnswer {
		g.findings.Count("answer-too-long")
		return
	}
	// Who asked sees an answer that breaks off and says so.
	_, _ = c.Write(appendFrame(nil, sealed))
}

// appendFrame appends the length of b, and b.
func appendFrame(to, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(b))), b...)
}

// readFrame reads one frame of at most limit bytes.
func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > limit {
		return nil, fmt.Errorf("frame of %d bytes is longer than %d", n, limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
