package sim

import (
	"time"

	"doyen/seniority"
)

// clock is a host's pair of clocks as functions of global time. The boot clock
// runs at its own rate and, unless a hypervisor stops the guest, never stands
// still; the wall clock is kept by others, at a distance that jumps.
type clock struct {
	rate float64
	off  time.Duration // boot = off + rate × global
	wall int64         // Unix milliseconds at global = 0
}

func (c *clock) boot(global time.Duration) time.Duration {
	return c.off + time.Duration(float64(global)*c.rate)
}

func (c *clock) now(global time.Duration) seniority.Now {
	return seniority.Now{Boot: c.boot(global), Wall: c.wall + global.Milliseconds()}
}

// global returns the first global time at which the boot clock shows at least b.
func (c *clock) global(b time.Duration) time.Duration {
	g := time.Duration(float64(b-c.off) / c.rate)
	for c.boot(g) < b {
		g++
	}
	return g
}

// stop holds the clock for d of global time.
func (c *clock) stop(d time.Duration) { c.off -= time.Duration(float64(d) * c.rate) }
