package davxml

import (
	"unicode"
	"unicode/utf8"
)

// Classes of octets for the escaping functions.
const (
	plain  = iota
	escape // has an entity or character reference
	drop   // a control character that XML 1.0 §2.2 forbids in any form
	wide   // part of a multi-octet UTF-8 sequence
	blank  // tab or line feed: plain in text, a reference in attributes
)

var class = func() (t [256]uint8) {
	for i := range t {
		switch {
		case i == '\t' || i == '\n':
			t[i] = blank
		case i == '\r' || i == '<' || i == '>' || i == '&' || i == '"':
			t[i] = escape
		case i < 0x20:
			t[i] = drop
		case i >= 0x80:
			t[i] = wide
		}
	}
	return
}()

// appendText appends s as character data. A carriage return becomes a character
// reference, because a parser would turn a bare one into a line feed (XML 1.0
// §2.11) and calendar data would not come back as it was stored. Characters that
// XML 1.0 cannot hold are left out; octets that are not UTF-8 become U+FFFD.
func appendText[T string | []byte](dst []byte, s T) []byte {
	return appendEscaped(dst, s, false)
}

// appendAttr appends s as an attribute value for double quotes.
func appendAttr[T string | []byte](dst []byte, s T) []byte {
	return appendEscaped(dst, s, true)
}

func appendEscaped[T string | []byte](dst []byte, s T, attr bool) []byte {
	last := 0 // s[last:i] is still to be copied as it is
	for i := 0; ; {
		for i < len(s) && class[s[i]] == plain {
			i++
		}
		if i == len(s) {
			break
		}
		c := s[i]
		var ref string
		size := 1
		switch class[c] {
		case blank:
			if !attr {
				i++
				continue
			}
			ref = "&#9;"
			if c == '\n' {
				ref = "&#10;"
			}
		case escape:
			switch c {
			case '\r':
				ref = "&#13;"
			case '<':
				ref = "&lt;"
			case '>':
				ref = "&gt;"
			case '&':
				ref = "&amp;"
			case '"':
				if !attr {
					i++
					continue
				}
				ref = "&quot;"
			}
		case wide:
			var b [utf8.UTFMax]byte
			var r rune
			r, size = utf8.DecodeRune(b[:copy(b[:], s[i:min(len(s), i+utf8.UTFMax)])])
			switch {
			case r == utf8.RuneError && size == 1:
				ref = "\uFFFD"
			case r != 0xFFFE && r != 0xFFFF:
				i += size
				continue
			}
		}
		dst = append(dst, s[last:i]...)
		dst = append(dst, ref...)
		i += size
		last = i
	}
	return append(dst, s[last:]...)
}

// isNCName tells whether s can be a local name or prefix (Namespaces in XML 1.0
// §3). Of the characters above ASCII only the first is looked at: encoding/xml has
// checked the others, but takes a name with its prefix for one word, so that it
// lets a local part begin with a digit or a combining mark.
func isNCName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && isNameByte(c):
		case c >= 0x80:
			if r, _ := utf8.DecodeRuneInString(s); !unicode.IsLetter(r) {
				return false
			}
		default:
			return false
		}
	}
	return s != ""
}
