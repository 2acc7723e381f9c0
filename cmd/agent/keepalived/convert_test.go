package keepalived

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var update = flag.Bool("update", false, "write what is made as what is wanted")

// Each configuration of testdata, in the forms that people publish, becomes the
// file beside it.
func TestConvert(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) < 30 {
		t.Fatalf("want at least 30 configurations, got %d, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		var o Options
		if name == "per-host.conf" {
			o.ConfigID = "west"
		}
		out, err := Convert(os.DirFS("testdata"), name, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := strings.TrimSuffix(file, ".conf") + ".yaml"
		if *update {
			if err := os.WriteFile(want, []byte(out.YAML), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := os.ReadFile(want); err != nil || string(text) != out.YAML {
			t.Errorf("%s: want what %s says (%v), got\n%s", name, want, err, out.YAML)
		}
	}
}

// Two hosts whose files differ as the two of a pair do become one file.
func TestSameFileFromBothHosts(t *testing.T) {
	var made [2]string
	for i, name := range []string{"active-active.conf", "active-active-peer.conf"} {
		out, err := Convert(os.DirFS("testdata"), name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, settings, _ := strings.Cut(out.YAML, "\n") // without the name of the source
		made[i], _, _ = strings.Cut(settings, "# Not carried over")
	}
	if made[0] != made[1] {
		t.Errorf("want the same, got\n%s\nand\n%s", made[0], made[1])
	}
}

// No line is passed over in silence: it is used, or named.
func TestEveryLineIsUsedOrNamed(t *testing.T) {
	const source = `vrrp_instance VI {
	interface eth0
	some_new_word 7
	some_block {
		with lines
	}
	virtual_ipaddress {
		192.0.2.1/24 some_option
	}
}
some_block_outside {
}
`
	out, err := Convert(fstest.MapFS{"k.conf": {Data: []byte(source)}}, "k.conf", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []int{3, 4, 8, 11}
	if len(out.Notes) != len(want) {
		t.Fatalf("want notes on the lines %v, got %v", want, out.Notes)
	}
	for i, n := range out.Notes {
		if n.Line != want[i] || !strings.Contains(out.YAML, "# "+n.String()+"\n") {
			t.Errorf("want a note on line %d, in the file as well, got %v", want[i], n)
		}
	}
}

// A word more at the end of any line of the configurations is carried over or named.
func TestEveryWordIsUsedOrNamed(t *testing.T) {
	const word = "word9"
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.ReplaceAll(string(text), "\r", ""), "\n")
		tree := fstest.MapFS{}
		included, _ := filepath.Glob("testdata/include.d/*")
		for _, other := range append(included, files...) {
			if data, err := os.ReadFile(other); err == nil {
				tree[strings.TrimPrefix(other, "testdata/")] = &fstest.MapFile{Data: data}
			}
		}
		var blocks []int // the lines that open those around the line; a note on one is for all in it
		for k, l := range lines {
			words := strings.Fields(l)
			for range strings.Count(l, "{") {
				blocks = append(blocks, k+1)
			}
			blocks = blocks[:max(0, len(blocks)-strings.Count(l, "}"))]
			// A definition is no line, a comment has no words, and an include is of files.
			if len(words) == 0 || strings.ContainsAny(l, "$@#!\\{}\"") || words[0] == "include" || k > 0 && strings.HasSuffix(lines[k-1], `\`) {
				continue
			}
			tried++
			more := slices.Clone(lines)
			more[k] = l + " " + word
			tree[name] = &fstest.MapFile{Data: []byte(strings.Join(more, "\n"))}
			out, err := Convert(tree, name, Options{ConfigID: "west"})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			named := slices.ContainsFunc(out.Notes, func(n Note) bool { return n.Line == k+1 || slices.Contains(blocks, n.Line) })
			if !named && !strings.Contains(out.YAML, word) {
				t.Errorf("%s:%d: %s: the word is neither carried over nor named", name, k+1, more[k])
			}
		}
	}
	if tried < 300 {
		t.Errorf("tried %d lines, which is too few", tried)
	}
}

// What one line lists, or several instances of a group say, is carried over or named.
func TestNothingIsDropped(t *testing.T) {
	const source = `global_defs {
	default_interface eth0
}
vrrp_script a {
	script /bin/a
	fall 2
	fall 3
}
vrrp_script b {
	script /bin/b
}
vrrp_script c {
	script /bin/c
}
vrrp_instance ONE {
	priority 150
	unicast_src_ip 10.0.0.1
	unicast_peer { 10.0.0.2 10.0.0.3 }
	virtual_ipaddress { 10.0.0.100/24 10.0.0.101/24 dev eth1 }
	track_script { a b weight 5 }
	track_interface { eth2 weight 10 eth3 }
	notify_master /bin/m someone
}
vrrp_instance TWO {
	priority 90
	nopreempt
	preempt_delay 5
	unicast_src_ip 10.1.0.1
	virtual_ipaddress {
		10.1.0.100
	}
}
vrrp_sync_group G {
	group { ONE TWO THREE }
}
`
	out, err := Convert(fstest.MapFS{"k.conf": {Data: []byte(source)}}, "k.conf", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"seeds: [10.0.0.1, 10.0.0.2, 10.0.0.3]",
		"floating-ip: [10.0.0.100/24@eth0, 10.0.0.101/24@eth1, 10.1.0.100/32@eth0]",
		"#   /bin/a\n#   /bin/b\n", "eth2/carrier", "eth3/carrier",
		"# k.conf:6: fall 2: line 7 says it again, and the last counts",
		"# k.conf:12: vrrp_script c: no instance or group tracks it",
		"# k.conf:20: b weight 5: a priority that changes",
		"# k.conf:21: eth2 weight 10: a priority that changes",
		`# k.conf:22: notify_master /bin/m someone: this is carried over without "someone"`,
		"# k.conf:25: priority 90: the instances of a sync group move together, by the priority of the first, which is 150",
		"# k.conf:26: nopreempt: another instance of its sync group preempts",
		"# k.conf:28: unicast_src_ip 10.1.0.1: the address of this host is not among the seeds",
		"# k.conf:34: ONE TWO THREE: there is no vrrp_instance THREE",
	} {
		if !strings.Contains(out.YAML, want) {
			t.Errorf("want %q in\n%s", want, out.YAML)
		}
	}
}

// Errors name files as the user does.
func TestErrorsNameWholePaths(t *testing.T) {
	files := fstest.MapFS{"etc/k/open.conf": {Data: []byte("a {\n")}, "etc/k/missing.conf": {Data: []byte("include /etc/k/dir\n")}, "etc/k/dir": {Mode: fs.ModeDir}}
	for name, want := range map[string]string{
		"open.conf": "/etc/k/open.conf line 1: the block", "none.conf": "reading /etc/k/none.conf: file does not exist",
		"missing.conf": "reading /etc/k/dir: ",
	} {
		_, err := Convert(files, "etc/k/"+name, Options{Root: "/"})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: want an error that begins with %q, got %v", name, want, err)
		}
	}
}

// What cannot be read is an error that says where.
func TestUnreadable(t *testing.T) {
	const instance = "vrrp_instance VI {\n interface eth0\n}\n"
	for source, want := range map[string]string{
		"":                               "there is no vrrp_instance",
		"vrrp_instance VI {\n state\n":   "k.conf line 1: the block of vrrp_instance is not closed",
		instance + "}\n":                 "k.conf line 4: this } closes no block",
		"{\n}\n":                         "k.conf line 1: this { opens no block",
		"include k.conf\n":               "include one another",
		"$A=${A} ${A}\n$A\n" + instance:  "",
		instance + "include [\n":         "include [: syntax error in pattern",
		"\x00\xff{\n}" + instance + "${": "",
	} {
		_, err := Convert(fstest.MapFS{"k.conf": {Data: []byte(source)}}, "k.conf", Options{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want an error with %q, got %v", source, want, err)
		}
	}
}
