package api

import (
	"embed"
	"net/http"
	"path"

	"github.com/go-chi/chi/v5"
)

// dashboardFiles are the page at GET / and what it is made of, as they are:
// there is no build step.
//
//go:embed dashboard
var dashboardFiles embed.FS

// assetTypes are the content types of what the page is made of; nothing else
// is handed out.
var assetTypes = map[string][]string{
	".html": {"text/html; charset=utf-8"},
	".css":  {"text/css; charset=utf-8"},
	".js":   {"text/javascript; charset=utf-8"},
	".svg":  {"image/svg+xml"},
}

// policy lets the page load what this member serves and nothing else: no code
// or style in the markup, no other origin, no frame around it, and no string
// that becomes markup. Names are chosen by the operators of members, so the page
// must be safe even if it had a fault.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// root answers a browser with the dashboard and all others with the list
// of calls.
func (a *api) root(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if r.URL.Query().Get("format") == "" && accepts(r, "text/html") {
		asset(w, "index.html")
		return
	}
	a.index(w, r)
}

// dashboard answers with one file of the page.
func (a *api) dashboard(w http.ResponseWriter, r *http.Request) {
	if !asset(w, chi.URLParam(r, "file")) {
		a.notFound(w, r)
	}
}

// asset writes a file of the page; false: there is none of that name.
func asset(w http.ResponseWriter, name string) bool {
	contentType, known := assetTypes[path.Ext(name)]
	if !known {
		return false
	}
	content, err := dashboardFiles.ReadFile("dashboard/" + name)
	if err != nil {
		return false
	}
	setHeaders(w, contentType)
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Write(content)
	return true
}
