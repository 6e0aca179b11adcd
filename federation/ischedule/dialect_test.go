package ischedule

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/dkim"
)

// labKeys are the keys of the captures. Their private halves are gone; the
// public ones were computed from the signatures themselves (two signatures of
// one RSA key give its modulus).
var labKeys = map[string]string{
	"cal._domainkey.alpha.test":  "v=DKIM1; k=rsa; s=calendar; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyQSMYtQLWH1jxZuKUKc6IzpQfB7BIGyFDb1zewPXtuYs34ax+QFfLtbuJFLulFuxZ5lYtDku4IF6i1reFm4BulghS6lXOAIbI1HUVmSfcfntVt+KZBbpZIcxgKgfNcVDl1X5+fQTAxdGzqPN4wfMMC52IKcY7zjJ4bUQCW+qKsVDdcCWTk9Qwtm5cu1jNiCGd3Wr9a5QF8EXvNaxRc1ZHAok1ZZCJkpOo5f4kc+hQeG/KPJ69Z0DmF7wnKyZggMRmm+JHBIFo3WIcvgfbJN4R6OMJUwGwHMcyz0hsS+etAMqhqaBQ5bESFfkXGhltSrrBXjdrBBnw67rL1NDOngsnQIDAQAB",
	"k1._domainkey.kalends.test": "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAthXEuNJhAsQQxm+zCIfzefqcuQLoxptrb6V8cDotHRcBs/gKV5xsZSb8niNXCZ9gD3/29baaKFoO8bn31yiR2JrYuTL2ngf5wHGXLqvrHdvNsVr3I9qsjjh8pVS0Ugi0AE85JIjx87JhgU72VlVtehhdgmFumbFQqPdcBeSHpMrOUTkiv9ZI+btPKGXQSL8HPNxivBqYLvnszvG1JOrYVBqgHRfyjFNiPf9iOYYGwaJe0BaVv9bECQFOK4maQP8uxABygj66lBgiKb8R00gx2iZhONip2SBboSzRXWdWkiO56q+fv+y6ec8NaYN0EodES6ZZiScHPtZGPDrkj6omHwIDAQAB",
}

// capture reads a captured request and the time its signature was made.
func capture(t *testing.T, name string) (request []byte, made time.Time) {
	t.Helper()
	request = vectorFile(t, "captures/"+name)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := dkim.ParseSignature(r.Header.Get("DKIM-Signature"))
	if err != nil {
		t.Fatal(err)
	}
	return request, time.Unix(sig.Time, 0)
}

// Everything that was captured is played to a receiver: what a stock DAViCal
// sends is taken from a domain whose endpoint answers in draft -01 words, and
// from nobody else (ischedule §11).
func TestCaptures(t *testing.T) {
	t.Parallel()
	davical := func(context.Context, string) (Dialect, error) { return DialectDraft01, nil }
	final := func(context.Context, string) (Dialect, error) { return DialectFinal, nil }
	for _, c := range []struct {
		file     string
		local    string
		user     calendar.Address
		dialects func(context.Context, string) (Dialect, error)
		peer     Peer
		http     int
		dkim     dkim.Result
	}{
		{"davical-stock-request.req.http", "beta.test", "mailto:bob@beta.test", davical, Peer{}, 200, dkim.Pass},
		{"davical-lab-request.req.http", "beta.test", "mailto:bob@beta.test", davical, Peer{}, 200, dkim.Pass},
		{"davical-lab-freebusy.req.http", "beta.test", "mailto:bob@beta.test", davical, Peer{}, 200, dkim.Pass},
		{"ours-to-davical-stock.req.http", "beta.test", "mailto:bob@beta.test", davical, Peer{}, 200, dkim.Pass},
		{"ours-to-cyrus.req.http", "cyrus.test", "mailto:carl@cyrus.test", final, Peer{}, 200, dkim.Pass},
		{"davical-stock-request.req.http", "beta.test", "mailto:bob@beta.test", nil, Peer{Dialect: DialectDraft01}, 200, dkim.Pass},
		{"davical-stock-request.req.http", "beta.test", "mailto:bob@beta.test", final, Peer{}, 403, dkim.PermError},
		{"davical-lab-freebusy.req.http", "beta.test", "mailto:bob@beta.test", nil, Peer{}, 403, dkim.PermError},
		{"davical-lab-request.req.http", "beta.test", "mailto:bob@beta.test", davical, Peer{DialectFixed: true}, 403, dkim.PermError},
		{"davical-lab-request.req.http", "beta.test", "mailto:bob@beta.test", davical, Peer{Blocked: true}, 403, dkim.Pass},
	} {
		t.Run(fmt.Sprintf("%s to %d", c.file, c.http), func(t *testing.T) {
			t.Parallel()
			request, made := capture(t, c.file)
			d := newDesk(c.user)
			var got Verdict
			now := made.Add(20 * time.Second)
			srv := httptest.NewServer(NewHandler(HandlerConfig{Receiver: d, Keys: zone{private: labKeys}, Serial: &serials{}, Now: func() time.Time { return now },
				Local: func(domain string) bool { return domain == c.local }, Dialects: c.dialects, Peer: func(string) Peer { return c.peer }, Observe: func(v Verdict) { got = v }}))
			defer srv.Close()
			resp, body := raw(t, srv, request)
			if resp.StatusCode != c.http || got.DKIM != c.dkim {
				t.Fatalf("HTTP %d, dkim %s: %s", resp.StatusCode, got.DKIM, got.Reason)
			}
			a := ReadAnswer(resp.StatusCode, body, []calendar.Address{c.user})
			if c.http != 200 {
				if d.count() != 0 || a.Condition == "" {
					t.Errorf("%d messages arrived, %+v", d.count(), a)
				}
				return
			}
			if a.Outcomes[0].Code != "2.0" || d.count() != 1 || (d.got[0].Message.Kind() == "VFREEBUSY") != (len(a.Outcomes[0].CalendarData) > 0) {
				t.Errorf("%+v, %d messages", a, d.count())
			}
			// A39: the same octets again act on nothing; without a message id the
			// signature is what they are recognized by. Later they are too old.
			if resp, _ := raw(t, srv, request); resp.StatusCode != 200 || d.count() != 1 {
				t.Errorf("replay: HTTP %d, %d messages", resp.StatusCode, d.count())
			}
			now = made.Add(3901 * time.Second)
			if resp, _ := raw(t, srv, request); resp.StatusCode != 403 || d.count() != 1 {
				t.Errorf("stale: HTTP %d, %d messages", resp.StatusCode, d.count())
			}
			now = made
			// One octet more, and l= no longer covers the whole body (A40).
			longer := bytes.Replace(request, []byte("END:VCALENDAR\r\n"), []byte("END:VCALENDAR\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"), 1)
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(longer)))
			if err != nil {
				t.Fatal(err)
			}
			longer = bytes.Replace(longer, fmt.Appendf(nil, "Content-Length: %d", r.ContentLength), fmt.Appendf(nil, "Content-Length: %d", r.ContentLength+32), 1)
			if resp, _ := raw(t, srv, longer); resp.StatusCode != 403 || d.count() != 1 {
				t.Errorf("appended: HTTP %d, %d messages", resp.StatusCode, d.count())
			}
		})
	}
}

// The captured answers of other servers to what we send.
func TestCapturedAnswers(t *testing.T) {
	t.Parallel()
	read := func(name string, to calendar.Address) Answer {
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(vectorFile(t, "captures/"+name))), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return ReadAnswer(resp.StatusCode, body, []calendar.Address{to})
	}
	for _, name := range []string{"davical-lab-request", "davical-lab-freebusy", "ours-to-davical-stock"} {
		if a := read(name+".resp.http", "mailto:bob@beta.test"); a.Outcomes[0].Disposition != Done {
			t.Errorf("%s: %+v", name, a)
		}
	}
	fb := read("davical-lab-freebusy.resp.http", "mailto:bob@beta.test").Outcomes[0].CalendarData
	if o, err := calendar.Parse(fb, calendar.Limits{}); err != nil || o.Method() != "REPLY" || !strings.Contains(string(fb), "FREEBUSY:20261201T100000Z/20261201T110000Z\r\n") {
		t.Errorf("busy time of DAViCal: %v\n%s", err, fb)
	}
	if a := read("ours-to-cyrus.resp.http", "mailto:carl@cyrus.test"); a.Outcomes[0].Disposition != Done {
		t.Errorf("%+v", a)
	}
	// A refusal without a document may mean the other dialect.
	if a := read("davical-stock-request.resp.http", "mailto:bob@beta.test"); a.Outcomes[0].Disposition != Fail || !wrongDialect(412, a.Condition, DialectFinal) {
		t.Errorf("%+v", a)
	}
	// Cyrus redirects to http behind a proxy; same authority, so https.
	for _, name := range []string{"cyrus-wellknown-get.resp.http", "cyrus-wellknown-post.resp.http"} {
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(vectorFile(t, "captures/"+name))), nil)
		if err != nil {
			t.Fatal(err)
		}
		to := strings.Replace(resp.Header.Get("Location"), "http://", "https://", 1)
		from := strings.Split(to, "/ischedule")[0] + "/.well-known/ischedule"
		next, err := redirected(http.MethodPost, from, reply{status: resp.StatusCode, header: resp.Header}, 0)
		if err != nil || next != to {
			t.Errorf("%s leads to %q (%v), want %q", name, next, err, to)
		}
		if next, err := redirected(http.MethodPost, "https://elsewhere.test/x", reply{status: resp.StatusCode, header: resp.Header}, 0); err == nil {
			t.Errorf("plain http on another host is followed to %s", next)
		}
	}
}

// How often a domain is asked: not before its signature has passed, at most
// once in ten minutes, an hour after a no; 503 until it is known (ischedule §11).
func TestDialectQuestions(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var answer atomic.Pointer[error]
	dialect := DialectDraft01
	b := newBench(t, func(c *HandlerConfig) {
		c.Dialects = func(_ context.Context, domain string) (Dialect, error) {
			asked.Add(1)
			if domain != "north.example" {
				t.Errorf("asked about %s", domain)
			}
			if err := answer.Load(); err != nil {
				return 0, *err
			}
			return dialect, nil
		}
	})
	signer := b.signer
	draft := *signer.Draft01()
	n := 0
	post := func() *http.Response {
		n++
		resp, _ := b.send(invitation(vevent("REQUEST", orgAlice, attBob, fmt.Sprintf("X-N:%d", n))).set("iSchedule-Message-ID", fmt.Sprint("id-", n)))
		return resp
	}
	want := func(what string, code int, questions int64) {
		t.Helper()
		if resp := post(); resp.StatusCode != code || asked.Load() != questions || code == 503 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: HTTP %d, %d questions, Retry-After %q (%s)", what, resp.StatusCode, asked.Load(), resp.Header.Get("Retry-After"), b.verdict.Reason)
		}
	}
	want("present form", 200, 0)
	b.signer = draft
	b.signer.Key = testKey(t, "kother")
	want("a signature that does not pass", 403, 0)
	b.signer = draft
	failure := errors.New("connection refused")
	answer.Store(&failure)
	want("endpoint away", 503, 1)
	want("endpoint away, again at once", 503, 1)
	b.now = b.now.Add(dialectAsk)
	answer.Store(nil)
	want("ten minutes later", 200, 2)
	want("known", 200, 2)
	dialect = DialectFinal
	b.now = b.now.Add(dialectAsk)
	want("not any more", 403, 3)
	dialect = DialectDraft01
	b.now = b.now.Add(dialectNegative - time.Second)
	want("a no is kept", 403, 3)
	b.now = b.now.Add(time.Second)
	want("and asked again after an hour", 200, 4)
	b.signer = signer
	want("present form still", 200, 4)

	// Strangers cause no more questions at a time than allowed.
	block := make(chan struct{})
	m := newDialectMemory(func(context.Context, string) (Dialect, error) { <-block; return DialectDraft01, nil }, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 3 * dialectParallel {
		if _, _, err := m.of(ctx, fmt.Sprintf("d%d.test", i)); !errors.Is(err, errDialectUnknown) {
			t.Error(err)
		}
	}
	if n := len(m.slots); n != dialectParallel {
		t.Errorf("%d questions under way", n)
	}
	close(block)
}

// The client tells a dialect from the capabilities it reads and caches.
func TestDialectOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &scripted{get: func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "query=capabilities" {
			rw.WriteHeader(404) // as DAViCal does
			return
		}
		rw.Write(ours().DraftDocument())
	}, post: success}
	w.peer(s)
	c := w.client(func(c *ClientConfig) { c.Draft01 = true })
	for range 2 {
		if d, err := c.DialectOf(t.Context(), "beta.test"); err != nil || d != DialectDraft01 {
			t.Errorf("%v %v", d, err)
		}
	}
	if len(s.gets) != 2 {
		t.Errorf("%d questions, want both once", len(s.gets))
	}
	if d, err := c.DialectOf(t.Context(), "no-service.test"); err != nil || d != DialectFinal {
		t.Errorf("a domain without service: %v %v", d, err)
	}
	// Header names keep their spelling, which the signature covers: HTTP/1.1.
	if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Done || s.posts[0].ProtoMajor != 1 {
		t.Errorf("%+v by %s", got[0], s.posts[0].Proto)
	}
	if note := traceOf(c.Send(t.Context(), parcel(carol))); !strings.Contains(note, "cannot answer by iSchedule") {
		t.Errorf("trace %s", note)
	}
}

func traceOf(ds []Delivery) string { return fmt.Sprintf("%+v", ds[0].Trace) }

// The networks whose failures are counted are those behind a trusted proxy.
func TestRemote(t *testing.T) {
	t.Parallel()
	from := netip.MustParseAddr("198.51.100.7")
	b := newBench(t, func(c *HandlerConfig) {
		c.Rates = Rates{FailuresByNet: 2}
		c.Remote = func(*http.Request) netip.Addr { return from }
	})
	good := b.signer
	bad := good
	bad.Key = testKey(t, "kother")
	b.signer = bad
	for i, want := range []int{403, 403, 429} {
		if resp, _ := b.send(invitation(vevent("REQUEST", orgAlice, attBob))); resp.StatusCode != want {
			t.Errorf("failure %d: HTTP %d", i+1, resp.StatusCode)
		}
	}
	from = netip.MustParseAddr("203.0.113.7")
	b.signer = good
	for range 5 { // what passes costs nothing
		if resp, _ := b.send(invitation(vevent("REQUEST", orgAlice, attBob))); resp.StatusCode != 200 {
			t.Errorf("another network: HTTP %d", resp.StatusCode)
		}
	}
}

// The default port is in neither the Host header nor its signature.
func TestHostHeader(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"https://cal.beta.test:443/x": "cal.beta.test", "https://cal.beta.test/x": "cal.beta.test", "https://cal.beta.test:8443/x": "cal.beta.test:8443", "https://[2001:db8::1]:443/": "[2001:db8::1]"} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := hostHeader(u); got != want {
			t.Errorf("%s: %q", in, got)
		}
		seen := ""
		c := NewClient(ClientConfig{Now: time.Now, HTTP: roundTrip(func(r *http.Request) (*http.Response, error) { seen = r.Host; return nil, errors.New("no") })})
		_, _ = c.roundTrip(t.Context(), discover.Identity{}, "POST", in, nil, nil, 10)
		if seen != want {
			t.Errorf("%s is sent with Host %q", in, seen)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A47: a message for another domain that is delivered to us reaches nobody.
func TestHostConfusion(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := invitation(vevent("REQUEST", orgAlice, "ATTENDEE:mailto:zed@west.example")).set("Recipient", "mailto:zed@west.example")
	resp, a := b.send(r, "mailto:zed@west.example")
	if resp.StatusCode != 200 || a.Outcomes[0].Code != "3.7" || a.Outcomes[0].Disposition != Fail {
		t.Errorf("HTTP %d, %+v", resp.StatusCode, a)
	}
}

// What a peer asks us to wait, in both forms; nonsense is no wish.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Unix(1770000000, 0)
	for in, want := range map[string]time.Duration{"": 0, "120": 2 * time.Minute, "-5": 0, "99999999999999": 0, "soon": 0,
		now.Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).UTC().Format(http.TimeFormat): 0} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	w := newWorld(t)
	s := &scripted{get: giveCaps(ours()), post: func(rw http.ResponseWriter, _ *http.Request, _ string) {
		rw.Header().Set("Retry-After", "90")
		rw.WriteHeader(503)
	}}
	w.peer(s)
	if got := w.client(nil).Send(t.Context(), parcel(carol)); !got[0].Retry || got[0].RetryAfter != 90*time.Second {
		t.Errorf("%+v", got[0])
	}
}
