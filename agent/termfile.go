package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"doyen/gossip/portable"
)

// termFile keeps the promises of a state directory. A voter stores a term before it
// confirms it, so how long that takes is part of each failover: to make a new file and
// rename it is two commits of the file system's journal, to write over a block that the
// file has is one write of the disk.
//
// While an agent runs, the file is two records of equal size, and each write replaces the
// older one: a crash in the midst of a write leaves the newer one whole. After a stop it
// is plain JSON, as versions without records know it.
type termFile struct {
	path     string
	size     int    // of a record; 0: the file does not have records yet
	sequence uint64 // of the newest record
}

const (
	// recordUnit is what a record's size is a multiple of: a page and a block of the
	// usual file systems, so that no write needs a new block.
	recordUnit = 4096
	// A record is a line of JSON, filled up with spaces, whose first field is the
	// checksum of the rest of the line.
	recordStart, recordSum, recordRest = `{"checksum":"`, `{"checksum":"%08x",%s`, `",`
)

// record is the promises with their place in the order of writes.
type record struct {
	Sequence uint64 `json:"sequence"`
	promises
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openTerms reads the file and makes it one of records, which may fail: then each write
// tries again. damaged says what is wrong with one of two records.
func openTerms(path string) (f *termFile, kept promises, damaged error, err error) {
	newest, damaged, err := readTerms(path)
	if err != nil {
		return nil, promises{}, nil, err
	}
	f = &termFile{path: path, sequence: newest.Sequence}
	if newest.HighestTerm != 0 || newest.LongestLease != 0 {
		_ = f.write(newest.promises)
	}
	return f, newest.promises, damaged, nil
}

// write stores the promises: they are on disk when it returns, and at any instant
// before, they or the former ones are.
func (f *termFile) write(p promises) error {
	line, err := recordLine(record{f.sequence + 1, p})
	if err != nil {
		return err
	}
	if len(line) > f.size {
		return f.replace(line)
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return f.replace(line)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteAt(filled(line, f.size), int64(f.sequence+1)%2*int64(f.size))
	if err = errors.Join(err, portable.SyncData(file), file.Close()); err == nil {
		f.sequence++
	}
	return err
}

// replace makes the file anew, of two records that are both the line.
func (f *termFile) replace(line []byte) error {
	size := (len(line) + recordUnit - 1) / recordUnit * recordUnit
	if err := replaceFile(f.path, bytes.Repeat(filled(line, size), 2)); err != nil {
		return err
	}
	f.size = size
	f.sequence++
	return nil
}

// close leaves the file as plain JSON.
func (f *termFile) close(p promises) error {
	if f == nil || f.size == 0 {
		return nil
	}
	return replaceByJSON(f.path, p)
}

// recordLine is a record as it is written, but for the spaces behind.
func recordLine(r record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	rest := append(text[1:], '\n') // after the brace
	return fmt.Appendf(nil, recordSum, crc32.Checksum(rest, castagnoli), rest), nil
}

// filled is the line with spaces up to the size, the end of the line last.
func filled(line []byte, size int) []byte {
	return append(line[:len(line):len(line)], bytes.Repeat([]byte{' '}, size-len(line))...)
}

// readTerms reads the promises; none are there if there is no such file. Of two records
// one may be damaged, as by a crash in the midst of a write. A file that does not say
// what was promised is an error, because to go on without it could break a promise.
// Fields of a newer version are passed over, so that one can go back to an older one.
func readTerms(path string) (newest record, damaged error, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil, nil
	}
	if err == nil {
		newest, damaged, err = parseTerms(text)
	}
	if err == nil && newest.Format > stateFormat {
		return record{}, nil, fmt.Errorf("state-dir: %s is of format %d, and this version knows formats up to %d: run the newer version that has written it", path, newest.Format, stateFormat)
	}
	if err != nil {
		return record{}, nil, fmt.Errorf("state-dir: %s is damaged (%w): put a copy of it back, or, if there is none, remove it once this member has been stopped for longer than its lease and the clock of this host is right", path, err)
	}
	return newest, damaged, nil
}

// parseTerms returns the newest whole record, or what plain JSON says.
func parseTerms(text []byte) (newest record, damaged error, err error) {
	if !bytes.HasPrefix(text, []byte(recordStart)) {
		newest, err = parsePromises(text)
		return newest, nil, err
	}
	if len(text)%(2*recordUnit) != 0 {
		return record{}, nil, fmt.Errorf("its length of %d bytes is not that of two records", len(text))
	}
	a, aErr := parseRecord(text[:len(text)/2])
	b, bErr := parseRecord(text[len(text)/2:])
	switch {
	case aErr != nil && bErr != nil:
		return record{}, nil, aErr
	case aErr != nil, bErr == nil && b.Sequence > a.Sequence:
		return b, aErr, nil
	}
	return a, bErr, nil
}

// parseRecord checks and reads a record.
func parseRecord(text []byte) (record, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	sum, rest, ok := bytes.Cut(bytes.TrimPrefix(line, []byte(recordStart)), []byte(recordRest))
	if !ok || fmt.Sprintf("%08x", crc32.Checksum(append(rest[:len(rest):len(rest)], '\n'), castagnoli)) != string(sum) {
		return record{}, errors.New("a checksum does not fit")
	}
	return parsePromises(line)
}

// parsePromises reads the JSON of promises.
func parsePromises(text []byte) (r record, err error) {
	if r, err = parseJSON[record](text); err != nil {
		return r, err
	}
	// Without the field the term would be taken for zero.
	fields, err := parseJSON[map[string]json.RawMessage](text)
	if err == nil && fields["highest_term"] == nil {
		err = errors.New("it has no highest_term")
	}
	return r, err
}
