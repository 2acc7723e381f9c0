package health

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent/hook"
)

var errSick = errors.New("exit status 1")

// script is a check whose runs take as long, and end as, is written down; the
// last entry goes on for ever. It notes when they began.
type script struct {
	runs  []run
	began []time.Time
}

type run struct {
	takes    time.Duration
	err      error
	immortal bool // it does not end when it is killed
}

func (s *script) check(ctx context.Context, _ time.Duration) hook.Result {
	r := s.runs[min(len(s.began), len(s.runs)-1)]
	began := time.Now()
	s.began = append(s.began, began)
	killed := ctx.Done()
	if r.immortal {
		killed = nil
	}
	select {
	case <-time.After(r.takes):
		return hook.Result{Err: r.err, Duration: time.Since(began)}
	case <-killed:
		return hook.Result{Exit: -1, Err: context.Cause(ctx), Duration: time.Since(began)}
	}
}

// monitored runs a test in a bubble with a monitor of the script: every 2 s,
// time-out 3 s, rise 2, fall 3. at says when something was, since the start.
func monitored(t *testing.T, runs []run, f func(t *testing.T, m *Monitor, s *script, at func(time.Time) time.Duration)) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{runs: runs}
		epoch := time.Now()
		m := Start(Config{Interval: 2 * time.Second, Timeout: 3 * time.Second, Rise: 2, Fall: 3, Check: s.check})
		f(t, m, s, func(t time.Time) time.Duration { return t.Sub(epoch) })
		m.Close()
	})
}

// seconds are when the runs began.
func (s *script) seconds(at func(time.Time) time.Duration) []float64 {
	synctest.Wait()
	var all []float64
	for _, b := range s.began {
		all = append(all, at(b).Seconds())
	}
	return all
}

func TestEveryInterval(t *testing.T) {
	monitored(t, []run{{takes: 0}, {takes: 1500 * time.Millisecond}, {takes: 2500 * time.Millisecond, err: errSick}, {}},
		func(t *testing.T, m *Monitor, s *script, at func(time.Time) time.Duration) {
			time.Sleep(9 * time.Second)
			if got, want := s.seconds(at), []float64{0, 2, 4, 6.5, 8.5}; !slices.Equal(want, got) {
				t.Errorf("runs: want them at %v, got %v", want, got)
			}
			r := <-m.Reports()
			if !r.Healthy || r.Streak != 2 || r.OK != 4 || r.Failed != 1 || r.Seconds != 4 || at(r.At) != 8500*time.Millisecond {
				t.Errorf("report: %+v", r)
			}
		})
}

// A reader that does not read delays nothing, and reads the newest.
func TestOnlyTheNewestReport(t *testing.T) {
	monitored(t, []run{{}, {err: errSick}}, func(t *testing.T, m *Monitor, _ *script, _ func(time.Time) time.Duration) {
		time.Sleep(time.Second)
		if r := <-m.Reports(); !r.Healthy || r.OK != 1 {
			t.Errorf("the first report: %+v", r)
		}
		time.Sleep(time.Minute)
		if r := <-m.Reports(); r.Healthy || r.Failed != 30 || r.Streak != 30 || r.Last.Err != errSick {
			t.Errorf("after a minute: %+v", r)
		}
		select {
		case r := <-m.Reports():
			t.Errorf("another report: %+v", r)
		default:
		}
	})
}

func TestTimeOut(t *testing.T) {
	monitored(t, []run{{takes: time.Hour}}, func(t *testing.T, m *Monitor, s *script, at func(time.Time) time.Duration) {
		r := <-m.Reports()
		if r.Healthy || !errors.Is(r.Last.Err, errLimit) || at(r.At) != 3*time.Second {
			t.Errorf("report of a check that hangs: %+v", r)
		}
		time.Sleep(4 * time.Second)
		if got, want := s.seconds(at), []float64{0, 3, 6}; !slices.Equal(want, got) {
			t.Errorf("runs: want them at %v, got %v", want, got)
		}
	})
}

// A check whose processes do not die is a failure again and again, and none is
// started beside it; when it has ended at last, all goes on.
func TestACheckThatCannotBeKilled(t *testing.T) {
	monitored(t, []run{{}, {takes: 20*time.Second + time.Millisecond, immortal: true}, {}},
		func(t *testing.T, m *Monitor, s *script, at func(time.Time) time.Duration) {
			time.Sleep(5900 * time.Millisecond)
			if r := <-m.Reports(); r.Failed != 0 {
				t.Errorf("before its time is over: %+v", r)
			}
			for n, sick := range []bool{false, false, true, true} { // at 6 s, 8 s, …
				r := <-m.Reports()
				if r.Last.Err != errStuck || r.Healthy == sick || r.Failed != uint64(n+1) || at(r.At) != time.Duration(6+2*n)*time.Second {
					t.Errorf("failure %d: %+v", n+1, r)
				}
			}
			time.Sleep(13 * time.Second)
			if got, want := s.seconds(at), []float64{0, 2, 22.001, 24.001}; !slices.Equal(want, got) {
				t.Errorf("runs: want them at %v, got %v", want, got)
			}
			if r := <-m.Reports(); !r.Healthy || r.Failed != 9 || r.OK != 3 {
				t.Errorf("afterwards: %+v", r)
			}
		})
}

func TestCloseKills(t *testing.T) {
	for what, test := range map[string]struct {
		run  run
		want time.Duration
	}{
		"a check":                        {run{takes: time.Hour}, 0},
		"one that cannot be killed":      {run{takes: 5 * time.Second, immortal: true}, grace},
		"nothing, between two of them":   {run{}, 0},
		"one that ends while it is told": {run{takes: time.Second}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{runs: []run{test.run}}
			m := Start(Config{Interval: 2 * time.Second, Timeout: 3 * time.Second, Rise: 1, Fall: 1, Check: s.check})
			time.Sleep(time.Second)
			began := time.Now()
			m.Close()
			if took := time.Since(began); took != test.want {
				t.Errorf("%s: want Close to take %v, got %v", what, test.want, took)
			}
			time.Sleep(time.Minute)
			if len(s.began) != 1 {
				t.Errorf("%s: %d checks", what, len(s.began))
			}
		})
	}
}

func TestNoMonitor(t *testing.T) {
	var m *Monitor
	m.Close()
	select {
	case r := <-m.Reports():
		t.Errorf("a report: %+v", r)
	default:
	}
}
