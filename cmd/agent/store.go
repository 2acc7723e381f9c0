package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"doyen/agent/store"

	"github.com/urfave/cli/v2"
)

// storeTime is how long a command of the store waits: longer than the agent waits
// for a leader.
const storeTime = 15 * time.Second

// storeVerbs are what 'agent store' does, with how many arguments each takes.
var storeVerbs = map[string]struct{ least, most int }{
	"put": {1, 2}, "create": {1, 2}, "append": {1, 2}, "get": {1, 1}, "read": {1, 1}, "delete": {1, 1},
	"list": {0, 1}, "log": {0, 0}, "watch": {0, 1}, "batch": {0, 0}, "save": {1, 1},
}

// storeCommand is 'agent store VERB'. Its flags may stand before and after the verb.
func storeCommand(tell func(string, string, func(*cli.Context, *client) error) *cli.Command) *cli.Command {
	c := tell("store", "read and change the replicated store: put, create, append, get, delete, list, log, watch, batch or save", runStore)
	c.ArgsUsage = "put KEY [VALUE|-] | create KEY [VALUE|-] | append KEY [TEXT|-] | get KEY (or read KEY) | delete KEY | list [PREFIX] | log | watch [PREFIX] | batch | save FILE|-"
	for _, f := range c.Flags {
		if d, ok := f.(*cli.DurationFlag); ok && d.Name == "timeout" {
			d.Value = storeTime
		}
	}
	c.Flags = append(c.Flags,
		&cli.Uint64Flag{Name: "if", Usage: "put, append, delete: only if the key is at this `VERSION`"},
		&cli.Uint64Flag{Name: "fence", Usage: "refused once the election is led under a higher `TERM`, as DOYEN_TERM of the hook"},
		&cli.StringFlag{Name: "fence-election", Usage: "the `ELECTION` that --fence is of; the group's own without it"},
		&cli.StringFlag{Name: "request", Usage: "apply the change once, however often it is sent with this `ID`"},
		&cli.BoolFlag{Name: "local", Usage: "get, read, batch: this member's copy, without asking the leader"},
		&cli.Uint64Flag{Name: "from", Usage: "log, watch: from this `INDEX` on"},
	)
	return c
}

// storeFlags are the flags that not every verb takes, with the verbs that do: one that
// means nothing would be passed over, and the change made without what it asks for.
var storeFlags = map[string]string{
	"if": "put append delete", "fence": "put create append delete batch", "fence-election": "put create append delete batch",
	"request": "put create append delete", "local": "get read batch", "from": "log watch",
}

// checkStoreFlags refuses a flag that means nothing to the verb, or by itself.
func checkStoreFlags(c *cli.Context, verb string) error {
	for _, name := range slices.Sorted(maps.Keys(storeFlags)) {
		if takers := strings.Fields(storeFlags[name]); c.IsSet(name) && !slices.Contains(takers, verb) {
			return cli.Exit(fmt.Sprintf("store %s: --%s is taken by %s alone", verb, name, strings.Join(takers, ", ")), exitUsage)
		}
	}
	switch {
	case c.IsSet("request") && c.String("request") == "":
		return cli.Exit("--request: it is empty, so it would be applied as often as it is sent", exitUsage)
	case c.IsSet("fence-election") && !c.IsSet("fence"):
		return cli.Exit("--fence-election says of which election --fence is, and there is no --fence", exitUsage)
	case c.IsSet("fence-election") && c.String("fence-election") == "":
		return cli.Exit("--fence-election: it names no election", exitUsage)
	}
	return nil
}

func runStore(c *cli.Context, cl *client) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return cli.Exit("store: say what to do: "+c.Command.ArgsUsage, exitUsage)
	}
	verb, args := args[0], args[1:]
	takes, known := storeVerbs[verb]
	switch {
	case !known:
		return cli.Exit(fmt.Sprintf("store: unknown command %q; it is one of %s", verb, c.Command.ArgsUsage), exitUsage)
	case len(args) < takes.least:
		return cli.Exit(fmt.Sprintf("store %s: an argument is missing: %s", verb, c.Command.ArgsUsage), exitUsage)
	case len(args) > takes.most:
		return cli.Exit(fmt.Sprintf("store %s: unknown argument %q; quote a text that has spaces", verb, args[takes.most]), exitUsage)
	}
	if err := checkStoreFlags(c, verb); err != nil {
		return err
	}
	arg := ""
	if len(args) > 0 {
		arg = args[0]
	}
	if arg == "" && takes.least > 0 {
		return cli.Exit(fmt.Sprintf("store %s: its first argument is empty", verb), exitUsage)
	}
	switch verb {
	case "list":
		return storeShow(c, cl, "/store?prefix="+url.QueryEscape(arg), showKeys)
	case "log":
		return storeShow(c, cl, fmt.Sprintf("/store?log=%d", c.Uint64("from")), showChanges)
	case "watch":
		return storeWatch(c, cl, arg)
	case "batch":
		return storeBatch(c, cl, os.Stdin)
	case "save":
		if arg == "-" && cl.json {
			return cli.Exit("store save -: --json has no meaning where stdout gets the copy itself", exitUsage)
		}
		return storeSave(c, cl, arg)
	}
	var text []byte
	given := len(args) == 2 && args[1] != "-"
	if given {
		text = []byte(args[1])
	} else if verb == "put" || verb == "create" || verb == "append" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(os.Stdin, store.MaxValue+1)); err != nil {
			return fmt.Errorf("reading the value from stdin: %w", err)
		}
	}
	if verb == "append" && given {
		text = append(text, '\n')
	}
	out, err := storeDo(c, cl, verb, arg, text)
	if err == nil {
		_, err = cl.out.Write(out)
	}
	return err
}

// storeDo makes one call about one key and returns what to print.
func storeDo(c *cli.Context, cl *client, verb, key string, text []byte) ([]byte, error) {
	method, query, head := "", "", http.Header{}
	var body io.Reader
	if strings.HasSuffix(key, "/") {
		// A path with a slash at its end means the same as one without.
		return nil, fmt.Errorf("%s: a key does not end with a slash", clean(key))
	}
	switch verb {
	case "get", "read":
		method = http.MethodGet
		if c.Bool("local") {
			query = "?local=true"
		}
	case "put", "create":
		method, body = http.MethodPut, bytes.NewReader(text)
		if verb == "create" {
			head.Set("If-None-Match", "*")
		}
	case "append":
		method, body = http.MethodPost, bytes.NewReader(text)
	case "delete":
		method = http.MethodDelete
	}
	// A condition that is given counts: 0 is no version and no
	// term, and dropping it would make the change without any.
	if c.IsSet("if") {
		head.Set("If-Match", strconv.Quote(strconv.FormatUint(c.Uint64("if"), 10)))
	}
	if method != http.MethodGet {
		if c.IsSet("fence") {
			head.Set("Doyen-Fence", strconv.FormatUint(c.Uint64("fence"), 10))
		}
		if c.IsSet("fence-election") {
			head.Set("Doyen-Fence-Election", c.String("fence-election"))
		}
		if c.IsSet("request") {
			head.Set("Doyen-Request", c.String("request"))
		}
	}
	a, header, err := cl.storeCall(c.Context, method, storePath(key)+query, body, head)
	if err != nil {
		return nil, err
	}
	if method == http.MethodGet {
		if cl.json {
			b, err := json.Marshal(map[string]any{
				"key": key, "value": string(a.body), "version": number(strings.Trim(header.Get("Etag"), `"`)),
				"term": number(header.Get("Doyen-Term")), "index": number(header.Get("Doyen-Index")),
			})
			return append(b, '\n'), err
		}
		return a.body, nil
	}
	if cl.json {
		var compact bytes.Buffer
		if err := json.Compact(&compact, a.body); err != nil {
			return nil, err
		}
		return append(compact.Bytes(), '\n'), nil
	}
	var r store.Result
	if err := a.decode(&r); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s %s: term %d, index %d\n", verb, clean(r.Key), r.Term, r.Index), nil
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// storePath is the path of a key; its slashes stay.
func storePath(key string) string {
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/store/" + strings.Join(parts, "/")
}

// oneCall is a transport for one call.
func (c *client) oneCall() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.tls}
}

// storeCall sends one request and returns the answer to it if it is 200.
func (c *client) storeCall(ctx context.Context, method, path string, body io.Reader, head http.Header) (answer, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.openWith(ctx, c.oneCall(), method, path, body, head)
	if err != nil {
		return answer{}, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+maxAnswer))
	if err != nil {
		return answer{}, nil, c.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, nil, c.unexpected(resp, b)
	}
	return answer{resp.StatusCode, b}, resp.Header, nil
}

// storeShow prints a list.
func storeShow[T any](c *cli.Context, cl *client, path string, show func(io.Writer, []T)) error {
	a, err := cl.get(c.Context, path, http.StatusOK)
	if err != nil {
		return err
	}
	var all []T
	return cl.print(a, &all, func(w io.Writer) { show(w, all) })
}

func showKeys(w io.Writer, all []store.Value) {
	for _, v := range all {
		fmt.Fprintf(w, "%s  version %d, %s, term %d, index %d\n", clean(v.Key), v.Version, bytesOf(v.Size), v.Term, v.Index)
	}
}

// bytesOf says how long something is.
func bytesOf(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

func showChanges(w io.Writer, all []store.Change) {
	for _, ch := range all {
		fmt.Fprintf(w, "(%d, %d) %s %s  %s", ch.Term, ch.Index, clean(ch.Op), clean(ch.Key), bytesOf(ch.Size))
		if ch.Error != "" {
			fmt.Fprintf(w, "  refused: %s", clean(ch.Error))
		}
		fmt.Fprintln(w)
	}
}

// storeWatch prints changes as they happen, one a line, until it is interrupted. Each
// stream after the first goes on where the one before has ended.
func storeWatch(c *cli.Context, cl *client, prefix string) error {
	head := http.Header{}
	if from := c.Uint64("from"); from > 0 {
		head.Set("Last-Event-ID", strconv.FormatUint(from-1, 10))
	}
	return follow(c, func(ctx context.Context) (bool, error) {
		opened, last, err := cl.stream(ctx, "/events?store="+url.QueryEscape(prefix), head, func(_ string, data json.RawMessage) error {
			if cl.json {
				_, err := fmt.Fprintf(cl.out, "%s\n", data)
				return err
			}
			var ch store.Change
			if err := json.Unmarshal(data, &ch); err != nil {
				return err
			}
			var line strings.Builder
			showChanges(&line, []store.Change{ch})
			_, err := io.WriteString(cl.out, line.String())
			return err
		})
		if last != "" {
			head.Set("Last-Event-ID", last)
		}
		return opened, err
	})
}

// storeBatch plays the commands of r, a line each, and answers in order.
func storeBatch(c *cli.Context, cl *client, r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, store.MaxValue+store.MaxKey+16)
	failed := 0
	for lines.Scan() {
		verb, rest, _ := strings.Cut(strings.TrimLeft(lines.Text(), " \t"), " ")
		if verb == "" || strings.HasPrefix(verb, "#") {
			continue
		}
		key, text, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		if err := storeLine(c, cl, verb, key, text); err != nil {
			failed++
			if cl.json {
				b, _ := json.Marshal(map[string]string{"key": key, "error": err.Error()})
				fmt.Fprintf(cl.out, "%s\n", b)
			} else {
				fmt.Fprintf(cl.out, "error: %v\n", err)
			}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("reading the commands from stdin: a line is longer than a key and a value of %d bytes", store.MaxValue)
	case err != nil:
		return fmt.Errorf("reading the commands from stdin: %w", err)
	}
	if failed > 0 {
		return cli.Exit("", exitFailed)
	}
	return nil
}

func storeLine(c *cli.Context, cl *client, verb, key, text string) error {
	switch {
	case !slices.Contains([]string{"create", "put", "append", "get", "read", "delete"}, verb):
		return fmt.Errorf("unknown command %q: it is one of create, put, append, get, read and delete", clean(verb))
	case key == "":
		return fmt.Errorf("%s: a key is missing", verb)
	}
	if verb == "append" {
		text += "\n"
	}
	out, err := storeDo(c, cl, verb, key, []byte(text))
	if err != nil {
		return err
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, '\n')
	}
	_, err = cl.out.Write(out)
	return err
}

// storeSave writes a copy of the store to a file, whole or not at all; - is stdout.
func storeSave(c *cli.Context, cl *client, path string) error {
	a, _, err := cl.storeCall(c.Context, http.MethodGet, "/store?save=true", nil, nil)
	if err != nil {
		return err
	}
	if path == "-" {
		_, err := cl.out.Write(a.body)
		return err
	}
	if err := saveFile(path, a.body); err != nil {
		return fmt.Errorf("saving: %w", err)
	}
	if cl.json {
		return json.NewEncoder(cl.out).Encode(map[string]any{"file": path, "size": len(a.body)})
	}
	fmt.Fprintf(cl.out, "saved %s to %s\n", bytesOf(len(a.body)), clean(path))
	return nil
}

// saveFile writes a file whole or not at all. It replaces nothing but a file: of a device,
// such as /dev/stdout, the host would have none any more.
func saveFile(path string, data []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and is no file; - is stdout", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // where something has failed
	_, err = f.Write(data)
	if err := cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
