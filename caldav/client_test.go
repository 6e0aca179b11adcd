package caldav_test

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// world is a handler over a real database, with people in it.
type world struct {
	t     testing.TB
	db    *storage.DB
	sched *scheduling.Service
	h     http.Handler
	srv   *httptest.Server
}

var (
	errDenied = errors.New("denied")
	errSlow   = errors.New("slow")
)

// everybody signs in with the own name as password.
type namePassword struct{}

func (namePassword) Check(_ context.Context, a *storage.Account, _, password string, _ netip.Addr) error {
	if a == nil || a.Disabled || password != a.Handle {
		return errDenied
	}
	return nil
}

func (namePassword) Knows(a *storage.Account, password string) bool {
	return !a.Disabled && password == a.Handle
}

// engines runs a test on every storage engine.
func engines(t *testing.T, f func(w *world), change ...func(*caldav.Config)) {
	t.Helper()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(newWorldWith(t, storagetest.Open(t, e), func(c *caldav.Config) {
				for _, x := range change {
					x(c)
				}
			}))
		})
	}
}

func newWorld(t testing.TB, db *storage.DB) *world {
	t.Helper()
	return newWorldWith(t, db, func(*caldav.Config) {})
}

// newWorldWith is a world whose handler is configured otherwise.
func newWorldWith(t testing.TB, db *storage.DB, change func(*caldav.Config)) *world {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	w := &world{t: t, db: db, sched: scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader, Log: quiet, Node: "test", RefreshDelay: time.Millisecond,
		Rules: calendar.Rules{MinDate: caldav.MinDate, MaxDate: caldav.MaxDate}})}
	cfg := caldav.Config{Refusals: caldav.Refusals{Denied: errDenied, Slow: errSlow}, Log: quiet, MaxBody: 1 << 20}
	change(&cfg)
	h := caldav.New(db, w.sched, namePassword{}, cfg)
	w.h = h
	w.srv = httptest.NewServer(h)
	t.Cleanup(w.srv.Close)
	ctx := context.Background()
	if err := db.AddDomain(ctx, "example.com"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 4; i++ {
		name := fmt.Sprintf("user%02d", i)
		if _, err := db.CreateAccount(ctx, storage.Account{Handle: name, Kind: storage.KindUser, DisplayName: fmt.Sprintf("User %02d", i), Emails: []string{name + "@example.com"}, Verifier: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// answer is what came back.
type answer struct {
	*http.Response
	text string
	t    testing.TB
}

// do sends a request as a user; head is "Name: value" lines.
func (w *world) do(user, method, path, head, body string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.srv.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, user)
	}
	if method == "PUT" || method == "POST" {
		req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
	}
	for line := range strings.SplitSeq(head, "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			req.Header.Set(strings.TrimSpace(k), strings.TrimSpace(v))
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp, string(b), w.t}
}

// want checks the status and that the body contains every part.
func (a answer) want(status int, parts ...string) answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.text)
	}
	for _, p := range parts {
		if !strings.Contains(a.text, p) {
			a.t.Fatalf("%s %s: the answer lacks %q: %s", a.Request.Method, a.Request.URL.Path, p, a.text)
		}
	}
	return a
}

// lacks checks that the body contains none of the parts.
func (a answer) lacks(parts ...string) answer {
	a.t.Helper()
	for _, p := range parts {
		if strings.Contains(a.text, p) {
			a.t.Fatalf("%s %s: the answer contains %q: %s", a.Request.Method, a.Request.URL.Path, p, a.text)
		}
	}
	return a
}

// hrefs are the hrefs of a multistatus, with a note on those that have a status
// of their own.
func (a answer) hrefs() []string {
	a.t.Helper()
	var ms struct {
		Responses []struct {
			Href   string `xml:"href"`
			Status string `xml:"status"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal([]byte(a.text), &ms); err != nil {
		a.t.Fatalf("no multistatus: %v: %s", err, a.text)
	}
	var out []string
	for _, r := range ms.Responses {
		h := r.Href
		if r.Status != "" {
			h += " " + strings.Fields(r.Status)[1]
		}
		out = append(out, h)
	}
	return out
}

func (a answer) token() string {
	a.t.Helper()
	var ms struct {
		Token string `xml:"sync-token"`
	}
	if err := xml.Unmarshal([]byte(a.text), &ms); err != nil || ms.Token == "" {
		a.t.Fatalf("no sync-token: %v: %s", err, a.text)
	}
	return ms.Token
}

// event is a calendar object with one VEVENT.
func event(uid, summary, start string, more ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:" + summary +
		"\r\nDTSTART:" + start + "\r\nDURATION:PT1H\r\n" + strings.Join(append(more, ""), "\r\n") + "END:VEVENT\r\nEND:VCALENDAR\r\n"
}

const cal = "/dav/calendars/user01/calendar/"

func propfind(props string) string {
	return `<?xml version="1.0"?><D:propfind xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"><D:prop>` + props + `</D:prop></D:propfind>`
}

func syncBody(token, limit string) string {
	if limit != "" {
		limit = "<D:limit><D:nresults>" + limit + "</D:nresults></D:limit>"
	}
	return `<D:sync-collection xmlns:D="DAV:"><D:sync-token>` + token + `</D:sync-token><D:sync-level>1</D:sync-level>` + limit + `<D:prop><D:getetag/></D:prop></D:sync-collection>`
}
