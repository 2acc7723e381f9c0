package portable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SyncData puts what has been written to a file on stable storage (fdatasync(2)). The
// time of the last write need not be stored.
func SyncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
