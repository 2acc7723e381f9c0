package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"doyen/agent"
)

const (
	// maxHolds limits the calls of POST /hold under way.
	maxHolds = 64
	// maxHoldWait is the longest that POST /hold waits for a leadership. A client
	// that would wait longer asks again.
	maxHoldWait = time.Hour
	// holdBegin is how long POST /hold without ?wait may take on a member that
	// leads.
	holdBegin = time.Second
	// holdHeartbeat is how often a hold that goes on says so.
	holdHeartbeat = 5 * time.Second
)

// Held is the event "lead" of POST /hold: the leadership that is held. Its
// fields are what a command that runs under it is told in its environment.
type Held struct {
	Election string `json:"election"`
	Term     uint64 `json:"term"`
	Name     string `json:"name"`
	Addr     string `json:"addr"`
	Cluster  string `json:"cluster"`
	Rule     string `json:"rule"`
	Reason   string `json:"reason"`
	Previous string `json:"previous_leader"`
}

// errNoHold ends a hold that has not begun.
var errNoHold = errors.New("this member does not lead")

// hold streams one leadership of this member to a client that has something
// running under it. The stream begins when this member leads and says when it
// leads no more. A planned hand-over then waits until the client has closed its
// connection, because what the client runs is as much part of the leadership as
// a function given to Hold.
func (a *api) hold(w http.ResponseWriter, r *http.Request) {
	if !a.permit(w, r) {
		return
	}
	wait, err := duration(r, "wait", 0, 0, maxHoldWait)
	if err = cmp.Or(err, takesOnly(r, "wait")); err != nil {
		a.fail(w, http.StatusBadRequest, printable(err.Error(), maxText))
		return
	}
	e, ok := a.of(w, r)
	if !ok {
		return
	}
	select {
	case a.holds <- struct{}{}:
		defer func() { <-a.holds }()
	default:
		a.fail(w, http.StatusTooManyRequests, "too many calls of POST /hold are under way")
		return
	}
	if wait == 0 && !e.IsLeader() || errors.Is(a.holdLead(w, r, e, max(wait, holdBegin)), errNoHold) {
		a.fail(w, http.StatusServiceUnavailable, errNoHold.Error())
	}
}

// holdLead waits for a leadership and streams it until it is over and the client
// has gone. It returns errNoHold if none has begun in time.
func (a *api) holdLead(w http.ResponseWriter, r *http.Request, e Election, wait time.Duration) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	patience(w, wait)
	c := http.NewResponseController(w)
	// Only the end of the connection ends the request, and not the limit for
	// reading it.
	_ = c.SetReadDeadline(time.Time{})
	late := time.AfterFunc(wait, func() { cancel(errNoHold) })
	defer late.Stop()
	go func() {
		select {
		case <-a.done:
			cancel(errNoHold)
		case <-ctx.Done():
		}
	}()
	began := false
	err := e.Hold(ctx, func(lead context.Context) error {
		if began = late.Stop(); began {
			streamHold(lead, r, e, &stream{w: w, c: c})
			cancel(nil) // no other leadership is waited for
		}
		return nil
	})
	if !began && (errors.Is(context.Cause(ctx), errNoHold) || errors.Is(err, agent.ErrLeadershipOver)) {
		return errNoHold
	}
	return nil
}

// streamHold tells the client of a leadership, and of its end, and returns when
// the client has gone. lead ends with the leadership.
func streamHold(lead context.Context, r *http.Request, e Election, s *stream) {
	client := r.Context()
	setHeaders(s.w, []string{"text/event-stream"})
	state := e.State()
	term, _ := agent.Term(lead)
	now := func(kind string, data any) error {
		return s.event(&agent.Event{Kind: kind, Time: time.Now(), Data: data})
	}
	err := now("lead", Held{
		Election: electionName(r.URL.Query()), Term: term, Name: state.Name, Addr: state.Addr,
		Cluster: state.Cluster, Rule: state.Rule, Reason: state.Reason, Previous: state.Previous,
	})
	beat := time.NewTicker(holdHeartbeat)
	defer beat.Stop()
	for over := lead.Done(); err == nil; {
		select {
		case <-client.Done():
			return
		case <-over:
			over = nil
			err = now("over", e.Lease())
		case <-beat.C:
			err = s.write([]byte(": held\n\n"))
		}
	}
	// What cannot be written has not reached the client. Its connection counts.
	<-client.Done()
}

func (a *api) lease(w http.ResponseWriter, r *http.Request) {
	if e, ok := a.of(w, r); ok {
		a.json(w, http.StatusOK, e.Lease())
	}
}
