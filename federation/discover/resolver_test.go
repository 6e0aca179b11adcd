package discover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kalends/kalends/federation/discover/discovertest"
)

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1770000000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestLookups(t *testing.T) {
	t.Parallel()
	long := []string{strings.Repeat("a", 255), strings.Repeat("b", 255), strings.Repeat("c", 255), strings.Repeat("d", 255), strings.Repeat("e", 255), strings.Repeat("f", 100)}
	server := discovertest.Start(t, discovertest.World{
		SRV: map[string][]discovertest.SRV{"_x._tcp.a.test": {{Priority: 1, Weight: 2, Port: 3, Target: "Host.A.test."}, {Target: "."}}},
		TXT: map[string][][]string{
			"a.test":    {{"v=1", `quo"te\`, "tab\tand \xff"}, {"second"}},
			"long.test": {long},
			"tcp.test":  {{"came by TCP"}},
			"safe.test": {{"x"}},
		},
		MX:        map[string][]string{"a.test": {"MX1.a.test.", "."}},
		Addr:      map[string][]string{"a.test": {"192.0.2.1", "2001:db8::1", "192.0.2.2"}, "four.test": {"192.0.2.4"}, "mapped.test": {"::ffff:127.0.0.1"}},
		CNAME:     map[string]string{"alias.test": "alias2.test", "alias2.test": "a.test", "loop.test": "loop.test", "dangling.test": "gone.test"},
		Fail:      []string{"AAAA four.test", "TXT fail.test"},
		Refuse:    []string{"refused.test"},
		Truncate:  []string{"tcp.test"},
		Authentic: []string{"safe.test"},
	})
	r := newResolver(t, ResolverConfig{Rounds: 1}, server)
	ctx := t.Context()

	srv, _, err := r.LookupSRV(ctx, "_X._tcp.A.test")
	if diff := cmp.Diff([]SRV{{1, 2, 3, "host.a.test"}, {Target: "."}}, srv); err != nil || diff != "" {
		t.Errorf("SRV: %v %s", err, diff)
	}
	for name, want := range map[string][][]string{
		"a.test":     {{"v=1", `quo"te\`, "tab\tand \xff"}, {"second"}},
		"alias.test": {{"v=1", `quo"te\`, "tab\tand \xff"}, {"second"}},
		"long.test":  {long},
		"tcp.test":   {{"came by TCP"}},
	} {
		got, _, err := r.LookupTXT(ctx, name)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("TXT %s: %v %s", name, err, diff)
		}
	}
	if q := server.Queries(); !slices.Contains(q, "TXT tcp.test tcp") || !slices.Contains(q, "TXT long.test tcp") || slices.Contains(q, "TXT a.test tcp") {
		t.Errorf("queries %q", q)
	}
	mx, _, err := r.LookupMX(ctx, "A.test")
	if diff := cmp.Diff([]MX{{10, "mx1.a.test"}, {20, "."}}, mx); err != nil || diff != "" {
		t.Errorf("MX: %v %s", err, diff)
	}
	if _, _, err := r.LookupMX(ctx, "four.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no MX: %v", err)
	}
	for name, want := range map[string][]string{
		"a.test": {"192.0.2.1", "192.0.2.2", "2001:db8::1"}, "four.test": {"192.0.2.4"}, "mapped.test": {"::ffff:127.0.0.1"},
	} {
		addrs, _, err := r.LookupAddrs(ctx, name)
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("addresses of %s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"gone.test": ErrNotFound, "four.test": ErrNotFound, "dangling.test": ErrNotFound, "loop.test": ErrNotFound,
		"fail.test": ErrTemporary, "refused.test": ErrTemporary,
		"": ErrInvalidName, "a..test": ErrInvalidName, "a b.test": ErrInvalidName, "b\u00fccher.test": ErrInvalidName,
		strings.Repeat("a", 64) + ".test": ErrInvalidName, strings.Repeat("a.", 130) + "test": ErrInvalidName,
		`a\.test`: ErrInvalidName,
	} {
		_, _, err := r.LookupTXT(ctx, name)
		var le *LookupError
		if !errors.Is(err, want) || !errors.As(err, &le) || le.Temporary() != (want == ErrTemporary) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	if _, _, err := r.LookupAddrs(ctx, "refused.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("addresses: %v", err)
	}
	if _, m, _ := r.LookupTXT(ctx, "safe.test"); !m.Authentic {
		t.Error("AD bit lost")
	}
	if _, m, _ := r.LookupTXT(ctx, "a.test"); m.Authentic || !m.Cached {
		t.Errorf("%+v", m)
	}
}

func TestResolverCache(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		world    discovertest.World
		lives    time.Duration // kept so long at least
		dies     time.Duration // and asked again after this
		wantKind error
	}{
		{"by TTL", discovertest.World{TXT: map[string][][]string{"a.test": {{"x"}}}, TTL: 300}, 299 * time.Second, 300 * time.Second, nil},
		{"floor", discovertest.World{TXT: map[string][][]string{"a.test": {{"x"}}}, TTL: 1}, 59 * time.Second, 60 * time.Second, nil},
		{"ceiling", discovertest.World{TXT: map[string][][]string{"a.test": {{"x"}}}, TTL: 1 << 30}, 24*time.Hour - time.Second, 24 * time.Hour, nil},
		{"negative", discovertest.World{NegativeTTL: 30}, 29 * time.Second, 30 * time.Second, ErrNotFound},
		{"negative ceiling", discovertest.World{NegativeTTL: 86400}, time.Hour - time.Second, time.Hour, ErrNotFound},
		{"failure", discovertest.World{Fail: []string{"a.test"}}, -1, 0, ErrTemporary},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, clock := discovertest.Start(t, c.world), newClock()
			r := newResolver(t, ResolverConfig{Now: clock.now, Rounds: 1}, server)
			ask := func() int {
				if _, _, err := r.LookupTXT(t.Context(), "a.test"); !errors.Is(err, c.wantKind) {
					t.Fatalf("%v, want %v", err, c.wantKind)
				}
				return len(server.Queries())
			}
			ask()
			if c.lives >= 0 {
				clock.add(c.lives)
				if n := ask(); n != 1 {
					t.Errorf("%d queries after %v", n, c.lives)
				}
				clock.add(c.dies - c.lives)
			}
			if n := ask(); n != 2 {
				t.Errorf("%d queries after %v", n, c.dies)
			}
		})
	}
}

func TestResolverServers(t *testing.T) {
	t.Parallel()
	good := discovertest.Start(t, discovertest.World{TXT: map[string][][]string{"a.test": {{"x"}}}})
	for name, w := range map[string]discovertest.World{
		"broken": {Fail: []string{"a.test"}}, "silent": {Silent: []string{"a.test"}}, "refusing": {Refuse: []string{"a.test"}},
	} {
		bad := discovertest.Start(t, w)
		r := newResolver(t, ResolverConfig{Try: 200 * time.Millisecond}, bad, good)
		if txt, _, err := r.LookupTXT(t.Context(), "a.test"); err != nil || len(txt) != 1 {
			t.Errorf("%s first: %v", name, err)
		}
	}
	silent := discovertest.Start(t, discovertest.World{Silent: []string{"a.test"}})
	r := newResolver(t, ResolverConfig{Try: 50 * time.Millisecond}, silent)
	if _, _, err := r.LookupTXT(t.Context(), "a.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("silent server: %v", err)
	}
	if n := len(silent.Queries()); n != 2 {
		t.Errorf("asked %d times", n)
	}
	// The first server's no is an answer: no second opinion.
	empty := discovertest.Start(t, discovertest.World{})
	if _, _, err := newResolver(t, ResolverConfig{}, empty, good).LookupTXT(t.Context(), "a.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("NXDOMAIN first: %v", err)
	}
	for _, s := range []string{"192.0.2.1", ":53", "host:"} {
		if _, err := NewResolver(ResolverConfig{Servers: []string{s}}); err == nil {
			t.Errorf("server %q accepted", s)
		}
	}
}

// TestResolverOnce: many callers with one question make one query, and one who
// gives up does not spoil it for the others.
func TestResolverOnce(t *testing.T) {
	t.Parallel()
	server := discovertest.Start(t, discovertest.World{TXT: map[string][][]string{"a.test": {{"x"}}}})
	r := newResolver(t, ResolverConfig{}, server)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.LookupTXT(gone, "b.test"); err != nil && !errors.Is(err, ErrTemporary) && !errors.Is(err, ErrNotFound) {
		t.Errorf("cancelled: %v", err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, _, err := r.LookupTXT(t.Context(), "a.test"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for _, q := range server.Queries() {
		if q == "TXT a.test" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d queries", n)
	}
}

func TestMemo(t *testing.T) {
	t.Parallel()
	clock := newClock()
	m := newMemo[string, int](clock.now, 3, time.Minute)
	fetched := 0
	get := func(key string, notBefore time.Time) (int, bool) {
		v, _, cached, err := m.get(t.Context(), key, notBefore, func(context.Context) (int, time.Duration) {
			fetched++
			return fetched, time.Hour
		})
		if err != nil {
			t.Fatal(err)
		}
		return v, cached
	}
	for i := range 10 {
		get(fmt.Sprint(i), time.Time{})
		get("often", time.Time{})
	}
	if m.len() != 3 {
		t.Errorf("%d entries", m.len())
	}
	if _, cached := get("often", time.Time{}); !cached {
		t.Error("the most used entry was dropped")
	}
	if _, cached := get("8", time.Time{}); !cached {
		t.Error("a recent entry was dropped")
	}
	if _, cached := get("0", time.Time{}); cached {
		t.Error("the oldest entry was kept")
	}
	before, _ := get("often", time.Time{})
	clock.add(time.Minute)
	if v, cached := get("often", clock.now().Add(-time.Second)); cached || v == before {
		t.Error("an entry older than asked for was used")
	}
}

// TestOrderSRV follows the algorithm of RFC 2782 draw by draw.
func TestOrderSRV(t *testing.T) {
	t.Parallel()
	rec := func(p, w uint16, target string) SRV { return SRV{p, w, 443, target} }
	records := []SRV{rec(20, 0, "last"), rec(10, 60, "a"), rec(10, 0, "zero"), rec(10, 40, "b")}
	for _, c := range []struct {
		draws []int
		want  string
	}{
		{[]int{0, 0, 0, 0}, "zero a b last"},
		{[]int{1, 1, 0, 0}, "a b zero last"}, // the sum falls from 100 to 40, and 1 is b's
		{[]int{60, 0, 0, 0}, "a zero b last"},
		{[]int{61, 60, 0, 0}, "b a zero last"},
		{[]int{100, 61, 0, 0}, "b a zero last"},
	} {
		i := 0
		var bounds []int
		got := OrderSRV(records, func(n int) int {
			bounds = append(bounds, n)
			i++
			return min(c.draws[i-1], n-1)
		})
		var names []string
		for _, r := range got {
			names = append(names, r.Target)
		}
		if strings.Join(names, " ") != c.want || bounds[0] != 101 {
			t.Errorf("draws %v: %q of %v, want %q", c.draws, names, bounds, c.want)
		}
	}
	if records[0].Target != "last" || len(OrderSRV(nil, nil)) != 0 {
		t.Error("input changed")
	}
	// Over all possible draws a weight of 90 comes first in about 9 of 10.
	first := 0
	for draw := range 101 {
		if OrderSRV([]SRV{rec(1, 10, "b"), rec(1, 90, "a")}, func(n int) int { return min(draw, n-1) })[0].Target == "a" {
			first++
		}
	}
	if first != 90 {
		t.Errorf("a first in %d of 101 draws", first)
	}
}

func TestTXTPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"path=/cal/is": "/cal/is", "PATH=/a%20b": "/a%20b", "txtvers=1|path=/x|path=/y": "/x",
		"path=|path=/y": "", "path|path=/y": "", "path=x|path=/y": "", "path=/": "/",
		"path=//evil.test/": "", "path=/a?b": "", "path=/a#b": "", "path=/a\r\nb": "", "path=/a b": "",
		`path=/\evil`: "", "path=https://evil.test/": "", "path=/%zz": "", "path=/\u00fc": "", "": "", "=/x": "", "xpath=/x": "",
		"path=/a=b": "/a=b",
	} {
		if got := TXTPath([][]string{strings.Split(in, "|")}); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := TXTPath([][]string{{"v=spf1"}, {"path=/b"}}); got != "/b" {
		t.Errorf("second record: %q", got)
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"u@South.Example.":                  "south.example",
		"mailto:u%40x@b%C3%BCcher.example":  "xn--bcher-kva.example",
		"mailto:u@B\u00dcCHER\u3002example": "xn--bcher-kva.example",
		"mailto:u@\u65e5\u672c\u8a9e.test":  "xn--wgv71a119e.test",
		"mailto:u@fu\u00dfball.test":        "xn--fuball-cta.test",
		"mailto:u@[2001:db8::1]":            "[2001:db8::1]",
		"mailto:u@192.0.2.7":                "192.0.2.7",
		"mailto:u@localhost":                "localhost",
		"mailto:u@a@b.test":                 "b.test",
	} {
		got, literal, err := ParseAddress(in)
		if err != nil || got != want || literal != strings.ContainsAny(want[:1], "[1") {
			t.Errorf("%q: %q %t %v", in, got, literal, err)
		}
	}
	for _, in := range []string{
		"", "u", "mailto:", "mailto:@x.test", "mailto:u@", "mailto:u@.", "mailto:u@.test", "mailto:u@x..test",
		"mailto:u@-x.test", "mailto:u@x_y.test", "mailto:u@1.2.3", "mailto:u@0x7f.0x1", "mailto:u%0d%0aX@x.test",
		"mailto:u%00@x.test", "mailto:u%20v@x.test", "mailto:u v@x.test", "mailto:u@x.test%0d", "mailto:u@x.test/y",
		"mailto:u@x.test:25", "mailto:u%zz@x.test", "mailto:a@x.test,mailto:b@y.test", "urn:uuid:u@x.test",
		"http://u@x.test/", "/u@x.test", "mailto:u@e\u0301.test", "mailto:u@\u2603.test", "mailto:\xff@x.test",
		"mailto:u@" + strings.Repeat("a", 64) + ".test", "mailto:u@" + strings.Repeat("a.", 127) + "test",
		"mailto:" + strings.Repeat("u", 2000) + "@x.test",
	} {
		if got, _, err := ParseAddress(in); !errors.Is(err, ErrInvalidAddress) {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"mailto:u@b\u00fccher.example", "u@x.test", "mailto:%22a%40b%22@x.test?x", "mailto:u@[1]", "urn:x", "u@\U0010ffff.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domain, literal, err := ParseAddress(s)
		if err != nil {
			if !errors.Is(err, ErrInvalidAddress) {
				t.Error(err)
			}
			return
		}
		if !literal && (!validHost(domain) || strings.ToLower(domain) != domain) {
			t.Errorf("%q gives domain %q", s, domain)
		}
		if again, err := NormalizeDomain(domain); !literal && (err != nil || again != domain) {
			t.Errorf("%q is not stable: %q %v", domain, again, err)
		}
	})
}

func FuzzTXT(f *testing.F) {
	f.Add("path=/x", `\034\"`)
	f.Add("PATH=//evil/", `\999\`)
	f.Add("path=/a?b", "")
	f.Fuzz(func(t *testing.T, pair, escaped string) {
		if p := TXTPath([][]string{{pair, unescape(escaped)}}); p != "" {
			if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "?#\r\n \\") {
				t.Errorf("path %q", p)
			}
		}
		if len(unescape(escaped)) > len(escaped) {
			t.Error("unescape grows")
		}
		keyLines([]byte(pair + "\n" + escaped))
		documentTTL(pair)
	})
}

func TestAddressPolicy(t *testing.T) {
	t.Parallel()
	strict := AddressPolicy{}
	for _, s := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.5", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1",
		"2002:7f00:1::1", "2001:0:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "100::1", "4000::1",
	} {
		if err := strict.Check(netip.MustParseAddr(s)); !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("%s allowed", s)
		}
	}
	for _, s := range []string{"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.2.1", "2606:4700::1111", "2001:db8::1"} {
		if err := strict.Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := strict.Check(netip.Addr{}); !errors.Is(err, ErrForbiddenAddress) {
		t.Error("zero address allowed")
	}
	lab := AddressPolicy{AllowNets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("64:ff9b::/96")}}
	for s, want := range map[string]bool{
		"127.0.0.1": true, "fd00::1": true, "10.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "8.8.8.8": true,
		"64:ff9b::808:808": true, "64:ff9b::a00:1": false, "64:ff9b::7f00:1": true,
	} {
		if err := lab.Check(netip.MustParseAddr(s)); (err == nil) != want {
			t.Errorf("%s with a list: %v", s, err)
		}
	}
}

// TestSystemServers: without a network the server starts all the same.
func TestSystemServers(t *testing.T) {
	dir := t.TempDir()
	here := []string{"127.0.0.1:53", "[::1]:53"}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"missing": {"", here},
		"empty":   {"# no network yet\nsearch example.org\n", here},
		"two":     {"nameserver 192.0.2.1\nnameserver 2001:db8::1\n", []string{"192.0.2.1:53", "[2001:db8::1]:53"}},
	} {
		path := filepath.Join(dir, name)
		if c.text != "" {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := systemServers(path); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}
