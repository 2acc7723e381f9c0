package api

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"

	"doyen/agent"
)

// openapiText describes every call. It is written by hand, because half of what
// it says is in no Go type, and a test holds it against what is answered.
//
//go:embed openapi.json
var openapiText string

// openapi answers with the description of this version.
func (a *api) openapi(w http.ResponseWriter, _ *http.Request) {
	version, err := json.Marshal(agent.Version)
	if err != nil {
		panic("api: a string is not JSON: " + err.Error())
	}
	setHeaders(w, jsonType)
	w.Header()["X-Content-Type-Options"] = noSniff
	w.Write([]byte(strings.Replace(openapiText, `"{version}"`, string(version), 1)))
}
