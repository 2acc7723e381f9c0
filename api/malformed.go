package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// A call whose head net/http cannot read, or finds too long, never comes to a handler:
// net/http writes a refusal in plain text by itself. The connection, through which that
// passes, makes it JSON, as all other refusals are.

// awaitCall notes that a connection is new, or that an answer is all written: until a
// handler has the next call, what is written is net/http's own.
func awaitCall(c net.Conn, state http.ConnState) {
	if state == http.StateNew || state == http.StateIdle {
		c.(*conn).unclaimed = true
	}
}

// refusedByHTTP makes a refusal that net/http writes one of ours; nil: it is none.
func refusedByHTTP(written []byte) []byte {
	theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(written)), nil)
	if err != nil || theirs.StatusCode < http.StatusBadRequest {
		return nil
	}
	text, _ := io.ReadAll(theirs.Body) // it is all in memory
	body, err := json.MarshalIndent(map[string]string{"error": whyRefused(theirs.StatusCode, string(text))}, "", "  ")
	if err != nil {
		return nil
	}
	body = append(body, '\n')
	ours := http.Response{
		StatusCode: theirs.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header:        http.Header{"Content-Type": jsonType, "Cache-Control": noStore, "X-Content-Type-Options": noSniff},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
	var out bytes.Buffer
	if ours.Write(&out) != nil {
		return nil
	}
	return out.Bytes()
}

// whyRefused is the sentence for a status and what net/http says of it, such as "400 Bad
// Request: missing required Host header".
func whyRefused(status int, text string) string {
	if status == http.StatusRequestHeaderFieldsTooLarge {
		return fmt.Sprintf("the first line and the headers of this call are longer than %d KiB", maxHeader>>10)
	}
	why := strings.TrimPrefix(text, fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if why = strings.TrimPrefix(why, ": "); why == "" {
		why = strings.ToLower(http.StatusText(status))
	}
	return "this call cannot be read: " + printable(why, maxText)
}
