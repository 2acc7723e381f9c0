package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	allocationID = "eipalloc-0123456789abcdef0"
	region       = "eu-central-1"
	accessKey    = "ASIAIOSFODNN7EXAMPLE"
	secretKey    = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	sessionToken = "IQoJb3JpZ2luX2VjEXAMPLE//token+with/signs=="
	imdsToken    = "AQAEAEXAMPLE-imds_token=="
)

// aws is the EC2 Query API and the instance metadata service, version 2 only.
var aws = provider{
	hook: "aws-elastic-ip.sh", a: "eni-0aaaaaaaaaaaaaaaa", b: "eni-0bbbbbbbbbbbbbbbb",
	secrets: []string{secretKey, sessionToken, imdsToken},
	settings: func(m *mock, node string) []string {
		return []string{
			"AWS_CONF=/nonexistent", "AWS_ALLOCATION_ID=" + allocationID,
			"AWS_ENDPOINT_URL_EC2=" + m.url + "/api",
			"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + m.url + "/" + node,
		}
	},
	metadata: imds,
	write: func(_ *http.Request, body []byte) bool {
		return strings.Contains(string(body), "Action=AssociateAddress")
	},
	refuse: func(w http.ResponseWriter, status int) {
		refuseEC2(w, status, map[int]string{
			400: "IncorrectInstanceState", 401: "AuthFailure", 403: "UnauthorizedOperation", 404: "InvalidAllocationID.NotFound",
			500: "InternalError", 503: "RequestLimitExceeded",
		}[status])
	},
	api: func(m *mock, w http.ResponseWriter, r *http.Request, body []byte) {
		if why := checkSignature(r, body, region, "ec2"); why != "" {
			m.t.Logf("the signature is refused: %s", why)
			m.refuse(w, 401)
			return
		}
		form, err := url.ParseQuery(string(body))
		if err != nil || r.Method != "POST" || form.Get("Version") != "2016-11-15" {
			m.refuse(w, 400)
			return
		}
		switch form.Get("Action") {
		case "DescribeAddresses":
			if form.Get("AllocationId.1") != allocationID {
				m.refuse(w, 404)
				return
			}
			association := ""
			if m.holder != "" {
				association = "\n<associationId>eipassoc-0123</associationId><networkInterfaceId>" + m.holder + "</networkInterfaceId>"
			}
			fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<DescribeAddressesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
    <requestId>f7de5e98-491a-4c19-a92d-908d6EXAMPLE</requestId>
    <addressesSet>
        <item>
            <publicIp>203.0.113.10</publicIp>
            <allocationId>%s</allocationId>%s
            <domain>vpc</domain>
        </item>
    </addressesSet>
</DescribeAddressesResponse>`, allocationID, association)
		case "AssociateAddress":
			if form.Get("AllocationId") != allocationID || form.Get("AllowReassociation") != "true" {
				m.refuse(w, 404)
				return
			}
			m.writes++
			m.holder = form.Get("NetworkInterfaceId")
			fmt.Fprint(w, `<AssociateAddressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><return>true</return>
<associationId>eipassoc-0456</associationId></AssociateAddressResponse>`)
		default:
			m.refuse(w, 400)
		}
	},
}

func refuseEC2(w http.ResponseWriter, status int, code string) {
	if code == "InvalidAllocationID.NotFound" {
		status = 400
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>%s</Code><Message>Told at length.</Message></Error></Errors><RequestID>ea966190</RequestID></Response>`, code)
}

func imds(w http.ResponseWriter, r *http.Request, id string) {
	const mac = "02:29:96:8f:6a:2d"
	if r.URL.Path == "/latest/api/token" {
		if r.Method != "PUT" || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, imdsToken)
		return
	}
	if r.Method != "GET" || r.Header.Get("X-aws-ec2-metadata-token") != imdsToken {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	entry, ok := map[string]string{
		"mac":              mac,
		"placement/region": region,
		"network/interfaces/macs/" + mac + "/interface-id": id,
		"iam/security-credentials/":                        "doyen",
		"iam/security-credentials/doyen": fmt.Sprintf(`{
  "Code" : "Success", "Type" : "AWS-HMAC", "AccessKeyId" : %q,
  "SecretAccessKey" : %q, "Token" : %q, "Expiration" : "2030-01-01T00:00:00Z" }`, accessKey, secretKey, sessionToken),
	}[strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, entry)
}

// checkSignature computes the signature, version 4, of a request to a service of a region
// and returns what is wrong. A query must be in the order of its names.
func checkSignature(r *http.Request, body []byte, region, service string) string {
	date := r.Header.Get("X-Amz-Date")
	if at, err := time.Parse("20060102T150405Z", date); err != nil || time.Since(at).Abs() > 5*time.Minute {
		return "the date is " + date
	}
	if r.Header.Get("X-Amz-Security-Token") != sessionToken {
		return "there is another session token"
	}
	scope := date[:8] + "/" + region + "/" + service + "/aws4_request"
	prefix := "AWS4-HMAC-SHA256 Credential=" + accessKey + "/" + scope + ", SignedHeaders="
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), prefix)
	signed, got, ok2 := strings.Cut(rest, ", Signature=")
	if !ok || !ok2 {
		return "the authorization is " + r.Header.Get("Authorization")
	}
	names := strings.Split(signed, ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-security-token"} {
		if !slices.Contains(names, must) {
			return must + " is not signed"
		}
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	canonical := r.Method + "\n" + path + "\n" + query + "\n"
	for _, n := range names {
		value := r.Header.Get(n)
		if n == "host" {
			value = r.Host
		}
		canonical += n + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical += "\n" + signed + "\n" + hexSum(body)
	key := []byte("AWS4" + secretKey)
	for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hexSum([]byte(canonical))) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if want := hex.EncodeToString(key); got != want {
		return "the signature is " + got + ", want " + want
	}
	return ""
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestAWSWithoutRole: the instance has no role, and so no credentials.
func TestAWSWithoutRole(t *testing.T) {
	t.Parallel()
	bare := aws
	bare.metadata = func(w http.ResponseWriter, r *http.Request, id string) {
		if strings.Contains(r.URL.Path, "/iam/") {
			http.NotFound(w, r)
			return
		}
		imds(w, r, id)
	}
	m := newMock(t, bare)
	r := m.within(15*time.Second, "a", "acquire")
	if r.exit != 1 || !strings.Contains(r.out, "has the instance a role?") {
		t.Errorf("got exit %d and %q, want 1 and the role asked for", r.exit, r.out)
	}
}
