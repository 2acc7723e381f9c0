package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	pb "go.etcd.io/raft/v3/raftpb"
)

func entry(index, term uint64, text string) *pb.Entry {
	return &pb.Entry{Index: &index, Term: &term, Data: []byte(text)}
}

// filledDisk is a file with some entries and a snapshot.
func filledDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	d, err := openDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := &pb.Snapshot{Data: newMachine().snapshot(), Metadata: &pb.SnapshotMetadata{Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &pb.ConfState{Voters: []uint64{3}}}}
	b := &batch{identity: &identity{id: 3, group: 4}, hard: &pb.HardState{Term: new(uint64(2)), Commit: new(uint64(3))}, snapshot: snapshot}
	for i := range uint64(50) {
		b.entries = append(b.entries, entry(i+2, 2, fmt.Sprint("entry ", i, strings.Repeat(".", 500))))
	}
	if err := d.save(b); err != nil {
		t.Fatal(err)
	}
	// Entries from 40 on are replaced by one.
	if err := d.save(&batch{entries: []*pb.Entry{entry(40, 3, "new")}}); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDiskKeepsWhatWasSaved(t *testing.T) {
	path := filledDisk(t)
	d, err := openDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := d.load()
	if err != nil {
		t.Fatal(err)
	}
	last := im.entries[len(im.entries)-1]
	if im.identity != (identity{3, 4}) || im.hard.GetTerm() != 2 || len(im.entries) != 39 || last.GetIndex() != 40 || string(last.GetData()) != "new" {
		t.Errorf("got %+v with %d entries, the last %v", im.identity, len(im.entries), last)
	}
	if err := d.save(&batch{compact: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.load(); err == nil {
		t.Error("a gap after the snapshot was not noticed")
	}
	d.close()
}

// TestDiskRefusesDamage turns bytes of the file over and cuts it short: each time the
// file is either refused with its name, or holds what was saved; and it is not written to.
func TestDiskRefusesDamage(t *testing.T) {
	path := filledDisk(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(what string, damaged []byte) {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := openDisk(path)
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), path+" is damaged") {
				t.Errorf("%s: got %v", what, err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, damaged) {
				t.Errorf("%s: the file was written to", what)
			}
			return
		}
		im, err := d.load()
		if err != nil || len(im.entries) != 39 || im.hard.GetTerm() != 2 {
			t.Errorf("%s: taken for good, with %d entries: %v", what, len(im.entries), err)
		}
		d.close()
	}
	if at := bytes.Index(whole, []byte("entry 7")); at > 0 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		try("one bit of an entry", damaged)
	}
	if refused != 1 {
		t.Error("a flipped bit of an entry was not noticed")
	}
	// All of what is written of the two meta pages: bbolt would go on with the other one.
	before := refused
	for page := range 2 {
		for at := range 64 {
			damaged := bytes.Clone(whole)
			damaged[page*os.Getpagesize()+16+at] ^= 1
			try(fmt.Sprint("meta page ", page, ", byte ", at), damaged)
		}
	}
	if refused != before+128 {
		t.Errorf("of 128 bytes of the meta pages, %d were noticed", refused-before)
	}
	for at := 0; at < len(whole); at += 1777 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x40
		try(fmt.Sprint("byte ", at), damaged)
	}
	for _, length := range []int{100, 4096, 8192, len(whole) / 2} {
		try(fmt.Sprint("cut to ", length), whole[:length])
	}
}

// A first start that was cut short has kept nothing: the next one begins anew.
func TestDiskWhoseFirstStartWasCutShort(t *testing.T) {
	first := filepath.Join(t.TempDir(), "first.db")
	db, err := bbolt.Open(first, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	begun, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 4096, 8192, 12288} {
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, begun[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := openDisk(path)
		if err != nil {
			t.Errorf("cut to %d bytes: %v", n, err)
			continue
		}
		d.close()
	}
}

func TestDiskInUse(t *testing.T) {
	path := filledDisk(t)
	d := openTestDisk(t, path)
	defer d.close()
	if _, err := openDisk(path); err == nil || err.Error() != "store: "+path+" is in use by another process" {
		t.Errorf("a file that is open: got %v", err)
	}
}
