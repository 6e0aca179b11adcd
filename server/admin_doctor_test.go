package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/storage"
)

// show lets the server present a certificate for a name that ends after life.
func (o *outsideWorld) show(t *testing.T, root tls.Certificate, host string, life time.Duration) {
	t.Helper()
	ca, err := x509.ParseCertificate(root.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key := root.PrivateKey.(*ecdsa.PrivateKey)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, tpl, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	o.pair.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

// finds wants a finding with a level, a text and a fix.
func finds(t *testing.T, name string, list []Finding, level, text, fix string) {
	t.Helper()
	for _, f := range list {
		if f.Level == level && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix) && (f.Fix != "") == (level != FindingOK) {
			if line := f.String(); strings.Contains(line, "\n") || !strings.HasPrefix(line, level) {
				t.Errorf("%s: not a line: %q", name, line)
			}
			return
		}
	}
	t.Errorf("%s: no finding %s %q with the fix %q in", name, level, text, fix)
	for _, f := range list {
		t.Log(f)
	}
}

// What an outsider meets is said, with what to do: certificates, what stands in
// front of the server, clocks, the DNS.
func TestDoctorFromOutside(t *testing.T) {
	t.Parallel()
	const domain, host = "a.test", "cal.a.test"
	o := newOutside(t, domain)
	o.publish(t, domain)
	root := *o.pair.Load()
	stranger, _ := testCertificate(t, t.TempDir(), host)
	at := func(path string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, path) {
				return false
			}
			answer(w, r)
			return true
		}
	}
	to := func(where string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", where)
			w.WriteHeader(http.StatusMovedPermanently)
		}
	}
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	clock := func(off time.Duration) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			return false
		}
	}
	cert := func(host string, life time.Duration) func() { return func() { o.show(t, root, host, life) } }
	for _, c := range []struct {
		name             string
		cert             func()
		fault            func(http.ResponseWriter, *http.Request) bool
		level, text, fix string
	}{
		{"all is well", nil, nil, FindingOK, "the certificate is good for 89 days", ""},
		{"another name", cert("other.a.test", time.Hour), nil, FindingBroken, "TLS fails: tls: failed to verify certificate: x509: certificate is valid for other.a.test, not cal.a.test", "a certificate for cal.a.test"},
		{"nobody's authority", func() { o.pair.Store(&stranger) }, nil, FindingBroken, "unknown authority", "whole chain"},
		{"expired", cert(host, -time.Minute), nil, FindingBroken, "expired", "a certificate for"},
		{"expires", cert(host, 73*time.Hour), nil, FindingWarning, "the certificate ends in 3 days", "renew"},
		{"no redirect", nil, at("/.well-known/caldav", http.NotFound), FindingBroken, "/.well-known/caldav answers 404 Not Found", "proxy"},
		{"to another path", nil, at("/.well-known/caldav", to("/other/")), FindingBroken, `leads to "/other/"`, "proxy"},
		{"to plain HTTP", nil, at("/.well-known/caldav", to(strings.Replace(o.a.cfg.ExternalURL, "https:", "http:", 1)+"/dav/")), FindingBroken, "another place than external_url", "trusted_proxies"},
		{"to another host", nil, at("/.well-known/caldav", to("https://evil.test/dav/")), FindingBroken, "another place than external_url", "external_url"},
		{"a proxy alone", nil, at("/ischedule", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), FindingBroken, "does not tell its capabilities: 502", "/ischedule"},
		{"a web page", nil, at("/ischedule", says("<html>")), FindingBroken, "does not tell its capabilities", "/ischedule"},
		{"no key document", nil, at("/.well-known/domainkey/", http.NotFound), FindingBroken, "/.well-known/domainkey/a.test/cal", "/.well-known/domainkey/"},
		{"another key document", nil, at("/.well-known/domainkey/", says(dkim.RevokedKeyRecord+"\r\n")), FindingBroken, "holds another key than ours", "/.well-known/domainkey/"},
		{"a slow clock", nil, clock(-10 * time.Minute), FindingBroken, "the server at the external address is -10m", "NTP"},
		{"a clock that is a little fast", nil, clock(time.Minute), FindingWarning, "from the clock here", "NTP"},
		{"no clock", nil, func(w http.ResponseWriter, _ *http.Request) bool { w.Header()["Date"] = nil; return false }, FindingWarning, "does not tell its time", "nothing"},
	} {
		o.pair.Store(&root)
		if c.cert != nil {
			c.cert()
		}
		o.broken(c.fault)
		found := o.doctor(t, domain)
		finds(t, c.name, found, c.level, c.text, c.fix)
		if Broken(found) != (c.level == FindingBroken) {
			t.Errorf("%s: broken: %v", c.name, found)
		}
	}
	o.pair.Store(&root)
	o.broken(nil)

	// What cannot be asked is another thing than what is not there.
	o.world.Fail = []string{"SRV _ischedules._tcp.a.test", "TXT _ischedules._tcp.a.test"}
	for name := range o.world.TXT {
		if strings.HasPrefix(name, "cal20") {
			o.world.Fail = append(o.world.Fail, "TXT "+name)
		}
	}
	found := o.doctor(t, domain)
	for _, text := range []string{"_ischedules._tcp.a.test SRV cannot be looked up", "_ischedules._tcp.a.test TXT cannot be looked up", "the calendar key cal"} {
		finds(t, "SERVFAIL", found, FindingBroken, text, "check dns_resolver")
	}
	o.world.Fail = nil
	// Nobody listens there.
	url := o.a.cfg.ExternalURL
	o.a.cfg.ExternalURL = fmt.Sprintf("https://%s:%d", host, closedPort(t))
	finds(t, "nobody listens", o.doctor(t, domain), FindingBroken, "cannot be reached", "that the server listens")
	o.a.cfg.ExternalURL = url
	allowed := o.a.cfg.DialAllow
	o.a.cfg.DialAllow = nil
	finds(t, "an inner address", o.doctor(t, domain), FindingBroken, "its address is not public", "dial_allow")
	o.a.cfg.DialAllow = allowed
	// The mail server is away.
	o.a.cfg.SMTPURL = fmt.Sprintf("smtp://user:hush@%s:%d", host, closedPort(t))
	found = o.doctor(t, domain)
	finds(t, "no mail server", found, FindingBroken, "takes no mail from us", "smtp_url")
	if strings.Contains(fmt.Sprint(found), "hush") { // A53
		t.Errorf("the password is told: %v", found)
	}
	// Where answers by mail go.
	finds(t, "no MX", found, FindingWarning, "a.test has no MX record", "a.test. 3600 IN MX 10")
	for _, c := range []struct {
		hosts            []string
		level, text, fix string
	}{
		{[]string{"away.a.test", host}, FindingOK, "answers and bounces go to away.a.test, cal.a.test", ""},
		{[]string{"away.a.test"}, FindingBroken, "has no address: away.a.test", "give the host an address"},
		{[]string{"."}, FindingBroken, "takes no mail", "publish"},
	} {
		o.world.MX = map[string][]string{domain: c.hosts}
		finds(t, fmt.Sprint("MX ", c.hosts), o.doctor(t, domain), c.level, c.text, c.fix)
	}
	o.world.MX, o.world.Addr[domain] = nil, []string{"127.0.0.1"}
	finds(t, "the host of that name", o.doctor(t, domain), FindingOK, "answers and bounces go to a.test", "")
	o.world.Fail = []string{"MX a.test"}
	finds(t, "MX fails", o.doctor(t, domain), FindingWarning, "its MX record cannot be looked up", "dns_resolver")
}

// The mail server that the administrator names may be on an inner network, where
// the server goes for nobody else.
func TestMailServerInside(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "220 here\r\n")
			c.Close()
		}
	}()
	dns := discovertest.Start(t, discovertest.World{Addr: map[string][]string{"mail.corp.test": {"127.0.0.1"}}})
	cfg := DefaultConfig()
	cfg.DNSResolver = List{dns.Addr()}
	out, err := newOutgoing(&cfg, func(string) bool { return false }, nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("mail.corp.test:%d", l.Addr().(*net.TCPAddr).Port)
	f := &federationParts{out: out, s: &server{cfg: &cfg}}
	c, err := f.dialMail(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := out.Dialer.DialContext(t.Context(), "tcp", addr); !errors.Is(err, discover.ErrForbiddenAddress) {
		t.Errorf("for others: %v", err)
	}
}

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A key does not sign before others can find it, unless told to; what signed
// before stays published for two weeks, or is revoked at once; and doctor sees
// whether the DNS keeps up.
func TestKeysInTheDNS(t *testing.T) {
	t.Parallel()
	const domain = "a.test"
	ctx := t.Context()
	o := newOutside(t, domain)
	activate := func(force bool) error {
		t.Helper()
		o.a.cfg.DNSResolver = List{o.dns(t)}
		_, err := o.a.ActivateKey(ctx, domain, PurposeCalendar, force)
		return err
	}
	refused := func(text string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; want %q", err, text)
		}
	}
	o.publish(t, domain)
	keys, err := o.a.Keys(ctx, domain)
	if err != nil {
		t.Fatal(err)
	}
	first := keys[0]
	if first.Purpose != PurposeCalendar {
		first = keys[1]
	}
	next, err := o.a.RotateKey(ctx, domain, PurposeCalendar)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(next.Name, ".")
	refused("the DNS does not show it yet", activate(false))
	finds(t, "next", o.doctor(t, domain), FindingWarning, "the calendar key "+next.Selector+" (next) is not published", "publish: "+next.Name)
	o.world.TXT[name] = [][]string{dkim.TXTStrings(first.Record)}
	refused("another key", activate(false))
	o.world.Fail = []string{"TXT " + name}
	refused("SERVFAIL", activate(false))
	o.world.Fail = nil
	o.publish(t, domain)
	if err := activate(false); err != nil {
		t.Fatal(err)
	}
	refused("no next calendar key", activate(false))

	// The key before.
	old := strings.TrimSuffix(first.Name, ".")
	finds(t, "retired", o.doctor(t, domain), FindingOK, "the calendar key "+first.Selector+" signs no more and stays published until 20", "")
	record := o.world.TXT[old]
	delete(o.world.TXT, old)
	finds(t, "taken away", o.doctor(t, domain), FindingWarning, "is not published any more", "publish: "+first.Name)
	o.world.TXT[old] = record
	_, err = o.a.RevokeKey(ctx, domain, next.Selector)
	refused("is the one that signs", err)
	_, err = o.a.RevokeKey(ctx, domain, "cal1999a")
	refused("`kalends key list a.test`", err)
	for range 2 {
		if k, err := o.a.RevokeKey(ctx, domain, strings.ToUpper(first.Selector)); err != nil || k.State != string(storage.KeyRevoked) || k.Record != dkim.RevokedKeyRecord {
			t.Fatal(k, err)
		}
	}
	if got, err := newKeyring(o.a.db, true).PublishedKeys(ctx, domain, first.Selector); err != nil || len(got) != 1 || got[0] != dkim.RevokedKeyRecord {
		t.Errorf("published by https: %q %v", got, err)
	}
	finds(t, "revoked", o.doctor(t, domain), FindingWarning, first.Selector+" is revoked and still published", "take the record "+old+" out of the DNS")
	o.publish(t, domain) // the record that says so
	found := o.doctor(t, domain)
	if Broken(found) || strings.Contains(fmt.Sprint(found), "revoked") {
		t.Errorf("%v", found)
	}
	// Who knows what he does.
	if _, err := o.a.RotateKey(ctx, domain, PurposeCalendar); err != nil {
		t.Fatal(err)
	}
	if err := activate(true); err != nil {
		t.Error(err)
	}
}

// A running server looks for the next key in the DNS by itself.
func TestServerLooksForNextKey(t *testing.T) {
	t.Parallel()
	o := newOutside(t, "a.test")
	next, err := o.a.RotateKey(t.Context(), "a.test", PurposeMail)
	if err != nil {
		t.Fatal(err)
	}
	o.publish(t, "a.test")
	cfg := o.a.cfg
	cfg.DNSResolver = List{o.dns(t)}
	s, err := assemble(t.Context(), &cfg, o.a.db, o.a.log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.fed.close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.janitor(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		keys, err := o.a.db.Keys(t.Context(), "a.test")
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Selector == next.Selector && k.State == storage.KeyNext && k.Changed > k.Created {
				return // it was seen; TestKeyLife tells the rest
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the next key was not seen: %+v", next)
		}
	}
}

// The people of a gateway domain have their calendars in the backend: no record
// leads their programs here, and doctor looks whether the backend is there.
func TestDoctorOfGateway(t *testing.T) {
	t.Parallel()
	o := newOutside(t, "a.test")
	ctx := t.Context()
	if _, err := o.a.AddDomain(ctx, "gate.test"); err != nil {
		t.Fatal(err)
	}
	set := func(backend string) []Finding {
		t.Helper()
		if _, err := o.a.SetGateway(ctx, "gate.test", backend); err != nil {
			t.Fatal(err)
		}
		return o.doctor(t, "gate.test")
	}
	text, err := o.a.ZoneText(ctx, "gate.test")
	if err != nil || !strings.Contains(text, "_caldavs._tcp.gate.test.") {
		t.Errorf("before it is a gateway: %v %s", err, text)
	}
	finds(t, "away", set(fmt.Sprintf("lmtp://127.0.0.1:%d", closedPort(t))), FindingBroken, "cannot be reached", "start the backend")
	if text, err = o.a.ZoneText(ctx, "gate.test"); err != nil || strings.Contains(text, "_caldavs") || !strings.Contains(text, "_ischedules._tcp.gate.test.") {
		t.Errorf("%v %s", err, text)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	found := set("lmtp://" + l.Addr().String())
	finds(t, "there", found, FindingOK, "can be reached", "")
	if strings.Contains(fmt.Sprint(found), "_caldavs") {
		t.Errorf("%v", found)
	}
	finds(t, "another name", set(fmt.Sprintf("https://127.0.0.1:%d/itip", o.port)), FindingBroken, "TLS fails", "127.0.0.1")
	finds(t, "by https", set(fmt.Sprintf("https://cal.a.test:%d/itip", o.port)), FindingOK, "can be reached", "")
	o.a.cfg.DialAllow = nil
	finds(t, "an inner address", set("lmtp://"+l.Addr().String()), FindingBroken, "is an inner address", "KALENDS_DIAL_ALLOW")
}
