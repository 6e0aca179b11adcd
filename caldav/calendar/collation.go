package calendar

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Collations of CALDAV:text-match (RFC 4790; RFC 4791 §7.5).
const (
	collationASCII   = "i;ascii-casemap"
	collationOctet   = "i;octet"
	collationUnicode = "i;unicode-casemap" // RFC 5051
)

// Collations lists what text-match understands, for
// CALDAV:supported-collation-set.
func Collations() []string { return []string{collationASCII, collationOctet, collationUnicode} }

func (t *TextMatch) check() error {
	if t == nil {
		return nil
	}
	switch t.Collation {
	case "", "default", collationASCII, collationOctet, collationUnicode:
	default:
		return fail(CodeUnsupportedCollation, 0, "the collation %q is not supported", clip(t.Collation))
	}
	switch t.MatchType {
	case "", "contains", "equals", "starts-with", "ends-with":
		return nil
	}
	return fail(CodeInvalidFilter, 0, "the match type %q is unknown", clip(t.MatchType))
}

// matchProperty matches the property's value; of a list (CATEGORIES,
// RESOURCES) each member is a value of its own.
func (t *TextMatch) matchProperty(p *Property) bool {
	switch p.name {
	case "CATEGORIES", "RESOURCES":
		return t.matchAny(splitText(p.value))
	case "ATTENDEE", "ORGANIZER", "ATTACH", "URL", "TZURL", "SOURCE", "CONFERENCE", "IMAGE":
		return t.matchAny([]string{p.value}) // not TEXT: there is nothing to unescape
	}
	return t.matchAny([]string{p.Text()})
}

// matchAny reports whether one of the values matches; negated: none does.
func (t *TextMatch) matchAny(values []string) bool {
	return slices.ContainsFunc(values, t.matcher()) != t.Negate
}

// matcher compares values by collation and match type, in one buffer.
func (t *TextMatch) matcher() func(value string) bool {
	compare, ok := matchTypes[t.MatchType]
	if !ok {
		compare = bytes.Contains
	}
	needle, buf := []byte(t.fold(t.Text)), []byte(nil)
	return func(value string) bool {
		buf = append(buf[:0], value...)
		if t.Collation != collationOctet {
			for i, c := range buf {
				if c >= utf8.RuneSelf && t.Collation == collationUnicode {
					return compare([]byte(t.fold(value)), needle)
				}
				if c-'A' < 26 {
					buf[i] |= 0x20
				}
			}
		}
		return compare(buf, needle)
	}
}

// matchTypes are those other than "contains".
var matchTypes = map[string]func(value, needle []byte) bool{"equals": bytes.Equal, "starts-with": bytes.HasPrefix, "ends-with": bytes.HasSuffix}

func (t *TextMatch) fold(s string) string {
	switch t.Collation {
	case collationOctet:
		return s
	case collationUnicode:
		return foldUnicode(s)
	}
	return foldASCII(s)
}

func foldASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i]-'A' < 26 {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i]-'A' < 26 {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

// foldUnicode makes texts comparable by RFC 5051 §2: titlecase, then
// compatibility decomposition.
func foldUnicode(s string) string {
	ascii := true
	for i := 0; i < len(s) && ascii; i++ {
		ascii = s[i] < utf8.RuneSelf
	}
	if ascii {
		return foldASCII(s)
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for _, r := range s {
		if r < utf8.RuneSelf {
			if r-'A' < 26 && r >= 'A' {
				r |= 0x20
			}
			b.WriteRune(r)
			continue
		}
		for _, d := range decompose(unicode.ToTitle(r)) {
			if d < utf8.RuneSelf && d >= 'A' && d <= 'Z' {
				d |= 0x20
			}
			b.WriteRune(d)
		}
	}
	return b.String()
}

// splitText splits a list of TEXT values at the commas that are not escaped.
func splitText(s string) []string {
	if strings.IndexByte(s, ',') < 0 {
		return []string{strings.TrimSpace(UnescapeText(s))}
	}
	var out []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',':
			out = append(out, strings.TrimSpace(UnescapeText(s[from:i])))
			from = i + 1
		}
	}
	return append(out, strings.TrimSpace(UnescapeText(s[from:])))
}
