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
	"doyen/api/diagnosis"
)

const (
	defaultSurvey = 2 * time.Second
	minSurvey     = 10 * time.Millisecond
	maxSurvey     = 30 * time.Second
	// maxSurveys limits the surveys under way at once, as each asks every
	// member. They are not shared: an answer must not be older than the
	// request.
	maxSurveys = 8
	// maxState limits one member's answer in bytes; a thousand members with the
	// longest names fit, and 128 elections with a hundred candidates each.
	maxState = 512 << 10
)

// diagAnswer is what GET /diag answers.
type diagAnswer struct {
	State   agent.State       `json:"state"`
	Members map[string]any    `json:"member_states"`
	Verdict diagnosis.Verdict `json:"verdict"`
}

// diag asks every member, and judges.
func (a *api) diag(w http.ResponseWriter, r *http.Request) {
	timeout, err := duration(r, "timeout", defaultSurvey, minSurvey, maxSurvey)
	if err != nil {
		a.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if _, ok := a.of(w, r); !ok {
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
	a.json(w, http.StatusOK, a.survey(ctx, electionName(r.URL.Query())))
}

// survey asks every member and judges the answers, as they bear on an election. This
// member's state is the one that it answered, so that the answer shows it at one instant.
func (a *api) survey(ctx context.Context, election string) diagAnswer {
	began := time.Now()
	answers := a.agent.Survey(ctx)
	e := diagnosis.Evidence{
		Members: a.agent.Members(), Replies: make(map[string]diagnosis.Reply, len(answers)),
		Began: began, Ended: time.Now(),
	}
	shown := make(map[string]any, len(answers))
	for name, answer := range answers {
		raw, state, err := readState(name, &answer)
		if err != nil {
			text := printable(err.Error(), maxText)
			e.Replies[name] = diagnosis.Reply{Err: text, UDP: answer.UDP}
			shown[name] = map[string]string{"error": text}
			continue
		}
		e.Replies[name] = diagnosis.Reply{State: state, UDP: answer.UDP}
		shown[name] = raw
	}
	e.Asker = a.agent.State()
	if own := e.Replies[e.Asker.Name].State; own != nil {
		e.Asker = *own
	}
	if election != groupElection {
		return diagAnswer{State: e.Asker, Members: shown, Verdict: diagnosis.JudgeElection(&e, election)}
	}
	return diagAnswer{State: e.Asker, Members: shown, Verdict: diagnosis.Judge(&e)}
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
