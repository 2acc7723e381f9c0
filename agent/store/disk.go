package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// identity is which replica of which group a disk holds.
type identity struct {
	id    uint64 // raft's, drawn when the disk was empty
	group uint64 // 0: of none yet
}

// mark is what the file says of itself.
type mark struct {
	identity
	journal uint64 // the epoch of its journal; 0: all is in the file
}

func (m mark) encode() []byte {
	v := binary.BigEndian.AppendUint64(nil, m.id)
	v = binary.BigEndian.AppendUint64(v, m.group)
	return binary.BigEndian.AppendUint64(v, m.journal)
}

func decodeMark(b []byte) (m mark, ok bool) {
	if len(b) != 24 {
		return m, false
	}
	m.id, m.group = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	m.journal = binary.BigEndian.Uint64(b[16:])
	return m, true
}

// image is everything that a disk holds.
type image struct {
	mark
	hard     *pb.HardState
	snapshot *pb.Snapshot // nil: none
	entries  []*pb.Entry  // after the snapshot, without a gap
}

// batch is what one save makes true: all of it or nothing. Entries replace those from
// their first index on.
type batch struct {
	identity *identity
	hard     *pb.HardState
	entries  []*pb.Entry
	snapshot *pb.Snapshot
	// reset: the snapshot replaces all entries, too.
	reset bool
	// compact: entries up to this index are not needed any more.
	compact uint64
}

// add merges a later batch into b.
func (b *batch) add(later *batch) {
	if later.identity != nil {
		b.identity = later.identity
	}
	if later.hard != nil {
		b.hard = later.hard
	}
	if later.snapshot != nil {
		b.snapshot = later.snapshot
	}
	if later.reset {
		b.reset, b.entries = true, nil
	}
	b.compact = max(b.compact, later.compact)
	b.entries = joined(b.entries, later.entries)
}

// joined returns entries after later ones have replaced those from their first index on.
func joined(entries, later []*pb.Entry) []*pb.Entry {
	if len(later) == 0 {
		return entries
	}
	n := len(entries)
	for n > 0 && entries[n-1].GetIndex() >= later[0].GetIndex() {
		n--
	}
	return append(entries[:n], later...)
}

// disk is what a replica survives a crash with.
type disk interface {
	load() (*image, error)
	// save returns once the batch is on stable storage.
	save(b *batch) error
	close() error
}

// boltDisk is a file of bbolt, and a journal of the entries since its last
// transaction. Every record bears a checksum: bbolt has none for what is not its own.
type boltDisk struct {
	path    string
	db      *bbolt.DB
	mark    mark   // as it was read or written last
	read    uint64 // the transaction that was read last
	journal *journal
	// waiting is what the journal holds.
	waiting *batch
	// slowest is how long the slowest of the last saves took.
	slowest time.Duration
	// failed is the error of a save: what is in memory may not be what is on disk.
	failed error
}

var (
	metaBucket    = []byte("meta")
	entriesBucket = []byte("entries")
	identityKey   = []byte("identity")
	hardKey       = []byte("hard")
	snapshotKey   = []byte("snapshot")
	checksums     = crc32.MakeTable(crc32.Castagnoli)
)

// openDisk opens the file and its journal, or makes empty ones. What is damaged is
// neither opened for writing nor repaired.
func openDisk(path string) (*boltDisk, error) {
	d := &boltDisk{path: path, waiting: &batch{}}
	switch info, err := os.Stat(path); {
	case err == nil && d.cutShort(info.Size()):
		if err := os.Truncate(path, 0); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	case err == nil && info.Size() > 0:
		if err := d.verify(); err != nil {
			return nil, err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("store: %w", err)
	default:
		if b, err := readBounded(journalPath(path)); err == nil && !isZero(b) {
			return nil, d.damaged(errors.New("it is empty, and its journal is not"))
		}
	}
	// NoFreelistSync makes a save cheaper and an open of a large file slower.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("store: opening %s: %w", path, err)
	}
	d.db = db
	if d.lastTransaction() != d.read { // it is new, or another process has opened it since
		d.waiting = &batch{}
		if _, err := d.load(); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if d.journal, err = openJournal(journalPath(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("store: opening %s: %w", journalPath(path), err), db.Close())
	}
	if err := d.fold(&batch{}, draw()); err != nil {
		return nil, errors.Join(fmt.Errorf("store: writing %s: %w", path, err), d.db.Close(), d.journal.file.Close())
	}
	return d, nil
}

// cutShort reports whether the first start was cut short while bbolt wrote the four pages
// that a file begins with: a journal comes later, and anything to keep after that.
func (d *boltDisk) cutShort(size int64) bool {
	_, err := os.Stat(journalPath(d.path))
	return size > 0 && size < 4*int64(os.Getpagesize()) && errors.Is(err, fs.ErrNotExist)
}

// damaged is the error for a file or a journal that does not hold what was written to
// it, if that is what keeps it from being read.
func (d *boltDisk) damaged(why error) error {
	if errors.Is(why, bolterrors.ErrTimeout) {
		return fmt.Errorf("store: %s is in use by another process", d.path)
	}
	var path *fs.PathError
	if errors.As(why, &path) && !errors.Is(why, fs.ErrNotExist) {
		return fmt.Errorf("store: reading %s: %w", d.path, why)
	}
	return fmt.Errorf("store: %s is damaged (%w), and was left as it is: move it and %s away and start again, and the other voters bring this one up; put copies back only if this agent has not run since they were made", d.path, why, filepath.Base(journalPath(d.path)))
}

// verify reads all of the file and of its journal without writing.
func (d *boltDisk) verify() (err error) {
	db, err := bbolt.Open(d.path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return d.damaged(err)
	}
	defer func() {
		d.db = nil
		err = errors.Join(err, db.Close())
	}()
	d.db = db
	if err := checkMetas(d.path, db.Info().PageSize); err != nil {
		return d.damaged(err)
	}
	_, err = d.load()
	return err
}

// checkMetas refuses a damaged meta page: bbolt would go on with the other one, and
// without the last transaction. A crash damages none, for what is written of one lies in
// one sector: 64 bytes after the page's header of 16, the last 8 the FNV-1a of the
// others (bbolt, internal/common/meta.go).
func checkMetas(path string, pageSize int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range int64(2) {
		b := make([]byte, 64)
		if _, err := f.ReadAt(b, i*int64(pageSize)+16); err != nil {
			return err
		}
		h := fnv.New64a()
		h.Write(b[:56])
		if binary.NativeEndian.Uint64(b[56:]) != h.Sum64() {
			return fmt.Errorf("page %d: %w", i, errChecksum)
		}
	}
	return nil
}

// lastTransaction is the number of the last transaction of the file. Every process that
// opens it for writing begins with one.
func (d *boltDisk) lastTransaction() (id uint64) {
	_ = d.db.View(func(tx *bbolt.Tx) error {
		id = uint64(tx.ID())
		return nil
	})
	return id
}

// load implements disk. A file that was cut short makes reading it a fault of memory,
// which becomes an error here.
func (d *boltDisk) load() (im *image, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			im, err = nil, d.damaged(fmt.Errorf("%v", p))
		}
	}()
	im = &image{hard: &pb.HardState{}}
	err = d.db.View(func(tx *bbolt.Tx) error {
		d.read = uint64(tx.ID())
		meta, entries := tx.Bucket(metaBucket), tx.Bucket(entriesBucket)
		if meta == nil || entries == nil {
			if tx.ID() > 1 {
				return errors.New("its buckets are missing")
			}
			return nil // the first start was cut short
		}
		if err := loadMeta(meta, im); err != nil {
			return err
		}
		return loadEntries(entries, im)
	})
	if err == nil && d.journal == nil && im.journal != 0 {
		if d.waiting, err = readJournal(journalPath(d.path), im.journal); err != nil {
			err = fmt.Errorf("journal: %w", err)
		}
	}
	if err == nil {
		if d.waiting.hard != nil {
			im.hard = d.waiting.hard
		}
		im.entries = joined(im.entries, d.waiting.entries)
		err = im.check()
	}
	if err != nil {
		return nil, d.damaged(err)
	}
	d.mark = im.mark
	return im, nil
}

func loadEntries(bucket *bbolt.Bucket, im *image) error {
	snapshot, before := im.snapshot.GetMetadata().GetIndex(), uint64(0)
	return bucket.ForEach(func(k, v []byte) error {
		index := binary.BigEndian.Uint64(k)
		if index <= before {
			return fmt.Errorf("entry %d stands after %d", index, before)
		}
		before = index
		if index <= snapshot {
			return nil
		}
		e := &pb.Entry{}
		if err := unpack(v, e); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if e.GetIndex() != index {
			return fmt.Errorf("entry %d stands where %d should", e.GetIndex(), index)
		}
		im.entries = append(im.entries, e)
		return nil
	})
}

// check reports what cannot have been written like this.
func (im *image) check() error {
	last := im.snapshot.GetMetadata().GetIndex()
	for _, e := range im.entries {
		if last++; e.GetIndex() != last {
			return fmt.Errorf("entry %d stands where %d should", e.GetIndex(), last)
		}
	}
	if im.hard.GetCommit() > last {
		return fmt.Errorf("entries end at %d, and %d were committed", last, im.hard.GetCommit())
	}
	if last > 0 && im.hard.GetTerm() == 0 {
		return errors.New("it has entries, and no term")
	}
	if im.identity.id == 0 && (last > 0 || im.hard.GetTerm() > 0) {
		return errors.New("it does not say which replica it is")
	}
	return nil
}

func loadMeta(meta *bbolt.Bucket, im *image) error {
	if v := meta.Get(identityKey); v != nil {
		b, err := checked(v)
		m, ok := decodeMark(b)
		if err != nil || !ok {
			return fmt.Errorf("identity: %w", errors.Join(err, errChecksum))
		}
		im.mark = m
	}
	if v := meta.Get(hardKey); v != nil {
		if err := unpack(v, im.hard); err != nil {
			return fmt.Errorf("hard state: %w", err)
		}
	}
	if v := meta.Get(snapshotKey); v != nil {
		im.snapshot = &pb.Snapshot{}
		if err := unpack(v, im.snapshot); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	return nil
}

var errChecksum = errors.New("the checksum is wrong")

// checked returns what the checksum before it is of.
func checked(v []byte) ([]byte, error) {
	if len(v) < 4 || binary.BigEndian.Uint32(v) != crc32.Checksum(v[4:], checksums) {
		return nil, errChecksum
	}
	return v[4:], nil
}

// summed is the inverse of checked.
func summed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), crc32.Checksum(b, checksums)), b...)
}

func unpack(v []byte, into proto.Message) error {
	b, err := checked(v)
	if err != nil {
		return err
	}
	return proto.Unmarshal(b, into)
}

func pack(m proto.Message) ([]byte, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return summed(b), nil
}

// save implements disk. Entries and the hard state go to the journal; anything else, and
// what finds no room there, goes to the file with all that the journal holds. After an
// error the disk must be opened again.
func (d *boltDisk) save(b *batch) error {
	if d.failed != nil {
		return d.failed
	}
	began := time.Now()
	journaled, err := false, error(nil)
	if b.identity == nil && b.snapshot == nil && !b.reset && b.compact == 0 {
		if journaled, err = d.journal.append(b); journaled {
			d.waiting.add(b)
		}
	}
	if !journaled && err == nil {
		err = d.fold(b, draw())
	}
	d.slowest = max(time.Since(began), d.slowest*9/10)
	if err != nil {
		d.failed = fmt.Errorf("store: writing %s: %w", d.path, err)
	}
	return d.failed
}

// fold puts what the journal holds, and then a batch, into the file, and begins a
// journal of a new epoch; 0: none.
func (d *boltDisk) fold(b *batch, epoch uint64) error {
	all := d.waiting
	all.add(b)
	if all.identity != nil {
		d.mark.identity = *all.identity
	}
	d.mark.journal = epoch
	err := d.db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		entries, err := tx.CreateBucketIfNotExists(entriesBucket)
		if err != nil {
			return err
		}
		err = meta.Put(identityKey, summed(d.mark.encode()))
		if err == nil && all.hard != nil {
			err = put(meta, hardKey, all.hard)
		}
		if err == nil && all.snapshot != nil {
			err = put(meta, snapshotKey, all.snapshot)
		}
		return errors.Join(err, saveEntries(entries, all))
	})
	if err != nil {
		return err
	}
	d.waiting = &batch{}
	return d.journal.clear(epoch)
}

func put(bucket *bbolt.Bucket, key []byte, m proto.Message) error {
	v, err := pack(m)
	if err != nil {
		return err
	}
	return bucket.Put(key, v)
}

// saveEntries writes the new entries, and takes out those that they replace and
// those that are not needed any more.
func saveEntries(bucket *bbolt.Bucket, b *batch) error {
	c := bucket.Cursor()
	if b.reset {
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	if len(b.entries) > 0 {
		first := b.entries[0].GetIndex()
		for k, _ := c.Seek(indexKey(first + uint64(len(b.entries)))); k != nil; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		bucket.FillPercent = 0.9 // indexes rise
		for _, e := range b.entries {
			if err := put(bucket, indexKey(e.GetIndex()), e); err != nil {
				return err
			}
		}
	}
	if b.compact == 0 {
		return nil
	}
	// On a page that this transaction has written to, Next passes over the key after a
	// deleted one.
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= b.compact; k, _ = c.Seek(k) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

func indexKey(i uint64) []byte { return binary.BigEndian.AppendUint64(nil, i) }

// close implements disk. It leaves all in the file, and an empty journal; after an error
// of a save, both as they are.
func (d *boltDisk) close() error {
	var err error
	if d.failed == nil {
		err = d.fold(&batch{}, 0)
	}
	return errors.Join(err, d.journal.file.Close(), d.db.Close())
}
