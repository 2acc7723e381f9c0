package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// runBinary runs the program itself, with nothing in its environment but env,
// and returns the lines it wrote to stderr.
func runBinary(t *testing.T, env []string, args ...string) (stdout string, stderr []string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var out, errs strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{"PATH=" + os.Getenv("PATH")}, env...), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), strings.Split(strings.TrimSuffix(errs.String(), "\n"), "\n"), cmd.ProcessState.ExitCode()
}

// A file with many faults is answered with all of them.
func TestValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "doyen.yaml")
	crlf := filepath.Join(dir, "health")
	state := filepath.Join(dir, "state")
	for path, text := range map[string]string{
		crlf:  "#!/bin/sh\r\nexit 0\r\n",
		state: "a file where a directory should be\n",
		file: `seeds: [192.0.2.1:x, "http://192.0.2.2:4000", "192.0.2.3 192.0.2.4", 192.0.2.5]
bind-adr: 192.0.2.1
bind-addr: 192.0.2.1
rule: oldest
lease: soon
floating-ip: [192.0.2.300/24@lo, 192.0.2.10/24@nowhere0]
elections: {web: {floating-ip: 192.0.2.11/24@nowhere0}}
http: 4001
state-dir: ` + state + `
hook: ` + dir + `/missing
health: ` + crlf + `
encrypt-key-file: ` + dir + `/no-keys
`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	stdout, lines, code := runBinary(t, nil, "validate", "--config", file)
	if code != exitUsage || stdout != "" {
		t.Errorf("got exit %d and %q, want %d and nothing", code, stdout, exitUsage)
	}
	wants := []string{
		`line 2: unknown key "bind-adr"; did you mean bind-addr?`,
		`--rule (from ` + file + ` line 4): rule "oldest" is none of`,
		`--lease (from ` + file + ` line 5): "soon" is not a duration such as`,
		`"192.0.2.300/24" is not an address with the length of its network`,
		`seeds entry "192.0.2.1:x" has a port that is not between 1 and 65535`,
		`seeds entry "http://192.0.2.2:4000" is not host[:port]`,
		`seeds entry "192.0.2.3 192.0.2.4" contains a space`,
		`http of "4001" is neither off nor [HOST]:PORT`,
		`no-keys`,
		`--hook: ` + dir + `/missing is not there`,
		`--health: ` + crlf + ` has a carriage return at the end of its first line`,
		`bind-addr 192.0.2.1 is no address of this host`,
		`state-dir ` + state + `: ` + state + ` is no directory`,
		`agent: floating-ip 192.0.2.10/24@nowhere0: this host has no interface nowhere0`,
		`agent: election web: floating-ip 192.0.2.11/24@nowhere0: this host has no interface nowhere0`,
	}
	for _, want := range wants {
		if n := len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, want) })); n != 1 {
			t.Errorf("%d lines say %q", n, want)
		}
	}
	if len(lines) != len(wants) || t.Failed() {
		t.Errorf("got %d faults, want %d:\n%s", len(lines), len(wants), strings.Join(lines, "\n"))
	}
}

// Words of the libraries do not reach the user, and what was meant is said.
func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args, want string
		env        []string
	}{
		{args: "--bind-prt 5", want: "unknown flag --bind-prt; did you mean --bind-port?"},
		{args: "validate --floating-up x", want: "unknown flag --floating-up; did you mean --floating-ip?"},
		{args: "leader --adr x", want: "unknown flag --adr; did you mean --addr?"},
		{args: "--adr x leader", want: "unknown flag --adr; did you mean --addr?"},
		{args: "--addr x", want: "--addr belongs to a command, such as 'agent leader'"},
		{args: "--qqqq", want: "unknown flag --qqqq"},
		{args: "help --nope", want: "unknown flag --nope"},
		{args: "ledaer", want: `unknown command "ledaer"; did you mean leader?`},
		{args: "stepdown", want: `unknown command "stepdown"; did you mean step-down?`},
		{args: "qqqq", want: `unknown command "qqqq"; see 'agent help'`},
		{args: "leader --timeout x", want: `--timeout: "x" is not a duration such as 500ms, 10s or 1m30s`},
		{args: "leader --json=maybe", want: `--json: "maybe" is not true or false`},
		{args: "---x", want: `"---x" is no flag`},
		{args: "--seeds http://x", want: `seeds entry "http://x" is not host[:port]: it has a slash, as a URL does`},
		{args: "--bind-addr 192.0.2.1", want: "bind-addr 192.0.2.1 is no address of this host"},
		{args: "--bind-addr nowhere0", want: `bind-addr "nowhere0" is neither an address nor the name of an interface`},
		{args: "validate", env: []string{"DOYEN_BIND_PORT=x"}, want: `--bind-port (from DOYEN_BIND_PORT): "x" is not a port`},
		{args: "validate", env: []string{"DOYEN_JOIN=a:x"}, want: `seeds entry "a:x" has a port`},
	} {
		stdout, lines, code := runBinary(t, test.env, strings.Fields(test.args)...)
		if code != exitUsage || stdout != "" || len(lines) != 1 || !strings.HasPrefix(lines[0], "agent: "+test.want) {
			t.Errorf("agent %s: got exit %d, %q and %q, want exit %d and %q", test.args, code, stdout, lines, exitUsage, test.want)
		}
	}
}

// What is accepted and perhaps not meant is a warning.
func TestValidateWarns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args, want string
		env        []string
	}{
		{args: "--voters localhost:4000,localhost:4001 --advertise-addr localhost:4000", want: "warning: with 2 voters a majority is 2, so there is a leader until 1 of them is out of reach"},
		{args: "--voters 127.0.0.1,127.0.0.2,127.0.0.3 --bind-addr 127.0.0.4", want: "warning: none of the voters is this node, which is 127.0.0.4:4000: it would neither vote nor lead"},
		{args: "--id 7", want: "warning: id of 7 has no effect with the rule seniority"},
		{args: "--hook /bin/true --watchdog /dev/null", want: "warning: watchdog: on this host an agent would be no candidate: /dev/null is no watchdog"},
		{args: "--health /bin/true --health /bin/false", want: "warning: --health is given 2 times, and only the last counts: /bin/false\n"},
		{args: "--bind-addr ::1 --bind-interface 127.0.0.1", want: "warning: --bind-addr is given 2 times, and only the last counts: 127.0.0.1\n"},
		{args: "--seeds 127.0.0.1 --seeds 127.0.0.2"},
		{args: "--store-restore /nowhere", want: "warning: store-restore of /nowhere has no effect without the store (--store on)\n"},
		{args: "--loop-rate 10", want: "warning: --loop-rate has no effect"},
		{env: []string{"DOYEN_SEED=a"}, want: "warning: DOYEN_SEED is no setting; did you mean DOYEN_SEEDS?"},
		{env: []string{"DOYEN_TLS_CA_FILE=a", "DOYEN_ADDR=b", "DOYEN_API=c"}},
		{env: []string{"DOYEN_RUN=cron -f"}, want: "warning: DOYEN_RUN has no effect: the command to run follows a --, or is run: in the file"},
		{env: []string{"DOYEN_SERVICE_HOST=a", "DOYEN_PORT_4000_TCP=b", "DOYEN_TERM=7", "DOYEN_RUN=r", "DOYEN_NODE=a"}},
		{args: "--voters 127.0.0.1,127.0.0.2,127.0.0.3 --bind-addr 127.0.0.2 --rule bully --id 7"},
	} {
		stdout, _, code := runBinary(t, test.env, append([]string{"validate"}, strings.Fields(test.args)...)...)
		if code != exitOK || !strings.HasPrefix(stdout, "the configuration is good\n") {
			t.Errorf("validate %s: got exit %d and %q", test.args, code, stdout)
		}
		if got := strings.Count(stdout, "warning: "); test.want == "" && got != 0 || !strings.Contains(stdout, test.want) {
			t.Errorf("validate %s with %q: got %q, want %q in it", test.args, test.env, stdout, test.want)
		}
	}
}

// A program is one path: arguments, as keepalived and consul take them, are named as what is wrong.
func TestProgramsTakeNoArguments(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--hook", "--health"} {
		_, lines, code := runBinary(t, nil, "validate", flag, "/bin/test -e /run")
		if want := "agent: " + flag + `: "/bin/test -e /run" is taken as one path; put a command with arguments into a script`; code != exitUsage || len(lines) != 1 || lines[0] != want {
			t.Errorf("got exit %d and %q, want exit %d and %q", code, lines, exitUsage, want)
		}
	}
}

// A hook adds its own time to a failover; off is none.
func TestValidateTellsOfAHook(t *testing.T) {
	t.Parallel()
	for hook, want := range map[string]bool{"/bin/true": true, "off": false} {
		stdout, _, code := runBinary(t, nil, "validate", "--hook", hook, "--health", "off")
		if got := strings.Contains(stdout, "the hook's own time"); code != exitOK || got != want {
			t.Errorf("validate --hook %s: got exit %d and %q, want the hook's own time in it: %v", hook, code, stdout, want)
		}
	}
}

// Validate changes nothing on the host: it makes no directory, and no table of
// nftables, not even for a moment.
func TestValidateChangesNothing(t *testing.T) {
	t.Parallel()
	h := newLAN(t, 1).hosts[0]
	within := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", h.ns}, args...)...)
	}
	monitor := within("nft", "monitor")
	pipe, err := monitor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		monitor.Process.Kill()
		monitor.Wait()
	}()
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(pipe); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	mark := func(name string) {
		t.Helper()
		if out, err := within("nft", "add table ip "+name).CombinedOutput(); err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
	}
	// The monitor hears nothing before it has subscribed.
	for heard, n := false, 0; !heard; n++ {
		mark(fmt.Sprintf("begin%d", n))
		select {
		case <-lines:
			heard = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	mark("validating")
	dir := filepath.Join(t.TempDir(), "state")
	out, err := within(binary, "validate", "--seeds", h.addr, "--voters", h.addr+",10.88.0.2,10.88.0.3", "--state-dir", dir, "--floating-ip", "10.88.0.100/24@eth0").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "the configuration is good\n") || strings.Contains(string(out), "warning") {
		t.Errorf("validate: got %v and %s", err, out)
	}
	own, err := within(binary, "validate", "--floating-ip", h.addr+"/24@eth0").CombinedOutput()
	if want := "warning: floating-ip " + h.addr + "/24@eth0: the address is this host's own, so an agent here would be no candidate"; err != nil || !strings.Contains(string(own), want) {
		t.Errorf("validate with the host's own address: want %q, got %v and %s", want, err, own)
	}
	mark("validated")
	for heard := []string(nil); ; {
		line := <-lines
		if strings.Contains(line, "validated") {
			if n := len(heard); n > 0 {
				t.Errorf("validate changed nftables: %q", heard)
			}
			break
		}
		if strings.Contains(line, "doyen") {
			heard = append(heard, line)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("validate made the state directory: %v", err)
	}
}

// Flags of a command may stand before it.
func TestClientFlagsBeforeTheCommand(t *testing.T) {
	t.Parallel()
	addr := serveFake(t, fakeAgent{"GET /leader": {200, `{"leader":"a","addr":"192.0.2.1:4000"}`}, "POST /step-down": {200, `{"ok":true,"leader":"b"}`}})
	for _, args := range [][]string{
		{"--addr", addr, "leader"},
		{"--addr=" + addr, "--timeout", "9s", "leader", "--json"},
		{"--json", "--addr", addr, "leader"},
		{"--timeout", "9s", "leader", "--addr", addr},
		{"--for", "1h", "--addr", addr, "step-down"},
	} {
		if stdout, lines, code := runBinary(t, nil, args...); code != exitOK || stdout == "" {
			t.Errorf("agent %q: got exit %d, %q and %q", args, code, stdout, lines)
		}
	}
}
