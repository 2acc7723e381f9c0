package seniority

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata with what happens now")

// TestScenario replays the transcripts in testdata. A line that begins with >
// is a command, what follows it is what happened; all else, blank lines and
// lines that begin with #, is prose. See testdata/README.md for the commands.
func TestScenario(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			wants, gots := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for i := range max(len(wants), len(gots)) {
				if i >= len(wants) || i >= len(gots) || wants[i] != gots[i] {
					t.Fatalf("%s:%d: want, got:\n%s\n%s\nIf what is new is right, run go test -run Scenario -update.",
						file, i+1, strings.Join(wants[min(i, len(wants)):], "\n"), strings.Join(gots[min(i, len(gots)):], "\n"))
				}
			}
		})
	}
}

// replay carries out the commands of a transcript and returns it with what
// happened this time.
func replay(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	s := &script{world: newWorld(), cfg: Config{Rule: Seniority{}, Timing: profiles["lan"], LoneWait: 10 * time.Second}}
	s.print = func(line string) { fmt.Fprintf(&out, "%s\n", line) }
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#':
			fmt.Fprintln(&out, line)
		case line[0] == '>':
			fmt.Fprintln(&out, line)
			if err := s.command(strings.Fields(line[1:])); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	}
	return out.String()
}

// script is a world that obeys commands.
type script struct {
	*world
	cfg Config // of the hosts that are started from now on
}

// words are the words of a command: names, options as key=value, and a sign
// that stands between two groups of names.
type words struct {
	names, others []string
	sign          string
	options       []option // in their order: a later one may change what an earlier one set
}

type option struct{ key, value string }

// option returns the value of an option, or "".
func (w *words) option(key string) string {
	for _, o := range w.options {
		if o.key == key {
			return o.value
		}
	}
	return ""
}

func parseWords(fields []string) (w words) {
	for _, f := range fields {
		key, value, ok := strings.Cut(f, "=")
		switch {
		case ok:
			w.options = append(w.options, option{key, value})
		case f == ">" || f == "|":
			w.sign = f
		case w.sign != "":
			w.others = append(w.others, f)
		default:
			w.names = append(w.names, f)
		}
	}
	return w
}

// links are the ways that two groups of names mean: from the first to the
// second, or with | also back.
func (w *words) links() []link {
	var ls []link
	for _, a := range w.names {
		for _, b := range w.others {
			ls = append(ls, link{a, b})
			if w.sign == "|" {
				ls = append(ls, link{b, a})
			}
		}
	}
	return ls
}

func (s *script) command(fields []string) error {
	if len(fields) == 0 {
		return fmt.Errorf("no command")
	}
	w := parseWords(fields[1:])
	switch fields[0] {
	case "group":
		return s.group(w.options)
	case "start":
		return s.starts(w)
	case "run":
		d, err := time.ParseDuration(fields[1])
		s.run(d)
		return err
	case "state":
		s.state()
		return nil
	case "trace":
		s.trace = traces{slices.Contains(fields, "messages"), slices.Contains(fields, "promises")}
		return nil
	case "hook", "latency":
		d, err := time.ParseDuration(fields[1])
		if fields[0] == "hook" {
			s.hook = d
		} else {
			s.latency = d
		}
		return err
	case "heal":
		clear(s.cut)
		return nil
	case "relay":
		s.relay = true
		return nil
	case "cut", "hold", "deliver", "drop", "duplicate", "forget":
		return s.links(fields[0], w.links())
	}
	return s.each(fields[0], w)
}

// group sets what the hosts started from now on have in common.
func (s *script) group(options []option) (err error) {
	duration := func(p *time.Duration, v string) { *p, err = time.ParseDuration(v) }
	for _, o := range options {
		v := o.value
		switch o.key {
		case "rule":
			if s.cfg.Rule, err = ParseRule(v); err == nil {
				s.cfg.Preempt = s.cfg.Rule.Preempts()
			}
		case "profile":
			s.cfg.Timing, err = Profile(v)
		case "voters":
			s.cfg.Voters = strings.Split(v, ",")
		case "lone-wait":
			duration(&s.cfg.LoneWait, v)
		case "preempt-delay":
			duration(&s.cfg.PreemptDelay, v)
		case "preempt":
			s.cfg.Preempt, err = strconv.ParseBool(v)
		case "lease":
			duration(&s.cfg.Timing.Lease, v)
		case "joins-from-view":
			s.cfg.JoinsFromView, err = strconv.ParseBool(v)
		case "renewal-grid":
			s.cfg.RenewalGrid, err = strconv.ParseBool(v)
		default:
			err = fmt.Errorf("unknown option %q", o.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// starts starts hosts, or starts them again.
func (s *script) starts(w words) (err error) {
	for _, name := range w.names {
		h := s.host(name)
		if h == nil {
			h = newHost(s.cfg)
			h.cfg.Self.Name = name
		}
		h.cfg.Voters, h.cfg.Timing = s.cfg.Voters, s.cfg.Timing
		for _, o := range w.options {
			v := o.value
			switch o.key {
			case "id":
				h.cfg.Self.ID, err = strconv.ParseUint(v, 10, 64)
			case "role":
				h.cfg.Self.Role, err = ParseRole(v)
			case "clock":
				h.wall, err = -base, nil
				if v != "1970" {
					var d time.Duration
					d, err = time.ParseDuration(v)
					h.wall = d.Milliseconds()
				}
			case "disk":
				h.disk, err = strconv.ParseBool(v)
			case "record":
				if h.longest = 0; v != "lost" {
					h.longest, err = time.ParseDuration(v)
				}
			default:
				err = fmt.Errorf("unknown option %q", o.key)
			}
			if err != nil {
				return err
			}
		}
		h.cfg.Self.Voter = ""
		if slices.Contains(s.cfg.Voters, name) && h.cfg.Self.Role != Observer {
			h.cfg.Self.Voter = name
		}
		if err := s.start(h); err != nil {
			return err
		}
	}
	return nil
}

// links does something to the ways between hosts.
func (s *script) links(what string, ls []link) error {
	if len(ls) == 0 {
		return fmt.Errorf("%s needs two groups of names with > or | between", what)
	}
	for _, l := range ls {
		switch what {
		case "cut":
			s.cut[l] = true
		case "hold":
			s.held[l] = true
		case "forget":
			if h := s.host(l.from); h.core != nil {
				h.knows = slices.DeleteFunc(h.knows, func(n string) bool { return n == l.to })
				s.refresh(h)
			}
		default:
			if what != "duplicate" {
				delete(s.held, l)
			}
			s.free(what, l)
		}
	}
	return nil
}

// free delivers, drops or duplicates what is held on a way.
func (s *script) free(what string, l link) {
	for i := 0; i < len(s.events); i++ {
		e := &s.events[i]
		if !e.held || e.in.Message.From != l.from || e.to != l.to {
			continue
		}
		switch what {
		case "deliver":
			e.at, e.held = s.now, false
		case "drop":
			s.events = slices.Delete(s.events, i, i+1)
			i--
		case "duplicate":
			again := *e
			again.at, again.held = s.now, false
			s.events = append(s.events, again)
		}
	}
}

// each does something to one host after the other.
func (s *script) each(what string, w words) error {
	if len(w.names) == 0 {
		return fmt.Errorf("%s of which member?", what)
	}
	for _, name := range w.names {
		h := s.host(name)
		if h == nil {
			return fmt.Errorf("there is no %q", name)
		}
		if h.core == nil && what != "gone" && what != "will" && what != "log" {
			return fmt.Errorf("%q is down", name)
		}
		if err := s.one(what, h, w); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) one(what string, h *host, w words) error {
	in := Input{Term: h.status.Releasing}
	reason := Requested
	for r := range numReasons {
		if r.String() == w.option("reason") {
			reason = r
		}
	}
	switch what {
	case "log":
		_, err := fmt.Sscanf(w.option("at"), "%d.%d", &h.log.Term, &h.log.Index)
		return err
	case "meet":
		h.settled = h.settled || w.option("settled") == "true"
		for _, other := range w.names {
			if s.host(other) == nil {
				return fmt.Errorf("there is no %q", other)
			}
			s.meet(h, s.host(other))
		}
		return nil
	case "crash":
		s.crash(h)
		return nil
	case "pause":
		d, err := time.ParseDuration(w.option("for"))
		h.stopped = s.now + d
		return err
	case "gone":
		for _, other := range w.others {
			s.step(s.host(other), Input{Kind: Gone, Name: h.cfg.Self.Name, Incarnation: h.told.Incarnation})
		}
		return nil
	case "will":
		m := Message{Kind: Release, From: h.cfg.Self.Name, Incarnation: h.told.Incarnation, Term: h.status.Term, Will: h.status.Will}
		if w.option("forged") == "true" {
			m.Will[0]++
		}
		for _, other := range w.others {
			s.forward(m, other, s.latency)
		}
		return nil
	case "step-down":
		in.Kind, in.Reason, in.Name = StepDown, reason, w.option("to")
	case "released":
		in.Kind = Released
	case "fire":
		in.Kind, in.Reason, in.Term = Fired, KeeperFired, h.status.Term
	case "sick", "well":
		in.Kind, in.Eligible = Health, what == "well"
	case "elect":
		in.Kind = Elect
	case "aside":
		d, err := time.ParseDuration(w.option("for"))
		if err != nil {
			return err
		}
		in.Kind, in.Aside = StandAside, d
	case "resume":
		in.Kind = StandAside
	case "choose":
		in.Kind, in.Choice = Choose, Choice{First: w.option("first"), Second: w.option("second")}
	default:
		return fmt.Errorf("no such command")
	}
	if r := s.step(h, in); r != None {
		s.say("%s will not: %v", h.cfg.Self.Name, r)
	}
	return nil
}

// state prints what every host thinks.
func (s *script) state() {
	phases := [...]string{"follows", "waits", "claims", "leads", "yields"}
	for _, h := range s.hosts {
		name := h.cfg.Self.Name
		if h.core == nil {
			s.say("%s is down", name)
			continue
		}
		st := &h.status
		line := fmt.Sprintf("%s %s", name, phases[st.Phase])
		if st.Leader != "" && st.Phase != Holding {
			line += " " + st.Leader
		}
		line += ", " + showTerm(st.Term)
		if st.Join.Number != 0 {
			line += fmt.Sprintf(", number %d of %s", st.Join.Number, showTerm(st.Join.Group))
		}
		if st.AbstainTill != 0 {
			line += ", abstains"
		}
		if !st.Eligible {
			line += ", not eligible"
		}
		if h.stopped > s.now {
			line += ", and sleeps"
		}
		s.say("%s", line)
	}
}
