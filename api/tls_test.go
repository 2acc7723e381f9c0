package api

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doyen/agent"
)

// certificate returns a certificate for the name member, and a pool that trusts it.
// Bubbles of synctest live in the year 2000.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "member"}, DNSNames: []string{"member"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// serveTLS serves f with a certificate.
func serveTLS(t *testing.T, f *fake, cert tls.Certificate) (*Server, *pipes) {
	c := quiet(f)
	c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	return serveConfig(t, c)
}

// status asks for a path and returns the answer's status.
func status(t *testing.T, c net.Conn, path string) string {
	t.Helper()
	get(t, c, path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

// TestOnePortSpeaksBoth asks with and without TLS, from loopback and elsewhere.
func TestOnePortSpeaksBoth(t *testing.T) {
	cert, pool := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		s, p := serveTLS(t, newFake(), cert)
		for _, from := range []string{"127.0.0.1:1", "10.0.0.9:1"} {
			c := tls.Client(p.dial(from), &tls.Config{RootCAs: pool, ServerName: "member"})
			for range 2 { // the connection is kept
				if got := status(t, c, "/ping"); got != "200 OK" {
					t.Errorf("HTTPS from %s: want 200, got %s", from, got)
				}
			}
			if v := c.ConnectionState(); v.Version < tls.VersionTLS12 || v.NegotiatedProtocol != "" {
				t.Errorf("want TLS 1.2 at least, got %v", v)
			}
			c.Close()
		}
		local := p.dial("127.0.0.1:1")
		if got := status(t, local, "/ping"); got != "200 OK" {
			t.Errorf("HTTP from loopback: want 200, got %s", got)
		}
		local.Close()
		other := p.dial("10.0.0.9:1")
		const want = "400 {\n  \"error\": \"this port speaks HTTPS to other hosts: call it by https://\"\n}\n"
		if got := status(t, other, "/is-leader"); got != want {
			t.Errorf("HTTP from elsewhere: want %s, got %s", want, got)
		}
		if n, err := other.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("want the connection closed after the refusal, got %d, %v", n, err)
		}
		if got := s.api.refused[plainHTTP].Load(); got != 1 {
			t.Errorf("counted: want 1, got %d", got)
		}
	})
}

// TestBadHandshakes are closed without a word of HTTP, and in time.
func TestBadHandshakes(t *testing.T) {
	cert, pool := certificate(t)
	var heard chan struct{} // closed when the test is over
	for _, tt := range []struct {
		name  string
		say   func(net.Conn)
		reads bool
		after time.Duration
	}{
		{"too old", func(c net.Conn) {
			_ = tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "member", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		}, false, 0},
		{"rubbish", func(c net.Conn) { io.WriteString(c, "\x16\x03\x01\x00\x05hello") }, true, 0},
		{"half a record", func(c net.Conn) { io.WriteString(c, "\x16\x03\x01\x02\x00") }, true, headerTimeout},
		{"reads nothing", func(c net.Conn) {
			_ = tls.Client(deaf{c, heard}, &tls.Config{InsecureSkipVerify: true}).Handshake()
		}, false, headerTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard = make(chan struct{})
				defer close(heard)
				s, p := serveTLS(t, newFake(), cert)
				c := p.dial("10.0.0.9:1")
				defer c.Close()
				began := time.Now()
				go tt.say(c)
				if tt.reads {
					if rest, _ := io.ReadAll(c); len(rest) > 7 {
						t.Errorf("want no more than an alert, got %q", rest)
					}
				}
				for s.api.refused[badHandshake].Load() == 0 && time.Since(began) < time.Minute {
					time.Sleep(time.Second)
				}
				if took := time.Since(began); took < tt.after || took > tt.after+time.Second {
					t.Errorf("want it given up after %v, got %v", tt.after, took)
				}
			})
		})
	}
}

// deaf is a client that reads nothing before the test is over.
type deaf struct {
	net.Conn
	heard chan struct{}
}

func (d deaf) Read([]byte) (int, error) {
	<-d.heard
	return 0, io.EOF
}

// TestTLSWithoutACertificate is closed at once.
func TestTLSWithoutACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := serve(t, newFake())
		c := p.dial("10.0.0.9:1")
		defer c.Close()
		io.WriteString(c, "\x16")
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("want the connection closed, got %d, %v", n, err)
		}
		if got := s.api.refused[tlsNotServed].Load(); got != 1 {
			t.Errorf("counted: want 1, got %d", got)
		}
	})
}

// TestLoopbackIsTrustedAsBefore changes something with and without TLS.
func TestLoopbackIsTrustedAsBefore(t *testing.T) {
	cert, pool := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		c := quiet(newFake())
		c.TLS, c.Token = &tls.Config{Certificates: []tls.Certificate{cert}}, []byte("secret")
		_, p := serveConfig(t, c)
		for from, want := range map[string]int{"127.0.0.1:1": 200, "10.0.0.9:1": 401} {
			c := tls.Client(p.dial(from), &tls.Config{RootCAs: pool, ServerName: "member"})
			io.WriteString(c, "POST /step-down HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != want {
				t.Errorf("from %s: want %d, got %v, %v", from, want, resp, err)
			}
			c.Close()
		}
	})
}

// TestStreamOverTLS reads events as they happen, over real sockets.
func TestStreamOverTLS(t *testing.T) {
	cert, pool := certificate(t)
	f := newFake()
	events, _ := feed(f)
	events <- agent.Event{Kind: "leader", Data: agent.LeaderEvent{}}
	c := quiet(f)
	c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(c)
	done := make(chan error)
	go func() { done <- s.Serve(ln) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "member"}}}
	resp, err := client.Get("https://" + netip.MustParseAddrPort(ln.Addr().String()).String() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for _, want := range []string{"retry", "event: leader"} {
		block, err := next(r)
		if err != nil || len(block) < len(want) || block[:len(want)] != want {
			t.Errorf("want a block that begins with %q, got %q, %v", want, block, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCertificateEndIsAMetric(t *testing.T) {
	cert, _ := certificate(t)
	c := quiet(newFake())
	c.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
	const want = "\ndoyen_tls_certificate_end_timestamp_seconds 4.0709088e+09\n"
	if got := ask(t, New(c), "GET", "/metrics").Body.String(); !strings.Contains(got, want) {
		t.Errorf("want %q in the metrics", want)
	}
	if got := scrape(t, newFake()); strings.Contains(got, "tls_certificate_end") {
		t.Error("want no such metric without a certificate")
	}
}
