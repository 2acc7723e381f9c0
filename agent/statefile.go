package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a state directory.
const (
	termFile        = "term.json"
	historyFile     = "history.json"
	maintenanceFile = "maintenance.json"
	lockFile        = "lock"
)

// promises is what a restart must know to keep its word: the highest term it
// may have claimed or confirmed, and the longest lease it may have promised.
type promises struct {
	HighestTerm  uint64        `json:"highest_term"`
	LongestLease time.Duration `json:"longest_lease_ns"`
}

// stateDir is the optional directory that --state-dir names. A nil *stateDir
// keeps nothing.
type stateDir struct {
	path string
	lock *os.File
	kept promises

	mu      sync.Mutex // guards what follows: several may ask this member to stand aside
	planned plannedAside
	closed  bool
}

// openState opens the directory, making it if it is missing, and reads what a
// former run kept. Two agents must not share one: each would overwrite what
// the other promised.
func openState(path string) (*stateDir, []Leadership, error) {
	if path == "" {
		return nil, nil, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, nil, fmt.Errorf("state-dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("state-dir: %w", err)
	}
	s := &stateDir{path: path, lock: lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		s.close()
		return nil, nil, fmt.Errorf("state-dir %s is in use by another agent: %w", path, err)
	}
	var history []Leadership
	if err := errors.Join(s.read(termFile, &s.kept), s.read(historyFile, &history), s.read(maintenanceFile, &s.planned)); err != nil {
		s.close()
		return nil, nil, err
	}
	return s, history, nil
}

// read parses one file of the directory; a missing one leaves into as it is.
// A damaged one is an error, because to go on without it could break a promise.
func (s *stateDir) read(name string, into any) error {
	path := filepath.Join(s.path, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("state-dir: %s is damaged (%w); remove it once every lease of the last run is over", path, err)
	}
	return nil
}

// keepTerm stores term and lease durably unless they are stored already.
func (s *stateDir) keepTerm(term uint64, lease time.Duration) error {
	if s == nil || term <= s.kept.HighestTerm && lease <= s.kept.LongestLease {
		return nil
	}
	next := promises{HighestTerm: max(term, s.kept.HighestTerm), LongestLease: max(lease, s.kept.LongestLease)}
	if err := s.write(termFile, next); err != nil {
		return err
	}
	s.kept = next
	return nil
}

// keepHistory stores the history.
func (s *stateDir) keepHistory(l []Leadership) error { return s.write(historyFile, l) }

// keepMaintenance stores the maintenance as current says it is now, unless that
// is stored already. It asks under the lock, so that of two callers at once the
// newer state is stored last.
func (s *stateDir) keepMaintenance(current func() plannedAside) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := current()
	if s.closed || p.Until.Equal(s.planned.Until) && p.For == s.planned.For {
		return nil
	}
	if err := s.write(maintenanceFile, p); err != nil {
		return err
	}
	s.planned = p
	return nil
}

// keptMaintenance is what is stored of a maintenance.
func (s *stateDir) keptMaintenance() plannedAside {
	if s == nil {
		return plannedAside{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.planned
}

// write replaces one file of the directory: after a crash at any instant it is
// there whole, in its old or its new form, and after write has returned in its
// new form.
func (s *stateDir) write(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("state-dir: %s: %w", name, err)
	}
	path := filepath.Join(s.path, name)
	if err := writeSynced(path+".new", append(text, '\n')); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	if err := syncDir(s.path); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	return nil
}

func (s *stateDir) close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.lock.Close()
}

// writeSynced writes a file and waits until the disk has it.
func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir waits until the disk has the directory's entries.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
