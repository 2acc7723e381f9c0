package simnet

import (
	"net"
	"time"
)

const (
	// window is how many writes are under way on one side of a buffered connection.
	window = 1024
	// linger is how long what is under way may still be read after its writer has closed.
	linger = 10 * time.Second
)

// buffered returns the two ends of a connection that takes writes in before the other end
// reads them.
func buffered() (mine, theirs net.Conn) {
	mine, a := net.Pipe()
	b, theirs := net.Pipe()
	go carry(a, b)
	go carry(b, a)
	return mine, theirs
}

// carry takes what is written to one pipe over to another, until either is closed.
func carry(from, to net.Conn) {
	writes := make(chan []byte, window)
	go func() {
		defer close(writes)
		b := make([]byte, 1<<16)
		for {
			n, err := from.Read(b)
			if err != nil {
				_ = to.SetWriteDeadline(time.Now().Add(linger))
				return
			}
			writes <- append([]byte(nil), b[:n]...)
		}
	}()
	for w := range writes {
		if _, err := to.Write(w); err != nil {
			from.Close()
		}
	}
	to.Close()
}
