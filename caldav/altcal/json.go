package altcal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
)

// FromJSON reads a jCal document (RFC 7265 §3): one vcalendar.
func FromJSON(data []byte, lim calendar.Limits) (*calendar.Object, error) {
	if err := tooLarge(data, lim); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, bad("the document is not UTF-8")
	}
	r := jsonReader{d: json.NewDecoder(bytes.NewReader(data))}
	r.d.UseNumber()
	c, err := r.component(1)
	if err != nil {
		return nil, err
	}
	if _, err := r.d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad("something follows the vcalendar")
	}
	return finish(c, lim)
}

// jsonReader reads token by token, so that depth and number of what it builds
// have limits.
type jsonReader struct {
	d     *json.Decoder
	count int
}

func (r *jsonReader) token() (json.Token, error) {
	if r.count++; r.count > maxElements {
		return nil, bad("more than %d values", maxElements)
	}
	t, err := r.d.Token()
	if err != nil {
		return nil, bad("no JSON at octet %d: %v", r.d.InputOffset(), err)
	}
	return t, nil
}

func (r *jsonReader) open(delim json.Delim, what string) error {
	t, err := r.token()
	if err == nil && t != delim {
		err = bad("%s is expected at octet %d", what, r.d.InputOffset())
	}
	return err
}

func (r *jsonReader) close(what string) error {
	t, err := r.token()
	if err == nil && t != json.Delim(']') {
		err = bad("%s has too many parts at octet %d", what, r.d.InputOffset())
	}
	return err
}

func (r *jsonReader) str(what string) (string, error) {
	t, err := r.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", bad("%s is expected at octet %d", what, r.d.InputOffset())
	}
	return s, nil
}

// component reads ["name", [properties], [components]].
func (r *jsonReader) component(depth int) (*calendar.Component, error) {
	if depth > maxDepth {
		return nil, bad("components are nested more than %d deep", maxDepth)
	}
	if err := r.open('[', "a component"); err != nil {
		return nil, err
	}
	s, err := r.str("the name of a component")
	if err != nil {
		return nil, err
	}
	if s, err = name(s); err != nil {
		return nil, err
	}
	c := calendar.NewComponent(s)
	if err := r.open('[', "the list of properties"); err != nil {
		return nil, err
	}
	for r.d.More() {
		p, err := r.property()
		if err != nil {
			return nil, err
		}
		c.Add(p)
	}
	if err := r.close("the list of properties"); err != nil {
		return nil, err
	}
	if err := r.open('[', "the list of components"); err != nil {
		return nil, err
	}
	for r.d.More() {
		k, err := r.component(depth + 1)
		if err != nil {
			return nil, err
		}
		c.Children = append(c.Children, k)
	}
	if err := r.close("the list of components"); err != nil {
		return nil, err
	}
	return c, r.close("a component")
}

// property reads ["name", {parameters}, "type", value, …].
func (r *jsonReader) property() (*calendar.Property, error) {
	if err := r.open('[', "a property"); err != nil {
		return nil, err
	}
	n, err := r.str("the name of a property")
	if err != nil {
		return nil, err
	}
	params, err := r.parameters()
	if err != nil {
		return nil, err
	}
	typ, err := r.str("the type of a property")
	if err != nil {
		return nil, err
	}
	var items []item
	for r.d.More() {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		if items = append(items, v); len(items) > maxValues {
			return nil, bad("%q has more than %d values", clip(n), maxValues)
		}
	}
	if len(items) == 0 {
		return nil, bad("%q has no value", clip(n))
	}
	if err := r.close("a property"); err != nil {
		return nil, err
	}
	return property(n, params, typ, items)
}

func (r *jsonReader) parameters() ([]calendar.Param, error) {
	if err := r.open('{', "the parameters of a property"); err != nil {
		return nil, err
	}
	var out []calendar.Param
	for r.d.More() {
		s, err := r.str("a parameter")
		if err != nil {
			return nil, err
		}
		if s, err = name(s); err != nil {
			return nil, err
		}
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		if v.rule != nil {
			return nil, bad("%s is a parameter of texts", s)
		}
		values := v.parts
		if values == nil {
			values = []string{v.text}
		}
		out = append(out, calendar.NewParam(s, values...))
	}
	_, err := r.token()
	return out, err
}

// value reads one value: a scalar, an array of scalars, or the parts of a rule.
func (r *jsonReader) value() (item, error) {
	t, err := r.token()
	if err != nil {
		return item{}, err
	}
	switch t {
	case json.Delim('['):
		v := item{parts: []string{}}
		for r.d.More() {
			t, err := r.token()
			if err != nil {
				return item{}, err
			}
			s, err := scalar(t)
			if err != nil {
				return item{}, err
			}
			v.parts = append(v.parts, s)
		}
		_, err := r.token()
		return v, err
	case json.Delim('{'):
		return r.rule()
	}
	s, err := scalar(t)
	return item{text: s}, err
}

// rule reads the parts of a recurrence rule (RFC 7265 §3.6.10).
func (r *jsonReader) rule() (item, error) {
	v := item{rule: []rulePart{}}
	for r.d.More() {
		n, err := r.str("a part of a rule")
		if err != nil {
			return item{}, err
		}
		if _, err := name(n); err != nil {
			return item{}, err
		}
		w, err := r.value()
		if err != nil {
			return item{}, err
		}
		values := w.parts
		if values == nil {
			values = []string{w.text}
		}
		for _, s := range values {
			if w.rule != nil || s == "" || strings.ContainsAny(s, ";,=\r\n") {
				return item{}, bad("the part %q of a rule is no simple value", clip(n))
			}
		}
		if len(values) == 0 {
			return item{}, bad("the part %q of a rule is empty", clip(n))
		}
		v.rule = append(v.rule, rulePart{name: strings.ToLower(n), values: values})
	}
	if len(v.rule) == 0 {
		return item{}, bad("a rule without parts")
	}
	_, err := r.token()
	return v, err
}

func scalar(t json.Token) (string, error) {
	switch t := t.(type) {
	case string:
		return t, nil
	case json.Number:
		return t.String(), nil
	case bool:
		if t {
			return "true", nil
		}
		return "false", nil
	}
	return "", bad("a value is neither text, number nor truth value")
}

// ToJSON writes an object as jCal.
func ToJSON(o *calendar.Object) []byte { return appendComponent(nil, o.Component) }

func appendComponent(b []byte, c *calendar.Component) []byte {
	b = append(b, '[')
	b = appendString(b, strings.ToLower(c.Name))
	b = append(b, ",["...)
	for i, p := range c.Props {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendProperty(b, p)
	}
	b = append(b, "],["...)
	for i, k := range c.Children {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendComponent(b, k)
	}
	return append(b, "]]"...)
}

func appendProperty(b []byte, p *calendar.Property) []byte {
	b = append(b, '[')
	b = appendString(b, strings.ToLower(p.Name()))
	b = append(b, ",{"...)
	first := true
	for _, q := range merged(p.Params()) {
		if q.Name == "VALUE" {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, strings.ToLower(q.Name))
		b = append(b, ':')
		if len(q.Values) == 1 {
			b = appendString(b, q.Values[0])
		} else {
			b = appendStrings(b, q.Values)
		}
	}
	typ, items := valuesOf(p)
	b = append(b, "},"...)
	b = appendString(b, typ)
	for _, v := range items {
		b = append(b, ',')
		switch {
		case v.rule != nil:
			b = appendRule(b, v.rule)
		case v.parts != nil && typ == "float":
			b = append(b, '[')
			for i, s := range v.parts {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendNumber(b, s)
			}
			b = append(b, ']')
		case v.parts != nil:
			b = appendStrings(b, v.parts)
		case typ == "integer" || typ == "float":
			b = appendNumber(b, v.text)
		case typ == "boolean" && strings.EqualFold(v.text, "true"):
			b = append(b, "true"...)
		case typ == "boolean" && strings.EqualFold(v.text, "false"):
			b = append(b, "false"...)
		default:
			b = appendString(b, v.text)
		}
	}
	return append(b, ']')
}

// merged joins parameters of one name: a JSON object has each name once.
func merged(params []calendar.Param) []calendar.Param {
	var out []calendar.Param
next:
	for _, p := range params {
		for i := range out {
			if out[i].Name == p.Name {
				out[i].Values = append(out[i].Values[:len(out[i].Values):len(out[i].Values)], p.Values...)
				continue next
			}
		}
		out = append(out, p)
	}
	return out
}

func appendRule(b []byte, rule []rulePart) []byte {
	b = append(b, '{')
	for i, p := range rule {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.name)
		b = append(b, ':')
		if len(p.values) > 1 {
			b = append(b, '[')
		}
		for j, v := range p.values {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendNumber(b, v)
		}
		if len(p.values) > 1 {
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

func appendStrings(b []byte, values []string) []byte {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}

// appendNumber writes a number as one where JSON writes it with the same
// characters, else as text.
func appendNumber(b []byte, s string) []byte {
	if isNumber(s) {
		return append(b, s...)
	}
	return appendString(b, s)
}

func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || len(s) > 40 {
		return false
	}
	return !point || isDigits(fraction)
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

const hex = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c == '\n':
				b = append(b, `\n`...)
			case c == '\t':
				b = append(b, `\t`...)
			case c < ' ' || c == 0x7f:
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, r) // what is no character becomes U+FFFD
		i += n
	}
	return append(b, '"')
}
