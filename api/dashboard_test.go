package api

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"doyen/agent"
)

// TestRootIsADashboardForBrowsersOnly asks for / as browsers and others do.
func TestRootIsADashboardForBrowsersOnly(t *testing.T) {
	h := New(quiet(newFake()))
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, tt := range []struct{ target, accept, contentType string }{
		{"/", browser, "text/html; charset=utf-8"},
		{"/", "", "text/plain; charset=utf-8"},
		{"/", "*/*", "text/plain; charset=utf-8"},
		{"/", "text/html;q=0", "text/plain; charset=utf-8"},
		{"/", "application/json", "application/json"},
		{"/?format=text", browser, "text/plain; charset=utf-8"},
		{"/?format=json", browser, "application/json"},
	} {
		w := ask(t, h, "GET", tt.target, header("Accept", tt.accept))
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != tt.contentType {
			t.Errorf("%s with Accept %q: want 200 and %s, got %d and %s", tt.target, tt.accept, tt.contentType, w.Code, got)
		}
		if got := w.Header().Get("Vary"); got != "Accept" {
			t.Errorf("%s with Accept %q: want Vary: Accept, got %q", tt.target, tt.accept, got)
		}
	}
}

// TestDashboardFiles asks for everything the page is made of, which must stay
// within the policy that goes with it, and for what is none of it.
func TestDashboardFiles(t *testing.T) {
	h := New(quiet(newFake()))
	files, err := dashboardFiles.ReadDir("dashboard")
	if err != nil || len(files) < 10 {
		t.Fatalf("want the files of the page, got %d, %v", len(files), err)
	}
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|<script[^>]*>[^<]|\son\w+="|javascript:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|(src|href)="(https?:)?//|url\(`)
	for _, f := range files {
		w := ask(t, h, "GET", "/dashboard/"+f.Name())
		if w.Code != http.StatusOK || w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: want 200 with the policy, got %d, %v", f.Name(), w.Code, w.Header())
		}
		if found := inline.FindString(w.Body.String()); found != "" {
			t.Errorf("%s contains %q", f.Name(), found)
		}
		if n := strings.Count(w.Body.String(), "\n"); n > 300 {
			t.Errorf("%s has %d lines", f.Name(), n)
		}
	}
	for _, name := range []string{"nothing.js", "..%2fapi.go", "%2e%2e/api.go", "dashboard_test.go", "index", ""} {
		wantError(t, ask(t, h, "GET", "/dashboard/"+name), http.StatusNotFound, "no such call")
	}
}

// TestDashboardShowsAFailover watches a real group from one of its members:
// the leader is killed, the member behind the page is stopped, goes on, dies
// and is started again.
func TestDashboardShowsAFailover(t *testing.T) {
	needBrowser(t)
	group := startThree(t)
	first, second, own := group[0], group[1], group[2]
	p := openPage(t, own.addr)
	p.await("#leader", first.addr)
	p.await("#verdict-words", "All 3 members say that "+first.addr+" leads")
	p.await("#verdict-ready", "If "+first.addr+" failed now, "+second.addr+" would lead")
	p.await("#lease-now", "renewed in time")
	p.shoot("real-1-calm")

	first.kill()
	p.await("#leader", second.addr)
	p.await("#bursts", own.addr+" promises its vote to "+second.addr)
	p.await("#bursts", second.addr+" leads")
	p.shoot("real-2-failover")
	p.await("#history", second.addr)
	p.await("#history", "; ended: ")
	p.await("#verdict-words", second.addr+" leads, but something needs a hand")
	p.await("#findings", first.addr)
	p.await("#spoken", second.addr+" leads")
	p.shoot("real-3-after")

	own.signal(syscall.SIGSTOP)
	p.await("#link", "stale since")
	p.await("#spoken", "stale")
	p.shoot("real-4-stale")
	own.signal(syscall.SIGCONT)
	p.await("#link", "live")

	own.kill()
	p.await("#link", "stale since")
	again := startMember(t, own.addr, second.addr)
	p.await("#link", "live")
	p.await("#leader", second.addr)
	p.await("#bursts", again.addr+" has been started anew")
	p.await("#spoken", second.addr+" leads")
	p.shoot("real-5-back")
}

// TestDashboardOfAnySize looks at groups of one, three and fifty in both colour
// schemes, on a desk and on a phone, where nothing may stick out.
func TestDashboardOfAnySize(t *testing.T) {
	for count, verdict := range map[int]string{
		1: "n1.example.org:4000 is alone and leads", 3: "All 3 members say", 50: "All 50 members say",
	} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			p := openPage(t, serveHTTP(t, newStage(count)))
			p.await("#verdict-words", verdict)
			p.await("#line-about", "all answer")
			if got, want := eval[int](p, "document.querySelectorAll('#members > li').length"), min(count, 8); got != want {
				t.Errorf("rows: want %d, got %d", want, got)
			}
			seen := map[string]string{}
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{1280, 390, 320} {
					p.dress(scheme, width)
					p.checkWidth()
					p.shoot(fmt.Sprintf("size-%02d-%s-%d", count, scheme, width))
				}
				seen[scheme] = eval[string](p, "getComputedStyle(document.body).backgroundColor")
			}
			if seen["light"] == seen["dark"] {
				t.Errorf("the page is %s in both colour schemes", seen["dark"])
			}
		})
	}
}

// checkWidth checks that nothing is wider than the window.
func (p *page) checkWidth() {
	p.t.Helper()
	wide := eval[[]string](p, `[...document.querySelectorAll("body *")].filter((n) => n.getBoundingClientRect().right > innerWidth + 1)
		.map((n) => n.tagName + "#" + n.id + "." + n.className)`)
	if len(wide) > 0 {
		p.t.Errorf("wider than %d pixels: %v", eval[int](p, "innerWidth"), wide)
	}
}

// TestDashboardShowsDisagreement has two members follow another leader, one
// follow no leader, and one not answer.
func TestDashboardShowsDisagreement(t *testing.T) {
	s := newStage(6)
	other := "n4.example.org:4000"
	s.change(func(s *stage) {
		for _, name := range []string{other, "n5.example.org:4000"} {
			m := s.cast[name]
			m.Leader, m.IsLeader, m.Term = &other, name == other, m.Term+7
			s.cast[name] = m
		}
		delete(s.cast, "n6.example.org:4000")
		s.mute["n6.example.org:4000"] = "no answer within 1.5s"
		m := s.cast["n3.example.org:4000"]
		m.Leader = nil
		s.cast["n3.example.org:4000"] = m
	}, "", nil)
	p := openPage(t, serveHTTP(t, s))
	p.await("#verdict-words", "n1.example.org:4000 and n4.example.org:4000 each say that they lead")
	p.await("#findings", "says that it leads, in term")
	for row, want := range map[int][2]string{
		1: {"leads", "leads"}, 2: {"good", "follows n1.example.org:4000"}, 3: {"differs", "names no leader"},
		4: {"leads", "leads"}, 5: {"differs", "follows n4.example.org:4000"}, 6: {"silent", "does not answer"},
	} {
		li := fmt.Sprintf("#members > li:nth-child(%d)", row)
		if got := eval[string](p, fmt.Sprintf("document.querySelector(%q).dataset.tone", li)); got != want[0] {
			t.Errorf("row %d: want it marked %s, got %s", row, want[0], got)
		}
		if got := p.text(li + " .says"); got != want[1] {
			t.Errorf("row %d: want %q, got %q", row, want[1], got)
		}
	}
	p.shoot("disagreement-light")
	p.dress("dark", 390)
	p.checkWidth()
	p.shoot("disagreement-dark-390")
}

// TestDashboardShowsALoneLeader cuts a leader off: the page must not look as if
// all were well.
func TestDashboardShowsALoneLeader(t *testing.T) {
	s := newStage(3)
	own := "n1.example.org:4000"
	s.change(func(s *stage) {
		for i := range s.f.members[1:] {
			m := &s.f.members[i+1]
			m.Alive = false
			delete(s.cast, m.Name)
			s.mute[m.Name] = "no answer within 1.5s"
		}
		me := s.cast[own]
		me.Members = []string{own}
		s.cast[own], s.f.state = me, me
		s.f.lease = agent.Lease{Leader: &own, Term: me.Term, IsLeader: true, Phase: "holding", LeftMS: 900, OfMS: 1000}
		s.f.ready = agent.Readiness{Reasons: []string{"no other member may lead"}}
	}, "", nil)
	p := openPage(t, serveHTTP(t, s))
	p.await("#verdict-words", own+" leads alone. 2 members are out of reach and may have a leader of their own.")
	p.await("#findings", "Split possible")
	p.await("#leader-about", "leads since")
	p.await("#leader-about", "UTC")
	if got := eval[string](p, `document.querySelector("#lead").dataset.tone`); got != "warn" {
		t.Errorf("want the leader marked warn, got %s", got)
	}
	p.shoot("lone-light")
	p.dress("dark", 390)
	p.checkWidth()
	p.shoot("lone-dark-390")
}

// TestDashboardShowsAnElection has a voter of five claim while two are gone:
// one confirms, one objects, and then no member leads.
func TestDashboardShowsAnElection(t *testing.T) {
	s := newStage(5)
	s.change(func(s *stage) {
		var voters []string
		for i, m := range s.f.members {
			voters = append(voters, m.Addr)
			s.f.members[i].Voter = m.Addr
		}
		for name, m := range s.cast {
			m.Mode, m.Voters = "quorum", voters
			s.cast[name] = m
		}
		s.f.state = s.cast["n2.example.org:4000"]
	}, "", nil)
	p := openPage(t, serveHTTP(t, s))
	p.await("#verdict-words", "All is well")
	p.await("#voters-about", "5 of 5 voters answer, 3 must confirm a leader: 2 may fail")

	previous, self := "n1.example.org:4000", "n2.example.org:4000"
	s.change(func(s *stage) {
		s.f.lease = agent.Lease{Term: s.f.lease.Term, Electing: true, Phase: "claiming"}
		s.f.state.Leader, s.f.state.Electing = nil, true
		for name, m := range s.cast {
			m.Leader, m.IsLeader, m.Electing = nil, false, true
			s.cast[name] = m
		}
		for _, name := range []string{previous, "n5.example.org:4000"} {
			delete(s.cast, name)
			s.mute[name] = "no answer within 1.5s"
		}
		past := s.f.history[0]
		past.To, past.EndReason = new(time.Now()), "leader-silent"
		s.f.history = []agent.Leadership{past}
		s.f.ready = agent.Readiness{WorstFailoverMS: 1410, Reasons: []string{"there is no leader now: an election is due or under way"}}
	}, "leader", agent.LeaderEvent{Previous: &previous, Term: 1763733612345051, Reason: "leader-silent"})
	s.play("claimed", "", "")
	s.play("confirmed", "n3.example.org:4000", "")
	s.play("objected", "n4.example.org:4000", "held-by-another")
	p.await("#leader", "Electing")
	p.await("#leader-about", "no leader since")
	p.await("#bursts", self+" claims the leadership")
	p.await("#bursts", "n3.example.org:4000 confirms")
	p.await("#bursts", "n4.example.org:4000 objects")
	p.await("#bursts", "its promise to another still runs")
	p.await("#history", "ended: fell silent")
	p.await("#history", "no member led for")
	p.await("#lease-of", "no lease")
	p.await("#verdict-words", "No member leads")
	p.await("#findings", "an election is under way")
	p.await("#voters-about", "3 of 5 voters answer, 3 must confirm a leader: none may fail")
	p.shoot("election-light")
	p.dress("dark", 390)
	p.checkWidth()
	p.shoot("election-dark-390")
	p.dress("dark", 1280)

	s.change(func(s *stage) {
		s.f.history = append([]agent.Leadership{{Term: s.f.lease.Term + 1, Leader: self, From: time.Now(), Reason: "elected", ConfirmMS: 9}}, s.f.history...)
		s.f.lease = agent.Lease{Leader: &self, Term: s.f.lease.Term + 1, IsLeader: true, Phase: "holding", LeftMS: 950, OfMS: 1000}
	}, "leader", agent.LeaderEvent{Leader: &self, Previous: &previous, Term: 1763733612345052, Reason: "elected", Self: true})
	p.await("#leader", self)
	p.await("#bursts h3", self+" leads")
	p.await("#lease-of", "lease of 1 s")
	p.shoot("election-dark")
}

// TestDashboardTellsWhatIsNews has a leader's hook checked again and again, a
// member go, and this member be put aside.
func TestDashboardTellsWhatIsNews(t *testing.T) {
	s := newStage(3)
	p := openPage(t, serveHTTP(t, s))
	p.await("#verdict-words", "All is well")
	still := func(*stage) {}
	for range 3 {
		s.change(still, "hook", agent.HookRun{Event: "check", Running: true})
		s.change(still, "hook", agent.HookRun{Event: "check", DurationMS: 3})
	}
	s.play("numbered", "", "")
	s.change(still, "hook", agent.HookRun{Event: "check", Exit: 1, DurationMS: 3})
	s.change(still, "member", agent.MemberEvent{Change: "leave", Member: s.f.members[2]})
	s.change(still, "health", agent.Health{Error: "exit status 2", InARow: 3})
	s.change(still, "maintenance", agent.MaintenanceEvent{Until: new(time.Now().Add(time.Hour))})
	s.change(still, "maintenance", agent.MaintenanceEvent{})
	p.await("#bursts", "stands aside no longer")
	var got []string
	for line := range strings.Lines(p.text("#bursts ol")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "+") && !strings.HasPrefix(line, "until") {
			got = append(got, line)
		}
	}
	self := "n2.example.org:4000"
	want := []string{self + ": hook check failed", "exit status 1", "n3.example.org:4000 is gone", self + " is sick", "exit status 2",
		self + " stands aside", self + " stands aside no longer"}
	if !slices.Equal(want, got) {
		t.Errorf("want %q, got %q", want, got)
	}
}

// TestDashboardTakesNamesForText has members whose names are markup, escapes
// and tricks of writing.
func TestDashboardTakesNamesForText(t *testing.T) {
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	s := newStage(3)
	s.change(func(s *stage) {
		m := s.cast["n3.example.org:4000"]
		delete(s.cast, m.Name)
		m.Name, m.Leader, m.Version, m.Role = evil, new(evil), evil, evil
		m.Hook = &agent.HookRun{Event: evil, Error: hostile}
		m.Findings = []agent.Finding{{What: evil, Member: hostile, Evidence: evil, Advice: evil, Degrades: true}}
		s.cast[evil] = m
		s.f.members[2] = agent.MemberInfo{Name: evil, Addr: evil, Role: evil, Rank: 3, Alive: true}
		s.f.members = append(s.f.members, agent.MemberInfo{Name: hostile, Addr: hostile, Role: "candidate", Rank: 4})
		s.f.history = append([]agent.Leadership{{Term: 1763733612345059, Leader: evil, From: s.f.history[0].From, Reason: evil}}, s.f.history...)
		s.f.ready.Ready, s.f.ready.Reasons = false, []string{evil}
		s.f.state.Cluster = evil
		s.f.lease.Leader = new(evil)
	}, "", nil)
	p := openPage(t, serveHTTP(t, s))
	p.await("#leader", "<img src=x")
	p.await("#members", "<script>")
	s.change(func(*stage) {}, "leader", agent.LeaderEvent{Leader: new(hostile), Previous: new(evil), Reason: evil})
	s.play(evil, evil, evil)
	p.await("#bursts", "<script>")
	p.await("#findings", "<img")
	p.do(chromedp.Click(chromedp.CSS("#members > li:nth-child(3) summary")))
	p.await("#members > li:nth-child(3) dl", "<img")
	if n := eval[int](p, "document.querySelectorAll('main img, main script').length"); n != 0 {
		t.Errorf("names have become %d elements", n)
	}
	if title := eval[string](p, "document.title"); title == "owned" {
		t.Error("a name has been run as a program")
	}
	p.dress("light", 390)
	p.checkWidth()
	p.shoot("hostile-390")
	p.dress("light", 1280)
	p.shoot("hostile")
}

// TestDashboardByKeyboard goes through the page with the tab key alone.
func TestDashboardByKeyboard(t *testing.T) {
	p := openPage(t, serveHTTP(t, newStage(50)))
	p.await("#verdict-words", "All is well")
	focused := func() string { return eval[string](p, "document.activeElement.id || document.activeElement.innerText") }
	p.press(kb.Tab)
	if got := focused(); got != "Skip to the members" {
		t.Fatalf("first: want the way to the members, got %q", got)
	}
	p.press(kb.Enter, kb.Tab)
	if got := focused(); !strings.Contains(got, "n1.example.org:4000") {
		t.Fatalf("after skipping: want the first member, got %q", got)
	}
	if ring := eval[string](p, "getComputedStyle(document.activeElement).outlineStyle"); ring == "none" {
		t.Error("what has the focus cannot be seen")
	}
	p.press(kb.Enter)
	p.await("#members dl", "10.0.0.1:4000")
	p.shoot("details")
	// What is drawn anew each second keeps the focus and stays open.
	age := p.text("#verdict-age")
	p.until("the page to draw itself again", func() bool { return p.text("#verdict-age") != age })
	if got := focused(); !strings.Contains(got, "n1.example.org:4000") {
		t.Errorf("after a while: want the focus where it was, got %q", got)
	}
	p.await("#members dl", "10.0.0.1:4000")
	for range 8 {
		p.press(kb.Tab)
	}
	if got := focused(); got != "all" {
		t.Fatalf("after the members: want the button for all, got %q", got)
	}
	p.press(" ")
	p.until("all 50 rows", func() bool { return eval[int](p, "document.querySelectorAll('#members > li').length") == 50 })
	p.shoot("all-50")
}

// TestDashboardWithoutMotion asks for less motion, and finds none.
func TestDashboardWithoutMotion(t *testing.T) {
	p := openPage(t, serveHTTP(t, newStage(3)))
	p.await("#lease-now", "renewed in time")
	p.until("the bar to move", func() bool { return eval[int](p, "document.getAnimations().length") > 0 })
	p.dress("light", 1280, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	p.until("no motion", func() bool { return eval[int](p, "document.getAnimations().length") == 0 })
}

// TestDashboardShowsFloatingAddresses has the leader hold an address, and the
// page's member take it over, lose it to somebody, and put it back.
func TestDashboardShowsFloatingAddresses(t *testing.T) {
	address := func(held bool) []agent.AddressState {
		return []agent.AddressState{{Address: "10.0.0.100/24", Interface: "eth0", Held: held, Since: time.Now()}}
	}
	s := newStage(3)
	for name, m := range s.cast {
		m.Addresses = address(m.IsLeader)
		s.cast[name] = m
	}
	s.f.state.Addresses = address(false)
	p := openPage(t, serveHTTP(t, s))
	p.await("#leader-about", "holds 10.0.0.100/24 on eth0")

	self, previous := "n2.example.org:4000", "n1.example.org:4000"
	term := s.f.lease.Term + 1
	s.change(func(s *stage) {
		s.f.lease = agent.Lease{Leader: &self, Term: term, IsLeader: true, Phase: "holding", LeftMS: 950, OfMS: 1000}
	}, "leader", agent.LeaderEvent{Leader: &self, Previous: &previous, Term: term, Reason: "succeeded", Self: true})
	p.await("#leader-about", "does not hold 10.0.0.100/24 on eth0")
	tell := func(what, evidence string, held bool) {
		s.change(func(*stage) {}, "address", agent.AddressEvent{What: what, Evidence: evidence, Addresses: address(held)})
	}
	tell("taken", "", true)
	p.await("#leader-about", " · holds 10.0.0.100/24 on eth0")
	p.await("#bursts", self+" took and announced 10.0.0.100/24")
	tell("floating-ip-removed", "10.0.0.100/24@eth0 was gone while this node leads", true)
	tell("put-back", "", true)
	p.await("#bursts", "was gone while this node leads")
	p.await("#bursts", self+" put back and announced 10.0.0.100/24")
	tell("given-up", "", false)
	p.await("#bursts", self+" gave up 10.0.0.100/24")
}

// TestDashboardShowsElections: several elections over one group are listed with their
// leaders; one shows who has its address. A group with its own alone lists none.
func TestDashboardShowsElections(t *testing.T) {
	s := newStage(3)
	own, other := "n1.example.org:4000", "n3.example.org:4000"
	s.change(func(s *stage) {
		since := time.Now().Add(-time.Hour)
		for name, m := range s.cast {
			m.Elections = map[string]agent.ElectionInfo{
				"group": {Leader: &own, Term: 7, Since: &since, Candidates: []string{own, other}},
				"web": {Leader: &other, Term: 9, Since: &since, Placed: &other, Candidates: []string{other, own},
					Addresses: []agent.AddressState{{Address: "10.0.0.100/24", Interface: "eth0", Held: name == other}}},
				"mail": {Term: 3, Candidates: []string{}},
			}
			s.cast[name] = m
		}
		s.f.state = s.cast["n2.example.org:4000"]
	}, "", nil)
	p := openPage(t, serveHTTP(t, s))
	p.await("#elections-about", "3 elections, 1 without a leader. "+own+" leads 1, "+other+" leads 1.")
	for row, want := range map[int][2]string{1: {"group", own}, 2: {"mail", "no leader"}, 3: {"web", other}} {
		li := fmt.Sprintf("#contests > li:nth-child(%d)", row)
		if name, leader := p.text(li+" .name"), p.text(li+" .says"); name != want[0] || leader != want[1] {
			t.Errorf("row %d: want %q, got %q led by %q", row, want, name, leader)
		}
	}
	eval[bool](p, `(document.querySelector("#contests > li:nth-child(3) details").open = true)`)
	p.await("#contests > li:nth-child(3) dl", "10.0.0.100/24: "+other)
	p.shoot("elections-light")
	p.dress("dark", 390)
	p.checkWidth()
	p.shoot("elections-dark-390")

	p = openPage(t, serveHTTP(t, newStage(3)))
	p.await("#verdict-words", "n1.example.org:4000")
	if !eval[bool](p, `document.querySelector("#elections").hidden`) {
		t.Error("a group with one election lists elections")
	}
}
