package agent

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"doyen/gossip/portable"
)

// leaseRecord keeps the longest lease that a voter has promised for its next run:
// a file that outlives the process, in the runtime directory, because not every
// voter has a --state-dir. It need not outlive the host: a voter that finds no
// record takes its last run to have promised the longest lease of any profile.
// The same holds where that run was in a container that is gone, on another
// machine, or of a version that kept no record. A nil *leaseRecord keeps nothing.
type leaseRecord struct {
	path    string        // "" in tests: it stays in memory
	kept    time.Duration // by the last run; 0: unknown
	written time.Duration // by this run
}

// leaseKept is the text of a lease record.
type leaseKept struct {
	LongestLease time.Duration `json:"longest_lease_ns"`
}

// openLeaseRecord reads the record of a voter, which is one entry of one cluster:
// a host may run several. It returns nil if this node has no runtime directory.
func openLeaseRecord(cluster, voter string) *leaseRecord {
	sum := sha256.Sum256([]byte(cluster + "\x00" + voter))
	for _, dir := range runtimeDirs() {
		// Its parent must be there: a host without /run gets none.
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) || portable.Writable(dir) != nil {
			continue
		}
		r := &leaseRecord{path: filepath.Join(dir, fmt.Sprintf("lease-%x.json", sum[:8]))}
		// One that cannot be read is none; nor is one that says nothing.
		if k, err := readJSON[leaseKept](r.path); err == nil {
			r.kept = max(k.LongestLease, 0)
		}
		return r
	}
	return nil
}

// runtimeDirs are where a record may be kept, the first that can be written:
// what systemd gives a service, what root has, what a user has.
func runtimeDirs() []string {
	dirs := filepath.SplitList(os.Getenv("RUNTIME_DIRECTORY"))
	if os.Geteuid() == 0 {
		dirs = append(dirs, "/run/doyen")
	}
	if user := os.Getenv("XDG_RUNTIME_DIR"); user != "" {
		dirs = append(dirs, filepath.Join(user, "doyen"))
	}
	return dirs
}

// again returns a record in memory as the next run finds it.
func (r *leaseRecord) again() *leaseRecord {
	if r != nil && r.written != 0 {
		r.kept, r.written = r.written, 0
	}
	return r
}

// keep records the longest lease that this run may have promised, before it is.
// The first call of a run replaces what the last run left, because a voter that
// promises has waited until that was over. A record that cannot be written is
// removed, as none is better than one that says too little; only if that fails as
// well must nothing be promised.
func (r *leaseRecord) keep(lease time.Duration) error {
	if r == nil || lease <= r.written {
		return nil
	}
	if r.path != "" {
		if err := replaceByJSON(r.path, leaseKept{lease}); err != nil {
			if gone := os.Remove(r.path); gone != nil && !errors.Is(gone, os.ErrNotExist) {
				return fmt.Errorf("recording the longest lease promised: %w", errors.Join(err, gone))
			}
		}
	}
	r.written = lease
	return nil
}
