package ischedule

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/kalends/kalends/federation/dkim"
)

// KeyPath is the prefix of the documents that KeyHandler serves.
const KeyPath = "/.well-known/domainkey/"

// PublishedKeys gives the key records to publish.
type PublishedKeys interface {
	// PublishedKeys returns the records of a selector of one of our domains
	// (both lower case), withdrawn ones as dkim.RevokedKeyRecord; none when
	// the selector is unknown.
	PublishedKeys(ctx context.Context, domain, selector string) ([]string, error)
}

// KeyHandler serves our keys for q=http/well-known at
// /.well-known/domainkey/<domain>/<selector>: text/plain, one key record a
// line (-05 §7.3).
type KeyHandler struct{ Keys PublishedKeys }

// ServeHTTP answers GET and HEAD.
func (h KeyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, KeyPath)
	domain, selector, two := strings.Cut(strings.ToLower(rest), "/")
	if !ok || !two || !validDomain(domain) || !validSelector(selector) {
		http.NotFound(w, r)
		return
	}
	records, err := h.Keys.PublishedKeys(r.Context(), domain, selector)
	switch {
	case err != nil:
		w.Header().Set("Retry-After", "60")
		http.Error(w, "keys cannot be read now", http.StatusServiceUnavailable)
		return
	case len(records) == 0:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(dkim.KeyDocument(records))))
}

// validSelector accepts LDH labels separated by dots (RFC 6376 §3.1).
func validSelector(s string) bool {
	return s != "" && validDomain(s+".invalid")
}
