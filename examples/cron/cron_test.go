// Package cron runs the jobs of the crontab with the program.
package cron

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"doyen/agent"
	"doyen/examples/internal/trial"
)

// The crontab in the README is this one: cron's own PATH would not find the program.
func TestCrontabOfTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("doyen-cron")
	if err != nil {
		t.Fatal(err)
	}
	job := regexp.MustCompile(`(?m)^PATH=.*\n\*/5 .*agent exec .*$`).FindString(string(readme))
	if job == "" {
		t.Fatal("the README has no job with a PATH")
	}
	for line := range strings.Lines(job) {
		if !strings.Contains(string(example), strings.TrimSpace(line)+"\n") {
			t.Errorf("the example lacks %q", line)
		}
	}
}

// Every job of the crontab is run as cron runs it, on two hosts at the same time: the
// job runs on the host that leads, and the other prints nothing.
func TestJobsRunOnTheLeader(t *testing.T) {
	text, err := os.ReadFile("doyen-cron")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(trial.Build(t))
	if err := os.WriteFile(filepath.Join(dir, "job"), []byte("#!/bin/sh\necho $DOYEN_NODE\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var leader *agent.Agent
	config := agent.Config{LoneWait: new(time.Duration)}
	config.Timing.Lease = 5 * time.Second // a busy machine may be slow
	first, _ := trial.Run(t, config)
	config.Seeds, config.LoneWait = []string{first.Addr()}, nil // so that it never leads alone
	second, _ := trial.Run(t, config)
	agents := []*agent.Agent{first, second}
	for end := time.Now().Add(time.Minute); leader == nil; time.Sleep(20 * time.Millisecond) {
		for _, a := range agents {
			if a.IsLeader() && a.Ready().Ready {
				leader = a
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no member leads, or it has no successor: %+v", agents[0].Ready())
		}
	}
	jobs := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 7 || strings.HasPrefix(line, "#") || strings.Contains(fields[0], "=") {
			continue
		}
		jobs++
		command := regexp.MustCompile(`/usr/\S+$`).ReplaceAllString(strings.Join(fields[6:], " "), filepath.Join(dir, "job"))
		for _, a := range agents {
			cmd := exec.Command("sh", "-c", command)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "DOYEN_ADDR="+a.Addr())
			out, _ := cmd.CombinedOutput()
			code, want, wantCode := cmd.ProcessState.ExitCode(), "", 2
			if a == leader {
				want, wantCode = leader.Name()+"\n", 0
			}
			if string(out) != want || code != wantCode {
				t.Errorf("%s at %s: got exit %d and %q, want %d and %q", command, a.Name(), code, out, wantCode, want)
			}
		}
	}
	if jobs == 0 {
		t.Error("the crontab has no job")
	}
}
