//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "failoverlab: needs Linux, whose network namespaces it makes hosts of")
	os.Exit(1)
}
