package health

import (
	"context"
	"errors"
	"time"

	"doyen/agent/hook"
)

// grace is how long after its time-out a check may take to be dead.
const grace = time.Second

// What a check is killed for.
var (
	errLimit  = errors.New("killed at its time-out")
	errClosed = errors.New("killed because the agent ends")
	// errStuck is the error of a check that did not die when it was killed.
	errStuck = errors.New("killed at its time-out, and its processes do not end")
)

// Config says how to check, and how to judge. All fields are required.
type Config struct {
	Interval, Timeout time.Duration
	Rise, Fall        int
	// Check runs the check once, which may take so long. When ctx ends it is
	// killed. Calls do not overlap.
	Check func(ctx context.Context, limit time.Duration) hook.Result
}

// Report is what the checks have come to so far.
type Report struct {
	Healthy bool
	// Streak is how many results in a row were like the last one.
	Streak int
	// Last is the last result, and At when it came.
	Last hook.Result
	At   time.Time
	// OK and Failed count all results; Seconds is how long the checks took.
	OK, Failed uint64
	Seconds    float64
}

// Monitor checks until it is closed.
type Monitor struct {
	cfg     Config
	reports chan Report
	stop    context.CancelCauseFunc
	ended   chan struct{}

	gauge  gauge
	report Report
}

// Start begins to check, at once.
func Start(cfg Config) *Monitor {
	ctx, stop := context.WithCancelCause(context.Background())
	m := &Monitor{
		cfg: cfg, reports: make(chan Report, 1), stop: stop, ended: make(chan struct{}),
		gauge: gauge{rise: cfg.Rise, fall: cfg.Fall},
	}
	go m.run(ctx)
	return m
}

// Reports receives the newest report, once. A nil Monitor reports nothing.
func (m *Monitor) Reports() <-chan Report {
	if m == nil {
		return nil
	}
	return m.reports
}

// Close kills a check under way and waits until it is dead, or for so long that
// it never will be.
func (m *Monitor) Close() {
	if m == nil {
		return
	}
	m.stop(errClosed)
	<-m.ended
}

// run begins a check every Interval, or when the last one has ended if that
// takes longer.
func (m *Monitor) run(ctx context.Context) {
	defer close(m.ended)
	results := make(chan hook.Result, 1)
	var began time.Time
	running, stuck := false, false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if running {
				waitAtMost(results, grace)
			}
			return
		case res := <-results:
			if !stuck {
				m.judge(res)
			}
			running, stuck = false, false
			timer.Reset(time.Until(began.Add(m.cfg.Interval)))
		case <-timer.C:
			if running {
				stuck = true
				m.judge(hook.Result{Exit: -1, Err: errStuck, Duration: time.Since(began)})
				timer.Reset(m.cfg.Interval)
				continue
			}
			running, began = true, time.Now()
			go m.check(ctx, results)
			timer.Reset(m.cfg.Timeout + grace)
		}
	}
}

// check runs the check once, and kills it at its time-out.
func (m *Monitor) check(ctx context.Context, results chan<- hook.Result) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.Timeout, errLimit)
	defer cancel()
	results <- m.cfg.Check(ctx, m.cfg.Timeout)
}

func waitAtMost(results <-chan hook.Result, limit time.Duration) {
	select {
	case <-results:
	case <-time.After(limit):
	}
}

// judge takes in a result and puts the new report in the place of one that has
// not been read. Only this goroutine sends, so that there is room then.
func (m *Monitor) judge(res hook.Result) {
	m.gauge.add(res.Err == nil)
	r := &m.report
	r.Healthy, r.Streak, r.Last, r.At = m.gauge.healthy, m.gauge.streak, res, time.Now()
	r.Seconds += res.Duration.Seconds()
	if res.Err == nil {
		r.OK++
	} else {
		r.Failed++
	}
	select {
	case <-m.reports:
	default:
	}
	m.reports <- *r
}
