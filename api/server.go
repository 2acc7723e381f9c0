package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// What one connection may cost; doc.go lists them.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 10 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10
)

// Server serves the API with the limits of the package. Several listeners may
// be served at once.
type Server struct {
	http *http.Server
	api  *api
	tls  *tls.Config // nil: plain HTTP for all
	stop func()

	summing func() // starts summarise, once
}

// NewServer returns a server that serves nothing yet. Config.Done is its own:
// Shutdown ends the event streams.
func NewServer(c Config) *Server {
	done := make(chan struct{})
	c.Done = done
	a := newAPI(c)
	s := &Server{
		api:  a,
		stop: sync.OnceFunc(func() { close(done) }),
		http: &http.Server{
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ConnContext:       withConn,
			ConnState:         awaitCall,
			// What net/http logs are faults of clients; anybody could fill a
			// log with them.
			ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		},
	}
	s.http.Handler = http.HandlerFunc(s.answer)
	s.summing = sync.OnceFunc(func() { go s.summarise(done) })
	if c.TLS != nil {
		s.tls = c.TLS.Clone()
		s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
		s.tls.NextProtos = []string{"http/1.1"}
	}
	return s
}

// answer passes a call on. Once there is a certificate, a client that calls from
// another host must use it; this host's own health checks go on as before.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	c := connOf(r)
	c.unclaimed = false
	c.limited.note(c, time.Time{})
	defer func() { c.limited.note(c, time.Now()) }()
	if s.tls != nil && c.tls.Load() == nil && !c.host.IsLoopback() {
		s.api.refused.count(plainHTTP)
		w.Header().Set("Connection", "close")
		s.api.fail(w, http.StatusBadRequest, "this port speaks HTTPS to other hosts: call it by https://")
		return
	}
	s.api.ServeHTTP(w, r)
}

// Serve answers on ln until Shutdown, then returns nil; any other end is an
// error. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	s.summing()
	err := s.http.Serve(newLimited(ln, s))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// summarise logs what was refused, in a line a minute at most.
func (s *Server) summarise(done <-chan struct{}) {
	every := time.NewTicker(summaryEvery)
	defer every.Stop()
	var told [numRefusals]uint64
	for {
		select {
		case <-done:
			return
		case <-every.C:
			if refused := s.api.refused.summary(&told); refused != nil {
				s.api.log.Warn("many HTTP calls or connections were refused", refused...)
			}
		}
	}
}

// SetToken replaces Config.Token from the next call on; empty: there is none.
func (s *Server) SetToken(token []byte) { s.api.setToken(token) }

// Shutdown stops listening, ends event streams, and waits for the other calls
// under way; when ctx ends first, it cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
