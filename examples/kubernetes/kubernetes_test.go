//go:build linux

// Package kubernetes tests the manifest without a cluster: by the schema of the API, and
// by its command line, which the program runs with no more rights than the manifest gives.
package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doyen/examples/internal/trial"

	"go.yaml.in/yaml/v3"
)

// patience is how long the program may take to lead.
const patience = 60 * time.Second

// The types have the fields that the tests look at, by their names in the API.
type (
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Namespace string }
		Spec       yaml.Node
	}
	service struct {
		ClusterIP                string `yaml:"clusterIP"`
		PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
		Selector                 map[string]string
	}
	daemonSet struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
	pod struct {
		HostNetwork bool   `yaml:"hostNetwork"`
		DNSPolicy   string `yaml:"dnsPolicy"`
		Containers  []container
		Volumes     []volume
	}
	container struct {
		Args            []string
		Env, Ports      []struct{ Name string }
		SecurityContext struct {
			Capabilities struct{ Drop, Add []string }
		} `yaml:"securityContext"`
		LivenessProbe  probe `yaml:"livenessProbe"`
		ReadinessProbe probe `yaml:"readinessProbe"`
		VolumeMounts   []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	volume struct {
		Name     string
		HostPath struct{ Path string } `yaml:"hostPath"`
	}
	probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	}
)

// manifest reads the daemon set and the service from the file, which must fit together.
func manifest(t *testing.T) (daemonSet, service) {
	t.Helper()
	text, err := os.ReadFile("doyen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set daemonSet
	var svc service
	var kinds []string
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, o.APIVersion+" "+o.Kind)
		if o.Kind != "Namespace" && o.Metadata.Namespace != "doyen" {
			t.Errorf("%s is in the namespace %q", o.Kind, o.Metadata.Namespace)
		}
		switch o.Kind {
		case "DaemonSet":
			err = o.Spec.Decode(&set)
		case "Service":
			err = o.Spec.Decode(&svc)
		}
		if err != nil {
			t.Fatalf("%s: %v", o.Kind, err)
		}
	}
	if want := []string{"v1 Namespace", "v1 Service", "apps/v1 DaemonSet"}; !slices.Equal(kinds, want) {
		t.Fatalf("want %v, got %v", want, kinds)
	}
	return set, svc
}

func TestManifest(t *testing.T) {
	set, svc := manifest(t)
	p := set.Template.Spec
	if !maps.Equal(set.Selector.MatchLabels, set.Template.Metadata.Labels) || !maps.Equal(svc.Selector, set.Template.Metadata.Labels) {
		t.Errorf("selectors and labels differ: %v, %v, %v", set.Selector, svc.Selector, set.Template.Metadata.Labels)
	}
	if svc.ClusterIP != "None" || !svc.PublishNotReadyAddresses {
		t.Errorf("want a name that stands for all pods, ready or not, got %+v", svc)
	}
	if !p.HostNetwork || p.DNSPolicy != "ClusterFirstWithHostNet" || len(p.Containers) != 1 {
		t.Fatalf("want one container in the host's network that finds the service, got %+v", p)
	}
	c := p.Containers[0]
	if got := c.SecurityContext.Capabilities; !slices.Equal(got.Drop, []string{"ALL"}) || !slices.Equal(got.Add, []string{"NET_ADMIN", "NET_RAW"}) {
		t.Errorf("want two capabilities, got %+v", got)
	}
	for _, m := range c.VolumeMounts {
		if i := slices.IndexFunc(p.Volumes, func(v volume) bool { return v.Name == m.Name }); i < 0 || p.Volumes[i].HostPath.Path != m.MountPath {
			t.Errorf("the mount %+v has no volume of the host", m)
		}
	}
	text, err := os.ReadFile("../../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct{ Paths map[string]any }
	if err := json.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	for _, probe := range []probe{c.LivenessProbe, c.ReadinessProbe} {
		if api.Paths[probe.HTTPGet.Path] == nil || probe.HTTPGet.Port != c.Ports[0].Name {
			t.Errorf("%+v is no call of the program", probe.HTTPGet)
		}
	}
}

// The program accepts the manifest's command line, and leads and holds the address with
// only the capabilities of the manifest.
func TestCommandLine(t *testing.T) {
	trial.Needs(t, "unshare", "setpriv", "nsenter", "ip")
	if os.Geteuid() != 0 {
		trial.Missing(t, "this test needs root")
	}
	set, _ := manifest(t)
	c := set.Template.Spec.Containers[0]
	dir := t.TempDir()
	agent := trial.Build(t)
	caps := "-all"
	for _, c := range c.SecurityContext.Capabilities.Add {
		caps += ",+" + strings.ToLower(c)
	}
	args := []string{"--net", "sh", "-euc", `ip link set lo up
ip link add eth0 type veth peer name other
ip link set other up
ip addr add 192.0.2.1/24 dev eth0
ip link set eth0 up
exec setpriv --bounding-set "$1" --inh-caps "$1" --no-new-privs -- "$2" $3`}
	line := strings.Join(c.Args, " ")
	line = strings.ReplaceAll(line, "--seeds=doyen", "--seeds=192.0.2.1 --lone-wait=0s")
	line = strings.ReplaceAll(line, "--state-dir=/var/lib/doyen", "--state-dir="+dir+"/state")
	cmd := exec.Command("unshare", append(args, "sh", caps, agent, line)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir, c.Env[0].Name+"=192.0.2.1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer func() { // waits until the log is complete
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("log:\n%s", log.String())
		}
	}()
	within := func(args ...string) (string, error) {
		out, err := exec.Command("nsenter", append([]string{"--net", "--target", fmt.Sprint(cmd.Process.Pid)}, args...)...).CombinedOutput()
		return string(out), err
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		leader, err := within(agent, "leader")
		addresses, err2 := within("ip", "-o", "addr", "show", "dev", "eth0")
		if err == nil && err2 == nil && leader == "192.0.2.1:4000\n" && strings.Contains(addresses, "192.0.2.10/") {
			return
		}
		if time.Now().After(end) {
			t.Errorf("got leader %q, %v, and addresses %q, %v", leader, err, addresses, err2)
			return
		}
	}
}
