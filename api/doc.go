// Package api answers HTTP for one agent: state, diagnosis, events, metrics,
// and the few calls that change something. It knows HTTP and nothing of how an
// election works; everything it says comes from the Agent interface.
//
// # Use
//
//	srv := api.NewServer(api.Config{Agent: a, Token: token, Log: log})
//	go srv.Serve(listener)
//	…
//	srv.Shutdown(ctx)
//
// New returns the bare handler for a program that has a server of its own; such
// a program sets the limits below itself.
//
// # Answers
//
// A path with a trailing slash answers like the one without. Every GET but
// /events also answers HEAD. Errors are JSON, {"error": "…"}, with the right
// status. Nothing may be cached. A call whose query cannot be read whole is refused
// (400): parts that are malformed or given twice would be dropped, and the call would
// do something else than it was asked for. So is a parameter that a call which changes
// something does not take. A change of the store takes its conditions
// as headers alone, each once and with a value. What other members say is theirs to choose,
// so names are escaped in JSON, made valid UTF-8 in metrics, and freed of
// control characters in text and in findings.
//
// GET /openapi.json describes every call, its parameters and all its answers as
// OpenAPI 3.1; tests hold it against the types, the routes and real answers.
//
// /leader and /is-leader answer from memory and check the clock when they do.
// They cost what routing costs; the benchmarks BenchmarkEmpty and
// BenchmarkLeader compare.
//
// # Events
//
// /events streams what this member sees happen: its own claims and who confirms
// or objects to them, which claimant it promises its vote, who leads, who comes and goes,
// what the hook does. /events?lease=500ms adds, that often, how much of the lease
// is left: on the leader until it leads no more, on the others until they take
// it for gone, unless it renews. It is looked up for the stream and costs the
// election nothing.
//
// # Holds
//
// POST /hold streams one leadership of this member to a client that has something
// running under it, such as agent exec. A planned hand-over waits until the client
// has closed the connection. GET /lease tells the client how long it may go on: it
// counts from the moment at which it sent the request.
//
// # Dashboard
//
// GET / answers a browser with a page, and all others with the list of
// calls. The page follows /events?lease=250ms and asks /diag, /members, /history
// and /ready when something has happened, never more often than each two
// seconds, and each ten while all is well. What it shows of the others is what
// they answered then; its election is as this member sees it. When nothing has
// come for three seconds it says that it is stale, and since when, and tries
// again for ever. It changes nothing and stores nothing. It is plain files
// without a build step (dashboard/), under a Content-Security-Policy that lets
// it reach this member alone and turn no text into markup.
//
// # Diagnosis
//
// /diag asks every member, and package diagnosis judges the answers: its status is
// about the group's own election, its findings about all of them. Answers are
// taken within the survey's duration and not at one instant, so a hand-over or an
// election under way can show up as disagreement; the findings say so. A
// finding that needs no hand ("degrades": false) leaves a verdict "agreed".
//
// # Who may change something
//
// POST calls are taken from this host's loopback addresses or with the bearer
// token. Loopback is judged by the connection alone; a header that says
// that a proxy forwarded the request takes the privilege away, because a proxy
// on this host would otherwise lend it to all of them. Browsers are kept out
// twice: cross-origin calls are refused (net/http's CrossOriginProtection), and
// without a token the Host header must be an address, localhost, or this
// member's own name, which defeats DNS rebinding. Reading is open to all that
// reaches the port; nothing secret can be read.
//
// # TLS
//
// With Config.TLS the server answers HTTPS on the same port: the first byte of
// a connection tells. HTTPS is HTTP/1.1 over TLS 1.2 or newer. Plain HTTP is
// then refused to other hosts, with a sentence that says so; from loopback it is
// still answered, so that health checks on the host go on. Who is trusted does
// not depend on TLS.
//
// # Limits
//
// Header 16 KiB in 5 s, body 4 KiB in 10 s, answer in 10 s, or 10 s after what
// the handler waits for (a survey 30 s at most, a hand-over 10 minutes, an event
// until there is one, and then 5 s). TLS handshake 5 s. Idle connection 60 s. 256
// connections from elsewhere, 64 from one address (one /64 of IPv6); loopback has
// 192 of its own, so that a flood from outside cannot lock out this host's
// operator. Beyond that the connection that has waited longest for its next call
// gives its place up, so that idle connections lock no client out. 64 event
// streams, 32 of one other host, 64 holds, 8 surveys at a time. What is refused is counted by reason in doyen_http_refused_total.
package api
