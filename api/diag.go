package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"doyen/agent"
)

const (
	defaultSurvey = 2 * time.Second
	minSurvey     = 10 * time.Millisecond
	maxSurvey     = 30 * time.Second
	// maxSurveys limits the surveys under way at once, as each asks every
	// member. They are not shared: an answer must not be older than the
	// request.
	maxSurveys = 8
	// maxState limits one member's answer in bytes; a thousand members with
	// the longest names fit.
	maxState = 256 << 10
)

// diagnosis is what GET /diag answers.
type diagnosis struct {
	State   agent.State    `json:"state"`
	Members map[string]any `json:"member_states"`
	Verdict Verdict        `json:"verdict"`
}

// diag asks every member, and judges.
func (a *api) diag(w http.ResponseWriter, r *http.Request) {
	timeout, err := duration(r, "timeout", defaultSurvey, minSurvey, maxSurvey)
	if err != nil {
		a.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	select {
	case a.surveys <- struct{}{}:
		defer func() { <-a.surveys }()
	default:
		a.refused.count(tooManySurveys)
		a.fail(w, http.StatusServiceUnavailable, fmt.Sprintf("%d surveys are under way, which is the limit", maxSurveys))
		return
	}
	patience(w, timeout)
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	a.json(w, http.StatusOK, a.survey(ctx))
}

// survey asks every member and judges the answers.
func (a *api) survey(ctx context.Context) diagnosis {
	began := time.Now()
	answers := a.agent.Survey(ctx)
	e := evidence{
		state:   a.agent.State(),
		members: a.agent.Members(),
		replies: make(map[string]reply, len(answers)),
		began:   began,
		ended:   time.Now(),
	}
	shown := make(map[string]any, len(answers))
	for name, answer := range answers {
		raw, state, err := readState(name, &answer)
		if err != nil {
			e.replies[name] = reply{err: printable(err.Error(), maxText), udp: answer.UDP}
			shown[name] = map[string]string{"error": e.replies[name].err}
			continue
		}
		e.replies[name] = reply{state: state, udp: answer.UDP}
		shown[name] = raw
	}
	return diagnosis{State: e.state, Members: shown, Verdict: judge(&e)}
}

// readState checks an answer, which another program wrote. The JSON it returns
// is shown as it came, with fields this version does not know, and can always
// be marshalled.
func readState(name string, a *agent.Answer) (json.RawMessage, *agent.State, error) {
	if a.Err != nil {
		return nil, nil, a.Err
	}
	if len(a.State) > maxState {
		return nil, nil, fmt.Errorf("its state of %d bytes is longer than %d", len(a.State), maxState)
	}
	raw := bytes.ToValidUTF8(a.State, []byte("\uFFFD"))
	var s agent.State
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, nil, fmt.Errorf("its answer is no state: %w", err)
	}
	switch s.Name {
	case name:
		return raw, &s, nil
	case "":
		return nil, nil, errors.New("its answer is no state")
	}
	return nil, nil, fmt.Errorf("the member there calls itself %q", s.Name)
}
