package store

import "errors"

// Kind is why something was not done.
type Kind byte

// The kinds. Their numbers are on disk and on the wire.
const (
	Exists      Kind = iota + 1 // a key to be created is there
	Missing                     // there is no such key
	Changed                     // the key has another version
	Fenced                      // the election is led under a higher term
	Full                        // there is no room
	TooLarge                    // the key or the value is too long
	Bad                         // the call makes no sense
	Unavailable                 // nothing was done, and it may be asked again
	Unknown                     // it may or may not have been done
)

// Error is why something was not done: a sentence that names the key.
type Error struct {
	Kind Kind
	Text string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// KindOf returns the kind of an error, 0 if it has none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// Result is where a change stands in the order.
type Result struct {
	Key     string `json:"key"`
	Term    uint64 `json:"term"`
	Index   uint64 `json:"index"`
	Version uint64 `json:"version"`
}

// outcome is what became of a command.
type outcome struct {
	Result
	kind Kind
	text string
}

func (o *outcome) result() (Result, error) {
	if o.kind != 0 {
		return Result{}, &Error{Kind: o.kind, Text: o.text}
	}
	return o.Result, nil
}

// Value is one key as it is now.
type Value struct {
	Key     string `json:"key"`
	Version uint64 `json:"version"`
	Size    int    `json:"size"`
	Term    uint64 `json:"term"`
	Index   uint64 `json:"index"`
	// Data is the value; lists leave it out.
	Data []byte `json:"-"`
}

// Change is one entry of the log.
type Change struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
	Op    string `json:"op"`
	Key   string `json:"key"`
	// Size is how long the value is after the change, in bytes.
	Size int `json:"size"`
	// Error is why the change was refused; "": it was not.
	Error string `json:"error,omitempty"`
}
