package ownfindings

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/gossip/findings"
)

// published are the words of what is published, each with its election.
func published(f *List) (words []string) {
	for _, x := range f.Published() {
		words = append(words, strings.TrimSpace(x.What+" "+x.Election))
	}
	return words
}

func TestFindingsAreKeptForAsLongAsWasSaid(t *testing.T) {
	f := List{Log: slog.New(slog.DiscardHandler)}
	f.Set(0, time.Minute, findings.Finding{What: "happened", Member: "a"})
	f.Of("web").Set(0, 0, findings.Finding{What: "is", Member: "a"})
	for _, step := range []struct {
		at   time.Duration
		want []string
	}{{time.Second, []string{"happened", "is web", "others"}}, {time.Minute, []string{"is web", "others"}}} {
		if !f.Due(step.at) {
			t.Fatalf("at %v: nothing is due", step.at)
		}
		f.Publish(step.at, time.Second, []findings.Finding{{What: "others"}})
		if got := published(&f); !slices.Equal(step.want, got) {
			t.Errorf("at %v: want %q, got %q", step.at, step.want, got)
		}
		if f.Due(step.at) {
			t.Errorf("at %v: still due", step.at)
		}
	}
	f.Of("web").Clear("is", "a")
	f.Publish(time.Minute, time.Second, nil)
	if got := published(&f); len(got) != 0 {
		t.Errorf("want none, got %q", got)
	}
}

// What has one cause for all elections stands until the last of them has cleared it.
func TestSharedFindingsStandOnce(t *testing.T) {
	f := List{Log: slog.New(slog.DiscardHandler)}
	web, mail := f.Of("web"), f.Of("mail")
	web.Share(0, 0, findings.Finding{What: "cause", Member: "a", Evidence: "first"})
	mail.Share(0, 0, findings.Finding{What: "cause", Member: "a", Evidence: "second"})
	web.ClearAll("a")
	if got := f.Evidence("cause", "a"); got != "first" || web.Shares("cause") || !mail.Shares("cause") {
		t.Errorf("after the first has cleared it: want the evidence first, got %q", got)
	}
	mail.ClearShared("cause", "a")
	if got := f.Evidence("cause", "a"); got != "" {
		t.Errorf("after the last has cleared it: want none, got %q", got)
	}
}

func TestLogOfFindings(t *testing.T) {
	var text strings.Builder
	f := List{Log: slog.New(slog.NewTextHandler(&text, nil)), Quiet: "quiet"}
	f.Set(0, 0, findings.Finding{What: "quiet", Member: "a"})
	f.Set(0, 0, findings.Finding{What: "one", Member: "a"})
	for at := range time.Duration(5) {
		f.Publish((at+1)*time.Second, 0, nil)
	}
	f.Clear("one", "a")
	f.Clear("quiet", "a")
	f.Publish(6*time.Second, 0, nil)
	for i := range 2 * maxLines {
		f.Set(0, 0, findings.Finding{What: strings.Repeat("x", i+1), Member: "a"})
	}
	f.Publish(7*time.Second, 0, nil)
	// One that begins and ends, as many as a minute may have, and the word that more are
	// held back.
	if got, want := strings.Count(text.String(), "\n"), 1+1+maxLines-1+1; got != want {
		t.Errorf("want %d lines, got %d:\n%s", want, got, &text)
	}
	if got := text.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "lasted=5s") {
		t.Errorf("got\n%s", got)
	}
}

// What one host has for three elections are three findings with the same words: only the
// election tells their lines apart, of the beginning as of the end.
func TestLogOfFindingsNamesTheElection(t *testing.T) {
	var text strings.Builder
	f := List{Log: slog.New(slog.NewTextHandler(&text, nil))}
	x := findings.Finding{What: "no-link", Member: "a", Evidence: "eth0"}
	f.Set(0, 0, x)
	f.Of("web").Set(0, 0, x)
	f.Publish(time.Second, 0, nil)
	f.Clear("no-link", "a")
	f.Of("web").ClearAll("a")
	f.Publish(2*time.Second, 0, nil)
	for _, want := range []string{
		"msg=finding what=no-link about=a ", "msg=finding election=web what=no-link about=a ",
		`msg="finding is over" what=no-link about=a `, `msg="finding is over" election=web what=no-link about=a `,
	} {
		if strings.Count(text.String(), want) != 1 {
			t.Errorf("want one line with %s, got\n%s", want, &text)
		}
	}
}
