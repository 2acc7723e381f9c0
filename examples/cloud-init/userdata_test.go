// Package cloudinit tests the example user data: that cloud-init accepts it, that an
// agent accepts the configuration in it, and that its script installs the package.
package cloudinit

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const userData = "user-data.yaml"

// files returns what the user data writes, by path.
func files(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(userData)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "#cloud-config\n") {
		t.Error("want #cloud-config as the first line: without it cloud-init ignores the file")
	}
	var parsed struct {
		WriteFiles []struct{ Path, Content, Permissions string } `yaml:"write_files"`
		Runcmd     [][]string
	}
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range parsed.WriteFiles {
		all[f.Path] = f.Content
	}
	for _, command := range parsed.Runcmd {
		if all[command[0]] == "" {
			t.Errorf("the user data may run only programs that it writes, got %q", command)
		}
	}
	return all
}

func TestCloudInitTakesIt(t *testing.T) {
	files(t)
	if _, err := exec.LookPath("cloud-init"); err != nil {
		t.Skip("needs cloud-init: ", err)
	}
	if out, err := exec.Command("cloud-init", "schema", "--config-file", userData).CombinedOutput(); err != nil {
		t.Errorf("cloud-init schema: %v: %s", err, out)
	}
}

func TestAgentTakesTheConfiguration(t *testing.T) {
	text := files(t)["/etc/doyen/agent.yaml"]
	// Lines that are commented out are examples too.
	for name, config := range map[string]string{"as it is": text, "with everything": strings.ReplaceAll(text, "# voters:", "voters:")} {
		file := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "run", "doyen/cmd/agent", "validate", "--config", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// The script installs and starts the fetched package if its sum is right, and does
// neither if it is wrong.
func TestInstall(t *testing.T) {
	const payload = "a package"
	for _, tc := range []struct {
		name string
		sum  [sha256.Size]byte
		want string
	}{
		{"the right package", sha256.Sum256([]byte(payload)), "apt-get install\nsystemctl enable --now doyen\n"},
		{"another package", sha256.Sum256([]byte("another")), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			did := filepath.Join(dir, "did")
			for name, text := range map[string]string{
				"install":   strings.ReplaceAll(files(t)["/run/doyen-install"], strings.Repeat("0", 2*sha256.Size), fmt.Sprintf("%x", tc.sum)),
				"curl":      "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\nprintf '" + payload + "' >\"$2\"\n",
				"apt-get":   "#!/bin/sh\n[ \"$1\" = install ] && echo \"apt-get $1\" >>" + did + "\n",
				"systemctl": "#!/bin/sh\necho \"systemctl $*\" >>" + did + "\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			install := exec.Command(filepath.Join(dir, "install"))
			install.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TMPDIR="+dir)
			out, err := install.CombinedOutput()
			if (err == nil) != (tc.want != "") {
				t.Errorf("got %v: %s", err, out)
			}
			got, _ := os.ReadFile(did) // absent if nothing was done
			if string(got) != tc.want {
				t.Errorf("want done %q, got %q", tc.want, got)
			}
		})
	}
}
