package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"doyen/gossip/portable"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

const (
	// journalSize is how long the file of a journal is, always: an append writes over
	// what is there, so that a sync need not note a new length.
	journalSize = 2 << 20
	// recordHead is how many bytes a record's epoch, its length and the checksums of
	// its body and of the head before it take. Records begin at multiples of
	// recordAlign, so no head lies in two sectors.
	recordHead, recordAlign = 20, 32
	// sector is the least that a disk writes as a whole.
	sector = 512
)

// journal is the file that takes the batches between two transactions of bbolt. A
// transaction syncs twice, its pages and then the page that names them; an append
// syncs once. Each record carries the epoch that the last transaction drew; records of
// another epoch are in the file already, and are ignored. Behind the last record there
// are zeros.
type journal struct {
	file  *os.File
	epoch uint64
	at    int64 // where the next record begins
}

func journalPath(path string) string { return path + ".journal" }

// openJournal opens the journal, or makes one of zeros; both are on disk when it returns,
// with their names. It must be cleared before the first append.
func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, at: journalSize}
	if err := j.begin(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// begin gives the file its length, and syncs it in any case: what a former run has
// written may be in the page cache alone.
func (j *journal) begin() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != journalSize {
		err = errors.Join(j.file.Truncate(journalSize), j.zero())
	}
	return errors.Join(err, portable.SyncData(j.file), portable.SyncDir(filepath.Dir(j.file.Name())))
}

// zero writes zeros over all records, in pieces: Linux may keep what one call writes in one
// folio of the page cache, and each append looks at every block of its folio.
func (j *journal) zero() error {
	piece := make([]byte, 16<<10)
	for at := int64(0); at < j.at; at += int64(len(piece)) {
		if _, err := j.file.WriteAt(piece[:min(int64(len(piece)), j.at-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// clear empties the journal for an epoch that a transaction has put on disk.
func (j *journal) clear(epoch uint64) error {
	if err := errors.Join(j.zero(), portable.SyncData(j.file)); err != nil {
		return err
	}
	j.epoch, j.at = epoch, 0
	return nil
}

// append writes the hard state and the entries of a batch, which are on disk when it
// returns; false: there is no room for them.
func (j *journal) append(b *batch) (bool, error) {
	hard := b.hard
	if hard == nil {
		hard = &pb.HardState{}
	}
	most := recordHead + proto.Size(hard) + binary.MaxVarintLen32
	for _, e := range b.entries {
		most += proto.Size(e) + binary.MaxVarintLen32
	}
	if j.at+aligned(int64(most)) > journalSize {
		return false, nil
	}
	var buffer bytes.Buffer
	buffer.Grow(most)
	buffer.Write(make([]byte, recordHead))
	if _, err := protodelim.MarshalTo(&buffer, hard); err != nil {
		return false, err
	}
	for _, e := range b.entries {
		if _, err := protodelim.MarshalTo(&buffer, e); err != nil {
			return false, err
		}
	}
	record := buffer.Bytes()
	body := record[recordHead:]
	mask(body, j.epoch)
	binary.BigEndian.PutUint64(record, j.epoch)
	binary.BigEndian.PutUint32(record[8:], uint32(len(body)))
	binary.BigEndian.PutUint32(record[12:], crc32.Checksum(body, checksums))
	binary.BigEndian.PutUint32(record[16:], crc32.Checksum(record[:16], checksums))
	if _, err := j.file.WriteAt(record, j.at); err != nil {
		return false, err
	}
	j.at += aligned(int64(len(record)))
	return true, portable.SyncData(j.file)
}

// mask combines a body with its epoch, and undoes that. So no sector of it is zero, not
// even of a value of zeros, and a zero sector has not reached the disk.
func mask(body []byte, epoch uint64) {
	for ; len(body) >= 8; body = body[8:] {
		binary.BigEndian.PutUint64(body, binary.BigEndian.Uint64(body)^epoch)
	}
	for i := range body {
		body[i] ^= byte(epoch >> (56 - 8*i))
	}
}

func aligned(n int64) int64 { return (n + recordAlign - 1) / recordAlign * recordAlign }

// readJournal returns what the journal of an epoch holds, as one batch. A last
// record that a crash has cut short was never acknowledged, and is left out. Anything
// else that append cannot have written is an error.
func readJournal(path string, epoch uint64) (*batch, error) {
	b, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	if len(b) != journalSize {
		return nil, fmt.Errorf("it has not the length of %d bytes", journalSize)
	}
	all := &batch{}
	at := 0
	for at < len(b) {
		rec, next, err := readRecord(b, at, epoch)
		if err != nil {
			return nil, fmt.Errorf("record at byte %d: %w", at, err)
		}
		at = next
		if rec == nil {
			break
		}
		all.add(rec)
	}
	for ; at < len(b); at += recordAlign {
		if of, _, ok := readHead(b[at:]); ok && of == epoch {
			return nil, fmt.Errorf("record at byte %d follows one that is missing", at)
		}
	}
	return all, nil
}

// readBounded reads a file, up to a little more than a journal has.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, journalSize+1))
}

// readRecord reads the record of an epoch at an offset, and returns where it ends; nil:
// there is none, or a crash has cut it short. It takes the mask off.
func readRecord(b []byte, at int, epoch uint64) (rec *batch, next int, err error) {
	if isZero(b[at : at+recordHead]) {
		return nil, at + recordAlign, nil
	}
	of, length, ok := readHead(b[at:])
	if !ok {
		return nil, 0, errChecksum
	}
	if of != epoch {
		return nil, at + recordAlign, nil
	}
	end := at + recordHead + length
	if end > len(b) {
		return nil, 0, errors.New("it ends after the file")
	}
	next = int(aligned(int64(end)))
	body := b[at+recordHead : end]
	if binary.BigEndian.Uint32(b[at+12:]) != crc32.Checksum(body, checksums) {
		if torn(b, at, end) {
			return nil, next, nil
		}
		return nil, 0, errChecksum
	}
	mask(body, epoch)
	r := bytes.NewReader(body)
	rec = &batch{hard: &pb.HardState{}}
	if err := protodelim.UnmarshalFrom(r, rec.hard); err != nil {
		return nil, 0, err
	}
	if rec.hard.GetTerm() == 0 {
		rec.hard = nil
	}
	for {
		e := &pb.Entry{}
		if err := protodelim.UnmarshalFrom(r, e); errors.Is(err, io.EOF) {
			return rec, next, nil
		} else if err != nil {
			return nil, 0, err
		}
		rec.entries = append(rec.entries, e)
	}
}

// readHead returns the epoch and the length of the record that begins here, if one does.
func readHead(b []byte) (epoch uint64, length int, ok bool) {
	if binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], checksums) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b), int(binary.BigEndian.Uint32(b[8:])), true
}

// torn reports whether a sector of a record has not reached the disk: it is zero, as it
// was before, and a record has no such sector of its own, but by chance the last one, of
// which it may have a few bytes; see mask.
func torn(b []byte, from, to int) bool {
	for from < to {
		end := min(from/sector*sector+sector, to)
		if isZero(b[from:end]) {
			return true
		}
		from = end
	}
	return false
}

func isZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
