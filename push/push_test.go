package push_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/push"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

var (
	errDenied = errors.New("denied")
	errSlow   = errors.New("slow")
	base64url = base64.RawURLEncoding
)

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

// world is one installation with alice and bob, and a push service.
type world struct {
	*testing.T
	db      *storage.DB
	url     string
	service *service
	log     *lockedBuffer
	nodes   atomic.Int64
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

// service is a push service on loopback, with TLS, and the programs behind it.
type service struct {
	*httptest.Server
	mu      sync.Mutex
	answer  map[string]int // status by path, 201 else
	asked   map[string]int
	arrived chan arrival
}

type arrival struct {
	path string
	head http.Header
	body []byte
	at   time.Time
}

func newService(t *testing.T) *service {
	s := &service{answer: map[string]int{}, asked: map[string]int{}, arrived: make(chan arrival, 1000)}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		status := s.answer[r.URL.Path]
		s.asked[r.URL.Path]++
		s.mu.Unlock()
		if status == 0 {
			status = http.StatusCreated
		}
		w.WriteHeader(status)
		s.arrived <- arrival{r.URL.Path, r.Header.Clone(), body, time.Now()}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) says(path string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[path] = status
}

func (s *service) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

func newWorld(t *testing.T, e storagetest.Engine) *world {
	t.Helper()
	w := &world{T: t, db: storagetest.Open(t, e), service: newService(t), log: &lockedBuffer{}}
	for _, name := range []string{"alice", "bob"} {
		if _, err := w.db.CreateAccount(context.Background(), storage.Account{Handle: name, Kind: storage.KindUser, Verifier: "x", Emails: []string{name + "@example.com"}}); err != nil {
			t.Fatal(err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	sched := scheduling.New(w.db, nil, scheduling.Config{Rand: rand.Reader, Log: quiet, Node: "test", HoldDelete: -1})
	srv := httptest.NewServer(caldav.New(w.db, sched, nameAsPassword{}, caldav.Config{Refusals: caldav.Refusals{Denied: errDenied, Slow: errSlow}, Log: quiet,
		Push: &caldav.Push{PublicKey: identity(t).PublicKey(), PerUser: 5}}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func identity(t *testing.T) *push.Identity {
	t.Helper()
	id, err := push.NewIdentity([]byte("a secret of the installation"), "mailto:postmaster@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// node starts a sender on db; allow are networks that its dialer may reach.
func (w *world) node(db *storage.DB, allow ...netip.Prefix) {
	w.Helper()
	resolver, err := discover.NewResolver(discover.ResolverConfig{Servers: []string{"127.0.0.1:1"}})
	if err != nil {
		w.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.service.Certificate())
	client := discover.NewHTTPClient(discover.HTTPConfig{Dialer: &discover.Dialer{Resolver: resolver, AddressPolicy: discover.AddressPolicy{AllowNets: allow}}, RootCAs: roots, Timeout: 5 * time.Second, AllowHTTP: true})
	s := push.New(db, push.Config{Identity: identity(w.T), HTTP: client, MayRead: caldav.MayRead, Node: fmt.Sprint("n", w.nodes.Add(1)), Log: slog.New(slog.NewTextHandler(w.log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Add(2)
	go func() { defer busy.Done(); s.Run(ctx) }()
	go func() { defer busy.Done(); _ = db.Watch(ctx, s.Notify) }()
	w.Cleanup(func() { cancel(); busy.Wait() })
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func (w *world) do(user, method, path, head, body string) (*http.Response, string) {
	w.Helper()
	target := path
	if !strings.HasPrefix(path, "http") {
		target = w.url + path
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.SetBasicAuth(user, user)
	switch {
	case strings.HasPrefix(body, "BEGIN"):
		req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
	default:
		req.Header.Set("Content-Type", "application/xml; charset=utf-8")
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
	return resp, string(b)
}

func (w *world) must(status int, user, method, path, head, body string) string {
	w.Helper()
	resp, text := w.do(user, method, path, head, body)
	if resp.StatusCode != status {
		w.Fatalf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, status, text)
	}
	return text
}

// program is a client with a subscription.
type program struct {
	w            *world
	path         string // at the push service
	key          *ecdh.PrivateKey
	auth         []byte
	registration string
}

func (w *world) program(name string) *program {
	w.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	auth := make([]byte, 16)
	rand.Read(auth)
	return &program{w: w, path: "/" + name + "-0123456789abcdef", key: key, auth: auth}
}

// register is the body that DAVx5 sends: without trigger and content-encoding,
// unless some are given.
func (p *program) register(more string) string {
	return `<?xml version='1.0' encoding='UTF-8' standalone='yes' ?><push-register xmlns="https://bitfire.at/webdav-push" xmlns:D="DAV:"><subscription><web-push-subscription>` +
		`<push-resource>` + p.w.service.URL + p.path + `</push-resource><subscription-public-key type="p256dh">` + base64url.EncodeToString(p.key.PublicKey().Bytes()) +
		`</subscription-public-key><auth-secret>` + base64url.EncodeToString(p.auth) + `</auth-secret></web-push-subscription></subscription>` + more + `</push-register>`
}

func (p *program) subscribe(user, path, more string) *program {
	p.w.Helper()
	resp, text := p.w.do(user, "POST", path, "", p.register(more))
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusCreated {
		p.w.Fatalf("push-register: %d %s", resp.StatusCode, text)
	}
	p.registration = resp.Header.Get("Location")
	if !strings.HasPrefix(p.registration, p.w.url+"/dav/push/") {
		p.w.Fatalf("Location %q", p.registration)
	}
	return p
}

type pushMessage struct {
	XMLName xml.Name `xml:"https://bitfire.at/webdav-push push-message"`
	Topic   string   `xml:"https://bitfire.at/webdav-push topic"`
	Content *struct {
		Token string `xml:"DAV: sync-token"`
	} `xml:"https://bitfire.at/webdav-push content-update"`
	Property *struct{} `xml:"https://bitfire.at/webdav-push property-update"`
}

// read decrypts a message by RFC 8291, apart from the code under test.
func (p *program) read(a arrival) pushMessage {
	t := p.w
	t.Helper()
	if a.path != p.path {
		t.Fatalf("a message for %s, want %s", a.path, p.path)
	}
	for k, want := range map[string]string{"Content-Encoding": "aes128gcm", "Content-Type": `application/xml; charset="UTF-8"`} {
		if got := a.head.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	if !strings.HasPrefix(a.head.Get("Authorization"), "vapid t=") || !strings.HasSuffix(a.head.Get("Authorization"), ", k="+identity(t.T).PublicKey()) || a.head.Get("TTL") == "" {
		t.Errorf("headers %v", a.head)
	}
	sender, err := ecdh.P256().NewPublicKey(a.body[21:86])
	if err != nil {
		t.Fatal(err)
	}
	shared, err := p.key.ECDH(sender)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		k, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ikm := derive(shared, p.auth, "WebPush: info\x00"+string(p.key.PublicKey().Bytes())+string(sender.Bytes()), 32)
	block, err := aes.NewCipher(derive(ikm, a.body[:16], "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, a.body[:16], "Content-Encoding: nonce\x00", 12), a.body[86:], nil)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutSuffix(strings.TrimRight(string(plain), "\x00"), "\x02")
	if !ok {
		t.Fatal("no delimiter")
	}
	var m pushMessage
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return m
}

// next waits for the next message; the bound is generous, the promise is two
// seconds.
func (w *world) next() arrival {
	w.Helper()
	select {
	case a := <-w.service.arrived:
		return a
	case <-time.After(30 * time.Second):
		w.Fatalf("no push came; log: %s", w.log.text())
		panic("unreachable")
	}
}

// silent lets a moment pass in which nothing may come.
func (w *world) silent() {
	w.Helper()
	select {
	case a := <-w.service.arrived:
		w.Fatalf("a push for %s came", a.path)
	case <-time.After(1500 * time.Millisecond):
	}
}

func event(uid string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20251201T000000Z\r\nSUMMARY:x\r\nDTSTART:20260102T100000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

const (
	cal   = "/dav/calendars/alice/calendar/"
	props = `<propfind xmlns="DAV:" xmlns:P="https://bitfire.at/webdav-push"><prop><sync-token/><P:transports/><P:topic/><P:supported-triggers/></prop></propfind>`
	name  = `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>New name</D:displayname></D:prop></D:set></D:propertyupdate>`
	both  = `<trigger><content-update><D:depth>1</D:depth></content-update><property-update><D:depth>0</D:depth></property-update></trigger>`
)

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// Want 38, draft-bitfire-webdav-push: a subscribed client is told of a change,
// with the sync token that the calendar then has.
func TestPush(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e)
			w.node(w.db, loopback)
			resp, _ := w.do("alice", "OPTIONS", cal, "", "")
			if !strings.Contains(resp.Header.Get("DAV"), "webdav-push") || !strings.Contains(resp.Header.Get("Allow"), "POST") {
				t.Errorf("OPTIONS: %v", resp.Header)
			}
			answer := strings.ReplaceAll(w.must(207, "alice", "PROPFIND", cal, "Depth: 0", props), ` xmlns:P="https://bitfire.at/webdav-push"`, "")
			topic := between(answer, "<P:topic>", "</P:topic>")
			if between(answer, `<P:vapid-public-key type="p256ecdsa">`, "<") != identity(t).PublicKey() || topic == "" || !strings.Contains(answer, "<P:content-update><D:depth>1</D:depth></P:content-update><P:property-update><D:depth>0</D:depth></P:property-update>") {
				t.Fatalf("properties: %s", answer)
			}
			p := w.program("phone").subscribe("alice", cal, "")
			w.must(201, "alice", "PUT", cal+"1.ics", "", event("1"))
			m := p.read(w.next())
			token := between(w.must(207, "alice", "PROPFIND", cal, "Depth: 0", props), "<D:sync-token>", "<")
			if m.Topic != topic || m.Content == nil || m.Content.Token != token || m.Property != nil {
				t.Errorf("message %+v, want topic %s and token %s", m, topic, token)
			}
			// It asked for content only.
			w.must(207, "alice", "PROPPATCH", cal, "", name)
			w.silent()
			// Registering again changes the same registration.
			old := p.registration
			if p.subscribe("alice", cal, both); p.registration != old {
				t.Errorf("the registration is now %s, was %s", p.registration, old)
			}
			w.must(207, "alice", "PROPPATCH", cal, "", strings.Replace(name, "New", "Newer", 1))
			if m := p.read(w.next()); m.Property == nil || m.Content != nil || m.Topic != topic {
				t.Errorf("message %+v, want a property update", m)
			}
			// A client's own change, "Push-Dont-Notify".
			w.must(201, "alice", "PUT", cal+"2.ics", `Push-Dont-Notify: "`+p.registration+`"`, event("2"))
			w.silent()
			w.must(204, "alice", "DELETE", cal+"2.ics", `Push-Dont-Notify: *`, "")
			w.silent()
			w.must(201, "alice", "PUT", cal+"3.ics", `Push-Dont-Notify: "https://elsewhere.test/x", nonsense, "`+w.url+`/dav/push/other"`, event("3"))
			p.read(w.next())
			// The end.
			w.must(404, "bob", "DELETE", p.registration, "", "")
			w.must(404, "alice", "DELETE", p.registration+"x", "", "")
			w.must(204, "alice", "DELETE", p.registration, "", "")
			w.must(404, "alice", "DELETE", p.registration, "", "")
			w.must(201, "alice", "PUT", cal+"4.ics", "", event("4"))
			w.silent()
			if strings.Contains(w.log.text(), p.path) {
				t.Error("the endpoint is in the log (A53)")
			}
		})
	}
}

// What arrives by scheduling and what another process does is told as well.
func TestPushOfOthersChanges(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e)
			other := storagetest.Second(t, w.db) // the sender's process is not the writer's
			w.node(other, loopback)
			p := w.program("bobs").subscribe("bob", "/dav/calendars/bob/inbox/", "")
			h := w.program("home").subscribe("bob", "/dav/calendars/bob/", "")
			invitation := strings.Replace(event("meeting"), "SUMMARY:x\r\n", "SUMMARY:x\r\nORGANIZER:mailto:alice@example.com\r\nATTENDEE:mailto:alice@example.com\r\nATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@example.com\r\n", 1)
			w.must(201, "alice", "PUT", cal+"m.ics", "", invitation)
			if m := p.read(w.next()); m.Content == nil {
				t.Errorf("message %+v", m)
			}
			w.must(201, "bob", "MKCALENDAR", "/dav/calendars/bob/new/", "", "")
			if m := h.read(w.next()); m.Content == nil {
				t.Errorf("message %+v", m)
			}
		})
	}
}

// Any number of nodes on one database: each push is sent once.
func TestPushOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Postgres)
	w.node(w.db, loopback)
	for range 3 {
		w.node(storagetest.Second(t, w.db), loopback)
	}
	var ps []*program
	for i := range 5 {
		ps = append(ps, w.program(fmt.Sprint("p", i)).subscribe("alice", cal, ""))
	}
	w.must(201, "alice", "PUT", cal+"1.ics", "", event("1"))
	for range ps {
		w.next()
	}
	w.silent()
	for _, p := range ps {
		if n := w.service.count(p.path); n != 1 {
			t.Errorf("%s was told %d times", p.path, n)
		}
	}
}

// Many changes become few messages, the last of which has the last state.
func TestPushCoalesces(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e)
			w.node(w.db, loopback)
			p := w.program("phone").subscribe("alice", cal, "")
			for i := range 40 {
				w.must(201, "alice", "PUT", fmt.Sprint(cal, i, ".ics"), "", event(fmt.Sprint(i)))
			}
			token := between(w.must(207, "alice", "PROPFIND", cal, "Depth: 0", props), "<D:sync-token>", "<")
			for n := 1; ; n++ {
				m := p.read(w.next())
				if m.Content == nil {
					t.Fatalf("message %+v", m)
				}
				if m.Content.Token == token {
					if n > 20 {
						t.Errorf("%d messages for 40 changes", n)
					}
					break
				}
			}
			w.silent()
		})
	}
}

// Dead subscriptions, revoked rights, accounts and calendars that go away.
func TestPushEnds(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e)
			w.node(w.db, loopback)
			n := 0
			change := func() { n++; w.must(201, "alice", "PUT", fmt.Sprint(cal, n, ".ics"), "", event(fmt.Sprint(n))) }

			gone := w.program("gone").subscribe("alice", cal, "")
			w.service.says(gone.path, http.StatusGone)
			change()
			w.next()
			w.gone(gone.registration, "alice")

			missing := w.program("missing").subscribe("alice", cal, "")
			w.service.says(missing.path, http.StatusNotFound)
			change()
			w.next()
			w.gone(missing.registration, "alice")

			busy := w.program("busy").subscribe("alice", cal, "")
			w.service.says(busy.path, http.StatusServiceUnavailable)
			change()
			w.next()
			w.silent() // it waits
			w.must(204, "alice", "DELETE", busy.registration, "", "")

			// Bob may read, is told, and may no longer read (A25).
			const grant = `<D:acl xmlns:D="DAV:"><D:ace><D:principal><D:href>/dav/principals/users/bob/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace></D:acl>`
			bobs := w.program("bobs")
			resp, text := w.do("bob", "POST", cal, "", bobs.register(""))
			if resp.StatusCode != 403 && resp.StatusCode != 404 {
				t.Fatalf("a stranger registers: %d %s", resp.StatusCode, text)
			}
			w.must(200, "alice", "ACL", cal, "", grant)
			bobs.subscribe("bob", cal, "")
			change()
			bobs.read(w.next())
			w.must(200, "alice", "ACL", cal, "", `<D:acl xmlns:D="DAV:"/>`)
			change()
			w.silent()
			w.gone(bobs.registration, "bob")

			// The calendar goes: one last word.
			w.must(201, "alice", "MKCALENDAR", "/dav/calendars/alice/short/", "", "")
			last := w.program("last").subscribe("alice", "/dav/calendars/alice/short/", "")
			w.must(204, "alice", "DELETE", "/dav/calendars/alice/short/", "", "")
			if m := last.read(w.next()); m.Content == nil || m.Content.Token != "" {
				t.Errorf("message %+v", m)
			}
			w.gone(last.registration, "alice")
		})
	}
}

// gone waits until a registration is no more.
func (w *world) gone(registration, user string) {
	w.Helper()
	a, err := w.db.AccountByHandle(context.Background(), user)
	if err != nil {
		w.Fatal(err)
	}
	for range 200 {
		list, err := w.db.PushSubscriptions(context.Background(), a.ID)
		if err != nil {
			w.Fatal(err)
		}
		if !slices.ContainsFunc(list, func(s storage.PushSubscription) bool { return strings.HasSuffix(registration, "/"+s.Token) }) {
			w.must(404, user, "DELETE", registration, "", "")
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.Fatalf("the registration %s is still there; log: %s", registration, w.log.text())
}

// Registrations that are refused, each with its precondition; A42 for the
// addresses behind an endpoint.
func TestPushRefusals(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e)
			w.node(w.db) // allows no inner network
			p := w.program("phone")
			good := p.register("")
			refused := func(body, precondition string) {
				t.Helper()
				if text := w.must(403, "alice", "POST", cal, "", body); !strings.Contains(text, "<P:"+precondition) {
					t.Errorf("the answer lacks %s: %s", precondition, text)
				}
			}
			refused(strings.Replace(good, "web-push-subscription", "other", 2), "invalid-subscription")
			refused(strings.Replace(good, "https://127.0.0.1", "http://127.0.0.1", 1), "invalid-subscription")
			refused(strings.Replace(good, "https://127.0.0.1", "file://127.0.0.1", 1), "invalid-subscription")
			refused(strings.Replace(good, `type="p256dh"`, `type="x25519"`, 1), "invalid-subscription")
			refused(strings.Replace(good, base64url.EncodeToString(p.auth), "short", 1), "invalid-subscription")
			refused(strings.Replace(good, base64url.EncodeToString(p.key.PublicKey().Bytes()), vectorOffCurve, 1), "invalid-subscription")
			refused(strings.Replace(good, "<auth-secret>", "<content-encoding>aesgcm</content-encoding><auth-secret>", 1), "invalid-subscription")
			refused(p.register("<trigger/>"), "no-supported-trigger")
			refused(p.register("<trigger><other/></trigger>"), "no-supported-trigger")
			w.must(400, "alice", "POST", cal, "", "<x xmlns='y'/>")
			w.must(400, "alice", "POST", cal, "", "nonsense")
			w.must(400, "alice", "POST", cal, "", `<!DOCTYPE x [<!ENTITY y "z">]>`+good) // A12
			for i := range 5 {
				w.program(fmt.Sprint("p", i)).subscribe("alice", cal, "")
			}
			refused(good, "push-not-available") // five are the most in this test
			// How long it lasts.
			for expires, want := range map[string]time.Duration{"": 7 * 24 * time.Hour, "nonsense": 7 * 24 * time.Hour,
				time.Now().Add(72 * time.Hour).UTC().Format(http.TimeFormat): 72 * time.Hour, "Fri, 01 Jan 2100 00:00:00 GMT": 14 * 24 * time.Hour, "Fri, 01 Jan 1999 00:00:00 GMT": time.Hour} {
				resp, text := w.do("bob", "POST", "/dav/calendars/bob/calendar/", "", p.register("<expires>"+expires+"</expires>"))
				at, err := http.ParseTime(resp.Header.Get("Expires"))
				if off := time.Until(at) - want; err != nil || off < -time.Minute || off > time.Minute {
					t.Errorf("expires %q: %d %s, Expires %q (%v)", expires, resp.StatusCode, text, resp.Header.Get("Expires"), err)
				}
			}
			// The endpoints are on loopback, which the dialer refuses: nobody is asked.
			w.must(201, "alice", "PUT", cal+"1.ics", "", event("1"))
			w.silent()
			for i := range 200 {
				if strings.Contains(w.log.text(), "not allowed") {
					break
				}
				if i == 199 {
					t.Errorf("the log does not say why nothing was sent: %s", w.log.text())
				}
				time.Sleep(50 * time.Millisecond)
			}
			if u, _ := url.Parse(w.service.URL); strings.Contains(w.log.text(), u.Host+"/") {
				t.Error("the log holds an endpoint (A53)")
			}
		})
	}
}

// vectorOffCurve has the form of a key and is no point of the curve.
var vectorOffCurve = base64url.EncodeToString(append([]byte{4}, bytes.Repeat([]byte{1}, 64)...))
