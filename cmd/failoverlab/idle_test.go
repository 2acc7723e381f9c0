//go:build linux

package main

import (
	"os"
	"testing"
	"time"
)

func TestIdleCases(t *testing.T) {
	got, err := idleCases("lan,fast-quorum", "1,32")
	want := []idleCase{{"lan", false, 1}, {"lan", false, 32}, {"fast", true, 1}, {"fast", true, 32}}
	if err != nil || len(got) != len(want) {
		t.Fatalf("want %+v, got %+v, %v", want, got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("want %+v, got %+v", want[i], got[i])
		}
	}
	for _, n := range []string{"0", "130"} {
		if got, err := idleCases("lan", n); err == nil {
			t.Errorf("want no cases of %s elections, got %+v", n, got)
		}
	}
	if got, want := furtherElections(2), "elections:\n  e1: {floating-ip: 10.77.0.101/24@eth0}\n  e2: {floating-ip: 10.77.0.102/24@eth0}\n"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

// What this process has used is counted, and rises.
func TestCPUOf(t *testing.T) {
	before, _, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for after < before+time.Millisecond { // each look takes some
		if after, _, err = cpuOf(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if kib, err := pssOf(os.Getpid()); err != nil || kib <= 0 {
		t.Errorf("want the memory of this process, got %d KiB, %v", kib, err)
	}
}
