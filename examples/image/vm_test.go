//go:build linux

package image

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/examples/internal/lan"
)

var (
	bootImage = flag.String("boot", "", "boot virtual machines from the image in this `directory`, made by build")
	profile   = flag.String("profile", "wan", "the agents' timing `set`")
	lease     = flag.Duration("lease", 0, "the agents' lease where a watchdog is tested, for a very busy host (0: the profile's)")
)

// Every machine boots the same files with the same command line.
const (
	floating4  = "10.77.0.100"
	floating6  = "fd77::100"
	everywhere = "console=ttyS0 quiet panic=1 DOYEN_SEEDS=10.77.0.11,10.77.0.12,10.77.0.13 " +
		"DOYEN_FLOATING_IP=" + floating4 + "/24@eth0," + floating6 + "/64@eth0"
)

// lab is three machines on one switch, and the observers on it.
type lab struct {
	*lan.LAN
	t        *testing.T
	words    string // the kernel's command line
	initrd   string
	guarded  func(number int) bool // reports whether a machine has a watchdog
	machines []*machine
	eyes     *eyes
}

// machine is a virtual machine, fully emulated.
type machine struct {
	number int
	addr   netip.Addr
	mac    net.HardwareAddr
	cmd    *exec.Cmd
	dir    string
}

// newLab boots three machines. more is added to the kernel's command line.
func newLab(t *testing.T, more ...string) *lab {
	t.Helper()
	l := prepare(t, more...)
	l.bootAll()
	return l
}

// prepare makes the network of the machines.
func prepare(t *testing.T, more ...string) *lab {
	t.Helper()
	if *bootImage == "" {
		t.Skip("boots virtual machines, which takes minutes: make image-test")
	}
	runtime.LockOSThread() // machines end with the thread that has started them
	l := &lab{
		LAN: lan.New(t, []string{"qemu-system-x86_64", "nsenter", "nft"}, "10.77.0.1/24", "fd77::1/64"),
		t:   t, words: strings.Join(append([]string{everywhere}, more...), " "),
		initrd: filepath.Join(*bootImage, "initrd"), guarded: func(int) bool { return false },
	}
	t.Cleanup(func() {
		if t.Failed() {
			pressure, _ := os.ReadFile("/proc/pressure/cpu") // absent from some kernels
			t.Logf("how much of the time programs of this host wait for a processor, in percent; "+
				"emulated machines stand still where that is near 100:\n%s", pressure)
		}
	})
	l.eyes = l.watch(netip.MustParseAddr(floating4))
	return l
}

// bootAll boots three machines.
func (l *lab) bootAll() {
	l.t.Helper()
	for number := 11; number <= 13; number++ {
		l.machines = append(l.machines, l.boot(number))
	}
}

// boot starts a machine. Its number is the last byte of the address of its network card,
// the only difference from the others.
func (l *lab) boot(number int) *machine {
	l.t.Helper()
	m := &machine{
		number: number, dir: l.t.TempDir(),
		addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(number)}),
		mac:  net.HardwareAddr{0x52, 0x54, 0, 0x77, 0, byte(number)},
	}
	m.cmd = l.Command("qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256",
		"-nodefaults", "-display", "none",
		"-serial", "file:"+m.console(), "-qmp", "unix:"+m.control()+",server=on,wait=off",
		"-kernel", filepath.Join(*bootImage, "vmlinuz"), "-initrd", l.initrd, "-append", l.words,
		"-netdev", "tap,id=net,script=no,downscript=no,ifname="+m.port(),
		"-device", "virtio-net-pci,netdev=net,romfile=,mac="+m.mac.String())
	if l.guarded(number) {
		m.cmd.Args = append(m.cmd.Args, "-device", "i6300esb", "-action", "watchdog=reset")
	} else {
		m.cmd.Args = append(m.cmd.Args, "-no-reboot")
	}
	var complaints strings.Builder
	m.cmd.Stderr = &complaints
	if err := m.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		m.kill()
		if l.t.Failed() {
			console, _ := os.ReadFile(m.console())
			l.t.Logf("%s%s's console:\n%s", complaints.String(), m.addr, console)
		}
	})
	l.Join(m.port())
	return m
}

// is reports whether a member's name is the machine's address and port.
func (m *machine) is(name string) bool {
	return name == netip.AddrPortFrom(m.addr, lan.Port).String()
}

func (m *machine) port() string    { return fmt.Sprintf("vm%d", m.number) }
func (m *machine) console() string { return filepath.Join(m.dir, "console") }
func (m *machine) control() string { return filepath.Join(m.dir, "qmp") }

// replace boots another machine in the place of one that is gone.
func (l *lab) replace(m *machine) {
	l.t.Helper()
	l.machines[slices.Index(l.machines, m)] = l.boot(m.number)
}

// kill ends a machine like a power cut.
func (m *machine) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// tell gives the emulator a command (QMP) and returns when it has been carried out.
func (l *lab) tell(m *machine, command string) time.Time {
	l.t.Helper()
	if err := m.tell(command); err != nil {
		l.t.Fatalf("telling %s to %s: %v", m.addr, command, err)
	}
	return time.Now()
}

func (m *machine) tell(command string) error {
	c, err := m.talk(command)
	if err != nil {
		return err
	}
	return c.Close()
}

// talk is a connection to the emulator, which takes one at a time.
type talk struct {
	net.Conn
	messages *json.Decoder
}

// message is what the emulator sends: an answer, an event, or a greeting.
type message struct {
	Return    *struct{}
	Error     *struct{ Desc string }
	Event     string
	Timestamp struct{ Seconds, Microseconds int64 }
}

// talk connects to the emulator and has it carry out commands.
func (m *machine) talk(commands ...string) (*talk, error) {
	conn, err := net.Dial("unix", m.control())
	if err != nil {
		return nil, err
	}
	c := &talk{conn, json.NewDecoder(conn)}
	c.SetDeadline(time.Now().Add(2 * patience))
	for _, execute := range append([]string{"qmp_capabilities"}, commands...) {
		if err := json.NewEncoder(c).Encode(map[string]string{"execute": execute}); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		for answered := false; !answered; {
			var a message
			if err := c.messages.Decode(&a); err != nil {
				return nil, errors.Join(err, c.Close())
			}
			if a.Error != nil {
				return nil, errors.Join(errors.New(a.Error.Desc), c.Close())
			}
			answered = a.Return != nil
		}
	}
	return c, nil
}

// await returns when an event occurred.
func (c *talk) await(event string) (time.Time, error) {
	for {
		var m message
		if err := c.messages.Decode(&m); err != nil {
			return time.Time{}, fmt.Errorf("awaiting the event %s: %w", event, err)
		}
		if m.Event == event {
			return time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000), nil
		}
	}
}

// leader waits until these machines agree that one of them leads, and only that one has
// the floating addresses.
func (l *lab) leader(among ...*machine) *machine {
	l.t.Helper()
	var addrs []netip.Addr
	for _, m := range among {
		addrs = append(addrs, m.addr)
	}
	s := l.Leader(addrs, patience)
	for _, m := range among {
		if m.is(s.Name) {
			l.checkHolder(m)
			return m
		}
	}
	l.t.Fatalf("the leader %s is none of these machines", s.Addr)
	return nil
}

// checkHolder waits until the floating addresses answer from m, and the IPv4 address
// from no other machine.
func (l *lab) checkHolder(m *machine) {
	l.t.Helper()
	l.Eventually(patience, func() error {
		if err := l.eyes.onlyHolder(m.mac, time.Second); err != nil {
			return err
		}
		for _, a := range []string{floating4, floating6} {
			if mac, err := l.Neighbour(netip.MustParseAddr(a)); err != nil || mac.String() != m.mac.String() {
				return fmt.Errorf("%s: want it to answer from %s, got %s, %v", a, m.mac, mac, err)
			}
		}
		return nil
	})
}
