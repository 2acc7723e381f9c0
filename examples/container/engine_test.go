//go:build linux

package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"doyen/examples/internal/trial"

	"golang.org/x/sys/unix"
)

// containerMark is the environment variable that makes this program become the first
// process of a container. Its value is the directory of the image.
const containerMark = "CONTAINER_IMAGE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(containerMark); dir != "" {
		fmt.Fprintln(os.Stderr, "starting a container:", enter(dir, os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// image is the result of the Dockerfile: a directory with the file system, and how to
// run it.
type image struct {
	dir        string
	Entrypoint []string
	User       int
}

// buildImage makes the image without an engine, as the last stage of the Dockerfile
// describes it.
func buildImage(t *testing.T) *image {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, stage, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the Dockerfile has no stage FROM scratch")
	}
	i := &image{dir: t.TempDir()}
	binary := ""
	for line := range strings.Lines(stage) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "COPY":
			binary, ok = strings.CutPrefix(rest, "--from=build /src/bin/agent /")
		case "USER":
			user, group, _ := strings.Cut(rest, ":")
			i.User, err = strconv.Atoi(user)
			ok = user == group
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(rest), &i.Entrypoint)
		}
		if !ok || err != nil {
			t.Fatalf("the test does not understand this line of the Dockerfile: %s%v", line, err)
		}
	}
	if err := os.Rename(trial.Build(t), i.path(binary)); err != nil {
		t.Fatal(err)
	}
	// Every engine adds the rest to a container.
	for _, dir := range []string{"proc", "dev", "etc"} {
		if err := os.Mkdir(i.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"dev/null": "", "etc/resolv.conf": "nameserver " + gateway + "\n"} {
		if err := os.WriteFile(i.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	manifest, err := json.Marshal(i)
	if err == nil {
		err = os.WriteFile(i.path("manifest"), manifest, 0o644)
	}
	// Only the user of the test can read the directories that a test gets.
	if err := errors.Join(err, os.Chmod(i.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *image) path(name string) string { return filepath.Join(i.dir, name) }

// command returns the command of a container: this program again, in namespaces of its
// own. It continues when plugged is closed.
func (i *image) command(plugged *os.File, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), containerMark+"="+i.dir)
	cmd.ExtraFiles = []*os.File{plugged}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	return cmd
}

// enter prepares the new namespaces as engines do, and becomes the image's entry point.
// It returns only if that fails.
func enter(dir string, args []string) error {
	if _, err := io.Copy(io.Discard, os.NewFile(3, "plugged")); err != nil {
		return err
	}
	i := &image{dir: dir}
	manifest, err := os.ReadFile(i.path("manifest"))
	if err == nil {
		err = json.Unmarshal(manifest, i)
	}
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the last but one step is about the thread
	for _, step := range []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("proc", i.path("proc"), "proc", 0, "") },
		func() error { return unix.Mount("/dev/null", i.path("dev/null"), "", unix.MS_BIND, "") },
		func() error { return unix.Chroot(dir) },
		func() error { return unix.Chdir("/") },
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setgid(i.User) },
		func() error { return syscall.Setuid(i.User) },
		func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
		// Only now, because a change of user would undo it.
		func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) },
		func() error { return unix.Exec(i.Entrypoint[0], append(i.Entrypoint, args...), nil) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
