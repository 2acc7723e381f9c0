//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lab is one subject on one network.
type lab struct {
	o       *options
	subject *subject
	stderr  io.Writer
	dice    *rand.Rand
	net     *network
	record  *record
	eyes    *observers
	hogs    []*exec.Cmd

	endGrey   func() // ends what goes on beside a run
	greyError error  // of it; to be read once it has ended
}

// newLab builds the network, starts the observers, and the subject on all hosts.
func newLab(o *options, s *subject, stderr io.Writer) (*lab, error) {
	l := &lab{o: o, subject: s, stderr: stderr, dice: rand.New(rand.NewPCG(o.seed, 0))}
	if err := l.build(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) build() error {
	var err error
	if l.net, err = newNetwork(l.o.hosts); err != nil {
		return err
	}
	l.record = newRecord(watchEvery)
	if l.eyes, err = observe(l.net, l.record, false); err != nil {
		return err
	}
	for _, h := range l.net.hosts {
		if err := l.start(h); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) close() {
	endHogs(l, nil) // they may have ended
	if l.eyes != nil {
		l.eyes.stop()
		l.record.close()
		l.eyes = nil
	}
	if l.net != nil {
		l.net.close()
		l.net = nil
	}
}

// start starts the subject on a host.
func (l *lab) start(h *host) error {
	cmd, err := l.subject.command(l.subject.name, l.o, h, l.o.dir)
	if err != nil {
		return fmt.Errorf("preparing %s on %s: %w", l.subject.name, h.name, err)
	}
	log, err := os.OpenFile(l.logName(h), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("-logs: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return h.start(cmd)
}

func (l *lab) logName(h *host) string {
	return filepath.Join(l.o.logs, l.subject.name+"-"+h.name+".log")
}

// ended returns an error if the subject has ended by itself on a host, with the
// last it said.
func (l *lab) ended() error {
	for _, h := range l.net.hosts {
		if h.main.running() {
			continue
		}
		text, _ := os.ReadFile(l.logName(h)) // without it the error is poorer, no more
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%s on %s has ended by itself: %s", l.subject.name, h.name, lines[len(lines)-1])
	}
	return nil
}

// others are the nodes of all hosts but v.
func (l *lab) others(v *host) (list []*node) {
	for _, h := range l.net.hosts {
		if h != v {
			list = append(list, h.node)
		}
	}
	return list
}

// result is what one run of one scenario showed.
type result struct {
	Scenario string             `json:"scenario"`
	Run      int                `json:"run"`
	Figures  map[string]float64 `json:"figures"` // milliseconds, except what is counted
	Error    string             `json:"error,omitempty"`
}

// all runs every scenario as often as wanted, taking turns, so that what
// else the machine does is spread over all. After a run that failed it starts
// with a new network; it gives up when nothing but failures follow each other.
func (l *lab) all(ctx context.Context) ([]result, error) {
	const patience = 5
	var results []result
	failures := 0
	for run := 1; run <= l.o.runs; run++ {
		for _, s := range l.o.scenarios {
			figures, err := l.run(ctx, s)
			if ctx.Err() != nil {
				return results, ctx.Err()
			}
			r := result{Scenario: s.name, Run: run, Figures: figures}
			if err == nil {
				failures = 0
			} else {
				failures++
				r.Error = err.Error()
				fmt.Fprintf(l.stderr, "%s, %s, run %d: %v\n", l.subject.name, s.name, run, err)
			}
			results = append(results, r)
			if failures == patience {
				return results, fmt.Errorf("given up after %d failures, the last in %s: %w", failures, s.name, err)
			}
			if err == nil {
				continue
			}
			l.close()
			if err := l.build(); err != nil {
				return results, err
			}
		}
	}
	return results, nil
}

// The lab's patience.
const (
	settleLimit   = 60 * time.Second
	takeoverLimit = 10 * time.Second
	lookEvery     = 20 * time.Millisecond
)

// run does one scenario and returns its figures.
func (l *lab) run(ctx context.Context, s *scenario) (map[string]float64, error) {
	former, err := l.settle(ctx, time.Second)
	if err != nil {
		return nil, fmt.Errorf("before the fault: %w", err)
	}
	// Timers have phases: the fault comes at any of them.
	if err := sleep(ctx, time.Duration(l.dice.Int64N(int64(time.Second)))); err != nil {
		return nil, err
	}
	l.record.forget(now() - time.Second)
	victim := l.victim(s.victim, former)
	t := times{former: former, fault: now()}
	if err := s.inject(l, victim); err != nil {
		return nil, errors.Join(fmt.Errorf("injecting the fault: %w", err), s.heal(l, victim))
	}
	waited := l.during(ctx, s, victim, t.fault)
	t.heal = now()
	if err := s.heal(l, victim); err != nil {
		return nil, errors.Join(fmt.Errorf("putting right: %w", err), waited)
	}
	if waited != nil {
		return nil, waited
	}
	final, err := l.settle(ctx, 1500*time.Millisecond)
	if err != nil {
		return nil, fmt.Errorf("after the fault: %w", err)
	}
	t.final, t.end = final, now()
	return measureRun(l.record.view(), s, t), nil
}

func (l *lab) victim(r role, former int) *host {
	switch r {
	case leader:
		return l.net.hosts[former]
	case follower:
		return l.net.hosts[(former+1)%len(l.net.hosts)]
	default:
		return nil
	}
}

// during waits until the fault has lasted long enough, and where a host is to
// take over, until one serves that is not the victim. That none does is for the
// figures to say.
func (l *lab) during(ctx context.Context, s *scenario, victim *host, fault time.Duration) error {
	lasts := s.lasts
	if s.calm || s.grey {
		lasts = l.o.calm
	}
	if err := sleep(ctx, fault+lasts-now()); err != nil || s.steady {
		return err
	}
	for now() < fault+takeoverLimit && !l.served(victim) {
		if err := sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
	return nil
}

// served reports whether the client has been served for a while, and not by the
// victim; that one may answer the watcher still.
func (l *lab) served(victim *host) bool {
	const while = 300 * time.Millisecond
	end := now()
	v := l.record.since(end - while)
	for _, x := range v.replies {
		if x.at >= end-while && victim != nil && x.host == victim.index {
			return false
		}
	}
	return outage(v.replies, end-while, end) < while/3
}

// settle waits until exactly one host serves, has done so for a while, and all
// agents agree on it. It returns that host.
func (l *lab) settle(ctx context.Context, while time.Duration) (int, error) {
	for end := now() + settleLimit; now() < end; {
		if err := sleep(ctx, lookEvery); err != nil {
			return 0, err
		}
		if err := l.ended(); err != nil {
			return 0, err
		}
		if host, ok := l.record.serving(while); ok && l.subject.ready(ctx, l.net, host) {
			return host, nil
		}
	}
	return 0, fmt.Errorf("not one host that serves alone, with the consent of all, within %v", settleLimit)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
