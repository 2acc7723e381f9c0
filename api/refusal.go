package api

import "sync/atomic"

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
	numRefusals
)

var refusalNames = [numRefusals]string{
	crossOrigin: "cross-origin", foreignHost: "foreign-host", noToken: "no-token",
	tooManyConnections: "too-many-connections", tooManyFromHost: "too-many-from-host",
	tooManyStreams: "too-many-streams", tooManySurveys: "too-many-surveys",
	plainHTTP: "plain-http", tlsNotServed: "tls-not-served", badHandshake: "tls-handshake",
}

// String returns the name that metrics use.
func (r refusal) String() string { return refusalNames[r] }

// refusals counts what was turned away. The zero value is ready.
type refusals [numRefusals]atomic.Uint64

func (c *refusals) count(r refusal) { c[r].Add(1) }
