package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

// maxEvent limits one line of the stream: the state of a member that knows a
// thousand others.
const maxEvent = 1 << 20

const (
	// again is how long watch waits before it asks again for a stream that ended.
	again = 2 * time.Second
	// silence is after how long without a word a stream counts as ended: the agent
	// says every 15 s at least that it is still there.
	silence = 40 * time.Second
)

// watch prints events as they happen, until it is interrupted.
func watch(c *cli.Context, cl *client) error {
	show := showEvent
	if cl.json {
		show = printEvent
	}
	return follow(c, func(ctx context.Context) (opened bool, err error) {
		opened, _, err = cl.stream(ctx, "/events", nil, func(kind string, data json.RawMessage) error { return show(cl.out, kind, data) })
		return opened, err
	})
}

// follow reads a stream by once, until it is interrupted. A stream that ends, as when the
// agent restarts, is asked for again; only what cannot be had at first is an error.
func follow(c *cli.Context, once func(ctx context.Context) (opened bool, err error)) error {
	began, told := false, false
	for {
		opened, err := once(c.Context)
		if c.Context.Err() != nil {
			return errors.New("interrupted")
		}
		if began = began || opened; !began || errors.Is(err, errOutput) {
			return err
		}
		if opened || !told {
			fmt.Fprintf(c.App.ErrWriter, "agent: %v; asking again every %v\n", err, again)
		}
		told = !opened
		select {
		case <-c.Context.Done():
		case <-time.After(again):
		}
	}
}

// errOutput: what is read cannot be written, or is no event, and another stream would
// not help.
var errOutput = errors.New("watch")

// stream gives show the events of one stream until it ends; opened tells whether there
// was one, and last is the last id in it.
func (c *client) stream(ctx context.Context, path string, head http.Header, show func(kind string, data json.RawMessage) error) (opened bool, last string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.openStream(ctx, cancel, path, head)
	if err != nil {
		return false, "", err
	}
	defer resp.Body.Close()
	quiet := time.AfterFunc(silence, func() { cancel(context.DeadlineExceeded) })
	defer quiet.Stop()
	last, err = readEvents(heard{resp.Body, quiet}, func(kind string, data json.RawMessage) error {
		if err := show(kind, data); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
		return nil
	})
	if errors.Is(err, errOutput) {
		return true, last, err
	}
	return true, last, fmt.Errorf("%s ended the stream: its agent has stopped, or is out of reach", c.addr)
}

// openStream asks for a stream and returns it once it has begun. The time-out is for
// that alone, as the stream itself has no end; cancel ends ctx.
func (c *client) openStream(ctx context.Context, cancel context.CancelCauseFunc, path string, head http.Header) (*http.Response, error) {
	late := time.AfterFunc(c.timeout, func() { cancel(context.DeadlineExceeded) })
	resp, err := c.openWith(ctx, c.oneCall(), http.MethodGet, path, nil, head)
	if err != nil {
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			err = c.unreachable(context.DeadlineExceeded)
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		late.Stop()
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
	if err != nil {
		return nil, c.unreachable(err)
	}
	return nil, c.unexpected(resp, body)
}

// heard is a stream that puts the time of silence off with each read.
type heard struct {
	io.Reader
	quiet *time.Timer
}

func (h heard) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	if n > 0 {
		h.quiet.Reset(silence)
	}
	return n, err
}

// readEvents reads server-sent events and gives each to handle: its name and
// its data, which is one line of JSON. It returns the last id. Comments and other fields
// are skipped, and so is an event whose end, an empty line, is missing: its id does not
// count either, so that the next stream brings it whole.
func readEvents(r io.Reader, handle func(kind string, data json.RawMessage) error) (last string, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var kind, id, data string
	for lines.Scan() {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if lines.Text() != "" {
				continue // a comment
			}
			last = cmp.Or(id, last)
			if data != "" {
				if err := handle(kind, json.RawMessage(data)); err != nil {
					return last, err
				}
			}
			kind, id, data = "", "", ""
		}
	}
	return last, lines.Err()
}

// printEvent writes an event as one line of JSON with its kind.
func printEvent(w io.Writer, kind string, data json.RawMessage) error {
	return json.NewEncoder(w).Encode(struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}{kind, data})
}

// showEvent writes an event as a line for people.
func showEvent(w io.Writer, kind string, data json.RawMessage) error {
	var at struct {
		Time time.Time `json:"time"`
	}
	text, err := eventText(kind, data)
	if err = cmp.Or(err, json.Unmarshal(data, &at)); err != nil {
		return fmt.Errorf("the event %q is not what an agent says: %w", clean(kind), err)
	}
	_, err = fmt.Fprintf(w, "%s  %-11s  %s\n", at.Time.Local().Format("15:04:05.000"), clean(kind), clean(text))
	return err
}

// eventText says what an event tells, in one line.
func eventText(kind string, data json.RawMessage) (string, error) {
	switch kind {
	case "state":
		var s agent.State
		err := json.Unmarshal(data, &s)
		return fmt.Sprintf("%s knows %d members; leader: %s (term %d)", s.Name, len(s.Members), leaderOf(s), s.Term), err
	case "leader":
		var e agent.LeaderEvent
		err := json.Unmarshal(data, &e)
		return fmt.Sprintf("%s leads (term %d); before: %s; reason: %s", orNobody(e.Leader), e.Term, orNobody(e.Previous), e.Reason), err
	case "member":
		var e agent.MemberEvent
		err := json.Unmarshal(data, &e)
		return fmt.Sprintf("%s: %s, %s, rank %d", e.Change, e.Member.Name, e.Member.Role, e.Member.Rank), err
	case "election":
		var e agent.ElectionEvent
		err := json.Unmarshal(data, &e)
		return strings.Join(nonEmpty(e.What, e.Peer, fmt.Sprintf("term %d", e.Term), e.Reason), ", "), err
	case "maintenance":
		var e agent.MaintenanceEvent
		err := json.Unmarshal(data, &e)
		if e.Until == nil {
			return "stands aside no longer", err
		}
		return "stands aside until " + when(*e.Until), err
	case "health":
		var h agent.Health
		err := json.Unmarshal(data, &h)
		return healthOf(&h), err
	case "address":
		var e agent.AddressEvent
		err := json.Unmarshal(data, &e)
		var names []string
		for _, a := range e.Addresses {
			names = append(names, a.Address)
		}
		what := e.What
		if e.Over {
			what += " has ended"
		}
		return strings.Join(nonEmpty(what, strings.Join(names, " "), e.Evidence), ": "), err
	case "hook":
		var h agent.HookRun
		err := json.Unmarshal(data, &h)
		return hookOf(&h), err
	}
	return string(data), nil
}

func orNobody(name *string) string {
	if name == nil {
		return "none"
	}
	return *name
}

func nonEmpty(parts ...string) []string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}
