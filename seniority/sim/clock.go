package sim

import (
	"time"

	"doyen/seniority"
)

// clock is a host's pair of clocks as functions of global time. The boot clock
// runs at its own rate and, unless a hypervisor stops the guest, never stands
// still; the wall clock follows it at a distance that jumps.
type clock struct {
	rate float64
	off  time.Duration // boot = off + rate × global
	wall int64         // Unix milliseconds at boot = 0
}

func (c *clock) boot(global time.Duration) time.Duration {
	return c.off + time.Duration(float64(global)*c.rate)
}

func (c *clock) now(global time.Duration) seniority.Now {
	b := c.boot(global)
	return seniority.Now{Boot: b, Wall: c.wall + b.Milliseconds()}
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
