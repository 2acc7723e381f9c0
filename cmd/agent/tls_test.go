package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority signs certificates for localhost.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, a.cert, _, _ = a.sign(1, time.Now().Add(time.Hour))
	return a
}

// sign returns a new key and its certificate, as they are and in PEM.
func (a *authority) sign(serial int64, until time.Time) (*ecdsa.PrivateKey, *x509.Certificate, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint(serial)},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// issue writes a certificate and its key to the files that the agents read.
func (a *authority) issue(g *group, serial int64, until time.Time) {
	_, _, cert, key := a.sign(serial, until)
	g.secretFile("cert.pem", cert)
	g.secretFile("key.pem", key)
}

// trust writes the authority's own certificate to a file.
func (a *authority) trust(g *group) string {
	return g.secretFile("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
}

// HTTPS and plain HTTP are answered on the gossip port, and at another address;
// the certificate changes under load without a call that fails, and without
// the group noticing.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	ca := newAuthority(t)
	ca.issue(g, 10, time.Now().Add(time.Hour))
	caFile := ca.trust(g)
	for _, n := range g.nodes {
		n.args = append(n.args, "--tls-cert-file", filepath.Join(g.dir, "cert.pem"), "--tls-key-file", filepath.Join(g.dir, "key.pem"))
	}
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	other := "127.0.0.1:" + ports[0]
	g.nodes[2].args = append(g.nodes[2].args, "--http", other)
	for _, n := range g.nodes {
		n.start(patient...)
	}
	g.eventually(func() error {
		for _, addr := range []string{g.nodes[0].name, g.nodes[1].name, other} {
			for _, args := range [][]string{{"--addr", addr}, {"--addr", "https://" + addr, "--tls-ca-file", caFile}} {
				out, errs, code := g.command(append([]string{"diag"}, args...)...)
				if code != exitOK || !strings.Contains(out, "agreed: ") {
					return fmt.Errorf("agent diag %q: got exit %d, %s%s, want agreed", args, code, out, errs)
				}
			}
		}
		return nil
	})
	if _, errs, code := g.command("leader", "--addr", "https://"+other); code != exitFailed || !strings.Contains(errs, "is not trusted: ") {
		t.Errorf("without the authority: got exit %d and %q", code, errs)
	}

	watch := newCalm(t, g.nodes[:2]...)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	load := newTraffic(t, roots, "https://"+g.nodes[0].name, "http://"+g.nodes[0].name, "https://"+other)
	reload := func(want string) {
		for _, n := range g.nodes {
			n.reload(want)
		}
	}
	for serial := int64(11); serial < 16; serial++ {
		ca.issue(g, serial, time.Now().Add(time.Hour))
		reload("read the log level, the certificate again")
		g.eventually(func() error {
			if got := load.serial.Load(); got != serial {
				return fmt.Errorf("got the certificate %d, want %d", got, serial)
			}
			return nil
		})
	}
	// What is bad leaves the certificate that is there.
	_, _, _, strange := ca.sign(20, time.Now().Add(time.Hour))
	for _, spoil := range []func(){
		func() { g.secretFile("key.pem", strange) },
		func() { g.secretFile("key.pem", "-----BEGIN PRIVATE KEY-----\nhalf") },
		func() { os.Chmod(filepath.Join(g.dir, "key.pem"), 0o644) },
		func() { os.Remove(filepath.Join(g.dir, "cert.pem")) },
	} {
		spoil()
		reload("the certificate was not read again and stays as it was")
	}
	if got := load.serial.Load(); got != 15 {
		t.Errorf("after bad files: got the certificate %d, want the last good one, 15", got)
	}
	calls := load.stop()
	ca.issue(g, 30, time.Now().Add(-time.Minute))
	reload("the certificate of HTTPS has expired")
	watch.check()
	t.Logf("%d calls while certificates changed", calls)
	if calls < 20 {
		t.Errorf("got %d calls, want more", calls)
	}
}

// traffic calls agents all the time, over new connections, and fails the test if
// one call fails. It keeps the serial number of the last certificate seen.
type traffic struct {
	serial, calls atomic.Int64
	ended         atomic.Bool
	wg            sync.WaitGroup
}

func newTraffic(t *testing.T, roots *x509.CertPool, urls ...string) *traffic {
	l := &traffic{}
	for _, url := range urls {
		l.wg.Go(func() {
			transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
			for !l.ended.Load() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/leader", nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := transport.RoundTrip(req)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s under load: got %v, %v", url, resp, err)
					return
				}
				resp.Body.Close()
				l.calls.Add(1)
				if resp.TLS != nil {
					l.serial.Store(resp.TLS.PeerCertificates[0].SerialNumber.Int64())
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return l
}

func (l *traffic) stop() int64 {
	l.ended.Store(true)
	l.wg.Wait()
	return l.calls.Load()
}

// Half of what HTTPS needs, or what cannot be, is one sentence.
func TestBadTLSSettings(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 0)
	ca := newAuthority(t)
	ca.issue(g, 1, time.Now().Add(time.Hour))
	cert, key := filepath.Join(g.dir, "cert.pem"), filepath.Join(g.dir, "key.pem")
	_, _, _, strange := ca.sign(2, time.Now().Add(time.Hour))
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-cert-file", cert}, "--tls-cert-file and --tls-key-file belong together"},
		{[]string{"--tls-key-file", key}, "--tls-cert-file and --tls-key-file belong together"},
		{[]string{"--tls-cert-file", cert, "--tls-key-file", key, "--http", "off"}, "no use with --http off"},
		{[]string{"--tls-cert-file", "/nonexistent", "--tls-key-file", key}, "--tls-cert-file: open /nonexistent"},
		{[]string{"--tls-cert-file", cert, "--tls-key-file", "/nonexistent"}, "--tls-key-file: open /nonexistent"},
		{[]string{"--tls-cert-file", key, "--tls-key-file", key}, "--tls-cert-file " + key},
		{[]string{"--tls-cert-file", cert, "--tls-key-file", g.secretFile("strange.pem", strange)}, "does not match"},
	} {
		for _, command := range []string{"run", "validate"} {
			args := append([]string{command}, test.args...)
			if out, errs, code := g.command(args...); code != exitUsage || !strings.Contains(errs, test.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("agent %q: got exit %d and %q%q, want one sentence with %q", args, code, out, errs, test.want)
			}
		}
	}
	if out, errs, code := g.command("validate", "--tls-cert-file", cert, "--tls-key-file", key); code != exitOK {
		t.Errorf("a good pair: got exit %d, %s%s", code, out, errs)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"leader", "--tls-ca-file", cert}, "--tls-ca-file needs an --addr that begins with https://"},
		{[]string{"leader", "--addr", "https://localhost", "--tls-ca-file", "/nonexistent"}, "--tls-ca-file: open"},
		{[]string{"leader", "--addr", "https://localhost", "--tls-ca-file", key}, "holds no certificate"},
		{[]string{"leader", "--addr", "ftp://localhost"}, "--addr"},
	} {
		if out, errs, code := g.command(test.args...); code != exitUsage || !strings.Contains(errs, test.want) {
			t.Errorf("agent %q: got exit %d and %q%q, want one sentence with %q", test.args, code, out, errs, test.want)
		}
	}
}

// A client that speaks HTTPS to an agent without a certificate is told so.
func TestHTTPSWhereThereIsNone(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	a := g.nodes[0]
	a.start("--lone-wait", "0s")
	g.checkLeader(a, a)
	c := &client{addr: a.name, tls: &tls.Config{}, timeout: answerTime}
	if _, err := c.get(context.Background(), "/leader", http.StatusOK); err == nil || !strings.Contains(err.Error(), "does it answer HTTPS there") {
		t.Errorf("got %v, want a sentence about --tls-cert-file", err)
	}
	if got := a.leader(); got != a.name {
		t.Errorf("leader: got %q, want %q", got, a.name)
	}
}
