package calendar

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Limits bound what Parse accepts, so that the memory for one text is a small
// multiple of its size and time is linear in it. A field that is 0 or less
// stands for its default.
type Limits struct {
	Bytes      int // size of the text; default 10 MiB, the default of max-resource-size
	Line       int // one content line in octets after unfolding; default 4 MiB, a 3 MB picture inline in ATTACH
	Depth      int // nesting of components, the VCALENDAR being 1; default 10 (real data has 4)
	Components int // components in the text; default 50,000
	Properties int // properties in the text; default 250,000
	Params     int // parameter values of one property; default 1,000. The text has at most four times Properties
}

// DefaultLimits are the limits used for fields left at 0.
func DefaultLimits() Limits {
	return Limits{
		Bytes:      10 << 20,
		Line:       4 << 20,
		Depth:      10,
		Components: 50_000,
		Properties: 250_000,
		Params:     1_000,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ v, d *int }{
		{&l.Bytes, &d.Bytes}, {&l.Line, &d.Line}, {&l.Depth, &d.Depth},
		{&l.Components, &d.Components}, {&l.Properties, &d.Properties}, {&l.Params, &d.Params},
	} {
		if *f.v <= 0 {
			*f.v = *f.d
		}
	}
	return l
}

// Parse reads a text that is exactly one iCalendar object (RFC 5545 §3.4).
//
// It is strict where structure is at stake (names, colons, quotes, BEGIN and
// END, UTF-8, NUL, a carriage return on its own) and lenient where programs
// differ without harm: line ends may be LF, lines may be folded anywhere, also
// inside of a UTF-8 sequence, a byte order mark and empty lines are skipped,
// names may have any case and contain "_" and "." (group prefixes), a quote
// inside an unquoted parameter value is a plain character.
// It does not look at meaning: see Validate.
//
// The result keeps a copy of data. Errors are *Error with CodeInvalidData or,
// beyond lim.Bytes, CodeMaxSize.
func Parse(data []byte, lim Limits) (*Object, error) {
	objects, err := parse(data, lim, true)
	if err != nil {
		return nil, err
	}
	return objects[0], nil
}

// ParseAll reads a text of one or more iCalendar objects in a row, as import
// files have them (RFC 5545 §3.4, icalstream). The limits are for the whole.
func ParseAll(data []byte, lim Limits) ([]*Object, error) {
	return parse(data, lim, false)
}

// parser walks the text once. Properties, parameters and values are taken
// from slabs, so that an object costs few allocations.
type parser struct {
	text  string
	pos   int  // begin of the next physical line
	line  int  // its number
	valid bool // the whole text is UTF-8 as it stands
	lim   Limits

	props, comps, params int // counted

	stack   []*Component // open components
	pending []*Property  // of the innermost open component, not yet in its Props
	logical int          // estimate of content lines still to come

	propSlab  []Property
	ptrSlab   []*Property
	compSlab  []Component
	paramSlab []Param
	valueSlab []string
}

func parse(data []byte, lim Limits, single bool) ([]*Object, error) {
	lim = lim.withDefaults()
	text, logical, err := prepare(data, lim)
	if err != nil {
		return nil, err
	}
	p := &parser{text: text, line: 1, lim: lim, logical: logical, valid: utf8.ValidString(text)}
	var objects []*Object
	for {
		top, err := p.object()
		if err != nil {
			return nil, err
		}
		if top == nil {
			break
		}
		if single && len(objects) > 0 {
			return nil, fail(CodeInvalidData, int(top.line), "a second VCALENDAR follows the first")
		}
		objects = append(objects, &Object{top})
	}
	if len(objects) == 0 {
		return nil, fail(CodeInvalidData, 0, "no VCALENDAR in the text")
	}
	return objects, nil
}

const bom = "\ufeff"

// prepare checks what concerns the text as a whole and returns it with CRLF
// at every line end, together with the number of its content lines.
func prepare(data []byte, lim Limits) (text string, logical int, err error) {
	if len(data) > lim.Bytes {
		return "", 0, fail(CodeMaxSize, 0, "the calendar data has %d bytes, at most %d are accepted", len(data), lim.Bytes)
	}
	data = bytes.TrimPrefix(data, []byte(bom))
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return "", 0, fail(CodeInvalidData, 1+bytes.Count(data[:i], []byte{'\n'}), "a NUL byte in the text")
	}
	ends, proper := 0, 0
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
		ends++
		if n > 0 && data[i-2] == '\r' {
			proper++
		}
		if i < len(data) && data[i] != ' ' && data[i] != '\t' {
			logical++
		}
	}
	if ends != proper || bytes.Count(data, []byte{'\r'}) != proper {
		data, err = normalizeEnds(data, ends)
	}
	return string(data), logical + 1, err
}

// normalizeEnds writes every line end (any number of CR, then LF) as CRLF.
func normalizeEnds(data []byte, lines int) ([]byte, error) {
	out := make([]byte, 0, len(data)+lines+2)
	for no := 1; len(data) > 0; no++ {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		line = bytes.TrimRight(line, "\r")
		if bytes.IndexByte(line, '\r') >= 0 {
			return nil, fail(CodeInvalidData, no, "a carriage return without a line feed")
		}
		out = append(append(out, line...), '\r', '\n')
	}
	return out, nil
}

// object reads the next VCALENDAR; nil at the end of the text.
func (p *parser) object() (*Component, error) {
	for {
		raw, line, no, err := p.next()
		if err != nil {
			return nil, err
		}
		if raw == "" {
			if n := len(p.stack); n > 0 {
				c := p.stack[n-1]
				return nil, fail(CodeInvalidData, int(c.line), "%s is not closed: END:%s is missing", excerpt(c.Name), excerpt(c.Name))
			}
			return nil, nil
		}
		if line == "" {
			continue
		}
		if len(p.stack) == 0 {
			line = strings.TrimPrefix(line, bom) // files put one after the other
		}
		name, i := propertyName(line)
		switch {
		case i == 0:
			return nil, fail(CodeInvalidData, no, "the line does not begin with a property name: %q", excerpt(line))
		case i == len(line) || line[i] != ':' && line[i] != ';':
			return nil, fail(CodeInvalidData, no, "no colon after the property name: %q", excerpt(line))
		case name == "BEGIN" && line[i] == ':':
			if err := p.begin(line[i+1:], no); err != nil {
				return nil, err
			}
			continue
		case name == "END" && line[i] == ':':
			top, err := p.end(line[i+1:], no)
			if top != nil || err != nil {
				return top, err
			}
			continue
		case name == "BEGIN", name == "END": // RFC 5545 §3.6: no parameters
			return nil, fail(CodeInvalidData, no, "%s has parameters: %q", name, excerpt(line))
		case len(p.stack) == 0:
			return nil, fail(CodeInvalidData, no, "%s stands outside of a VCALENDAR", excerpt(name))
		}
		if p.props++; p.props > p.lim.Properties {
			return nil, fail(CodeInvalidData, no, "more than %d properties", p.lim.Properties)
		}
		if len(p.propSlab) == cap(p.propSlab) {
			p.propSlab = make([]Property, 0, min(max(p.logical, 4), 1024))
		}
		p.propSlab = append(p.propSlab, Property{name: name, raw: raw, line: int32(no)})
		q := &p.propSlab[len(p.propSlab)-1]
		p.pending = append(p.pending, q)
		if line[i] == ';' {
			if i, err = p.parameters(q, line, i); err != nil {
				return nil, err
			}
		}
		q.value = line[i+1:]
	}
}

// next returns the next content line: its octets, the unfolded text and the
// number of its first physical line. raw is "" at the end of the text, and
// for a line folded inside of a UTF-8 sequence it is made anew, so that what
// is written is always UTF-8.
func (p *parser) next() (raw, line string, no int, err error) {
	text, start := p.text, p.pos
	if start >= len(text) {
		return "", "", 0, nil
	}
	no = p.line
	p.logical--
	if c := text[start]; c == ' ' || c == '\t' {
		return "", "", 0, fail(CodeInvalidData, no, "a folded line without a line before it")
	}
	content, end := physical(text, start)
	p.line++
	size := content - start
	folds := 0
	for next := end; next < len(text) && (text[next] == ' ' || text[next] == '\t'); folds++ {
		content, end = physical(text, next)
		p.line++
		size += content - next - 1
		next = end
	}
	p.pos = end
	raw = text[start:end]
	if size > p.lim.Line {
		return "", "", 0, fail(CodeInvalidData, no, "a line of %d octets, at most %d are accepted", size, p.lim.Line)
	}
	if folds == 0 {
		line = text[start:content]
	} else if line, err = unfold(raw, size, no); err != nil {
		return "", "", 0, err
	}
	if p.valid {
		return raw, line, no, nil
	}
	if !utf8.ValidString(line) {
		return "", "", 0, fail(CodeInvalidData, no, "the text is not UTF-8: %q", excerpt(line))
	}
	if !utf8.ValidString(raw) {
		raw = string(appendFolded(make([]byte, 0, len(raw)+8), line)) + "\r\n"
	}
	return raw, line, no, nil
}

// physical gives the end of the line's text and the begin of the next line.
func physical(text string, start int) (content, end int) {
	i := strings.IndexByte(text[start:], '\n')
	if i < 0 {
		return len(text), len(text)
	}
	return start + i - 1, start + i + 1 // every line ends with CRLF here
}

// unfold removes line ends with the one white space that follows (RFC 5545
// §3.1); size is the length of the result.
func unfold(raw string, size, no int) (string, error) {
	var b strings.Builder
	b.Grow(size)
	for next := 0; next < len(raw); {
		content, end := physical(raw, next)
		if next == 0 {
			if content == 0 && size > 0 {
				return "", fail(CodeInvalidData, no, "a folded line after an empty line")
			}
			b.WriteString(raw[:content])
		} else {
			b.WriteString(raw[next+1 : content])
		}
		next = end
	}
	return b.String(), nil
}

// Classes of octets in names.
const (
	nameByte  = 1
	lowerByte = 2
)

var byteClass = func() (t [256]uint8) {
	for c := range 256 {
		switch b := byte(c); {
		case b >= 'a' && b <= 'z':
			t[c] = nameByte | lowerByte
		case isLetter(b), isDigit(b), b == '-', b == '_', b == '.':
			t[c] = nameByte
		}
	}
	return t
}()

// propertyName takes the name from the begin of s, in upper case, and gives
// the place of the octet behind it. A name in upper case costs nothing.
func propertyName(s string) (string, int) {
	i, class := 0, uint8(0)
	for ; i < len(s); i++ {
		c := byteClass[s[i]]
		if c == 0 {
			break
		}
		class |= c
	}
	if class&lowerByte != 0 {
		return strings.ToUpper(s[:i]), i
	}
	return s[:i], i
}

// parameters reads ";NAME=value,value" from line[i] on (RFC 5545 §3.2, values
// decoded by RFC 6868) and gives the place of the colon.
func (p *parser) parameters(q *Property, line string, i int) (int, error) {
	no := int(q.line)
	if p.paramSlab == nil {
		p.paramSlab, p.valueSlab = make([]Param, 0, 16), make([]string, 0, 16)
	}
	first, count := len(p.paramSlab), 0
	for line[i] == ';' {
		name, n := propertyName(line[i+1:])
		i += n + 1
		if n == 0 {
			return 0, fail(CodeInvalidData, no, "%s: a parameter without a name", excerpt(q.name))
		}
		if i == len(line) {
			return 0, fail(CodeInvalidData, no, "%s: no colon before the value", excerpt(q.name))
		}
		firstValue := len(p.valueSlab)
		switch line[i] {
		case ':', ';': // "RSVP" on its own, as vCalendar 1.0 wrote it
			p.valueSlab = append(p.valueSlab, "")
			count++
		case '=':
			for {
				v, next := paramValue(line, i+1)
				if next < 0 {
					return 0, fail(CodeInvalidData, no, "%s: the quote in %s is not closed", excerpt(q.name), excerpt(name))
				}
				if next == len(line) {
					return 0, fail(CodeInvalidData, no, "%s: no colon before the value", excerpt(q.name))
				}
				p.valueSlab = append(p.valueSlab, v)
				i = next
				if count++; count > p.lim.Params {
					return 0, fail(CodeInvalidData, no, "%s: more than %d parameters", excerpt(q.name), p.lim.Params)
				}
				if line[i] != ',' {
					break
				}
			}
		default:
			return 0, fail(CodeInvalidData, no, "%s: no equals sign after the parameter %s", excerpt(q.name), excerpt(name))
		}
		if count > p.lim.Params {
			return 0, fail(CodeInvalidData, no, "%s: more than %d parameters", excerpt(q.name), p.lim.Params)
		}
		last := len(p.valueSlab)
		p.paramSlab = append(p.paramSlab, Param{Name: name, Values: p.valueSlab[firstValue:last:last]})
	}
	if p.params += count; p.params > 4*p.lim.Properties {
		return 0, fail(CodeInvalidData, no, "more than %d parameters", 4*p.lim.Properties)
	}
	last := len(p.paramSlab)
	q.params = p.paramSlab[first:last:last]
	// A slab that is nearly full is left to its owners: growing would copy it.
	if cap(p.paramSlab)-last < 8 && last >= 32 {
		p.paramSlab = make([]Param, 0, 64)
	}
	if cap(p.valueSlab)-len(p.valueSlab) < 8 && len(p.valueSlab) >= 32 {
		p.valueSlab = make([]string, 0, 64)
	}
	return i, nil
}

// paramValue reads one value from line[i] on and gives the place of the octet
// behind it; -1 when a quote is not closed.
func paramValue(line string, i int) (string, int) {
	if i < len(line) && line[i] == '"' {
		n := strings.IndexByte(line[i+1:], '"')
		if n < 0 {
			return "", -1
		}
		v := line[i+1 : i+1+n]
		i += n + 2
		end := paramEnd(line, i)
		if end > i { // "a"b
			v += line[i:end]
		}
		return decodeCaret(v), end
	}
	end := paramEnd(line, i)
	return decodeCaret(line[i:end]), end
}

func paramEnd(line string, i int) int {
	for i < len(line) && line[i] != ':' && line[i] != ';' && line[i] != ',' {
		i++
	}
	return i
}

// RFC 6868 §3.2: ^n, ^^ and ^' are a line feed, a caret and a double quote;
// any other caret stands for itself.
func decodeCaret(s string) string {
	i := strings.IndexByte(s, '^')
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '^' && i+1 < len(s) {
			switch s[i+1] {
			case 'n':
				c = '\n'
				i++
			case '^':
				i++
			case '\'':
				c = '"'
				i++
			}
		}
		b = append(b, c)
	}
	return string(b)
}

// begin opens a component.
func (p *parser) begin(value string, no int) error {
	name, n := propertyName(strings.Trim(value, " \t"))
	if n == 0 || n != len(strings.Trim(value, " \t")) {
		return fail(CodeInvalidData, no, "BEGIN without a component name: %q", excerpt(value))
	}
	depth := len(p.stack)
	switch {
	case depth == 0 && name != "VCALENDAR":
		return fail(CodeInvalidData, no, "%s stands outside of a VCALENDAR", excerpt(name))
	case depth > 0 && name == "VCALENDAR":
		return fail(CodeInvalidData, no, "VCALENDAR inside of %s", excerpt(p.stack[depth-1].Name))
	case depth == p.lim.Depth:
		return fail(CodeInvalidData, no, "components are nested more than %d deep", p.lim.Depth)
	}
	if p.comps++; p.comps > p.lim.Components {
		return fail(CodeInvalidData, no, "more than %d components", p.lim.Components)
	}
	if len(p.compSlab) == cap(p.compSlab) {
		p.compSlab = make([]Component, 0, min(max(4, 2*cap(p.compSlab)), 256))
	}
	p.compSlab = append(p.compSlab, Component{Name: name, line: int32(no)})
	c := &p.compSlab[len(p.compSlab)-1]
	if depth > 0 {
		p.flush()
		parent := p.stack[depth-1]
		parent.Children = append(parent.Children, c)
	}
	p.stack = append(p.stack, c)
	return nil
}

// end closes the innermost component and returns it when it is the VCALENDAR.
func (p *parser) end(value string, no int) (*Component, error) {
	name := strings.Trim(value, " \t")
	depth := len(p.stack)
	if depth == 0 {
		return nil, fail(CodeInvalidData, no, "END:%s without BEGIN", excerpt(name))
	}
	c := p.stack[depth-1]
	if !strings.EqualFold(c.Name, name) {
		return nil, fail(CodeInvalidData, no, "END:%s where END:%s is expected (BEGIN in line %d)", excerpt(name), excerpt(c.Name), c.line)
	}
	p.flush()
	p.stack = p.stack[:depth-1]
	if depth == 1 {
		return c, nil
	}
	return nil, nil
}

// flush gives the pending properties to the innermost open component.
func (p *parser) flush() {
	n := len(p.pending)
	if n == 0 {
		return
	}
	c := p.stack[len(p.stack)-1]
	if c.Props == nil {
		used := len(p.ptrSlab)
		if cap(p.ptrSlab)-used < n {
			p.ptrSlab = make([]*Property, 0, max(n, min(p.logical+n, 1024)))
			used = 0
		}
		p.ptrSlab = append(p.ptrSlab, p.pending...)
		c.Props = p.ptrSlab[used : used+n : used+n]
	} else { // properties after a child
		c.Props = append(c.Props, p.pending...)
	}
	p.pending = p.pending[:0]
}

// excerpt shortens foreign text for an error message.
func excerpt(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
