package health

// gauge turns results into verdicts.
type gauge struct {
	rise, fall int

	judged  bool // there has been a result
	healthy bool
	last    bool // the last result
	streak  int  // results in a row that were like it
}

// add takes in a result.
func (g *gauge) add(ok bool) {
	if !g.judged {
		g.judged, g.healthy = true, ok
	}
	if ok != g.last {
		g.streak = 0
	}
	g.last = ok
	g.streak++
	switch {
	case ok && g.streak >= g.rise:
		g.healthy = true
	case !ok && g.streak >= g.fall:
		g.healthy = false
	}
}
