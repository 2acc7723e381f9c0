package api

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"doyen/agent"
)

// shots, if given, is where pictures of the dashboard are kept, to be looked at.
var shots = flag.String("shots", "", "directory for pictures of the dashboard")

// awhile is how long a test waits for what takes a second on a quiet machine.
const awhile = 60 * time.Second

// TestMain also is the main of members that tests start as processes, and of
// their keepers.
func TestMain(m *testing.M) {
	agent.Init()
	if os.Getenv(memberMark) != "" {
		os.Exit(runMember())
	}
	code := m.Run()
	closeBrowser()
	os.Exit(code)
}

// browser is one Chromium for all tests, started by the first that needs it.
var browser struct {
	start sync.Once
	ctx   context.Context
	stop  []func()
	err   error
}

func closeBrowser() {
	for _, stop := range browser.stop {
		stop()
	}
}

// startBrowser starts Chromium with a profile of its own, empty, and with
// everything off that would call home.
func startBrowser(exe string) {
	dir, err := os.MkdirTemp("", "doyen-browser-")
	if err != nil {
		browser.err = err
		return
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(exe), chromedp.UserDataDir(dir), chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.WindowSize(1280, 900),
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync",
		"disable-dev-shm-usage", "no-proxy-server",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, stopProcess := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(ctx)
	browser.ctx = ctx
	browser.stop = []func(){stop, stopProcess, func() { os.RemoveAll(dir) }}
	browser.err = chromedp.Do(ctx)
}

// page is the dashboard of one member in a tab of the browser.
type page struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu     sync.Mutex
	faults []string
}

// needBrowser starts the browser if that has not been done. Without one the
// test is skipped, or fails where one is required.
func needBrowser(t *testing.T) {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		exe, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		browser.start.Do(func() { startBrowser(exe) })
		if browser.err != nil {
			t.Fatalf("starting %s: %v", exe, browser.err)
		}
		return
	}
	if os.Getenv("DOYEN_TEST_REQUIRE") == "1" {
		t.Fatal("needs chromium")
	}
	t.Skip("needs chromium")
}

// openPage opens the dashboard of the member at addr. When the test ends the
// page must have asked no other host for anything and have made no error.
func openPage(t *testing.T, addr string) *page {
	t.Helper()
	needBrowser(t)
	ctx, closeTab := chromedp.NewContext(browser.ctx)
	p := &page{t: t, ctx: ctx, origin: "http://" + addr}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page says:\n%s", p.text("body"))
		}
		closeTab()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, fault := range p.faults {
			t.Errorf("the page: %s", fault)
		}
	})
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	p.dress("light", 1280)
	p.do(chromedp.Navigate(p.origin + "/"))
	return p
}

// listen notes what a page must not do.
func (p *page) listen(event any) {
	fault := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, p.origin+"/") {
			fault = "it asked for " + e.Request.URL
		}
	case *log.EventEntryAdded:
		// That a member which is down cannot be reached is no fault of the page.
		if e.Entry.Source != log.EntrySourceNetwork {
			fault = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		fault = (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error()
	}
	if fault != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = append(p.faults, fault)
	}
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns what an expression of JavaScript comes to in the page.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// text returns what a person reads in the first element that a selector finds.
func (p *page) text(selector string) string {
	return eval[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// await waits until the text of an element contains a part.
func (p *page) await(selector, part string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%s to say %q", selector, part), func() bool { return strings.Contains(p.text(selector), part) })
}

func (p *page) until(what string, holds func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(awhile); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("want %s", what)
		}
	}
}

// press types keys, one after another.
func (p *page) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do(chromedp.KeyEvent(key))
	}
}

// dress sets the colour scheme and the width; one below 600 is a phone.
func (p *page) dress(scheme string, width int64, media ...*emulation.MediaFeature) {
	p.t.Helper()
	media = append(media, &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme})
	metrics := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600}
	p.do(func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media}); err != nil {
			return chromedp.Void{}, err
		}
		_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, metrics)
		return chromedp.Void{}, err
	})
}

// shoot keeps a picture of the whole page, if pictures are wanted.
func (p *page) shoot(name string) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o644)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// serveHTTP serves an agent on a free port of loopback until the test ends, and
// returns its address.
func serveHTTP(t *testing.T, a Agent) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := quiet(nil)
	c.Agent = a
	s := NewServer(c)
	ended := make(chan error)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), awhile)
		defer cancel()
		_ = s.Shutdown(ctx)
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}
