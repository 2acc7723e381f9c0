package hook

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"doyen/gossip/portable"
)

// RefusedError says why root does not run a program.
type RefusedError struct {
	// Path is the program, Culprit the file or directory that is to blame.
	Path, Culprit string
	Why           string
}

func (e *RefusedError) Error() string {
	if e.Path == e.Culprit {
		return fmt.Sprintf("%s is refused because it %s", e.Path, e.Why)
	}
	return fmt.Sprintf("%s is refused because %s %s", e.Path, e.Culprit, e.Why)
}

// maxLinks is how many symbolic links a path may lead through: Linux's limit.
const maxLinks = 40

// CheckPath refuses a program that anyone but root could have written or
// replaced. It follows the path as the kernel does, entry by entry, and looks
// at every directory and symbolic link on the way. The error is a
// *RefusedError, or says that the path leads nowhere.
func CheckPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s is not an absolute path", path)
	}
	w := walk{path: path, dir: "/", rest: path}
	for {
		done, err := w.step()
		if done || err != nil {
			return err
		}
	}
}

// CheckUsable reports why a program could not be run by this user: for root
// because CheckPath refuses it, because it is not there or no program, or
// because what would run it is missing.
func CheckUsable(path string) error {
	if err := checkEntry(path); err != nil {
		return err
	}
	return checkStart(path)
}

// checkEntry looks at path and file, and not at what is in the file.
func checkEntry(path string) error {
	if os.Geteuid() == 0 {
		return CheckPath(path)
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case portable.Executable(path) != nil:
		return fmt.Errorf("%s may not be executed by this user", path)
	}
	return nil
}

// walk is how far a path has been followed: dir holds no symbolic links, and
// rest is what follows it.
type walk struct {
	path, dir, rest string
	links           int
}

// step looks at the directory reached and follows the next entry in it; done
// when that is the program.
func (w *walk) step() (done bool, err error) {
	dir, err := os.Lstat(w.dir)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.path, err)
	}
	sticky := dir.Mode()&fs.ModeSticky != 0
	switch {
	case portable.Owner(dir) != 0:
		return false, w.refuse(w.dir, "does not belong to root")
	case othersWrite(dir) && !sticky:
		return false, w.refuse(w.dir, "can be written by others than root")
	}
	name, rest, _ := strings.Cut(strings.TrimLeft(w.rest, "/"), "/")
	if name == "" {
		return false, w.refuse(w.dir, "is a directory")
	}
	next := filepath.Join(w.dir, name)
	entry, err := os.Lstat(next)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.path, err)
	}
	if othersWrite(dir) && portable.Owner(entry) != 0 {
		return false, w.refuse(next, "does not belong to root, and others can write "+w.dir)
	}
	w.rest = rest
	switch {
	case entry.Mode()&fs.ModeSymlink != 0:
		return false, w.follow(next)
	case entry.IsDir():
		w.dir = next
		return false, nil
	}
	return true, w.program(next, entry)
}

// follow puts the target of a symbolic link in its place.
func (w *walk) follow(link string) error {
	if w.links++; w.links > maxLinks {
		return w.refuse(link, "leads through too many symbolic links")
	}
	target, err := os.Readlink(link)
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	if filepath.IsAbs(target) {
		w.dir = "/"
	}
	w.rest = target + "/" + w.rest
	return nil
}

// program looks at the program itself.
func (w *walk) program(file string, info fs.FileInfo) error {
	switch {
	case strings.Trim(w.rest, "/") != "" || !info.Mode().IsRegular():
		return w.refuse(file, "is not a regular file")
	case portable.Owner(info) != 0:
		return w.refuse(file, "does not belong to root")
	case othersWrite(info):
		return w.refuse(file, "can be written by others than root")
	case info.Mode().Perm()&0o111 == 0:
		return w.refuse(file, "is not executable")
	}
	return nil
}

func (w *walk) refuse(culprit, why string) error {
	return &RefusedError{Path: w.path, Culprit: culprit, Why: why}
}

// othersWrite reports whether the mode lets others than the owner write. The
// group counts in any case: with an access control list, its bits stand for
// all users named there.
func othersWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
