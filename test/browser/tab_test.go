package browser

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is one page in a browser profile of its own.
type tab struct {
	t    *testing.T
	base string // scheme://host:port
	ctx  context.Context

	mu      sync.Mutex
	trouble []string // what a page must not do
	fine    []string // parts of what it may do all the same
	visits  int      // documents that were asked for
}

// tab opens an empty page. At the end of the test it reports what went wrong
// behind the scenes.
func (w *world) tab(t *testing.T, base string) *tab {
	t.Helper()
	b := &tab{t: t, base: base}
	ctx, closeTab := chromedp.NewContext(w.browser, chromedp.WithNewBrowserContext())
	b.ctx = ctx
	t.Cleanup(func() {
		closeTab()
		for _, s := range b.found() {
			t.Errorf("the browser saw: %s", s)
		}
	})
	b.must(chromedp.Do(ctx))
	b.must(chromedp.Listen(ctx, b.see))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	b.must(err)
	for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{log.Enable, runtime.Enable, audits.Enable} {
		_, err := chromedp.Call(ctx, enable, cdp.Empty{})
		b.must(err)
	}
	b.size(1280, 800)
	return b
}

func (b *tab) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// see is called with every event of the page.
func (b *tab) see(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bad := func(format string, a ...any) { b.trouble = append(b.trouble, fmt.Sprintf(format, a...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		bad("exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			bad("console: %s", e.Type)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			bad("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		if d := e.Issue.Details; d != nil && d.ContentSecurityPolicyIssueDetails != nil {
			c := d.ContentSecurityPolicyIssueDetails
			bad("policy: %s refused %q", c.ViolatedDirective, c.BlockedURL)
		}
	case *network.EventRequestWillBeSent:
		if e.Type == network.ResourceTypeDocument {
			b.visits++
		}
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme+"://"+u.Host != b.base && u.Scheme != "data" && u.Scheme != "about" {
			bad("request to another origin: %s", e.Request.URL)
		}
	}
}

// found is what went wrong so far and was not expected.
func (b *tab) found() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.trouble), func(s string) bool {
		return slices.ContainsFunc(b.fine, func(part string) bool { return strings.Contains(s, part) })
	})
}

// expect allows messages that contain a text.
func (b *tab) expect(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fine = append(b.fine, part)
}

// documents counts what was navigated to.
func (b *tab) documents() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.visits
}

// do runs actions within the limit.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	b.must(chromedp.Do(ctx, actions...))
}

// leave runs actions that lead to another page, and returns its status.
func (b *tab) leave(actions ...chromedp.Action[chromedp.Void]) int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, actions...)
	b.must(err)
	if resp == nil {
		b.t.Fatal("no page was loaded")
	}
	return resp.Status
}

// open goes to a path and returns the status.
func (b *tab) open(path string) int64 {
	b.t.Helper()
	return b.leave(chromedp.Navigate(b.base + path))
}

// follow clicks something that leads to another page.
func (b *tab) follow(selector string) int64 {
	b.t.Helper()
	return b.leave(click(selector))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// write puts the cursor into a field and types in place of what is there.
// chromedp.SendKeys is not used: it reads a node that the browser's events
// write to, which the race detector reports.
func (b *tab) write(selector, text string) {
	b.t.Helper()
	if !script[bool](b, fmt.Sprintf(`(e => { e?.focus(); e?.select(); return document.activeElement === e })(document.querySelector(%q))`, selector)) {
		b.t.Fatalf("%s at %s does not take the cursor", selector, b.path())
	}
	_, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text})
	b.must(err)
}

// signIn opens the sign-in page and signs in.
func (b *tab) signIn(login, password string) int64 {
	b.t.Helper()
	b.open("/")
	b.write(`input[name=login]`, login)
	b.write(`input[name=password]`, password)
	return b.follow(`form[action="/sign-in"] button`)
}

// user opens a tab in which name is signed in.
func (w *world) user(t *testing.T, name string) *tab {
	t.Helper()
	b := w.tab(t, secure(w.alpha))
	if status := b.signIn(name, name); status != 200 || b.path() != "/" {
		t.Fatalf("%s signed in: %d at %s", name, status, b.path())
	}
	return b
}

// script evaluates JavaScript in the page.
func script[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// text is what a person reads in the first element that matches; "" without
// one.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.Join(strings.Fields(script[string](b, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector))), " ")
}

// count is how many elements match.
func (b *tab) count(selector string) int {
	b.t.Helper()
	return script[int](b, fmt.Sprintf(`document.querySelectorAll(%q).length`, selector))
}

// path is where the tab is, without the origin.
func (b *tab) path() string {
	b.t.Helper()
	return script[string](b, `location.pathname + location.search`)
}

// wants fails unless the first element that matches reads as all of the parts.
func (b *tab) wants(selector string, parts ...string) {
	b.t.Helper()
	got := b.text(selector)
	for _, p := range parts {
		if !strings.Contains(got, p) {
			b.t.Errorf("%s at %s lacks %q: %q", selector, b.path(), p, got)
		}
	}
}

// size sets the window.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// prefer sets what a style sheet may ask for, such as prefers-color-scheme.
func (b *tab) prefer(name, value string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: name, Value: value}}})
	b.must(err)
}
