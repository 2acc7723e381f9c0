package keeper

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestCellRoundTrip(t *testing.T) {
	for range 1000 {
		want := cell{uint8(rand.IntN(3)), uint32(rand.IntN(maxGen + 1)), time.Duration(rand.Int64N(1<<deadlineBits)) * ms}
		if got := unpack(want.pack()); got != want {
			t.Fatalf("want %+v, got %+v", want, got)
		}
	}
	if got := unpack(cell{armed, 1, 100 * 365 * 24 * time.Hour}.pack()); got.gen != 1 || got.state != armed {
		t.Errorf("a deadline too far ahead spills over: %+v", got)
	}
}

func TestDeadlineIsRoundedDown(t *testing.T) {
	now := time.Duration(0)
	w := NewDeadline(func() time.Duration { return now })
	if !w.Extend(1, 10*ms+999*time.Microsecond) {
		t.Fatal("cannot arm")
	}
	if !w.Leads(10*ms-1) || w.Leads(10*ms) {
		t.Error("the deadline is not 10 ms")
	}
}

func TestDeadlineByItself(t *testing.T) {
	now := 5 * ms
	w := NewDeadline(func() time.Duration { return now })
	extend := func(deadline time.Duration, want bool) {
		t.Helper()
		if got := w.Extend(7, deadline); got != want {
			t.Errorf("Extend(%v) at %v: want %v, got %v", deadline, now, want, got)
		}
	}
	leads := func(want bool) {
		t.Helper()
		if got := w.Leads(now); got != want {
			t.Errorf("Leads at %v: want %v, got %v", now, want, got)
		}
	}
	leads(false)
	extend(5*ms, false) // has passed
	extend(20*ms, true)
	extend(10*ms, true) // does not move back
	if now = 15 * ms; w.fire(1, false).state != armed {
		t.Error("fired before the deadline")
	}
	leads(true)
	now = 20 * ms
	leads(false)
	extend(30*ms, false) // a deadline that has passed is not extended
	if w.fire(1, false) != (cell{fired, 1, 20 * ms}) {
		t.Error("not fired at the deadline")
	}
	w.Disarm()
	extend(40*ms, false) // a release is owed
	w.reopen()
	extend(40*ms, true)
	if term, ok := w.term(2); w.mine != 2 || term != 7 || !ok {
		t.Errorf("want generation 2 of term 7, got %d of %d, %v", w.mine, term, ok)
	}
	w.shut()
	w.reopen()
	leads(false)
	extend(50*ms, false) // over until Disarm, although the deadline is open
	w.Disarm()
	extend(50*ms, true)
	w.Disarm()
	leads(false)
}

func TestGenerationWraps(t *testing.T) {
	w := NewDeadline(func() time.Duration { return 0 })
	w.swap(cell{}, cell{open, maxGen, 0})
	if !w.Extend(1, ms) || w.mine != 1 {
		t.Errorf("want generation 1 after the last, got %d", w.mine)
	}
}

// TestDeadlineUnderLoad is for the race detector: real goroutines on real memory.
func TestDeadlineUnderLoad(t *testing.T) {
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	w := NewDeadline(clock)
	var firings, won atomic.Uint64
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // keeper
		mine := Deadline{bits: w.bits, terms: w.terms, now: clock}
		for {
			select {
			case <-stop:
				return
			default:
			}
			if c := mine.load(); mine.fire(c.gen, rand.IntN(4) == 0).state == fired {
				firings.Add(1)
				mine.reopen()
			}
		}
	})
	for range 2 {
		all.Go(func() { // readers
			for {
				select {
				case <-stop:
					return
				default:
					w.Leads(clock())
				}
			}
		})
	}
	end := clock() + 10*time.Second
	for term := uint64(1); term <= 20000 || firings.Load() == 0 && clock() < end; term++ { // agent
		if w.Extend(term, clock()+2*ms) {
			won.Add(1)
		} else {
			w.Disarm()
		}
	}
	close(stop)
	all.Wait()
	if firings.Load() == 0 || won.Load() == 0 {
		t.Errorf("want both firings and extensions, got %d and %d", firings.Load(), won.Load())
	}
}
