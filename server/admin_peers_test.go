package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

func number(n int) *int { return &n }

// forget makes the lists read the database again at once.
func (l *peerList) forget() { l.mu.Lock(); l.all = nil; l.mu.Unlock() }

func TestPeerSettings(t *testing.T) {
	t.Parallel()
	o := newOutside(t, "alpha.test")
	ctx := t.Context()
	text := func(s string) *string { return &s }
	set := func(name string, c PeerChange) (PeerInfo, string) {
		t.Helper()
		p, secret, err := o.a.SetPeer(ctx, name, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return p, secret
	}
	for what, c := range map[string]PeerChange{
		"policy":     {Policy: text("carrier pigeon")},
		"dialect":    {Dialect: text("draft-99")},
		"endpoint":   {Endpoint: text("http://cal.beta.test/")},
		"signer":     {Signers: &[]string{"no domain"}},
		"network":    {Networks: &[]string{"10.0.0.0/99"}},
		"password":   {NewPassword: true}, // from anywhere
		"quota":      {Messages: number(-1)},
		"certifcate": {Certificates: [][]byte{[]byte("PEM?")}},
	} {
		if _, _, err := o.a.SetPeer(ctx, "beta.test", c); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, name := range []string{"alpha.test", "localhost", "a@b.test"} {
		if _, _, err := o.a.SetPeer(ctx, name, PeerChange{}); !errors.Is(err, ErrUsage) {
			t.Errorf("settings for %s: %v", name, err)
		}
	}
	if _, _, err := o.a.SetPeer(ctx, "*", PeerChange{Dialect: text("draft-01")}); !errors.Is(err, ErrUsage) {
		t.Errorf("a dialect for everybody: %v", err)
	}

	set("*", PeerChange{Policy: text("both"), Messages: number(7)})
	set("Beta.Test", PeerChange{Policy: text("mail-only"), Dialect: text("draft-01"), Endpoint: text("https://cal.beta.test/x"), Signers: &[]string{"host.example"}, FreeBusy: text("yes")})
	p, secret := set("beta.test", PeerChange{Networks: &[]string{"192.0.2.0/24"}, NewPassword: true})
	if secret == "" || !p.HasPassword || p.PasswordHash != "" || p.Policy != "mail-only" {
		t.Errorf("%+v, secret %q", p, secret)
	}
	l := &peerList{db: o.a.db}
	if l.policy("beta.test") != federation.MailOnly || l.policy("gamma.test") != federation.Both {
		t.Errorf("policies %q, %q", l.policy("beta.test"), l.policy("gamma.test"))
	}
	if d, ok := l.dialect("beta.test"); !ok || d != ischedule.DialectDraft01 {
		t.Errorf("dialect %v %v", d, ok)
	}
	if _, ok := l.dialect("gamma.test"); ok || l.endpoint("beta.test") != "https://cal.beta.test/x" || l.endpoint("gamma.test") != "" {
		t.Error("settings of one domain reach another")
	}
	if in := l.inbound("beta.test"); in.Rates.Messages != 7 || len(in.Signers) != 1 || in.Blocked || !in.DialectFixed {
		t.Errorf("%+v", in)
	}
	// ischedule §5: who may ask for busy times.
	set("evil.test", PeerChange{FreeBusy: text("no")})
	l.forget()
	for _, c := range []struct {
		rule, domain string
		weak, want   bool
	}{
		{"signed", "gamma.test", false, true}, {"signed", "gamma.test", true, false}, {"all", "gamma.test", true, true}, {"listed", "gamma.test", false, false},
		{"listed", "beta.test", false, true}, {"nobody", "beta.test", false, false}, {"all", "evil.test", false, false}, {"signed", "beta.test", true, true},
	} {
		if l.freeBusy(c.rule, c.domain, c.weak) != c.want {
			t.Errorf("%s, weak %v, rule %s: not %v", c.domain, c.weak, c.rule, c.want)
		}
	}
	if err := o.a.RemovePeer(ctx, "beta.test"); err != nil {
		t.Fatal(err)
	}
	if err := o.a.RemovePeer(ctx, "beta.test"); !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "peer list") {
		t.Errorf("%v", err)
	}
	// No secret in the audit trail.
	trail, err := o.a.db.AuditTrail(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := json.Marshal(trail)
	if !bytes.Contains(all, []byte("peer.set")) || bytes.Contains(all, []byte(secret)) || bytes.Contains(all, []byte(hashSecret(secret))) {
		t.Errorf("%s", all)
	}
}

// ischedule §7.5: keys that administrators exchanged, by selector, and our word in
// signatures that they have ours.
func TestPeerKeys(t *testing.T) {
	t.Parallel()
	o := newOutside(t, "alpha.test")
	ctx := t.Context()
	key, err := dkim.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	record, err := dkim.MarshalKeyRecord(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	yes := "yes"
	for what, keys := range map[string]map[string][]byte{"private key": {"s": []byte("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----")}, "empty file": {"s": []byte("\n")}, "no selector": {"": file}, "selector": {"a b": file}, "two names": {"s/../x": file}} {
		if _, _, err := o.a.SetPeer(ctx, "beta.test", PeerChange{Keys: keys}); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := o.a.SetPeer(ctx, "*", PeerChange{Keys: map[string][]byte{"s": file}}); !errors.Is(err, ErrUsage) {
		t.Errorf("a key for everybody: %v", err)
	}
	if _, _, err := o.a.SetPeer(ctx, "beta.test", PeerChange{Keys: map[string][]byte{"Cal.One": file, "two": []byte(record)}, HasOurs: &yes}); err != nil {
		t.Fatal(err)
	}
	l := &peerList{db: o.a.db}
	for _, s := range []string{"cal.one", "CAL.ONE", "two"} {
		if got := l.keys("beta.test", s); len(got) != 1 || got[0] != record {
			t.Errorf("%s: %q, want %q", s, got, record)
		}
	}
	if l.keys("gamma.test", "two") != nil || l.keys("beta.test", "three") != nil {
		t.Error("keys of one domain or selector are another's")
	}
	ring := newKeyring(o.a.db, true)
	ring.hasOurs = l.hasOurs
	for peer, want := range map[string]string{"beta.test": "private-exchange:dns/txt:http/well-known", "gamma.test": "dns/txt:http/well-known"} {
		s, err := ring.Signer(ctx, "alpha.test", peer)
		if err != nil || s == nil || strings.Join(s.Methods, ":") != want {
			t.Errorf("q= to %s: %+v %v, want %s", peer, s, err, want)
		}
	}
	if _, _, err := o.a.SetPeer(ctx, "beta.test", PeerChange{Keys: map[string][]byte{"TWO": nil}}); err != nil {
		t.Fatal(err)
	}
	l.forget()
	if l.keys("beta.test", "two") != nil || l.keys("beta.test", "cal.one") == nil {
		t.Error("not the one key is gone that was to go")
	}
}

// ischedule §1: a server that cannot sign is believed by its certificate, or by
// a shared password from its network, for its own domain; nobody else is.
func TestTrustedPeer(t *testing.T) {
	t.Parallel()
	o := newOutside(t, "alpha.test")
	ctx := t.Context()
	if _, _, err := o.a.AddUser(ctx, UserSpec{Name: "alice", Emails: []string{"alice@alpha.test"}, Password: "a long enough password"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	client, file := testCertificate(t, dir, "cal.cyrus.test")
	certificate, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := o.a.SetPeer(ctx, "cyrus.test", PeerChange{Networks: &[]string{"127.0.0.0/8"}, NewPassword: true, Certificates: [][]byte{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.a.SetPeer(ctx, "far.test", PeerChange{Networks: &[]string{"192.0.2.0/24"}, NewPassword: true}); err != nil {
		t.Fatal(err)
	}
	o.peers.forget()
	roots := x509.NewCertPool()
	ca, _ := os.ReadFile(o.a.cfg.ExtraCA)
	roots.AppendCertsFromPEM(ca)
	n := 0
	post := func(domain, user, password string, pair *tls.Certificate) int {
		t.Helper()
		n++
		conf := &tls.Config{RootCAs: roots, ServerName: "cal.alpha.test"}
		if pair != nil {
			conf.Certificates = []tls.Certificate{*pair}
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}, Timeout: 20 * time.Second}
		defer c.CloseIdleConnections()
		body := strings.Join([]string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//t//EN", "METHOD:REQUEST", "BEGIN:VEVENT", fmt.Sprint("UID:trust-", n), "DTSTAMP:20260101T000000Z", "DTSTART:20270101T100000Z",
			"DTEND:20270101T110000Z", "SUMMARY:Trust", "ORGANIZER:mailto:carl@" + domain, "ATTENDEE:mailto:alice@alpha.test", "END:VEVENT", "END:VCALENDAR", ""}, "\r\n")
		req, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprintf("https://127.0.0.1:%d/ischedule", o.port), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"text/calendar; component=VEVENT; method=REQUEST"}, "Ischedule-Version": {"1.0"}, "Originator": {"mailto:carl@" + domain}, "Recipient": {"mailto:alice@alpha.test"}}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == 200 && !strings.Contains(string(text), "<request-status>2.0") {
			t.Errorf("%s", text)
		}
		return resp.StatusCode
	}
	stranger, _ := testCertificate(t, t.TempDir(), "cal.cyrus.test")
	for _, c := range []struct {
		what string
		got  int
		want int
	}{
		{"password", post("cyrus.test", "cyrus.test", secret, nil), 200},
		{"certificate", post("cyrus.test", "", "", &client), 200},
		{"nothing", post("cyrus.test", "", "", nil), 403},
		{"wrong password", post("cyrus.test", "cyrus.test", secret+"x", nil), 403},
		{"another domain's password (A38)", post("far.test", "cyrus.test", secret, nil), 403},
		{"another domain's certificate (A38)", post("other.test", "", "", &client), 403},
		{"a stranger's certificate with the same name", post("cyrus.test", "", "", &stranger), 403},
		{"our own domain (A38)", post("alpha.test", "", "", &client), 403},
	} {
		if c.got != c.want {
			t.Errorf("%s: HTTP %d, want %d", c.what, c.got, c.want)
		}
	}
	// A46: a block ends it.
	yes := true
	if _, _, err := o.a.SetPeer(ctx, "cyrus.test", PeerChange{Blocked: &yes}); err != nil {
		t.Fatal(err)
	}
	o.peers.forget()
	if got := post("cyrus.test", "cyrus.test", secret, nil); got != 403 {
		t.Errorf("blocked: HTTP %d", got)
	}
}

// A45: whom configuration gives no busy times gets the same answer for people
// who exist and who do not.
func TestBusyGate(t *testing.T) {
	t.Parallel()
	db := newOutside(t, "alpha.test").a.db
	cfg := DefaultConfig()
	cfg.FreeBusyFor = "listed"
	g := busyGate{Receiver: nil, cfg: &cfg, peers: &peerList{db: db}, log: slog.New(slog.DiscardHandler)}
	ask := func() string {
		res, err := g.AnswerFreeBusy(context.Background(), scheduling.Inbound{Originator: "mailto:x@beta.test", Recipients: []calendar.Address{"mailto:alice@alpha.test", "mailto:nobody@alpha.test"}})
		if err != nil || len(res) != 2 || res[0].Status != res[1].Status || len(res[0].Calendar) > 0 {
			t.Fatalf("%+v %v", res, err)
		}
		return res[0].Status
	}
	if st := ask(); !strings.HasPrefix(st, "3.8") {
		t.Error(st)
	}
	cfg.FreeBusyHide = true
	if st := ask(); !strings.HasPrefix(st, "3.7") {
		t.Error(st)
	}
}
