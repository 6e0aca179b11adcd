package dkim

import (
	"net/url"
	"strings"
)

// Aligned reports whether a signature of domain d may speak for an Originator
// in originatorDomain: both are equal, or d is a parent. The other direction
// does not count. Case and one trailing dot of the Originator domain are
// ignored.
//
// ischedule §7.6 step 7 (draft -05 §7.4, there only a SHOULD).
func Aligned(originatorDomain, d string) bool {
	originatorDomain = strings.ToLower(strings.TrimSuffix(originatorDomain, "."))
	return coveredBy(originatorDomain, strings.ToLower(d))
}

// coveredBy: name equals d or lies below it.
func coveredBy(name, d string) bool {
	if d == "" || !validDomain(name, 1) {
		return false
	}
	return name == d || strings.HasSuffix(name, "."+d)
}

// AddressDomain returns the lower-case domain of a `mailto:` or bare address,
// or "" when there is none that could be aligned with d=: another scheme, a
// list, an address literal, a name that is not US-ASCII.
//
// ischedule §2.1. Callers with a richer address type set Policy.AddressDomain.
func AddressDomain(address string) string {
	address = trimFWS(address)
	const scheme = "mailto:"
	if len(address) >= len(scheme) && strings.EqualFold(address[:len(scheme)], scheme) {
		address = address[len(scheme):]
	}
	if i := strings.IndexByte(address, '?'); i >= 0 {
		address = address[:i]
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || strings.ContainsAny(address, ", \t\r\n\x00") || strings.ContainsAny(address[:at], ":/") {
		return ""
	}
	domain, err := url.PathUnescape(address[at+1:])
	if err != nil {
		return ""
	}
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	last := domain[strings.LastIndexByte(domain, '.')+1:]
	if !validDomain(domain, 1) || strings.Trim(last, "0123456789") == "" {
		return "" // no name, or an IPv4 address: no top-level name is numeric
	}
	return domain
}
