package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"doyen/gossip/portable"
	"doyen/seniority"
)

// The files of a state directory.
const (
	termName        = "term.json"
	historyFile     = "history.json"
	historiesFile   = "histories.json" // of the further elections, by name
	maintenanceFile = "maintenance.json"
	lockFile        = "lock"
	probeFile       = "probe"
)

// promises is what a restart must know to keep its word: the highest term it
// may have claimed or confirmed, and the longest lease that the last run may have
// promised; 0: it is not known.
type promises struct {
	// Format is stateFormat, or 0 in what a version before 0.1.0 has written.
	Format       int           `json:"format"`
	HighestTerm  uint64        `json:"highest_term"`
	LongestLease time.Duration `json:"longest_lease_ns"`
	// Elections are the highest terms of the further elections, by name. The lease
	// is that of all.
	Elections map[string]uint64 `json:"elections,omitempty"`
	// Holders are the claimants of the highest terms, by election, the group's own
	// included. A term without one is only never confirmed again.
	Holders map[string]seniority.Holder `json:"holders,omitempty"`
}

// promise is a term, and the claimant that it is confirmed to; none: it is not known.
type promise struct {
	term   uint64
	holder seniority.Holder
}

// stateFormat rises when an older program could not keep the promises that a newer
// one has written down, and not when fields are added.
const stateFormat = 1

// stateDir is the optional directory that --state-dir names. A nil *stateDir
// keeps nothing.
type stateDir struct {
	path  string
	lock  *os.File
	terms *termFile
	kept  promises
	// promised is the longest lease that this run may have promised. What the
	// last run left is replaced with the first term that this one stores.
	promised time.Duration

	mu      sync.Mutex // guards what follows: several may ask this member to stand aside
	planned keptAside
	closed  bool

	// histories are those of further elections that the last run left.
	histories map[string][]Leadership

	// probed has the result of the last probe until it is read.
	probed chan error

	// oddities says, in a sentence each, what was wrong with files and did not hinder
	// the start.
	oddities []string
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
	s := &stateDir{path: path, lock: lock, probed: make(chan error, 1)}
	if err := portable.Lock(lock); err != nil {
		s.close()
		return nil, nil, fmt.Errorf("state-dir %s is in use by another agent: %w", path, err)
	}
	var damaged error
	if s.terms, s.kept, damaged, err = openTerms(filepath.Join(path, termName)); err != nil {
		s.close()
		return nil, nil, err
	}
	if damaged != nil {
		s.oddities = append(s.oddities, fmt.Sprintf("one of the two records of %s is damaged (%v), as after a crash in the midst of a write: the agent goes on with the other", s.terms.path, damaged))
	}
	history, err := readOrPutAside[[]Leadership](s, historyFile)
	if err == nil {
		s.histories, err = readOrPutAside[map[string][]Leadership](s, historiesFile)
	}
	if err == nil {
		s.planned, err = readOrPutAside[keptAside](s, maintenanceFile)
	}
	if err != nil {
		s.close()
		return nil, nil, err
	}
	return s, history, nil
}

// readOrPutAside reads a file that promises nothing to others. One that cannot
// be read is renamed, for a person to look at, and the agent goes on as if it
// were missing.
func readOrPutAside[T any](s *stateDir, name string) (T, error) {
	path := filepath.Join(s.path, name)
	v, err := readJSON[T](path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	s.oddities = append(s.oddities, fmt.Sprintf("%s cannot be read (%v): it is now %s.damaged, and the agent goes on without it", path, err, path))
	if err := os.Rename(path, path+".damaged"); err != nil {
		return v, fmt.Errorf("state-dir: putting a damaged file aside: %w", err)
	}
	return v, nil
}

// readJSON parses one file; on an error it returns the zero T.
func readJSON[T any](path string) (T, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var none T
		return none, err
	}
	return parseJSON[T](text)
}

// parseJSON parses the text of one file; on an error it returns the zero T.
func parseJSON[T any](text []byte) (T, error) {
	var v, none T
	if len(bytes.TrimSpace(text)) == 0 {
		return none, errors.New("it is empty")
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return none, err
	}
	return v, nil
}

// highestOf is what is stored of an election: the highest term.
func (s *stateDir) highestOf(election string) promise {
	if s == nil {
		return promise{}
	}
	p := promise{s.kept.Elections[election], s.kept.Holders[election]}
	if election == GroupElection {
		p.term = s.kept.HighestTerm
	}
	return p
}

// keepTerm stores an election's term and the lease durably unless they are stored
// already.
func (s *stateDir) keepTerm(election string, p promise, lease time.Duration) error {
	if s == nil || p.term <= s.highestOf(election).term && lease <= s.promised {
		return nil
	}
	return s.keepTerms(map[string]promise{election: p}, lease)
}

// keepTerms stores the terms of elections and the lease durably, with one write,
// unless all are stored already.
func (s *stateDir) keepTerms(terms map[string]promise, lease time.Duration) error {
	next := promises{
		Format: stateFormat, HighestTerm: s.kept.HighestTerm, LongestLease: max(lease, s.promised),
		Elections: maps.Clone(s.kept.Elections), Holders: maps.Clone(s.kept.Holders),
	}
	changed := lease > s.promised
	for election, p := range terms {
		if p.term > s.highestOf(election).term {
			changed = true
			next.raise(election, p)
		}
	}
	if !changed {
		return nil
	}
	if err := s.terms.write(next); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	s.kept, s.promised = next, next.LongestLease
	return nil
}

// raise takes in an election's term.
func (p *promises) raise(election string, raised promise) {
	if p.Elections == nil {
		p.Elections = map[string]uint64{}
	}
	if p.Holders == nil {
		p.Holders = map[string]seniority.Holder{}
	}
	if election == GroupElection {
		p.HighestTerm = raised.term
	} else {
		p.Elections[election] = raised.term
	}
	if delete(p.Holders, election); raised.holder != (seniority.Holder{}) {
		p.Holders[election] = raised.holder
	}
}

// probeSize is how much a probe writes: what a term takes is less than a block.
const probeSize = 4096

// probe finds out whether a term could be stored now. A full disk is noticed
// before a term must be stored, when it would be too late.
func (s *stateDir) probe() {
	path := filepath.Join(s.path, probeFile)
	err := writeSynced(path, make([]byte, probeSize))
	if removed := os.Remove(path); err == nil {
		err = removed
	}
	if err != nil {
		err = fmt.Errorf("state-dir: %w", err)
	}
	select {
	case <-s.probed:
	default:
	}
	s.probed <- err // only one goroutine probes, so there is room
}

// probes has the result of the last probe.
func (s *stateDir) probes() <-chan error {
	if s == nil {
		return nil
	}
	return s.probed
}

// keepHistory stores the history of the group's own election.
func (s *stateDir) keepHistory(l []Leadership) error { return s.write(historyFile, l) }

// keepHistories stores those of the further elections.
func (s *stateDir) keepHistories(all map[string][]Leadership) error {
	return s.write(historiesFile, all)
}

// keptAside is for how long this member stands aside, as the next run must know it: in
// the group's own election, and in the further ones by name.
type keptAside struct {
	plannedAside
	Elections map[string]plannedAside `json:"elections,omitempty"`
}

func (k keptAside) equal(other keptAside) bool {
	return k.plannedAside.equal(other.plannedAside) && maps.EqualFunc(k.Elections, other.Elections, plannedAside.equal)
}

// of is what is kept of an election.
func (k keptAside) of(election string) plannedAside {
	if election == GroupElection {
		return k.plannedAside
	}
	return k.Elections[election]
}

// keepMaintenance stores the maintenance as current says it is now, unless that
// is stored already. It asks under the lock, so that of two callers at once the
// newer state is stored last.
func (s *stateDir) keepMaintenance(current func() keptAside) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := current()
	if s.closed || p.equal(s.planned) {
		return nil
	}
	if err := s.write(maintenanceFile, p); err != nil {
		return err
	}
	s.planned = p
	return nil
}

// keptMaintenance is what is stored of the maintenance in an election.
func (s *stateDir) keptMaintenance(election string) plannedAside {
	if s == nil {
		return plannedAside{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.planned.of(election)
}

// write replaces one file of the directory.
func (s *stateDir) write(name string, v any) error {
	if err := replaceByJSON(filepath.Join(s.path, name), v); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	return nil
}

// notes is what the log should say of the files found.
func (s *stateDir) notes() []string {
	if s == nil {
		return nil
	}
	return s.oddities
}

// replaceByJSON replaces a file by the JSON of v.
func replaceByJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replaceFile(path, append(text, '\n'))
}

// replaceFile replaces a file: after a crash at any instant it is there whole, in its
// old or its new form, and after replaceFile has returned in its new form.
func replaceFile(path string, text []byte) error {
	if err := writeSynced(path+".new", text); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return portable.SyncDir(filepath.Dir(path))
}

func (s *stateDir) close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return errors.Join(s.terms.close(s.kept), s.lock.Close())
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
