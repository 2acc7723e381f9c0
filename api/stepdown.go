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

// readStepDown finds out which member a step-down is to, if it names one, and for
// how long to stand aside: ?to=MEMBER&for=1h, or {"to":"MEMBER","for":"1h"}.
func (a *api) readStepDown(e Election, r *http.Request, body []byte) (deed, error) {
	if err := takesOnly(r, "to", "for"); err != nil {
		return nil, err
	}
	fields, err := readFields(r, body)
	if err != nil {
		return nil, err
	}
	aside := time.Duration(0)
	if fields.For != nil {
		if aside, err = time.ParseDuration(*fields.For); err != nil {
			return nil, fmt.Errorf("for: %q is not a duration such as 30m or 1h", *fields.For)
		}
		if err := agent.CheckAside(aside); err != nil {
			return nil, fmt.Errorf("for: %w", err)
		}
	}
	switch {
	case fields.To != nil && *fields.To == "":
		return nil, errors.New("to: it names no member")
	case fields.To != nil:
		return func(ctx context.Context) (agent.Result, error) { return e.HandOver(ctx, *fields.To, aside) }, nil
	case fields.For != nil:
		return func(ctx context.Context) (agent.Result, error) { return e.StandAside(ctx, aside) }, nil
	}
	return e.StepDown, nil
}

// readJoin finds out which seed to add: ?addr=host:port.
func (a *api) readJoin(_ Election, r *http.Request, body []byte) (deed, error) {
	if err := takesOnly(r, "addr"); err != nil {
		return nil, err
	}
	query := r.URL.Query()["addr"]
	if len(query) != 1 || len(bytes.TrimSpace(body)) > 0 {
		return nil, errors.New("addr: give one, as in POST /join?addr=10.0.0.4:4000, and no body")
	}
	return func(ctx context.Context) (agent.Result, error) {
		result, err := a.agent.Join(ctx, query[0])
		if err != nil && !errors.Is(err, agent.ErrRefused) {
			err = badField{fmt.Errorf("addr: %w", err)}
		}
		return result, err
	}, nil
}

// badField is an error about a field that only the agent could judge.
type badField struct{ error }

// stepDownFields are what a step-down takes; nil: not given.
type stepDownFields struct {
	To  *string `json:"to"`
	For *string `json:"for"`
}

// readFields finds the fields in the query and in the body; none may be given
// twice.
func readFields(r *http.Request, body []byte) (fields stepDownFields, err error) {
	if body = bytes.TrimSpace(body); len(body) > 0 {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&fields); err != nil || d.Decode(new(any)) != io.EOF {
			return fields, errors.New(`the body is not JSON with the fields to and for, such as {"for":"1h"}`)
		}
	}
	for name, field := range map[string]**string{"to": &fields.To, "for": &fields.For} {
		query := r.URL.Query()[name]
		switch {
		case len(query) == 0:
		case *field != nil:
			return fields, fmt.Errorf("%s: it is given twice", name)
		default:
			*field = &query[0]
		}
	}
	return fields, nil
}
