package discover

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kalends/kalends/federation/discover/discovertest"
)

// serve runs an HTTPS server on loopback with a certificate for names and
// returns its port.
func serve(t testing.TB, a *discovertest.Authority, h http.Handler, names ...string) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.Issue(t, names...)}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

var (
	quiet    = discardLogger()
	loopback = AddressPolicy{AllowNets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	loopAddr = []string{"127.0.0.1"}
	okPage   = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Host, r.Proto) })
)

func newClient(t testing.TB, a *discovertest.Authority, w discovertest.World, change func(*HTTPConfig)) *http.Client {
	t.Helper()
	c := HTTPConfig{
		Dialer:  &Dialer{Resolver: newResolver(t, ResolverConfig{}, discovertest.Start(t, w)), AddressPolicy: loopback},
		RootCAs: a.Pool(),
	}
	if change != nil {
		change(&c)
	}
	client := NewHTTPClient(c)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func get(t testing.TB, client *http.Client, u string, id *Identity) (string, error) {
	t.Helper()
	ctx := t.Context()
	if id != nil {
		ctx = WithIdentity(ctx, *id)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := ReadLimited(resp.Body, 1000)
	return string(b), err
}

// A42: what is connected to is checked at each connection, however the address
// is written and wherever it came from.
func TestDialer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	server := discovertest.Start(t, discovertest.World{
		Addr: map[string][]string{
			"loop.test": loopAddr, "mixed.test": {"10.0.0.1", "127.0.0.1"}, "inner.test": {"10.0.0.1", "fd00::1", "::ffff:127.0.0.1"},
			"second.test": {"127.0.0.2", "127.0.0.1"},
		},
		Fail: []string{"broken.test"},
	})
	resolver := newResolver(t, ResolverConfig{Rounds: 1}, server)
	strict, lab := &Dialer{Resolver: resolver}, &Dialer{Resolver: resolver, AddressPolicy: loopback}
	for _, c := range []struct {
		d    *Dialer
		addr string
		want error
	}{
		{lab, "loop.test:" + port, nil},
		{lab, "LOOP.test.:" + port, nil},
		{lab, "mixed.test:" + port, nil},
		{lab, "second.test:" + port, nil},
		{lab, "127.0.0.1:" + port, nil},
		{strict, "loop.test:" + port, ErrForbiddenAddress},
		{strict, "127.0.0.1:" + port, ErrForbiddenAddress},
		{strict, "[::1]:" + port, ErrForbiddenAddress},
		{strict, "[::ffff:127.0.0.1]:" + port, ErrForbiddenAddress},
		{lab, "[::ffff:127.0.0.1]:" + port, ErrForbiddenAddress},
		{lab, "169.254.169.254:80", ErrForbiddenAddress},
		{lab, "inner.test:" + port, ErrForbiddenAddress},
		{lab, "127.1:" + port, ErrInvalidName},
		{lab, "0x7f000001:" + port, ErrInvalidName},
		{lab, "2130706433:" + port, ErrInvalidName},
		{lab, "loop.test", ErrInvalidName},
		{lab, "gone.test:" + port, ErrNotFound},
		{lab, "broken.test:" + port, ErrTemporary},
	} {
		conn, err := c.d.DialContext(t.Context(), "tcp", c.addr)
		if conn != nil {
			conn.Close()
		}
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.addr, err, c.want)
		}
		if err != nil && IsTemporary(err) != (c.want == ErrTemporary) {
			t.Errorf("%s: temporary %t", c.addr, IsTemporary(err))
		}
	}
	// The hook sees what the socket connects to, whatever was resolved.
	for addr, ok := range map[string]bool{
		"8.8.8.8:443": true, "127.0.0.1:443": false, "[::1]:443": false, "[fe80::1%lo]:443": false, "x:443": false, "8.8.8.8:0": false,
	} {
		if err := strict.control("tcp", addr, nil); (err == nil) != ok {
			t.Errorf("control %s: %v", addr, err)
		}
	}
}

func TestClientTLS(t *testing.T) {
	t.Parallel()
	a, other := discovertest.NewAuthority(t), discovertest.NewAuthority(t)
	hits := map[string]string{
		"own":    serve(t, a, okPage, "cal.hoster.test"),
		"domain": serve(t, a, okPage, "south.test"),
		"srvid":  serve(t, a, okPage, "_ischedules.south.test", "unrelated.test"),
		"wrong":  serve(t, a, okPage, "evil.test"),
		"keysrv": serve(t, a, okPage, "_domainkey_lookup.south.test"),
		"rogue":  serve(t, other, okPage, "cal.hoster.test", "south.test"),
	}
	plain := httptest.NewServer(okPage)
	t.Cleanup(plain.Close)
	world := discovertest.World{Addr: map[string][]string{"cal.hoster.test": loopAddr, "cal.south.test": loopAddr}}
	lax := newClient(t, a, world, nil)
	strict := newClient(t, a, world, func(c *HTTPConfig) { c.StrictSRVIdentity = true })
	wrongName := func(err error) bool { var e x509.HostnameError; return errors.As(err, &e) }
	unknown := func(err error) bool { var e x509.UnknownAuthorityError; return errors.As(err, &e) }
	noDomain := func(err error) bool { return errors.Is(err, errIdentity) }
	for name, c := range map[string]struct {
		client *http.Client
		port   string
		change func(*Identity)
		want   func(error) bool // nil: success
	}{
		"host name":              {lax, hits["own"], nil, nil},
		"DNS-ID of the domain":   {lax, hits["domain"], nil, nil},
		"SRV-ID":                 {lax, hits["srvid"], nil, nil},
		"SRV-ID of other use":    {lax, hits["keysrv"], nil, wrongName},
		"third name":             {lax, hits["wrong"], nil, wrongName},
		"unknown authority":      {lax, hits["rogue"], nil, unknown},
		"another domain":         {lax, hits["domain"], func(id *Identity) { id.Domain = "north.test" }, wrongName},
		"identity elsewhere":     {lax, hits["domain"], func(id *Identity) { id.Target = "cal.hoster.test:1" }, wrongName},
		"no identity":            {lax, hits["domain"], func(id *Identity) { id.Domain = "" }, wrongName},
		"strict, host only":      {strict, hits["own"], nil, noDomain},
		"strict, DNSSEC":         {strict, hits["own"], func(id *Identity) { id.Authentic = true }, nil},
		"strict, domain":         {strict, hits["domain"], nil, nil},
		"strict, rogue":          {strict, hits["rogue"], nil, unknown},
		"strict, inside":         {strict, hits["own"], func(id *Identity) { id.Domain = "hoster.test" }, nil},
		"strict, SRV-ID":         {strict, hits["srvid"], nil, nil},
		"strict, wrong":          {strict, hits["wrong"], nil, noDomain},
		"strict without any SRV": {strict, hits["own"], func(id *Identity) { *id = Identity{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := Identity{Target: "cal.hoster.test:" + c.port, Domain: "south.test", Service: "ischedules"}
			if c.change != nil {
				c.change(&id)
			}
			for range 2 { // the second time with what was learnt
				body, err := get(t, c.client, "https://cal.hoster.test:"+c.port+"/", &id)
				if c.want == nil {
					if err != nil || !strings.HasPrefix(body, "cal.hoster.test:") || !strings.HasSuffix(body, "HTTP/2.0") {
						t.Errorf("%q, %v", body, err)
					}
				} else if err == nil || !c.want(err) || IsTemporary(err) {
					t.Errorf("got %q, %v", body, err)
				}
			}
		})
	}
	for _, u := range []string{plain.URL, "http://cal.hoster.test/", "ftp://cal.hoster.test/"} {
		if _, err := get(t, lax, u, nil); !errors.Is(err, ErrScheme) {
			t.Errorf("%s: %v", u, err)
		}
	}
	feeds := newClient(t, a, world, func(c *HTTPConfig) { c.AllowHTTP = true })
	if _, err := get(t, feeds, plain.URL, nil); err != nil {
		t.Errorf("feed by http: %v", err)
	}
	locked := newClient(t, a, world, func(c *HTTPConfig) { c.Dialer.AddressPolicy = AddressPolicy{} })
	if _, err := get(t, locked, "https://cal.hoster.test:"+hits["own"]+"/", nil); !errors.Is(err, ErrForbiddenAddress) {
		t.Errorf("loopback: %v", err)
	}
}

// TestIdentityPools: what a certificate proves for one domain never serves a
// request for another, and a body is sent again after the second handshake.
func TestIdentityPools(t *testing.T) {
	t.Parallel()
	a := discovertest.NewAuthority(t)
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	port := serve(t, a, echo, "south.test")
	client := newClient(t, a, discovertest.World{Addr: map[string][]string{"cal.hoster.test": loopAddr}}, nil)
	post := func(domain string) (string, error) {
		id := Identity{Target: "cal.hoster.test:" + port, Domain: domain}
		req, err := http.NewRequestWithContext(WithIdentity(t.Context(), id), http.MethodPost,
			"https://CAL.hoster.test:"+port+"/", strings.NewReader("body of "+domain))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	for range 2 {
		if body, err := post("south.test"); err != nil || body != "body of south.test" {
			t.Errorf("%q, %v", body, err)
		}
		if body, err := post("north.test"); err == nil {
			t.Errorf("south's certificate serves north: %q", body)
		}
	}
	tr := client.Transport.(*transport)
	for i := range 3 * maxIdentityHosts {
		tr.pool(identityKeyOf{id: Identity{Domain: fmt.Sprint(i)}})
	}
	if n := len(tr.byIdentity); n != maxIdentityHosts || tr.recent.Len() != n {
		t.Errorf("%d pools", n)
	}
}

// A42, A43: each hop is checked, and there are not many.
func TestClientRedirects(t *testing.T) {
	t.Parallel()
	a := discovertest.NewAuthority(t)
	var hops atomic.Int32
	seen := make(chan http.Header, 16)
	targetPort := serve(t, a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		fmt.Fprint(w, "target")
	}), "target.test", "cal.sub.test")
	port := serve(t, a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := ""
		switch r.URL.Path {
		case "/final":
			seen <- r.Header.Clone()
			fmt.Fprint(w, "final?"+r.URL.RawQuery)
			return
		case "/.well-known/ischedule":
			to = "/final?" + r.URL.RawQuery
		case "/same-http":
			to = "http://" + r.Host + "/final"
		case "/http":
			to = "http://target.test/"
		case "/user":
			to = "https://u:p@target.test:" + targetPort + "/"
		case "/other":
			to = "https://target.test:" + targetPort + "/"
		case "/sub":
			to = "https://cal.sub.test:" + targetPort + "/"
		case "/inner":
			to = "https://10.0.0.1/"
		case "/loop":
			hops.Add(1)
			to = "/loop"
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusMovedPermanently)
	}), "sub.test")
	client := newClient(t, a, discovertest.World{Addr: map[string][]string{
		"sub.test": loopAddr, "cal.sub.test": loopAddr, "target.test": loopAddr,
	}}, nil)
	base := "https://sub.test:" + port
	do := func(method, path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Basic secret")
		resp, err := client.Do(req)
		if resp != nil {
			t.Cleanup(func() { resp.Body.Close() })
		}
		return resp, err
	}
	for path, want := range map[string]error{"/http": ErrRedirect, "/user": ErrRedirect, "/inner": ErrForbiddenAddress, "/loop": ErrRedirect} {
		if _, err := do(http.MethodGet, path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if n := hops.Load(); n != MaxGetRedirects+1 {
		t.Errorf("%d requests in a loop", n)
	}
	for path, credentials := range map[string]bool{"/.well-known/ischedule?action=capabilities": true, "/same-http": true, "/other": false, "/sub": false} {
		resp, err := do(http.MethodGet, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := (<-seen).Get("Authorization") != ""; got != credentials {
			t.Errorf("%s: credentials sent: %t", path, got)
		}
		if resp.Request.URL.Scheme != "https" {
			t.Errorf("%s: ended at %s", path, resp.Request.URL)
		}
		if strings.HasPrefix(path, "/.well") {
			if e := EndpointOf(resp.Request.URL); e != base+"/final" {
				t.Errorf("endpoint %s", e)
			}
		}
	}
	if resp, err := do(http.MethodPost, "/.well-known/ischedule"); err != nil || resp.StatusCode != http.StatusMovedPermanently {
		t.Errorf("POST is not to be followed by the client: %v", err)
	}
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	from, err := url.Parse("https://cal.test:8443/.well-known/ischedule?action=capabilities")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method   string
		status   int
		location string
		hop      int
		want     string // empty: refused
	}{
		{"GET", 301, "/is", 0, "https://cal.test:8443/is"},
		{"GET", 303, "/is?x#y", 4, "https://cal.test:8443/is?x"},
		{"GET", 302, "https://other.test/is", 0, "https://other.test/is"},
		{"HEAD", 308, "/is", 0, "https://cal.test:8443/is"},
		{"GET", 301, "http://CAL.test:8443/is", 0, "https://CAL.test:8443/is"},
		{"GET", 301, "http://cal.test/is", 0, ""},
		{"GET", 301, "//evil.test/", 0, "https://evil.test/"},
		{"GET", 301, "/is", 5, ""},
		{"GET", 300, "/is", 0, ""},
		{"GET", 304, "/is", 0, ""},
		{"GET", 301, "", 0, ""},
		{"GET", 301, "file:///etc/passwd", 0, ""},
		{"GET", 301, "mailto:a@b.test", 0, ""},
		{"GET", 301, "https://u@other.test/", 0, ""},
		{"GET", 301, "https:///x", 0, ""},
		{"GET", 301, "%zz", 0, ""},
		{"GET", 301, "/" + strings.Repeat("a", 5000), 0, ""},
		{"POST", 307, "/is", 2, "https://cal.test:8443/is"},
		{"POST", 301, "/is", 0, "https://cal.test:8443/is"},
		{"POST", 303, "/is", 0, ""},
		{"POST", 307, "/is", 3, ""},
		{"PUT", 307, "/is", 0, ""},
	} {
		got, err := Redirect(c.method, c.status, from, c.location, c.hop)
		switch {
		case c.want == "" && !errors.Is(err, ErrRedirect):
			t.Errorf("%s %d %q: %v, %v", c.method, c.status, c.location, got, err)
		case c.want != "" && (err != nil || got.String() != c.want):
			t.Errorf("%s %d %q: %v, %v", c.method, c.status, c.location, got, err)
		}
	}
	same := func(a, b string) bool {
		ua, err1 := url.Parse(a)
		ub, err2 := url.Parse(b)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return SameHost(ua, ub)
	}
	if !same("https://a.test/x", "https://A.test:443/y") || same("https://a.test", "https://a.test:8443") ||
		same("https://a.test", "https://b.a.test") || same("https://a.test:80", "http://a.test") {
		t.Error("SameHost")
	}
}

// A43: no answer is read without a limit.
func TestReadLimitedAndRoots(t *testing.T) {
	t.Parallel()
	if b, err := ReadLimited(strings.NewReader("12345"), 5); err != nil || string(b) != "12345" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := ReadLimited(strings.NewReader("123456"), 5); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	a := discovertest.NewAuthority(t)
	extra := a.PEM()
	pool, err := Roots(extra)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Cert.Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Error(err)
	}
	if _, err := Roots([]byte("nothing")); err == nil {
		t.Error("a file without certificates is accepted")
	}
	if _, err := Roots(nil); err != nil {
		t.Error(err)
	}
}

// TestFinder covers what the vectors do not: local domains, overrides, odd
// targets, several endpoints, identities.
func TestFinder(t *testing.T) {
	t.Parallel()
	srv := func(port uint16, targets ...string) (out []discovertest.SRV) {
		for i, s := range targets {
			out = append(out, discovertest.SRV{Priority: uint16(i), Port: port, Target: s})
		}
		return out
	}
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("h%d.test", i)
	}
	server := discovertest.Start(t, discovertest.World{
		SRV: map[string][]discovertest.SRV{
			"_ischedules._tcp.south.test":  srv(443, "cal.south.test", "cal.hoster.test"),
			"_ischedules._tcp.dots.test":   srv(443, ".", "cal.south.test"),
			"_ischedules._tcp.ip.test":     srv(443, "127.0.0.1"),
			"_ischedules._tcp.zero.test":   srv(0, "cal.south.test"),
			"_ischedules._tcp.inner.test":  srv(443, "inner.test", "cal.south.test"),
			"_ischedules._tcp.many.test":   srv(443, many...),
			"_ischedules._tcp.notxt.test":  srv(443, "cal.south.test"),
			"_ischedules._tcp.alpha.test":  srv(443, "cal.south.test"),
			"_ischedules._tcp.self.test":   srv(443, "cal.alpha.test"),
			"_ischedules._tcp.parent.test": srv(8443, "cal.south.test"),
		},
		Addr:      map[string][]string{"cal.south.test": {"192.0.2.1", "10.0.0.1"}, "inner.test": {"10.0.0.1", "::1"}},
		Fail:      []string{"TXT _ischedules._tcp.notxt.test"},
		Authentic: []string{"SRV _ischedules._tcp.south.test"},
	})
	f, err := NewFinder(FinderConfig{
		Resolver:     newResolver(t, ResolverConfig{Rounds: 1}, server),
		Local:        func(d string) bool { return d == "alpha.test" },
		Self:         func(h string) bool { return h == "cal.alpha.test" },
		Overrides:    map[string]string{"Fixed.test.": "https://cal.fixed.test:8443/is", "bare.test": "https://bare.test"},
		WalkParents:  true,
		PublicSuffix: func(d string) bool { return d == "test" },
	})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]struct {
		kind Kind
		urls []string
	}{
		"mailto:u@ALPHA.test":       {Local, nil},
		"mailto:u@fixed.test":       {ISchedule, []string{"https://cal.fixed.test:8443/is"}},
		"mailto:u@bare.test":        {ISchedule, []string{"https://bare.test/.well-known/ischedule"}},
		"mailto:u@south.test":       {ISchedule, []string{"https://cal.south.test/.well-known/ischedule", "https://cal.hoster.test/.well-known/ischedule"}},
		"mailto:u@dots.test":        {ISchedule, []string{"https://cal.south.test/.well-known/ischedule"}},
		"mailto:u@ip.test":          {Mail, nil},
		"mailto:u@zero.test":        {Mail, nil},
		"mailto:u@inner.test":       {ISchedule, []string{"https://cal.south.test/.well-known/ischedule"}},
		"mailto:u@notxt.test":       {Temporary, nil},
		"mailto:u@a.b.parent.test":  {ISchedule, []string{"https://cal.south.test:8443/.well-known/ischedule"}},
		"mailto:u@none.test":        {Mail, nil},
		"mailto:u@[127.0.0.1]":      {Mail, nil},
		"/principals/users/u/":      {Invalid, nil},
		"u@" + longDomain("x", 245): {Mail, nil},
	} {
		d := f.Discover(t.Context(), address)
		if d.Kind != want.kind || !slices.Equal(urlsOf(d), want.urls) || d.Reason == "" {
			t.Errorf("%s: %s %q (%s)", address, d.Kind, urlsOf(d), d.Reason)
		}
	}
	d := f.Discover(t.Context(), "mailto:u@south.test")
	if id := d.Endpoints[1].Identity; id != (Identity{"cal.hoster.test:443", "south.test", "ischedules", true}) || !d.Authentic {
		t.Errorf("identity %+v", id)
	}
	if d := f.Discover(t.Context(), "mailto:u@a.b.parent.test"); d.Domain != "a.b.parent.test" || d.Endpoints[0].Identity.Domain != "parent.test" {
		t.Errorf("%+v", d)
	}
	if d := f.Discover(t.Context(), "mailto:u@many.test"); len(d.Endpoints) != maxEndpoints {
		t.Errorf("%d endpoints", len(d.Endpoints))
	}
	for _, q := range server.Queries() {
		if strings.HasSuffix(q, "_tcp.test") || strings.Contains(q, "_tcp.alpha") || strings.Contains(q, "fixed") {
			t.Errorf("asked %s", q)
		}
	}
	for domain, u := range map[string]string{"a.test": "http://a.test/", "b.test": "b.test/x", "c..test": "https://c.test/", "d.test": "https://u@d.test/", "e.test": "https://e.test/?q"} {
		if _, err := NewFinder(FinderConfig{Resolver: f.c.Resolver, Overrides: map[string]string{domain: u}}); err == nil {
			t.Errorf("override %s -> %s accepted", domain, u)
		}
	}
	if _, err := NewFinder(FinderConfig{}); err == nil {
		t.Error("no resolver accepted")
	}
}

// TestFinderWeights: the draw is made anew for every decision, from the same
// cached records.
func TestFinderWeights(t *testing.T) {
	t.Parallel()
	server := discovertest.Start(t, discovertest.World{SRV: map[string][]discovertest.SRV{
		"_ischedules._tcp.south.test": {{Priority: 10, Weight: 90, Port: 443, Target: "a.test"}, {Priority: 10, Weight: 10, Port: 443, Target: "b.test"}},
	}})
	draw := 0
	f, err := NewFinder(FinderConfig{
		Resolver: newResolver(t, ResolverConfig{}, server),
		IntN:     func(n int) int { return draw % n },
	})
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	for ; draw < 101; draw++ {
		if d := f.Discover(t.Context(), "u@south.test"); strings.Contains(d.Endpoints[0].URL, "a.test") {
			first++
		}
	}
	if first != 91 {
		t.Errorf("a first in %d of 101", first)
	}
	if n := len(server.Queries()); n > 6 {
		t.Errorf("%d queries", n)
	}
}

func longDomain(label string, n int) string {
	return strings.Repeat(label+".", n/2) + "test"
}

func TestIsTemporary(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		nil: false, ErrTemporary: true, context.DeadlineExceeded: true, io.ErrUnexpectedEOF: true,
		ErrForbiddenAddress: false, ErrNotFound: false, ErrInvalidAddress: false, ErrRedirect: false, errIdentity: false,
	} {
		if got := IsTemporary(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
	if s := Kind(0).String() + ISchedule.String() + Mail.String() + Temporary.String() + Invalid.String() + Local.String(); strings.Contains(s, "%") {
		t.Error(s)
	}
}
