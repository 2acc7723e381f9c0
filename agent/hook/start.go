package hook

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"doyen/gossip/portable"
)

// headSize is how much of a program the kernel looks at (BINPRM_BUF_SIZE).
const headSize = 256

// maxPath bounds the name of a dynamic linker, in bytes: PATH_MAX.
const maxPath = 4096

// checkStart reports why the kernel could not start the program, or its
// interpreter would fail at once. The kernel's own words are misleading: for an
// interpreter that is missing it says that the program is. A program that this
// user may not read is not looked at.
func checkStart(program string) error {
	f, err := os.Open(program)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w", program, err)
	}
	head = head[:n]
	switch {
	case n == 0:
		return fmt.Errorf("%s is empty", program)
	case bytes.HasPrefix(head, []byte("#!")):
		return checkScript(program, string(head[2:]))
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return checkBinary(program, f)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf#!")):
		return fmt.Errorf("%s has a byte order mark before its #!, which the kernel does not pass over; save it without one", program)
	case bytes.IndexByte(head, 0) < 0:
		return fmt.Errorf("%s has no first line such as #!/bin/sh, and is no binary", program)
	}
	return nil // perhaps of a kind that this kernel has been taught (binfmt_misc)
}

// checkScript looks at what follows #! in the first line.
func checkScript(program, head string) error {
	line, _, _ := strings.Cut(head, "\n")
	if strings.HasSuffix(line, "\r") {
		return fmt.Errorf(`%s has a carriage return at the end of its first line, as files from Windows do: sed -i 's/\r$//' %s`, program, program)
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return fmt.Errorf("%s names no interpreter after #! in its first line", program)
	}
	interpreter := words[0]
	switch info, err := os.Stat(interpreter); {
	case !filepath.IsAbs(interpreter):
		return fmt.Errorf("%s names its interpreter %s without its full path", program, interpreter)
	case err != nil:
		return fmt.Errorf("%s is there, but its interpreter %s is not", program, interpreter)
	case !info.Mode().IsRegular() || portable.Executable(interpreter) != nil:
		return fmt.Errorf("%s has the interpreter %s, which may not be executed", program, interpreter)
	}
	if path.Base(interpreter) != "env" {
		return nil
	}
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		if _, err := exec.LookPath(word); err != nil {
			return fmt.Errorf("%s is to be run by %s, which is nowhere in PATH (%s)", program, word, os.Getenv("PATH"))
		}
		break
	}
	return nil
}

// checkBinary looks for the dynamic linker that the binary names. It does not
// judge the kind of processor: an emulator may run another's.
func checkBinary(program string, r io.ReaderAt) error {
	file, err := elf.NewFile(r)
	if err != nil {
		return nil // the kernel looks at less of the file, and has the last word
	}
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > maxPath {
			continue
		}
		text, err := io.ReadAll(p.Open())
		if err != nil {
			return nil
		}
		linker := strings.TrimRight(string(text), "\x00")
		if _, err := os.Stat(linker); err != nil {
			return fmt.Errorf("%s is there, but its dynamic linker %s is not: it was built for another system", program, linker)
		}
	}
	return nil
}
