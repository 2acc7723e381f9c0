// Command stalls prints a line whenever the machine has stood still for longer than is
// fit for tests with leases of a second, until it is killed.
package main

import (
	"context"
	"fmt"
	"time"

	"doyen/cmd/internal/testrun"
)

func main() {
	testrun.WatchStalls(context.Background(), 100*time.Millisecond, func(from time.Time, late time.Duration) {
		fmt.Println(from.UTC().Format("15:04:05.000"), late.Round(time.Millisecond))
	})
}
