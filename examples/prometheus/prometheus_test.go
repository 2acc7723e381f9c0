// Package prometheus tests the alert rules and the dashboard against the metrics of
// agents, with Prometheus.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A panel is a panel of the dashboard.
type panel struct {
	Title, Description, Type string
	Targets                  []struct{ Expr string }
}

// panels reads the dashboard.
func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct {
		Title  string
		Panels []panel
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || len(dashboard.Panels) == 0 {
		t.Fatal("the dashboard has no title, or no panels")
	}
	return dashboard.Panels
}

// Every metric that a rule or the dashboard names is a metric of the agent.
func TestMetricsExist(t *testing.T) {
	// An agent without a health check, certificate or address lacks some metrics, so the
	// names are read from the source.
	known := regexp.MustCompile(`desc\("([a-z_]+)"`).FindAllStringSubmatch(read(t, "../../api/metrics.go"), -1)
	var names []string
	for _, m := range known {
		names = append(names, "doyen_"+m[1])
	}
	if len(names) < 20 {
		t.Fatalf("got %q for the names of all metrics", names)
	}
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "grafana.json"} {
		used := regexp.MustCompile(`\bdoyen_[a-z_]+`).FindAllString(read(t, file), -1)
		if len(used) < 10 {
			t.Errorf("%s: got %d uses of metrics, which is too few to be true", file, len(used))
		}
		for _, name := range used {
			if !slices.Contains(names, name) {
				t.Errorf("%s: an agent has no metric %s", file, name)
			}
		}
	}
	for _, p := range panels(t) {
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("the panel %q has no title, no description or nothing to show", p.Title)
		}
	}
}

// Each rule fires when it should and not when all is well.
func TestRules(t *testing.T) {
	trial.Needs(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	tested := read(t, "alerts_test.yml")
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read(t, "alerts.yml"), -1) {
		if !strings.Contains(tested, `labels: 'ALERTS{alertname="`+m[1]+`"`) {
			t.Errorf("no test has %s fire", m[1])
		}
	}
}

// mayBeEmpty are the panels of features that the group of the test does not use.
var mayBeEmpty = []string{"Findings", "Refused a second", "Hook runs", "Health", "Floating addresses"}

// Prometheus scrapes three agents while one hands over and then ends. It accepts every
// rule and every expression of the dashboard. DoyenMemberDown fires, and neither
// DoyenNoLeader nor DoyenTwoLeaders does.
func TestPrometheusWatchesAGroup(t *testing.T) {
	trial.Needs(t, "prometheus")
	var agents []*agent.Agent
	var targets []string
	var stops []context.CancelFunc
	for range 3 {
		c := agent.Config{Seeds: targets}
		c.Timing.Lease = 5 * time.Second // a busy machine may be slow
		a, stop := trial.Run(t, c)
		agents, stops, targets = append(agents, a), append(stops, stop), append(targets, a.Addr())
	}
	p := startPrometheus(t, targets)
	trial.Holds(t, "three members are scraped and one leads", func() bool {
		return p.value(`sum(up{job="doyen"})`) == "3" && p.value(`sum(doyen_is_leader{job="doyen"})`) == "1"
	})
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$job", "doyen", "$election", "group", "$__rate_interval", "1m").Replace(target.Expr)
			trial.Holds(t, "the panel "+panel.Title+" shows something: "+expr, func() bool {
				values, err := p.query(expr)
				if err != nil {
					t.Fatalf("the panel %q: %v", panel.Title, err)
				}
				return len(values) > 0 || slices.Contains(mayBeEmpty, panel.Title)
			})
		}
	}
	leader := slices.IndexFunc(agents, (*agent.Agent).IsLeader)
	if _, err := agents[leader].StepDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	trial.Holds(t, "another leads", func() bool {
		return p.value(`doyen_is_leader{instance="`+targets[leader]+`"}`) == "0" && p.value(`sum(doyen_is_leader{job="doyen"})`) == "1"
	})
	stops[leader]()
	firing := func(name string) string {
		return p.value(`count(ALERTS{alertname="` + name + `", alertstate="firing"})`)
	}
	trial.Holds(t, "DoyenMemberDown fires", func() bool { return firing("DoyenMemberDown") == "1" })
	for _, name := range []string{"DoyenNoLeader", "DoyenTwoLeaders"} {
		if got := p.value(`count(count_over_time(ALERTS{alertname="` + name + `", alertstate="firing"}[10m]))`); got != "" {
			t.Errorf("%s has fired in a hand-over", name)
		}
	}
}

// A server is a running Prometheus.
type server struct{ addr string }

// startPrometheus makes Prometheus scrape the targets, with the rules of the example but
// a shorter time for which a member may be down.
func startPrometheus(t *testing.T, targets []string) *server {
	t.Helper()
	dir := t.TempDir()
	rules := strings.Replace(read(t, "alerts.yml"), "expr: up{job=\"doyen\"} == 0\n        for: 1m", "expr: up{job=\"doyen\"} == 0\n        for: 1s", 1)
	config := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\nrule_files: [alerts.yml]\n"+
		"scrape_configs:\n  - job_name: doyen\n    static_configs: [{targets: ['%s']}]\n", strings.Join(targets, `','`))
	for name, text := range map[string]string{"alerts.yml": rules, "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String()}
	l.Close()
	program := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", s.addr, "--log.level", "warn")
	program.Stdout, program.Stderr = t.Output(), t.Output()
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		program.Process.Signal(syscall.SIGTERM)
		program.Wait()
	})
	return s
}

// query evaluates an expression now, and returns the values.
func (s *server) query(expr string) ([]string, error) {
	resp, err := http.Get("http://" + s.addr + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, json.Unmarshal(body, &answer)); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	var values []string
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}

// value returns the value of an expression, or "" if it has none.
func (s *server) value(expr string) string {
	values, err := s.query(expr)
	if err != nil || len(values) != 1 {
		return ""
	}
	return values[0]
}
