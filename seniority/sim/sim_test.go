package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	flagSeed     = flag.Uint64("sim.seed", 0, "replay this seed with a transcript")
	flagMode     = flag.String("sim.mode", "available", "mode of the replay: available, quorum, stops, graphs, elections; graphs-available, elections-available")
	flagSeeds    = flag.Int("sim.seeds", 300, "how many seeds each mode runs")
	flagFor      = flag.Duration("sim.for", 0, "run seeds for this long instead")
	flagFirst    = flag.Uint64("sim.first", 1, "the first seed")
	flagFailures = flag.Int("sim.failures", 3, "stop after this many violations")
	flagCover    = flag.Bool("sim.cover", false, "print which transitions the runs covered")
)

func TestAvailableMode(t *testing.T) { many(t, Options{Standing: 1}) }

func TestQuorumMode(t *testing.T) { many(t, Options{Quorum: true, Standing: 1}) }

// TestStoppedClocks: hypervisors stop their guests' clocks; what overlaps is at
// most the lease left on resume.
func TestStoppedClocks(t *testing.T) { many(t, Options{Quorum: true, Stops: true, Standing: 1}) }

// TestElections: several elections over one group, laid over it by a placement.
func TestElections(t *testing.T) { many(t, Options{Quorum: true, Elections: 6}) }

// TestElectionsAvailable: the same in available mode.
func TestElectionsAvailable(t *testing.T) { many(t, Options{Elections: 6}) }

// TestStandingTopologies: a leader wherever one can have a majority both ways,
// and calm in every topology that stands still.
func TestStandingTopologies(t *testing.T) {
	many(t, Options{Quorum: true, Graphs: true, Standing: graphs})
}

// TestStandingTopologiesAvailable: no topology that stands still makes the lead
// change again and again.
func TestStandingTopologiesAvailable(t *testing.T) {
	many(t, Options{Graphs: true, Standing: graphs})
}

// graphs is how many topologies a run of nothing else has.
const graphs = 5

// many runs seeds on all processors and reports the first violations.
func many(t *testing.T, opt Options) {
	var next, steps, elections atomic.Uint64
	next.Store(*flagFirst)
	last := *flagFirst + uint64(*flagSeeds)
	if opt.Elections > 0 {
		last = *flagFirst + uint64(*flagSeeds+9)/10 // each takes as long as ten
	}
	began := time.Now()
	var mu sync.Mutex
	var virtual time.Duration
	longest := 0.0
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
				longest = max(longest, res.Longest)
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
	if longest > 0 {
		t.Logf("in standing topologies no host led, though one could, for at most %.0f %% of the bound", 100*longest)
	}
	if buried := covered[coverBuried]; buried > 0 {
		uneven := covered[coverUneven]
		t.Logf("of %d failovers of a host's elections, %d left them uneven", buried, uneven)
		if 100*uneven > buried+100 {
			t.Errorf("want at most 1 %% of them uneven")
		}
	}
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

// TestSeeds plays runs in which a checker, or the core, was once wrong.
func TestSeeds(t *testing.T) {
	for _, s := range []struct {
		what, mode string
		seed       uint64
	}{
		{"a host leads alone when its wait after a leadership in vain ends, and one that hears it does so too", "available", 36762},
	} {
		t.Run(s.what, func(t *testing.T) {
			o := replay(s.mode, s.seed)
			if _, err := Run(o); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReplay prints the transcript of one seed.
func TestReplay(t *testing.T) {
	if *flagSeed == 0 {
		t.Skip("no -sim.seed given")
	}
	o := replay(*flagMode, *flagSeed)
	o.Trace = os.Stdout
	if _, err := Run(o); err != nil {
		t.Error(err)
	}
}

// replay returns the options of a run of a mode.
func replay(mode string, seed uint64) Options {
	o := Options{Seed: seed, Quorum: !strings.HasSuffix(mode, "available"), Stops: mode == "stops", Standing: 1}
	if strings.HasPrefix(mode, "elections") {
		o.Elections = 6
	}
	if strings.HasPrefix(mode, "graphs") {
		o.Graphs, o.Standing = true, graphs
	}
	return o
}
