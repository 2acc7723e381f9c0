package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	reservedIP = "203.0.113.10"
	apiToken   = "dop_v1_0123456789abcdef"
)

// digitalOcean is the part of https://docs.digitalocean.com/reference/api that is about
// reserved IPs.
var digitalOcean = provider{
	hook: "digitalocean-reserved-ip.sh", a: "3164444", b: "3164445", lasting: true,
	secrets: []string{apiToken},
	settings: func(m *mock, node string) []string {
		return []string{
			"DIGITALOCEAN_CONF=/nonexistent", "DIGITALOCEAN_RESERVED_IP=" + reservedIP,
			"DIGITALOCEAN_TOKEN_FILE=" + m.file("token", apiToken+"\n"),
			"DIGITALOCEAN_API_URL=" + m.url + "/api", "DIGITALOCEAN_METADATA=" + m.url + "/" + node,
		}
	},
	metadata: func(w http.ResponseWriter, r *http.Request, id string) {
		if r.Method+r.URL.Path != "GET/metadata/v1/id" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, id)
	},
	write: func(r *http.Request, _ []byte) bool { return r.Method != "GET" },
	refuse: func(w http.ResponseWriter, status int) {
		message := map[int]string{
			401: "Unable to authenticate you", 403: "You are not authorized to perform this operation",
			404: "The resource you were accessing could not be found.",
			422: "Droplet already has a pending event.",
			429: "API Rate limit exceeded.", 500: "Server was unable to give you a response.",
		}[status]
		reply(w, status, map[string]any{"id": strings.ToLower(http.StatusText(status)), "message": message})
	},
	api: func(m *mock, w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Header.Get("Authorization") != "Bearer "+apiToken {
			m.refuse(w, 401)
			return
		}
		const path = "/v2/reserved_ips/" + reservedIP
		switch r.Method + " " + r.URL.Path {
		case "GET " + path:
			m.tick()
			var droplet any
			if m.holder != "" {
				droplet = map[string]any{"id": json.Number(m.holder), "name": "example.com", "locked": m.action.open}
			}
			reply(w, 200, map[string]any{"reserved_ip": map[string]any{
				"ip": reservedIP, "droplet": droplet, "region": map[string]any{"slug": "nyc3"}, "locked": m.action.open,
			}})
		case "POST " + path + "/actions":
			var order struct {
				Type    string `json:"type"`
				Droplet int    `json:"droplet_id"`
			}
			if json.Unmarshal(body, &order) != nil || order.Type != "assign" || order.Droplet == 0 {
				m.refuse(w, 400)
			} else if !m.begin(strconv.Itoa(order.Droplet)) {
				m.refuse(w, 422)
			} else {
				reply(w, 201, map[string]any{"action": map[string]any{
					"id": m.action.id, "status": "in-progress", "type": "assign_ip", "resource_type": "reserved_ip",
				}})
			}
		default:
			m.refuse(w, 404)
		}
	},
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

// TestDigitalOceanThrottled: the API says in one of two ways how long to wait, and the
// hook waits if there is time.
func TestDigitalOceanThrottled(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]func() map[string]string{
		"seconds": func() map[string]string {
			return map[string]string{"Retry-After": "2", "RateLimit-Reset": "9999999999"}
		},
		"time": func() map[string]string {
			return map[string]string{"ratelimit-reset": strconv.FormatInt(time.Now().Unix()+3, 10)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMock(t, digitalOcean)
			m.meet(fault{status: 429, header: header()})
			if r := m.run(0, "a", "acquire"); r.took < 2*time.Second {
				t.Errorf("acquire took %v, want at least 2 s", r.took)
			}
			m.checkHolder(m.a)
		})
	}
	t.Run("too long", func(t *testing.T) {
		t.Parallel()
		m := newMock(t, digitalOcean)
		m.meet(fault{status: 429, header: map[string]string{"Retry-After": "3600"}})
		r := m.run(1, "a", "acquire")
		if r.took > deadline/2 || !strings.Contains(r.out, "3600 s") {
			t.Errorf("got %q after %v, want the 3600 s told at once", r.out, r.took)
		}
	})
}

// TestDigitalOceanScope: for a token without the scope droplet:read the API shows the
// address at no Droplet. The hook names the missing scope.
func TestDigitalOceanScope(t *testing.T) {
	t.Parallel()
	blind := digitalOcean
	blind.api = func(m *mock, w http.ResponseWriter, r *http.Request, body []byte) {
		m.tick()
		m.holder = ""
		digitalOcean.api(m, w, r, body)
	}
	m := newMock(t, blind)
	for _, r := range []run{m.within(15*time.Second, "a", "acquire"), m.run(1, "a", "check")} {
		if r.exit != 1 || !strings.Contains(r.out, "the token may see") {
			t.Errorf("got exit %d and %q, want 1 and the token named", r.exit, r.out)
		}
	}
}

// TestDigitalOceanLocked: the address is here, but a former leader's assignment is under
// way and will move it. acquire waits for the end, and takes the address back.
func TestDigitalOceanLocked(t *testing.T) {
	t.Parallel()
	m := newMock(t, digitalOcean)
	m.do(func() {
		m.holder, m.polls = m.b, 1
		m.begin(m.a)
	})
	m.run(0, "b", "acquire")
	m.checkHolder(m.b)
	m.do(func() {
		if m.writes != 2 {
			t.Errorf("got %d assignments, want 2", m.writes)
		}
	})
}
