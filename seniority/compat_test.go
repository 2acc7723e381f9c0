package seniority

import (
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestMessagesOf010AreRead reads what version 0.1.0 writes for each of the samples.
func TestMessagesOf010AreRead(t *testing.T) {
	text, err := os.ReadFile("testdata/messages-0.1.0.hex")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	all := samples()
	if len(lines) > len(all) || len(lines) < 8 {
		t.Fatalf("got %d lines for %d samples", len(lines), len(all))
	}
	for i, line := range lines {
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseMessage(b); err != nil || !reflect.DeepEqual(got, all[i]) {
			t.Errorf("line %d: got %+v, %v; want %+v", i+1, got, err, all[i])
		}
	}
}
