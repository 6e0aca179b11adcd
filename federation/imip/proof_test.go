package imip

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/kalends/kalends/caldav/calendar"
)

// zone is a DNS world: TXT records by name, and names whose server is down.
type zone struct {
	txt  map[string][]string
	down map[string]bool
}

func (z zone) lookup(_ context.Context, name string) ([]string, error) {
	if z.down[name] {
		return nil, &net.DNSError{Err: "server failure", Name: name, IsTemporary: true}
	}
	if v, ok := z.txt[name]; ok {
		return v, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// entropy is a fixed source of randomness for keys.
func entropy(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func edKey(seed byte) ed25519.PrivateKey {
	b := make([]byte, ed25519.SeedSize)
	_, _ = io.ReadFull(entropy(seed), b)
	return ed25519.NewKeyFromSeed(b)
}

func keyRecord(t testing.TB, key crypto.Signer) string {
	t.Helper()
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	case *rsa.PublicKey:
		b, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(b)
	}
	t.Fatal("key kind")
	return ""
}

// signed puts a signature over the listed header fields before a mail.
func signed(t testing.TB, raw []byte, domain string, key crypto.Signer, fields ...string) []byte {
	t.Helper()
	var b strings.Builder
	err := dkim.Sign(&b, strings.NewReader(string(raw)), &dkim.SignOptions{Domain: domain, Selector: "s", Signer: key, HeaderKeys: fields,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed})
	if err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func replace(raw []byte, old, new string) []byte {
	return []byte(strings.Replace(string(raw), old, new, 1))
}

// A31: what proves a sender, and what does not.
func TestVerify(t *testing.T) {
	t.Parallel()
	key, other := edKey(1), edKey(2)
	world := zone{txt: map[string][]string{
		"s._domainkey.mail.test":        {keyRecord(t, key)},
		"s._domainkey.eu.mail.test":     {keyRecord(t, key)},
		"s._domainkey.evil.test":        {keyRecord(t, other)},
		"s._domainkey.test":             {keyRecord(t, other)},
		"s._domainkey.strict.test":      {keyRecord(t, key)},
		"s._domainkey.sub.strict.test":  {keyRecord(t, key)},
		"_dmarc.strict.test":            {"v=DMARC1; p=reject; adkim=s"},
		"s._domainkey.xn--mller-kva.de": {keyRecord(t, key)},
	}, down: map[string]bool{}}
	darkDNS := zone{down: map[string]bool{"s._domainkey.mail.test": true}}
	noDMARC := zone{txt: world.txt, down: map[string]bool{"_dmarc.mail.test": true}}
	all := []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"}
	ar := func(v string, raw []byte) []byte { return append([]byte("Authentication-Results: "+v+"\r\n"), raw...) }
	bare, google := shape(t, "bare.eml"), shape(t, "google-reply.eml")
	good := signed(t, bare, "mail.test", key, all...)
	moved := func(domain string) []byte { return replace(bare, "dave@mail.test", "dave@"+domain) }
	three := signed(t, signed(t, good, "evil.test", other, "From"), "evil.test", other, "From")

	for name, c := range map[string]struct {
		raw     []byte
		z       zone
		believe bool
		want    error
		domain  string
		weak    bool
	}{
		"signed":                          {good, world, false, nil, "mail.test", false},
		"signed among others":             {three, world, false, nil, "mail.test", false},
		"not signed":                      {bare, world, false, ErrUnproven, "", false},
		"signed by another domain":        {signed(t, bare, "evil.test", other, all...), world, false, ErrUnproven, "", false},
		"signed by the top-level domain":  {signed(t, bare, "test", other, all...), world, false, ErrUnproven, "", false},
		"signed with another key":         {signed(t, bare, "mail.test", other, all...), world, false, ErrUnproven, "", false},
		"body changed":                    {replace(good, "PARTSTAT=ACCEPTED", "PARTSTAT=DECLINED"), world, false, ErrUnproven, "", false},
		"From changed":                    {replace(good, "From: Dave <dave@", "From: Dave <carl@"), world, false, ErrUnproven, "", false},
		"second From":                     {append([]byte("From: carl@mail.test\r\n"), good...), world, false, ErrUnproven, "", false},
		"second From with a blank":        {append([]byte("From : carl@mail.test\r\n"), good...), world, false, ErrUnproven, "", false},
		"second Content-Type":             {append([]byte("Content-Type: text/plain\r\n"), good...), world, false, ErrUnproven, "", false},
		"two addresses in From":           {signed(t, replace(bare, "From: Dave <dave@mail.test>", "From: dave@mail.test, carl@mail.test"), "mail.test", key, all...), world, false, ErrUnproven, "", false},
		"subdomain signs, relaxed":        {signed(t, bare, "eu.mail.test", key, all...), world, false, nil, "mail.test", false},
		"subdomain signs, DMARC unknown":  {signed(t, bare, "eu.mail.test", key, all...), noDMARC, false, ErrTemporary, "", false},
		"subdomain signs, strict":         {signed(t, moved("strict.test"), "sub.strict.test", key, all...), world, false, ErrUnproven, "", false},
		"itself signs, strict":            {signed(t, moved("strict.test"), "strict.test", key, all...), world, false, nil, "strict.test", false},
		"parent signs for strict subs":    {signed(t, moved("sub.strict.test"), "strict.test", key, all...), world, false, ErrUnproven, "", false},
		"international domain":            {signed(t, moved("xn--mller-kva.de"), "xn--mller-kva.de", key, all...), world, false, nil, "xn--mller-kva.de", false},
		"DNS down":                        {good, darkDNS, false, ErrTemporary, "", false},
		"key gone":                        {good, zone{}, false, ErrUnproven, "", false},
		"Content-Type not signed, single": {signed(t, bare, "mail.test", key, "From"), world, false, ErrUnproven, "", false},
		"Content-Type not signed, parts":  {signed(t, google, "mail.test", key, "From"), world, false, nil, "mail.test", false},
		"boundary of an inner part":       {replace(signed(t, google, "mail.test", key, "From"), `boundary="000000000000aa01"`, `boundary="000000000000aa02"`), world, false, ErrUnproven, "", false},
		"subject not signed":              {signed(t, bare, "mail.test", key, "From", "Content-Type"), world, false, nil, "mail.test", false},

		"header believed, dkim":      {ar("MX.alpha.test; dkim=pass (2048; x) header.d=mail.test", bare), world, true, nil, "mail.test", true},
		"header believed, dmarc":     {ar("mx.alpha.test; dmarc=pass header.from=mail.test", bare), world, true, nil, "mail.test", true},
		"header believed, spf":       {ar("mx.alpha.test; spf=pass smtp.mailfrom=bounce@eu.mail.test", bare), world, true, nil, "mail.test", true},
		"header after broken body":   {ar("mx.alpha.test; dkim=pass header.i=@mail.test", replace(good, "SUMMARY:", "SUMMARY:X ")), world, true, nil, "mail.test", true},
		"signature before header":    {ar("mx.alpha.test; dkim=fail header.d=mail.test", good), world, true, nil, "mail.test", false},
		"header from outside":        {ar("mx.alpha.test; dmarc=pass header.from=mail.test", bare), world, false, ErrUnproven, "", false},
		"header of another server":   {ar("mx.evil.test; dmarc=pass header.from=mail.test", bare), world, true, ErrUnproven, "", false},
		"header below another":       {ar("mx.evil.test; none", ar("mx.alpha.test; dmarc=pass header.from=mail.test", bare)), world, true, ErrUnproven, "", false},
		"header for another domain":  {ar("mx.alpha.test; dkim=pass header.d=evil.test; dmarc=pass header.from=evil.test", bare), world, true, ErrUnproven, "", false},
		"header says fail":           {ar("mx.alpha.test; dkim=pass header.d=mail.test; dmarc=fail header.from=mail.test", bare), world, true, ErrUnproven, "", false},
		"header with a comment":      {ar("mx.alpha.test; dkim=none (dkim=pass header.d=mail.test)", bare), world, true, ErrUnproven, "", false},
		"header broken":              {ar("mx.alpha.test; dkim=pass header.d=mail.test; dmarc", bare), world, true, ErrUnproven, "", false},
		"spf of the null sender":     {ar("mx.alpha.test; spf=pass smtp.helo=mail.test", bare), world, true, ErrUnproven, "", false},
		"dmarc of an aligned parent": {ar("mx.alpha.test; dmarc=pass header.from=eu.mail.test", bare), world, true, ErrUnproven, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse(c.raw, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			v := &Verifier{LookupTXT: c.z.lookup, AuthServ: "mx.alpha.test"}
			ev, err := v.Verify(t.Context(), m, c.believe)
			if !errors.Is(err, c.want) || ev.Proof.Domain != c.domain || ev.Proof.Weak != c.weak {
				t.Errorf("%v %+v", err, ev)
			}
			if errors.Is(err, ErrTemporary) && errors.Is(err, ErrUnproven) {
				t.Error("both final and temporary")
			}
		})
	}
}

func TestVerifyRSA(t *testing.T) {
	t.Parallel()
	big, err := rsa.GenerateKey(entropy(3), 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Sign(shape(t, "bare.eml"), "mail.test", "s", big)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(raw, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	z := zone{txt: map[string][]string{"s._domainkey.mail.test": {keyRecord(t, big)}}}
	ev, err := (&Verifier{LookupTXT: z.lookup}).Verify(t.Context(), m, false)
	if err != nil || ev.From != "mailto:dave@mail.test" || ev.How != "dkim d=mail.test" {
		t.Errorf("%+v %v", ev, err)
	}
	z.txt["s._domainkey.mail.test"] = []string{strings.Replace(keyRecord(t, big), "k=rsa", "k=rsa; s=calendar", 1)}
	if _, err := (&Verifier{LookupTXT: z.lookup}).Verify(t.Context(), m, false); !errors.Is(err, ErrUnproven) {
		t.Errorf("a key for calendars only signed mail: %v", err)
	}
}

// The sender must be the one the message speaks for (RFC 6047 §2.2).
func TestSpeaks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method string
		from   calendar.Address
		body   []string
		ok     bool
	}{
		{"REPLY", "mailto:dave@mail.test", event(organizerAlice, attendeeDave), true},
		{"REPLY", "MAILTO:Dave@Mail.TEST", event(organizerAlice, attendeeDave), true},
		{"REPLY", "mailto:alice@alpha.test", event(organizerAlice, attendeeDave), false},
		{"REPLY", "mailto:dave+x@mail.test", event(organizerAlice, attendeeDave), false},
		{"COUNTER", "mailto:dave@mail.test", event(organizerAlice, attendeeAlice, attendeeDave), true},
		{"REFRESH", "mailto:carl@mail.test", event(organizerAlice, attendeeDave), false},
		{"REQUEST", "mailto:alice@alpha.test", event(organizerAlice, attendeeDave), true},
		{"REQUEST", "mailto:dave@mail.test", event(organizerAlice, attendeeDave), false},
		{"CANCEL", "mailto:alice@alpha.test", event(organizerAlice, attendeeDave), true},
		{"CANCEL", "mailto:dave@mail.test", event("ORGANIZER;SENT-BY=\"mailto:dave@mail.test\":mailto:alice@alpha.test", attendeeDave), false},
		{"REQUEST", "mailto:alice@alpha.test", event(attendeeDave), false},
		{"REPLY", "mailto:dave@mail.test", join(event("RECURRENCE-ID:20260101T000000Z", attendeeDave), event("RECURRENCE-ID:20260102T000000Z", attendeeAlice)), false},
		{"REPLY", "", event(organizerAlice, attendeeDave), false},
	} {
		err := Speaks(parseICS(t, ics(c.method, c.body...)), c.from)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSpeaker) {
			t.Errorf("%s from %s: %v", c.method, c.from, err)
		}
	}
}
