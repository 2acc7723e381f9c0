package hooks

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const route53Zone = "Z0123456789ABCDEFGHIJ"

// route53 is the part of the API at https://docs.aws.amazon.com/Route53/latest/APIReference
// that is about the records of one zone, with the instance metadata service.
var route53 = provider{
	hook: "route53-dns.sh", a: "192.0.2.1", b: "192.0.2.2",
	secrets: []string{secretKey, sessionToken, imdsToken},
	settings: func(m *mock, node string) []string {
		return []string{
			"ROUTE53_CONF=/nonexistent", "ROUTE53_ZONE_ID=" + route53Zone, "DNS_NAME=" + leaderName,
			"AWS_ENDPOINT_URL_ROUTE_53=" + m.url + "/api", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + m.url + "/" + node,
			"DOYEN_ADDR=" + map[string]string{"a": m.a, "b": m.b}[node] + ":4000",
		}
	},
	write: func(r *http.Request, _ []byte) bool { return r.Method == "POST" },
	refuse: func(w http.ResponseWriter, status int) {
		code := map[int]string{400: "InvalidInput", 403: "AccessDenied", 404: "NoSuchHostedZone", 429: "Throttling", 500: "InternalFailure"}[status]
		if status == 429 {
			status = 400
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?>
<ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error><Type>Sender</Type><Code>%s</Code><Message>Told at length.</Message></Error><RequestId>b25f48e8</RequestId></ErrorResponse>`, code)
	},
	api: func(m *mock, w http.ResponseWriter, r *http.Request, body []byte) {
		if why := checkSignature(r, body, "us-east-1", "route53"); why != "" {
			m.t.Logf("the signature is refused: %s", why)
			m.refuse(w, 403)
			return
		}
		path := "/2013-04-01/hostedzone/" + route53Zone + "/rrset"
		switch {
		case r.Method == "GET" && r.URL.Path == path && r.URL.RawQuery == "maxitems=1&name="+leaderName+"&type=A":
			// The API lists from the name on: without a record of it the next one comes.
			name, value := leaderName, m.holder
			if value == "" {
				name, value = "mail.example.org", "192.0.2.25"
			}
			fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
   <ResourceRecordSets>
      <ResourceRecordSet>
         <Name>%s.</Name>
         <Type>A</Type>
         <TTL>60</TTL>
         <ResourceRecords>
            <ResourceRecord><Value>%s</Value></ResourceRecord>
         </ResourceRecords>
      </ResourceRecordSet>
   </ResourceRecordSets>
   <IsTruncated>false</IsTruncated>
   <MaxItems>1</MaxItems>
</ListResourceRecordSetsResponse>`, name, strings.ReplaceAll(value, " ", "</Value></ResourceRecord><ResourceRecord><Value>"))
		case r.Method == "POST" && r.URL.Path == path+"/":
			var order struct {
				XMLName xml.Name `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ChangeResourceRecordSetsRequest"`
				Changes []struct {
					Action string
					Set    struct {
						Name, Type string
						TTL        int
						Values     []string `xml:"ResourceRecords>ResourceRecord>Value"`
					} `xml:"ResourceRecordSet"`
				} `xml:"ChangeBatch>Changes>Change"`
			}
			if err := xml.Unmarshal(body, &order); err != nil || len(order.Changes) != 1 || order.Changes[0].Action != "UPSERT" {
				m.refuse(w, 400)
				return
			}
			set := order.Changes[0].Set
			if set.Name != leaderName || set.Type != "A" || set.TTL != 60 || len(set.Values) != 1 {
				m.refuse(w, 400)
				return
			}
			m.writes++
			m.holder = set.Values[0]
			fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?>
<ChangeResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeInfo><Id>/change/C2682N5HXP0BZ4</Id><Status>PENDING</Status></ChangeInfo></ChangeResourceRecordSetsResponse>`)
		default:
			m.refuse(w, 404)
		}
	},
	metadata: imds,
}

func TestRoute53Events(t *testing.T) {
	t.Parallel()
	m := newMock(t, route53)
	m.checkRecord()
	m.do(func() { m.holder = m.b + " 192.0.2.9" }) // somebody has added an address
	m.run(1, "b", "check")
	m.run(0, "b", "acquire")
	m.checkHolder(m.b)
}

func TestRoute53Refusal(t *testing.T) {
	t.Parallel()
	m := newMock(t, route53)
	m.checkRefusals("Told at length", "ROUTE53_CREDENTIALS_FILE", "/nonexistent", m.file("one", accessKey+"\n"), m.file("empty", ""))
}
