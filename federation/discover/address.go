package discover

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
)

const maxAddress = 1024

// ParseAddress extracts the domain of a calendar user address, as A-label in
// lower case without a trailing dot. A bare user@domain counts as mailto:. For
// an address literal or a domain that is an IP address, literal is true and
// domain is that text. Every other scheme, and every address that could smuggle
// something into a header, is ErrInvalidAddress.
//
// ischedule §2.1.
func ParseAddress(address string) (domain string, literal bool, err error) {
	fail := func(why string) (string, bool, error) {
		return "", false, fmt.Errorf("%w: %s", ErrInvalidAddress, why)
	}
	if len(address) > maxAddress || !utf8.ValidString(address) {
		return fail("too long or not UTF-8")
	}
	const scheme = "mailto:"
	if len(address) >= len(scheme) && strings.EqualFold(address[:len(scheme)], scheme) {
		address = address[len(scheme):]
	} else if i := strings.IndexAny(address, "@:/"); i < 0 || address[i] != '@' {
		return fail("only mailto is resolved")
	}
	address, _, _ = strings.Cut(address, "?")
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return fail("no user@domain")
	}
	local, err1 := url.PathUnescape(address[:at])
	domain, err2 := url.PathUnescape(address[at+1:])
	if err1 != nil || err2 != nil {
		return fail("percent-encoding")
	}
	if strings.IndexByte(address[:at], ',') >= 0 {
		return fail("a list")
	}
	if strings.ContainsFunc(local, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return fail("blank or control character in the local part")
	}
	if len(domain) > 2 && domain[0] == '[' && domain[len(domain)-1] == ']' {
		return domain, true, nil
	}
	if domain, err = NormalizeDomain(domain); err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrInvalidAddress, err)
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return domain, true, nil
	}
	if !validHost(domain) {
		return fail("no host name")
	}
	return domain, false, nil
}

// NormalizeDomain lower-cases a domain name, drops one trailing dot and turns
// international labels into A-labels (RFC 5890). It fails with ErrInvalidName.
func NormalizeDomain(domain string) (string, error) {
	domain = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".").Replace(domain)
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if domain == "" || len(domain) > 4*253 {
		return "", fmt.Errorf("%w: length", ErrInvalidName)
	}
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		if isASCII(label) {
			continue
		}
		if !validULabel(label) {
			return "", fmt.Errorf("%w: label %q", ErrInvalidName, label)
		}
		a, ok := calendar.Punycode(label)
		if !ok {
			return "", fmt.Errorf("%w: label %q", ErrInvalidName, label)
		}
		labels[i] = "xn--" + a
	}
	domain = strings.Join(labels, ".")
	if len(domain) > 253 {
		return "", fmt.Errorf("%w: length", ErrInvalidName)
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !validLabel(label) {
			return "", fmt.Errorf("%w: label %q", ErrInvalidName, label)
		}
	}
	return domain, nil
}

// validHost: LDH labels, the last one not a number (else it is an address in
// one of its many spellings).
func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isLDH(s[i]) {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validULabel allows letters, marks, digits and hyphens. The generic combining
// accents are refused: such a label may not be in the composed form (NFC) that
// RFC 5891 §5.2 demands, and would give another name than its look-alike.
func validULabel(s string) bool {
	for i, r := range s {
		switch {
		case r == '-', r == '\u00b7':
		case r >= 0x300 && r <= 0x36f, r == utf8.RuneError:
			return false
		case unicode.IsMark(r):
			if i == 0 {
				return false
			}
		case unicode.IsLetter(r), unicode.IsDigit(r):
		default:
			return false
		}
	}
	return !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}
