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

// watch prints events as they happen, until it is interrupted or the agent ends
// the stream.
func watch(c *cli.Context, cl *client) error {
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	// The time-out is for the beginning only: the stream itself has no end.
	late := time.AfterFunc(cl.timeout, cancel)
	resp, err := cl.open(ctx, http.MethodGet, "/events")
	if err != nil {
		if ctx.Err() != nil && c.Context.Err() == nil {
			return cl.unreachable(context.DeadlineExceeded)
		}
		return err
	}
	defer resp.Body.Close()
	late.Stop()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		if err != nil {
			return cl.unreachable(err)
		}
		return cl.unexpected(resp, body)
	}
	err = readEvents(resp.Body, func(kind string, data json.RawMessage) error {
		if cl.json {
			return printEvent(cl.out, kind, data)
		}
		return showEvent(cl.out, kind, data)
	})
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%s ended the stream: the agent has stopped", cl.addr)
	}
	return err
}

// readEvents reads server-sent events and gives each to handle: its name and
// its data, which is one line of JSON. Comments and other fields are skipped.
func readEvents(r io.Reader, handle func(kind string, data json.RawMessage) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var kind string
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = name
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := handle(kind, json.RawMessage(data)); err != nil {
				return err
			}
		}
	}
	return lines.Err()
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
	case "hook":
		var h agent.HookRun
		err := json.Unmarshal(data, &h)
		return hookOf(&h), err
	}
	return string(data), nil
}

func orNobody(name *string) string {
	if name == nil {
		return "nobody"
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
