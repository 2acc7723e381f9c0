package main

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"doyen/agent"

	"github.com/urfave/cli/v2"
)

// loadArgs loads options from a command line, an environment and a file.
func loadArgs(t *testing.T, args []string, env map[string]string, file string) (options, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "doyen.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	flags, values := newFlags()
	app := &cli.App{Flags: flags, OnUsageError: usageError, Action: func(*cli.Context) error { return nil },
		ExitErrHandler: func(*cli.Context, error) {}}
	if err := app.Run(append([]string{"agent"}, args...)); err != nil {
		return options{}, err
	}
	return load(values, func(name string) string { return env[name] })
}

func mustLoad(t *testing.T, args []string, env map[string]string, file string) options {
	t.Helper()
	o, err := loadArgs(t, args, env, file)
	if err != nil {
		t.Fatalf("load(%q, %v, %q): %v", args, env, file, err)
	}
	return o
}

// Precedence is flag over environment over file over default.
func TestPrecedence(t *testing.T) {
	const file = "cluster: file\n"
	env := map[string]string{"DOYEN_CLUSTER": "env"}
	flag := []string{"--cluster", "flag"}
	for _, test := range []struct {
		args []string
		env  map[string]string
		file string
		want string
	}{
		{nil, nil, "", ""}, // package agent applies the default
		{nil, nil, file, "file"},
		{nil, env, file, "env"},
		{nil, env, "", "env"},
		{flag, env, file, "flag"},
		{flag, nil, file, "flag"},
		{nil, map[string]string{"DOYEN_CLUSTER": ""}, file, "file"},
	} {
		if got := mustLoad(t, test.args, test.env, test.file).Cluster; got != test.want {
			t.Errorf("cluster with %q, %v, %q: got %q, want %q", test.args, test.env, test.file, got, test.want)
		}
	}
}

// A list of one source replaces the list of another; within a source it adds up.
func TestSeeds(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  string
		file string
		want []string
	}{
		{[]string{"--seeds", "a,b", "--seeds", "c"}, "d", "seeds: e", []string{"a", "b", "c"}},
		{[]string{"--join", "a", "--seeds", "b", "--join=c, d"}, "", "", []string{"a", "b", "c", "d"}},
		{[]string{"--join", "[::1]:4000,::1,srv+x.example"}, "", "", []string{"[::1]:4000", "::1", "srv+x.example"}},
		{nil, "a, b,", "seeds: e", []string{"a", "b"}},
		{nil, "", "seeds: [a, 'b,c']\n", []string{"a", "b", "c"}},
		{nil, "", "join: a,b\n", []string{"a", "b"}},
		{nil, "", "seeds:\n- a\n- localhost:4001\n", []string{"a", "localhost:4001"}},
		{nil, "", "", nil},
	} {
		got := mustLoad(t, test.args, map[string]string{"DOYEN_SEEDS": test.env}, test.file).Seeds
		if !slices.Equal(got, test.want) {
			t.Errorf("seeds with %q, %q, %q: got %q, want %q", test.args, test.env, test.file, got, test.want)
		}
	}
}

// Every setting reaches the field it is meant for.
func TestEverySetting(t *testing.T) {
	port, wait, preempt := 4001, -time.Second, true
	for _, test := range []struct {
		name, value string
		got         func(options) any
		want        any
	}{
		{"bind-addr", "127.0.0.1", func(o options) any { return o.BindAddr }, "127.0.0.1"},
		{"bind-interface", "lo", func(o options) any { return o.BindAddr }, "lo"},
		{"bind-port", "4001", func(o options) any { return o.BindPort }, &port},
		{"advertise-addr", "localhost:4001", func(o options) any { return o.AdvertiseAddr }, "localhost:4001"},
		{"name", "x", func(o options) any { return o.Name }, "x"},
		{"seeds", "a", func(o options) any { return o.Seeds }, []string{"a"}},
		{"join", "a", func(o options) any { return o.Seeds }, []string{"a"}},
		{"cluster", "x", func(o options) any { return o.Cluster }, "x"},
		{"rule", "bully", func(o options) any { return o.Rule }, "bully"},
		{"id", "18446744073709551615", func(o options) any { return o.ID }, uint64(math.MaxUint64)},
		{"role", "witness", func(o options) any { return o.Role }, "witness"},
		{"elections", "web,mail", func(o options) any { return o.Elections }, map[string]agent.ElectionConfig{"web": {}, "mail": {}}},
		{"placement", "together", func(o options) any { return o.Placement }, "together"},
		{"rebalance-delay", "30s", func(o options) any { return o.RebalanceDelay }, 30 * time.Second},
		{"lone-wait", "-1s", func(o options) any { return o.LoneWait }, &wait},
		{"preempt", "true", func(o options) any { return o.Preempt }, &preempt},
		{"preempt-delay", "3s", func(o options) any { return o.PreemptDelay }, 3 * time.Second},
		{"profile", "wan", func(o options) any { return o.Profile }, "wan"},
		{"lease", "2s", func(o options) any { return o.Timing.Lease }, 2 * time.Second},
		{"renewal", "300ms", func(o options) any { return o.Timing.Renewal }, 300 * time.Millisecond},
		{"confirm", "90ms", func(o options) any { return o.Timing.Confirm }, 90 * time.Millisecond},
		{"stagger", "40ms", func(o options) any { return o.Timing.Stagger }, 40 * time.Millisecond},
		{"settle", "3s", func(o options) any { return o.Timing.Settle }, 3 * time.Second},
		{"probe-interval", "500ms", func(o options) any { return o.ProbeInterval }, 500 * time.Millisecond},
		{"release-budget", "200ms", func(o options) any { return o.Timing.ReleaseBudget }, 200 * time.Millisecond},
		{"voters", "a:1,b:1,c:1", func(o options) any { return o.Voters }, []string{"a:1", "b:1", "c:1"}},
		{"floating-ip", "192.0.2.10/24@eth0", func(o options) any { return o.FloatingIPs }, []string{"192.0.2.10/24@eth0"}},
		{"hook", "/bin/true", func(o options) any { return o.Hook }, "/bin/true"},
		{"hook-timeout", "10s", func(o options) any { return o.HookTimeout }, 10 * time.Second},
		{"check-interval", "1s", func(o options) any { return o.CheckInterval }, time.Second},
		{"watchdog", "/dev/watchdog", func(o options) any { return o.Watchdog }, "/dev/watchdog"},
		{"health", "/bin/true", func(o options) any { return o.Health }, "/bin/true"},
		{"health-interval", "1s", func(o options) any { return o.HealthInterval }, time.Second},
		{"health-timeout", "500ms", func(o options) any { return o.HealthTimeout }, 500 * time.Millisecond},
		{"health-rise", "1", func(o options) any { return o.HealthRise }, 1},
		{"health-fall", "65535", func(o options) any { return o.HealthFall }, 65535},
		{"keeper", "off", func(o options) any { return o.Keeper }, "off"},
		{"http", "127.0.0.1:0", func(o options) any { return o.HTTP }, "127.0.0.1:0"},
		{"api-token-file", "t", func(o options) any { return o.tokenFile }, "t"},
		{"tls-cert-file", "c", func(o options) any { return o.tlsCertFile }, "c"},
		{"tls-key-file", "p", func(o options) any { return o.tlsKeyFile }, "p"},
		{"encrypt-key-file", "k", func(o options) any { return o.EncryptKeyFile }, "k"},
		{"state-dir", "d", func(o options) any { return o.StateDir }, "d"},
		{"store", "off", func(o options) any { return o.Store }, "off"},
		{"store-restore", "f", func(o options) any { return o.StoreRestore }, "f"},
		{"loop-rate", "10", func(o options) any { return o.loopRate }, "10"},
		{"log-level", "debug", func(o options) any { return o.logLevel }, slog.LevelDebug},
		{"log-format", "json", func(o options) any { return o.logFormat }, "json"},
	} {
		s, ok := find(test.name)
		if !ok {
			t.Errorf("there is no setting %s", test.name)
			continue
		}
		for source, o := range map[string]options{
			"flag":        mustLoad(t, []string{"--" + test.name + "=" + test.value}, nil, ""),
			"environment": mustLoad(t, nil, map[string]string{s.env(): test.value}, ""),
			"file":        mustLoad(t, nil, nil, test.name+": "+test.value+"\n"),
		} {
			if got := test.got(o); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s from the %s: got %v, want %v", test.name, source, got, test.want)
			}
		}
	}
}

// 0s means off where off makes sense, and no time-out where it does not is an
// error rather than the default.
func TestZeroDurations(t *testing.T) {
	if got := mustLoad(t, []string{"--check-interval", "0s"}, nil, "").CheckInterval; got >= 0 {
		t.Errorf("check-interval of 0s: got %v, want a negative duration, which is off", got)
	}
	if got := mustLoad(t, []string{"--lone-wait", "0s"}, nil, "").LoneWait; got == nil || *got != 0 {
		t.Errorf("lone-wait of 0s: got %v, want 0s", got)
	}
	if got := mustLoad(t, nil, nil, "").LoneWait; got != nil {
		t.Errorf("lone-wait not given: got %v, want nil", *got)
	}
	for _, name := range []string{"lease", "hook-timeout", "health-interval", "health-timeout"} {
		if _, err := loadArgs(t, []string{"--" + name, "0s"}, nil, ""); err == nil {
			t.Errorf("%s of 0s: got no error", name)
		}
	}
}

func TestPreempt(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{{nil, "unset"}, {[]string{"--preempt"}, "true"}, {[]string{"--preempt=false"}, "false"}} {
		got := "unset"
		if p := mustLoad(t, test.args, nil, "").Preempt; p != nil {
			got = map[bool]string{true: "true", false: "false"}[*p]
		}
		if got != test.want {
			t.Errorf("preempt with %q: got %s, want %s", test.args, got, test.want)
		}
	}
}

// Every error is one sentence that names what to mend, and where.
func TestBadSettings(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  map[string]string
		file string
		want string // in the sentence
	}{
		{args: []string{"--bind-port", "x"}, want: `--bind-port: "x" is not a port`},
		{args: []string{"--bind-port", "65536"}, want: "--bind-port"},
		{args: []string{"--bind-port", "-1"}, want: "--bind-port"},
		{args: []string{"--bind-port"}, want: "--bind-port needs a value"},
		{args: []string{"--bind-prt", "1"}, want: "unknown flag --bind-prt"},
		{args: []string{"--lease", "1"}, want: `--lease: "1" is not a duration`},
		{args: []string{"--hook-timeout", "-1s"}, want: "--hook-timeout"},
		{args: []string{"--check-interval", "-1s"}, want: "--check-interval"},
		{args: []string{"--health-interval", "0s"}, want: "--health-interval: 0s is not longer than zero"},
		{args: []string{"--health-timeout", "-1s"}, want: "--health-timeout: -1s is not longer than zero"},
		{args: []string{"--id", "18446744073709551616"}, want: `--id: "18446744073709551616" is not a number between 0 and 18446744073709551615`},
		{args: []string{"--health-rise", "0"}, want: `--health-rise: "0" is not a number between 1 and 65535`},
		{args: []string{"--health-rise", "1.5"}, want: "--health-rise"},
		{args: []string{"--health-fall", "-1"}, want: "--health-fall"},
		{args: []string{"--health-fall", "65536"}, want: "--health-fall"},
		{file: "health-fall: many\n", want: "--health-fall (from"},
		{args: []string{"--rule", "x"}, want: "--rule"},
		{args: []string{"--role", "x"}, want: "--role"},
		{args: []string{"--profile", "x"}, want: "--profile"},
		{args: []string{"--keeper", "yes"}, want: "--keeper"},
		{args: []string{"--preempt=perhaps"}, want: "--preempt"},
		{args: []string{"--id", "-1"}, want: "--id"},
		{args: []string{"--log-level", "loud"}, want: "--log-level"},
		{args: []string{"--log-format", "xml"}, want: "--log-format"},
		{args: []string{"--name", "a b"}, want: "name"},
		{args: []string{"--lease", "1s", "--renewal", "800ms"}, want: "renewal of 800ms is more than half the lease"},
		{args: []string{"--config", "/nonexistent"}, want: "--config: open /nonexistent"},
		{env: map[string]string{"DOYEN_BIND_PORT": "x"}, want: "--bind-port (from DOYEN_BIND_PORT)"},
		{env: map[string]string{"DOYEN_CONFIG": "/nonexistent"}, want: "--config: open /nonexistent"},
		{file: "bind-port: x\n", want: "doyen.yaml line 1): \"x\" is not a port"},
		{file: "# c\n\nbind-prt: 1\n", want: `line 3: unknown key "bind-prt"`},
		{file: "bind-port: 1\nbind-port: 2\n", want: "line 2: bind-port is given twice"},
		{file: "bind-addr: a\nbind-interface: b\n", want: "line 2: bind-addr is given twice"},
		{file: "config: x\n", want: `line 1: config cannot stand in the file`},
		{args: []string{"--lease", "1ms"}, want: "longer than the renewal of 333.333µs; the renewal is a third of the lease of 1ms"},
		{file: "cluster: [a]\n", want: "cluster is not one value"},
		{file: "cluster: {a: b}\n", want: "cluster is not one value"},
		{file: "cluster:\n", want: "cluster is not one value"},
		{file: "run: sleep 5\n", want: "run is not a list such as [COMMAND, ARG]"},
		{file: "run: []\n", want: "run is not a list such as [COMMAND, ARG]"},
		{file: "run: ['']\n", want: "run: the command has no name"},
		{file: "seeds: [[a]]\n", want: "seeds is not a value or a list"},
		{file: "a: &x b\n", want: `unknown key "a"`},
		{file: "cluster: a\nseeds: b: c\n", want: "line 2: this is not YAML: mapping values are not allowed"},
		{file: "clustr: a\n", want: `line 1: unknown key "clustr"; did you mean cluster?`},
		{file: "tls-ca-file: a\n", want: `line 1: tls-ca-file cannot stand in the file: it is a flag of client commands, such as 'agent leader'`},
		{file: "addr: a\n", want: `line 1: addr cannot stand in the file: it is a flag of client commands, such as 'agent leader'`},
		{file: "to: a\n", want: `line 1: to cannot stand in the file: it is a flag of client commands, such as 'agent step-down'`},
		{file: "seeds: &x a\ncluster: *x\n", want: "cluster is not one value"},
		{file: "- a\n", want: "line 1"},
		{file: "cluster: a\n---\ncluster: b\n", want: "more than one YAML document"},
		{file: "cluster: 'a\n", want: "this is not YAML"},
		{file: "cluster: " + strings.Repeat("a", maxFile), want: "is larger than"},
	} {
		_, err := loadArgs(t, test.args, test.env, test.file)
		if err == nil {
			t.Errorf("%q, %v, %.40q: got no error, want one with %q", test.args, test.env, test.file, test.want)
			continue
		}
		if got := err.Error(); !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
			t.Errorf("%q, %v, %.40q: got %q, want one line with %q", test.args, test.env, test.file, got, test.want)
		}
	}
}

// What follows a -- is a command line, and nothing in it is a flag of the agent.
func TestSplitCommand(t *testing.T) {
	app, _ := newApp(nil, nil)
	for _, test := range []struct{ line, rest, command string }{
		{"agent", "agent", ""},
		{"agent --cluster a -- sleep 5", "agent --cluster a", "sleep 5"},
		{"agent -- leader --addr x -- y", "agent", "leader --addr x -- y"},
		{"agent --name -- -- sleep", "agent --name --", "sleep"},
		{"agent --preempt -- sleep", "agent --preempt", "sleep"},
		{"agent run --name=a -- sleep", "agent run --name=a", "sleep"},
		{"agent --name a validate -- sleep", "agent --name a validate", "sleep"},
		{"agent leader -- sleep", "agent leader -- sleep", ""},
	} {
		rest, command, err := splitCommand(app, strings.Fields(test.line))
		if got := strings.Join(rest, " "); err != nil || got != test.rest || strings.Join(command, " ") != test.command {
			t.Errorf("%s: want %q and %q, got %q and %q, %v", test.line, test.rest, test.command, got, command, err)
		}
	}
	o := mustLoad(t, nil, nil, "run: [/usr/sbin/cron, -f, 'a, b']\n")
	if want := []string{"/usr/sbin/cron", "-f", "a, b"}; !slices.Equal(o.Run, want) {
		t.Errorf("want %q, got %q", want, o.Run)
	}
}

func TestEmptyFiles(t *testing.T) {
	for _, file := range []string{"\n", "# nothing\n", "---\n", "{}\n", "~\n"} {
		mustLoad(t, nil, nil, file)
	}
}

// The table is consistent, no name means two things, and each is tested above.
func TestSettings(t *testing.T) {
	source, err := os.ReadFile("options_test.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range settings {
		for _, name := range []string{s.name, s.alias} {
			if name != "" && seen[name] {
				t.Errorf("%s is in the table twice", name)
			}
			seen[name] = true
			if name != "" && name != "config" && !s.argv && !strings.Contains(string(source), "\t\t{\""+name+"\", ") {
				t.Errorf("TestEverySetting does not know %s", name)
			}
		}
		if s.usage == "" || s.set == nil {
			t.Errorf("%s has no usage or no way to set it", s.name)
		}
	}
}

// FuzzFile checks that no file makes the program panic, and that what is
// accepted is made of known settings with values.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "cluster: a\n", "seeds: [a, b]\n", "seeds:\n- a\n- b\n", "bind-port: 4000\nrule: bully\nid: 7\n",
		"a: &x [*x]\n", "<<: {cluster: a}\n", "? [a]\n: b\n", "--- a\n--- b\n", "cluster: !!binary aGk=\n", "\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := parseFile("f", data)
		if err != nil {
			return
		}
		var o options
		for name, g := range values {
			s, ok := find(name)
			if !ok || g.from == "" {
				t.Fatalf("%q: accepted %q from %q", data, name, g.from)
			}
			for _, v := range s.entries(append(g.values, "")) {
				// A bad value is an error; only a panic would be a fault.
				_ = s.set(&o, v)
			}
		}
	})
}

// An election of the file's map has what it is told of its own, and only that.
func TestElectionsOfTheFile(t *testing.T) {
	o := mustLoad(t, nil, nil, `
hook: /bin/true
elections:
  web: {floating-ip: [10.9.9.1/24@eth0, 10.9.9.2/24@eth0], id: 0, prefer: [10.9.0.3, b]}
  mail:
  cron: {run: [/bin/sleep, "9,5"], preempt-delay: 0s, check-interval: 0s}
`)
	want := map[string]agent.ElectionConfig{
		"web":  {FloatingIPs: []string{"10.9.9.1/24@eth0", "10.9.9.2/24@eth0"}, ID: new(uint64(0)), Prefer: []string{"10.9.0.3", "b"}},
		"mail": {},
		"cron": {Run: []string{"/bin/sleep", "9,5"}, PreemptDelay: new(time.Duration(0)), CheckInterval: -1},
	}
	if !reflect.DeepEqual(o.Elections, want) {
		t.Errorf("want %+v, got %+v", want, o.Elections)
	}
	for _, file := range []string{
		"elections: {web: 3}", "elections: {web: {hok: /bin/true}}", "elections: {web: {hook: [a, b]}}",
		"elections: {web: {rule: best}}", "elections: {Web: {}}", `elections: {"": {}}`, "elections: {web: {}, web: {}}", "elections: {web: {bind-port: 1}}",
	} {
		if _, err := loadArgs(t, nil, nil, file); err == nil {
			t.Errorf("%s is taken", file)
		}
	}
}
