package gossip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"doyen/gossip/transport"
	"doyen/seniority"
)

// serving starts a member on real sockets that serves streams.
func serving(t *testing.T, c Config, serve func(*Stream)) *Gossip {
	t.Helper()
	c.BindAddr = "127.0.0.1"
	g := newMember(t, c)
	g.OnStream(serve)
	if err := g.Start(seniority.Member{Start: time.Now().UnixNano(), Eligible: true}, Extra{Rule: "seniority"}); err != nil {
		t.Fatal(err)
	}
	return g
}

// echo sends back what it gets.
func echo(s *Stream) {
	for {
		b, err := s.Receive()
		if err != nil || s.Send(b) != nil {
			return
		}
	}
}

// echoes opens a stream and reports whether it is served.
func echoes(t *testing.T, from, to *Gossip) (s *Stream, served bool) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := from.OpenStream(ctx, to.Name())
	if err != nil {
		return nil, false
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Send([]byte("text")); err != nil {
		return s, false
	}
	b, err := s.Receive()
	return s, err == nil && string(b) == "text"
}

// One host has so many streams at a time, and each that ends gives its place back.
func TestStreamsOfOneHostAreBounded(t *testing.T) {
	a := serving(t, Config{}, echo)
	b := real(t, Config{Seeds: []string{a.Addr()}})
	eventually(t, "joined", func() bool { return len(b.View().Members) == 2 })
	for round := range 2 {
		var open []*Stream
		for len(open) < maxHostStreams {
			eventually(t, "a stream is served", func() bool {
				s, served := echoes(t, b, a)
				if served {
					open = append(open, s)
				}
				return served
			})
		}
		if _, served := echoes(t, b, a); served || a.Counters()["stream-refused"] == 0 {
			t.Errorf("round %d: want no more than %d streams, and the next counted, got %v", round, maxHostStreams, a.Counters())
		}
		for _, s := range open {
			s.Close()
		}
	}
}

// recorder keeps what is written.
type recorder struct {
	net.Conn
	written bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.written.Write(b)
	return r.Conn.Write(b)
}

// A message that is sent once more by one who has listened is refused.
func TestStreamRefusesAReplay(t *testing.T) {
	keys := keyFile(t, "", line(key(32, 1)))
	got := make(chan string, 10)
	a := serving(t, Config{KeyFile: keys}, func(s *Stream) {
		defer close(got)
		for {
			b, err := s.Receive()
			if err != nil {
				return
			}
			got <- string(b)
		}
	})
	b := real(t, Config{KeyFile: keys, Seeds: []string{a.Addr()}})
	c, err := net.DialTimeout("tcp", a.Addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire := &recorder{Conn: c}
	s := newStream(wire, b, false)
	if err := s.greet(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	wire.written.Reset()
	if err := s.Send([]byte("once")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(wire.written.Bytes()); err != nil {
		t.Fatal(err)
	}
	var all []string
	for late := time.After(patience); ; {
		select {
		case m, ok := <-got:
			if ok {
				all = append(all, m)
				continue
			}
		case <-late:
			t.Error("the stream goes on after a replay")
		}
		break
	}
	if len(all) != 1 || all[0] != "once" {
		t.Errorf("want the message once, got %q", all)
	}
	if n := a.Counters()["undecryptable"]; n != 1 {
		t.Errorf("want the replay counted, got %d", n)
	}
}

// What a stranger sends without end is cut off.
func TestMessageOfAStreamIsBounded(t *testing.T) {
	a := newMember(t, Config{BindAddr: "127.0.0.1"})
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		frame := appendFrame(nil, append([]byte{1}, make([]byte, maxFrame)...))
		for {
			if _, err := ours.Write(frame); err != nil {
				return
			}
		}
	}()
	s := newStream(theirs, a, false)
	if err := theirs.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Receive(); !errors.Is(err, errMessageTooLong) {
		t.Errorf("want a message of more than %d bytes refused, got %d bytes and %v", MaxMessage, len(b), err)
	}
}

// An answer belongs to its question: one that was overheard says nothing later. A
// question without the mark is one of version 0.1.0.
func TestAnswerIsBoundToItsQuestion(t *testing.T) {
	a := real(t, Config{KeyFile: keyFile(t, "", line(key(32, 1)))})
	a.OnQuery(func(old bool) []byte { return fmt.Appendf(nil, "state %v", old) })
	ask := func(question []byte) []byte {
		c, err := net.DialTimeout("tcp", a.Addr(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sealed, err := seal(a.keyring, question, []byte("question"))
		if err != nil {
			t.Fatal(err)
		}
		head := append([]byte{transport.AskByte, byte(len(a.mux.Label()))}, a.mux.Label()...)
		if _, err := c.Write(appendFrame(head, sealed)); err != nil {
			t.Fatal(err)
		}
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			t.Fatal(err)
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			t.Fatal(err)
		}
		return frame
	}
	first, second := bytes.Repeat([]byte{1}, questionSize), append([]byte(questionMark), make([]byte, questionSize-len(questionMark))...)
	if b, err := open(a.keyring, ask(second), append([]byte("answer"), second...)); err != nil || string(b) != "state false" {
		t.Errorf("want the answer to a question of this version, got %q, %v", b, err)
	}
	frame := ask(first)
	if b, err := open(a.keyring, frame, append([]byte("answer"), first...)); err != nil || string(b) != "state true" {
		t.Errorf("want the answer to its question, got %q, %v", b, err)
	}
	if b, err := open(a.keyring, frame, append([]byte("answer"), second...)); err == nil {
		t.Errorf("want no answer to another question, got %q", b)
	}
}
