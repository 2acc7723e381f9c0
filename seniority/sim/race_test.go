//go:build race

package sim

// A run is one goroutine, in which the race detector has nothing to find, and takes
// several times as long.
func init() { *flagSeeds = 40 }
