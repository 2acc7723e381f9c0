package floatingip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A renewal is the one transaction of nftables that a leader makes all the time:
// several times a second, on every leader. The library's costs some thirty system
// calls, as it asks for an answer to each message and reads every answer twice. This one
// is built once, asks for one answer, and takes two.
//
// The messages are those of nfnetlink (linux/netfilter/nfnetlink.h, nf_tables.h),
// each a netlink header, a family with a resource, and attributes.
type renewal struct {
	fd       int
	messages []byte
	timeouts []int // where in messages the time-outs stand
	last     uint32
	answer   []byte
}

// What nf_tables calls NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM, of its subsystem.
const (
	newSetElements = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM
	delSetElements = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELSETELEM
)

// newRenewal opens what renewals go through.
func newRenewal() (*renewal, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening nfnetlink: %w", os.NewSyscallError("socket", err))
	}
	return &renewal{fd: fd, answer: make([]byte, 4096)}, nil
}

// describe prepares the renewal of the sets of these guards; none: there is nothing
// to send.
func (r *renewal) describe(guards []guard) {
	r.messages, r.timeouts = nil, nil
	if len(guards) == 0 {
		return
	}
	r.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	last := 0
	for _, g := range guards {
		emptied := r.begin(delSetElements, 0, byte(g.table.Family), 0)
		r.names(&g)
		r.endMessage(emptied)
		last = r.begin(newSetElements, unix.NLM_F_CREATE, byte(g.table.Family), 0)
		r.names(&g)
		list := r.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		element := r.nest(unix.NFTA_LIST_ELEM)
		key := r.nest(unix.NFTA_SET_ELEM_KEY)
		r.attribute(unix.NFTA_DATA_VALUE, g.addr.IP().AsSlice())
		r.endNest(key)
		r.timeouts = append(r.timeouts, len(r.messages)+attributeHeader)
		r.attribute(unix.NFTA_SET_ELEM_TIMEOUT, make([]byte, 8))
		r.endNest(element)
		r.endNest(list)
		r.endMessage(last)
	}
	// One answer says that all is done; what fails is answered in any case.
	binary.NativeEndian.PutUint16(r.messages[last+6:], unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_ACK)
	r.last = binary.NativeEndian.Uint32(r.messages[last+8:])
	r.begin(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
}

// attributeHeader is the length of what stands before the value of an attribute.
const attributeHeader = 4

// begin appends the head of a message and returns where the message begins.
func (r *renewal) begin(kind, flags uint16, family byte, resource uint16) int {
	at := len(r.messages)
	r.messages = binary.NativeEndian.AppendUint32(r.messages, unix.NLMSG_HDRLEN+4)
	r.messages = binary.NativeEndian.AppendUint16(r.messages, kind)
	r.messages = binary.NativeEndian.AppendUint16(r.messages, unix.NLM_F_REQUEST|flags)
	r.messages = binary.NativeEndian.AppendUint32(r.messages, uint32(at)+1) // its number
	r.messages = binary.NativeEndian.AppendUint32(r.messages, 0)
	r.messages = append(r.messages, family, unix.NFNETLINK_V0)
	r.messages = binary.BigEndian.AppendUint16(r.messages, resource)
	return at
}

// names appends the table and the set.
func (r *renewal) names(g *guard) {
	r.attribute(unix.NFTA_SET_ELEM_LIST_TABLE, append([]byte(g.table.Name), 0))
	r.attribute(unix.NFTA_SET_ELEM_LIST_SET, append([]byte(g.set.Name), 0))
}

// attribute appends an attribute, filled up to a multiple of four bytes.
func (r *renewal) attribute(kind uint16, value []byte) {
	r.messages = binary.NativeEndian.AppendUint16(r.messages, uint16(attributeHeader+len(value)))
	r.messages = binary.NativeEndian.AppendUint16(r.messages, kind)
	r.messages = append(r.messages, value...)
	r.messages = append(r.messages, make([]byte, -len(value)&3)...)
}

// nest appends the head of an attribute that holds others, to be ended by
// endNest.
func (r *renewal) nest(kind uint16) int {
	at := len(r.messages)
	r.attribute(kind|unix.NLA_F_NESTED, nil)
	return at
}

// endMessage notes the length of the message that began at a place.
func (r *renewal) endMessage(at int) {
	binary.NativeEndian.PutUint32(r.messages[at:], uint32(len(r.messages)-at))
}

// endNest notes the length of the attribute that began at a place.
func (r *renewal) endNest(at int) {
	binary.NativeEndian.PutUint16(r.messages[at:], uint16(len(r.messages)-at))
}

// send has the elements answer for d from now. It is over when send returns: the kernel
// carries out and answers what it is sent before the call returns.
func (r *renewal) send(d time.Duration) error {
	if len(r.messages) == 0 {
		return nil
	}
	for _, at := range r.timeouts {
		binary.BigEndian.PutUint64(r.messages[at:], uint64(d.Milliseconds()))
	}
	if err := unix.Sendto(r.fd, r.messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	var failed error
	for {
		n, _, err := unix.Recvfrom(r.fd, r.answer, 0)
		if err != nil {
			return errors.Join(failed, os.NewSyscallError("recvfrom", err))
		}
		if n < unix.NLMSG_HDRLEN+4 {
			return fmt.Errorf("an answer of nfnetlink of %d bytes", n)
		}
		number := binary.NativeEndian.Uint32(r.answer[8:])
		code := int32(binary.NativeEndian.Uint32(r.answer[unix.NLMSG_HDRLEN:]))
		if code != 0 && failed == nil {
			failed = syscall.Errno(-code)
		}
		if number == r.last {
			return failed
		}
	}
}

// close lets go of the socket.
func (r *renewal) close() error { return os.NewSyscallError("close", unix.Close(r.fd)) }
