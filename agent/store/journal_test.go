package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// files are a store's file and its journal, as a crash may leave them.
type files struct{ db, journal []byte }

func readFiles(t *testing.T, path string) files {
	t.Helper()
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(journalPath(path))
	if err != nil {
		t.Fatal(err)
	}
	return files{db, journal}
}

func (f files) write(t *testing.T, path string) {
	t.Helper()
	for file, b := range map[string][]byte{path: f.db, journalPath(path): f.journal} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// text says what an image is.
func (im *image) text() string {
	var b strings.Builder
	fmt.Fprint(&b, im.identity, im.hard.GetTerm(), im.hard.GetVote(), im.hard.GetCommit(), " snapshot ", im.snapshot.GetMetadata().GetIndex())
	for _, e := range im.entries {
		fmt.Fprintf(&b, " %d/%d:%d:%x", e.GetTerm(), e.GetIndex(), len(e.GetData()), checksumOf(e.GetData()))
	}
	return b.String()
}

func checksumOf(b []byte) []byte { return summed(b)[:4] }

// reopened is what a disk holds that is opened from these files.
func reopened(t *testing.T, path string, f files) (string, error) {
	t.Helper()
	f.write(t, path)
	d, err := openDisk(path)
	if err != nil {
		return "", err
	}
	defer d.close()
	im, err := d.load()
	if err != nil {
		return "", err
	}
	return im.text(), nil
}

func openTestDisk(t *testing.T, path string) *boltDisk {
	t.Helper()
	d, err := openDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// begunDisk is a disk of a replica whose log begins after entry 1.
func begunDisk(t *testing.T, path string) *boltDisk {
	t.Helper()
	d := openTestDisk(t, path)
	snapshot := &pb.Snapshot{Data: newMachine().snapshot(), Metadata: &pb.SnapshotMetadata{Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &pb.ConfState{Voters: []uint64{3}}}}
	if err := d.save(&batch{identity: &identity{3, 4}, hard: &pb.HardState{Term: new(uint64(1)), Commit: new(uint64(1))}, snapshot: snapshot, reset: true}); err != nil {
		t.Fatal(err)
	}
	return d
}

// simulated is what the disk of the simulator makes of the same batches.
func simulated(batches []*batch) string {
	d := &simDisk{sim: &sim{}}
	for _, b := range batches {
		d.apply(b)
	}
	return d.durable.text()
}

// TestDiskAfterACrashAnywhere saves batches as raft does, of all sizes, that follow or
// replace each other, and compares what a crash leaves with the disk of the simulator:
// after each save, with any sectors of the last append missing, with the file of before
// or after a transaction, and with a journal that was cleared in part.
func TestDiskAfterACrashAnywhere(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 5))
		path, crashed := filepath.Join(dir, fmt.Sprint(seed)), filepath.Join(dir, "crashed")
		d := begunDisk(t, path)
		batches := []*batch{{identity: &identity{3, 4}, hard: &pb.HardState{Term: new(uint64(1)), Commit: new(uint64(1))}, reset: true,
			snapshot: &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(1))}}}}
		first, last, term, folds, appends := uint64(1), uint64(1), uint64(1), 0, 0
		for step := range 60 {
			b := &batch{}
			if rng.IntN(8) == 0 {
				term++
				last = first + rng.Uint64N(last-first+1)
			}
			for range rng.IntN(4) {
				last++
				data := make([]byte, []int{0, 10, 300, 3000, 200_000}[rng.IntN(5)])
				for i := range data {
					data[i] = byte(rng.Uint32() | 1)
				}
				b.entries = append(b.entries, entry(last, term, string(data)))
			}
			if rng.IntN(3) == 0 {
				b.hard = &pb.HardState{Term: &term, Vote: new(rng.Uint64N(3)), Commit: new(first)}
				b.hard = proto.Clone(b.hard).(*pb.HardState)
			}
			if rng.IntN(8) == 0 && last > first {
				first = last
				b.snapshot = &pb.Snapshot{Data: make([]byte, rng.IntN(9000)), Metadata: &pb.SnapshotMetadata{Index: new(first), Term: new(term)}}
				b.compact = first
			}
			before, epoch, at := readFiles(t, path), d.journal.epoch, d.journal.at
			earlier := simulated(batches)
			if err := d.save(b); err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
			after, want := readFiles(t, path), simulated(batches)
			check := func(what string, f files, wants ...string) {
				t.Helper()
				got, err := reopened(t, crashed, f)
				for _, want := range wants {
					if err == nil && got == want {
						return
					}
				}
				t.Fatalf("seed %d, step %d, %s: want\n%q\ngot\n%s, %v", seed, step, what, wants, got, err)
			}
			if step%4 == 0 {
				check("after the save", after, want)
			}
			if d.journal.epoch != epoch {
				folds++
				stale := files{after.db, bytes.Clone(before.journal)}
				check("before the journal is cleared", stale, want)
				for range 1 + rng.IntN(6) {
					n := rng.Int64N(at/sector+1) * sector
					copy(stale.journal[n:], make([]byte, min(sector, journalSize-n)))
				}
				check("while the journal is cleared", stale, want)
				continue
			}
			appends++
			partial := files{before.db, bytes.Clone(before.journal)}
			whole := true
			for n := at / sector * sector; n < d.journal.at; n += sector {
				if rng.IntN(3) > 0 {
					copy(partial.journal[n:n+sector], after.journal[n:n+sector])
				} else if !bytes.Equal(before.journal[n:n+sector], after.journal[n:n+sector]) {
					whole = false
				}
			}
			if whole {
				check("the whole append", partial, want)
			} else {
				check("a part of the append", partial, earlier)
			}
		}
		if folds < 3 || appends < 30 {
			t.Errorf("the test is no test: %d transactions, %d appends", folds, appends)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJournalRefusesDamage turns over bytes of the journal, cuts it short and takes it
// away: what was acknowledged is there, or the store is refused and left as it is.
func TestJournalRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	path, damaged := filepath.Join(dir, "whole"), filepath.Join(dir, "damaged")
	d := begunDisk(t, path)
	for i := range uint64(20) {
		if err := d.save(&batch{entries: []*pb.Entry{entry(2+i, 1, fmt.Sprint("entry ", i, strings.Repeat(".", int(i)*40)))}}); err != nil {
			t.Fatal(err)
		}
	}
	good, used := readFiles(t, path), int(d.journal.at)
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	want, err := reopened(t, damaged, good)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(what string, journal []byte) {
		t.Helper()
		f := files{good.db, journal}
		got, err := reopened(t, damaged, f)
		switch {
		case err == nil && got != want:
			t.Errorf("%s: taken for good:\n%s\n%s", what, got, want)
		case err != nil && !strings.Contains(err.Error(), damaged+" is damaged (journal: "):
			t.Errorf("%s: %v", what, err)
		case err != nil:
			refused++
			if now := readFiles(t, damaged); !bytes.Equal(now.db, f.db) || !bytes.Equal(now.journal, f.journal) {
				t.Errorf("%s: written to", what)
			}
		}
	}
	flips := 0
	for at := 0; at < used; at += 149 {
		b := bytes.Clone(good.journal)
		b[at] ^= 4
		flips++
		try(fmt.Sprint("byte ", at), b)
	}
	if refused < flips*9/10 { // the rest are bytes between the records
		t.Errorf("of %d flipped bits, %d were noticed", flips, refused)
	}
	for _, n := range []int64{journalSize + 1, 300 << 20} {
		good.write(t, damaged)
		if err := os.Truncate(journalPath(damaged), n); err != nil {
			t.Fatal(err)
		}
		if _, err := openDisk(damaged); err == nil || !strings.Contains(err.Error(), "damaged (journal: ") {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
	for what, mend := range map[string]func() error{
		"no file":    func() error { return os.Remove(damaged) },
		"empty file": func() error { return os.Truncate(damaged, 0) },
	} {
		good.write(t, damaged)
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		_, err := openDisk(damaged)
		if kept, _ := os.ReadFile(journalPath(damaged)); err == nil || !bytes.Equal(kept, good.journal) {
			t.Errorf("%s beside a journal that holds something: got %v", what, err)
		}
	}
	b := bytes.Clone(good.journal)
	copy(b[:4*sector], make([]byte, 4*sector))
	before := refused
	try("a hole at the beginning", b)
	for _, n := range []int{0, 100, used, journalSize - 1} {
		try(fmt.Sprint("cut to ", n), good.journal[:n])
	}
	if refused != before+5 {
		t.Errorf("of a hole and four cuts, %d were noticed", refused-before)
	}
	good.write(t, damaged)
	if err := os.Remove(journalPath(damaged)); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(damaged); err == nil || !strings.Contains(err.Error(), "damaged (journal: ") {
		t.Errorf("taken away: got %v", err)
	}
}

// After a stop the file alone holds all, without its journal and beside a former one.
func TestFileAloneAfterAStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	d := begunDisk(t, path)
	if err := d.save(&batch{entries: []*pb.Entry{entry(2, 1, "journaled")}}); err != nil {
		t.Fatal(err)
	}
	killed := readFiles(t, path)
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	stopped := readFiles(t, path)
	if !isZero(stopped.journal) {
		t.Error("the journal is not empty after a stop")
	}
	want, err := reopened(t, path, stopped)
	if err != nil || !strings.Contains(want, " 1/2:9:") {
		t.Fatalf("after a stop: got %s, %v", want, err)
	}
	if got, err := reopened(t, path, files{stopped.db, killed.journal}); err != nil || got != want {
		t.Errorf("beside a former journal: got %s, %v; want %s", got, err, want)
	}
	stopped.write(t, path)
	if err := os.Remove(journalPath(path)); err != nil {
		t.Fatal(err)
	}
	d = openTestDisk(t, path)
	defer d.close()
	if im, err := d.load(); err != nil || im.text() != want {
		t.Errorf("without a journal: got %v, %v; want %s", im, err, want)
	}
}

// Zeros in a value are not taken for a sector that did not reach the disk.
func TestDamageInAValueOfZerosIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	d := begunDisk(t, path)
	if err := d.save(&batch{entries: []*pb.Entry{entry(2, 1, string(make([]byte, 5000)))}}); err != nil {
		t.Fatal(err)
	}
	f := readFiles(t, path)
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	f.journal[recordHead+20] ^= 1
	if got, err := reopened(t, path, f); err == nil || !strings.Contains(err.Error(), "damaged (journal: ") {
		t.Errorf("taken for good: %s, %v", got, err)
	}
}

// Records of nearly all the room that is left: each is there after a crash.
func TestJournalIsFilledToItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for less := -2; less < 70; less += 7 {
		d := begunDisk(t, path)
		want := []*batch{{entries: []*pb.Entry{entry(2, 1, "first")}}}
		room := journalSize - recordHead - 60
		for _, n := range []int{room - less, 5} {
			want = append(want, &batch{entries: []*pb.Entry{entry(uint64(len(want)+2), 1, strings.Repeat("y", n))}})
		}
		for _, b := range want {
			if err := d.save(b); err != nil {
				t.Fatal(err)
			}
		}
		f := readFiles(t, path)
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		got, err := reopened(t, path, f)
		if all := fmt.Sprintf(" 1/3:%d:", room-less); err != nil || !strings.Contains(got, all) || !strings.Contains(got, " 1/4:5:") {
			t.Errorf("%d bytes less: %.200s, %v", less, got, err)
		}
		if err := errors.Join(os.Remove(path), os.Remove(journalPath(path))); err != nil {
			t.Fatal(err)
		}
	}
}

// A compaction in the transaction that puts what the journal holds leaves no key.
func TestCompactionTakesAllKeys(t *testing.T) {
	d := begunDisk(t, filepath.Join(t.TempDir(), "store.db"))
	const last = 400
	for i := uint64(2); i <= last; i++ {
		d.waiting.add(&batch{entries: []*pb.Entry{entry(i, 1, "x")}})
	}
	snapshot := &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(last - 3)), Term: new(uint64(1))}}
	if err := d.save(&batch{snapshot: snapshot, compact: last - 3}); err != nil {
		t.Fatal(err)
	}
	err := d.db.View(func(tx *bbolt.Tx) error {
		if n := tx.Bucket(entriesBucket).Stats().KeyN; n != 3 {
			t.Errorf("want 3 entries left, got %d", n)
		}
		return nil
	})
	if err := errors.Join(err, d.close()); err != nil {
		t.Fatal(err)
	}
}

// After a write that failed nothing more is taken, and what was acknowledged is there
// when the disk is opened again.
func TestDiskAfterAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for name, fail := range map[string]func(d *boltDisk, readOnly *os.File) *batch{
		"append": func(d *boltDisk, readOnly *os.File) *batch {
			d.journal.file = readOnly
			return &batch{entries: []*pb.Entry{entry(3, 1, "not acknowledged")}}
		},
		"clearing": func(d *boltDisk, readOnly *os.File) *batch {
			d.journal.file = readOnly
			return &batch{identity: &identity{3, 4}}
		},
		"transaction": func(d *boltDisk, _ *os.File) *batch {
			d.db.MaxSize = 1
			return &batch{identity: &identity{3, 4}, entries: []*pb.Entry{entry(3, 1, strings.Repeat("x", 1<<20))}}
		},
	} {
		d := begunDisk(t, path)
		if err := d.save(&batch{entries: []*pb.Entry{entry(2, 1, "acknowledged")}}); err != nil {
			t.Fatal(err)
		}
		writable := d.journal.file
		readOnly, err := os.Open(journalPath(path))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.save(fail(d, readOnly)); err == nil {
			t.Errorf("%s: no error", name)
		}
		d.journal.file = writable
		if err := d.save(&batch{entries: []*pb.Entry{entry(3, 1, "after it")}}); err == nil {
			t.Errorf("%s: a later save is taken", name)
		}
		before := readFiles(t, path)
		if err := errors.Join(d.close(), readOnly.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := readFiles(t, path); !bytes.Equal(before.db, after.db) || !bytes.Equal(before.journal, after.journal) {
			t.Errorf("%s: written to when it was closed", name)
		}
		d = openTestDisk(t, path)
		im, err := d.load()
		if err != nil || len(im.entries) != 1 || string(im.entries[0].GetData()) != "acknowledged" {
			t.Errorf("%s: want the entry that was acknowledged, got %v, %v", name, im.entries, err)
		}
		if err := errors.Join(d.close(), os.Remove(path), os.Remove(journalPath(path))); err != nil {
			t.Fatal(err)
		}
	}
}
