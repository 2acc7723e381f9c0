package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Values are completed as names of flags and commands are.
func TestCompletionOfValues(t *testing.T) {
	t.Parallel()
	addr := serveFake(t, fakeAgent{"GET /members": {200, `[{"name":"a","addr":"192.0.2.1:4000"},{"name":"b","addr":"192.0.2.2:4000"}]`},
		"GET /elections": {200, `{"web":{},"group":{}}`}})
	for _, test := range []struct{ args, want string }{
		{"--rule", "seniority bully"},
		{"validate --role", "candidate witness observer"},
		{"--bind-port 4001 --profile", "edge fast lan wan"},
		{"run --rule =", "seniority bully"},
		{"--log-level", "debug info warn error"},
		{"--keeper", "on off"},
		{"completion", "bash zsh fish"},
		{"leader --addr", "192.0.2.1:4000 192.0.2.2:4000"},
		{"--addr", "192.0.2.1:4000 192.0.2.2:4000"},
		{"step-down --to", "a b"},
		{"exec --election", "group web"},
		{"--hook", ""},                   // the shell's files
		{"exec -- echo this is run", ""}, // it must not be
	} {
		stdout, lines, code := runBinary(t, []string{"DOYEN_ADDR=" + addr}, append(strings.Fields(test.args), completing)...)
		if got := strings.Join(strings.Fields(stdout), " "); got != test.want || code != exitOK || lines[0] != "" {
			t.Errorf("after agent %s: got %q, exit %d and %q, want %q", test.args, got, code, lines, test.want)
		}
	}
	// Every word is one that its flag takes, and every flag there is.
	for name, values := range words {
		s, ok := find(name)
		for _, v := range values {
			if !ok || s.set(&options{}, v) != nil {
				t.Errorf("--%s does not take %q", name, v)
			}
		}
	}
}

// The script of bash offers them.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	const ask = `PATH=$1:$PATH; source <(agent completion bash)
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _doyen_agent; echo "${COMPREPLY[*]}"; }
complete_line agent --rule ''
complete_line agent --rule b
complete_line agent step-down --f
complete_line agent lea
complete_line agent exec -- lea`
	out, err := exec.CommandContext(t.Context(), bash, "--norc", "-c", ask, "bash", filepath.Dir(binary)).CombinedOutput()
	if want := "seniority bully\nbully\n--for\nleader leave\n\n"; err != nil || string(out) != want {
		t.Errorf("got %q (%v), want %q", out, err, want)
	}
}
