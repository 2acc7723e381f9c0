//go:build !linux

package portable

import "os"

func SyncData(f *os.File) error { return f.Sync() }
