package dkim

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Limits of a tag list. A signature with a 4096-bit key and a long h= needs
// about 2 KiB and 15 tags.
const (
	maxTagList = 16 << 10
	maxTags    = 64
)

// tag is one name=value pair. start and end delimit the raw value in the
// parsed text, with the blanks around it.
type tag struct {
	name, value string
	start, end  int
}

// tagList is a parsed tag list in order of appearance, without repeated names.
type tagList []tag

func (l tagList) get(name string) (string, bool) {
	for i := range l {
		if l[i].name == name {
			return l[i].value, true
		}
	}
	return "", false
}

// parseTags reads `name=value` pairs separated by ";", with folding white
// space anywhere around names and values and one trailing ";" allowed.
//
// RFC 6376 §3.2: names and values keep their case, a repeated name makes the
// whole list invalid.
func parseTags(s string) (tagList, error) {
	if len(s) > maxTagList {
		return nil, fmt.Errorf("%w: longer than %d octets", ErrSyntax, maxTagList)
	}
	semicolons := strings.Count(s, ";")
	if semicolons >= maxTags {
		return nil, fmt.Errorf("%w: more than %d tags", ErrSyntax, maxTags)
	}
	list := make(tagList, 0, semicolons+1)
	for pos := 0; pos <= len(s); {
		end := len(s)
		if i := strings.IndexByte(s[pos:], ';'); i >= 0 {
			end = pos + i
		}
		spec := s[pos:end]
		if end == len(s) && trimFWS(spec) == "" && len(list) > 0 {
			break // the trailing semicolon
		}
		eq := strings.IndexByte(spec, '=')
		if eq < 0 {
			return nil, fmt.Errorf("%w: a tag without =", ErrSyntax)
		}
		t := tag{name: trimFWS(spec[:eq]), value: trimFWS(spec[eq+1:]), start: pos + eq + 1, end: end}
		if !validTagName(t.name) {
			return nil, fmt.Errorf("%w: tag name", ErrSyntax)
		}
		if !validTagValue(spec[eq+1:]) {
			return nil, fmt.Errorf("%w: value of %s=", ErrSyntax, t.name)
		}
		if _, dup := list.get(t.name); dup {
			return nil, fmt.Errorf("%w: %s=", ErrDuplicateTag, t.name)
		}
		list = append(list, t)
		pos = end + 1
	}
	return list, nil
}

func validTagName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '_'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// validTagValue allows printable US-ASCII and folding white space: a CRLF must
// be followed by a blank.
func validTagValue(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c-0x20 < 0x5f || c == '\t' {
			continue
		}
		if c != '\r' || i+2 >= len(s) || s[i+1] != '\n' || !isBlank(s[i+2]) {
			return false
		}
		i++
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isFWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimFWS(s string) string {
	for len(s) > 0 && isFWS(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isFWS(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// decodeBase64 drops the folding white space and decodes strictly: padding
// needed, no stray bits, so that one octet string has one spelling.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, " \t\r\n") {
		s = strings.Map(func(r rune) rune {
			if r < 0x80 && isFWS(byte(r)) {
				return -1
			}
			return r
		}, s)
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// splitList cuts a colon list (h=, q=, s= and t= of key records) and trims the
// elements.
func splitList(s string) []string {
	parts := strings.Split(s, ":")
	for i := range parts {
		parts[i] = trimFWS(parts[i])
	}
	return parts
}

// validDomain reports whether s is a name of at least minLabels LDH labels
// (letters, digits, inner hyphens) without a trailing dot.
func validDomain(s string, minLabels int) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	labels := 0
	for rest := s; ; {
		label, after, more := strings.Cut(rest, ".")
		if !validLabel(label) {
			return false
		}
		labels++
		if !more {
			return labels >= minLabels
		}
		rest = after
	}
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}
