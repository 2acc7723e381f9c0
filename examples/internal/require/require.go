// Package require skips tests of the examples for want of what they need, or
// fails them where nothing may be skipped.
package require

import (
	"os"
	"os/exec"
	"testing"
)

// Tools skips the test without one of the programs; see Missing.
func Tools(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			Missing(t, "this test needs %s: %v", tool, err)
		}
	}
}

// Missing skips the test, or fails it if DOYEN_TEST_REQUIRE is set.
func Missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("DOYEN_TEST_REQUIRE") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
