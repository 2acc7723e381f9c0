// Command stalls prints a line whenever the machine has stood still for longer than is
// fit for tests with leases of a second. It ends with the process that has started it, and
// at once if it may not be scheduled in real time.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"doyen/cmd/internal/testrun"

	"golang.org/x/sys/unix"
)

func main() {
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil || os.Getppid() != parent {
		return
	}
	testrun.WatchStalls(context.Background(), 100*time.Millisecond, func(from time.Time, late time.Duration) {
		fmt.Println(from.UTC().Format("15:04:05.000"), late.Round(time.Millisecond))
	})
}
