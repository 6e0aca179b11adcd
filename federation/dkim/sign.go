package dkim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Signer signs requests for one domain with one key. It may be used by several
// goroutines. The zero values of the optional fields give the strictest form
// that all measured peers verify (ischedule §4, §7.1).
type Signer struct {
	Domain   string        // d=
	Selector string        // s=
	Key      crypto.Signer // an RSA key of at least MinKeyBits

	// Canonicalization is c=: "ischedule-relaxed/simple" when empty. Also
	// "relaxed/simple" and, for draft -01 peers, "simple/simple".
	Canonicalization string
	// Methods is q=; "dns/txt" when empty.
	Methods []string
	// Headers is h=; when empty: the required names, then Authorization,
	// iSchedule-Message-ID and User-Agent when the request has them.
	Headers []string
	// Lifetime is x= - t=; 0 means 600 s, a negative value leaves x= out.
	Lifetime time.Duration
}

const defaultLifetime = 600 * time.Second

// Draft01 returns a copy of s that signs as draft -01 peers can verify
// (ischedule §11): the header fields must then be sent as `Name: value` in
// exactly the spelling of Headers, with one recipient, and with Host among h.
func (s *Signer) Draft01() *Signer {
	c := *s
	c.Canonicalization = "simple/simple"
	c.Methods = []string{"dns/txt"}
	c.Headers = []string{"Host", "Originator", "Recipient", "Content-Type", "iSchedule-Version"}
	return &c
}

// Sign returns the DKIM-Signature field for the request with the header fields
// h and the body, made at now (whole seconds count). PKCS#1 v1.5 has no
// randomness: equal input gives an equal signature.
//
// ischedule §7.9; tags in the order of §7.1 joined by "; ", on one line.
func (s *Signer) Sign(h []Header, body []byte, now time.Time) (Header, error) {
	if !validDomain(s.Domain, 2) || !validDomain(s.Selector, 1) {
		return Header{}, fmt.Errorf("%w: domain %q, selector %q", ErrSigner, s.Domain, s.Selector)
	}
	canonical := s.Canonicalization
	if canonical == "" {
		canonical = "ischedule-relaxed/simple"
	}
	canon, _, err := parseCanon(canonical, true)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	names := s.Headers
	if len(names) == 0 {
		names = defaultHeaders(h, canon)
	}
	if err := checkSigned(h, names, canon); err != nil {
		return Header{}, err
	}
	methods := strings.Join(s.Methods, ":")
	if methods == "" {
		methods = "dns/txt"
	}
	t := now.Unix()
	var b strings.Builder
	b.Grow(1024)
	b.WriteString("v=1; a=rsa-sha256; c=" + canonical + "; d=" + s.Domain + "; s=" + s.Selector + "; q=" + methods)
	b.WriteString("; t=" + strconv.FormatInt(t, 10))
	if s.Lifetime >= 0 {
		life := s.Lifetime
		if life == 0 {
			life = defaultLifetime
		}
		b.WriteString("; x=" + strconv.FormatInt(t+max(int64(life/time.Second), 60), 10))
	}
	b.WriteString("; h=" + strings.Join(names, ":") + "; bh=; b=")
	return SignTemplate(s.Key, h, body, b.String())
}

// defaultHeaders: ischedule §7.2. Only ischedule-relaxed covers all instances
// by one mention.
func defaultHeaders(h []Header, canon Canon) []string {
	names := make([]string, 0, 8)
	for _, n := range append(RequiredHeaders[:len(RequiredHeaders):len(RequiredHeaders)],
		"Authorization", "iSchedule-Message-ID", "User-Agent") {
		instances := countInstances(h, n)
		if canon == ISchedule {
			instances = min(instances, 1)
		}
		for range instances {
			names = append(names, n)
		}
	}
	return names
}

// unsignable are fields that proxies may change (ischedule §7.2). Host is not
// among them: draft -01 wants it signed.
var unsignable = []string{
	"Cache-Control", "Connection", "Content-Length", "DKIM-Signature", "Keep-Alive", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade", "Via",
}

// checkSigned keeps us from signing what a verifier must refuse.
func checkSigned(h []Header, names []string, canon Canon) error {
	for _, n := range names {
		for _, bad := range unsignable {
			if strings.EqualFold(n, bad) {
				return fmt.Errorf("%w: %s must not be signed", ErrSigner, n)
			}
		}
		if !validFieldName(n) || len(n) > 6 && strings.EqualFold(n[:6], "proxy-") {
			return fmt.Errorf("%w: %s must not be signed", ErrSigner, n)
		}
	}
	for _, n := range RequiredHeaders {
		if countInstances(h, n) == 0 {
			return fmt.Errorf("%w: request has no %s", ErrSigner, n)
		}
	}
	for i := range h {
		if strings.ContainsAny(h[i].Name+h[i].Value, "\r\n\x00") {
			return fmt.Errorf("%w: %s has a line break", ErrSigner, h[i].Name)
		}
	}
	return (&Signature{Headers: names}).checkHeaders(h, canon)
}

// SignTemplate signs with a tag list given by the caller: it fills bh= and b=,
// whose values must be empty, and leaves every other octet, order and folding
// included, as it is. It applies no rule of what should be signed: it exists to
// reproduce the signatures of other implementations in tests. a= must be
// rsa-sha256, c= one of the forms Verify knows.
func SignTemplate(key crypto.Signer, h []Header, body []byte, template string) (Header, error) {
	if key == nil {
		return Header{}, fmt.Errorf("%w: no key", ErrSigner)
	}
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok || pub.N.BitLen() < MinKeyBits {
		return Header{}, fmt.Errorf("%w: not an RSA key of %d bits or more", ErrSigner, MinKeyBits)
	}
	s, err := ParseSignature(template)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	if s.Algorithm != "rsa-sha256" || len(s.B) > 0 || len(s.BodyHash) > 0 {
		return Header{}, fmt.Errorf("%w: template", ErrSigner)
	}
	canon, rawBody, err := parseCanon(s.Canonicalization, true)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	bodyCanon := Simple
	if rawBody {
		bodyCanon = SimpleHTTP
	}
	sum, _ := bodyHash(bodyCanon, body)
	value := insertTag(template, s.tags, "bh", base64.StdEncoding.EncodeToString(sum[:]))

	tags, err := parseTags(value)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	digest := sha256.Sum256(canonicalHeaders(canon, h, s.Headers, emptyB(value, tags)))
	sig, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	return Header{"DKIM-Signature", insertTag(value, tags, "b", base64.StdEncoding.EncodeToString(sig))}, nil
}

// insertTag puts a value behind the = of a tag whose value is empty.
func insertTag(s string, tags tagList, name, value string) string {
	t, _ := findTag(tags, name)
	return s[:t.start] + value + s[t.start:]
}
