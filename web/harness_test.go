package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

var (
	errDenied = errors.New("denied")
	errSlow   = errors.New("slow")
)

// plainAuth compares passwords with verifiers that are "plain:" and the
// password; what it refuses is like the real thing.
type plainAuth struct{ slow atomic.Bool }

func (p *plainAuth) Check(_ context.Context, a *storage.Account, _, password string, _ netip.Addr) error {
	switch {
	case p.slow.Load():
		return errSlow
	case a == nil || a.Disabled || a.Verifier == "" || a.Verifier != "plain:"+password:
		return errDenied
	}
	return nil
}

// world is an installation with pages, seen through browsers.
type world struct {
	t         *testing.T
	db        *storage.DB
	sched     *scheduling.Service
	auth      *plainAuth
	srv       *httptest.Server
	now       atomic.Pointer[time.Time]
	url       string // as Config.ExternalURL gives it; "" is the server's own
	hints     []string
	hintsFail error
}

// friday is a week in which nothing odd happens to clocks.
var friday = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

// engine is what the tests run on: all of them on one after the other.
var engine storagetest.Engine

func TestMain(m *testing.M) {
	for _, engine = range storagetest.Engines(nil) {
		if m.Run() != 0 {
			fmt.Println("with", engine)
			os.Exit(1)
		}
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, auth: &plainAuth{}}
	w.now.Store(&friday)
	clock := func() time.Time { return *w.now.Load() }
	w.db = storagetest.OpenWith(t, engine, storage.Options{Clock: clock})
	log := slog.New(slog.DiscardHandler)
	w.sched = scheduling.New(w.db, noTransport{}, scheduling.Config{Now: clock, Log: log, Rand: randomBytes{}, LinkSecret: []byte(strings.Repeat("l", 32))})
	h, err := New(w.db, w.sched, Config{Secret: []byte(strings.Repeat("s", 32)), Auth: w.auth, Refusals: Refusals{errDenied, errSlow},
		Hash:           func(p string) (string, error) { return "plain:" + p, nil },
		NewAppPassword: func() (string, string, error) { return "app-password-shown-once", "hash-of-it", nil },
		ExternalURL: func(r *http.Request) string {
			if w.url != "" {
				return w.url
			}
			return "http://" + r.Host
		},
		RequestID: func(context.Context) string { return "request-0815" },
		DNSHints:  func(context.Context) ([]string, error) { return w.hints, w.hintsFail },
		Now:       clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.srv = httptest.NewServer(h)
	t.Cleanup(w.srv.Close)
	if err := w.db.AddDomain(t.Context(), "alpha.test"); err != nil {
		t.Fatal(err)
	}
	return w
}

// account creates somebody whose password is the handle and "-secret".
func (w *world) account(handle string, edit func(*storage.Account)) storage.Account {
	w.t.Helper()
	a := storage.Account{Handle: handle, Kind: storage.KindUser, DisplayName: strings.ToUpper(handle[:1]) + handle[1:], Emails: []string{handle + "@alpha.test"}, Verifier: "plain:" + handle + "-secret"}
	if edit != nil {
		edit(&a)
	}
	a, err := w.db.CreateAccount(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.Tx(w.t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		c, err := tx.CollectionByName(ctx, a.ID, "calendar")
		if err != nil {
			return err
		}
		c.TimezoneID = "Europe/Berlin"
		return tx.UpdateCollection(ctx, c)
	}); err != nil {
		w.t.Fatal(err)
	}
	return a
}

// put stores an object as a program would; body is what stands between BEGIN
// and END of its VCALENDAR.
func (w *world) put(a storage.Account, name, body string) {
	w.t.Helper()
	c, err := w.db.CollectionByName(w.t.Context(), a.ID, "calendar")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.sched.Put(w.t.Context(), scheduling.Put{Actor: scheduling.Actor{Account: a, By: a}, Key: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: name}, Data: ics(body)}); err != nil {
		w.t.Fatalf("PUT %s: %v", name, err)
	}
}

// stored parses what a has under a UID.
func (w *world) stored(a storage.Account, uid string) (storage.Object, *calendar.Object) {
	w.t.Helper()
	var rows []storage.Object
	if err := w.db.View(w.t.Context(), func(ctx context.Context, tx *storage.Tx) (err error) {
		rows, err = tx.ObjectsByUID(ctx, []storage.AccountID{a.ID}, uid, storage.ColumnData)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	if len(rows) != 1 {
		w.t.Fatalf("%s has %d objects with the UID %s, want 1", a.Handle, len(rows), uid)
	}
	o, err := calendar.Parse([]byte(rows[0].Data), calendar.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows[0], o
}

func ics(body string) []byte {
	text := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\n" + strings.TrimSpace(body) + "\nEND:VCALENDAR\n"
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}

// browser keeps cookies and sends what a browser sends.
type browser struct {
	w *world
	c *http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{w, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signedIn is a browser in which handle has signed in.
func (w *world) signedIn(handle string) *browser {
	w.t.Helper()
	b := w.browser()
	if r := b.post("/sign-in", url.Values{"login": {handle}, "password": {handle + "-secret"}}); r.status != http.StatusSeeOther {
		w.t.Fatalf("sign-in of %s: %d\n%s", handle, r.status, r.body)
	}
	return b
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path string, form url.Values, edit func(*http.Request)) reply {
	b.w.t.Helper()
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, b.w.srv.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if edit != nil {
		edit(r)
	}
	res, err := b.c.Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

func (b *browser) get(path string) reply { b.w.t.Helper(); return b.do(http.MethodGet, path, nil, nil) }
func (b *browser) post(path string, form url.Values) reply {
	b.w.t.Helper()
	return b.do(http.MethodPost, path, form, nil)
}

// want tests status and that the body has each of the parts.
func (r reply) want(t *testing.T, status int, parts ...string) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d\n%s", r.status, status, r.body)
	}
	for _, p := range parts {
		if !strings.Contains(r.body, p) {
			t.Errorf("the page lacks %q\n%s", p, r.body)
		}
	}
}

func (r reply) lacks(t *testing.T, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(r.body, p) {
			t.Errorf("the page has %q\n%s", p, r.body)
		}
	}
}

// noTransport is there so that messages are queued; no worker runs here.
type noTransport struct{}

func (noTransport) Send(context.Context, scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	return nil, errors.New("no network")
}

func (noTransport) FreeBusy(context.Context, scheduling.Question) ([]scheduling.RecipientResult, error) {
	return nil, errors.New("no network")
}

// randomBytes makes names that differ from each other.
type randomBytes struct{}

var counter atomic.Uint64

func (randomBytes) Read(b []byte) (int, error) {
	n := counter.Add(1)
	for i := range b {
		b[i] = byte(n >> (8 * (i % 8)))
	}
	return len(b), nil
}

// field is the value of a hidden input of the page.
func (r reply) field(t *testing.T, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(r.body, `name="`+name+`" value="`)
	if !ok {
		t.Fatalf("the page has no field %s\n%s", name, r.body)
	}
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

// setColor stores a colour as a program might, without looking at it.
func (w *world) setColor(a storage.Account, color string) {
	w.t.Helper()
	if err := w.db.Tx(w.t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		c, err := tx.CollectionByName(ctx, a.ID, "calendar")
		if err != nil {
			return err
		}
		c.Color = color
		return tx.UpdateCollection(ctx, c)
	}); err != nil {
		w.t.Fatal(err)
	}
}

// receive hands a message from one account to another, as their programs do.
func (w *world) receive(from, to storage.Account, body string) {
	w.t.Helper()
	msg, err := calendar.Parse(ics(body), calendar.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := w.sched.Receive(w.t.Context(), scheduling.Inbound{Via: "local", Originator: calendar.Address("mailto:" + from.Emails[0]), Recipients: []calendar.Address{calendar.Address("mailto:" + to.Emails[0])}, Message: msg})
	if err != nil || len(res) != 1 || !strings.HasPrefix(res[0].Status, "2") {
		w.t.Fatalf("receive: %+v %v", res, err)
	}
}

// withHeader sets headers, given as names and values in turn.
func withHeader(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Set(pairs[i], pairs[i+1])
		}
	}
}
