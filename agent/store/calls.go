package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// patience is how long a call waits for a leader before it says that there is none.
	patience = 3 * time.Second
	// askAgain is the pause between two tries.
	askAgain = 20 * time.Millisecond
	// callLimit is how long the leader works on one call at most.
	callLimit = 8 * time.Second
	// maxChanges is how many changes one answer holds.
	maxChanges = 1 << 14
	// maxCalls is how many calls of other members are worked on at once, or have answers
	// that wait to be read, maxStreamCalls how many of one stream, and maxLong how many
	// answers that may be long are made at once.
	maxCalls, maxStreamCalls, maxLong = 256, 128, 2
)

// The kinds of calls that one member passes on to another.
const (
	callWrite byte = iota + 1
	callGet
	callList
	callLog
	callSave
)

// Do orders a change and returns once a majority has it on disk. Any member may be
// asked. The error is an *Error: with Unavailable nothing was done, with Unknown it
// may or may not have been.
func (s *Store) Do(ctx context.Context, c Command) (Result, error) {
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	if c.Fence != 0 && c.FenceElection == "" {
		c.FenceElection = GroupElection
	}
	answer, err := s.ask(ctx, callWrite, c.encode(), c.Request != "")
	if err != nil {
		return Result{}, named(c.Key, err)
	}
	r := reader{rest: answer}
	o := r.outcome()
	if r.err != nil {
		return Result{}, &Error{Kind: Unknown, Text: c.Key + ": the leader's answer is malformed, and it may or may not have been done"}
	}
	if o.kind == Missing && c.IfVersion != 0 { // a failed condition, as of a put; what is applied to the log does not change
		o.kind, o.text = Changed, fmt.Sprintf("%s: the key is missing, not at version %d", c.Key, c.IfVersion)
	}
	return o.result()
}

// Lead commits that an election is led under a term: from then on fences of lower
// terms are refused.
func (s *Store) Lead(ctx context.Context, election string, term uint64) error {
	c := Command{Op: opLead, election: election, term: term}
	_, err := s.ask(ctx, callWrite, c.encode(), true)
	return err
}

// Get returns a key as it is at some instant between the call and its return.
func (s *Store) Get(ctx context.Context, key string) (Value, error) {
	if err := CheckKey(key); err != nil {
		return Value{}, err
	}
	answer, err := s.ask(ctx, callGet, []byte(key), true)
	if err != nil {
		return Value{}, named(key, err)
	}
	r := reader{rest: answer}
	v := Value{Key: key, Version: r.number(), Term: r.number(), Data: r.bytes()}
	v.Size, v.Index = len(v.Data), v.Version
	if r.err != nil {
		return Value{}, &Error{Kind: Unavailable, Text: key + ": the leader's answer is malformed"}
	}
	return v, nil
}

// GetLocal returns a key as this member's copy has it.
func (s *Store) GetLocal(key string) (Value, error) {
	if err := CheckKey(key); err != nil {
		return Value{}, err
	}
	if s.cfg.Voter == "" {
		return Value{}, &Error{Kind: Unavailable, Text: key + ": this member is no voter and keeps no copy"}
	}
	v, ok := s.machine.Load().get(key)
	if !ok {
		return Value{}, &Error{Kind: Missing, Text: key + ": there is no such key in this member's copy"}
	}
	return v, nil
}

// List returns the keys with a prefix, without their values.
func (s *Store) List(ctx context.Context, prefix string) ([]Value, error) {
	all := []Value{}
	answer, err := s.ask(ctx, callList, []byte(prefix), true)
	if err == nil {
		err = json.Unmarshal(answer, &all)
	}
	return all, err
}

// Log returns the kept changes from an index on, of this member's copy if it has
// one, and else of the leader's. more is closed when there are more; nil: ask again.
func (s *Store) Log(ctx context.Context, from uint64) (all []Change, more <-chan struct{}, err error) {
	if s.cfg.Voter != "" {
		all, more = s.machine.Load().changes(from, maxChanges)
		return all, more, nil
	}
	all = []Change{}
	answer, err := s.ask(ctx, callLog, binary.AppendUvarint(nil, from), true)
	if err == nil {
		err = json.Unmarshal(answer, &all)
	}
	return all, nil, err
}

// Save returns a copy of the store, as Config.Restore takes it.
func (s *Store) Save(ctx context.Context) ([]byte, error) {
	return s.ask(ctx, callSave, nil, true)
}

// named makes an error name the key.
func named(key string, err error) error {
	var e *Error
	if errors.As(err, &e) && (e.Kind == Unavailable || e.Kind == Unknown) {
		return &Error{Kind: e.Kind, Text: key + ": " + e.Text}
	}
	return err
}

// ask puts a call to the leader, which may be this member, and waits a while for
// one. again: a call that may have been done may be done again.
func (s *Store) ask(ctx context.Context, kind byte, body []byte, again bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	last := &Error{Kind: Unavailable, Text: "no leader is known, so nothing was done"}
	var unsure *Error // the last that leaves open whether it was done
	for end := time.Now().Add(patience); ; {
		answer, err := s.askOnce(ctx, kind, body)
		if err == nil {
			return answer, nil
		}
		if !errors.As(err, &last) {
			last = &Error{Kind: Unknown, Text: err.Error()}
		}
		if last.Kind == Unknown {
			unsure = last
		}
		retry := last.Kind == Unavailable || last.Kind == Unknown && again
		if !retry || time.Now().After(end) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(askAgain):
		}
	}
	if st := s.State(); last.Kind == Unavailable && st.Trouble != "" {
		last = &Error{Kind: Unavailable, Text: last.Text + "; " + st.Trouble}
	}
	if unsure != nil && kind == callWrite && last.Kind == Unavailable {
		return nil, unsure // that nothing was done is true of the last try alone
	}
	return nil, last
}

func (s *Store) askOnce(ctx context.Context, kind byte, body []byte) ([]byte, error) {
	leader := s.cfg.Leader()
	switch leader {
	case "":
		return nil, &Error{Kind: Unavailable, Text: "no leader is known, so nothing was done"}
	case s.cfg.Self:
		return s.answer(ctx, kind, body)
	}
	answer, sent, err := s.network.call(ctx, leader, kind, body)
	switch {
	case err != nil && !sent:
		return nil, &Error{Kind: Unavailable, Text: fmt.Sprintf("the leader %s cannot be reached, so nothing was done: %v", leader, err)}
	case err != nil:
		return nil, &Error{Kind: Unknown, Text: fmt.Sprintf("the leader %s did not answer (%v), and it may or may not have been done", leader, err)}
	case len(answer) == 0:
		return nil, &Error{Kind: Unknown, Text: "the leader's answer is empty, and it may or may not have been done"}
	case answer[0] != 0:
		return nil, &Error{Kind: Kind(answer[0]), Text: string(answer[1:])}
	}
	return answer[1:], nil
}

// answer works on a call as the leader.
func (s *Store) answer(ctx context.Context, kind byte, body []byte) ([]byte, error) {
	switch kind {
	case callWrite:
		return s.write(ctx, body)
	case callGet:
	default: // answers that may be as long as the store
		select {
		case s.long <- struct{}{}:
			defer func() { <-s.long }()
		case <-ctx.Done():
			return nil, errBusy
		}
	}
	m, term := s.machine.Load(), s.serving.Load()
	if term == 0 || s.cfg.Leads() != term {
		return nil, errNotServing
	}
	var answer []byte
	var err error
	switch kind {
	case callGet:
		v, ok := m.get(string(body))
		if !ok {
			err = &Error{Kind: Missing, Text: string(body) + ": there is no such key"}
		}
		answer = binary.AppendUvarint(binary.AppendUvarint(nil, v.Version), v.Term)
		answer = appendText(answer, v.Data)
	case callList:
		answer, err = json.Marshal(m.list(string(body)))
	case callLog:
		r := reader{rest: body}
		all, _ := m.changes(r.number(), maxChanges)
		answer, err = json.Marshal(all)
	case callSave:
		answer = summed(m.snapshot())
	default:
		return nil, &Error{Kind: Bad, Text: "this version knows no such call"}
	}
	// Everything acknowledged before the call has been applied here, for no other
	// member can have led meanwhile.
	if s.serving.Load() != term || s.cfg.Leads() != term || s.machine.Load() != m {
		return nil, errNotServing
	}
	return answer, err
}

var (
	errNotServing = &Error{Kind: Unavailable, Text: "the leader does not order changes yet, so nothing was done"}
	errBusy       = &Error{Kind: Unavailable, Text: "the leader has too much to do, so nothing was done"}
)

// write orders a command as the leader.
func (s *Store) write(ctx context.Context, body []byte) ([]byte, error) {
	c, err := decodeCommand(body)
	if err != nil {
		return nil, &Error{Kind: Bad, Text: "this change: " + err.Error()}
	}
	if c.Op != opLead {
		if err := c.Check(); err != nil {
			return nil, err
		}
	}
	if s.cfg.Leads() == 0 {
		return nil, errNotServing
	}
	p := &proposal{command: c, reply: make(chan reply, 1)}
	select {
	case s.proposals <- p:
	case <-s.done:
		return nil, errNotServing
	case <-ctx.Done():
		return nil, errBusy
	}
	select {
	case r := <-p.reply:
		return appendOutcome(nil, &r.outcome), r.err
	case <-s.done:
		return nil, &Error{Kind: Unknown, Text: "the leader ended, and it may or may not have been done"}
	case <-ctx.Done():
		return nil, &Error{Kind: Unknown, Text: "no majority of the voters has it on disk yet, and it may or may not be done"}
	}
}

// serveStream serves what another member sends, until the stream ends.
func (s *Store) serveStream(st Stream) {
	ctx, cancel := context.WithCancel(context.Background())
	out, places := newOutbox(st), make(chan struct{}, maxStreamCalls)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer out.close()
	defer cancel()
	wg.Go(out.run)
	for {
		b, err := st.Receive()
		if err != nil || len(b) < 2 {
			return
		}
		if b[0] != callMessage {
			select {
			case s.inbox <- inboxed{kind: b[0], body: b[1:]}:
				continue
			case <-s.done:
				return
			}
		}
		if len(b) < callHead {
			return
		}
		answer := func(text []byte) {
			out.put(ctx, append(b[2:callHead:callHead], text...)) // else nothing waits for it any more
		}
		if len(places) == cap(places) || !enter(s.places) { // this goroutine alone fills places
			answer(refusal(errBusy))
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			answer(s.serveCall(ctx, b[1], b[callHead:]))
			<-s.places
			<-places
		})
	}
}

// enter takes a place, if one is free.
func enter(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Store) serveCall(ctx context.Context, kind byte, body []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	answer, err := s.answer(ctx, kind, body)
	if err == nil {
		return append([]byte{0}, answer...)
	}
	return refusal(err)
}

// refusal is an answer with an error.
func refusal(err error) []byte {
	e := &Error{Kind: Unknown, Text: err.Error()}
	errors.As(err, &e)
	return append([]byte{byte(e.Kind)}, e.Text...)
}
