package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyList answers every lookup with the same records.
type keyList []string

func (k keyList) Keys(context.Context, string, string, []string) ([]string, error) { return k, nil }

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

func testRecord(t testing.TB) string {
	t.Helper()
	r, err := MarshalKeyRecord(&testKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func baseRequest() ([]Header, []byte) {
	return []Header{
		{"Host", "cal.south.example"},
		{"Content-Type", "text/calendar; charset=utf-8; component=VEVENT; method=REQUEST"},
		{"iSchedule-Version", "1.0"},
		{"iSchedule-Message-ID", "m-1"},
		{"Originator", "mailto:alice@north.example"},
		{"Recipient", "mailto:bob@south.example,mailto:carol@south.example"},
		{"User-Agent", "kalends"},
	}, []byte("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")
}

var testNow = time.Unix(1770000000, 0)

func testSigner() *Signer {
	return &Signer{Domain: "north.example", Selector: "k1", Key: testKey()}
}

func sign(t testing.TB, s *Signer, h []Header, body []byte) []Header {
	t.Helper()
	f, err := s.Sign(h, body, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(h), f)
}

func TestSignVerifyForms(t *testing.T) {
	t.Parallel()
	three := func(h []Header) []Header {
		return append(h, Header{"Recipient", "mailto:dave@south.example"}, Header{"Authorization", "Basic eDp5"})
	}
	for name, c := range map[string]struct {
		signer  *Signer
		change  func([]Header) []Header
		draft01 bool
		want    string // part of the signature
	}{
		"default":        {testSigner(), nil, false, "c=ischedule-relaxed/simple; d=north.example; s=k1; q=dns/txt; t=1770000000; x=1770000600; h=Content-Type:iSchedule-Version:Originator:Recipient:iSchedule-Message-ID:User-Agent; bh="},
		"authorization":  {testSigner(), three, false, "Recipient:Authorization:iSchedule-Message-ID"},
		"relaxed":        {&Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Canonicalization: "relaxed/simple"}, three, false, "Recipient:Recipient:Authorization"},
		"draft-01":       {testSigner().Draft01(), nil, true, "c=simple/simple; d=north.example; s=k1; q=dns/txt; t=1770000000; x=1770000600; h=Host:Originator:Recipient:Content-Type:iSchedule-Version; bh="},
		"no x, methods":  {&Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Lifetime: -1, Methods: []string{"private-exchange", "dns/txt"}}, nil, false, "q=private-exchange:dns/txt; t=1770000000; h="},
		"shortest x":     {&Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Lifetime: time.Second}, nil, false, "x=1770000060"},
		"parent domain":  {testSigner(), func(h []Header) []Header { h[4].Value = "MAILTO:al@Dept.North.Example."; return h }, false, "d=north.example"},
		"odd whitespace": {testSigner(), func(h []Header) []Header { h[5].Value = " mailto:a@south.example ,\tmailto:b@south.example "; return h }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, body := baseRequest()
			if c.change != nil {
				h = c.change(h)
			}
			h = sign(t, c.signer, h, body)
			if got := h[len(h)-1]; got.Name != "DKIM-Signature" || !strings.Contains(got.Value, c.want) {
				t.Errorf("%s: %s\nwant %s", got.Name, got.Value, c.want)
			}
			v, err := Verify(t.Context(), h, body, testNow, keyList{testRecord(t)}, Policy{Draft01: c.draft01})
			if err != nil || v.Result != Pass || !v.Aligned || !v.Time.Equal(testNow) {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// TestTampering changes a signed request in every way that A40 lists.
func TestTampering(t *testing.T) {
	t.Parallel()
	relaxed := testSigner()
	relaxed.Canonicalization = "relaxed/simple"
	set := func(name, value string) func([]Header, []byte) ([]Header, []byte) {
		return func(h []Header, b []byte) ([]Header, []byte) {
			for i := range h {
				if h[i].Name == name {
					h[i].Value = value
				}
			}
			return h, b
		}
	}
	prepend := func(name, value string) func([]Header, []byte) ([]Header, []byte) {
		return func(h []Header, b []byte) ([]Header, []byte) {
			return append([]Header{{name, value}}, h...), b
		}
	}
	for name, c := range map[string]struct {
		signer *Signer
		change func([]Header, []byte) ([]Header, []byte)
		want   error
	}{
		"originator":             {testSigner(), set("Originator", "mailto:mallory@north.example"), ErrSignature},
		"version":                {testSigner(), set("iSchedule-Version", "1.0,2.0"), ErrSignature},
		"recipient on top":       {testSigner(), prepend("Recipient", "mailto:x@south.example"), ErrSignature},
		"relaxed, on top":        {relaxed, prepend("Recipient", "mailto:x@south.example"), ErrHeaderNotSigned},
		"second content type":    {relaxed, prepend("Content-Type", "text/html"), ErrHeaderNotSigned},
		"authorization added":    {testSigner(), prepend("Authorization", "Basic eDp5"), ErrHeaderNotSigned},
		"second originator":      {testSigner(), prepend("originator", "mailto:x@north.example"), ErrOriginator},
		"second signature":       {testSigner(), prepend("Dkim-Signature", "v=1"), ErrManySignatures},
		"body":                   {testSigner(), func(h []Header, b []byte) ([]Header, []byte) { return h, append(b, "X"...) }, ErrBodyHash},
		"blank lines at the end": {testSigner(), func(h []Header, b []byte) ([]Header, []byte) { return h, append(b, "\r\n\r\n"...) }, nil},
		"other header added":     {testSigner(), prepend("Via", "1.1 proxy"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, body := baseRequest()
			h, body = c.change(sign(t, c.signer, h, body), body)
			_, err := Verify(t.Context(), h, body, testNow, keyList{testRecord(t)}, Policy{})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestSignatureRules(t *testing.T) {
	t.Parallel()
	h, body := baseRequest()
	signed := sign(t, testSigner(), h, body)
	value := signed[len(signed)-1].Value
	for name, c := range map[string]struct {
		change []string // pairs old, new
		policy Policy
		at     time.Time
		want   error
	}{
		"untouched":          {},
		"no v":               {change: []string{"v=1; ", ""}, want: ErrMissingTag},
		"no s":               {change: []string{"s=k1; ", ""}, want: ErrMissingTag},
		"empty h":            {change: []string{"h=Content-Type:", "h=:"}, want: ErrSyntax},
		"sha1":               {change: []string{"rsa-sha256", "rsa-sha1"}, want: ErrAlgorithm},
		"ed25519":            {change: []string{"rsa-sha256", "ed25519-sha256"}, want: ErrAlgorithm},
		"no c":               {change: []string{"c=ischedule-relaxed/simple; ", ""}, want: ErrCanonicalization},
		"relaxed body":       {change: []string{"relaxed/simple", "relaxed/relaxed"}, policy: Policy{Draft01: true}, want: ErrCanonicalization},
		"single label":       {change: []string{"d=north.example", "d=example"}, want: ErrDomain},
		"trailing dot":       {change: []string{"d=north.example", "d=north.example."}, want: ErrDomain},
		"public suffix":      {policy: Policy{PublicSuffix: func(d string) bool { return d == "north.example" }}, want: ErrDomain},
		"selector slash":     {change: []string{"s=k1", "s=../k1"}, want: ErrSelector},
		"selector dot":       {change: []string{"s=k1", "s=k1."}, want: ErrSelector},
		"i outside":          {change: []string{"; h=", "; i=@evilnorth.example; h="}, want: ErrIdentity},
		"i empty":            {change: []string{"; h=", "; i=; h="}, want: ErrIdentity},
		"l":                  {change: []string{"; h=", "; l=32; h="}, want: ErrBodyLength},
		"t not digits":       {change: []string{"t=1770000000", "t=-1"}, want: ErrSyntax},
		"t too long":         {change: []string{"t=1770000000", "t=1770000000000"}, want: ErrSyntax},
		"x equal t":          {change: []string{"x=1770000600", "x=1770000000"}, want: ErrTimeTag},
		"bad base64":         {change: []string{"; b=", "; b=*"}, want: ErrSyntax},
		"signature octets":   {change: []string{"; b=", "; b=AAAA"}, want: ErrSignature},
		"ahead 300":          {at: testNow.Add(-300 * time.Second)},
		"ahead 301":          {at: testNow.Add(-301 * time.Second), want: ErrFuture},
		"ahead 301, skew":    {at: testNow.Add(-301 * time.Second), policy: Policy{ClockSkew: time.Hour}},
		"x now":              {at: testNow.Add(600 * time.Second)},
		"x past":             {at: testNow.Add(601 * time.Second), want: ErrExpired},
		"stale":              {at: testNow.Add(600 * time.Second), policy: Policy{MaxAge: 599 * time.Second}, want: ErrStale},
		"unknown tag":        {change: []string{"v=1; ", "v=1; zz=1; "}, want: ErrSignature},
		"value with control": {change: []string{"v=1; ", "v=1; z=\x01; "}, want: ErrSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := slices.Clone(signed)
			h[len(h)-1].Value = strings.NewReplacer(append(c.change, "\xff", "")...).Replace(value)
			at := c.at
			if at.IsZero() {
				at = testNow
			}
			v, err := Verify(t.Context(), h, body, at, keyList{testRecord(t)}, c.policy)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if v.Result != ResultOf(c.want) {
				t.Errorf("result %s", v.Result)
			}
			if err != nil && v.Reason == "" {
				t.Error("no reason for the log")
			}
		})
	}
}

// TestReplayKey: the spelling of b= is not signed, so it must not change the
// replay key (A39).
func TestReplayKey(t *testing.T) {
	t.Parallel()
	h, body := baseRequest()
	signed := sign(t, testSigner(), h, body)
	one, err := Verify(t.Context(), signed, body, testNow, keyList{testRecord(t)}, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	last := &signed[len(signed)-1]
	last.Value = strings.Replace(last.Value, "; b=", "; b= \r\n\t", 1) + " ;"
	other, err := Verify(t.Context(), signed, body, testNow, keyList{testRecord(t)}, Policy{})
	if !errors.Is(err, ErrSignature) { // the semicolon is signed, the blanks are not
		t.Fatalf("got %v", err)
	}
	last.Value = strings.TrimSuffix(last.Value, " ;")
	if other, err = Verify(t.Context(), signed, body, testNow, keyList{testRecord(t)}, Policy{}); err != nil {
		t.Fatal(err)
	}
	if one.SignatureHash != other.SignatureHash || one.Domain != other.Domain || one.Selector != other.Selector {
		t.Error("another spelling of b= gives another replay key")
	}
	p := Policy{}
	if got := p.MayReplayUntil(testNow); got != testNow.Add(3900*time.Second) {
		t.Errorf("MayReplayUntil %v", got)
	}
}

func TestAlignment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		originator, d string
		want          bool
	}{
		{"north.example", "north.example", true},
		{"Dept.North.Example.", "north.example", true},
		{"north.example", "dept.north.example", false},
		{"evilnorth.example", "north.example", false},
		{"north.example", "orth.example", false},
		{"north.example", "", false},
		{"", "north.example", false},
		{".north.example", "north.example", false},
	} {
		if got := Aligned(c.originator, c.d); got != c.want {
			t.Errorf("Aligned(%q, %q) = %t", c.originator, c.d, got)
		}
	}
	h, body := baseRequest()
	h[4].Value = "mailto:al@dept.north.example"
	h = sign(t, testSigner(), h, body)
	strict := strings.Replace(testRecord(t), "k=rsa;", "k=rsa; t=y:s;", 1)
	verify := func(record string, allowed map[string][]string) error {
		v, err := Verify(t.Context(), h, body, testNow, keyList{record}, Policy{AllowedSigners: allowed})
		if v.Result != Pass {
			t.Errorf("result %s: %v", v.Result, err)
		}
		return err
	}
	if err := verify(testRecord(t), nil); err != nil {
		t.Error("subdomain:", err)
	}
	if err := verify(strict, nil); !errors.Is(err, ErrNotAligned) {
		t.Error("t=s:", err)
	}
	if err := verify(strict, map[string][]string{"dept.north.example": {"x.example", "North.Example"}}); err != nil {
		t.Error("exception:", err)
	}
	foreign := testSigner()
	foreign.Domain = "host.other.example"
	h, body = baseRequest()
	h = sign(t, foreign, h, body)
	if err := verify(testRecord(t), nil); !errors.Is(err, ErrNotAligned) {
		t.Error("foreign:", err)
	}
	if err := verify(testRecord(t), map[string][]string{"north.example": {"host.other.example"}}); err != nil {
		t.Error("configured foreign:", err)
	}
}

func TestAddressDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"mailto:a@north.example":              "north.example",
		" MAILTO:A@NORTH.Example. ":           "north.example",
		"a@north.example":                     "north.example",
		"mailto:a@north.example?subject=x@y":  "north.example",
		"mailto:%22a%40b%22@north.example":    "north.example",
		"mailto:a@n%6Frth.example":            "north.example",
		"mailto:a@x.example@north.example":    "north.example",
		"mailto:a@evil.example%2Fx":           "",
		"mailto:a@evil.example%40x.example":   "",
		"mailto:a":                            "",
		"mailto:@north.example":               "",
		"mailto:a@[192.0.2.1]":                "",
		"mailto:a@192.0.2.1":                  "",
		"urn:uuid:a@north.example":            "",
		"https://a@north.example":             "",
		"/principals/a@north.example":         "",
		"mailto:a@x.example,mailto:b@y.test":  "",
		"mailto:a@b\u00fccher.example":        "",
		"mailto:a@north.example mailto:b@x.y": "",
		"":                                    "",
	} {
		if got := AddressDomain(in); got != want {
			t.Errorf("AddressDomain(%q) = %q, want %q", in, got, want)
		}
	}
}

// A41: weak, revoked and foreign-purpose keys are refused.
func TestKeyRecords(t *testing.T) {
	t.Parallel()
	good := testRecord(t)
	p := strings.TrimPrefix(good, RevokedKeyRecord)
	const small = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKrtKNuoCKu/zM27fLaApXS3zJjrrYGeoIwKxAr1usu0vdS3EOS+i5SnSntzQwCUkb4k4tQQhlOFvL9jaPoF+QcCAwEAAQ=="
	for name, c := range map[string]struct {
		record string
		want   error
	}{
		"own":            {good, nil},
		"bare":           {"p=" + p, nil},
		"folded":         {"v = DKIM1 ;\r\n\tp=" + p[:40] + "\r\n " + p[40:] + " ;", nil},
		"notes, unknown": {"v=DKIM1; n=hello world; zz=1; p=" + p, nil},
		"h list":         {"h=sha1:sha256; p=" + p, nil},
		"g star":         {"g=*; p=" + p, nil},
		"v not first":    {"k=rsa; v=DKIM1; p=" + p, ErrKeyVersion},
		"v2":             {"v=DKIM2; p=" + p, ErrKeyVersion},
		"ed25519":        {"k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", ErrKeyType},
		"sha1":           {"h=sha1; p=" + p, ErrKeyHash},
		"g":              {"g=alice; p=" + p, ErrKeyGranular},
		"revoked":        {RevokedKeyRecord, ErrKeyRevoked},
		"no p":           {"v=DKIM1; k=rsa", ErrKeySyntax},
		"twice":          {"p=" + p + "; p=" + p, ErrKeySyntax},
		"base64":         {"p=!!!", ErrKeySyntax},
		"url alphabet":   {"p=" + strings.NewReplacer("+", "-", "/", "_").Replace(p), ErrKeySyntax},
		"garbage":        {"p=AAAA", ErrKeySyntax},
		"small":          {"p=" + small, ErrKeySize},
		"spf":            {"v=spf1 -all", ErrKeyVersion},
		"empty":          {"", ErrKeySyntax},
	} {
		if _, err := ParseKeyRecord(c.record); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	for s, want := range map[string][2]bool{ // default, draft -01
		"": {true, true}, "s=*; ": {true, true}, "s=ischedule; ": {true, true}, "s=email:ischedule; ": {true, true},
		"s=email; ": {false, false}, "s=calendar; ": {false, true}, "s=; ": {false, false},
	} {
		k, err := ParseKeyRecord(s + "p=" + p)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{k.ForISchedule(false), k.ForISchedule(true)}; got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	parts := TXTStrings(good)
	if strings.Join(parts, "") != good || len(parts) != (len(good)+254)/255 || slices.ContainsFunc(parts, func(s string) bool { return len(s) > 255 }) {
		t.Errorf("TXTStrings: %q", parts)
	}
	if got := string(KeyDocument([]string{"a", "b"})); got != "a\r\nb\r\n" {
		t.Errorf("KeyDocument: %q", got)
	}
	if _, err := MarshalKeyRecord(nil); !errors.Is(err, ErrKeySize) {
		t.Errorf("nil key: %v", err)
	}
}

// TestKeyMemo: the memory of parsed keys is bounded and answers the same.
func TestKeyMemo(t *testing.T) {
	t.Parallel()
	var m keyMemo
	record := testRecord(t)
	for i := range 3 * maxMemo {
		r := fmt.Sprintf("n=%d; %s", i, strings.TrimPrefix(record, "v=DKIM1; "))
		one, err := m.get(r)
		if err != nil {
			t.Fatal(err)
		}
		if two, err := m.get(r); err != nil || one != two {
			t.Fatal("not remembered", err)
		}
		if len(m.keys) > maxMemo {
			t.Fatalf("%d keys", len(m.keys))
		}
	}
	if _, err := m.get("n=" + strings.Repeat("x", maxMemoRecord) + "; " + strings.TrimPrefix(record, "v=DKIM1; ")); err != nil {
		t.Error(err)
	}
	if _, err := m.get(RevokedKeyRecord); !errors.Is(err, ErrKeyRevoked) {
		t.Error(err)
	}
}

func TestNormalizeConfiguredKey(t *testing.T) {
	t.Parallel()
	good := testRecord(t)
	p := strings.TrimPrefix(good, RevokedKeyRecord)
	url := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(p), "=")
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{
		"record":     good + "\n",
		"base64":     p,
		"base64url":  url,
		"url record": "v=DKIM1; p=" + url + ";",
		"wrapped":    p[:64] + "\n" + p[64:],
		"PEM":        string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	} {
		record, err := NormalizeConfiguredKey(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if k, err := ParseKeyRecord(record); err != nil || !k.Key.Equal(&testKey().PublicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, in := range []string{"", "v=DKIM1; p=", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"} {
		if r, err := NormalizeConfiguredKey(in); err == nil {
			t.Errorf("%q became %q", in, r)
		}
	}
}

// caching is a KeySource whose first answer is old.
type caching struct {
	old, new []string
	err      error
	fresh    bool
	asked    *int
}

func (c caching) Keys(context.Context, string, string, []string) ([]string, error) { return c.old, nil }
func (c caching) Refresh(context.Context, string, string, []string) ([]string, bool, error) {
	*c.asked++
	return c.new, c.fresh, c.err
}

// TestRefresh: a key changed below a cached selector is looked up once more
// (ischedule §7.5).
func TestRefresh(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	old, err := MarshalKeyRecord(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	h, body := baseRequest()
	h = sign(t, testSigner(), h, body)
	for name, c := range map[string]struct {
		ks   caching
		want error
	}{
		"changed":   {caching{old: []string{old}, new: []string{testRecord(t)}, fresh: true}, nil},
		"same":      {caching{old: []string{old}, new: []string{old}, fresh: true}, ErrSignature},
		"not fresh": {caching{old: []string{old}, new: []string{testRecord(t)}}, ErrSignature},
		"revoked":   {caching{old: []string{old}, new: []string{RevokedKeyRecord}, fresh: true}, ErrKeyRevoked},
		"servfail":  {caching{old: []string{old}, err: temporary{}}, ErrKeyLookup},
	} {
		c.ks.asked = new(int)
		v, err := Verify(t.Context(), h, body, testNow, c.ks, Policy{})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || *c.ks.asked != 1 || v.Result != ResultOf(c.want) {
			t.Errorf("%s: %v after %d refreshes", name, err, *c.ks.asked)
		}
	}
	if _, err := Verify(t.Context(), h, body, testNow, keyList{old}, Policy{}); !errors.Is(err, ErrSignature) {
		t.Errorf("without Refresh: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Keys(context.Context, string, string, []string) ([]string, error) { return nil, f.err }

func TestLookupErrors(t *testing.T) {
	t.Parallel()
	h, body := baseRequest()
	h = sign(t, testSigner(), h, body)
	for _, c := range []struct{ err, want error }{
		{nil, ErrNoKey},
		{errNoMethod, ErrNoKey},
		{fmt.Errorf("looking up: %w", temporary{}), ErrKeyLookup},
		{context.DeadlineExceeded, ErrKeyLookup},
	} {
		v, err := Verify(t.Context(), h, body, testNow, failing{c.err}, Policy{})
		if !errors.Is(err, c.want) || v.Result != ResultOf(c.want) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%v: %s, %v", c.err, v.Result, err)
		}
	}
	many := slices.Repeat(keyList{"p="}, maxKeys)
	if _, err := Verify(t.Context(), h, body, testNow, append(many, testRecord(t)), Policy{}); !errors.Is(err, ErrKeyRevoked) {
		t.Errorf("key behind the limit of records: %v", err)
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	weak := &Signer{Domain: "north.example", Selector: "k1", Key: fakeKey{}}
	for name, c := range map[string]struct {
		signer Signer
		change func([]Header) []Header
	}{
		"no key":         {Signer{Domain: "north.example", Selector: "k1"}, nil},
		"not RSA":        {*weak, nil},
		"domain":         {Signer{Domain: "example", Selector: "k1", Key: testKey()}, nil},
		"selector":       {Signer{Domain: "north.example", Selector: "k 1", Key: testKey()}, nil},
		"c":              {Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Canonicalization: "relaxed/relaxed"}, nil},
		"unsignable":     {Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Headers: append(slices.Clone(RequiredHeaders), "Via")}, nil},
		"proxy":          {Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Headers: append(slices.Clone(RequiredHeaders), "proxy-x")}, nil},
		"not required":   {Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Headers: []string{"Originator"}}, nil},
		"repeated":       {Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Headers: append(slices.Clone(RequiredHeaders), "originator")}, nil},
		"no recipient":   {*testSigner(), func(h []Header) []Header { return slices.Delete(h, 5, 6) }},
		"line break":     {*testSigner(), func(h []Header) []Header { h[6].Value = "x\r\nEvil: 1"; return h }},
		"unsigned authz": {Signer{Domain: "north.example", Selector: "k1", Key: testKey(), Headers: RequiredHeaders}, func(h []Header) []Header { return append(h, Header{"Authorization", "x"}) }},
	} {
		h, body := baseRequest()
		if c.change != nil {
			h = c.change(h)
		}
		if f, err := c.signer.Sign(h, body, testNow); !errors.Is(err, ErrSigner) && !errors.Is(err, ErrHeaderNotSigned) && !errors.Is(err, ErrHeaderRepeated) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	h, body := baseRequest()
	if _, err := SignTemplate(testKey(), h, body, "v=1; a=rsa-sha1; c=relaxed/simple; d=a.b; s=c; h=x; bh=; b="); !errors.Is(err, ErrSigner) {
		t.Errorf("sha1 template: %v", err)
	}
}

type fakeKey struct{ crypto.Signer }

func (fakeKey) Public() crypto.PublicKey { return "no key" }

func TestCanonicalBodyKeepsInput(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "\r\n", "a": "a\r\n", "a\r\n\r\n": "a\r\n", "a\r": "a\r\r\n", "\n": "\n\r\n"} {
		backing := append([]byte(in), "untouched"...)
		if got := CanonicalBody(backing[:len(in)]); string(got) != want {
			t.Errorf("%q: %q", in, got)
		}
		if string(backing[len(in):]) != "untouched" {
			t.Errorf("%q: wrote behind the body", in)
		}
	}
	raw := []byte("a\r\n\r\n")
	if sum, n := bodyHash(SimpleHTTP, raw); sum != sha256.Sum256(raw) || n != len(raw) {
		t.Error("simple-http changes the body")
	}
}

func FuzzTags(f *testing.F) {
	for _, s := range []string{
		"v=1; a=rsa-sha256; b=\r\n\tAA==;", "a=1;a=2", ";", "=", "v=DKIM1; p=", "x_1 = a b ;", "a=\r\n", "b=1;;c=2", "v=1;\xff=", strings.Repeat("a=;", 70),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseTags(s)
		if err != nil {
			if ResultOf(err) != PermError {
				t.Errorf("error %v", err)
			}
			return
		}
		if len(tags) == 0 || len(tags) > maxTags {
			t.Errorf("%d tags", len(tags))
		}
		for _, tag := range tags {
			if trimFWS(s[tag.start:tag.end]) != tag.value {
				t.Errorf("value %q is not at its place", tag.value)
			}
		}
		// Emptying b= is idempotent and leaves a readable list.
		once := emptyB(s, tags)
		again, err := parseTags(once)
		if err != nil || emptyB(once, again) != once {
			t.Errorf("%q: after emptying b=: %v", once, err)
		}
		if sig, err := ParseSignature(s); err == nil {
			h, _ := baseRequest()
			CanonicalHeaders(ISchedule, h, sig.Headers, s)
			CanonicalHeaders(Relaxed, h, sig.Headers, s)
		}
		_, _ = ParseKeyRecord(s)
		_, _ = NormalizeConfiguredKey(s)
	})
}

func FuzzVerify(f *testing.F) {
	h, body := baseRequest()
	signed := sign(f, testSigner(), h, body)
	f.Add(signed[len(signed)-1].Value, h[4].Value, h[5].Value, body)
	f.Add("v=1", "mailto:a@b.c", ",", []byte("x"))
	record := testRecord(f)
	f.Fuzz(func(t *testing.T, signature, originator, recipient string, b []byte) {
		g := slices.Clone(h)
		g[4].Value, g[5].Value = originator, recipient
		g = append(g, Header{"DKIM-Signature", signature})
		v, err := Verify(t.Context(), g, b, testNow, keyList{record}, Policy{})
		if err != nil {
			return
		}
		// Only the very same content may pass.
		want := canonicalHeaders(ISchedule, h, []string{"Originator", "Recipient"}, "")
		got := canonicalHeaders(ISchedule, g, []string{"Originator", "Recipient"}, "")
		if !bytes.Equal(want, got) || !bytes.Equal(CanonicalBody(b), CanonicalBody(body)) || v.Domain != "north.example" {
			t.Errorf("a forged request passes: %q %q", originator, recipient)
		}
	})
}
