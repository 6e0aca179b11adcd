package discover

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// How many redirects are followed (ischedule §2.3).
const (
	MaxGetRedirects  = 5
	MaxPostRedirects = 3
)

// Redirect decides where a redirect answer leads. hop is the number of
// redirects followed before it. It fails with ErrRedirect.
//
//   - GET and HEAD follow 301, 302, 303, 307 and 308, at most MaxGetRedirects.
//   - POST follows 301, 302, 307 and 308, at most MaxPostRedirects: the caller
//     sends it again as POST, signed anew. 303 is a failure.
//   - Only https. An http URL with the very host and port of from is taken as
//     https: servers behind a TLS terminator do not know better.
//   - No user information; the fragment is dropped.
//
// Credentials must not go to another host: see [SameHost]. The address check
// happens in the dialer, on every hop.
func Redirect(method string, status int, from *url.URL, location string, hop int) (*url.URL, error) {
	limit := MaxGetRedirects
	switch method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		limit = MaxPostRedirects
		if status == http.StatusSeeOther {
			return nil, fmt.Errorf("%w: POST answered with 303", ErrRedirect)
		}
	default:
		return nil, fmt.Errorf("%w: method %s", ErrRedirect, method)
	}
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, fmt.Errorf("%w: status %d", ErrRedirect, status)
	}
	if hop >= limit {
		return nil, fmt.Errorf("%w: more than %d", ErrRedirect, limit)
	}
	if location == "" || len(location) > 4096 {
		return nil, fmt.Errorf("%w: Location", ErrRedirect)
	}
	ref, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("%w: Location", ErrRedirect)
	}
	return secureTarget(from, from.ResolveReference(ref))
}

// secureTarget applies the rules for one hop and returns a copy of to.
func secureTarget(from, to *url.URL) (*url.URL, error) {
	next := *to
	next.Fragment, next.RawFragment = "", ""
	if next.Scheme == "http" && from.Scheme == "https" && strings.EqualFold(next.Host, from.Host) {
		next.Scheme = "https"
	}
	switch {
	case next.Scheme != "https":
		return nil, fmt.Errorf("%w: to %s", ErrRedirect, next.Scheme)
	case next.User != nil, next.Host == "", next.Opaque != "":
		return nil, fmt.Errorf("%w: URL form", ErrRedirect)
	}
	return &next, nil
}

// SameHost reports whether credentials for a may be sent to b: same scheme,
// host and port.
func SameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// EndpointOf returns u as an endpoint for POST: without query and fragment.
func EndpointOf(u *url.URL) string {
	e := *u
	e.RawQuery, e.ForceQuery, e.Fragment, e.RawFragment, e.User = "", false, "", "", nil
	return e.String()
}

// checkRedirect is the CheckRedirect of our client. Only GET and HEAD are
// followed by net/http; the answer to anything else is handed to the caller.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	if first.Method != http.MethodGet && first.Method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) > MaxGetRedirects {
		return fmt.Errorf("%w: more than %d", ErrRedirect, MaxGetRedirects)
	}
	if len(req.URL.String()) > 4096 {
		return fmt.Errorf("%w: Location", ErrRedirect)
	}
	next, err := secureTarget(last.URL, req.URL)
	if err != nil {
		return err
	}
	req.URL = next
	if !SameHost(first.URL, next) {
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
			req.Header.Del(name)
		}
	}
	return nil
}
