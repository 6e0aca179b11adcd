package discover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of the key lookup (ischedule §7.5, abuse case A43).
const (
	maxKeyAge       = time.Hour
	minRefresh      = 10 * time.Second
	maxKeyDocument  = 16 << 10
	maxKeyRecords   = 16
	keyFetchTimeout = 5 * time.Second
	maxMethods      = 8
	maxKeyTargets   = 3
	keyLookupLabel  = "_domainkey_lookup._tcp."
)

// KeyConfig configures a KeyLookup. Only Resolver is needed.
type KeyConfig struct {
	Resolver *Resolver
	// Client fetches key documents (q=http/well-known); nil turns that off.
	// It must come from NewHTTPClient.
	Client *http.Client
	// Configured returns the records of a key that was exchanged privately, or
	// none. They are used whatever q= says.
	Configured func(domain, selector string) []string
	// MaxEntries bounds the cache of key documents; 0 means 1024.
	MaxEntries int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// IntN draws from [0, n) for SRV weights; nil means math/rand.
	IntN func(n int) int
}

// KeyLookup finds the key records of DKIM signatures. It implements the key
// source and the refresher of federation/dkim by the shape of its methods.
type KeyLookup struct {
	c      KeyConfig
	client *http.Client
	docs   *memo[docKey, *document]
}

type docKey struct{ domain, selector string }

type document struct {
	records []string
	err     error
}

// NewKeyLookup returns a KeyLookup.
func NewKeyLookup(c KeyConfig) (*KeyLookup, error) {
	if c.Resolver == nil {
		return nil, errors.New("discover: no resolver")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.IntN == nil {
		c.IntN = rand.IntN
	}
	if c.MaxEntries <= 0 {
		c.MaxEntries = 1024
	}
	k := &KeyLookup{c: c, docs: newMemo[docKey, *document](c.Now, c.MaxEntries, keyFetchTimeout)}
	if c.Client != nil {
		client := *c.Client
		client.Timeout = keyFetchTimeout
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		k.client = &client
	}
	return k, nil
}

// Keys returns the texts of the key records of selector below domain. methods
// is q= of the signature: its known methods are tried in order until one has
// records. Cached records are used for their TTL, at most one hour.
//
// An error has a method Temporary: true when a later try may succeed.
func (k *KeyLookup) Keys(ctx context.Context, domain, selector string, methods []string) ([]string, error) {
	records, _, err := k.find(ctx, domain, selector, methods, maxKeyAge)
	return records, err
}

// Refresh is asked after a signature did not match the records of Keys. It
// looks up anew what was in the cache for more than some seconds; fresh is
// false when nothing newer was fetched.
func (k *KeyLookup) Refresh(ctx context.Context, domain, selector string, methods []string) (records []string, fresh bool, err error) {
	return k.find(ctx, domain, selector, methods, minRefresh)
}

func (k *KeyLookup) find(ctx context.Context, domain, selector string, methods []string, age time.Duration) (records []string, fresh bool, err error) {
	if k.c.Configured != nil {
		if records := k.c.Configured(domain, selector); len(records) > 0 {
			return records, false, nil
		}
	}
	if !validHost(domain) || !validOwner(selector) || len(selector) > 200 {
		return nil, false, &LookupError{fmt.Sprintf("key %q of %q", selector, domain), ErrInvalidName}
	}
	notBefore := k.c.Now().Add(-age)
	var failure error
	for _, m := range methods[:min(len(methods), maxMethods)] {
		var cached bool
		switch {
		case m == "dns/txt":
			records, cached, err = k.fromDNS(ctx, domain, selector, notBefore)
		case m == "http/well-known" && k.client != nil:
			records, cached, err = k.fromHTTP(ctx, domain, selector, notBefore)
		default:
			continue
		}
		if err == nil {
			return records, !cached, nil
		}
		// What may still succeed outweighs a no.
		var known *LookupError
		if failure == nil || !errors.As(failure, &known) || !known.Temporary() {
			failure = err
		}
	}
	if failure == nil {
		return nil, false, &LookupError{fmt.Sprintf("key %s of %s, q=%.80q", selector, domain, strings.Join(methods, ":")), ErrNoMethod}
	}
	return nil, false, failure
}

// fromDNS: TXT <selector>._domainkey.<domain>, the strings of a record joined
// (RFC 6376 §3.6.2.2).
func (k *KeyLookup) fromDNS(ctx context.Context, domain, selector string, notBefore time.Time) ([]string, bool, error) {
	txt, meta, err := k.c.Resolver.lookupTXT(ctx, selector+"._domainkey."+domain, notBefore)
	if err != nil {
		return nil, meta.Cached, err
	}
	out := make([]string, 0, min(len(txt), maxKeyRecords))
	for _, strs := range txt[:min(len(txt), maxKeyRecords)] {
		out = append(out, strings.Join(strs, ""))
	}
	return out, meta.Cached, nil
}

// fromHTTP: q=http/well-known, ischedule §7.5. SRV is needed.
func (k *KeyLookup) fromHTTP(ctx context.Context, domain, selector string, notBefore time.Time) ([]string, bool, error) {
	doc, _, cached, err := k.docs.get(ctx, docKey{domain, selector}, notBefore, func(ctx context.Context) (*document, time.Duration) {
		records, ttl, err := k.fetch(ctx, domain, selector)
		return &document{records, err}, ttl
	})
	if err != nil {
		return nil, false, &LookupError{"key document", fmt.Errorf("%w: %w", ErrTemporary, err)}
	}
	return doc.records, cached, doc.err
}

func (k *KeyLookup) fetch(ctx context.Context, domain, selector string) ([]string, time.Duration, error) {
	targets, meta, err := k.c.Resolver.LookupSRV(ctx, keyLookupLabel+domain)
	if err != nil {
		return nil, 0, err
	}
	var failure error
	for _, r := range OrderSRV(targets, k.c.IntN)[:min(len(targets), maxKeyTargets)] {
		if r.Port == 0 || !validHost(r.Target) {
			continue
		}
		host := net.JoinHostPort(r.Target, strconv.Itoa(int(r.Port)))
		u := "https://" + host + "/.well-known/domainkey/" + domain + "/" + selector
		id := Identity{Target: host, Domain: domain, Service: "domainkey_lookup", Authentic: meta.Authentic}
		records, ttl, err := k.fetchURL(WithIdentity(ctx, id), u)
		if err == nil {
			return records, ttl, nil
		}
		kind := ErrTemporary
		if !IsTemporary(err) {
			kind = ErrNotFound
		}
		failure = &LookupError{u, fmt.Errorf("%w: %w", kind, err)}
		if errors.Is(err, ErrNotFound) {
			// The server has spoken; short memory keeps us from asking for
			// every signature that names this key.
			return nil, minPositiveTTL, failure
		}
	}
	if failure == nil {
		failure = &LookupError{"SRV " + keyLookupLabel + domain, ErrNotFound}
	}
	return nil, 0, failure
}

func (k *KeyLookup) fetchURL(ctx context.Context, u string) ([]string, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrInvalidName, err)
	}
	req.Header.Set("Accept", "text/plain")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	switch s := resp.StatusCode; {
	case s == http.StatusOK:
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s == http.StatusTooEarly:
		return nil, 0, fmt.Errorf("%w: status %d", ErrTemporary, s)
	default: // redirects included: they are not followed
		return nil, 0, fmt.Errorf("%w: status %d", ErrNotFound, s)
	}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != "text/plain" {
		return nil, 0, fmt.Errorf("%w: not text/plain", ErrNotFound)
	}
	body, err := ReadLimited(resp.Body, maxKeyDocument)
	if errors.Is(err, ErrTooLarge) {
		return nil, 0, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, 0, err
	}
	records := keyLines(body)
	if len(records) == 0 {
		return nil, 0, fmt.Errorf("%w: empty key document", ErrNotFound)
	}
	return records, documentTTL(resp.Header.Get("Cache-Control")), nil
}

// keyLines splits a key document: one tag list per line.
func keyLines(body []byte) []string {
	var out []string
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line != "" && len(out) < maxKeyRecords {
			out = append(out, line)
		}
	}
	return slices.Clip(out)
}

// documentTTL is max-age within the bounds of the key cache; without max-age
// the upper bound.
func documentTTL(cacheControl string) time.Duration {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minPositiveTTL
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				return min(max(time.Duration(n)*time.Second, minPositiveTTL), maxKeyAge)
			}
		}
	}
	return maxKeyAge
}
