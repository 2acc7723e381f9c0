// Package secretfile reads the files that hold secrets: the gossip keyring, the
// token of the API, the private key of its certificate.
//
// A secret that others can read is none any more, so such a file is refused, as
// ssh refuses a private key: only the file's owner and group may have
// any access to it, only the owner may write to it, and a file that
// belongs to the user who reads it must be closed to the group, too. A file of
// root's that a service reads by its group (root:doyen, 0640) therefore is fine.
// On Windows, where modes say nothing, who may read the file is not checked.
//
// Internal to Doyen: no promise.
package secretfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"doyen/gossip/portable"
)

// maxSize bounds a file in bytes; no keyring, token or key is near it.
const maxSize = 64 << 10

// Read returns what the file holds. Its errors name the file, never what is in
// it.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if why := exposed(info.Mode(), portable.Owner(info) == os.Geteuid()); why != "" && portable.ModesProtect {
		return nil, fmt.Errorf("%s is refused: with mode %04o %s; make it 0600", path, info.Mode().Perm(), why)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxSize)
	}
	return data, nil
}

// exposed says who else has access to a file that should be secret, or "".
func exposed(mode fs.FileMode, own bool) string {
	switch {
	case mode&0o007 != 0:
		return "every user of this host has access to it"
	case mode&0o030 != 0, own && mode&0o070 != 0:
		return "its group has access to it"
	}
	return ""
}
