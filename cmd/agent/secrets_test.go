package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Nothing that an agent says, writes or passes on holds a key or a token: not
// its log at the lowest level, not what it answers, not the environment of its
// processes and of the hook, not what it prints when it is made to crash.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 2)
	g.also(`env >>"${0%/*}/environment"`)
	ca := newAuthority(t)
	ca.issue(g, 1, time.Now().Add(time.Hour))
	var needles [][]byte
	secret := func(b []byte) string {
		text := base64.StdEncoding.EncodeToString(b)
		needles = append(needles, b, []byte(text[:20]), []byte(hex.EncodeToString(b)[:20]), []byte(strings.Trim(fmt.Sprint(b[:8]), "[]")))
		return text
	}
	random := func() []byte {
		b := make([]byte, keySize)
		rand.Read(b)
		return b
	}
	first, second, token, wrong := secret(random()), secret(random()), secret(random()), secret(random())
	pem, err := os.ReadFile(filepath.Join(g.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	needles = append(needles, bytes.Split(pem, []byte("\n"))[1][:40])
	keys := g.secretFile("keys", first+"\n")
	g.start("--hook", g.hook(), "--log-level", "debug", "--encrypt-key-file", keys,
		"--api-token-file", g.secretFile("token", token+"\n"), "--tls-cert-file", filepath.Join(g.dir, "cert.pem"),
		"--tls-key-file", filepath.Join(g.dir, "key.pem"))
	a, b := g.nodes[0], g.nodes[1]
	g.checkLeader(a, a, b)
	g.checkHeir(b, a, b)
	var said bytes.Buffer
	call := func(method, path, bearer string) {
		req, err := http.NewRequest(method, "http://"+a.name+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "192.0.2.1")
		req.Header.Set("Authorization", "Bearer "+bearer)
		limit := patience
		if path == "/events" {
			limit = 2 * time.Second // a stream, which has no end of its own
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req.WithContext(ctx))
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer resp.Body.Close()
		fmt.Fprintln(&said, method, path, resp.Status, resp.Header)
		said.ReadFrom(resp.Body)
	}
	// Good and bad files, good and bad tokens, a member with another key.
	g.secretFile("keys", first+"\n"+second+"\n"+second[:30]+"\n")
	a.reload("the keyring was not read again")
	g.secretFile("keys", first+"\n"+second+"\n")
	a.reload("read the log level, the keyring, the token, the certificate again")
	g.secretFile("token", token+"\n"+wrong+"\n")
	a.reload("the token was not read again")
	stranger := newGroup(t, 1)
	s := stranger.nodes[0]
	s.start("--encrypt-key-file", stranger.secretFile("keys", wrong+"\n"), "--join", a.name, "--log-level", "debug")
	stranger.eventually(func() error {
		if !strings.Contains(a.log(), "Decrypt") && !strings.Contains(a.log(), "decrypt") {
			return fmt.Errorf("%s has not met a member with another key", a.name)
		}
		return nil
	})
	call("POST", "/election", wrong)
	call("POST", "/election", token)
	for _, path := range []string{"/", "/?format=json", "/state", "/status", "/members", "/diag", "/history", "/ready", "/metrics", "/events", "/version", "/leader", "/nothing"} {
		call("GET", path, token)
	}
	for _, n := range []*node{a, b, s} {
		for _, pid := range n.pids() {
			for _, file := range []string{"environ", "cmdline"} {
				text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
				if err != nil {
					t.Error(err)
				}
				said.Write(text)
			}
		}
	}
	b.signal(syscall.SIGQUIT) // which makes Go print the stacks of all goroutines
	b.wait()
	if !strings.Contains(b.log(), "SIGQUIT") {
		t.Error("want a trace of the crash in the log")
	}
	a.signal(syscall.SIGTERM)
	a.wait()
	for _, n := range []*node{a, b, s} {
		said.WriteString(n.log())
	}
	environment, err := os.ReadFile(filepath.Join(g.dir, "environment"))
	if err != nil {
		t.Fatal(err)
	}
	said.Write(environment)
	for _, needle := range needles {
		if i := bytes.Index(said.Bytes(), needle); i >= 0 {
			t.Errorf("a secret is told: %q", said.Bytes()[max(i-200, 0):min(i+100, said.Len())])
		}
	}
	for _, want := range []string{"DOYEN_EVENT=acquire", "doyen_build_info", `"verdict"`, "event: state", "goroutine "} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("want %q among what was looked through", want)
		}
	}
}
