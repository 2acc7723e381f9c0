package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"doyen/agent"
	"doyen/agent/store"
	"doyen/api/diagnosis"
)

// description is /openapi.json as a test reads it: nothing may be in an answer
// that it does not name.
type description struct {
	t        *testing.T
	root     map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool // "GET /path 200", answers that have been checked
}

func describe(t *testing.T) *description {
	t.Helper()
	w := ask(t, New(quiet(newFake())), "GET", "/openapi.json")
	doc, err := jsonschema.UnmarshalJSON(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("want 200 and JSON, got %d, %v", w.Code, err)
	}
	closeObjects(doc)
	d := &description{t: t, root: doc.(map[string]any), compiler: jsonschema.NewCompiler(), seen: map[string]bool{}}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return d
}

// closeObjects makes every schema that lists properties allow no others.
func closeObjects(node any) {
	switch n := node.(type) {
	case map[string]any:
		if _, lists := n["properties"].(map[string]any); lists && n["additionalProperties"] == nil {
			n["additionalProperties"] = false
		}
		for _, child := range n {
			closeObjects(child)
		}
	case []any:
		for _, child := range n {
			closeObjects(child)
		}
	}
}

// at returns what is at a place in the document, through references, and where
// that really is; nil if there is nothing.
func (d *description) at(steps ...string) (node any, place string) {
	node, place = d.root, "#"
	for _, step := range steps {
		object, ok := node.(map[string]any)
		if !ok || object[step] == nil {
			return nil, ""
		}
		node = object[step]
		place += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
		if object, ok := node.(map[string]any); ok {
			if ref, ok := object["$ref"].(string); ok {
				node, place = d.at(strings.Split(ref, "/")[1:]...)
			}
		}
	}
	return node, place
}

// validate checks JSON against the schema at a place.
func (d *description) validate(place string, text []byte) error {
	schema, err := d.compiler.Compile("openapi.json" + place)
	if err != nil {
		d.t.Fatalf("%s: %v", place, err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// schema is the place of a schema of the components.
func schema(name string) string { return "#/components/schemas/" + name }

// check holds an answer against the description of its call.
func (d *description) check(method, path string, w *httptest.ResponseRecorder) {
	d.t.Helper()
	name := fmt.Sprintf("%s %s %d", method, path, w.Code)
	where := []string{"paths", path, strings.ToLower(method), "responses", fmt.Sprint(w.Code)}
	if node, _ := d.at(where...); node == nil {
		d.t.Errorf("%s: no such answer is described: %s", name, w.Body)
		return
	}
	d.seen[name] = true
	content, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil {
		d.t.Errorf("%s: %v", name, err)
	}
	_, place := d.at(append(where, "content", content, "schema")...)
	text := w.Body.Bytes()
	if content != "application/json" {
		text, _ = json.Marshal(w.Body.String())
	}
	if place == "" {
		d.t.Errorf("%s: %s is no described content type", name, content)
	} else if err := d.validate(place, text); err != nil {
		d.t.Errorf("%s: %v\n%s", name, err, text)
	}
}

// TestOpenAPIHasEveryCall compares the description with the table of contents.
func TestOpenAPIHasEveryCall(t *testing.T) {
	d := describe(t)
	var want, got []string
	for _, c := range newAPI(quiet(newFake())).calls {
		want = append(want, c.Method+" "+c.Path)
	}
	ids := map[any]bool{}
	for path, item := range d.root["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			got = append(got, strings.ToUpper(method)+" "+path)
			ids[operation.(map[string]any)["operationId"]] = true
			_, open := operation.(map[string]any)["security"]
			if open != (method == "get" || method == "options") {
				t.Errorf("%s %s: that it needs no credentials is said %v", method, path, open)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("calls: want %q, got %q", want, got)
	}
	if len(ids) != len(got) {
		t.Errorf("operation ids: want %d that differ, got %d", len(got), len(ids))
	}
	if version := d.root["info"].(map[string]any)["version"]; version != agent.Version {
		t.Errorf("version: want %s, got %v", agent.Version, version)
	}
}

// TestOpenAPISchemasAreTheTypes fills every type that is answered, once with
// something everywhere and once with nothing, and compares both ways.
func TestOpenAPISchemasAreTheTypes(t *testing.T) {
	d := describe(t)
	for name, value := range map[string]any{
		"State": agent.State{}, "Election": agent.ElectionInfo{}, "HookRun": agent.HookRun{}, "Health": agent.Health{}, "Finding": agent.Finding{}, "Leader": agent.Leader{},
		"Lease": agent.Lease{}, "Member": agent.MemberInfo{}, "Leadership": agent.Leadership{}, "Readiness": agent.Readiness{},
		"Result": agent.Result{}, "LeaderEvent": agent.LeaderEvent{}, "MemberEvent": agent.MemberEvent{},
		"ElectionEvent": agent.ElectionEvent{}, "MaintenanceEvent": agent.MaintenanceEvent{},
		"AddressEvent": agent.AddressEvent{}, "Held": Held{},
		"StoreResult": store.Result{}, "StoreValue": store.Value{}, "StoreChange": store.Change{},
		"Verdict": diagnosis.Verdict{}, "Diagnosis": diagAnswer{},
	} {
		full, empty := reflect.New(reflect.TypeOf(value)).Elem(), map[string]any{}
		fill(full)
		text, err := json.Marshal(full.Interface())
		if err != nil {
			t.Fatal(err)
		}
		// Words that are one of a list are no "x"; the answers are checked for them.
		text = []byte(strings.NewReplacer(`"mode":"x"`, `"mode":"quorum"`, `"phase":"x"`, `"phase":"holding"`,
			`"status":"x"`, `"status":"agreed"`, `"change":"x"`, `"change":"join"`, `{"x":"x"}`, `{"x":{"error":"x"}}`).Replace(string(text)))
		if err := d.validate(schema(name), text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		node, _ := d.at("components", "schemas", name)
		described := node.(map[string]any)
		if got, want := keys(described["properties"].(map[string]any)), keys(all); !slices.Equal(got, want) {
			t.Errorf("%s, properties: want %q, got %q", name, want, got)
		}
		text, err = json.Marshal(value)
		if err = errors.Join(err, json.Unmarshal(text, &empty)); err != nil {
			t.Fatal(err)
		}
		var required []string
		for _, r := range described["required"].([]any) {
			required = append(required, r.(string))
		}
		slices.Sort(required)
		if want := keys(empty); !slices.Equal(required, want) {
			t.Errorf("%s, required: want %q, got %q", name, want, required)
		}
	}
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// fill puts something other than zero everywhere.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1e9, 5e6)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element)
		v.SetMapIndex(reflect.ValueOf("x"), element)
	case reflect.Interface:
		v.Set(reflect.ValueOf("x"))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Uint8: // of bytes, which no answer has as JSON
	default:
		panic("no value for a " + v.Type().String())
	}
}

// TestOpenAPIAnswers makes every call answer with every status that is
// described, and holds the answers against the description.
func TestOpenAPIAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := describe(t)
		well := newFake()
		well.history = []agent.Leadership{{Term: 7, Leader: "a", From: time.Unix(1e9, 0), Reason: "elected"}}
		well.state.MaintenanceUntil = new(time.Unix(2e9, 0))
		well.state.Health = &agent.Health{Error: "exit status 1"}
		ill := newFake()
		ill.leader, ill.isLeader, ill.ready = nil, false, agent.Readiness{Reasons: []string{"no member could follow"}}
		ill.live, ill.joined = errors.New("late"), errors.New("not yet")
		ill.survey = func(context.Context) map[string]agent.Answer {
			return map[string]agent.Answer{"a": says(healthy("a")), "b": {Err: errQuiet}}
		}
		ill.change = func(context.Context, string) (agent.Result, error) { return agent.Result{}, agent.ErrRefused }
		slow := newFake()
		slow.change = func(ctx context.Context, _ string) (agent.Result, error) {
			<-ctx.Done()
			return agent.Result{}, ctx.Err()
		}
		busy := newAPI(quiet(newFake()))
		for range maxStreams {
			busy.streams.enter(netip.MustParseAddr("127.0.0.1"))
		}
		for range maxSurveys {
			busy.surveys <- struct{}{}
		}
		for range maxHolds {
			busy.holds <- struct{}{}
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		well.events = func(context.Context) <-chan agent.Event { return nil }
		as := func(accept string) func(*http.Request) { return header("Accept", accept) }
		call := func(h http.Handler, method, path, query string, set ...func(*http.Request)) {
			target := strings.Replace(path, "{file}", "main.js", 1) + query
			if strings.HasPrefix(query, "/") {
				target = query
			}
			d.check(method, path, ask(t, h, method, target, set...))
		}
		for path := range d.root["paths"].(map[string]any) {
			for _, method := range []string{"POST", "PUT"} {
				if node, _ := d.at("paths", path, strings.ToLower(method)); node == nil || path == "/hold" {
					continue
				}
				call(New(quiet(well)), method, path, "")
				call(New(quiet(well)), method, path, "", from("10.0.0.9:1"))
				call(New(quiet(well)), method, path, "", header("Sec-Fetch-Site", "cross-site"))
				call(New(quiet(well)), method, path, "", func(r *http.Request) {
					r.Body = readFailing{}
				})
				call(New(quiet(ill)), method, path, "")
				call(New(quiet(slow)), method, path, "")
			}
			if node, _ := d.at("paths", path, "get"); node == nil {
				continue
			}
			for _, f := range []*fake{well, ill} {
				if path == "/events" {
					continue
				}
				call(New(quiet(f)), "GET", path, "")
				call(New(quiet(f)), "GET", path, "", as("application/json"))
			}
		}
		h := New(quiet(well))
		for path, item := range d.root["paths"].(map[string]any) {
			for method := range item.(map[string]any) {
				call(h, strings.ToUpper(method), path, "?%zz")
			}
		}
		call(h, "GET", "/", "", as("text/html"))
		for _, file := range []string{"index.html", "look.css", "icon.svg", "none.js"} {
			call(h, "GET", "/dashboard/{file}", "/dashboard/"+file)
		}
		for _, f := range []*fake{well, ill} {
			call(New(quiet(f)), "OPTIONS", "/", "")
		}
		for _, f := range []*fake{well, ill, slow} {
			call(New(quiet(f)), "POST", "/join", "?addr=10.0.0.4:4000")
		}
		call(h, "GET", "/", "?format=xml")
		call(h, "GET", "/leader", "?format=xml")
		call(h, "GET", "/diag", "?timeout=1h")
		call(busy, "GET", "/diag", "")
		call(h, "GET", "/events", "?lease=1h")
		call(busy, "GET", "/events", "")
		call(h, "GET", "/events", "", func(r *http.Request) { *r = *r.WithContext(gone) })
		call(h, "POST", "/hold", "", func(r *http.Request) { *r = *r.WithContext(gone) })
		call(h, "POST", "/hold", "", from("10.0.0.9:1"))
		call(h, "POST", "/hold", "", header("Sec-Fetch-Site", "cross-site"))
		call(h, "POST", "/hold", "?wait=x")
		for path, item := range d.root["paths"].(map[string]any) {
			for method := range item.(map[string]any) {
				if node, _ := d.at("paths", path, method, "responses", "404"); node != nil && !strings.Contains(path, "{") {
					call(h, strings.ToUpper(method), path, "?election=none")
				}
			}
		}
		call(New(quiet(ill)), "POST", "/hold", "")
		call(busy, "POST", "/hold", "")
		call(h, "POST", "/step-down", "?for=1h")
		call(h, "POST", "/step-down", "?for=0")

		callStore(call)

		for path, item := range d.root["paths"].(map[string]any) {
			for method, operation := range item.(map[string]any) {
				for status := range operation.(map[string]any)["responses"].(map[string]any) {
					name := fmt.Sprintf("%s %s %s", strings.ToUpper(method), path, status)
					if status != "default" && !d.seen[name] {
						t.Errorf("%s is described, and no call was answered so", name)
					}
				}
			}
		}
	})
}

// readFailing is a body that does not arrive.
type readFailing struct{}

func (readFailing) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }
func (readFailing) Close() error             { return nil }
