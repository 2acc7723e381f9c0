package keepalived

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// script is a vrrp_script or a vrrp_track_process: a command that fails if the host
// should not lead.
type script struct {
	name    string
	at      *line
	tracked bool
	command string
	// As given; 0: not given.
	interval, timeout time.Duration
	rise, fall        int
	plain             bool // command is the path of a program, without arguments
}

// instance is a vrrp_instance.
type instance struct {
	name      string
	at        *line
	iface     string
	state     string // MASTER, BACKUP or ""
	priority  int    // 0: not given
	nopreempt bool
	delay     time.Duration // preempt_delay
	advert    time.Duration // advert_int; 0: not given
	own       string        // the address of this host that the others know
	peers     []string
	addresses []string // as --floating-ip takes them
	tracked
}

// tracked is what instances and groups have alike.
type tracked struct {
	scripts    []*line  // whose keywords are names of scripts
	interfaces []string // whose carrier is watched
	notify     []notify
}

// notify is a notify script.
type notify struct {
	state   string // MASTER, BACKUP, FAULT, STOP; "" for all of them
	command string
	at      *line
}

// group is a vrrp_sync_group.
type group struct {
	name    string
	members []string
	at      []*line // of each member
	tracked
}

// model is what of a configuration has a counterpart.
type model struct {
	instances []*instance
	groups    []*group
	scripts   map[string]*script
	iface     *line // default_interface
	notes     *notes
}

// each calls f with every line of a block, which is then used.
func each(l *line, f func(*line)) {
	l.used = true
	for _, in := range l.body {
		f(in)
	}
}

func readModel(root *line, n *notes) *model {
	m := &model{scripts: map[string]*script{}, notes: n}
	each(root, func(l *line) {
		switch l.key() {
		case "global_defs":
			each(l, m.global)
		case "vrrp_script", "vrrp_track_process":
			m.readScript(l)
		case "vrrp_instance":
			m.readInstance(l)
		case "vrrp_sync_group":
			m.readGroup(l)
		}
	})
	for _, i := range m.instances {
		m.settle(i)
	}
	return m
}

func (m *model) global(l *line) {
	if l.key() == "default_interface" {
		m.iface = l
	}
}

func (m *model) readScript(l *line) {
	s := &script{name: l.arg(), at: l}
	each(l, func(in *line) {
		in.used = true
		m.again(l, in)
		switch in.key() {
		case "script":
			s.command = in.value()
			s.plain = len(strings.Fields(s.command)) == 1 && strings.HasPrefix(s.command, "/")
			if name := killall.FindStringSubmatch(s.command); name != nil {
				s.command = runs(name[1])
			}
		case "process":
			s.command = "pgrep -f -- '" + in.value() + "' >/dev/null"
			if len(in.words) == 2 {
				s.command = runs(in.arg())
			}
		case "interval":
			s.interval = m.seconds(in)
		case "timeout":
			s.timeout = m.seconds(in)
		case "rise":
			s.rise = m.number(in)
		case "fall":
			s.fall = m.number(in)
		case "weight":
			m.weight(in, in.arg())
		case "user":
			m.notes.add(in, "a health check runs as the user of the agent")
		case "init_fail":
			m.notes.add(in, "a member is no candidate before its first check has ended")
		default:
			in.used = false
		}
	})
	if former := m.scripts[s.name]; former != nil {
		m.notes.add(former.at, "line %d has another of this name, which counts", l.num)
	}
	m.scripts[s.name] = s
}

// repeated are keywords of which each line of a block counts.
var repeated = []string{"virtual_ipaddress", "virtual_ipaddress_excluded", "unicast_peer", "track_script", "track_process",
	"track_interface", "notify", "notify_master", "notify_backup", "notify_fault", "notify_stop"}

// again names the former of two lines with one keyword, of which the last counts.
func (m *model) again(block, in *line) {
	for _, former := range block.body {
		switch {
		case former == in:
			return
		case former.key() == in.key() && !slices.Contains(repeated, in.key()) && !former.named:
			m.notes.add(former, "line %d says it again, and the last counts", in.num)
		}
	}
}

// killall asks whether a process runs, which only root can ask so of a process of
// another user. A longer name is not all in what pgrep -x compares.
var killall = regexp.MustCompile(`^(?:/\S*/)?killall -0 ([A-Za-z0-9._-]{1,15})$`)

// runs is a command that fails if no process of that name runs.
func runs(name string) string { return "pgrep -x -- '" + name + "' >/dev/null" }

// weight says what becomes of a change of the priority.
func (m *model) weight(l *line, value string) {
	if n, err := strconv.Atoi(value); err == nil && n != 0 {
		m.notes.add(l, "a priority that changes has no counterpart: a member whose check fails is no candidate, and hands over if another is fit")
	}
}

func (m *model) readInstance(l *line) {
	i := &instance{name: l.value(), at: l}
	each(l, func(in *line) {
		in.used = true
		m.again(l, in)
		switch in.key() {
		case "state":
			if i.state = strings.ToUpper(in.arg()); i.state != "MASTER" && i.state != "BACKUP" {
				m.notes.add(in, "there is no such state")
			}
		case "interface":
			i.iface = in.arg()
		case "priority":
			i.priority = m.number(in)
		case "nopreempt":
			i.nopreempt = true
		case "preempt":
		case "preempt_delay":
			i.delay = m.seconds(in)
		case "advert_int":
			if i.advert = m.seconds(in); i.advert > usual {
				m.notes.add(in, "the profile says how soon a silent leader is replaced: after about a second, and with --profile wan later")
			}
		case "unicast_src_ip", "mcast_src_ip":
			i.own = m.host(in, in.arg())
		case "unicast_peer":
			each(in, func(p *line) {
				for _, part := range p.split(func(_, w string) bool { return isAddress(w) }) {
					m.peer(i, part)
				}
			})
		case "virtual_ipaddress", "virtual_ipaddress_excluded":
			// The interface may be named further down.
		case "authentication":
			m.notes.add(in, "gossip is authenticated and encrypted by a key: 'agent keygen', --encrypt-key-file")
			each(in, func(a *line) {
				a.used = true
				a.value()
			})
		default:
			in.used = m.readTracked(&i.tracked, in)
		}
	})
	m.instances = append(m.instances, i)
}

// usual is the interval of advertisements that keepalived has by itself.
const usual = time.Second

// line is the last line of the instance with one of these keywords; nil: none.
func (i *instance) line(keys ...string) *line {
	for _, l := range slices.Backward(i.at.body) {
		if slices.Contains(keys, l.key()) {
			return l
		}
	}
	return nil
}

// peer takes the address of another host.
func (m *model) peer(i *instance, l *line) {
	if p := m.host(l, l.key()); p != "" {
		i.peers = append(i.peers, p)
	}
}

func (m *model) trackInterface(t *tracked, l *line) {
	t.interfaces = append(t.interfaces, l.key())
	m.tracks(l)
}

// tracks reads the options of what is tracked.
func (m *model) tracks(l *line) {
	if l.read < len(l.words)-1 && l.arg() == "weight" && len(l.words) > 2 {
		l.read = 2
		m.weight(l, l.words[2])
	}
}

// anItem begins with every word but weight, its number and reverse.
func anItem(before, w string) bool {
	return w != "weight" && w != "reverse" && w != "noweight" && before != "weight"
}

func (m *model) trackScript(t *tracked, l *line) {
	if s := m.scripts[l.key()]; s != nil {
		s.tracked = true
	}
	if slices.Contains(l.words, "reverse") {
		m.notes.add(l, "a check that is to fail has no counterpart: write a program that fails when this node should not lead")
		return
	}
	m.tracks(l)
	t.scripts = append(t.scripts, l)
}

// readTracked takes the lines that instances and groups have alike.
func (m *model) readTracked(t *tracked, l *line) bool {
	switch l.key() {
	case "track_script", "track_process":
		each(l, func(in *line) {
			for _, s := range in.split(anItem) {
				m.trackScript(t, s)
			}
		})
	case "track_interface":
		each(l, func(in *line) {
			for _, i := range in.split(anItem) {
				m.trackInterface(t, i)
			}
		})
	case "notify", "notify_master", "notify_backup", "notify_fault", "notify_stop":
		_, state, _ := strings.Cut(l.key(), "_")
		t.notify = append(t.notify, notify{state: strings.ToUpper(state), command: l.arg(), at: l})
	default:
		return false
	}
	return true
}

func (m *model) readGroup(l *line) {
	g := &group{name: l.value()}
	each(l, func(in *line) {
		in.used = true
		switch in.key() {
		case "group":
			in.value()
			g.member(in, in.words[1:])
			each(in, func(member *line) {
				member.used = true
				member.value()
				g.member(member, member.words)
			})
		default:
			in.used = m.readTracked(&g.tracked, in)
		}
	})
	m.groups = append(m.groups, g)
}

// member takes names of instances.
func (g *group) member(l *line, names []string) {
	for _, name := range names {
		g.members = append(g.members, name)
		g.at = append(g.at, l)
	}
}

// unused names what is defined and what nothing uses, and what is used and is not there.
func (m *model) unused() {
	for _, name := range slices.Sorted(maps.Keys(m.scripts)) {
		if s := m.scripts[name]; !s.tracked && !s.at.named {
			m.notes.add(s.at, "no instance or group tracks it")
		}
	}
	for _, g := range m.groups {
		for k, name := range g.members {
			if !slices.ContainsFunc(m.instances, func(i *instance) bool { return i.name == name }) {
				m.notes.add(g.at[k], "there is no vrrp_instance %s", name)
			}
		}
	}
}

// settle reads what needs the whole instance, and what is above and below it.
func (m *model) settle(i *instance) {
	if i.iface == "" && m.iface != nil {
		i.iface, m.iface.used = m.iface.arg(), true
	}
	for _, l := range i.at.body {
		if l.key() == "virtual_ipaddress" || l.key() == "virtual_ipaddress_excluded" {
			each(l, func(in *line) {
				for _, a := range in.split(func(before, w string) bool { return isAddress(w) && !slices.Contains(addressOptions, before) }) {
					m.address(i, a)
				}
			})
		}
	}
}

// seconds reads a time in seconds, which may have a fraction.
func (m *model) seconds(l *line) time.Duration {
	n, err := strconv.ParseFloat(l.arg(), 64)
	if err != nil || n < 0 || n > 1e6 {
		m.notes.add(l, "%q is no number of seconds", l.arg())
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

func (m *model) number(l *line) int {
	n, err := strconv.Atoi(l.arg())
	if err != nil || n < 0 {
		m.notes.add(l, "%q is no number", l.arg())
		return 0
	}
	return n
}
