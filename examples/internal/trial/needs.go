package trial

import (
	"os"
	"os/exec"
	"testing"
)

// Needs skips a test if one of these programs is missing, as Missing does.
func Needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			Missing(t, "this test needs %s: %v", program, err)
		}
	}
}

// Missing skips a test because this host lacks something, or fails it if
// DOYEN_TEST_REQUIRE is 1.
func Missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
