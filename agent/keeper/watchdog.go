package keeper

import (
	"sync"
	"time"

	"doyen/agent/watchdog"
)

// WatchdogReport says that the watchdog of the host has been armed or disarmed.
type WatchdogReport struct {
	Armed bool `json:",omitempty"`
	// Timeout is how long after its keeper has stopped the host restarts.
	Timeout time.Duration `json:",omitempty"`
	// NoWayOut: it cannot be disarmed, and is fed as long as the keeper lives.
	NoWayOut bool `json:",omitempty"`
	// Err, if not "", says why it could not be armed.
	Err string `json:",omitempty"`
}

// guard is the watchdog of the host. It is armed while an election holds something
// that the kernel cannot take back by itself, and fed while the executors of all
// such elections go on. Its methods are safe for concurrent use.
type guard struct {
	path    string // "": none
	timeout time.Duration
	report  func(Report)

	mu     sync.Mutex
	device *watchdog.Device
	beats  map[string]time.Duration // when those that hold something went on last
	fed    time.Duration
	failed bool          // feeding has failed, and it was told
	stop   chan struct{} // ends the feeding of a device that cannot be disarmed
}

// takeOver opens a watchdog that a former keeper has left armed: until all releases
// at start have ended, something may be held.
func (g *guard) takeOver() {
	if g.path == "" {
		return
	}
	if info, err := watchdog.Check(g.path); err == nil && info.Active {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open()
	}
}

// armed reports whether the watchdog is.
func (g *guard) armed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.device != nil
}

// hold arms the watchdog for an election that is about to hold something.
func (g *guard) hold(election string, now time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.device == nil {
		if err := g.open(); err != nil {
			return err
		}
	}
	g.beats[election] = now
	return nil
}

// open opens the device. The caller holds mu.
func (g *guard) open() error {
	d, err := watchdog.Open(g.path, g.timeout)
	if err != nil {
		g.report(Report{Watchdog: &WatchdogReport{Err: errText(err)}})
		return err
	}
	g.device, g.failed, g.fed = d, false, 0
	g.timeout = min(g.timeout, d.Timeout())
	g.report(Report{Watchdog: &WatchdogReport{Armed: true, Timeout: d.Timeout(), NoWayOut: d.NoWayOut()}})
	if d.NoWayOut() && g.stop == nil {
		g.stop = make(chan struct{})
		go g.feedForGood(watchdog.FeedEvery(d.Timeout()), g.stop)
	}
	return nil
}

// every is how often an election that holds something has to go on.
func (g *guard) every() time.Duration { return watchdog.FeedEvery(g.timeout) }

// beat says that an election goes on, and feeds the device if all do.
func (g *guard) beat(election string, now time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.beats[election] = now
	if g.device == nil || g.fed != 0 && now < g.fed+g.every()/2 {
		return
	}
	for _, at := range g.beats {
		if now-at > 2*g.every() {
			return // its executor hangs: the host may have to restart
		}
	}
	g.fed = now
	g.feed()
}

// feed feeds the device, and tells once of a failure. The caller holds mu.
func (g *guard) feed() {
	err := g.device.Feed()
	if err != nil && !g.failed {
		g.report(Report{Note: errText(err)})
	}
	g.failed = err != nil
}

// drop says that an election holds nothing any more. When none does, the watchdog
// is disarmed.
func (g *guard) drop(election string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.beats, election)
	if g.device != nil && len(g.beats) == 0 && !g.device.NoWayOut() {
		g.close()
	}
}

// close disarms the watchdog. The caller holds mu.
func (g *guard) close() {
	if err := g.device.Close(); err != nil {
		g.report(Report{Note: errText(err)})
	}
	g.device, g.fed = nil, 0
	g.report(Report{Watchdog: &WatchdogReport{}})
}

// feedForGood feeds a device that cannot be disarmed while nothing is held.
func (g *guard) feedForGood(every time.Duration, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(every):
		}
		g.mu.Lock()
		if g.device != nil && len(g.beats) == 0 {
			g.feed()
		}
		g.mu.Unlock()
	}
}

// end disarms the watchdog when the keeper ends, as far as that is possible.
func (g *guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.device == nil {
		return
	}
	if g.device.NoWayOut() {
		close(g.stop)
		g.report(Report{Note: "the watchdog cannot be disarmed (nowayout): the host restarts in " + g.device.Timeout().String() + " unless an agent starts before"})
	}
	g.close()
}
