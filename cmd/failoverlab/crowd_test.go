//go:build linux

package main

import (
	"io"
	"testing"
)

// TestCrowd is its short form, with six real agents and their keepers.
func TestCrowd(t *testing.T) {
	program, agent, dir := theLab(t, "takes some forty seconds")
	runLab(t, program, dir, "-agent", agent, "-crowd", "6", "-calm", "5s", "-runs", "1", "-logs", dir)
}

func TestCrowdSizes(t *testing.T) {
	for size, ok := range map[string]bool{"-1": false, "4": false, "5": true, "1000": true, "1001": false} {
		if _, err := parse([]string{"-crowd", size}, io.Discard); (err == nil) != ok {
			t.Errorf("-crowd %s: got %v", size, err)
		}
	}
}
