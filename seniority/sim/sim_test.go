package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	flagSeed     = flag.Uint64("sim.seed", 0, "replay this seed with a transcript")
	flagMode     = flag.String("sim.mode", "available", "mode of the replay: available, quorum or stops")
	flagSeeds    = flag.Int("sim.seeds", 300, "how many seeds each mode runs")
	flagFor      = flag.Duration("sim.for", 0, "run seeds for this long instead")
	flagFirst    = flag.Uint64("sim.first", 1, "the first seed")
	flagFailures = flag.Int("sim.failures", 3, "stop after this many violations")
	flagCover    = flag.Bool("sim.cover", false, "print which transitions the runs covered")
)

func TestAvailableMode(t *testing.T) { many(t, Options{}) }

func TestQuorumMode(t *testing.T) { many(t, Options{Quorum: true}) }

// TestStoppedClocks: hypervisors stop their guests' clocks; what overlaps is at
// most the lease left on resume.
func TestStoppedClocks(t *testing.T) { many(t, Options{Quorum: true, Stops: true}) }

// many runs seeds on all processors and reports the first violations.
func many(t *testing.T, opt Options) {
	var next, steps, elections atomic.Uint64
	next.Store(*flagFirst)
	last := *flagFirst + uint64(*flagSeeds)
	began := time.Now()
	var mu sync.Mutex
	var virtual time.Duration
	covered := Coverage{}
	failures := 0
	var over atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				o := opt
				o.Seed = next.Add(1) - 1
				if over.Load() || *flagFor > 0 && time.Since(began) > *flagFor || *flagFor == 0 && o.Seed >= last {
					return
				}
				res, err := Run(o)
				steps.Add(uint64(res.Steps))
				elections.Add(uint64(res.Elections))
				mu.Lock()
				virtual += res.Virtual
				for k, n := range res.Covered {
					covered[k] += n
				}
				if err != nil {
					failures++
					t.Error(err)
				}
				stop := failures >= *flagFailures
				mu.Unlock()
				if stop {
					over.Store(true)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d seeds, %d elections, %d steps, %v of virtual time in %v: %.0f steps/s", next.Load()-*flagFirst, elections.Load(), steps.Load(),
		virtual.Round(time.Second), took.Round(time.Millisecond), float64(steps.Load())/took.Seconds())
	if *flagCover {
		for _, k := range slices.Sorted(maps.Keys(covered)) {
			fmt.Printf("%10d  %s\n", covered[k], k)
		}
	}
}

// TestClocksBeyondTheBound runs hosts whose clocks differ by more than the
// protocol allows for: if the checkers found nothing then, they would find
// nothing at all.
func TestClocksBeyondTheBound(t *testing.T) {
	for seed := range uint64(5000) {
		if _, err := Run(Options{Seed: seed, Quorum: true, Drift: 500_000}); err != nil {
			t.Logf("noticed: %v", err)
			return
		}
	}
	t.Error("clocks that differ by half went unnoticed in 5000 seeds")
}

// TestReplay prints the transcript of one seed.
func TestReplay(t *testing.T) {
	if *flagSeed == 0 {
		t.Skip("no -sim.seed given")
	}
	if _, err := Run(Options{Seed: *flagSeed, Quorum: *flagMode != "available", Stops: *flagMode == "stops", Trace: os.Stdout}); err != nil {
		t.Error(err)
	}
}
