package gossip

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doyen/gossip/findings"
	"doyen/gossip/simnet"
	"doyen/gossip/transport"

	"github.com/hashicorp/memberlist"
)

// key is a key of n equal bytes.
func key(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

// line is a key as a line of a file.
func line(k []byte) string { return base64.StdEncoding.EncodeToString(k) }

// keyFile writes lines to a file.
func keyFile(t testing.TB, path string, lines ...string) string {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "keys")
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadKeys(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		keys  int
		err   string
	}{
		{[]string{line(key(16, 1)), "", "# old", line(key(24, 2)), " " + line(key(32, 3))}, 3, ""},
		{[]string{line(key(16, 1)), "not base64!"}, 0, "line 2 is not base64"},
		{[]string{"# new", line(key(32, 1)), line(key(17, 2))}, 0, "line 3 holds a key of 17 bytes"},
		{[]string{line(key(32, 1)), "", line(key(16, 1)), line(key(32, 1))}, 0, "line 4 holds the same key as line 1"},
		{[]string{"", "# nothing"}, 0, "holds no key"},
		{nil, 0, "holds no key"},
		{[]string{strings.Repeat("A", 1<<16)}, 0, "longer than"},
	} {
		path := keyFile(t, "", tc.lines...)
		keys, err := readKeys(path)
		if tc.err == "" {
			if err != nil || len(keys) != tc.keys {
				t.Errorf("want %d keys of %q, got %d, %v", tc.keys, tc.lines, len(keys), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.HasPrefix(err.Error(), "encrypt-key-file") || !strings.Contains(err.Error(), path) {
			t.Errorf("want an error about %q that names the flag and the file, got %v", tc.err, err)
		}
		if err != nil && strings.Contains(err.Error(), "not base64!") {
			t.Errorf("want no key in the error, got %v", err)
		}
	}
	open := keyFile(t, "", line(key(32, 1)))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readKeys(open); err == nil || !strings.Contains(err.Error(), "encrypt-key-file: "+open+" is refused") {
		t.Errorf("want a file refused that others can read, got %v", err)
	}
	if _, err := readKeys("/nonexistent"); err == nil || !strings.Contains(err.Error(), "encrypt-key-file") {
		t.Errorf("want the flag in the error of a missing file, got %v", err)
	}
}

func TestRekeyHoldsExactlyTheNewKeysInOrder(t *testing.T) {
	k := func(b byte) []byte { return key(32, b) }
	for _, tc := range [][2][][]byte{
		{{k(1)}, {k(1), k(2)}},
		{{k(1), k(2)}, {k(2), k(1)}},
		{{k(1), k(2)}, {k(2)}},
		{{k(1), k(2), k(3)}, {k(4)}},
		{{k(1), k(2), k(3), k(4)}, {k(3), k(5), k(1)}},
	} {
		ring, err := memberlist.NewKeyring(tc[0], tc[0][0])
		if err != nil {
			t.Fatal(err)
		}
		before := ring.GetKeys()
		kept := make([][]byte, len(before))
		copy(kept, before)
		if err := rekey(ring, tc[1]); err != nil {
			t.Error(err)
		}
		if got := ring.GetKeys(); !equalKeys(tc[1], got) {
			t.Errorf("want %v after %v, got %v", tc[1], tc[0], got)
		}
		if !equalKeys(kept, before) {
			t.Errorf("want the keys that memberlist is reading untouched, got %v", before)
		}
	}
}

func equalKeys(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func TestRotationLosesNoMember(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		old, fresh := line(key(32, 1)), line(key(32, 2))
		var all []*Gossip
		var files []string
		for range 3 {
			files = append(files, keyFile(t, "", old))
			all = append(all, start(t, Config{Transport: n.Host(), KeyFile: files[len(files)-1], Seeds: []string{"10.0.0.1:4000"}}))
		}
		time.Sleep(5 * time.Second)
		for _, lines := range [][]string{{old, fresh}, {fresh, old}, {fresh}} {
			for i, g := range all {
				keyFile(t, files[i], lines...)
				if err := g.Rekey(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				for _, g := range all {
					wantNames(t, g, all...)
					if c := g.Counters()["undecryptable"]; c > 0 {
						t.Errorf("want nothing lost with keys %v, got %d", lines, c)
					}
				}
			}
		}
		all[0].OnQuery(func(bool) []byte { return []byte("state") })
		if answer, udp, err := all[1].Query(t.Context(), all[0].Name()); string(answer) != "state" || !udp || err != nil {
			t.Errorf("want an answer, got %q, %v, %v", answer, udp, err)
		}
		keyFile(t, files[0], fresh, "half a li")
		if err := all[0].Rekey(); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("want a half-readable file refused by its line, got %v", err)
		}
		time.Sleep(time.Minute)
		wantNames(t, all[0], all...)
	})
}

func TestOtherKeysAreFoundOnBothSides(t *testing.T) {
	for _, other := range []string{"", line(key(32, 2))} {
		bubble(t, func(t *testing.T) {
			var n simnet.Network
			a := start(t, Config{Transport: n.Host(), KeyFile: keyFile(t, "", line(key(32, 1)))})
			c := Config{Transport: n.Host(), Seeds: []string{a.Addr()}}
			if other != "" {
				c.KeyFile = keyFile(t, "", other)
			}
			b := start(t, c)
			time.Sleep(20 * time.Second)
			wantNames(t, a, a)
			wantNames(t, b, b)
			found(t, a, findings.Undecryptable)
			if f := found(t, b, findings.Undecryptable); !f.Degrades {
				t.Errorf("want a seed with other keys to need a hand, got %+v", f)
			}
			if a.Counters()["undecryptable"] == 0 {
				t.Errorf("want it counted, got %v", a.Counters())
			}
			b.members.put(Peer{Member: a.members.own().Member})
			a.OnQuery(func(bool) []byte { return []byte("secret") })
			if answer, _, err := b.Query(t.Context(), a.Name()); err == nil {
				t.Errorf("want no answer without the key, got %q", answer)
			}
		})
	}
}

// Rubbish of somebody who is no member, seed or former member is told, and
// makes nothing look ill.
func TestRubbishOfAStrangerDegradesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n simnet.Network
		a := start(t, Config{Transport: n.Host(), KeyFile: keyFile(t, "", line(key(32, 1)))})
		b := start(t, Config{Transport: n.Host(), KeyFile: a.cfg.KeyFile, Seeds: []string{a.Addr()}})
		time.Sleep(2 * time.Second)
		packet := append([]byte{transport.LabelByte, byte(len(a.mux.Label()))}, a.mux.Label()...)
		packet = append(append(packet, 1), make([]byte, 100)...)
		n.Host().WriteTo(packet, a.Addr())
		time.Sleep(time.Second)
		if f := found(t, a, findings.Undecryptable); f.Degrades || f.Member != "10.0.0.3" {
			t.Errorf("want it told of 10.0.0.3 and nothing degraded, got %+v", f)
		}
		n.HostAt(netip.MustParseAddrPort("10.0.0.2:5000")).WriteTo(packet, a.Addr())
		time.Sleep(time.Second)
		all := a.Findings()
		if last := all[len(all)-1]; !last.Degrades && !all[0].Degrades {
			t.Errorf("want rubbish from the host of member %s to need a hand, got %+v", b.Name(), all)
		}
	})
}

func TestSealAndOpen(t *testing.T) {
	ring, err := memberlist.NewKeyring([][]byte{key(16, 2)}, key(16, 1))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := seal(ring, []byte("text"), []byte("context"))
	if err != nil || bytes.Contains(sealed, []byte("text")) {
		t.Fatalf("want it sealed, got %q, %v", sealed, err)
	}
	if err := ring.UseKey(key(16, 2)); err != nil {
		t.Fatal(err)
	}
	if plain, err := open(ring, sealed, []byte("context")); err != nil || string(plain) != "text" {
		t.Errorf("want an older key to open, got %q, %v", plain, err)
	}
	if _, err := open(ring, sealed, []byte("other")); err == nil {
		t.Error("want another context refused")
	}
	if _, err := open(ring, sealed[:5], []byte("context")); err == nil {
		t.Error("want a short text refused")
	}
}
