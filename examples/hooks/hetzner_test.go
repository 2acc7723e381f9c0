package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"
)

const floatingIP = 4711

// hetzner is the part of the API at https://docs.hetzner.cloud that is about floating IPs.
var hetzner = provider{
	hook: "hetzner-floating-ip.sh", a: "42", b: "43", lasting: true,
	secrets: []string{apiToken},
	settings: func(m *mock, node string) []string {
		return []string{
			"HCLOUD_CONF=/nonexistent", "HCLOUD_FLOATING_IP_ID=" + strconv.Itoa(floatingIP),
			"HCLOUD_TOKEN_FILE=" + m.file("token", apiToken), "HCLOUD_ENDPOINT=" + m.url + "/api/v1",
			"HCLOUD_METADATA=" + m.url + "/" + node + "/hetzner/v1/metadata",
		}
	},
	metadata: func(w http.ResponseWriter, r *http.Request, id string) {
		if r.Method+r.URL.Path != "GET/hetzner/v1/metadata/instance-id" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, id)
	},
	write: func(r *http.Request, _ []byte) bool { return r.Method != "GET" },
	refuse: func(w http.ResponseWriter, status int) {
		code := map[int]string{
			400: "invalid_input", 401: "unauthorized", 403: "token_readonly", 404: "not_found", 409: "conflict",
			422: "floating_ip_assigned", 423: "locked", 429: "rate_limit_exceeded", 500: "server_error",
			503: "unavailable",
		}[status]
		reply(w, status, map[string]any{"error": map[string]any{"code": code, "message": "told at length"}})
	},
	api: func(m *mock, w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Header.Get("Authorization") != "Bearer "+apiToken {
			m.refuse(w, 401)
			return
		}
		path := fmt.Sprintf("/v1/floating_ips/%d", floatingIP)
		switch r.Method + " " + r.URL.Path {
		case "GET " + path:
			m.tick()
			var server any
			if m.holder != "" {
				server = json.Number(m.holder)
			}
			reply(w, 200, map[string]any{"floating_ip": map[string]any{
				"id": floatingIP, "ip": "203.0.113.10", "type": "ipv4", "server": server, "blocked": false,
			}})
		case "POST " + path + "/actions/assign":
			var order struct {
				Server int `json:"server"`
			}
			if json.Unmarshal(body, &order) != nil || order.Server == 0 {
				m.refuse(w, 400)
			} else if m.tick(); m.holder == strconv.Itoa(order.Server) && !m.action.open {
				m.refuse(w, 422)
			} else if !m.begin(strconv.Itoa(order.Server)) {
				m.refuse(w, 423)
			} else {
				reply(w, 201, m.serverAction())
			}
		case fmt.Sprintf("GET %s/actions/%d", path, m.action.id):
			m.tick()
			reply(w, 200, m.serverAction())
		default:
			m.refuse(w, 404)
		}
	},
}

func (m *mock) serverAction() map[string]any {
	status, failure := "success", any(nil)
	switch {
	case m.action.open:
		status = "running"
	case m.action.failed:
		status, failure = "error", map[string]any{"code": "action_failed", "message": "Action failed"}
	}
	return map[string]any{"action": map[string]any{
		"id": m.action.id, "command": "assign_floating_ip", "status": status, "error": failure,
	}}
}

// TestHetznerThrottled: one request is allowed again after a second. RateLimit-Reset is
// when the full number is allowed again, in up to an hour.
func TestHetznerThrottled(t *testing.T) {
	t.Parallel()
	m := newMock(t, hetzner)
	header := map[string]string{"RateLimit-Reset": strconv.FormatInt(time.Now().Unix()+3600, 10)}
	m.meet(fault{status: 429, header: header}, fault{status: 429, header: header})
	if r := m.run(0, "a", "acquire"); r.took < 2*time.Second {
		t.Errorf("acquire took %v, want a second after each 429", r.took)
	}
	m.checkHolder(m.a)
}
