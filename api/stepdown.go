package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"doyen/agent"
)

// readStepDown finds out whether a step-down is also for how long to stand
// aside: ?for=1h or {"for":"1h"}.
func (a *api) readStepDown(r *http.Request, body []byte) (deed, error) {
	text, given, err := readFor(r, body)
	if err != nil {
		return nil, err
	}
	if !given {
		return a.agent.StepDown, nil
	}
	aside, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("for: %q is not a duration such as 30m or 1h", text)
	}
	if err := agent.CheckAside(aside); err != nil {
		return nil, fmt.Errorf("for: %w", err)
	}
	return func(ctx context.Context) (agent.Result, error) { return a.agent.StandAside(ctx, aside) }, nil
}

// readFor finds the text of the field for, in the query or in the body.
func readFor(r *http.Request, body []byte) (text string, given bool, err error) {
	query := r.URL.Query()["for"]
	var fields struct {
		For *string `json:"for"`
	}
	if body = bytes.TrimSpace(body); len(body) > 0 {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&fields); err != nil || d.Decode(new(any)) != io.EOF {
			return "", false, errors.New(`the body is not JSON with the one field for, such as {"for":"1h"}`)
		}
	}
	switch {
	case len(query) > 1 || len(query) == 1 && fields.For != nil:
		return "", false, errors.New("for: it is given twice")
	case len(query) == 1:
		return query[0], true, nil
	case fields.For != nil:
		return *fields.For, true, nil
	}
	return "", false, nil
}
