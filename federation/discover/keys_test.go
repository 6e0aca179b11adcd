package discover

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
)

func discardLogger() *log.Logger { return log.New(io.Discard, "", 0) }

// A42, A43: key documents are small, by TLS, from checked addresses, and come
// without redirects.
func TestKeyLookup(t *testing.T) {
	t.Parallel()
	a := discovertest.NewAuthority(t)
	var hits atomic.Int32
	port := serve(t, a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		switch strings.TrimPrefix(r.URL.Path, "/.well-known/domainkey/south.test/") {
		case "http1":
			fmt.Fprint(w, "v=DKIM1; p=AAAA\r\nv=DKIM1; p=BBBB\r\n\r\n")
		case "big":
			fmt.Fprint(w, strings.Repeat("p=A\r\n", maxKeyDocument))
		case "html":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "p=A")
		case "empty":
		case "moved":
			http.Redirect(w, r, "/.well-known/domainkey/south.test/http1", http.StatusFound)
		case "busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}), "keys.south.test")
	p, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	to := func(target string, port int) []discovertest.SRV {
		return []discovertest.SRV{{Port: uint16(port), Target: target}}
	}
	world := discovertest.World{
		TXT: map[string][][]string{
			"k1._domainkey.south.test":   {{"v=DKIM1; ", "p=AA", "AA"}, {"other"}},
			"both._domainkey.south.test": {{"from DNS"}},
		},
		SRV: map[string][]discovertest.SRV{
			"_domainkey_lookup._tcp.south.test":  to("keys.south.test", p),
			"_domainkey_lookup._tcp.inner.test":  to("inner.test", p),
			"_domainkey_lookup._tcp.closed.test": to("keys.south.test", 1),
			"_domainkey_lookup._tcp.other.test":  to("unnamed.test", p),
			"_domainkey_lookup._tcp.none.test":   to(".", 0),
		},
		Addr: map[string][]string{"keys.south.test": loopAddr, "inner.test": {"10.0.0.1"}, "unnamed.test": loopAddr},
		Fail: []string{"TXT busy._domainkey.south.test", "SRV _domainkey_lookup._tcp.fail.test"},
	}
	server := discovertest.Start(t, world)
	resolver := newResolver(t, ResolverConfig{Rounds: 1}, server)
	client := NewHTTPClient(HTTPConfig{Dialer: &Dialer{Resolver: resolver, AddressPolicy: loopback}, RootCAs: a.Pool()})
	t.Cleanup(client.CloseIdleConnections)
	full, err := NewKeyLookup(KeyConfig{Resolver: resolver, Client: client, Configured: func(d, s string) []string {
		if d == "private.test" && s == "p1" {
			return []string{"configured"}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	dnsOnly, err := NewKeyLookup(KeyConfig{Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	both := []string{"dns/txt", "http/well-known"}
	for _, c := range []struct {
		k            *KeyLookup
		domain, s, q string
		want         []string
		err          error
	}{
		{full, "south.test", "k1", "dns/txt", []string{"v=DKIM1; p=AAAA", "other"}, nil},
		{full, "south.test", "http1", "http/well-known", []string{"v=DKIM1; p=AAAA", "v=DKIM1; p=BBBB"}, nil},
		{full, "south.test", "http1", "dns/txt:http/well-known", []string{"v=DKIM1; p=AAAA", "v=DKIM1; p=BBBB"}, nil},
		{full, "south.test", "both", "http/well-known:dns/txt", []string{"from DNS"}, nil},
		{full, "south.test", "k1", "private-exchange:x:dns/txt", []string{"v=DKIM1; p=AAAA", "other"}, nil},
		{full, "private.test", "p1", "anything", []string{"configured"}, nil},
		{full, "private.test", "p2", "private-exchange", nil, ErrNoMethod},
		{dnsOnly, "south.test", "http1", "http/well-known", nil, ErrNoMethod},
		{full, "south.test", "gone", strings.Join(both, ":"), nil, ErrNotFound},
		{full, "south.test", "big", "http/well-known", nil, ErrTooLarge},
		{full, "south.test", "html", "http/well-known", nil, ErrNotFound},
		{full, "south.test", "empty", "http/well-known", nil, ErrNotFound},
		{full, "south.test", "moved", "http/well-known", nil, ErrNotFound},
		{full, "south.test", "busy", "http/well-known", nil, ErrTemporary},
		{full, "south.test", "busy", "dns/txt", nil, ErrTemporary},
		{full, "closed.test", "x", "dns/txt:http/well-known", nil, ErrTemporary},
		{full, "fail.test", "x", "http/well-known:dns/txt", nil, ErrTemporary},
		{full, "inner.test", "x", "http/well-known", nil, ErrForbiddenAddress},
		{full, "other.test", "x", "http/well-known", nil, ErrNotFound}, // the certificate has another name
		{full, "none.test", "x", "http/well-known", nil, ErrNotFound},
		{full, "nosrv.test", "x", "http/well-known", nil, ErrNotFound},
		{full, "south.test", "../k1", "http/well-known", nil, ErrInvalidName},
		{full, "127.0.0.1", "k1", "http/well-known", nil, ErrInvalidName},
	} {
		got, err := c.k.Keys(t.Context(), c.domain, c.s, strings.Split(c.q, ":"))
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s %s %s: %q, %v; want %q, %v", c.domain, c.s, c.q, got, err, c.want, c.err)
		}
		var temp interface{ Temporary() bool }
		if err != nil && (!errors.As(err, &temp) || temp.Temporary() != (c.err == ErrTemporary)) {
			t.Errorf("%s %s: Temporary of %v", c.domain, c.s, err)
		}
	}
	before := hits.Load()
	for range 3 {
		if _, err := full.Keys(t.Context(), "south.test", "http1", both); err != nil {
			t.Error(err)
		}
		_, _ = full.Keys(t.Context(), "south.test", "html", both)
	}
	if n := hits.Load() - before; n != 0 {
		t.Errorf("%d requests for what is cached", n)
	}
	if _, err := NewKeyLookup(KeyConfig{}); err == nil {
		t.Error("no resolver accepted")
	}
}

// TestKeyRefresh: a key is used for an hour at most, and looked up anew after a
// mismatch unless that was done just now (ischedule §7.5).
func TestKeyRefresh(t *testing.T) {
	t.Parallel()
	clock := newClock()
	server := discovertest.Start(t, discovertest.World{TTL: 86400, TXT: map[string][][]string{"k._domainkey.a.test": {{"old"}}}})
	resolver := newResolver(t, ResolverConfig{Now: clock.now}, server)
	k, err := NewKeyLookup(KeyConfig{Resolver: resolver, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	q := []string{"dns/txt"}
	keys := func(want string) {
		t.Helper()
		if got, err := k.Keys(t.Context(), "a.test", "k", q); err != nil || got[0] != want {
			t.Errorf("%q %v, want %s", got, err, want)
		}
	}
	refresh := func(want string, fresh bool) {
		t.Helper()
		if got, f, err := k.Refresh(t.Context(), "a.test", "k", q); err != nil || got[0] != want || f != fresh {
			t.Errorf("%q %t %v, want %s %t", got, f, err, want, fresh)
		}
	}
	set := func(text string) {
		server.Change(func(w *discovertest.World) { w.TXT["k._domainkey.a.test"] = [][]string{{text}} })
	}
	keys("old")
	set("new")
	refresh("old", false) // fetched just now
	clock.add(minRefresh + time.Second)
	keys("old")
	refresh("new", true)
	refresh("new", false)
	set("newest")
	clock.add(time.Hour)
	keys("new") // at the limit
	clock.add(time.Second)
	keys("newest")
	if n := len(server.Queries()); n != 3 {
		t.Errorf("%d queries", n)
	}
}

func TestDocumentTTL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"": time.Hour, "max-age=600": 10 * time.Minute, "public, Max-Age=600": 10 * time.Minute, "max-age=1": time.Minute,
		"max-age=99999999": time.Hour, "max-age=x": time.Hour, "no-store": time.Minute, "max-age=-1": time.Hour,
	} {
		if got := documentTTL(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
