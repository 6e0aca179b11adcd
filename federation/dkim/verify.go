package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// KeySource finds key records. It has only plain types, so that the package
// that owns DNS need not know this one.
type KeySource interface {
	// Keys returns the texts of the key records of selector below domain (both
	// lower case), in the order found. methods is q= (lower case, in the
	// signer's order); unknown names are skipped. A key from configuration is
	// returned whatever methods says. No record is reported by an empty list
	// or an error; an error with a method `Temporary() bool` that returns true
	// means that the lookup may succeed later.
	Keys(ctx context.Context, domain, selector string, methods []string) (records []string, err error)
}

// Refresher is a KeySource that caches. After a signature mismatch Verify asks
// once for records newer than those just used; fresh is false when there is
// nothing newer, so that bad signatures cannot be used to flood a name server.
//
// ischedule §7.5.
type Refresher interface {
	Refresh(ctx context.Context, domain, selector string, methods []string) (records []string, fresh bool, err error)
}

// Policy says what Verify accepts. The zero value is the default of ischedule §7.
type Policy struct {
	// ClockSkew is how far t= may lie ahead; 0 means 300 s.
	ClockSkew time.Duration
	// MaxAge is how old t= may be, whatever x= says; 0 means 3900 s.
	MaxAge time.Duration
	// Draft01 additionally accepts the dialect of ischedule §11: c=simple/simple
	// and simple-http, l= when it covers the whole body, key service "calendar".
	Draft01 bool
	// PublicSuffix reports whether a name is a public suffix, below which
	// strangers register names; nil knows none. Single labels never sign.
	PublicSuffix func(domain string) bool
	// AllowedSigners lists, per Originator domain (lower case), further d=
	// values that may sign for it.
	AllowedSigners map[string][]string
	// AddressDomain extracts the domain of the Originator's address, as A-label
	// in lower case, "" when it has none; nil means [AddressDomain].
	AddressDomain func(address string) string
}

const (
	defaultClockSkew = 300 * time.Second
	defaultMaxAge    = 3900 * time.Second

	// maxKeys bounds the records tried for one signature (A43).
	maxKeys = 8
)

func (p *Policy) clockSkew() time.Duration {
	if p.ClockSkew > 0 {
		return p.ClockSkew
	}
	return defaultClockSkew
}

func (p *Policy) maxAge() time.Duration {
	if p.MaxAge > 0 {
		return p.MaxAge
	}
	return defaultMaxAge
}

// MayReplayUntil returns the time after which Verify refuses a signature made
// at t, so that its replay entry may be forgotten (ischedule §7.7).
func (p *Policy) MayReplayUntil(t time.Time) time.Time { return t.Add(p.maxAge()) }

// Verdict is what is known about a signature after verification. Fields are
// filled as far as the verification came.
type Verdict struct {
	Result   Result
	Domain   string // d=
	Selector string // s=
	// OriginatorDomain is the domain the request claims to speak for.
	OriginatorDomain string
	// Aligned: Domain may speak for OriginatorDomain.
	Aligned bool
	// SignatureHash is SHA-256 of the decoded b=: (Domain, Selector,
	// SignatureHash) is the replay key of ischedule §7.7. It is taken over the
	// octets, since the spelling of b= is not signed.
	SignatureHash [sha256.Size]byte
	BodyHash      []byte    // bh=
	Time          time.Time // t=
	Expires       time.Time // x=; zero when absent
	Canon         Canon
	StrictKey     bool   // key record has t=s
	Reason        string // for the log; never for the peer
}

// Verify checks the one DKIM-Signature among h over h and body, with the keys
// of ks, at the time now. body is what was received, after removal of transfer
// coding only.
//
// The error is nil only when the signature passes and its domain is aligned
// with the Originator: then, and only then, the request may speak for the
// Originator. [ErrNotAligned] comes with Result Pass. Every other error has
// the Result that [ResultOf] gives.
//
// ischedule §7.6 steps 1 to 7; the checks of §6 rows 1 to 8 are the handler's,
// as are local originators, blocks, limits and replay.
func Verify(ctx context.Context, h []Header, body []byte, now time.Time, ks KeySource, p Policy) (Verdict, error) {
	var v Verdict
	err := verify(ctx, &v, h, body, now, ks, &p)
	v.Result = ResultOf(err)
	if err != nil {
		v.Reason = strings.TrimPrefix(err.Error(), "dkim: ")
	}
	return v, err
}

func verify(ctx context.Context, v *Verdict, h []Header, body []byte, now time.Time, ks KeySource, p *Policy) error {
	// Step 1: exactly one signature.
	switch countInstances(h, "DKIM-Signature") {
	case 0:
		return ErrNoSignature
	case 1:
	default:
		return ErrManySignatures
	}
	value, _ := fromBottom(h, "DKIM-Signature", 0)

	// Step 2: tags and h=.
	s, err := ParseSignature(value)
	if err != nil {
		return err
	}
	s.fill(v)
	canon, rawBody, err := s.check(h, p)
	if err != nil {
		return err
	}
	v.Canon = canon
	if countInstances(h, "Originator") != 1 {
		return ErrOriginator
	}
	originator, _ := fromBottom(h, "Originator", 0)
	addressDomain := p.AddressDomain
	if addressDomain == nil {
		addressDomain = AddressDomain
	}
	if v.OriginatorDomain = addressDomain(trimFWS(originator)); v.OriginatorDomain == "" {
		return ErrOriginator
	}

	// Step 3: time.
	if err := s.checkTime(now, p); err != nil {
		return err
	}

	// Step 4: key.
	records, err := ks.Keys(ctx, s.Domain, s.Selector, s.Methods)
	if err != nil {
		return lookupError(err)
	}
	keys, err := usableKeys(records, p.Draft01)
	if err != nil {
		return err
	}

	// Step 5: body hash.
	bodyCanon := Simple
	if rawBody {
		bodyCanon = SimpleHTTP
	}
	sum, length := bodyHash(bodyCanon, body)
	if s.HasLength && s.Length != int64(length) { // only in draft -01, ischedule §11
		return fmt.Errorf("%w: l=%d of %d octets", ErrBodyLength, s.Length, length)
	}
	if !bytes.Equal(sum[:], s.BodyHash) {
		return ErrBodyHash
	}

	// Step 6: signature.
	digest := sha256.Sum256(canonicalHeaders(canon, h, s.Headers, emptyB(s.raw, s.tags)))
	key := matchingKey(keys, digest[:], s.B)
	if key == nil {
		if key, err = refreshed(ctx, ks, s, digest[:], p.Draft01); err != nil {
			return err
		}
	}
	v.StrictKey = key.Strict

	// Step 7: alignment.
	v.Aligned = aligned(v.OriginatorDomain, s.Domain, key.Strict, p.AllowedSigners)
	if !v.Aligned {
		return fmt.Errorf("%w: d=%s, Originator in %s", ErrNotAligned, s.Domain, v.OriginatorDomain)
	}
	return nil
}

func (s *Signature) fill(v *Verdict) {
	v.Domain, v.Selector = s.Domain, s.Selector
	v.SignatureHash = sha256.Sum256(s.B)
	v.BodyHash = s.BodyHash
	if s.HasTime {
		v.Time = time.Unix(s.Time, 0).UTC()
	}
	if s.HasExpires {
		v.Expires = time.Unix(s.Expires, 0).UTC()
	}
}

// aligned: a strict key (t=s) speaks for its own domain only; a configured
// exception is the decision of our administrator and overrules it.
func aligned(originator, d string, strict bool, allowed map[string][]string) bool {
	if strict && originator == d || !strict && Aligned(originator, d) {
		return true
	}
	return slices.ContainsFunc(allowed[originator], func(a string) bool { return strings.EqualFold(a, d) })
}

func lookupError(err error) error {
	var t interface{ Temporary() bool }
	if errors.As(err, &t) && t.Temporary() ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", ErrKeyLookup, err)
	}
	return fmt.Errorf("%w: %w", ErrNoKey, err)
}

// usableKeys parses the records. Unusable ones are skipped; with none left the
// error says what was wrong with the last.
func usableKeys(records []string, draft01 bool) ([]*KeyRecord, error) {
	var keys []*KeyRecord
	err := ErrNoKey
	for _, record := range records[:min(len(records), maxKeys)] {
		k, e := parsedKeys.get(record)
		if e == nil && !k.ForISchedule(draft01) {
			e = fmt.Errorf("%w: s=%s", ErrKeyService, strings.Join(k.Services, ":"))
		}
		if e != nil {
			err = e
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) > 0 {
		return keys, nil
	}
	return nil, err
}

func matchingKey(keys []*KeyRecord, digest, signature []byte) *KeyRecord {
	for _, k := range keys {
		if rsa.VerifyPKCS1v15(k.Key, crypto.SHA256, digest, signature) == nil {
			return k
		}
	}
	return nil
}

// refreshed looks the key up once more after a mismatch, for the case that it
// was changed under the same selector while the old one was cached.
func refreshed(ctx context.Context, ks KeySource, s *Signature, digest []byte, draft01 bool) (*KeyRecord, error) {
	r, ok := ks.(Refresher)
	if !ok {
		return nil, ErrSignature
	}
	records, fresh, err := r.Refresh(ctx, s.Domain, s.Selector, s.Methods)
	if !fresh && err == nil {
		return nil, ErrSignature
	}
	if err != nil {
		return nil, lookupError(err)
	}
	keys, err := usableKeys(records, draft01)
	if err != nil {
		return nil, err
	}
	if k := matchingKey(keys, digest, s.B); k != nil {
		return k, nil
	}
	return nil, ErrSignature
}
