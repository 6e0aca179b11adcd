package imip

import (
	"bytes"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
)

// Mailbox is a person or program that has mail: a display name, which may be
// empty, and an address local@domain.
type Mailbox struct {
	Name  string
	Email string
}

// field is one header field as it came: the name without blanks, the value
// unfolded and without the blanks around it.
type field struct{ name, value string }

// headerFields reads a header section and returns it with the offset of the
// body. A line without a colon is passed over, as mail programs do. The end of
// the section is found exactly as the DKIM verifier finds it, so that both see
// the same header.
func headerFields(raw []byte, max int) ([]field, int, error) {
	var out []field
	pos := 0
	for pos < len(raw) {
		if pos > max {
			return nil, 0, fmt.Errorf("%w: header", ErrTooBig)
		}
		line, next := nextLine(raw, pos)
		pos = next
		if len(line) == 0 {
			return out, pos, nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			if n := len(out); n > 0 {
				out[n-1].value = strings.TrimSpace(out[n-1].value + " " + string(bytes.TrimSpace(line)))
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			// A field that is cut in two by a broken line must not let its
			// continuation lines slip into the field before.
			out = append(out, field{})
			continue
		}
		out = append(out, field{strings.TrimRight(string(name), " \t"), string(bytes.TrimSpace(value))})
	}
	return out, len(raw), nil
}

// nextLine returns the line at pos without its end, and where the next begins.
func nextLine(raw []byte, pos int) ([]byte, int) {
	i := bytes.IndexByte(raw[pos:], '\n')
	if i < 0 {
		return raw[pos:], len(raw)
	}
	line := raw[pos : pos+i]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, pos + i + 1
}

func fieldValues(h []field, name string) []string {
	var out []string
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			out = append(out, f.value)
		}
	}
	return out
}

func fieldValue(h []field, name string) string {
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// parseMailboxes reads an address list field. Names are decoded.
func parseMailboxes(value string) ([]Mailbox, error) {
	if len(value) > 64<<10 {
		return nil, fmt.Errorf("%w: address list", ErrTooBig)
	}
	list, err := mail.ParseAddressList(value)
	if err != nil {
		return nil, fmt.Errorf("%w: address list: %v", ErrMalformed, err)
	}
	out := make([]Mailbox, len(list))
	for i, a := range list {
		out[i] = Mailbox{Name: cleanLine(a.Name, 200), Email: a.Address}
	}
	return out, nil
}

// wireEmail is the address as it goes on the wire: the local part as it is and
// the domain in A-labels. Only ASCII local parts of printable characters can
// be used, since SMTPUTF8 cannot be counted on.
func wireEmail(a calendar.Address) (string, error) {
	email, domain := a.Email(), a.Domain()
	at := strings.LastIndexByte(email, '@')
	if at <= 0 || domain == "" || a.Key() == "" {
		return "", fmt.Errorf("%w: %.100q", ErrAddress, string(a))
	}
	local := email[:at]
	for i := 0; i < len(local); i++ {
		if c := local[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()[]",;:\@`, c) >= 0 {
			return "", fmt.Errorf("%w: %.100q", ErrAddress, string(a))
		}
	}
	if len(local) > 64 || len(domain) > 253 { // RFC 5321 §4.5.3.1
		return "", fmt.Errorf("%w: too long", ErrAddress)
	}
	return local + "@" + domain, nil
}

// cleanLine makes foreign text fit for one line that people read: controls,
// line ends and characters that turn the direction of writing become blanks or
// vanish (A20), runs of blanks become one, and at most max runes stay.
func cleanLine(s string, max int) string {
	var b strings.Builder
	blank, n := true, 0
	for _, r := range s {
		switch {
		case r == utf8.RuneError || isDirection(r):
			continue
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if !blank {
				b.WriteByte(' ')
				n++
			}
			blank = true
			continue
		}
		blank = false
		if n++; n > max {
			return strings.TrimRight(b.String(), " ") + "…"
		}
		b.WriteRune(r)
	}
	return strings.TrimRight(b.String(), " ")
}

// cleanText is cleanLine for text of several lines.
func cleanText(s string, max int) string {
	var b strings.Builder
	n := 0
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for _, r := range s {
		if r == utf8.RuneError || isDirection(r) || (unicode.IsControl(r) && r != '\n' && r != '\t') {
			continue
		}
		if n++; n > max {
			return strings.TrimSpace(b.String()) + "…"
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

func isDirection(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029
}

// encodeText writes unstructured text for a header: as it is when it is plain
// ASCII, else as encoded words (RFC 2047 §2, §5) with a blank between them.
// Text that looks like an encoded word is encoded too, so that nobody can put
// one into a summary.
func encodeText(s string) string {
	plain := !strings.Contains(s, "=?")
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	const room = 75 - len("=?UTF-8?Q??=") // RFC 2047 §2
	var words []string
	var w strings.Builder
	for _, r := range s {
		e := encodeRune(r)
		if w.Len()+len(e) > room {
			words = append(words, "=?UTF-8?Q?"+w.String()+"?=")
			w.Reset()
		}
		w.WriteString(e)
	}
	words = append(words, "=?UTF-8?Q?"+w.String()+"?=")
	return strings.Join(words, " ")
}

// encodeRune is one character in the "Q" encoding that is allowed in every
// place of a header (RFC 2047 §5).
func encodeRune(r rune) string {
	switch {
	case r == ' ':
		return "_"
	case r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '!' || r == '*' || r == '/':
		return string(r)
	}
	var b strings.Builder
	for _, c := range []byte(string(r)) {
		fmt.Fprintf(&b, "=%02X", c)
	}
	return b.String()
}

// format writes the mailbox for a header (RFC 5322 §3.4).
func (m Mailbox) format() string {
	name := cleanLine(m.Name, 100)
	if name == "" {
		return m.Email
	}
	if enc := encodeText(name); enc != name {
		return enc + " <" + m.Email + ">"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + m.Email + ">"
}

// writeField appends a header field and folds it at blanks so that lines have
// at most 76 characters where the blanks allow it. Line ends in value, which
// no caller should pass, become blanks.
func writeField(b *bytes.Buffer, name, value string) {
	value = strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == '\r' || r == '\n' }), " ")
	b.WriteString(name + ":")
	col := len(name) + 1
	for i, word := range strings.Split(value, " ") {
		if i > 0 && col+1+len(word) > 76 {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteString(" " + word)
		col += 1 + len(word)
	}
	b.WriteString("\r\n")
}

// mediaType reads a Content-Type or Content-Disposition leniently: the type
// survives bad parameters.
func mediaType(v string) (string, map[string]string) {
	t, params, err := mime.ParseMediaType(v)
	if err == nil {
		return t, params
	}
	t, rest, _ := strings.Cut(v, ";")
	params = map[string]string{}
	for _, p := range strings.Split(rest, ";") {
		if k, val, ok := strings.Cut(p, "="); ok {
			k = strings.ToLower(strings.TrimSpace(k))
			if _, dup := params[k]; !dup {
				params[k] = strings.Trim(strings.TrimSpace(val), `"`)
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(t)), params
}
