package api

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"doyen/api/diagnosis"
)

// The values of the headers that every answer has. The slices are shared by all
// answers and have no spare capacity, so adding to a header copies them.
var (
	jsonType = []string{"application/json"}
	textType = []string{"text/plain; charset=utf-8"}
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
)

// maxText limits what another can make a sentence of ours grow by, in bytes.
const maxText = diagnosis.MaxText

// setHeaders writes to the map itself because the keys are canonical already.
// It sets no more than these two: on /leader every header costs two or three
// hundredths of the whole answer.
func setHeaders(w http.ResponseWriter, contentType []string) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore
}

// json answers with v, indented because people read it with curl.
func (a *api) json(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		a.log.Error("an answer is not JSON", "err", err)
		status, body = http.StatusInternalServerError, []byte(`{"error": "a fault in the program; the log has the details"}`)
	}
	setHeaders(w, jsonType)
	// Old browsers would look for HTML in what other members say.
	w.Header()["X-Content-Type-Options"] = noSniff
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// fail answers with an error, one sentence.
func (a *api) fail(w http.ResponseWriter, status int, sentence string) {
	a.json(w, status, map[string]string{"error": sentence})
}

// text answers 200 with a text that is not the caller's or a peer's.
func text(w http.ResponseWriter, s string) {
	setHeaders(w, textType)
	w.Write([]byte(s))
}

// wantsJSON tells whether a call that has both forms should answer JSON: by
// ?format=json, or by an Accept header that lists it. Wildcards mean text.
func wantsJSON(r *http.Request) (bool, error) {
	if r.URL.RawQuery != "" {
		switch format := r.URL.Query().Get("format"); format {
		case "json":
			return true, nil
		case "text":
			return false, nil
		case "":
		default:
			return false, fmt.Errorf("format %q is neither json nor text", printable(format, maxText))
		}
	}
	return accepts(r, "application/json"), nil
}

// accepts tells whether an Accept header lists a content type by its name.
func accepts(r *http.Request, contentType string) bool {
	for _, accept := range r.Header["Accept"] {
		if accept == "*/*" {
			continue
		}
		for entry := range strings.SplitSeq(accept, ",") {
			t, params, err := mime.ParseMediaType(entry)
			if err == nil && t == contentType && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}

// duration reads a parameter of the query that is a duration, within bounds;
// absent it is the one given.
func duration(r *http.Request, name string, absent, shortest, longest time.Duration) (time.Duration, error) {
	if r.URL.RawQuery == "" {
		return absent, nil
	}
	given := r.URL.Query().Get(name)
	if given == "" {
		return absent, nil
	}
	d, err := time.ParseDuration(given)
	if err != nil || d < shortest || d > longest {
		return 0, fmt.Errorf("%s of %q is no duration from %v to %v, such as 2s", name, printable(given, maxText), shortest, longest)
	}
	return d, nil
}

// patience moves the deadline of the answer for a handler that takes up to d
// before it has one. A writer that has no deadlines needs none moved.
func patience(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + writeTimeout))
}

// printable makes a text of others safe for a sentence of ours.
func printable(s string, limit int) string { return diagnosis.Printable(s, limit) }

// unix is a time as states give it, in seconds.
func unix(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
