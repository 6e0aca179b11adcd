package davxml

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// inUTF8 gives a document in UTF-8, without a byte order mark. Every XML processor
// reads UTF-16 (XML 1.0 §4.3.3), and libraries name US-ASCII when they are not asked
// for another encoding; ISO 8859-1 costs nothing beside. Others are refused.
func inUTF8(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")):
		data = data[3:]
	case bytes.HasPrefix(data, []byte("\xFE\xFF")), bytes.HasPrefix(data, []byte("\x00<")):
		return fromUTF16(data, binary.BigEndian)
	case bytes.HasPrefix(data, []byte("\xFF\xFE")), bytes.HasPrefix(data, []byte("<\x00")):
		return fromUTF16(data, binary.LittleEndian)
	}
	switch label := declaredEncoding(data); strings.ToLower(label) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
	case "utf-16": // a text that somebody else turned into UTF-8 after it was written
	case "iso-8859-1", "latin1":
		wide := make([]byte, 0, len(data)+len(data)/8)
		for _, c := range data {
			wide = utf8.AppendRune(wide, rune(c))
		}
		return wide, nil
	default:
		return nil, errorf(ErrMalformed, "the encoding %s is not read; send UTF-8", clip(label))
	}
	if !utf8.Valid(data) {
		return nil, errorf(ErrMalformed, "not UTF-8")
	}
	return data, nil
}

// declaredEncoding is the encoding that the XML declaration names, "" when there is
// none (XML 1.0 §4.3.3).
func declaredEncoding(data []byte) string {
	rest, ok := bytes.CutPrefix(data, []byte("<?xml"))
	if !ok {
		return ""
	}
	if rest, _, ok = bytes.Cut(rest, []byte("?>")); !ok {
		return ""
	}
	if _, rest, ok = bytes.Cut(rest, []byte("encoding")); !ok {
		return ""
	}
	rest = bytes.TrimLeft(rest, xmlSpace+"=")
	if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
		return ""
	}
	label, _, _ := bytes.Cut(rest[1:], rest[:1])
	return string(label)
}

func fromUTF16(data []byte, order binary.ByteOrder) ([]byte, error) {
	if len(data)%2 != 0 {
		return nil, errorf(ErrMalformed, "not UTF-16: an odd number of octets")
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 0; i < len(data); i += 2 {
		units = append(units, order.Uint16(data[i:]))
	}
	if len(units) > 0 && units[0] == 0xfeff {
		units = units[1:]
	}
	out := make([]byte, 0, len(units))
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) {
			if i+1 == len(units) || utf16.DecodeRune(r, rune(units[i+1])) == utf8.RuneError {
				return nil, errorf(ErrMalformed, "not UTF-16: half a pair")
			}
			i++
			r = utf16.DecodeRune(r, rune(units[i]))
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}

// asConverted lets encoding/xml pass over the encoding in the declaration: inUTF8 has
// seen to it.
func asConverted(_ string, r io.Reader) (io.Reader, error) { return r, nil }
