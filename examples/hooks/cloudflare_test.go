package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const zoneID = "0123456789abcdef0123456789abcdef"

// cloudflare is the part of the API at https://developers.cloudflare.com/api that is about
// the records of one name. A node knows its address, so there is no metadata service.
var cloudflare = provider{
	hook: "cloudflare-dns.sh", a: "192.0.2.1", b: "192.0.2.2",
	secrets: []string{apiToken},
	settings: func(m *mock, node string) []string {
		return []string{
			"CLOUDFLARE_CONF=/nonexistent", "CLOUDFLARE_ZONE_ID=" + zoneID, "DNS_NAME=" + leaderName,
			"CLOUDFLARE_TOKEN_FILE=" + m.file("token", apiToken), "CLOUDFLARE_ENDPOINT=" + m.url + "/api/client/v4",
			"DOYEN_ADDR=" + map[string]string{"a": m.a, "b": m.b}[node] + ":4000",
		}
	},
	write: func(r *http.Request, _ []byte) bool { return r.Method != "GET" },
	refuse: func(w http.ResponseWriter, status int) {
		reply(w, status, map[string]any{"success": false, "errors": []any{map[string]any{"code": 9109, "message": "told at length"}}, "result": nil})
	},
	api: func(m *mock, w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Header.Get("Authorization") != "Bearer "+apiToken {
			m.refuse(w, 403)
			return
		}
		const id = "372e67954025e0ba6aaa6d586b9e0b59"
		record := func() any {
			return map[string]any{"id": id, "type": "A", "name": leaderName, "content": m.holder, "ttl": 60, "proxied": false}
		}
		path := "/client/v4/zones/" + zoneID + "/dns_records"
		switch {
		case r.Method == "GET" && r.URL.Path == path && r.URL.RawQuery == "type=A&name="+leaderName:
			result := []any{}
			if m.holder != "" {
				result = append(result, record())
			}
			reply(w, 200, map[string]any{"success": true, "errors": []any{}, "result": result})
		case r.Method == "POST" && r.URL.Path == path && m.holder == "", r.Method == "PATCH" && r.URL.Path == path+"/"+id && m.holder != "":
			var order struct {
				Type, Name, Content string
				TTL                 int
			}
			if json.Unmarshal(body, &order) != nil || order.Type != "A" || order.Name != leaderName || order.TTL != 60 {
				m.refuse(w, 400)
				return
			}
			m.writes++
			m.holder = order.Content
			reply(w, 200, map[string]any{"success": true, "errors": []any{}, "result": record()})
		default:
			m.refuse(w, 404)
		}
	},
}

func TestCloudflareEvents(t *testing.T) {
	t.Parallel()
	newMock(t, cloudflare).checkRecord()
}

// checkRecord: the record follows the leader, which is b in the end. A record that is
// already right is not changed.
func (m *mock) checkRecord() {
	m.run(0, "a", "release", "DOYEN_REASON=startup")
	m.run(1, "a", "check")
	m.run(0, "a", "acquire")
	m.checkHolder(m.a)
	if _, writes := m.counted(func() { m.run(0, "a", "acquire") }); writes != 0 {
		m.t.Errorf("acquire of what is so already changed %d records", writes)
	}
	if requests, _ := m.counted(func() { m.run(0, "a", "check"); m.run(0, "b", "change") }); requests != 1 {
		m.t.Errorf("check made %d requests, want 1", requests)
	}
	m.run(0, "b", "acquire")
	m.checkHolder(m.b)
	m.run(0, "a", "release") // late
	m.run(1, "a", "check")
	m.checkHolder(m.b)
	m.run(64, "a", "no-such-event")
}

func TestCloudflareRefusal(t *testing.T) {
	t.Parallel()
	m := newMock(t, cloudflare)
	m.checkRefusals("told at length", "CLOUDFLARE_TOKEN_FILE", "/nonexistent", m.file("quoted", `a"b`), m.file("empty", ""))
}

// checkRefusals: after a temporary error the hook tries again until its deadline. A
// permanent error is reported at once, with what the provider told, and does not fail a
// check. A file of secrets that cannot be used is named, without a request.
func (m *mock) checkRefusals(told, setting string, unusable ...string) {
	t := m.t
	t.Helper()
	m.meet(fault{status: 500}, fault{status: 429}, fault{status: 500, write: true})
	m.run(0, "a", "acquire")
	m.checkHolder(m.a)
	for _, status := range []int{400, 403, 404} {
		m.meet(fault{status: status})
		var r run
		if requests, _ := m.counted(func() { r = m.run(1, "b", "acquire") }); requests != 1 || !strings.Contains(r.out, fmt.Sprint(status)) || !strings.Contains(r.out, told) {
			t.Errorf("after %d: got %d requests and %q", status, requests, r.out)
		}
		m.meet(fault{status: status})
		m.run(0, "a", "check")
	}
	m.meet(fault{}) // no answer
	if r := m.within(2*time.Second, "b", "acquire"); r.exit != 1 {
		t.Errorf("without an answer: got exit %d, want 1", r.exit)
	}
	m.meet()
	for _, path := range unusable {
		var r run
		if n, _ := m.counted(func() { r = m.run(1, "a", "acquire", setting+"="+path) }); n != 0 || !strings.Contains(r.out, path) {
			t.Errorf("got %d requests and %q, want none and %s named", n, r.out, path)
		}
	}
	m.checkHolder(m.a)
}
