//go:build linux

package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"doyen/examples/internal/lan"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// How often the machines are asked by ARP, which costs them little, and by HTTP.
const (
	lookEvery  = 20 * time.Millisecond
	claimEvery = 100 * time.Millisecond
)

// proof says that something was true at some instant between asking and answer.
type proof struct {
	asked, answered time.Time
	mac             net.HardwareAddr // the machine that answered for the floating address
	lease           time.Duration    // the lease that a leader had left
}

// since returns the proofs of what was true at or after a time.
func since(list []proof, t time.Time) (after []proof) {
	for _, p := range list {
		if !p.asked.Before(t) {
			after = append(after, p)
		}
	}
	return after
}

// afterPause returns the proofs of what was true after a stopped machine was resumed,
// also of questions that were asked before and answered then.
func afterPause(list []proof, stopped, resumed time.Time) (after []proof) {
	for _, p := range since(list, stopped) {
		if p.answered.After(resumed) {
			p.asked = latest(p.asked, resumed)
			after = append(after, p)
		}
	}
	return after
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// eyes asks continuously, by ARP, which machine has the floating address. It counts only
// answers to its own questions, and keeps the time of each question.
type eyes struct {
	fd    int
	index int
	ip    netip.Addr

	mu   sync.Mutex
	sent [1 << 16]time.Time // by the number of the question
	seen []proof
}

// The questions are sent from an address that no host has, and from a hardware address
// whose last two bytes are the number of the question.
var (
	askerIP  = netip.MustParseAddr("10.77.0.250")
	askerMAC = net.HardwareAddr{0x02, 0xaa, 0, 0}
)

// watch asks for ip until the test ends.
func (l *lab) watch(ip netip.Addr) *eyes {
	l.t.Helper()
	e := &eyes{ip: ip}
	if err := l.Do(func() (err error) { return e.open(lan.Bridge) }); err != nil {
		l.t.Fatalf("opening a packet socket: %v", err)
	}
	var both sync.WaitGroup
	stop := make(chan struct{})
	l.t.Cleanup(func() {
		close(stop)
		both.Wait()
		unix.Close(e.fd)
	})
	both.Go(func() { e.ask(l.t, stop) })
	both.Go(func() { e.listen(stop) })
	return e
}

// open opens the socket, which also receives packets for the hardware addresses of the
// questions.
func (e *eyes) open(name string) error {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	e.index = iface.Index
	arp := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ARP))
	if e.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(arp)); err != nil {
		return err
	}
	if err := unix.Bind(e.fd, &unix.SockaddrLinklayer{Protocol: arp, Ifindex: e.index}); err != nil {
		return err
	}
	if err := unix.SetsockoptPacketMreq(e.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
		&unix.PacketMreq{Ifindex: int32(e.index), Type: unix.PACKET_MR_PROMISC}); err != nil {
		return err
	}
	return unix.SetsockoptTimeval(e.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
}

// ask sends questions at intervals.
func (e *eyes) ask(t *testing.T, stop <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for number := uint16(0); ; number++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		e.mu.Lock()
		e.sent[number] = time.Now()
		e.mu.Unlock()
		if err := e.send(number); err != nil {
			t.Errorf("asking for %s: %v", e.ip, err)
			return
		}
	}
}

func (e *eyes) send(number uint16) error {
	asker := net.HardwareAddr(binary.BigEndian.AppendUint16(bytes.Clone(askerMAC), number))
	frame := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(frame, gopacket.SerializeOptions{},
		&layers.Ethernet{SrcMAC: asker, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: asker, SourceProtAddress: askerIP.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: e.ip.AsSlice(),
		})
	if err != nil {
		return err
	}
	return unix.Sendto(e.fd, frame.Bytes(), 0, &unix.SockaddrLinklayer{Ifindex: e.index})
}

// listen records the answers.
func (e *eyes) listen(stop <-chan struct{}) {
	for buf := make([]byte, 2048); ; {
		select {
		case <-stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(e.fd, buf, 0)
		if err != nil {
			continue // no packet has arrived
		}
		at := time.Now()
		packet := gopacket.NewPacket(bytes.Clone(buf[:n]), layers.LayerTypeEthernet, gopacket.Default)
		a, ok := packet.Layer(layers.LayerTypeARP).(*layers.ARP)
		if !ok || a.Operation != layers.ARPReply || !bytes.Equal(a.SourceProtAddress, e.ip.AsSlice()) || !bytes.HasPrefix(a.DstHwAddress, askerMAC) {
			continue
		}
		e.mu.Lock()
		number := binary.BigEndian.Uint16(a.DstHwAddress[4:])
		e.seen = append(e.seen, proof{asked: e.sent[number], answered: at, mac: a.SourceHwAddress})
		e.mu.Unlock()
	}
}

// from returns the answers of one machine so far.
func (e *eyes) from(mac net.HardwareAddr) (list []proof) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.seen {
		if bytes.Equal(p.mac, mac) {
			list = append(list, p)
		}
	}
	return list
}

// onlyHolder checks for a while that only this machine answers.
func (e *eyes) onlyHolder(mac net.HardwareAddr, d time.Duration) error {
	began := time.Now()
	time.Sleep(d)
	e.mu.Lock()
	defer e.mu.Unlock()
	recent := since(e.seen, began)
	for _, p := range recent {
		if !bytes.Equal(p.mac, mac) {
			return fmt.Errorf("%s: want it to answer from %s alone, got an answer from %s", e.ip, mac, p.mac)
		}
	}
	if len(recent) == 0 {
		return fmt.Errorf("%s does not answer", e.ip)
	}
	return nil
}

// claims asks a machine continuously whether it leads. stop ends that and returns the
// answers that said so. No question waits for the answer to the last one, which may be
// lost.
func (l *lab) claims(m *machine) (stop func() []proof) {
	var mu sync.Mutex
	var list []proof
	var questions sync.WaitGroup
	end := make(chan struct{})
	ask := func() {
		asked := time.Now()
		s, err := l.State(m.addr)
		if err == nil && s.IsLeader {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, proof{asked: asked, answered: time.Now(), lease: time.Duration(s.LeaseMS) * time.Millisecond})
		}
	}
	questions.Go(func() {
		tick := time.NewTicker(claimEvery)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				questions.Go(ask)
			}
		}
	})
	return func() []proof {
		close(end)
		questions.Wait()
		slices.SortFunc(list, func(a, b proof) int { return a.answered.Compare(b.answered) })
		return list
	}
}
