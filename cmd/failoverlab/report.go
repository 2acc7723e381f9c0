//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is everything measured, in the form that is written.
type report struct {
	Machine   machine         `json:"machine"`
	When      time.Time       `json:"when"`
	Runs      int             `json:"runs"`
	Subjects  []subjectReport `json:"subjects"`
	options   *options
	scenarios []*scenario
}

type machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Load   string `json:"load"` // averages before the first run
}

type subjectReport struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Version string `json:"version"`
	// Summary is by scenario, then by figure.
	Summary map[string]map[string]summary `json:"summary"`
	Results []result                      `json:"results"`
}

// summary is one figure over all runs that have it.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Count  int     `json:"count"`
}

func newReport(o *options) *report {
	return &report{Machine: thisMachine(), When: time.Now().UTC(), Runs: o.runs, options: o, scenarios: o.scenarios}
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU()}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:]) + " " + unix.ByteSliceToString(uts.Machine[:])
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load = strings.TrimSpace(string(load))
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the report is poorer, no more
	for line := range bytes.Lines(info) {
		if name, ok := strings.CutPrefix(string(line), "model name"); ok {
			m.CPU = strings.Trim(name, "\t :\n")
			break
		}
	}
	return m
}

func (r *report) add(s *subject, results []result) {
	r.Subjects = append(r.Subjects, subjectReport{
		Name: s.name, About: s.about, Version: s.version(r.options), Summary: summarize(results), Results: results,
	})
}

// summarize gathers the figures of all runs that could be measured.
func summarize(results []result) map[string]map[string]summary {
	values := make(map[string]map[string][]float64)
	for _, x := range results {
		for name, v := range x.Figures {
			if values[x.Scenario] == nil {
				values[x.Scenario] = make(map[string][]float64)
			}
			values[x.Scenario][name] = append(values[x.Scenario][name], v)
		}
	}
	all := make(map[string]map[string]summary)
	for scenario, figures := range values {
		all[scenario] = make(map[string]summary)
		for name, list := range figures {
			all[scenario][name] = summary{Median: median(list), Min: slices.Min(list), Max: slices.Max(list), Count: len(list)}
		}
	}
	return all
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// write writes the report as JSON.
func (r *report) write(name string) error { return writeJSON(name, r) }

func writeJSON(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return nil
}

// The tables: one over all subjects for what clients notice, then one for each
// subject.
var (
	overview = []string{"outage", "takeover", "overlap", "heal-outage", "failovers", "tcp-broken", "tcp-failed", "tcp-connect", "heal-tcp-broken"}
	details  = []string{"outage", "takeover", "overlap", "overlap-address", "old-answers", "old-address", "failovers", "tcp-outage", "tcp-broken", "tcp-refused", "tcp-failed", "tcp-connect", "heal-outage", "heal-overlap", "heal-settle", "heal-tcp-outage", "heal-tcp-broken"}
)

// print prints tables in Markdown: median (minimum–maximum), in milliseconds.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores (%s), load %s, %s. Milliseconds: median (minimum–maximum).\n", r.Machine.Kernel, r.Machine.Cores, r.Machine.CPU, r.Machine.Load, r.When.Format(time.DateOnly))
	for _, s := range r.Subjects {
		fmt.Fprintf(w, "- %s: %s; %s\n", s.Name, s.About, s.Version)
	}
	for _, figure := range overview {
		head := []string{figure}
		for _, s := range r.Subjects {
			head = append(head, s.Name)
		}
		var rows [][]string
		for _, sc := range r.scenarios {
			row := []string{sc.name}
			for _, s := range r.Subjects {
				row = append(row, cell(s.Summary[sc.name], figure))
			}
			rows = append(rows, row)
		}
		table(w, head, rows)
	}
	for _, s := range r.Subjects {
		var rows [][]string
		for _, sc := range r.scenarios {
			row := []string{sc.name}
			for _, figure := range details {
				row = append(row, cell(s.Summary[sc.name], figure))
			}
			rows = append(rows, append(row, counts(s.Results, sc.name)))
		}
		table(w, append(append([]string{s.Name}, details...), "runs"), rows)
	}
}

func cell(figures map[string]summary, name string) string {
	s, ok := figures[name]
	if !ok {
		return "–"
	}
	if s.Min == s.Max {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Min), number(s.Max))
}

func number(v float64) string {
	if v < 10 && v != float64(int(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// counts says how many runs there were, and how many of them could not be
// measured.
func counts(results []result, scenario string) string {
	runs, failed := 0, 0
	for _, x := range results {
		if x.Scenario == scenario {
			runs++
			failed += boolToInt(x.Error != "")
		}
	}
	if failed == 0 {
		return fmt.Sprint(runs)
	}
	return fmt.Sprintf("%d, %d failed", runs, failed)
}

// table prints one in Markdown.
func table(w io.Writer, head []string, rows [][]string) {
	fmt.Fprintf(w, "\n| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}
