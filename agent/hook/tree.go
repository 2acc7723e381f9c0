package hook

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Owner is the election that programs are started for.
type Owner struct {
	// Cluster, Node and Election name it; see Sweep for an empty Election.
	Cluster, Node, Election string
	// Slot is the number of the election in its keeper, below 4096.
	Slot int
}

// class is what a program was started for: it decides when what it leaves running
// is killed.
type class uint8

const (
	passing class = iota // an event that holds nothing: everything dies with it
	lasting              // acquire: what it leaves running is part of the leadership
	command              // the command
)

// commandEvent is the DOYEN_EVENT of the command.
const commandEvent Event = "run"

// classFor is the class of a run of the hook.
func classFor(e Event) class {
	if e == Acquire {
		return lasting
	}
	return passing
}

// tree is what a program of an election has started, as far as that can be found.
type tree struct {
	owner  Owner
	class  class
	reaper *Reaper // nil: this process is none
}

// start starts the program.
func (t *tree) start(start func() (*os.Process, error)) (*os.Process, error) {
	if t.reaper == nil {
		return start()
	}
	return t.reaper.start(t, start)
}

// forget says that the program has been reaped.
func (t *tree) forget(pid int) {
	if t.reaper != nil {
		t.reaper.forget(pid)
	}
}

// maxLeft is how many of the processes left running are named: a keeper tells of all that
// is known of a run in one message of bounded size.
const maxLeft = 50

// left names what lives besides the program. Without a Reaper it kills it as well,
// since only a look at all processes finds it.
func (t *tree) left() (names []string, err error) {
	if t.reaper == nil {
		names, err = sweepClass(t)
	} else {
		names = t.reaper.list(t)
	}
	if more := len(names) - maxLeft; more > 0 {
		names = append(names[:maxLeft], fmt.Sprintf("and %d more", more))
	}
	return names, err
}

// signal sends sig to what lives besides the program and has left its group.
func (t *tree) signal(sig syscall.Signal) {
	if t.reaper != nil {
		t.reaper.signal(t, sig)
	}
}

// lives reports whether anything lives of a program that has exited and was not
// reaped. Without a Reaper that is not known.
func (t *tree) lives() bool { return t.reaper != nil && len(t.reaper.list(t)) > 0 }

// kill kills what lives besides the program, and waits until it is dead.
func (t *tree) kill() error {
	if t.reaper == nil {
		_, err := sweepClass(t)
		return err
	}
	return t.reaper.kill(t)
}

// end names what lives besides the program, and kills it.
func (t *tree) end() (names []string, err error) {
	if names, err = t.left(); t.reaper == nil {
		return names, err // dead already
	}
	return names, errors.Join(err, t.kill())
}
