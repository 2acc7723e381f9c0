package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"doyen/agent"
	"doyen/agent/clock"
	"doyen/api"

	"golang.org/x/sys/unix"
)

const (
	// maxHoldWait is the longest that an agent is asked to wait for a leadership in
	// one call; see package api.
	maxHoldWait = time.Hour
	// holdPause is the pause before an agent is asked again that could not be asked,
	// or that has left.
	holdPause = 200 * time.Millisecond
	// answerPauses is how many pauses between two questions one may take: half of the
	// lease.
	answerPauses = 5
)

// errNotLeading: the agent that is asked does not lead.
var errNotLeading = errors.New("it does not lead")

// hold is a leadership that an agent does not hand over before the connection is
// closed; see POST /hold.
type hold struct {
	client *client
	lead   api.Held // the leadership
	conn   net.Conn
	file   *os.File // the connection once more, for the guard of the command
	body   io.ReadCloser
	stop   context.CancelFunc
	over   chan string // receives why the leadership is over; capacity one
	// peer asks the same agent, on a connection that is kept.
	peer *http.Transport
}

// openHold waits until the agent leads. It returns errNotLeading if that does not
// happen in time.
func openHold(ctx context.Context, cl *client, election string, wait time.Duration) (*hold, error) {
	for end := time.Now().Add(wait); ; {
		left := max(time.Until(end), 0)
		h, err := tryHold(ctx, cl, election, min(left, maxHoldWait).Truncate(time.Millisecond))
		var refused *statusError
		if err == nil || left <= holdPause || errors.As(err, &refused) && !errors.Is(err, errNotLeading) {
			return h, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("interrupted")
		case <-time.After(holdPause):
		}
	}
}

// statusError is an answer that says no.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// tryHold makes one call and returns once the leadership has begun.
func tryHold(ctx context.Context, cl *client, election string, wait time.Duration) (*hold, error) {
	ctx, stop := context.WithCancel(ctx)
	h := &hold{client: cl, stop: stop, over: make(chan string, 1)}
	late := time.AfterFunc(wait+cl.timeout, stop)
	query := url.Values{"wait": {wait.String()}, "election": {election}}
	dialer := &net.Dialer{Timeout: cl.timeout}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: cl.tls, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		h.conn = conn
		return conn, err
	}}
	resp, err := cl.openBy(ctx, transport, http.MethodPost, "/hold?"+query.Encode())
	if err != nil {
		stop()
		if !late.Stop() {
			err = cl.unreachable(context.DeadlineExceeded)
		}
		return nil, err
	}
	h.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		defer h.close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		if resp.StatusCode == http.StatusServiceUnavailable {
			return nil, &statusError{resp.StatusCode, errNotLeading}
		}
		return nil, &statusError{resp.StatusCode, cl.unexpected(resp, body)}
	}
	began := make(chan error, 1)
	go h.read(began)
	if err := <-began; err != nil || !late.Stop() {
		h.close()
		return nil, cl.unreachable(errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := h.share(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// share prepares what needs the connection: its copy for the guard, and questions
// to the same agent, although a name may have several addresses.
func (h *hold) share() error {
	tcp, ok := h.conn.(*net.TCPConn)
	if !ok {
		return errors.New("the connection is no TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var fd int
	var dup error
	if err := raw.Control(func(of uintptr) { fd, dup = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || dup != nil {
		return fmt.Errorf("copying the connection: %w", errors.Join(err, dup))
	}
	h.file = os.NewFile(uintptr(fd), "hold")
	peer := h.conn.RemoteAddr().String()
	h.peer = &http.Transport{TLSClientConfig: h.client.tls, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, peer)
	}}
	return nil
}

// read reads the stream: began receives once the leadership has begun, or could
// not be read, and over when it has ended, or when the agent has.
func (h *hold) read(began chan<- error) {
	first := true
	_, err := readEvents(h.body, func(kind string, data json.RawMessage) error {
		switch {
		case kind == "lead" && first:
			first = false
			err := json.Unmarshal(data, &h.lead)
			began <- err
			return err
		case kind == "over":
			h.over <- h.ended()
			return errNotLeading
		}
		return nil
	})
	switch {
	case first:
		began <- errors.Join(err, io.ErrUnexpectedEOF)
	case !errors.Is(err, errNotLeading):
		h.over <- h.client.addr + " has closed the connection: its agent has ended"
	}
}

// ended says that the leadership is over. The member may lead on under a higher term,
// which others that the command writes to will not take for this one.
func (h *hold) ended() string {
	return fmt.Sprintf("%s leads under term %d no more", h.client.addr, h.lead.Term)
}

// close lets the agent hand over. The connection is closed once the guard has ended
// as well.
func (h *hold) close() {
	h.stop()
	h.body.Close()
	if h.file != nil {
		h.file.Close()
		h.peer.CloseIdleConnections()
	}
}

// lease asks how long the lease still is, and returns the boot time until which the
// command may run and how often to ask. It counts from the moment at which the
// question is sent, so the time that the answer takes is never counted as lease.
func (h *hold) lease(ctx context.Context) (deadline, every time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.client.timeout)
	defer cancel()
	asked := clock.Boot()
	resp, err := h.client.openBy(ctx, h.peer, http.MethodGet, "/lease?election="+url.QueryEscape(h.lead.Election))
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
	if err != nil {
		return 0, 0, h.client.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return 0, 0, h.client.unexpected(resp, body)
	}
	var l agent.Lease
	if err := (answer{resp.StatusCode, body}).decode(&l); err != nil {
		return 0, 0, err
	}
	left, every, ok := l.RunFor(h.lead.Term)
	if !ok {
		return 0, 0, fmt.Errorf("%s: %w", h.ended(), errNotLeading)
	}
	return asked + left, every, nil
}

// confirmed is one answer about the lease.
type confirmed struct {
	deadline time.Duration
	lost     string // why the lead is lost; "": it is not
}

// follow asks for the lease again and again until ctx ends. An agent that does not
// answer is asked again; the deadline says for how long.
func (h *hold) follow(ctx context.Context, every time.Duration) <-chan confirmed {
	news := make(chan confirmed)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			one, cancel := context.WithTimeout(ctx, answerPauses*every)
			deadline, _, err := h.lease(one)
			cancel()
			c := confirmed{deadline: deadline}
			if errors.Is(err, errNotLeading) {
				c.lost = err.Error()
			} else if err != nil {
				continue
			}
			select {
			case news <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	return news
}
