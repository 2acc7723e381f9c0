package hooks

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// fakeSystemctl keeps a file for each unit that runs, and records its calls.
const fakeSystemctl = `#!/bin/sh
cd "${0%/*}"
verb=$1; shift
for unit; do :; done
echo "$verb $unit" >>calls
case $verb in
start) : >"run-$unit" ;;
stop) [ "$unit" = slow.service ] && ! [ -e killed ] && exec sleep 1000
	[ "$unit" != stuck.service ] && rm -f "run-$unit" ;;
kill) : >killed ;;
is-active) [ -e "run-$unit" ] ;;
esac
`

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(fakeSystemctl), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(event, units string) error {
		cmd := exec.Command("./systemd-unit.sh", event)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "UNITS="+units, "DOYEN_DEADLINE_MS=300")
		return cmd.Run()
	}
	runs := func(want string) {
		t.Helper()
		names, _ := filepath.Glob(filepath.Join(dir, "run-*"))
		got := ""
		for _, n := range names {
			got += filepath.Base(n)[len("run-"):] + " "
		}
		if got != want {
			t.Errorf("what runs: got %q, want %q", got, want)
		}
	}
	const units = "a.service b.timer"
	if run("check", units) == nil {
		t.Error("check before acquire: got exit 0, want a failure")
	}
	for _, event := range []string{"acquire", "acquire", "check", "change"} {
		if err := run(event, units); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	}
	runs("a.service b.timer ")
	if err := run("release", units); err != nil {
		t.Errorf("release: %v", err)
	}
	runs("")
	if run("acquire", "a.service stuck.service") != nil || run("release", "a.service stuck.service") == nil {
		t.Error("release of a unit that does not stop: got exit 0, want a failure")
	}
	runs("stuck.service ")
	if run("acquire", "slow.service") != nil || run("release", "slow.service") != nil {
		t.Error("a unit that has to be killed: got a failure")
	}
	runs("stuck.service ")
	if run("acquire", "") == nil || run("nonsense", units) == nil {
		t.Error("without units, or with an unknown event: got exit 0, want a failure")
	}
}
