package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The text format of Prometheus, version 0.0.4, is written here: the library
// that does it brings protocol buffers along, which were a sixth of the
// program. Its parser and its linter read the outcome in the tests.

// metricsType is the Content-Type of the format.
var metricsType = []string{"text/plain; version=0.0.4; charset=utf-8"}

// A metric is one family of samples, told apart by their labels.
type metric struct {
	name, help string
	labels     []string
}

// desc names a metric; the prefix is added here and nowhere else.
func desc(name, help string, labels ...string) *metric {
	return &metric{"doyen_" + name, help, labels}
}

// emitter collects the samples of one scrape.
type emitter map[*metric]*family

// family is what is known of a metric: its type, and its values by their
// labels, of which no two may be the same.
type family struct {
	kind   string
	values map[string]float64
}

func (e emitter) gauge(m *metric, v float64, labels ...string) { e.emit(m, "gauge", v, labels) }
func (e emitter) count(m *metric, v float64, labels ...string) { e.emit(m, "counter", v, labels) }

// escape makes any text a label's value.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// emit adds a sample. Names come from other members, so labels are made
// printable: a line break would be a sample of its own, and what is no UTF-8
// would fail the whole scrape.
func (e emitter) emit(m *metric, kind string, v float64, labels []string) {
	if len(labels) != len(m.labels) {
		panic(fmt.Sprintf("api: %s has the labels %q, got %q", m.name, m.labels, labels))
	}
	pairs := make([]string, len(labels))
	for i, l := range labels {
		pairs[i] = m.labels[i] + `="` + escape.Replace(printable(l, maxText)) + `"`
	}
	f := e[m]
	if f == nil {
		f = &family{kind, map[string]float64{}}
		e[m] = f
	}
	f.values[strings.Join(pairs, ",")] = v
}

// text is the whole answer, in an order that does not change.
func (e emitter) text() []byte {
	byName := func(a, b *metric) int { return strings.Compare(a.name, b.name) }
	var text []byte
	for _, m := range slices.SortedFunc(maps.Keys(e), byName) {
		f := e[m]
		text = fmt.Appendf(text, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, f.kind)
		for _, labels := range slices.Sorted(maps.Keys(f.values)) {
			text = append(text, m.name...)
			if labels != "" {
				text = append(append(append(text, '{'), labels...), '}')
			}
			text = strconv.AppendFloat(append(text, ' '), f.values[labels], 'g', -1, 64)
			text = append(text, '\n')
		}
	}
	return text
}
