package ischedule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/dkim"
)

func TestCapabilitiesRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *HandlerConfig) { c.Capabilities = *ours() })
	do := func(method, target string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, b.srv.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("iSchedule-Version") != "1.0" || resp.Header.Get("iSchedule-Capabilities") != "1" {
			t.Errorf("%s %s: headers %v", method, target, resp.Header)
		}
		return resp, string(body)
	}

	resp, plain := do("GET", "/ischedule")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/xml; charset=utf-8" ||
		resp.Header.Get("Cache-Control") != "max-age=3600" || resp.Header.Get("ETag") == "" || resp.Header.Get("Last-Modified") == "" {
		t.Errorf("GET: %d %v", resp.StatusCode, resp.Header)
	}
	caps, err := ParseCapabilities([]byte(plain))
	if err != nil || caps.Serial != "1" || !caps.Usable() {
		t.Errorf("document: %+v, %v", caps, err)
	}
	etag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")

	if resp, body := do("GET", "/.well-known/ischedule?action=capabilities"); resp.StatusCode != 200 || body != plain {
		t.Errorf("?action=capabilities: %d, same document %v", resp.StatusCode, body == plain)
	}
	resp, body := do("GET", "/ischedule?query=capabilities")
	if caps, err := ParseCapabilities([]byte(body)); err != nil || caps.Dialect != DialectDraft01 || resp.Header.Get("ETag") == etag {
		t.Errorf("?query=capabilities: %+v %v, etag %s", caps, err, resp.Header.Get("ETag"))
	}
	for _, q := range []string{"?action=delete", "?action=", "?query=x"} {
		if resp, _ := do("GET", "/ischedule"+q); resp.StatusCode != 400 {
			t.Errorf("%s: %d", q, resp.StatusCode)
		}
	}
	if resp, body := do("HEAD", "/ischedule"); resp.StatusCode != 200 || body != "" || resp.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := do("GET", "/ischedule", "If-None-Match", etag); resp.StatusCode != 304 {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	if resp, _ := do("GET", "/ischedule", "If-Modified-Since", modified); resp.StatusCode != 304 {
		t.Errorf("If-Modified-Since: %d", resp.StatusCode)
	}
	if resp, _ := do("OPTIONS", "/ischedule"); resp.StatusCode != 204 || resp.Header.Get("Allow") != "OPTIONS, GET, HEAD, POST" {
		t.Errorf("OPTIONS: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := do("PUT", "/ischedule"); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
		t.Errorf("PUT: %d %v", resp.StatusCode, resp.Header)
	}
}

// The number rises with what is offered, and only then.
func TestSerialNumber(t *testing.T) {
	t.Parallel()
	store := &serials{}
	serve := func(c Capabilities) string {
		h := NewHandler(HandlerConfig{Serial: store, Now: func() time.Time { return time.Unix(1770000000, 0) }, Capabilities: c})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/ischedule", nil))
		return w.Result().Header.Get("iSchedule-Capabilities")
	}
	for i, c := range []struct {
		caps Capabilities
		want string
	}{{Capabilities{}, "1"}, {Capabilities{}, "1"}, {Capabilities{MaxRecipients: 25}, "2"}, {Capabilities{MaxRecipients: 25, Serial: "77"}, "2"}, {Capabilities{}, "3"}} {
		if got := serve(c.caps); got != c.want {
			t.Errorf("%d: serial %s, want %s", i, got, c.want)
		}
	}
	// A store that is away delays the document, not the server.
	store.err = errors.New("away")
	h := NewHandler(HandlerConfig{Serial: store, Now: time.Now})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/ischedule", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("store away: %d", w.Code)
	}
	store.err = nil
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/ischedule", nil))
	if w.Code != 200 {
		t.Errorf("store back: %d", w.Code)
	}
}

type keyTable map[string][]string

func (k keyTable) PublishedKeys(_ context.Context, domain, selector string) ([]string, error) {
	if domain == "down.example" {
		return nil, errors.New("away")
	}
	return k[domain+"/"+selector], nil
}

func TestKeyHandler(t *testing.T) {
	t.Parallel()
	h := KeyHandler{keyTable{"south.example/k1": {"v=DKIM1; k=rsa; p=AAAA", dkim.RevokedKeyRecord}}}
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/.well-known/domainkey/south.example/k1", 200},
		{"GET", "/.well-known/domainkey/South.Example/K1", 200},
		{"HEAD", "/.well-known/domainkey/south.example/k1", 200},
		{"GET", "/.well-known/domainkey/south.example/k2", 404},
		{"GET", "/.well-known/domainkey/south.example", 404},
		{"GET", "/.well-known/domainkey/south.example/", 404},
		{"GET", "/.well-known/domainkey/south.example/k1/x", 404},
		{"GET", "/.well-known/domainkey/../k1", 404},
		{"GET", "/.well-known/domainkey/a%2fb.example/k1", 404},
		{"GET", "/other", 404},
		{"POST", "/.well-known/domainkey/south.example/k1", 405},
		{"GET", "/.well-known/domainkey/down.example/k1", 503},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.code)
		}
		if c.code == 200 && !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("content type %q", w.Header().Get("Content-Type"))
		}
		if c.code == 200 && c.method == "GET" && w.Body.String() != "v=DKIM1; k=rsa; p=AAAA\r\nv=DKIM1; k=rsa; p=\r\n" {
			t.Errorf("document %q", w.Body)
		}
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Unix(1770000000, 0)
	l := newLimiter(Rates{Messages: 2, QuestionsPerDay: 150, RememberAtMost: 10})
	for range 2 {
		if l.message("a.example", Rates{}, false, 1, now) != 0 {
			t.Error("refused within the rate")
		}
	}
	if wait := l.message("a.example", Rates{}, false, 1, now); wait != 30*time.Second {
		t.Errorf("wait %s, want 30s", wait)
	}
	if l.message("b.example", Rates{}, false, 1, now) != 0 {
		t.Error("one domain slows another")
	}
	if l.message("a.example", Rates{}, false, 1, now.Add(30*time.Second)) != 0 {
		t.Error("refused after the wait")
	}
	// A45: recipients asked about count by the day.
	if l.message("a.example", Rates{}, true, 100, now) != 0 || l.message("a.example", Rates{}, true, 100, now) == 0 {
		t.Error("day budget")
	}
	for i := range 1000 {
		l.message(strings.Repeat("x", i)+".example", Rates{}, false, 1, now)
	}
	if len(l.buckets) > 10 {
		t.Errorf("%d names remembered", len(l.buckets))
	}
	for in, want := range map[string]string{
		"192.0.2.77:1234": "192.0.2.0/24", "[::ffff:192.0.2.77]:1": "192.0.2.0/24", "[2001:db8:1:2::3]:4": "2001:db8:1::/48",
		"[fe80::1%eth0]:4": "fe80::/48", "pipe": "pipe",
	} {
		if got := network(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
