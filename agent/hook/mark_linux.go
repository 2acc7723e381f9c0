package hook

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// # How a process is known
//
// A program of an election carries two marks: variables in its environment, and
// a resource limit that means nothing. RLIMIT_LOCKS has had no effect since Linux
// 2.4.25 (getrlimit(2)); every process inherits it over fork and exec, so it says
// whose a process is after env -i, setsid, a double fork and a change of user, and
// after the death of the keeper that set it.
//
//	bit 62 | node (46 bits of a hash) | election (12 bits) | class (2 bits)
//
// A sandbox that refuses the limit leaves the environment.
const (
	rlimitLocks = 10
	tagBit      = 1 << 62
	slotBits    = 12
	classBits   = 2
)

// tag is the limit that marks the processes of t.
func (t *tree) tag() uint64 {
	slot := uint64(t.owner.Slot) & (1<<slotBits - 1)
	return nodeTag(t.owner.Cluster, t.owner.Node) | slot<<classBits | uint64(t.class)
}

// nodeTag is the part of the limit that all elections of a node share.
func nodeTag(cluster, node string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(cluster + "\x00" + node))
	const bits = slotBits + classBits
	return tagBit | h.Sum64()<<bits&(tagBit-1)
}

// isOfNode reports whether a tag is of the node that has the tag node.
func isOfNode(tag, node uint64) bool {
	return tag>>(slotBits+classBits) == node>>(slotBits+classBits)
}

// mark gives this process the limit, for a program that is about to be started;
// the function that it returns takes it back. The caller lets no other program be
// started meanwhile.
func mark(tag uint64) (done func()) {
	var old unix.Rlimit
	err := unix.Getrlimit(rlimitLocks, &old)
	if err == nil {
		err = unix.Setrlimit(rlimitLocks, &unix.Rlimit{Cur: tag, Max: old.Max})
	}
	return func() {
		if err == nil {
			unix.Setrlimit(rlimitLocks, &old)
		}
	}
}

// tagOf reads the mark of a process; 0: it has none.
func tagOf(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0
	}
	_, line, found := bytes.Cut(text, []byte("Max file locks"))
	fields := bytes.Fields(line)
	if !found || len(fields) == 0 {
		return 0
	}
	tag, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil || tag&tagBit == 0 || tag&^(2*tagBit-1) != 0 {
		return 0
	}
	return tag
}

// Whose a process is.
const (
	foreign = iota
	ours
	unmarked
)

// owns tells whether a process is of t. The environment, if it is looked at, is read
// into buf.
func (t *tree) owns(pid int, buf func() []byte) int {
	switch tag := tagOf(pid); tag {
	case 0:
	case t.tag():
		return ours
	default:
		return foreign
	}
	env, err := environ(pid, buf())
	if err != nil || len(env) == 0 {
		return unmarked
	}
	class, ok := classOf(env)
	switch {
	case !ok:
		return unmarked
	case class == t.class && t.owner.in(env):
		return ours
	}
	return foreign
}

// in reports whether an environment belongs to a process of o.
func (o *Owner) in(env []byte) bool {
	return hasVariable(env, "NODE="+o.Node+"\x00") && hasVariable(env, "CLUSTER="+o.Cluster+"\x00") &&
		(o.Election == "" || hasVariable(env, "ELECTION="+o.Election+"\x00"))
}

// classOf tells from its environment what a process of a hook was started for;
// false: it is none.
func classOf(env []byte) (class, bool) {
	switch {
	case hasVariable(env, "EVENT="+string(Acquire)+"\x00"):
		return lasting, true
	case hasVariable(env, "EVENT="+string(commandEvent)+"\x00"):
		return command, true
	}
	return passing, hasVariable(env, "EVENT=")
}

// hasVariable reports whether an environment has a variable of ours that begins so.
func hasVariable(env []byte, variable string) bool {
	mark := []byte(prefix + variable)
	return bytes.HasPrefix(env, mark) || bytes.Contains(env, append([]byte{0}, mark...))
}
