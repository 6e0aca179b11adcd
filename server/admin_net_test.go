package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// outsideWorld is a whole installation as others see it: TLS with a CA of its
// own, and a DNS that the test fills.
type outsideWorld struct {
	a     *Admin
	world discovertest.World
	port  uint16
	peers *peerList // of the running server

	pair  atomic.Pointer[tls.Certificate]                               // what the server shows
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request) bool] // what stands before it; true: answered
}

// broken puts something before the server, nil for nothing.
func (o *outsideWorld) broken(f func(http.ResponseWriter, *http.Request) bool) {
	if f == nil {
		o.fault.Store(nil)
		return
	}
	o.fault.Store(&f)
}

func newOutside(t *testing.T, domain string) *outsideWorld {
	t.Helper()
	dir := t.TempDir()
	host := "cal." + domain
	pair, ca := testCertificate(t, dir, host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	o := &outsideWorld{port: port, world: discovertest.World{Addr: map[string][]string{host: {"127.0.0.1"}}, SRV: map[string][]discovertest.SRV{}, TXT: map[string][][]string{}}}
	cfg := DefaultConfig()
	cfg.ExternalURL = fmt.Sprintf("https://%s:%d", host, port)
	cfg.DataDir, cfg.ExtraCA = dir, ca
	cfg.DialAllow = Nets{netip.MustParsePrefix("127.0.0.0/8")}
	db := storagetest.Open(t, engine)
	o.a = NewAdmin(db, cfg, "test", slog.New(slog.DiscardHandler))
	if _, err := o.a.AddDomain(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	s, err := assemble(t.Context(), &o.a.cfg, db, o.a.log)
	if err != nil {
		t.Fatal(err)
	}
	o.peers = s.fed.peers
	o.pair.Store(&pair)
	conf := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.pair.Load(), nil }}
	o.peers.askForCertificates(conf)
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := o.fault.Load(); f == nil || !(*f)(w, r) {
			s.public.ServeHTTP(w, r)
		}
	})
	srv := &http.Server{Handler: front, TLSConfig: conf, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = srv.Close(); s.fed.close() })
	return o
}

// publish puts everything into the DNS that `domain dns` says.
func (o *outsideWorld) publish(t *testing.T, domain string) {
	t.Helper()
	records, err := o.a.DNSRecords(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		name := strings.TrimSuffix(r.Name, ".")
		if r.Type == "SRV" {
			o.world.SRV[name] = []discovertest.SRV{{Port: o.port, Target: "cal." + domain}}
		} else {
			o.world.TXT[name] = [][]string{r.Data}
		}
	}
}

// dns starts a name server with the DNS as it is now. Its records are its own: it may
// still answer somebody when they have changed.
func (o *outsideWorld) dns(t *testing.T) (address string) {
	t.Helper()
	w := o.world
	w.SRV, w.TXT, w.Addr = maps.Clone(w.SRV), maps.Clone(w.TXT), maps.Clone(w.Addr)
	return discovertest.Start(t, w).Addr()
}

// doctor asks with the DNS as it is now.
func (o *outsideWorld) doctor(t *testing.T, domain string) []Finding {
	t.Helper()
	o.a.cfg.DNSResolver = List{o.dns(t)}
	found, err := o.a.Doctor(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func testCertificate(t *testing.T, dir, host string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(90 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

func broken(found []Finding) (out []string) {
	for _, f := range found {
		if f.Level == FindingBroken {
			out = append(out, f.Text)
			if f.Fix == "" {
				out = append(out, "no fix for it")
			}
		}
	}
	return out
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	const domain = "a.test"
	o := newOutside(t, domain)

	// Nothing is published.
	found := o.doctor(t, "")
	want := []string{"_caldavs._tcp.a.test SRV is missing", "_ischedules._tcp.a.test SRV is missing", "_domainkey_lookup._tcp.a.test SRV is missing",
		"(active) is not published", "the mail key"}
	text := strings.Join(broken(found), "\n")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not found in\n%s", w, text)
		}
	}
	if !Broken(found) {
		t.Error("an installation without records passes")
	}
	for _, f := range found {
		if strings.Contains(f.String(), "\n") {
			t.Errorf("more than a line: %q", f)
		}
		if f.Level == FindingBroken && f.Check == "dns "+domain && !strings.Contains(f.Fix, "publish: _") {
			t.Errorf("fix %q", f.Fix)
		}
	}

	// Everything is.
	o.publish(t, domain)
	found = o.doctor(t, domain)
	if Broken(found) {
		t.Errorf("all is published, and yet: %s", strings.Join(broken(found), "\n"))
	}
	all := fmt.Sprint(found)
	for _, w := range []string{"the certificate is good for", "/.well-known/caldav leads to /dav/", "/ischedule tells its capabilities", "a signature by it is verified",
		"agrees with the server", "_ischedules._tcp.a.test leads to cal.a.test"} {
		if !strings.Contains(all, w) {
			t.Errorf("%q is not found in\n%s", w, all)
		}
	}

	// Another key, another host, a wrong path.
	key, err := dkim.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := publicRecord(key)
	for name := range o.world.TXT {
		if strings.HasPrefix(name, "cal20") {
			o.world.TXT[name] = [][]string{dkim.TXTStrings(other)}
		}
	}
	o.world.SRV["_ischedules._tcp."+domain] = []discovertest.SRV{{Port: 443, Target: "old.a.test"}}
	o.world.TXT["_ischedules._tcp."+domain] = [][]string{{"path=/old"}}
	text = strings.Join(broken(o.doctor(t, domain)), "\n")
	for _, w := range []string{"is another key than ours", "leads to old.a.test:443 and not to external_url", `TXT has the path "/old"`} {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not found in\n%s", w, text)
		}
	}
}

// The way to another organization, which here is a second installation.
func TestDoctorPeer(t *testing.T) {
	t.Parallel()
	peer := newOutside(t, "b.test")
	peer.publish(t, "b.test")
	us := newAdmin(t, func(c *Config) {
		c.DNSResolver = List{discovertest.Start(t, peer.world).Addr()}
		c.ExtraCA, c.DialAllow = peer.a.cfg.ExtraCA, peer.a.cfg.DialAllow
	})
	found, err := us.Doctor(t.Context(), "b.test")
	if err != nil || Broken(found) || !strings.Contains(fmt.Sprint(found), "iSchedule 1.0 at https://cal.b.test:") {
		t.Errorf("%v, %v", found, err)
	}
	if !strings.Contains(fmt.Sprint(found), "no question was asked") { // nothing of ours can sign
		t.Errorf("%v", found)
	}
	found, err = us.Doctor(t.Context(), "mail.test")
	if err != nil || Broken(found) || !strings.Contains(fmt.Sprint(found), "invitations go by mail") {
		t.Errorf("%v, %v", found, err)
	}

	// What is wrong there, in one line with what to do; no failure is told as ok.
	root := *peer.pair.Load()
	stranger, _ := testCertificate(t, t.TempDir(), "cal.b.test")
	if _, err := us.AddDomain(t.Context(), "a.test"); err != nil {
		t.Fatal(err)
	}
	srv := peer.world.SRV["_ischedules._tcp.b.test"][0]
	answer := func(code int, text string, methods ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !slices.Contains(methods, r.Method) {
				return false
			}
			w.WriteHeader(code)
			fmt.Fprint(w, text)
			return true
		}
	}
	away := discovertest.SRV{Port: uint16(closedPort(t)), Target: "cal.b.test"}
	for _, c := range []struct {
		name             string
		cert             func()
		fault            func(http.ResponseWriter, *http.Request) bool
		srv              []discovertest.SRV
		fail             string
		level, text, fix string
	}{
		{"our key is not published", nil, nil, nil, "", FindingBroken, "refuses a question signed by a.test: 5.1;verification-failed", "`kalends doctor a.test`"},
		{"nobody's authority", func() { peer.pair.Store(&stranger) }, nil, nil, "", FindingBroken, "its certificate is not believed: x509: certificate signed by unknown authority", "KALENDS_TLS_EXTRA_CA"},
		{"another name", func() { peer.show(t, root, "other.test", time.Hour) }, nil, nil, "", FindingBroken, "certificate is valid for other.test, not cal.b.test", "with the name of the server"},
		{"a web page", nil, answer(200, "<html>", "GET"), nil, "", FindingBroken, "has no iSchedule service that can be used", "ask the administrator there"},
		{"a proxy alone", nil, answer(502, "", "GET", "POST"), nil, "", FindingBroken, "b.test answers HTTP 502", "ask the administrator there"},
		{"a proxy alone for POST", nil, answer(502, "", "POST"), nil, "", FindingBroken, "takes no question now: 5.1;HTTP 502", "try again later"},
		{"nobody listens", nil, nil, []discovertest.SRV{away}, "", FindingBroken, "connection refused", "ask the administrator there"},
		{"the first is away", nil, nil, []discovertest.SRV{away, {Priority: 1, Port: srv.Port, Target: srv.Target}}, "", FindingWarning, "one way was tried in vain", "the administrator there"},
		{"no address", nil, nil, []discovertest.SRV{{Port: 443, Target: "gone.b.test"}}, "", FindingBroken, "names a server that has no address", "correct the record"},
		{"no answer of the DNS", nil, nil, nil, "SRV _ischedules._tcp.b.test", FindingBroken, "cannot be looked up", "dns_resolver"},
	} {
		peer.pair.Store(&root)
		if c.cert != nil {
			c.cert()
		}
		peer.broken(c.fault)
		w := peer.world
		w.SRV, w.Fail = maps.Clone(w.SRV), []string{c.fail}
		if c.srv != nil {
			w.SRV["_ischedules._tcp.b.test"] = c.srv
		}
		us.cfg.DNSResolver = List{discovertest.Start(t, w).Addr()}
		found, err := us.Doctor(t.Context(), "b.test")
		if err != nil || !Broken(found) { // none of them believes a.test
			t.Errorf("%s passes: %v, %v", c.name, found, err)
		}
		finds(t, c.name, found, c.level, c.text, c.fix)
		for _, f := range found {
			if f.Level == FindingOK && (strings.Contains(f.Text, "x509") || strings.Contains(f.Text, "refused") || strings.Contains(f.Text, "capabilities: HTTP") || strings.Contains(f.Text, "XML")) {
				t.Errorf("%s: told as ok: %s", c.name, f)
			}
		}
	}
	peer.pair.Store(&root)
	peer.broken(nil)
	us.cfg.DialAllow = nil
	if found, err = us.Doctor(t.Context(), "b.test"); err != nil || !Broken(found) {
		t.Errorf("a peer on loopback passes: %v, %v", found, err)
	}
}

const pulledEvent = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:20200101T000000Z\r\nDTSTART:20300106T090000Z\r\nX-Z:1\r\nX-A;P=2:keep the order\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

// Another Kalends is the server that an account is copied from.
func TestImportAccount(t *testing.T) {
	t.Parallel()
	o := newOutside(t, "a.test")
	ctx := t.Context()
	if _, _, err := o.a.AddUser(ctx, UserSpec{Name: "alice", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	acc, err := o.a.account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	work, err := o.a.db.CreateCollection(ctx, storage.Collection{CollectionKey: storage.CollectionKey{Account: acc.ID}, Kind: storage.CollectionCalendar, Name: "work",
		DisplayName: "Work & more", Color: "#ff0000ff", Components: storage.CompEvent}, nil)
	if err != nil {
		t.Fatal(err)
	}
	svc := o.a.service()
	for _, name := range []string{"one", "two with blanks", "three%41"} {
		key := storage.ObjectKey{CollectionKey: work.CollectionKey, Name: name + ".ics"}
		data := fmt.Appendf(nil, pulledEvent, strings.ReplaceAll(name, " ", "-"))
		if _, err := svc.Put(ctx, scheduling.Put{Actor: scheduling.Actor{Account: acc, By: acc}, Key: key, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	us := newAdmin(t, func(c *Config) {
		c.DNSResolver = List{o.dns(t)}
		c.ExtraCA, c.DialAllow = o.a.cfg.ExtraCA, o.a.cfg.DialAllow
	})
	if _, _, err := us.AddUser(ctx, UserSpec{Name: "bob"}); err != nil {
		t.Fatal(err)
	}
	pull := func(password string) (ImportReport, error) {
		return us.ImportAccount(ctx, o.a.cfg.ExternalURL, Login{"alice", password}, ImportOptions{User: "bob"}, func(string) {})
	}
	if _, err := pull("wrong"); err == nil || !strings.Contains(err.Error(), "refused the login") {
		t.Errorf("wrong password: %v", err)
	}
	rep, err := pull("secret")
	if err != nil || rep.Created != 3 || len(rep.Problems) != 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if rep, err = pull("secret"); err != nil || rep.Unchanged != 3 || rep.Created+rep.Changed != 0 {
		t.Errorf("again: %+v, %v", rep, err)
	}
	bob, _ := us.account(ctx, "bob")
	got, err := us.db.CollectionByName(ctx, bob.ID, "work")
	if err != nil || got.DisplayName != "Work & more" || got.Color != "#ff0000ff" || got.Components != storage.CompEvent {
		t.Errorf("calendar %+v, %v", got, err)
	}
	for obj, err := range us.db.List(ctx, got.CollectionKey, storage.ColumnData) {
		if err != nil || obj.Data != fmt.Sprintf(pulledEvent, obj.UID) {
			t.Errorf("%s has other octets: %v\n%s", obj.Name, err, obj.Data)
		}
	}
	us.cfg.DialAllow = nil
	if _, err := pull("secret"); err == nil || !strings.Contains(err.Error(), "dial_allow") {
		t.Errorf("an inner address: %v", err)
	}
}

// A redirect to a stranger does not take the password along.
func TestLoginStaysAtItsSite(t *testing.T) {
	t.Parallel()
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, auth := r.BasicAuth()
		seen = append(seen, fmt.Sprintf("%s %s %v", r.Method, r.URL.Path, auth))
		if r.URL.Path == "/start" {
			w.Header().Set("Location", strings.Replace("http://"+r.Host+"/there", "127.0.0.1", "127.0.0.2", 1))
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer srv.Close()
	// 127.0.0.2 is another host, here on the same port when the system allows.
	l, err := net.Listen("tcp", strings.Replace(srv.Listener.Addr().String(), "127.0.0.1", "127.0.0.2", 1))
	if err != nil {
		t.Fatal(err)
	}
	second := &http.Server{Handler: srv.Config.Handler}
	go func() { _ = second.Serve(l) }()
	defer second.Close()
	a := newAdmin(t, func(c *Config) { c.DialAllow = Nets{netip.MustParsePrefix("127.0.0.0/8")} })
	p, u, err := a.newPuller(srv.URL+"/start", Login{"alice", "secret"})
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "PROPFIND", u.String(), strings.NewReader("<x/>"))
	resp, err := p.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := []string{"PROPFIND /start true", "PROPFIND /there false"}; !slices.Equal(seen, want) {
		t.Errorf("requests %v, want %v", seen, want)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	cfg := DefaultConfig()
	cfg.Management = srv.Listener.Addr().String()
	if err := Healthcheck(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if err := Healthcheck(t.Context(), cfg); err == nil {
		t.Error("a server that is not well passes")
	}
}
