// Package calendar owns calendar objects: parsing iCalendar text (RFC 5545)
// without losing a byte, checking it against CalDAV's rules, editing it,
// recurrence, time zones, filters, expansion and free/busy.
//
// It is pure: no clock, no network, no randomness, no database. Every function
// that walks foreign input works under limits or a step budget and answers
// with an error that names the line or the rule; none panics or hangs.
package calendar

import (
	"slices"
	"strings"
)

// Object is one iCalendar object (RFC 5545 §3.4): a VCALENDAR with its
// properties and components.
type Object struct {
	*Component // the VCALENDAR itself
}

// Component is a BEGIN..END block. Name is upper case. Props stand before
// Children when a component is written, as RFC 5545 §3.6 has it.
type Component struct {
	Name     string
	Props    []*Property
	Children []*Component
	line     int32 // of BEGIN in the input, 0: not read
}

// Property is one content line (RFC 5545 §3.1). As long as nobody changes it,
// it is written with the very octets it was read from, folds included.
type Property struct {
	name   string // upper case
	params []Param
	value  string // unfolded, still escaped
	raw    string // octets as read, with the final line end; "" once changed
	line   int32  // in the input, 0: not read
}

// Param is a property parameter; Name is upper case, Values are decoded
// (quotes removed, RFC 6868 carets resolved).
type Param struct {
	Name   string
	Values []string
}

// NewObject returns an empty VCALENDAR with VERSION and PRODID.
func NewObject(prodID string) *Object {
	o := &Object{&Component{Name: "VCALENDAR"}}
	o.Add(NewProperty("VERSION", "2.0"))
	o.Add(NewProperty("PRODID", EscapeText(prodID)))
	return o
}

// NewComponent returns an empty component; name is upper-cased.
func NewComponent(name string) *Component { return &Component{Name: strings.ToUpper(name)} }

// NewProperty returns a property with a value that is already in its wire form
// (see EscapeText for TEXT values).
func NewProperty(name, value string, params ...Param) *Property {
	return &Property{name: strings.ToUpper(name), value: value, params: params}
}

// NewParam returns a parameter; name is upper-cased.
func NewParam(name string, values ...string) Param {
	return Param{Name: strings.ToUpper(name), Values: values}
}

// Name is the property's name in upper case.
func (p *Property) Name() string { return p.name }

// Value is the value as on the wire: unfolded, escapes kept.
func (p *Property) Value() string { return p.value }

// Text is the value as TEXT (RFC 5545 §3.3.11) with escapes resolved; commas
// are part of the text.
func (p *Property) Text() string { return UnescapeText(p.value) }

// Params returns the parameters in order. The slice must not be changed.
func (p *Property) Params() []Param { return p.params }

// Param is the first value of the named parameter, "" when absent. The name
// is compared without case.
func (p *Property) Param(name string) string {
	for i := range p.params {
		if strings.EqualFold(p.params[i].Name, name) && len(p.params[i].Values) > 0 {
			return p.params[i].Values[0]
		}
	}
	return ""
}

// ParamValues are all values of the named parameter (RFC 5545 §3.2: MEMBER and
// DELEGATED-TO are lists); nil when absent.
func (p *Property) ParamValues(name string) []string {
	for i := range p.params {
		if strings.EqualFold(p.params[i].Name, name) {
			return p.params[i].Values
		}
	}
	return nil
}

// SetValue replaces the value (wire form).
func (p *Property) SetValue(v string) {
	if p.value != v {
		p.value, p.raw = v, ""
	}
}

// SetParam sets the named parameter, in its place when it exists and else at
// the end; with no values it is removed. Repetitions of it are removed.
func (p *Property) SetParam(name string, values ...string) {
	is := func(q Param) bool { return strings.EqualFold(q.Name, name) }
	i := slices.IndexFunc(p.params, is)
	if i < 0 {
		if len(values) > 0 {
			p.params, p.raw = append(slices.Clip(p.params), NewParam(name, values...)), ""
		}
		return
	}
	if len(values) > 0 && slices.Equal(p.params[i].Values, values) && !slices.ContainsFunc(p.params[i+1:], is) {
		return
	}
	params := slices.Clone(p.params)
	if len(values) > 0 {
		params[i].Values = values
		i++
	}
	p.params, p.raw = append(params[:i], slices.DeleteFunc(params[i:], is)...), ""
}

// DelParam removes the named parameter.
func (p *Property) DelParam(name string) { p.SetParam(name) }

// Clone returns a deep copy that can be changed freely.
func (p *Property) Clone() *Property {
	q := *p
	q.params = slices.Clone(p.params)
	return &q
}

// Clone returns a deep copy.
func (c *Component) Clone() *Component {
	d := &Component{Name: c.Name, Props: make([]*Property, len(c.Props)), Children: make([]*Component, len(c.Children)), line: c.line}
	for i, p := range c.Props {
		d.Props[i] = p.Clone()
	}
	for i, k := range c.Children {
		d.Children[i] = k.Clone()
	}
	return d
}

// Clone returns a deep copy.
func (o *Object) Clone() *Object { return &Object{o.Component.Clone()} }

// Prop is the first property of that name (upper case), nil when absent.
func (c *Component) Prop(name string) *Property {
	for _, p := range c.Props {
		if p.name == name {
			return p
		}
	}
	return nil
}

// All returns every property of that name (upper case) in order.
func (c *Component) All(name string) []*Property {
	var out []*Property
	for _, p := range c.Props {
		if p.name == name {
			out = append(out, p)
		}
	}
	return out
}

// Value is the wire value of the first property of that name, "" when absent.
func (c *Component) Value(name string) string {
	if p := c.Prop(name); p != nil {
		return p.value
	}
	return ""
}

// Text is the unescaped value of the first property of that name.
func (c *Component) Text(name string) string { return UnescapeText(c.Value(name)) }

// Add appends a property.
func (c *Component) Add(p *Property) { c.Props = append(c.Props, p) }

// Set puts p in the place of the first property of its name and removes the
// others; it appends when there is none.
func (c *Component) Set(p *Property) {
	i := slices.IndexFunc(c.Props, func(q *Property) bool { return q.name == p.name })
	if i < 0 {
		c.Add(p)
		return
	}
	c.Props[i] = p
	rest := slices.DeleteFunc(c.Props[i+1:], func(q *Property) bool { return q.name == p.name })
	c.Props = c.Props[:i+1+len(rest)]
}

// SetText sets a single TEXT property.
func (c *Component) SetText(name, text string) {
	if p := c.Prop(name); p != nil {
		p.SetValue(EscapeText(text))
		return
	}
	c.Add(NewProperty(name, EscapeText(text)))
}

// SetValue sets the wire value of a single property, keeping its parameters.
func (c *Component) SetValue(name, value string) {
	if p := c.Prop(name); p != nil {
		p.SetValue(value)
		return
	}
	c.Add(NewProperty(name, value))
}

// Remove deletes all properties with one of these names (upper case).
func (c *Component) Remove(names ...string) {
	c.Props = slices.DeleteFunc(c.Props, func(p *Property) bool { return slices.Contains(names, p.name) })
}

// ChildrenNamed returns the direct children of that name (upper case).
func (c *Component) ChildrenNamed(name string) []*Component {
	var out []*Component
	for _, k := range c.Children {
		if k.Name == name {
			out = append(out, k)
		}
	}
	return out
}

// Kind is the name of the object's first component that is not a VTIMEZONE:
// VEVENT, VTODO, VJOURNAL, VFREEBUSY…; "" when there is none.
func (o *Object) Kind() string {
	for _, c := range o.Children {
		if c.Name != "VTIMEZONE" {
			return c.Name
		}
	}
	return ""
}

// Components are the children that are not VTIMEZONEs, in order: the master
// and the overrides of a calendar object resource (RFC 4791 §4.1).
func (o *Object) Components() []*Component {
	out := make([]*Component, 0, len(o.Children))
	for _, c := range o.Children {
		if c.Name != "VTIMEZONE" {
			out = append(out, c)
		}
	}
	return out
}

// Master is the component without RECURRENCE-ID, nil when the object holds
// overrides alone (RFC 6638 §3.2.6 gives attendees such objects).
func (o *Object) Master() *Component {
	for _, c := range o.Children {
		if c.Name != "VTIMEZONE" && c.Prop("RECURRENCE-ID") == nil {
			return c
		}
	}
	return nil
}

// UID is the object's UID, "" when absent.
func (o *Object) UID() string {
	for _, c := range o.Children {
		if c.Name != "VTIMEZONE" {
			return c.Text("UID")
		}
	}
	return ""
}

// Method is the METHOD in upper case, "" for stored objects.
func (o *Object) Method() string { return strings.ToUpper(strings.TrimSpace(o.Value("METHOD"))) }

// RemoveComponent removes that very component from the object.
func (o *Object) RemoveComponent(c *Component) {
	o.Children = slices.DeleteFunc(o.Children, func(k *Component) bool { return k == c })
}

// EscapeText writes a TEXT value (RFC 5545 §3.3.11). Control characters that
// the grammar forbids are dropped.
func EscapeText(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\\' || r == ';' || r == ',' || r == 0x7f }) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '\\' || ch == ';' || ch == ',':
			b.WriteByte('\\')
			b.WriteByte(ch)
		case ch == '\n':
			b.WriteString(`\n`)
		case ch == '\r':
			if i+1 >= len(s) || s[i+1] != '\n' {
				b.WriteString(`\n`)
			}
		case ch == '\t' || ch >= ' ' && ch != 0x7f:
			b.WriteByte(ch)
		}
	}
	return b.String()
}

// UnescapeText resolves the escapes of a TEXT value; an unknown escape keeps
// its character.
func UnescapeText(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n', 'N':
			b.WriteByte('\n')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
