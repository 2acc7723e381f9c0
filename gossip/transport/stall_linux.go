package transport

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// endStalled has the kernel end a connection of which something stays unacknowledged for
// stallLimit (TCP_USER_TIMEOUT, tcp(7); RFC 5482). It would otherwise be sent again ever
// more seldom: after a partition of a minute, up to a minute after its end.
func endStalled(_, _ string, c syscall.RawConn) error {
	var err error
	ctl := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(stallLimit.Milliseconds()))
	})
	return errors.Join(ctl, err)
}
