package keepalived

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Options say what the configuration does not.
type Options struct {
	// Seeds are the addresses of all hosts; empty: those of unicast_peer and
	// unicast_src_ip.
	Seeds []string
	// ConfigID is keepalived's --config-id, which selects lines that begin with
	// @; "": they are named as not carried over.
	ConfigID string
	// Root is what stands before the names of files in errors and notes, such as "/"
	// where the files are those of a host.
	Root string
	// Programs is the directory of the programs that the file names; "":
	// /usr/local/lib/doyen.
	Programs string
}

// defaultPrograms is where the programs are expected.
const defaultPrograms = "/usr/local/lib/doyen"

// Output is what a configuration became.
type Output struct {
	YAML     string    // the file of settings, with the notes as comments
	Programs []Program // that it names
	Notes    []Note    // in the order of the lines
}

// converter holds what is being made.
type converter struct {
	options  Options
	model    *model
	notes    *notes
	programs []Program
	out      strings.Builder
}

// Convert reads the configuration called name. Its error says that a file cannot be
// read, that a block is not closed, or that there is no vrrp_instance.
func Convert(files fs.FS, name string, o Options) (Output, error) {
	o.Programs = cmp.Or(o.Programs, defaultPrograms)
	n := &notes{}
	root, err := readTree(files, name, &o, n)
	if err != nil {
		return Output{}, err
	}
	c := &converter{options: o, notes: n, model: readModel(root, n)}
	if len(c.model.instances) == 0 {
		return Output{}, errors.New("there is no vrrp_instance, so nothing to elect a leader for")
	}
	units := c.model.units()
	c.printf("# Made from %s by 'agent import', for every host alike%s. Then:\n#\n#   agent validate --config FILE\n\n", path.Base(name), except(units))
	c.group()
	if len(units) == 1 {
		c.single(units[0])
	} else {
		c.several(units)
	}
	c.model.unused()
	c.overruled(units)
	n.rest(root)
	sorted := n.sorted(name, o.Root)
	c.trailer(sorted)
	return Output{YAML: c.out.String(), Programs: c.programs, Notes: sorted}, nil
}

// except says which line is a host's own.
func except(units []*unit) string {
	if preempts, _ := units[0].preempts(); len(units) == 1 && preempts {
		return " but for id"
	}
	return ""
}

func (c *converter) printf(format string, args ...any) { fmt.Fprintf(&c.out, format, args...) }

// group writes what is about the hosts.
func (c *converter) group() {
	seeds, own := c.options.Seeds, true
	if len(seeds) == 0 {
		seeds, own = c.model.hosts()
	}
	if len(seeds) == 0 {
		c.printf("# keepalived found the others by multicast. Here they are named: put the addresses of\n" +
			"# all hosts into seeds and take lone-wait out, with which no host leads alone.\n" +
			"seeds: []\nlone-wait: -1s\n")
	} else {
		if !own {
			c.printf("# These are the others: add the address of this host, to have one file for all.\n")
		}
		c.printf("seeds: %s\n", list(seeds))
		c.voters(len(seeds), own)
	}
	for _, i := range c.model.instances {
		if len(c.options.Seeds) == 0 && len(i.peers) > 0 && !contains(seeds, i.peers) {
			c.notes.add(i.at, "its unicast_peer names other addresses than the first, and one address of a host is enough")
		}
		if l := i.line("unicast_src_ip", "mcast_src_ip"); l != nil && i.own != "" && !contains(seeds, []string{i.own}) {
			c.notes.add(l, "the address of this host is not among the seeds: add it, unless another of its addresses is there")
		}
	}
	if c.model.fast() {
		c.printf("profile: fast\n")
	}
	c.printf("\n")
}

// voters proposes the quorum mode where it can work.
func (c *converter) voters(hosts int, own bool) {
	switch {
	case !own:
	case hosts == 2:
		c.printf("# Two hosts cannot tell a dead neighbour from a cut cable: while it is cut, both lead,\n" +
			"# as with keepalived. With a third one, a witness, there are never two: docs/two-machines.md.\n")
	case hosts%2 == 1:
		c.printf("# A majority must confirm a leader, so that there are never two; without it, and as\n" +
			"# with keepalived, each side of a cut network has one.\n#voters: seeds\n")
	}
}

func contains(all, some []string) bool {
	known := map[string]bool{}
	for _, s := range all {
		known[s] = true
	}
	for _, s := range some {
		if !known[s] {
			return false
		}
	}
	return true
}

// single writes the only unit as the group's own election.
func (c *converter) single(u *unit) {
	c.printf("# %s\n", u.source)
	if preempts, delay := u.preempts(); preempts {
		c.printf("# The priority of this host, so each has its own; without rule and id a healthy leader\n" +
			"# stays where it is, and nothing moves back (nopreempt).\n")
		c.printf("rule: bully\nid: %d\n", cmp.Or(u.priority(), defaultPriority))
		if delay > 0 {
			c.printf("preempt-delay: %v\n", delay)
		}
	}
	c.effects("", u)
}

// several writes an election for each unit.
func (c *converter) several(units []*unit) {
	preempts, delay := false, time.Duration(0)
	for _, u := range units {
		p, d := u.preempts()
		preempts, delay = preempts || p, max(delay, d)
	}
	switch {
	case !preempts:
		c.printf("# Nothing moves while its leader is healthy (nopreempt).\nrebalance-delay: -1s\n")
	case delay > 0:
		c.printf("# What has a preferred host moves back to it after that (preempt_delay).\nrebalance-delay: %v\n", delay)
	}
	c.printf("elections:\n")
	for _, u := range units {
		c.printf("  # %s\n  %s:\n", u.source, u.name)
		before := c.out.Len()
		if p, _ := u.preempts(); p {
			if host := c.model.preferred(u); host != "" {
				c.printf("    prefer: %s\n", list([]string{host}))
			} else {
				c.notes.add(u.instances[0].at, "its priority is not carried over, since this file does not give the address of the host that has the highest: add prefer: [ADDRESS]")
			}
		}
		c.effects("    ", u)
		if c.out.Len() == before {
			c.printf("    {}\n")
		}
	}
}

// effects writes what a leader holds and when it is fit to.
func (c *converter) effects(indent string, u *unit) {
	line := func(key, value string) {
		if value != "" {
			c.printf("%s%s: %s\n", indent, key, value)
		}
	}
	if a := u.addresses(); len(a) > 0 {
		line("floating-ip", list(a))
	}
	line("hook", scalar(c.hook(u)))
	k := c.health(u)
	if line("health", scalar(k.program)); k.program == "" {
		return
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"health-interval", k.interval}, {"health-timeout", k.timeout}} {
		if d.value > 0 {
			line(d.key, d.value.String())
		}
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"health-rise", k.rise}, {"health-fall", k.fall}} {
		if n.value > 0 {
			line(n.key, strconv.Itoa(n.value))
		}
	}
}

// trailer writes the programs and the notes as comments.
func (c *converter) trailer(sorted []Note) {
	for _, p := range c.programs {
		c.printf("\n# %s, with mode 0755 ('agent import --programs DIR' writes it):\n", p.Path)
		for l := range strings.Lines(p.Text) {
			c.printf("#   %s", l)
		}
	}
	if len(sorted) == 0 {
		return
	}
	c.printf("\n# Not carried over:\n")
	for _, n := range sorted {
		c.printf("# %s\n", strings.ReplaceAll(n.String(), "\n", " "))
	}
}

// plain are texts that YAML takes as they are, within a list as well.
var plain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9._/@-]*$`)

// scalar is a text as YAML has it; "" for none.
func scalar(s string) string {
	if s == "" || plain.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

func list(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = scalar(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
