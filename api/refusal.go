package api

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// refusal is why the API turned a request or a connection away. Each has a
// counter in doyen_http_refused_total.
type refusal uint8

const (
	// crossOrigin: a browser page of another origin called something that
	// changes something.
	crossOrigin refusal = iota
	// foreignHost: the Host header named another host.
	foreignHost
	// noToken: neither from loopback nor with the right token.
	noToken
	// tooManyConnections: from everywhere together. The newcomer was refused, or
	// another that waited gave its place up; so with the next.
	tooManyConnections
	// tooManyFromHost: connections from one address.
	tooManyFromHost
	// tooManyStreams: event streams.
	tooManyStreams
	// tooManySurveys: surveys for /diag.
	tooManySurveys
	// plainHTTP: HTTP without TLS from another host, where there is TLS.
	plainHTTP
	// tlsNotServed: TLS, where there is no certificate.
	tlsNotServed
	// badHandshake: TLS that came to nothing.
	badHandshake
	// malformed: the head of a call was no HTTP, or too long.
	malformed
	numRefusals
)

var refusalNames = [numRefusals]string{
	crossOrigin: "cross-origin", foreignHost: "foreign-host", noToken: "no-token",
	tooManyConnections: "too-many-connections", tooManyFromHost: "too-many-from-host",
	tooManyStreams: "too-many-streams", tooManySurveys: "too-many-surveys",
	plainHTTP: "plain-http", tlsNotServed: "tls-not-served", badHandshake: "tls-handshake",
	malformed: "malformed",
}

// String returns the name that metrics use.
func (r refusal) String() string { return refusalNames[r] }

// refusals counts what was turned away. The zero value is ready.
type refusals [numRefusals]atomic.Uint64

func (c *refusals) count(r refusal) { c[r].Add(1) }

const (
	// summaryEvery is how often the log may tell what was refused, and
	// summaryLeast how much it must be: a scan or two need no line.
	summaryEvery = time.Minute
	summaryLeast = 100
)

// summary returns how much was refused, by reason, beyond what told says, and
// moves told there; nothing if that is little.
func (c *refusals) summary(told *[numRefusals]uint64) []any {
	var all []any
	now, sum := *told, uint64(0)
	for r := range numRefusals {
		now[r] = c[r].Load()
		if n := now[r] - told[r]; n > 0 {
			all = append(all, slog.Uint64(r.String(), n))
			sum += n
		}
	}
	if sum < summaryLeast {
		return nil
	}
	*told = now
	return all
}
