package dkim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signature is a DKIM-Signature that was read, before any rule of acceptance
// was applied. Times are Unix seconds.
type Signature struct {
	Version   string
	Algorithm string
	// Canonicalization is c= as written; empty when the tag is absent.
	Canonicalization string
	Domain           string // d=, lower case
	Selector         string // s=, lower case
	Identity         string // i=, as written; empty when absent
	Methods          []string
	Headers          []string // h=, in order and spelling of the signer
	BodyHash         []byte   // bh=
	B                []byte   // b=
	Time             int64    // t=
	Expires          int64    // x=, when HasExpires
	HasTime          bool
	HasExpires       bool
	Length           int64 // l=, when HasLength
	HasLength        bool

	raw  string
	tags tagList
}

// maxSignedHeaders bounds h=.
const maxSignedHeaders = 100

// ParseSignature reads the value of a DKIM-Signature field. It checks syntax
// and the presence of v, a, b, bh, d, h and s (RFC 6376 §3.5); whether the
// values are acceptable is for Verify.
func ParseSignature(value string) (*Signature, error) {
	tags, err := parseTags(value)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if _, ok := tags.get(name); !ok {
			return nil, fmt.Errorf("%w: %s=", ErrMissingTag, name)
		}
	}
	s := &Signature{raw: value, tags: tags, Methods: []string{"dns/txt"}}
	for _, t := range tags {
		switch t.name {
		case "v":
			s.Version = t.value
		case "a":
			s.Algorithm = t.value
		case "c":
			s.Canonicalization = t.value
		case "d":
			s.Domain = strings.ToLower(t.value)
		case "s":
			s.Selector = strings.ToLower(t.value)
		case "i":
			s.Identity = t.value
		case "q":
			s.Methods = splitList(strings.ToLower(t.value))
		case "h":
			s.Headers = splitList(t.value)
		case "b":
			s.B, err = decodeBase64(t.value)
		case "bh":
			s.BodyHash, err = decodeBase64(t.value)
		case "t":
			s.HasTime = true
			s.Time, err = parseDigits(t.value)
		case "x":
			s.HasExpires = true
			s.Expires, err = parseDigits(t.value)
		case "l":
			s.HasLength = true
			s.Length, err = parseDigits(t.value)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: value of %s=", ErrSyntax, t.name)
		}
	}
	if len(s.Headers) > maxSignedHeaders {
		return nil, fmt.Errorf("%w: h= has more than %d names", ErrSyntax, maxSignedHeaders)
	}
	for _, name := range s.Headers {
		if !validFieldName(name) {
			return nil, fmt.Errorf("%w: name in h=", ErrSyntax)
		}
	}
	return s, nil
}

// parseDigits reads 1*12DIGIT (RFC 6376 §3.5 t=, x=).
func parseDigits(s string) (int64, error) {
	if s == "" || len(s) > 12 || strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(s, 10, 64)
}

// validFieldName reports whether s is an HTTP token (RFC 9110 §5.6.2).
func validFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= 0x20 || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// Draft01 reports whether the signature can only be of the compatibility
// dialect of ischedule §11: its canonicalization is simple or simple-http.
// The handler uses it to see which policy a request needs.
func (s *Signature) Draft01() bool {
	c, _, err := parseCanon(s.Canonicalization, true)
	return err == nil && (c == Simple || c == SimpleHTTP)
}

// parseCanon reads c=. rawBody tells that the body is hashed as it is.
//
// ischedule §7.1; the simple forms only for draft -01 peers (§11).
func parseCanon(c string, draft01 bool) (header Canon, rawBody bool, err error) {
	switch c {
	case "ischedule-relaxed/simple", "ischedule-relaxed":
		return ISchedule, false, nil
	case "relaxed/simple", "relaxed":
		return Relaxed, false, nil
	}
	if draft01 {
		switch c {
		case "", "simple", "simple/simple": // RFC 6376 §3.5: absent means simple/simple
			return Simple, false, nil
		case "simple-http/simple":
			return SimpleHTTP, false, nil
		case "simple-http":
			return SimpleHTTP, true, nil
		}
	}
	return "", false, fmt.Errorf("%w: c=%q", ErrCanonicalization, c)
}

// RequiredHeaders must be covered by h= (ischedule §7.2).
var RequiredHeaders = []string{"Content-Type", "iSchedule-Version", "Originator", "Recipient"}

// mustCover are the RequiredHeaders and, when present, Authorization.
var mustCover = append(slices.Clone(RequiredHeaders), "Authorization")

// check applies the rules that need neither time nor key: ischedule §7.1, §7.2.
func (s *Signature) check(h []Header, p *Policy) (canon Canon, rawBody bool, err error) {
	if s.Version != "1" {
		return "", false, fmt.Errorf("%w: v=%q", ErrVersion, s.Version)
	}
	if s.Algorithm != "rsa-sha256" { // RFC 8301 §3.1 forbids rsa-sha1
		return "", false, fmt.Errorf("%w: a=%q", ErrAlgorithm, s.Algorithm)
	}
	if canon, rawBody, err = parseCanon(s.Canonicalization, p.Draft01); err != nil {
		return "", false, err
	}
	if !validDomain(s.Domain, 2) || p.PublicSuffix != nil && p.PublicSuffix(s.Domain) {
		return "", false, fmt.Errorf("%w: d=%q", ErrDomain, s.Domain)
	}
	if !validDomain(s.Selector, 1) {
		return "", false, fmt.Errorf("%w: s=%q", ErrSelector, s.Selector)
	}
	if _, present := s.tags.get("i"); present {
		at := strings.LastIndexByte(s.Identity, '@')
		if at < 0 || !coveredBy(strings.ToLower(s.Identity[at+1:]), s.Domain) {
			return "", false, fmt.Errorf("%w: i=%q", ErrIdentity, s.Identity)
		}
	}
	if s.HasLength && !p.Draft01 {
		return "", false, ErrBodyLength
	}
	if !s.HasTime {
		return "", false, fmt.Errorf("%w: t= required", ErrTimeTag)
	}
	if s.HasExpires && s.Expires <= s.Time {
		return "", false, fmt.Errorf("%w: x= not after t=", ErrTimeTag)
	}
	return canon, rawBody, s.checkHeaders(h, canon)
}

// checkHeaders: everything that decides who speaks to whom must be signed, all
// instances of it (abuse case A40).
func (s *Signature) checkHeaders(h []Header, canon Canon) error {
	listed := func(name string) (n int) {
		for _, have := range s.Headers {
			if strings.EqualFold(have, name) {
				n++
			}
		}
		return n
	}
	for _, name := range mustCover {
		n, instances := listed(name), countInstances(h, name)
		switch {
		case name == "Authorization" && instances == 0:
		case n == 0:
			return fmt.Errorf("%w: %s", ErrHeaderNotSigned, name)
		case canon != ISchedule && n < instances:
			// A further instance could be put on top of the signed ones.
			return fmt.Errorf("%w: %s has %d instances, h= covers %d", ErrHeaderNotSigned, name, instances, n)
		}
	}
	if canon != ISchedule {
		return nil
	}
	for i, name := range s.Headers {
		for _, earlier := range s.Headers[:i] {
			if strings.EqualFold(earlier, name) {
				return fmt.Errorf("%w: %s", ErrHeaderRepeated, name)
			}
		}
	}
	return nil
}

// checkTime: ischedule §7.6 step 3.
func (s *Signature) checkTime(now time.Time, p *Policy) error {
	unix := now.Unix()
	switch {
	case s.Time > unix+int64(p.clockSkew()/time.Second):
		return fmt.Errorf("%w: t=%d, now %d", ErrFuture, s.Time, unix)
	case s.HasExpires && unix > s.Expires:
		return fmt.Errorf("%w: x=%d, now %d", ErrExpired, s.Expires, unix)
	case unix > s.Time+int64(p.maxAge()/time.Second):
		return fmt.Errorf("%w: t=%d, now %d", ErrStale, s.Time, unix)
	}
	return nil
}
