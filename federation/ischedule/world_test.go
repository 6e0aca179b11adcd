package ischedule

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// world is a small Internet on loopback: names, certificates, servers.
type world struct {
	t     testing.TB
	ca    *discovertest.Authority
	dns   *discovertest.Server
	clock func() time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{t: t, ca: discovertest.NewAuthority(t), clock: time.Now,
		dns: discovertest.Start(t, discovertest.World{SRV: map[string][]discovertest.SRV{}, TXT: map[string][][]string{}, Addr: map[string][]string{}})}
}

// serve runs a TLS server whose certificate names host and returns its port.
func (w *world) serve(host string, h http.Handler, ca *discovertest.Authority) uint16 {
	w.t.Helper()
	if ca == nil {
		ca = w.ca
	}
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(w.t, host)}}
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	w.t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		w.t.Fatal(err)
	}
	w.dns.Change(func(d *discovertest.World) { d.Addr[host] = []string{"127.0.0.1"} })
	return uint16(n)
}

// offer adds an SRV record for the iSchedule service of domain.
func (w *world) offer(domain, host string, priority, port uint16) {
	w.dns.Change(func(d *discovertest.World) {
		name := "_ischedules._tcp." + domain
		d.SRV[name] = append(d.SRV[name], discovertest.SRV{Priority: priority, Weight: 1, Port: port, Target: host})
	})
}

var loopback = discover.AddressPolicy{AllowNets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func (w *world) resolver() *discover.Resolver {
	w.t.Helper()
	r, err := discover.NewResolver(discover.ResolverConfig{Servers: []string{w.dns.Addr()}, Now: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) http(r *discover.Resolver) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.Cert)
	c := discover.NewHTTPClient(discover.HTTPConfig{Dialer: &discover.Dialer{Resolver: r, AddressPolicy: loopback}, RootCAs: pool})
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// client sends for alpha.test.
func (w *world) client(change func(*ClientConfig)) *Client {
	w.t.Helper()
	r := w.resolver()
	finder, err := discover.NewFinder(discover.FinderConfig{Resolver: r, Policy: loopback})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := ClientConfig{
		Locator: finder,
		Signers: signerTable{"alpha.test": {Domain: "alpha.test", Selector: "k1", Key: testKey(w.t, "k2048")}},
		HTTP:    w.http(r).Transport,
		Now:     w.clock,
		Timeout: 20 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	return NewClient(cfg)
}

type signerTable map[string]*dkim.Signer

func (s signerTable) Signer(_ context.Context, domain, _ string) (*dkim.Signer, error) {
	return s[domain], nil
}

func parcel(recipients ...calendar.Address) scheduling.Parcel {
	lines := []string{"ORGANIZER:mailto:alice@alpha.test"}
	for _, r := range recipients {
		lines = append(lines, "ATTENDEE:"+string(r))
	}
	return scheduling.Parcel{WireID: "wire-1", Method: "REQUEST", Component: "VEVENT", Originator: "mailto:alice@alpha.test",
		Recipients: recipients, Domain: "beta.test", Body: []byte(vevent("REQUEST", lines...))}
}

// scripted is a peer that answers as told and keeps what it was sent.
type scripted struct {
	mu    sync.Mutex
	get   func(w http.ResponseWriter, r *http.Request)
	post  func(w http.ResponseWriter, r *http.Request, body string)
	gets  []*http.Request
	posts []*http.Request
	body  []string
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		s.gets = append(s.gets, r)
		s.get(w, r)
		return
	}
	b, _ := io.ReadAll(r.Body)
	s.posts, s.body = append(s.posts, r), append(s.body, string(b))
	s.post(w, r, string(b))
}

func giveCaps(c *Capabilities) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("ETag", `"caps-`+c.Serial+`"`)
		if r.Header.Get("If-None-Match") == `"caps-`+c.Serial+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(c.Document())
	}
}

func giveStatus(code int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// success answers every recipient with 2.0.
func success(w http.ResponseWriter, r *http.Request, _ string) {
	var out []Result
	for a := range strings.SplitSeq(r.Header.Get("Recipient"), ",") {
		out = append(out, Result{Recipient: calendar.Address(a), Status: "2.0;Success"})
	}
	w.Write(ResponseDocument(out))
}

func answer(code int, body string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// peer is one scripted server for beta.test.
func (w *world) peer(s *scripted) {
	w.offer("beta.test", "cal.beta.test", 10, w.serve("cal.beta.test", s, nil))
}

const carol = calendar.Address("mailto:carol@beta.test")
