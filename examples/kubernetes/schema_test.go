//go:build linux

package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doyen/examples/internal/trial"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// published is the module of Kubernetes whose tests have the OpenAPI documents of an API
// server. It is downloaded, and no dependency.
const published = "k8s.io/client-go@v0.37.2"

// documents are the files of published that describe the kinds, and the names there.
var documents = map[string]struct{ file, schema string }{
	"Namespace": {"api__v1_openapi.json", "io.k8s.api.core.v1.Namespace"},
	"Service":   {"api__v1_openapi.json", "io.k8s.api.core.v1.Service"},
	"DaemonSet": {"apis__apps__v1_openapi.json", "io.k8s.api.apps.v1.DaemonSet"},
}

// The manifest is what the API describes: it has no unknown field, none of a wrong type,
// and all that are required. A schema does not know which words a field allows.
func TestSchema(t *testing.T) {
	schemas := schemas(t)
	data, err := os.ReadFile("doyen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if err := valid(schemas, text); err != nil {
		t.Error(err)
	}
	for what, change := range map[string][2]string{
		"a misspelt field":         {"readOnlyRootFilesystem", "readOnlyRootFileSystem"},
		"a misspelt field deep in": {"fieldPath:", "fieldpath:"},
		"a word for a number":      {"runAsUser: 0", "runAsUser: root"},
		"a number for a word":      {"image: registry.example.org/doyen:0.1.0", "image: 7"},
		"a mount without a path":   {", mountPath: /run/doyen", ""},
		"a set without a selector": {"  selector:\n    matchLabels:\n      app: doyen\n", ""},
	} {
		mutant := strings.Replace(text, change[0], change[1], 1)
		if mutant == text {
			t.Fatalf("%s: the manifest has no %q", what, change[0])
		}
		if valid(schemas, mutant) == nil {
			t.Errorf("%s was not noticed", what)
		}
	}
}

// valid validates each object of the text.
func valid(schemas map[string]*jsonschema.Schema, text string) error {
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var object map[string]any
		if err := d.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		asJSON, err := json.Marshal(object)
		if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return err
		}
		schema := schemas[object["kind"].(string)]
		if err := schema.Validate(value); err != nil {
			return err
		}
	}
}

// schemas downloads the descriptions, and compiles them so that they allow no field
// that they do not name.
func schemas(t *testing.T) map[string]*jsonschema.Schema {
	download := exec.Command("go", "mod", "download", "-json", published)
	download.Dir = t.TempDir() // away from our own go.mod
	out, err := download.Output()
	if err != nil {
		trial.Missing(t, "this test needs %s: %v: %s", published, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	added := map[string]bool{}
	all := map[string]*jsonschema.Schema{}
	for kind, d := range documents {
		if !added[d.file] {
			added[d.file] = true
			f, err := os.Open(filepath.Join(module.Dir, "openapi/openapitest/testdata", d.file))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			doc, err := jsonschema.UnmarshalJSON(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range doc.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
				if s := s.(map[string]any); s["properties"] != nil {
					s["additionalProperties"] = false
				}
			}
			if err := compiler.AddResource(d.file, doc); err != nil {
				t.Fatal(err)
			}
		}
		if all[kind], err = compiler.Compile(d.file + "#/components/schemas/" + d.schema); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
