package api

import (
	"context"
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
	stop func()
}

// NewServer returns a server that serves nothing yet. Config.Done is its own:
// Shutdown ends the event streams.
func NewServer(c Config) *Server {
	done := make(chan struct{})
	c.Done = done
	a := newAPI(c)
	return &Server{
		api:  a,
		stop: sync.OnceFunc(func() { close(done) }),
		http: &http.Server{
			Handler:           a,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			// What net/http logs are faults of clients; anybody could fill a
			// log with them.
			ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		},
	}
}

// Serve answers on ln until Shutdown, then returns nil; any other end is an
// error. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	err := s.http.Serve(newLimited(ln, &s.api.refused))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
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
