package placing

import (
	"maps"
	"slices"
	"time"

	"doyen/seniority"
)

// Placement is how the doyen has laid the further elections over the members.
type Placement struct {
	Term    uint64               `json:"t"` // under which the doyen leads the group
	Choices map[string][2]string `json:"c"` // first and second, by election
	// Move is the election that is to be handed over to its first choice now; "":
	// none. There is never more than one.
	Move string `json:"m,omitempty"`
}

// Choice is the placement of an election.
func (p *Placement) Choice(election string) seniority.Choice {
	c := p.Choices[election]
	return seniority.Choice{First: c[0], Second: c[1]}
}

// moveLimit is how long one move may take before another has its turn.
const moveLimit = 15 * time.Second

// Config says how elections are placed.
type Config struct {
	Self string // the name of this member
	How  seniority.Placement
	// Delay is how long a better placement must have lasted before an election is
	// moved to it; negative: none is moved.
	Delay time.Duration
}

// Placing is this member's part in the placement. One goroutine uses it. The zero value
// is ready.
type Placing struct {
	published *Placement // by this member, as the doyen
	current   *Placement // that all go by, as far as is known here

	leading bool                     // this member leads the group
	since   map[string]time.Duration // since when an election has been misplaced
	moving  time.Duration            // when the move that is published began
}

// Published is the placement that this member publishes; nil: none.
func (p *Placing) Published() *Placement { return p.published }

// Rest publishes nothing any more: this member is not the doyen.
func (p *Placing) Rest() { *p = Placing{current: p.current} }

// Decide publishes a placement while this member is the doyen, under that term. describe
// returns the further elections as they are now; early says that the members of the
// group, or their details, may still be coming: what is placed without them would have to
// move, so that nothing is placed before one is led.
func (p *Placing) Decide(now time.Duration, c Config, term uint64, describe func() []seniority.Placed, early func() bool) {
	if c.How == seniority.ByRule {
		p.Rest()
		if p.current != nil { // there was one, which counts no longer
			p.published = &Placement{Term: term}
		}
		return
	}
	if !p.leading {
		p.leading, p.since = true, map[string]time.Duration{}
	}
	placed := describe()
	led := slices.ContainsFunc(placed, func(d seniority.Placed) bool { return d.Leader != "" })
	if p.published == nil && !led && early() {
		return
	}
	if len(placed) == 0 && p.current == nil {
		p.published = nil
		return // else the others must hear that nothing is placed any more
	}
	choices := seniority.Place(c.How, c.Self, placed)
	next := &Placement{Term: term, Choices: make(map[string][2]string, len(placed)), Move: p.move(now, c, placed, choices)}
	for i := range placed {
		next.Choices[placed[i].Name] = [2]string{choices[i].First, choices[i].Second}
	}
	if old := p.published; old == nil || old.Term != next.Term || old.Move != next.Move || !maps.Equal(old.Choices, next.Choices) {
		p.published = next
	}
}

// move returns the election that is to be handed over now, or "": one at a time,
// each only after its better placement has lasted for the delay.
func (p *Placing) move(now time.Duration, c Config, placed []seniority.Placed, choices []seniority.Choice) string {
	delay := c.Delay
	if delay < 0 {
		return ""
	}
	if c.How == seniority.Together {
		delay = 0 // they follow the doyen
	}
	var due []seniority.Placed
	var to []seniority.Choice
	for i := range placed {
		name := placed[i].Name
		if seniority.Misplaced(placed[i:i+1], choices[i:i+1]) < 0 {
			delete(p.since, name)
			continue
		}
		if p.since[name] == 0 {
			p.since[name] = now
		}
		if now >= p.since[name]+delay {
			due, to = append(due, placed[i]), append(to, choices[i])
		}
	}
	if old := p.published; old != nil && old.Move != "" {
		at := slices.IndexFunc(placed, func(d seniority.Placed) bool { return d.Name == old.Move })
		switch {
		case at < 0 || choices[at].First == "" || placed[at].Leader == choices[at].First: // it is over
		case now < p.moving+moveLimit:
			return old.Move // without a leader, too: its hand-over is under way
		default:
			p.since[old.Move] = now // it does not succeed: others first
			return ""
		}
	}
	i := seniority.Misplaced(due, to)
	if i < 0 {
		return ""
	}
	p.moving = now
	return due[i].Name
}

// Follow returns the newest placement that is known; nil: there is none. led is the term
// of the group's own leader, 0 without one.
func (p *Placing) Follow(led uint64, details *Details) *Placement {
	newer := func(next *Placement) bool {
		return next != nil && (p.current == nil || seniority.Supersedes(next.Term, p.current.Term, led))
	}
	if newer(p.published) {
		p.current = p.published
	}
	for _, member := range details.members() {
		if d := details.byMember[member]; p.published == nil && newer(d.detail.Placement) {
			p.current = d.detail.Placement
		}
	}
	return p.current
}
