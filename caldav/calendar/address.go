package calendar

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Address is a calendar user address as it stands in a property value or a
// Recipient header: usually a mailto: URI, sometimes a bare user@domain, a
// urn:uuid: or the path of a principal (RFC 5545 §3.3.3, RFC 6638 §2.4.1).
// It is kept as written; Key is what comparisons use.
type Address string

// AddressSet is a set of addresses by their keys. Invalid addresses are never
// members.
type AddressSet map[string]struct{}

// NewAddressSet returns the set of the valid ones among as.
func NewAddressSet(as ...Address) AddressSet {
	s := make(AddressSet, len(as))
	for _, a := range as {
		s.Add(a)
	}
	return s
}

// Has tells whether a is a member.
func (s AddressSet) Has(a Address) bool {
	if len(s) == 0 {
		return false
	}
	_, ok := s[a.Key()]
	return ok
}

// Add puts a into the set; an invalid address is left out.
func (s AddressSet) Add(a Address) {
	if k := a.Key(); k != "" {
		s[k] = struct{}{}
	}
}

// scheme kinds of an address.
type addressKind uint8

const (
	addressInvalid addressKind = iota
	addressMail
	addressUUID
	addressPath
	addressURI
)

const (
	mailtoPrefix = "mailto:"
	uuidPrefix   = "urn:uuid:"
)

// split tells what kind of address a is and gives what follows mailto: for
// mail and the whole (without white space around it) for the others.
func (a Address) split() (addressKind, string) {
	s := strings.Trim(string(a), " \t")
	switch {
	case s == "":
		return addressInvalid, ""
	case hasPrefixFold(s, mailtoPrefix):
		return addressMail, strings.TrimLeft(s[len(mailtoPrefix):], " \t")
	case s[0] == '/':
		return addressPath, s
	case hasPrefixFold(s, uuidPrefix):
		return addressUUID, s
	}
	// RFC 3986 §3.1: a scheme is letters, digits, "+", "-", "." up to a colon.
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ':' && i > 0:
			return addressURI, s
		case isLetter(c) || i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
			continue
		}
		break
	}
	if strings.IndexByte(s, '@') > 0 {
		return addressMail, s
	}
	return addressInvalid, ""
}

// Key is the form in which addresses are compared: equal keys, same calendar
// user. Mail addresses become "mailto:" + local part + "@" + domain, both in
// lower case, percent encoding resolved, the domain as A-labels without a
// final dot, anything from "?" on cut off. Sub-addresses ("user+tag") are left
// alone. A urn:uuid: is in lower case; a path has its percent encoding
// resolved (but for "/" itself) and no final slash; other URIs are as written.
//
// Key is "" for what is not an address at all: no "@" in a mailto:, or a
// white space or control character (CR, LF, NUL…) in the decoded form, so
// that no key can ever break a header or a mail envelope.
// Applying Key to a key gives the same key.
func (a Address) Key() string {
	kind, s := a.split()
	switch kind {
	case addressMail:
		local, domain := splitMail(s)
		if domain == "" {
			return ""
		}
		local = encodeReserved(lower(local))
		if n := len(mailtoPrefix) + len(local) + 1; len(a) == n+len(domain) &&
			string(a[:len(mailtoPrefix)]) == mailtoPrefix && string(a[len(mailtoPrefix):n-1]) == local && string(a[n:]) == domain {
			return string(a)
		}
		return mailtoPrefix + local + "@" + domain
	case addressUUID:
		if !printable(s) {
			return ""
		}
		return lower(s)
	case addressPath:
		p := percentDecode(s, true)
		if !printable(p) {
			return ""
		}
		if p = strings.TrimRight(p, "/"); p == "" {
			p = "/"
		}
		return p
	case addressURI:
		if !printable(s) {
			return ""
		}
		return s
	}
	return ""
}

// Equal tells whether both are valid and name the same calendar user.
func (a Address) Equal(b Address) bool {
	k := a.Key()
	return k != "" && k == b.Key()
}

// IsMailto tells whether a is a mailto: URI (any case) or a bare user@domain.
// It says nothing about validity; Key and Email do.
func (a Address) IsMailto() bool {
	kind, _ := a.split()
	return kind == addressMail
}

// Domain is the mail domain in A-labels and lower case, "" when a is not a
// valid mail address. An address literal keeps its brackets.
func (a Address) Domain() string {
	kind, s := a.split()
	if kind != addressMail {
		return ""
	}
	_, d := splitMail(s)
	return d
}

// Email is local@domain for showing and for mail envelopes: the local part
// decoded and in its own case, the domain as Domain gives it; "" when a is
// not a valid mail address.
func (a Address) Email() string {
	kind, s := a.split()
	if kind != addressMail {
		return ""
	}
	local, domain := splitMail(s)
	if domain == "" {
		return ""
	}
	return local + "@" + domain
}

// splitMail takes "local@domain?headers" apart, percent encoding resolved
// (RFC 6068 §2); domain is "" when the address is invalid.
func splitMail(s string) (local, domain string) {
	if i := strings.IndexByte(s, '?'); i >= 0 {
		s = s[:i]
	}
	s = percentDecode(s, false)
	i := strings.LastIndexByte(s, '@')
	if i <= 0 {
		return "", ""
	}
	local = s[:i]
	if !printable(local) || strings.ContainsAny(local, "<>") {
		return "", ""
	}
	return local, asciiDomain(s[i+1:])
}

// printable tells that s is UTF-8 without white space and control characters.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		} else if c >= utf8.RuneSelf {
			if !utf8.ValidString(s) {
				return false
			}
			return !strings.ContainsFunc(s, func(r rune) bool {
				return unicode.IsSpace(r) || unicode.IsControl(r)
			})
		}
	}
	return true
}

// percentDecode resolves %XX; a "%" that starts no escape stays. In a path an
// escaped slash stays escaped, and so does a literal percent sign, so that
// decoding twice changes nothing.
func percentDecode(s string, path bool) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '%' {
			b = append(b, c)
			continue
		}
		d := c
		if i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			d = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		switch {
		case path && d == '/':
			b = append(b, "%2F"...)
		case path && d == '%':
			b = append(b, "%25"...)
		default:
			b = append(b, d)
		}
	}
	return string(b)
}

// encodeReserved writes the two characters of a decoded local part that would
// be read differently a second time as escapes.
func encodeReserved(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '?') < 0 {
		return s
	}
	return strings.NewReplacer("%", "%25", "?", "%3f").Replace(s)
}

// lower is strings.ToLower, except that no foreign letter becomes an ASCII
// one: the Kelvin sign is not a "k", the dotted capital I is not an "i".
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(func(r rune) rune {
				if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
					return l
				}
				return r
			}, s)
		}
	}
	return strings.ToLower(s)
}

// asciiDomain gives the A-label form of a domain in lower case without a
// final dot (RFC 5890 §2.3.2.1), "" when it is no domain name and no address
// literal. It lowers the case and does no other mapping: a domain written with
// compatibility characters or decomposed accents gets a label of its own that
// equals no registered one.
func asciiDomain(d string) string {
	if len(d) > 1 && d[0] == '[' && d[len(d)-1] == ']' { // RFC 5321 §4.1.3
		for i := 1; i < len(d)-1; i++ {
			if c := d[i]; !isLetter(c) && !isDigit(c) && c != ':' && c != '.' && c != '-' {
				return ""
			}
		}
		return strings.ToLower(d)
	}
	ascii := true
	for i := 0; i < len(d); i++ {
		ascii = ascii && d[i] < utf8.RuneSelf
	}
	if !ascii {
		if !printable(d) || strings.ContainsRune(d, '\u212a') || strings.ContainsRune(d, '\u0130') {
			return "" // the two letters that IDNA maps to ASCII
		}
		// RFC 3490 §3.1: these stand for the dot as well.
		d = lower(strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".").Replace(d))
	}
	d = lower(strings.TrimSuffix(d, "."))
	if d == "" || len(d) > 253*4 {
		return ""
	}
	if ascii {
		if !validHost(d) {
			return ""
		}
		return d
	}
	labels := strings.Split(d, ".")
	for i, l := range labels {
		if strings.ContainsFunc(l, func(r rune) bool { return r >= utf8.RuneSelf }) {
			p, ok := Punycode(l)
			if !ok {
				return ""
			}
			labels[i] = "xn--" + p
		}
	}
	d = strings.Join(labels, ".")
	if !validHost(d) {
		return ""
	}
	return d
}

// validHost tells that d consists of labels of 1 to 63 letters, digits,
// hyphens and underscores, 253 octets at most (RFC 1035 §2.3.4).
func validHost(d string) bool {
	if len(d) > 253 {
		return false
	}
	n := 0
	for i := 0; i < len(d); i++ {
		c := d[i]
		if c == '.' {
			if n == 0 {
				return false
			}
			n = 0
			continue
		}
		if n++; n > 63 || !isLetter(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return n > 0
}

// Punycode encodes one label, without the "xn--" (RFC 3492 §6.3). It fails
// on labels too long to be encoded in 63 octets.
func Punycode(label string) (string, bool) {
	runes := []rune(label)
	if len(runes) > 63 {
		return "", false
	}
	const base, tMin, tMax, skew, damp = 36, 1, 26, 38, 700
	out := make([]byte, 0, 64)
	for _, r := range runes {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	digit := func(d int) byte {
		if d < 26 {
			return byte('a' + d)
		}
		return byte('0' + d - 26)
	}
	n, delta, bias := rune(0x80), 0, 72
	for done := basic; done < len(runes); {
		next := rune(unicode.MaxRune)
		for _, r := range runes {
			if r >= n && r < next {
				next = r
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range runes {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			q := delta
			for k := base; ; k += base {
				t := min(max(k-bias, tMin), tMax)
				if q < t {
					break
				}
				out = append(out, digit(t+(q-t)%(base-t)))
				q = (q - t) / (base - t)
			}
			out = append(out, digit(q))
			// RFC 3492 §6.1
			if done == basic {
				delta /= damp
			} else {
				delta /= 2
			}
			delta += delta / (done + 1)
			k := 0
			for ; delta > (base-tMin)*tMax/2; k += base {
				delta /= base - tMin
			}
			bias = k + (base-tMin+1)*delta/(delta+skew)
			delta = 0
			done++
		}
		delta++
		n++
	}
	return string(out), true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isHex(c byte) bool    { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
