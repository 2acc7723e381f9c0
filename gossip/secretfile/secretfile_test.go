package secretfile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhoMayHaveAccess(t *testing.T) {
	for _, tc := range []struct {
		mode        fs.FileMode
		own, others bool // whether it is taken, if it is one's own or another's
	}{
		{0o600, true, true},
		{0o400, true, true},
		{0o700, true, true},
		{0o640, false, true},
		{0o440, false, true},
		{0o660, false, false},
		{0o620, false, false},
		{0o610, false, false},
		{0o604, false, false},
		{0o602, false, false},
		{0o601, false, false},
		{0o644, false, false},
		{0o666, false, false},
	} {
		if why := exposed(tc.mode, true); (why == "") != tc.own {
			t.Errorf("%04o of one's own: want it taken: %v, got %q", tc.mode, tc.own, why)
		}
		if why := exposed(tc.mode, false); (why == "") != tc.others {
			t.Errorf("%04o of another's: want it taken: %v, got %q", tc.mode, tc.others, why)
		}
	}
}

func TestRead(t *testing.T) {
	const secret = "c2VjcmV0"
	for _, tc := range []struct {
		mode fs.FileMode
		text string
		err  string
	}{
		{0o600, secret, ""},
		{0o644, secret, "with mode 0644 every user of this host has access to it; make it 0600"},
		{0o640, secret, "its group has access to it"},
		{0o600, strings.Repeat(secret, maxSize), "is longer than 65536 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(tc.text), tc.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if tc.err == "" {
			if err != nil || !bytes.Equal(got, []byte(tc.text)) {
				t.Errorf("%04o: want what the file holds, got %q, %v", tc.mode, got, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), path) {
			t.Errorf("%04o: want an error about %s with %q, got %v", tc.mode, path, tc.err, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("want nothing of the secret in the error, got %v", err)
		}
	}
	for _, path := range []string{"/nonexistent", t.TempDir()} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("want an error about %s, got %v", path, err)
		}
	}
}
