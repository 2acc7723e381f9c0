package portable

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

const (
	Refused = windows.WSAECONNREFUSED
	Reset   = windows.WSAECONNRESET
)

// ModesProtect is false: access lists, which nothing here reads, say who may read a file.
const ModesProtect = false

func Owner(fs.FileInfo) (uid int)    { return -1 }
func FileID(fs.FileInfo) string      { return "" }
func OwnGroup() *syscall.SysProcAttr { return nil }

// The rest is what only an agent needs, and is refused.

func Executable(string) error               { return windows.ERROR_NOT_SUPPORTED }
func Writable(string) error                 { return windows.ERROR_NOT_SUPPORTED }
func Lock(*os.File) error                   { return windows.ERROR_NOT_SUPPORTED }
func SyncDir(string) error                  { return windows.ERROR_NOT_SUPPORTED }
func SignalGroup(int, syscall.Signal) error { return windows.ERROR_NOT_SUPPORTED }
func Read(uintptr, []byte) (int, error)     { return 0, windows.ERROR_NOT_SUPPORTED }
