package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"doyen/agent"
	"doyen/gossip/portable"

	"github.com/urfave/cli/v2"
)

// maxAnswer limits what a client command reads of one answer: the largest, a
// /diag of a thousand members, is some megabytes.
const maxAnswer = 64 << 20

// A client asks one agent.
type client struct {
	addr    string
	tls     *tls.Config // nil: plain HTTP
	token   string
	timeout time.Duration // of one call; a stream only has to begin within it
	json    bool
	out     io.Writer
	// election is the one that the calls are about; "": the group's own, or none.
	election string
}

// where is what --addr of another command would have to say to ask the same agent.
func (c *client) where() string {
	if c.tls != nil {
		return "https://" + c.addr
	}
	return c.addr
}

// An answer is what the agent said.
type answer struct {
	status int
	body   []byte
}

// newClient reads the flags that all client commands share.
func newClient(c *cli.Context) (*client, error) {
	if c.Command.ArgsUsage == "" {
		if err := noArguments(c); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"election", "addr"} {
		// Where a variable of a script is unset, another would be asked, or told.
		if onCommandLine(c, name) && c.String(name) == "" {
			return nil, cli.Exit("--"+name+": it is empty", exitUsage)
		}
	}
	addr, secure := strings.CutPrefix(c.String("addr"), "https://")
	addr, err := clientAddr(strings.TrimSuffix(strings.TrimPrefix(addr, "http://"), "/"))
	if err != nil {
		return nil, cli.Exit(err, exitUsage)
	}
	cl := &client{addr: addr, timeout: c.Duration("timeout"), json: c.Bool("json"), out: c.App.Writer, election: c.String("election")}
	if cl.tls, err = clientTLS(secure, c.String("tls-ca-file")); err != nil {
		return nil, cli.Exit(err, exitUsage)
	}
	if cl.timeout <= 0 {
		return nil, cli.Exit("--timeout: it must be longer than zero", exitUsage)
	}
	token, err := readToken(c.String("api-token-file"))
	if err != nil {
		return nil, cli.Exit(err, exitUsage)
	}
	cl.token = string(token)
	return cl, nil
}

// clientTLS returns what to trust: the authorities in the file, else those that
// this host knows; nil for plain HTTP.
func clientTLS(secure bool, caFile string) (*tls.Config, error) {
	switch {
	case !secure && caFile != "":
		return nil, errors.New("--tls-ca-file needs an --addr that begins with https://")
	case !secure:
		return nil, nil
	case caFile == "":
		return &tls.Config{}, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--tls-ca-file: %s holds no certificate", caFile)
	}
	return &tls.Config{RootCAs: pool}, nil
}

// hostName is what a host may be called that is no address; it may be missing.
var hostName = regexp.MustCompile(`^[\pL\pN._-]*$`)

// onCommandLine reports whether a flag is given by an argument: an empty variable of the
// environment counts as unset.
func onCommandLine(c *cli.Context, name string) bool {
	f, ok := findFlag(c.Command.Flags, name).(*cli.StringFlag)
	if !ok || !c.IsSet(name) {
		return false
	}
	return !slices.ContainsFunc(f.EnvVars, func(env string) bool {
		value, set := os.LookupEnv(env)
		return set && value == ""
	})
}

// clientAddr completes a host without a port, in every form of an address.
func clientAddr(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil { // no port, or a bare IPv6 address
		host, port = strings.Trim(s, "[]"), strconv.Itoa(agent.DefaultBindPort)
	}
	_, portErr := strconv.ParseUint(port, 10, 16)
	if _, err := netip.ParseAddr(host); portErr != nil || err != nil && !hostName.MatchString(host) {
		return "", fmt.Errorf("--addr: %q is not a host:port", s)
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}

// get asks for path and returns the answer if its status is one of want.
func (c *client) get(ctx context.Context, path string, want ...int) (answer, error) {
	return c.call(ctx, http.MethodGet, path, want...)
}

// askAgain is the pause between two questions of --wait.
const askAgain = 100 * time.Millisecond

// getUntil asks for path until the answer is 200 or the time of --wait is over,
// and returns the last answer: 200 or 503. An agent that cannot be asked may be
// starting, so that is waited for, too.
func (c *client) getUntil(cc *cli.Context, path string) (answer, error) {
	wait := cc.Duration("wait")
	if wait < 0 {
		return answer{}, cli.Exit(fmt.Sprintf("--wait: %v is negative", wait), exitUsage)
	}
	for end := time.Now().Add(wait); ; {
		a, err := c.get(cc.Context, path, http.StatusOK, http.StatusServiceUnavailable)
		if err == nil && a.status == http.StatusOK || !time.Now().Add(askAgain).Before(end) {
			return a, err
		}
		select {
		case <-cc.Context.Done():
			return answer{}, errors.New("interrupted")
		case <-time.After(askAgain):
		}
	}
}

func (c *client) post(ctx context.Context, path string, want ...int) (answer, error) {
	return c.call(ctx, http.MethodPost, path, want...)
}

func (c *client) call(ctx context.Context, method, path string, want ...int) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.open(ctx, method, path)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	for _, status := range want {
		if resp.StatusCode == status {
			return answer{status, body}, nil
		}
	}
	return answer{}, c.unexpected(resp, body)
}

// open sends one request and returns the response once its head has arrived.
func (c *client) open(ctx context.Context, method, path string) (*http.Response, error) {
	return c.openBy(ctx, &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.tls}, method, path)
}

// openBy is open with a transport of the caller's.
func (c *client) openBy(ctx context.Context, transport *http.Transport, method, path string) (*http.Response, error) {
	return c.openWith(ctx, transport, method, path, nil, nil)
}

// openWith does the same with a body and more headers, if any.
func (c *client) openWith(ctx context.Context, transport *http.Transport, method, path string, body io.Reader, head http.Header) (*http.Response, error) {
	base := url.URL{Scheme: "http", Host: c.addr}
	if c.tls != nil {
		base.Scheme = "https"
	}
	if c.further() != "" {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "election=" + url.QueryEscape(c.election)
	}
	req, err := http.NewRequestWithContext(ctx, method, base.String()+path, body)
	if err != nil {
		return nil, fmt.Errorf("--addr %s: %w", c.addr, err)
	}
	for name, values := range head {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	// An agent is asked directly: a proxy would be asked from another address
	// than loopback, and is seldom where the agents are.
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}

// unreachable says why the agent could not be asked.
func (c *client) unreachable(err error) error {
	var dns *net.DNSError
	var timeout net.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s is not trusted: %w; --tls-ca-file names the authority to trust", c.addr, untrusted.Err)
	case errors.Is(err, portable.Refused):
		return fmt.Errorf("cannot reach %s: connection refused: is the agent running?", c.addr)
	case errors.As(err, &dns):
		return fmt.Errorf("cannot reach %s: no address is known for %s", c.addr, dns.Name)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s did not answer within %s", c.addr, c.timeout)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case c.tls != nil && (errors.Is(err, io.EOF) || errors.Is(err, portable.Reset)):
		return fmt.Errorf("%s closed the connection: is that an agent, and does it answer HTTPS there (--tls-cert-file)?", c.addr)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, portable.Reset):
		return fmt.Errorf("%s closed the connection: is that an agent, and does it answer HTTP there (--http)?", c.addr)
	}
	return fmt.Errorf("cannot reach %s: %w", c.addr, err)
}

// unexpected says what the agent answered instead.
func (c *client) unexpected(resp *http.Response, body []byte) error {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		return fmt.Errorf("%s: %s", c.addr, e.Error)
	}
	return fmt.Errorf("%s answered %q: is that an agent?", c.addr, resp.Status)
}

// decode reads the answer's JSON.
func (a answer) decode(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("the answer is not what an agent says: %w", err)
	}
	return nil
}

// further is the further election that the calls are about; "": the group's own.
func (c *client) further() string {
	if c.election == agent.GroupElection {
		return ""
	}
	return c.election
}

// print writes the answer as the agent gave it, for --json, or as show has it
// for people. v is where show finds it decoded.
func (c *client) print(a answer, v any, show func(io.Writer)) error {
	if err := a.decode(v); err != nil {
		return err
	}
	if c.json {
		_, err := fmt.Fprintf(c.out, "%s\n", strings.TrimSpace(string(a.body)))
		return err
	}
	show(c.out)
	return nil
}
