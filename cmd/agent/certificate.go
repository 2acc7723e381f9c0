package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"doyen/agent"
	"doyen/gossip/secretfile"
)

// certificate is what HTTPS is answered with: the pair of files that
// --tls-cert-file and --tls-key-file name, as they were when last read.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

// openTLS returns the certificate that the configuration names, nil if none.
func (o *options) openTLS() (*certificate, error) {
	if o.tlsCertFile == "" && o.tlsKeyFile == "" {
		return nil, nil
	}
	if o.HTTP == agent.Off {
		return nil, errors.New("--tls-cert-file has no use with --http off")
	}
	c := &certificate{}
	return c, c.read(o)
}

// read takes the files over; on an error the certificate stays as it was.
func (c *certificate) read(o *options) error {
	if o.tlsCertFile == "" || o.tlsKeyFile == "" {
		return errors.New("--tls-cert-file and --tls-key-file belong together: give both or neither")
	}
	chain, err := os.ReadFile(o.tlsCertFile)
	if err != nil {
		return fmt.Errorf("--tls-cert-file: %w", err)
	}
	key, err := secretfile.Read(o.tlsKeyFile)
	if err != nil {
		return fmt.Errorf("--tls-key-file: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("--tls-cert-file %s and --tls-key-file %s: %w", o.tlsCertFile, o.tlsKeyFile, err)
	}
	c.current.Store(&pair)
	return nil
}

// config is how HTTPS is answered, with the certificate of the moment.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil }}
}

// tell logs for how long the certificate is good. One that is not good now is
// used nevertheless: no election should fail because it was not renewed it.
func (c *certificate) tell(log *slog.Logger) {
	leaf := c.current.Load().Leaf
	switch now := time.Now(); {
	case now.Before(leaf.NotBefore):
		log.Warn("the certificate of HTTPS is not good yet", "from", leaf.NotBefore)
	case now.After(leaf.NotAfter):
		log.Warn("the certificate of HTTPS has expired", "until", leaf.NotAfter)
	default:
		log.Info("answering HTTPS, and plain HTTP from this host alone", "names", leaf.DNSNames, "until", leaf.NotAfter)
	}
}
