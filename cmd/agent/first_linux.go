package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"doyen/agent/keeper"
)

// signalled is what a shell adds to the number of the signal that ended a
// program, to make it an exit code.
const signalled = 128

// runFirst is the program as the first process of a container. When that one
// ends, the kernel kills all others, the keeper among them, and every orphan is
// its to reap. So the agent is a child of it, which may be killed without its
// keeper, and the first process does nothing but what a first process must: it
// passes signals on, reaps, and lasts until agent and keeper have ended. It
// returns the agent's exit code.
func runFirst(args []string, stderr io.Writer) int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	// In a process group of its own it does not get what is typed at a terminal
	// a second time: a second SIGINT would end it at once.
	child, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		fmt.Fprintf(stderr, "agent: as the first process of a container: starting the agent itself: %v\n", err)
		return exitFailed
	}
	go func() {
		for s := range signals {
			child.Signal(s) // it may have just ended
		}
	}()
	code := exitFailed
	for ended := false; !ended || keeperLeft(); {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return code // no process is left to wait for
		case pid == child.Pid:
			ended, code = true, exitCode(status)
		}
	}
	return code
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return signalled + int(status.Signal())
	}
	return status.ExitStatus()
}

// keeperLeft reports whether a keeper is still at work in this container. Other
// processes, such as those that someone has started by hand, need not end.
func keeperLeft() bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		line, _ := os.ReadFile(name) // empty for one that has ended
		if args := bytes.Split(line, []byte{0}); len(args) > 1 && string(args[1]) == keeper.Command {
			return true
		}
	}
	return false
}
