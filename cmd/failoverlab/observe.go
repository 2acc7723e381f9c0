//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// observers are the threads that watch a network until they are stopped.
type observers struct {
	record  *record
	stopped atomic.Bool
	ended   sync.WaitGroup
	slow    atomic.Bool // a thread runs without real-time priority
	fds     []int
	tcp     *tcpClients
	gentle  bool // real-time priority is not asked for
}

// observe starts all of them. Gentle ones have no real-time priority, and the
// client by UDP asks as seldom as the watcher: for many labs at a time, and
// for what needs no milliseconds.
func observe(n *network, r *record, gentle bool) (*observers, error) {
	o := &observers{record: r, gentle: gentle}
	var errs []error
	for _, h := range n.hosts {
		errs = append(errs, o.respond(h), o.hear(h))
	}
	var err error
	o.tcp, err = speakTCP(n, r)
	errs = append(errs, o.ask(n.client), o.watch(n), err)
	if err := errors.Join(errs...); err != nil {
		o.stop()
		return nil, fmt.Errorf("starting the observers: %w", err)
	}
	return o, nil
}

func (o *observers) stop() {
	o.stopped.Store(true)
	if o.tcp != nil {
		o.tcp.close()
	}
	o.ended.Wait()
	for _, fd := range o.fds {
		unix.Close(fd)
	}
}

// realTime is the priority of the threads that observe, among real-time ones.
const realTime = 10

// loop calls step on a real-time thread of the node's namespace until the
// observers are stopped. The steps block in system calls, for patience at most.
func (o *observers) loop(p *node, step func()) {
	o.ended.Go(func() {
		p.do(func() error {
			attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: realTime}
			if !o.gentle && unix.SchedSetAttr(0, &attr, 0) != nil {
				o.slow.Store(true)
			}
			for !o.stopped.Load() {
				step()
			}
			return nil
		})
	})
}

// socket opens a socket in the node's namespace, whose reads end after a while.
func (o *observers) socket(p *node, family, kind, protocol int, bind unix.Sockaddr) (int, error) {
	fd := -1
	err := p.do(func() error {
		var err error
		if fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol); err != nil {
			return os.NewSyscallError("socket", err)
		}
		o.fds = append(o.fds, fd)
		patience := unix.Timeval{Usec: 50_000}
		return errors.Join(os.NewSyscallError("bind", unix.Bind(fd, bind)),
			os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)),
			os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)))
	})
	if err != nil {
		return -1, fmt.Errorf("on %s: %w", p.name, err)
	}
	return fd, nil
}

// servicePort is where the hosts' service answers.
const servicePort = 9

// respond is a host's service: it answers each packet from the address that the
// packet was sent to, with the host's number added.
func (o *observers) respond(h *host) error {
	fd, err := o.socket(h.node, unix.AF_INET, unix.SOCK_DGRAM, 0, &unix.SockaddrInet4{Port: servicePort})
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_PKTINFO, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	data, control := make([]byte, 64), make([]byte, 128)
	o.loop(h.node, func() {
		n, nc, _, from, err := unix.Recvmsg(fd, data[:63], control, 0)
		if err != nil {
			return
		}
		source, ok := packetInfo(control[:nc])
		if !ok {
			return
		}
		data[n] = byte(h.index)
		unix.Sendmsg(fd, data[:n+1], unix.PktInfo4(&source), from, 0) // the address may have just gone
	})
	return nil
}

// packetInfo returns, for sending, the address that a packet was received at.
func packetInfo(control []byte) (unix.Inet4Pktinfo, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return unix.Inet4Pktinfo{}, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo {
			received := *(*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return unix.Inet4Pktinfo{Spec_dst: received.Spec_dst}, true
		}
	}
	return unix.Inet4Pktinfo{}, false
}

// ask is the client.
func (o *observers) ask(client *node) error {
	fd, err := o.socket(client, unix.AF_INET, unix.SOCK_DGRAM, 0, &unix.SockaddrInet4{Addr: clientIP.As4()})
	if err != nil {
		return err
	}
	every := clientEvery
	if o.gentle {
		every = o.record.every
	}
	o.loop(client, pace(every, func(uint64) {
		unix.Sendto(fd, []byte("ask"), 0, &unix.SockaddrInet4{Port: servicePort, Addr: floatIP.As4()})
	}))
	receive := stamped(fd)
	o.loop(client, func() {
		if data, at, ok := receive(); ok && len(data) > 0 {
			o.record.news <- seen{reply: &reply{at, int(data[len(data)-1])}}
		}
	})
	return nil
}

// stamped makes a function that receives packets with the time at which the
// kernel got them. The data is good until the next call.
func stamped(fd int) func() (data []byte, at time.Duration, ok bool) {
	data, control := make([]byte, 2048), make([]byte, 128)
	return func() ([]byte, time.Duration, bool) {
		n, nc, _, _, err := unix.Recvmsg(fd, data, control, 0)
		at := now()
		if err != nil {
			return nil, 0, false
		}
		messages, err := unix.ParseSocketControlMessage(control[:nc])
		if err != nil {
			return nil, 0, false
		}
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
				stamp := *(*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
				at = time.Unix(stamp.Unix()).Sub(epoch.Round(0)) // Round strips the monotonic clock, which the kernel's stamp lacks
			}
		}
		return data[:n], at, true
	}
}

// pace makes a step that waits for the next round and then does f. It sleeps in
// the kernel, for Go's timers depend on threads without priority.
func pace(every time.Duration, f func(round uint64)) func() {
	next, round := now(), uint64(0)
	return func() {
		if wait := next - now(); wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			unix.Nanosleep(&ts, nil) // an early return is made up for by the next round
		}
		next = max(next+every, now())
		round++
		f(round)
	}
}

// hear notes what a host's kernel says of the floating address.
func (o *observers) hear(h *host) error {
	fd, err := o.socket(h.node, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE,
		&unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR})
	if err != nil {
		return err
	}
	buffer := make([]byte, 1<<16)
	o.loop(h.node, func() {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		at := now()
		if err != nil {
			return
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return
		}
		for _, m := range messages {
			if isFloat(&m) {
				o.record.news <- seen{change: &change{h.index, at, m.Header.Type == unix.RTM_NEWADDR}}
			}
		}
	})
	return nil
}

// isFloat reports whether a message is of the floating address.
func isFloat(m *syscall.NetlinkMessage) bool {
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFA_LOCAL && bytes.Equal(a.Value, floatIP.AsSlice()) {
			return true
		}
	}
	return false
}

// pingMark, plus the host's number, is the identifier of the watcher's pings.
const pingMark = 0x7700

// arpMark, with the round, is the hardware address that the watcher asks in the
// name of: the answer carries it.
var arpMark = []byte{0x02, 0xaa, 0, 0}

// watcher asks every host whether it holds the address, in numbered rounds.
type watcher struct {
	n      *network
	record *record
	fd     int
	pings  [][]byte // to each host
	arp    []byte
	sent   [1 << 16]atomic.Int64 // when a round was sent, by its low bits
}

// watch starts the watcher.
func (o *observers) watch(n *network) error {
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
	fd, err := o.socket(n.watch, unix.AF_PACKET, unix.SOCK_RAW, all, &unix.SockaddrLinklayer{Protocol: all, Ifindex: n.watch.link})
	if err != nil {
		return err
	}
	w := &watcher{n: n, record: o.record, fd: fd}
	w.prepare()
	o.loop(n.watch, pace(o.record.every, w.round))
	receive := stamped(fd)
	o.loop(n.watch, func() {
		if data, at, ok := receive(); ok {
			w.receive(data, at)
		}
	})
	return nil
}

// round sends one question to each host and one to all. The packets are made once:
// the garbage of making them anew would fill the memory of a long series.
func (w *watcher) round(round uint64) {
	number, at := uint16(round), now()
	const late = 5 // rounds
	if last := time.Duration(w.sent[number-1].Load()); round > 1 && at-last > late*w.record.every {
		w.record.news <- seen{blind: &span{last, at}}
	}
	w.sent[number].Store(int64(at))
	const sum, seq, asker = 14 + 20 + 2, 14 + 20 + 6, 14 + 8 + 4
	for _, p := range w.pings {
		// The checksum is the complement of a sum to which the number is added
		// (RFC 1624).
		old, was := uint32(binary.BigEndian.Uint16(p[sum:])), uint32(binary.BigEndian.Uint16(p[seq:]))
		total := ^old&0xffff + ^was&0xffff + uint32(number)
		total = total&0xffff + total>>16
		total = total&0xffff + total>>16
		binary.BigEndian.PutUint16(p[seq:], number)
		binary.BigEndian.PutUint16(p[sum:], ^uint16(total))
		w.send(p)
	}
	binary.BigEndian.PutUint16(w.arp[asker:], number)
	w.send(w.arp)
}

// prepare makes the packets.
func (w *watcher) prepare() {
	for _, h := range w.n.hosts {
		w.pings = append(w.pings, packet(
			&layers.Ethernet{SrcMAC: w.n.watch.mac, DstMAC: h.mac, EthernetType: layers.EthernetTypeIPv4},
			&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: watchIP.AsSlice(), DstIP: floatIP.AsSlice()},
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: pingMark + uint16(h.index)}))
	}
	asker := binary.BigEndian.AppendUint16(bytes.Clone(arpMark), 0)
	w.arp = packet(
		&layers.Ethernet{SrcMAC: w.n.watch.mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: asker, SourceProtAddress: watchIP.Next().AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: floatIP.AsSlice(),
		})
}

func packet(list ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
		panic(fmt.Sprintf("failoverlab: building a packet: %v", err))
	}
	return buffer.Bytes()
}

func (w *watcher) send(packet []byte) {
	unix.Sendto(w.fd, packet, 0, &unix.SockaddrLinklayer{Ifindex: w.n.watch.link})
}

// receive notes an answer to one of the watcher's questions.
func (w *watcher) receive(f []byte, at time.Duration) {
	const (
		isIP, isARP      = 0x0800, 0x0806
		ipProto, ipFrom  = 14 + 9, 14 + 12
		icmp             = 14 + 20
		arpOp, arpSender = 14 + 6, 14 + 8
		arpTarget        = 14 + 18
	)
	if len(f) < 42 {
		return
	}
	float := floatIP.AsSlice()
	switch binary.BigEndian.Uint16(f[12:]) {
	case isIP:
		id, number := binary.BigEndian.Uint16(f[icmp+4:]), binary.BigEndian.Uint16(f[icmp+6:])
		host := int(id) - pingMark
		if f[ipProto] == unix.IPPROTO_ICMP && f[icmp] == 0 && bytes.Equal(f[ipFrom:ipFrom+4], float) && host >= 0 && host < len(w.n.hosts) {
			w.record.news <- seen{ping: &proof{host, time.Duration(w.sent[number].Load()), at}}
		}
	case isARP:
		sender := net.HardwareAddr(f[arpSender : arpSender+6])
		ours := bytes.Equal(f[arpTarget:arpTarget+4], arpMark)
		if f[arpOp+1] == layers.ARPReply && ours && bytes.Equal(f[arpSender+6:arpSender+10], float) {
			for _, h := range w.n.hosts {
				if bytes.Equal(h.mac, sender) {
					number := binary.BigEndian.Uint16(f[arpTarget+4:])
					w.record.news <- seen{arp: &proof{h.index, time.Duration(w.sent[number].Load()), at}}
				}
			}
		}
	}
}
