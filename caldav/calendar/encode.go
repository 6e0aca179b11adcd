package calendar

import (
	"strings"
	"unicode/utf8"
)

// foldAt is the longest line in octets, line end not counted (RFC 5545 §3.1).
const foldAt = 75

// Bytes writes the object. Properties nobody touched come out with the octets
// they were read from; new and changed ones are folded at 75 octets between
// characters. Every line ends with CRLF and the text is always UTF-8. A text
// that was read from lines with CRLF, properties before sub-components, and
// BEGIN and END in upper case is given back unchanged.
func (o *Object) Bytes() []byte {
	return o.Append(make([]byte, 0, o.textSize()))
}

// Append appends the component in the form of Bytes.
func (c *Component) Append(b []byte) []byte {
	b = append(b, "BEGIN:"...)
	b = append(b, c.Name...)
	b = append(b, "\r\n"...)
	for _, p := range c.Props {
		b = p.appendTo(b)
	}
	for _, k := range c.Children {
		b = k.Append(b)
	}
	b = append(b, "END:"...)
	b = append(b, c.Name...)
	return append(b, "\r\n"...)
}

// textSize estimates the length of the written component, from above for nearly
// all data.
func (c *Component) textSize() int {
	n := 14 + 2*len(c.Name)
	for _, p := range c.Props {
		if p.raw != "" {
			n += len(p.raw)
			continue
		}
		m := len(p.name) + len(p.value) + 3
		for _, q := range p.params {
			m += len(q.Name) + 2
			for _, v := range q.Values {
				m += len(v) + 3
			}
		}
		n += m + m/(foldAt-4)*3
	}
	for _, k := range c.Children {
		n += k.textSize()
	}
	return n
}

// appendTo appends the content line.
func (p *Property) appendTo(b []byte) []byte {
	if p.raw != "" {
		return append(b, p.raw...)
	}
	w := foldWriter{b: b}
	w.write(p.name)
	for _, q := range p.params {
		w.write(";")
		w.write(q.Name)
		sep := "="
		for _, v := range q.Values {
			w.write(sep)
			w.write(encodeParam(v))
			sep = ","
		}
		if len(q.Values) == 0 {
			w.write(sep)
		}
	}
	w.write(":")
	w.write(cleanValue(p.value))
	return append(w.b, "\r\n"...)
}

// foldWriter breaks what is written into lines of at most foldAt octets,
// between characters.
type foldWriter struct {
	b   []byte
	col int
}

func (w *foldWriter) write(s string) {
	for w.col+len(s) > foldAt {
		n := foldAt - w.col
		for back := 0; n > 0 && back < utf8.UTFMax && !utf8.RuneStart(s[n]); back++ {
			n--
		}
		w.b = append(w.b, s[:n]...)
		w.b = append(w.b, "\r\n "...)
		w.col = 1
		s = s[n:]
	}
	w.b = append(w.b, s...)
	w.col += len(s)
}

// appendFolded appends an unfolded content line without its line end.
func appendFolded(b []byte, line string) []byte {
	w := foldWriter{b: b}
	w.write(line)
	return w.b
}

// cleanValue makes sure that a value that was set cannot end its line: line
// feeds become the escape of TEXT, CR and NUL are dropped (abuse case A10).
func cleanValue(v string) string {
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\ufffd")
	}
	if !strings.ContainsAny(v, "\r\n\x00") {
		return v
	}
	return strings.NewReplacer("\r", "", "\x00", "", "\n", `\n`).Replace(v)
}

// encodeParam writes a parameter value: RFC 6868 §3.1 for what no quoting
// could carry, quotes where RFC 5545 §3.2 asks for them.
func encodeParam(v string) string {
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\ufffd")
	}
	if strings.ContainsAny(v, "^\"\r\n\x00") {
		v = strings.NewReplacer("^", "^^", `"`, "^'", "\n", "^n", "\r", "", "\x00", "").Replace(v)
	}
	if strings.ContainsAny(v, ":;,") {
		return `"` + v + `"`
	}
	return v
}
