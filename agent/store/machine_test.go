package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestMachine plays commands against the state machine, one a line of the table.
func TestMachine(t *testing.T) {
	m, index := newMachine(), uint64(1)
	do := func(c Command) outcome {
		index++
		decoded, err := decodeCommand(c.encode())
		if err != nil {
			t.Fatal(err)
		}
		return m.apply(index, &decoded)
	}
	do(Command{Op: opLead, election: GroupElection, term: 5})
	for i, step := range []struct {
		c     Command
		kind  Kind
		value string
	}{
		{Command{Op: OpAppend, Key: "f", Value: []byte("x")}, Missing, ""},
		{Command{Op: OpDelete, Key: "f"}, Missing, ""},
		{Command{Op: OpCreate, Key: "f", Value: []byte("one\n")}, 0, "one\n"},
		{Command{Op: OpCreate, Key: "f"}, Exists, "one\n"},
		{Command{Op: OpAppend, Key: "f", Value: []byte("two\n")}, 0, "one\ntwo\n"},
		{Command{Op: OpPut, Key: "f", Value: []byte("x"), IfVersion: 3}, Changed, "one\ntwo\n"},
		{Command{Op: OpPut, Key: "f", Value: []byte("x"), IfVersion: 7}, 0, "x"},
		{Command{Op: OpPut, Key: "none", IfVersion: 7}, Changed, "x"},
		{Command{Op: OpAppend, Key: "f", Value: []byte("y"), Request: "r"}, 0, "xy"},
		{Command{Op: OpAppend, Key: "f", Value: []byte("y"), Request: "r"}, 0, "xy"},
		{Command{Op: OpAppend, Key: "f", Value: []byte("z"), Request: "r"}, Bad, "xy"},
		{Command{Op: OpPut, Key: "f", Value: []byte("y"), Request: "r"}, Bad, "xy"},
		{Command{Op: OpPut, Key: "f", Value: []byte("old"), Fence: 4, FenceElection: GroupElection}, Fenced, "xy"},
		{Command{Op: OpPut, Key: "f", Value: []byte("z"), Fence: 5, FenceElection: GroupElection}, 0, "z"},
		{Command{Op: opLead, election: "web", term: 9}, 0, "z"},
		{Command{Op: OpPut, Key: "f", Value: []byte("old"), Fence: 8, FenceElection: "web"}, Fenced, "z"},
		{Command{Op: OpPut, Key: "f", Value: []byte("w"), Fence: 9, FenceElection: "web"}, 0, "w"},
		{Command{Op: OpAppend, Key: "f", Value: make([]byte, MaxValue)}, TooLarge, "w"},
	} {
		o := do(step.c)
		v, _ := m.get("f")
		if o.kind != step.kind || string(v.Data) != step.value {
			t.Errorf("step %d, %v: want kind %d and %q, got %d (%s) and %q", i, step.c.Op, step.kind, step.value, o.kind, o.text, v.Data)
		}
		if o.kind != 0 && !strings.HasPrefix(o.text, step.c.Key+": ") {
			t.Errorf("step %d: the error %q does not name the key", i, o.text)
		}
		if o.kind == 0 && step.c.Op != opLead && o.Term != 5 {
			t.Errorf("step %d: want term 5, got %d", i, o.Term)
		}
	}
	all, _ := m.changes(0, 100)
	for i := range all[1:] {
		if all[i].Index >= all[i+1].Index {
			t.Errorf("indexes do not rise: %v", all)
		}
	}
	if len(all) != 14 { // each change once, the refused included, and neither the repeated one nor who leads
		t.Errorf("want 14 changes, got %d: %v", len(all), all)
	}
	restored, err := parseSnapshot(m.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.snapshot(), restored.snapshot()) || restored.size != m.size {
		t.Error("a restored machine is another")
	}
	if o := restored.apply(index+1, &Command{Op: OpAppend, Key: "f", Value: []byte("y"), Request: "r"}); o.Index != 11 {
		t.Errorf("a request is applied again after a restore: %+v", o)
	}
}

// TestMachineIsBounded: neither the store, nor the log, nor the requests grow without end.
func TestMachineIsBounded(t *testing.T) {
	m := newMachine()
	full := 0
	for i := range 200 {
		if o := m.apply(uint64(i), &Command{Op: OpPut, Key: fmt.Sprint(i), Value: make([]byte, MaxValue)}); o.kind == Full {
			full++
		}
	}
	if full == 0 || m.size > MaxSize {
		t.Errorf("want the store full at %d bytes, got %d with %d refused", MaxSize, m.size, full)
	}
	for i := range uint64(3 * keptChanges) {
		m.apply(1000+i, &Command{Op: OpPut, Key: "0", Request: fmt.Sprint("r", i)})
	}
	if len(m.log) > keptChanges || len(m.requests) > keptRequests || len(m.asked) != len(m.requests) {
		t.Errorf("kept %d changes, %d requests, %d ids", len(m.log), len(m.requests), len(m.asked))
	}
}

// TestNewerCommandsStopAReplica checks that no part of what a newer version may write
// is carried out: the copies of the voters would differ.
func TestNewerCommandsStopAReplica(t *testing.T) {
	known := Command{Op: OpPut, Key: "a", Value: []byte("b")}
	op, format := known, known.encode()
	op.Op, format[0] = opLead+1, 2
	for name, b := range map[string][]byte{"operation": op.encode(), "format": format, "field": append(known.encode(), 1)} {
		if c, err := decodeCommand(b); err != errNewer {
			t.Errorf("%s: got %+v, %v; want %v", name, c, err, errNewer)
		}
	}
}

func FuzzMachineRestore(f *testing.F) {
	m := newMachine()
	m.apply(2, &Command{Op: OpPut, Key: "a", Value: []byte("b"), Request: "r"})
	f.Add(m.snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseSnapshot(b)
		_, _ = decodeCommand(b)
	})
}
