//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var flagBench = flag.Duration("store.bench", 0, "how long each measurement of the store beside etcd takes; 0: none is made")

// subject is a group of three that keeps keys, and how one asks it.
type subject struct {
	name  string
	pids  []int
	put   func(c *http.Client, client int, key string, value []byte) error
	get   func(c *http.Client, client int, key string) error
	ready func() error

	// took and cpu are, for each measurement, how long each call took and how much
	// processor time the members have used for all.
	took [len(measurements)][]time.Duration
	cpu  [len(measurements)]time.Duration
}

// measurements are what is measured, as the columns of the table have it.
var measurements = [...]struct {
	clients int
	reads   bool
}{{1, false}, {64, false}, {64, true}}

// benchTurns is in how many turns each is measured: what else the machine does hits all
// alike.
const benchTurns = 5

// TestStoreBesideEtcd prints a table: three members of each on this machine, with every
// write on disk. It needs -store.bench, and etcd of Debian's package etcd-server. etcd is
// asked over HTTP, as the agent is: by its API of version 2, which answers HTTP itself,
// and by that of version 3, whose gateway passes JSON on to gRPC.
func TestStoreBesideEtcd(t *testing.T) {
	t.Parallel()
	if *flagBench == 0 {
		t.Skip("no -store.bench given")
	}
	subjects := append([]*subject{doyenSubject(t)}, etcdSubjects(t)...)
	for _, s := range subjects {
		end := time.Now().Add(patience)
		for err := s.ready(); err != nil; err = s.ready() {
			if time.Now().After(end) {
				t.Fatalf("%s: %v", s.name, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	for range benchTurns {
		for i := range measurements {
			for _, s := range subjects {
				s.turn(t, i)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, "| | writes/s, 1 client | median | CPU each | writes/s, 64 clients | median | CPU each | reads/s, 64 clients | median | CPU each | CPU at rest | memory |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, s := range subjects {
		s.row(&b)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%v each, load %s\n%s", *flagBench, strings.Fields(string(load))[0], b.String())
}

// turn takes one turn of a measurement.
func (s *subject) turn(t *testing.T, measurement int) {
	t.Helper()
	value := make([]byte, 100)
	do := func(c *http.Client, client, i int) error { return s.put(c, client, fmt.Sprintf("k%d", i%1000), value) }
	if measurements[measurement].reads {
		do = func(c *http.Client, client, i int) error { return s.get(c, client, fmt.Sprintf("k%d", i%64)) }
	}
	before := cpuOf(s.pids)
	took := measure(t, measurements[measurement].clients, do)
	s.took[measurement] = append(s.took[measurement], took...)
	s.cpu[measurement] += cpuOf(s.pids) - before
}

// row prints what was measured, and measures the members at rest.
func (s *subject) row(b *strings.Builder) {
	fmt.Fprintf(b, "| %s ", s.name)
	for i, all := range s.took {
		slices.Sort(all)
		count := len(all)
		each := s.cpu[i] / time.Duration(count)
		fmt.Fprintf(b, "| %.0f | %v | %d µs ", float64(count)/flagBench.Seconds(), all[count/2].Round(10*time.Microsecond), each.Microseconds())
	}
	before := cpuOf(s.pids)
	time.Sleep(*flagBench)
	fmt.Fprintf(b, "| %.1f %% | %d MiB |\n", 100*(cpuOf(s.pids)-before).Seconds()/flagBench.Seconds(), residentOf(s.pids)>>20)
}

// measure has clients do something again and again for a turn, and returns how long each
// took.
func measure(t *testing.T, clients int, do func(c *http.Client, client, i int) error) (all []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed atomic.Int64
	began := time.Now()
	for n := range clients {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 20 * time.Second}
			defer c.CloseIdleConnections()
			var took []time.Duration
			for i := n; time.Since(began) < *flagBench/benchTurns; i += clients {
				at := time.Now()
				if err := do(c, n, i); err != nil {
					failed.Add(1)
					t.Log(err)
					continue
				}
				took = append(took, time.Since(at))
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(all) == 0 {
		t.Fatalf("nothing was done, and %d calls failed", failed.Load())
	}
	return all
}

// answered makes a call and wants it to succeed.
func answered(c *http.Client, method, url, kind string, body []byte) error {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return err
}

func doyenSubject(t *testing.T) *subject {
	g := newStoreGroup(t, 3)
	s := &subject{name: "doyen"}
	for _, n := range g.nodes {
		n.ordinary = true
		n.start()
	}
	leader := g.leader()
	for _, n := range g.nodes {
		s.pids = append(s.pids, n.pids()...)
	}
	// One client asks the leader; many ask all members.
	at := func(client int) string {
		if client == 0 {
			return "http://" + leader.name + "/store/"
		}
		return "http://" + g.nodes[client%3].name + "/store/"
	}
	s.put = func(c *http.Client, client int, key string, value []byte) error {
		return answered(c, http.MethodPut, at(client)+key, "", value)
	}
	s.get = func(c *http.Client, client int, key string) error {
		return answered(c, http.MethodGet, at(client)+key, "", nil)
	}
	s.ready = func() error { return s.put(http.DefaultClient, 0, "ready", nil) }
	return s
}

func etcdSubjects(t *testing.T) []*subject {
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Fatalf("this needs etcd: %v", err)
	}
	ports, err := freePorts(6)
	if err != nil {
		t.Fatal(err)
	}
	var cluster []string
	for i := range 3 {
		cluster = append(cluster, fmt.Sprintf("e%d=http://127.0.0.1:%s", i, ports[3+i]))
	}
	dir := t.TempDir()
	var pids []int
	for i := range 3 {
		client, peer := "http://127.0.0.1:"+ports[i], "http://127.0.0.1:"+ports[3+i]
		cmd := exec.Command("etcd", "--name", "e"+strconv.Itoa(i), "--data-dir", filepath.Join(dir, strconv.Itoa(i)), "--enable-v2=true",
			"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
			"--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(cluster, ","), "--log-level", "error")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Signal(syscall.SIGKILL); cmd.Wait() })
		pids = append(pids, cmd.Process.Pid)
	}
	leader := etcdLeader(t, ports[:3])
	// As with the agents, one client asks the leader.
	at := func(client int) string {
		if client == 0 {
			return "http://127.0.0.1:" + leader
		}
		return "http://127.0.0.1:" + ports[client%3]
	}
	two := &subject{name: "etcd, API 2", pids: pids}
	two.put = func(c *http.Client, client int, key string, value []byte) error {
		body := "value=" + strings.Repeat("x", len(value))
		return answered(c, http.MethodPut, at(client)+"/v2/keys/"+key, "application/x-www-form-urlencoded", []byte(body))
	}
	two.get = func(c *http.Client, client int, key string) error {
		return answered(c, http.MethodGet, at(client)+"/v2/keys/"+key+"?quorum=true", "", nil)
	}
	two.ready = func() error { return two.put(http.DefaultClient, 0, "ready", nil) }
	three := &subject{name: "etcd, API 3 as JSON", pids: pids}
	encode := base64.StdEncoding.EncodeToString
	three.put = func(c *http.Client, client int, key string, value []byte) error {
		return answered(c, http.MethodPost, at(client)+"/v3/kv/put", "application/json", fmt.Appendf(nil, `{"key":%q,"value":%q}`, encode([]byte(key)), encode(value)))
	}
	three.get = func(c *http.Client, client int, key string) error {
		return answered(c, http.MethodPost, at(client)+"/v3/kv/range", "application/json", fmt.Appendf(nil, `{"key":%q}`, encode([]byte(key))))
	}
	three.ready = func() error { return three.put(http.DefaultClient, 0, "ready", nil) }
	return []*subject{two, three}
}

// etcdLeader waits for a leader and returns its port: no other tells how its followers are.
func etcdLeader(t *testing.T, ports []string) (leader string) {
	t.Helper()
	if !poll(func() bool {
		for _, port := range ports {
			if answered(http.DefaultClient, http.MethodGet, "http://127.0.0.1:"+port+"/v2/stats/leader", "", nil) == nil {
				leader = port
			}
		}
		return leader != ""
	}) {
		t.Fatal("etcd has no leader")
	}
	return leader
}

// cpuOf is the processor time that processes have used.
func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, ok := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); err == nil && ok && len(fields) > 13 {
			for _, f := range fields[11:13] {
				ticks, _ := strconv.ParseInt(f, 10, 64)
				sum += time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
			}
		}
	}
	return sum
}

// residentOf is the memory that is resident of processes, in bytes.
func residentOf(pids []int) (sum int) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(b)); err == nil && len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			sum += pages * os.Getpagesize()
		}
	}
	return sum
}
