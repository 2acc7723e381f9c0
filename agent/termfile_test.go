package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// diskSector is the least that a disk writes as a whole.
const diskSector = 512

// A crash in the midst of a write leaves any sectors of it unwritten. What is read then is
// what was stored before, or what was being stored.
func TestTermsSurviveACrash(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, elections := range []int{0, 3, 128} {
		t.Run(fmt.Sprint(elections), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), termName)
			f := &termFile{path: path}
			stored := someTerms(random, elections, 1)
			if err := f.write(stored); err != nil {
				t.Fatal(err)
			}
			for n := range 20 {
				before := read(t, path)
				next := someTerms(random, elections, uint64(n+2))
				if err := f.write(next); err != nil {
					t.Fatal(err)
				}
				after := read(t, path)
				if len(after) != len(before) {
					continue // made anew, and renamed
				}
				for range 200 {
					r, _, err := parseTerms(torn(random, before, after))
					if err != nil || !reflect.DeepEqual(r.promises, stored) && !reflect.DeepEqual(r.promises, next) {
						t.Fatalf("want %+v or %+v, got %+v and %v", stored, next, r.promises, err)
					}
				}
				stored = next
			}
		})
	}
}

// someTerms are promises of a number of elections.
func someTerms(random *rand.Rand, elections int, term uint64) promises {
	p := promises{Format: stateFormat, HighestTerm: term, LongestLease: time.Duration(random.Int64N(int64(time.Hour)))}
	for i := range elections {
		if p.Elections == nil {
			p.Elections = map[string]uint64{}
		}
		p.Elections[fmt.Sprint("election-", i)] = random.Uint64N(1 << 53)
	}
	return p
}

// torn is a file of which some sectors have been written and some have not.
func torn(random *rand.Rand, before, after []byte) []byte {
	b := bytes.Clone(before)
	for at := 0; at < len(b); at += diskSector {
		if random.IntN(2) == 0 {
			copy(b[at:at+diskSector], after[at:])
		}
	}
	return b
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A write needs no new file and no new length, which would be commits of the file
// system's journal; unless there are more elections than the file has room for.
func TestTermsAreWrittenOver(t *testing.T) {
	path := t.TempDir()
	s, _ := openKept(t, path)
	var first os.FileInfo
	for term := uint64(1); term <= 10; term++ {
		if err := s.keepTerm(GroupElection, promise{term: term}, time.Second); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(path, termName))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = info
		}
		if !os.SameFile(first, info) || info.Size() != first.Size() {
			t.Fatalf("term %d: want the same file of %d bytes, got one of %d", term, first.Size(), info.Size())
		}
	}
}

// One damaged record is what a crash may leave, and said; two are an error, and so is a
// file of another length.
func TestDamagedTerms(t *testing.T) {
	stateOf := func(t *testing.T) string {
		path := t.TempDir()
		s, _, err := openState(path)
		if err != nil {
			t.Fatal(err)
		}
		for term := uint64(1); term <= 3; term++ { // 1 in both, 2 in the first, 3 in the second or the other way round
			if err := s.keepTerm(GroupElection, promise{term: term}, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		s.lock.Close() // the process is killed
		return path
	}
	damage := func(t *testing.T, path string, records ...int) {
		name := filepath.Join(path, termName)
		b := read(t, name)
		for _, r := range records {
			b[r*recordUnit+len(recordStart)+20] ^= 1
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := map[uint64]bool{}
	for r := range 2 {
		path := stateOf(t)
		damage(t, path, r)
		s, _ := openKept(t, path)
		got[s.kept.HighestTerm] = true
		if notes := strings.Join(s.notes(), "\n"); !strings.Contains(notes, "one of the two records of "+filepath.Join(path, termName)+" is damaged (a checksum does not fit)") {
			t.Errorf("the log is told %q", notes)
		}
	}
	if !got[2] || !got[3] {
		t.Errorf("want the term of the whole record, 3 and 2, got %v", got)
	}
	both := stateOf(t)
	damage(t, both, 0, 1)
	short := stateOf(t)
	if err := os.Truncate(filepath.Join(short, termName), 5000); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{both: "is damaged (a checksum does not fit): put a copy", short: "is damaged (its length of 5000 bytes is not that of two records): put a copy"} {
		if s, _, err := openState(path); err == nil || !strings.Contains(err.Error(), want) {
			s.close()
			t.Errorf("want an error that says %q, got %v", want, err)
		}
	}
}

// After a stop an older version, which knows the file as plain JSON, reads all of it; this
// version reads what an older one has left.
func TestTermsAreJSONAfterAStop(t *testing.T) {
	path := t.TempDir()
	name := filepath.Join(path, termName)
	if err := os.WriteFile(name, []byte(`{"highest_term":12,"longest_lease_ns":1000000000}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for term := uint64(13); term <= 16; term++ {
		s, _ := openKept(t, path)
		if s.kept.HighestTerm != term-1 {
			t.Fatalf("want term %d, got %d", term-1, s.kept.HighestTerm)
		}
		if err := s.keepTerm(GroupElection, promise{term: term}, time.Second); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		var p promises
		if err := json.Unmarshal(read(t, name), &p); err != nil || p.HighestTerm != term {
			t.Fatalf("want term %d, got %+v and %v", term, p, err)
		}
	}
}

// A file that someone removes or replaces under a running agent is made anew, or is
// an error that the caller hears of.
func TestTermsOfAFileThatIsGone(t *testing.T) {
	path := t.TempDir()
	name := filepath.Join(path, termName)
	s, _ := openKept(t, path)
	keep := func(term uint64) error { return s.keepTerm(GroupElection, promise{term: term}, time.Second) }
	if err := keep(1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := keep(2); err != nil {
		t.Fatal(err)
	}
	if r, _, err := readTerms(name); err != nil || r.HighestTerm != 2 {
		t.Errorf("want term 2, got %+v and %v", r, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := keep(3); err == nil || !strings.HasPrefix(err.Error(), "state-dir: ") {
		t.Errorf("want an error that begins with state-dir, got %v", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := keep(3); err != nil {
		t.Fatal(err)
	}
}

// Nothing that a disk may hold ends the program, and what is read as promises is read so
// again when it has been written.
func FuzzTerms(f *testing.F) {
	line, err := recordLine(record{7, promises{Format: 1, HighestTerm: 12, LongestLease: time.Second}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Repeat(filled(line, recordUnit), 2))
	f.Add([]byte(`{"highest_term":12}`))
	f.Add([]byte(recordStart))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _, err := parseTerms(text)
		if err != nil {
			return
		}
		if line, err = recordLine(r); err != nil {
			t.Fatal(err)
		}
		size := (len(line) + recordUnit - 1) / recordUnit * recordUnit
		if again, damaged, err := parseTerms(bytes.Repeat(filled(line, size), 2)); err != nil || damaged != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("want %+v, got %+v, %v and %v", r, again, damaged, err)
		}
	})
}

// What a voter waits for before it confirms a term that is new to it.
func BenchmarkKeepTerm(b *testing.B) {
	s, _, err := openState(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	for term := uint64(1); b.Loop(); term++ {
		if err := s.keepTerm(GroupElection, promise{term: term}, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
