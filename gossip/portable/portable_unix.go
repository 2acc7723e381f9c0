//go:build unix

package portable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Refused and Reset are the errors of a connection that the other side refuses and
// breaks.
const (
	Refused = syscall.ECONNREFUSED
	Reset   = syscall.ECONNRESET
)

// Executable reports why this user may not execute a file, or nil.
func Executable(path string) error { return unix.Access(path, unix.X_OK) }

// Writable reports why this user may not make files in a directory, or nil.
func Writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// Owner is the user that a file belongs to; -1: the system does not say.
func Owner(info fs.FileInfo) (uid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

// FileID names a file by its device and inode, as JOURNAL_STREAM does
// (systemd.exec(5)); "": the system does not say.
func FileID(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	return ""
}

// ModesProtect: the mode of a file says who may read and write it.
const ModesProtect = true

// Lock locks a file for this process; the error says that another has locked it.
func Lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// SyncDir waits until the disk has the directory's entries.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// OwnGroup has a process started in a process group of its own.
func OwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// SignalGroup sends a signal to every process of a group; 0 asks whether there is one.
func SignalGroup(group int, s syscall.Signal) error { return syscall.Kill(-group, s) }

// Read reads from a descriptor (read(2)).
func Read(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }
