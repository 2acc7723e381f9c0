//go:build linux

package floatingip

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRest is what leaders at rest cost with an address each: three renewals a second, and
// a check every five seconds. A second lasts for 20 ms here. It reports the processor time of
// this process for a second of one leader.
func BenchmarkRest(b *testing.B) {
	for _, leaders := range []int{1, 10, 40} {
		b.Run(fmt.Sprint(leaders), func(b *testing.B) {
			h, _ := pair(b)
			var now atomic.Int64
			now.Store(int64(time.Hour))
			clock := func() time.Duration { return time.Duration(now.Load()) }
			const lease = 2 * time.Second
			var sets []*Set
			h.do(func() {
				for n := range leaders {
					addrs, err := ParseAll([]string{fmt.Sprintf("10.9.8.%d/24@eth0", 100+n)})
					must(b, err)
					s, err := New(Config{Addresses: addrs, Quorum: true, Leads: func() bool { return true }, Now: clock})
					must(b, err)
					b.Cleanup(func() { s.Close() })
					must(b, s.Begin())
					must(b, s.Take(clock()+lease))
					sets = append(sets, s)
				}
			})
			began := processorTime(b)
			for second := range b.N {
				for range 3 {
					now.Add(int64(time.Second / 3))
					for _, s := range sets {
						must(b, s.Renew(clock()+lease))
					}
					time.Sleep(20 * time.Millisecond / 3)
				}
				for n, s := range sets {
					if (second+n)%5 == 0 {
						must(b, s.Check())
					}
				}
			}
			b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N*leaders), "cpu-µs/leader")
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var used unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
