package calendar

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, key, email, domain string }{
		{"mailto:alice@alpha.test", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"MAILTO:Alice@Alpha.TEST", "mailto:alice@alpha.test", "Alice@alpha.test", "alpha.test"},
		{" mailto: alice@alpha.test ", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"alice@alpha.test", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"mailto:alice%40alpha.test", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"mailto:%61lice@alpha%2Etest", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"mailto:alice@alpha.test.", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"mailto:alice@alpha.test?subject=x@evil.test", "mailto:alice@alpha.test", "alice@alpha.test", "alpha.test"},
		{"mailto:alice+tag@alpha.test", "mailto:alice+tag@alpha.test", "alice+tag@alpha.test", "alpha.test"},
		{"mailto:a%2Cb@alpha.test", "mailto:a,b@alpha.test", "a,b@alpha.test", "alpha.test"},
		{"mailto:a%3Fb@alpha.test", "mailto:a%3fb@alpha.test", "a?b@alpha.test", "alpha.test"},
		{"mailto:100%@alpha.test", "mailto:100%25@alpha.test", "100%@alpha.test", "alpha.test"},
		{"mailto:100%25@alpha.test", "mailto:100%25@alpha.test", "100%@alpha.test", "alpha.test"},
		{"mailto:%22not%40me%22@alpha.test", `mailto:"not@me"@alpha.test`, `"not@me"@alpha.test`, "alpha.test"},
		{"mailto:victim@alpha.test%40evil.test", "mailto:victim@alpha.test@evil.test", "victim@alpha.test@evil.test", "evil.test"},
		{"mailto:a@[192.0.2.1]", "mailto:a@[192.0.2.1]", "a@[192.0.2.1]", "[192.0.2.1]"},
		{"mailto:a@[IPv6:2001:db8::1]", "mailto:a@[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]"},
		{"mailto:Zoë@Bücher.example", "mailto:zoë@xn--bcher-kva.example", "Zoë@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"mailto:a@B%C3%9Ccher.example", "mailto:a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"mailto:a@XN--BCHER-KVA.example", "mailto:a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"mailto:a@例え。テスト", "mailto:a@xn--r8jz45g.xn--zckzah", "a@xn--r8jz45g.xn--zckzah", "xn--r8jz45g.xn--zckzah"},
		{"mailto:a@почта.рф", "mailto:a@xn--80a1acny.xn--p1ai", "a@xn--80a1acny.xn--p1ai", "xn--80a1acny.xn--p1ai"},
		{"urn:uuid:9D1C8A3E-5A94-4C2E-A1F5-4C0F2D0A7B11", "urn:uuid:9d1c8a3e-5a94-4c2e-a1f5-4c0f2d0a7b11", "", ""},
		{"URN:UUID:ab", "urn:uuid:ab", "", ""},
		{"/dav/principals/users/alice/", "/dav/principals/users/alice", "", ""},
		{"/dav/principals/users/%61lice", "/dav/principals/users/alice", "", ""},
		{"/dav/a%2Fb%252F", "/dav/a%2Fb%252F", "", ""},
		{"/", "/", "", ""},
		{"https://alpha.test/Alice/", "https://alpha.test/Alice/", "", ""},
		{"urn:x-uid:Alice", "urn:x-uid:Alice", "", ""},
		{"invalid:nomail", "invalid:nomail", "", ""},

		{"", "", "", ""},
		{"mailto:", "", "", ""},
		{"mailto:alice", "", "", ""},
		{"alice", "", "", ""},
		{"alice smith", "", "", ""},
		{"mailto:@alpha.test", "", "", ""},
		{"@alpha.test", "", "", ""},
		{"mailto:alice@", "", "", ""},
		{"mailto:alice@.", "", "", ""},
		{"mailto:alice@a..b", "", "", ""},
		{"mailto:alice@.test", "", "", ""},
		{"mailto:alice@a b.test", "", "", ""},
		{"mailto:a b@alpha.test", "", "", ""},
		{"mailto:a%20b@alpha.test", "", "", ""},
		{"mailto:a%0D%0ABcc:x@alpha.test", "", "", ""}, // A20
		{"mailto:a\r\nb@alpha.test", "", "", ""},
		{"mailto:a%00@alpha.test", "", "", ""},
		{"mailto:a@alpha.test%0d%0aX: y", "", "", ""},
		{"mailto:a@al%00pha.test", "", "", ""},
		{"mailto:a\u00a0b@alpha.test", "", "", ""},
		{"mailto:a\u0085@alpha.test", "", "", ""},
		{"mailto:a%ff@alpha.test", "", "", ""},
		{"mailto:<alice@alpha.test>", "", "", ""},
		{"mailto:alice@[192.0.2.1> x]", "", "", ""},
		{"mailto:a@" + strings.Repeat("x", 64) + ".test", "", "", ""},
		{"mailto:a@" + strings.Repeat("x.", 127) + "test", "", "", ""},
		{"mailto:a@" + strings.Repeat("ü", 64) + ".test", "", "", ""},
		{"mailto:a@" + strings.Repeat("ü", 1<<20), "", "", ""},
		{"urn:uuid:a b", "", "", ""},
		{"https://alpha.test/a b", "", "", ""},
		{"/dav/%0d%0aX", "", "", ""}, // A10
		{"../principals", "", "", ""},
	} {
		a := Address(c.in)
		if got := a.Key(); got != c.key {
			t.Errorf("Key(%.60q) = %q, want %q", c.in, got, c.key)
		}
		if got := a.Email(); got != c.email {
			t.Errorf("Email(%.60q) = %q, want %q", c.in, got, c.email)
		}
		if got := a.Domain(); got != c.domain {
			t.Errorf("Domain(%.60q) = %q, want %q", c.in, got, c.domain)
		}
		if got := a.Equal(a); got != (c.key != "") {
			t.Errorf("Equal(%.60q, itself) = %v", c.in, got)
		}
	}
}

// No letter outside of ASCII may turn into an ASCII one: that would make a
// look-alike the same person.
func TestAddressLookAlikes(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]Address{
		{"mailto:\u212aate@alpha.test", "mailto:kate@alpha.test"},
		{"mailto:\u0130da@alpha.test", "mailto:ida@alpha.test"},
		{"mailto:a@\u212a.test", "mailto:a@k.test"}, // no domain at all
		{"mailto:a@\u0130.test", "mailto:a@i.test"},
		{"mailto:a@alph\u0430.test", "mailto:a@alpha.test"},
		{"mailto:a+1@alpha.test", "mailto:a@alpha.test"},
		{"/dav/a%2Fb", "/dav/a/b"},
	} {
		if c[0].Equal(c[1]) {
			t.Errorf("%q and %q have the key %q", c[0], c[1], c[0].Key())
		}
	}
}

func TestAddressIsMailto(t *testing.T) {
	t.Parallel()
	for a, want := range map[Address]bool{
		"mailto:a@b": true, "MailTo:x": true, "a@b": true, "": false, "a": false,
		"urn:uuid:a@b": false, "https://u@h/": false, "/a@b": false, "http:a@b": false,
	} {
		if got := a.IsMailto(); got != want {
			t.Errorf("IsMailto(%q) = %v", a, got)
		}
	}
}

func TestAddressSet(t *testing.T) {
	t.Parallel()
	s := NewAddressSet("MAILTO:a@alpha.test", "mailto:nobody", "")
	if len(s) != 1 || !s.Has("A@alpha.test") || s.Has("mailto:nobody") || s.Has("") || AddressSet(nil).Has("a@b") {
		t.Errorf("set %v", s)
	}
	s.Add("/p/")
	if !s.Has("/p") {
		t.Errorf("set %v", s)
	}
}

func checkAddress(t interface {
	Fatalf(string, ...any)
}, a Address) {
	key := a.Key()
	if again := Address(key).Key(); again != key {
		t.Fatalf("key of key: %q -> %q -> %q", a, key, again)
	}
	if key != "" && (!printable(key) || !utf8.ValidString(key)) {
		t.Fatalf("%q: key %q", a, key)
	}
	email, domain := a.Email(), a.Domain()
	if (email == "") != (domain == "") || a.IsMailto() && (key == "") != (email == "") || !a.IsMailto() && email != "" {
		t.Fatalf("%q: key %q, email %q, domain %q", a, key, email, domain)
	}
	if !strings.HasSuffix(email, domain) || strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r > '~' || r >= 'A' && r <= 'Z' }) {
		t.Fatalf("%q: email %q, domain %q", a, email, domain)
	}
}

func TestAddressProperties(t *testing.T) {
	t.Parallel()
	part := rapid.SampledFrom([]string{
		"mailto:", "MAILTO:", "urn:uuid:", "/", "@", "%40", "%", "%25", "%3f", "?", "a", "B", "é", "%C3%89", "İ", ".", "%2F",
		"alpha.test", "[", "]", " ", "\"", "%0a", "<", ":", "x-y", "。", "ß", "\xff",
	})
	rapid.Check(t, func(t *rapid.T) {
		checkAddress(t, Address(strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "")))
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"mailto:alice@alpha.test", "MAILTO:Alice%40alpha.test?x", "bob@Bücher.example", "urn:uuid:AB", "/dav/%2f/",
		"mailto:a%0d%0ab@c", "https://x/", "mailto:a@[::1]", "mailto:100%@x.test", "a:b@c", "mailto:\u212a@İ.test",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkAddress(t, Address(s)) })
}

func BenchmarkAddressKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Address("mailto:alice@alpha.test").Key()
		Address("MAILTO:Alice@alpha.test").Key()
	}
}
