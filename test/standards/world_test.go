// Package standards shows, section by section of docs/rfc.md, what a program
// that speaks CalDAV sees: the whole stack from HTTP to the database, on both
// engines, without the network.
package standards

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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// world is one installation of example.com with alice, bob, carol, a room and
// a group.
type world struct {
	testing.TB
	db    *storage.DB
	sched *scheduling.Service
	url   string
}

var (
	errDenied = errors.New("denied")
	errSlow   = errors.New("slow")
)

// nameAsPassword lets everybody in with the own name.
type nameAsPassword struct{}

func (nameAsPassword) Check(_ context.Context, a *storage.Account, _, password string, _ netip.Addr) error {
	if a == nil || password != a.Handle {
		return errDenied
	}
	return nil
}

func (nameAsPassword) Knows(a *storage.Account, password string) bool {
	return !a.Disabled && password == a.Handle
}

func engines(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			f(newWorld(t, storagetest.Open(t, e)))
		})
	}
}

func newWorld(t testing.TB, db *storage.DB) *world {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	w := &world{TB: t, db: db, sched: scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader, Log: quiet, Node: "test", RefreshDelay: time.Nanosecond, HoldDelete: -1})}
	srv := httptest.NewServer(caldav.New(db, w.sched, nameAsPassword{}, caldav.Config{Refusals: caldav.Refusals{Denied: errDenied, Slow: errSlow}, Log: quiet}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	ctx := context.Background()
	if err := db.AddDomain(ctx, "example.com"); err != nil {
		t.Fatal(err)
	}
	group := storage.AccountID(0)
	for _, a := range []storage.Account{
		{Handle: "team", Kind: storage.KindGroup, DisplayName: "The Team"},
		{Handle: "alice", Kind: storage.KindUser, DisplayName: "Alice Alder"},
		{Handle: "bob", Kind: storage.KindUser, DisplayName: "Bob Birch"},
		{Handle: "carol", Kind: storage.KindUser, DisplayName: "Carol Cedar"},
		{Handle: "room1", Kind: storage.KindRoom, DisplayName: "Room One"},
	} {
		a.Verifier = "x"
		if a.Kind != storage.KindGroup {
			a.Emails = []string{a.Handle + "@example.com"}
		}
		made, err := db.CreateAccount(ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		switch a.Handle {
		case "team":
			group = made.ID
		case "bob":
			if err := db.AddMember(ctx, group, made.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// work lets the worker do what is due.
func (w *world) work() {
	w.Helper()
	for range 20 {
		if !w.sched.Step(context.Background(), nil) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// answer is what a request brought.
type answer struct {
	*http.Response
	w    *world
	what string
	text string
}

// do sends a request; head holds lines "Name: value".
func (w *world) do(user, method, path, head, body string) answer {
	w.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.SetBasicAuth(user, user)
	if method == "PUT" || method == "POST" {
		req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
	}
	for line := range strings.Lines(head) {
		k, v, _ := strings.Cut(line, ":")
		req.Header.Set(k, strings.TrimSpace(v))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer{resp, w, method + " " + path, string(b)}
}

// want checks the status and that the body holds every part.
func (a answer) want(status int, parts ...string) answer {
	a.w.Helper()
	if a.StatusCode != status {
		a.w.Fatalf("%s: status %d, want %d: %s", a.what, a.StatusCode, status, a.text)
	}
	for _, p := range parts {
		if !strings.Contains(a.text, p) {
			a.w.Errorf("%s: the answer lacks %q: %s", a.what, p, a.text)
		}
	}
	return a
}

func (a answer) lacks(parts ...string) answer {
	a.w.Helper()
	for _, p := range parts {
		if strings.Contains(a.text, p) {
			a.w.Errorf("%s: the answer holds %q: %s", a.what, p, a.text)
		}
	}
	return a
}

func (a answer) header(name, want string) answer {
	a.w.Helper()
	if got := a.Header.Get(name); got != want {
		a.w.Errorf("%s: %s is %q, want %q", a.what, name, got, want)
	}
	return a
}

// hrefs are the hrefs of a multistatus in order, with the status of those that
// have one of their own.
func (a answer) hrefs() []string {
	a.w.Helper()
	var ms struct {
		Responses []struct {
			Href   string `xml:"href"`
			Status string `xml:"status"`
		} `xml:"response"`
		Token string `xml:"sync-token"`
	}
	if err := xml.Unmarshal([]byte(a.text), &ms); err != nil {
		a.w.Fatalf("%s: no multistatus: %v: %s", a.what, err, a.text)
	}
	var out []string
	for _, r := range ms.Responses {
		h := r.Href
		if f := strings.Fields(r.Status); len(f) > 1 {
			h += " " + f[1]
		}
		out = append(out, h)
	}
	return out
}

func (a answer) wantHrefs(want ...string) answer {
	a.w.Helper()
	got := a.hrefs()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		a.w.Errorf("%s: hrefs %v, want %v", a.what, got, want)
	}
	return a
}

func (a answer) token() string {
	a.w.Helper()
	_, rest, _ := strings.Cut(a.text, "<D:sync-token>")
	token, _, ok := strings.Cut(rest, "</D:sync-token>")
	if !ok {
		a.w.Fatalf("%s: no sync token: %s", a.what, a.text)
	}
	return token
}

const namespaces = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"`

func propfind(props string) string {
	return "<D:propfind" + namespaces + "><D:prop>" + props + "</D:prop></D:propfind>"
}

func proppatch(props string) string {
	return "<D:propertyupdate" + namespaces + "><D:set><D:prop>" + props + "</D:prop></D:set></D:propertyupdate>"
}

// report is a body with the root, such as D:expand-property, and what is in it.
func report(root, inside string) string {
	name, _, _ := strings.Cut(root, " ")
	return "<" + root + namespaces + ">" + inside + "</" + name + ">"
}

// event is a calendar object with one VEVENT of an hour in January 2026.
func event(uid string, day int, more ...string) string {
	return ics(vevent(uid, day, more...))
}

func ics(components ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n" + strings.Join(components, "") + "END:VCALENDAR\r\n"
}

func vevent(uid string, day int, more ...string) string {
	return fmt.Sprintf("BEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:20251201T000000Z\r\nSUMMARY:About %s\r\nDTSTART:202601%02dT100000Z\r\nDURATION:PT1H\r\n%sEND:VEVENT\r\n",
		uid, uid, day, strings.Join(append(more, ""), "\r\n"))
}

const (
	cal   = "/dav/calendars/alice/calendar/"
	inbox = "/dav/calendars/bob/inbox/"
)
