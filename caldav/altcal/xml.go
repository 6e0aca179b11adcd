package altcal

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
)

// namespace of xCal (RFC 6321 §3).
const namespace = "urn:ietf:params:xml:ns:icalendar-2.0"

func xc(local string) davxml.Name { return davxml.Name{Space: namespace, Local: local} }

// FromXML reads an xCal document (RFC 6321 §3): icalendar with one vcalendar.
// Elements of other namespaces among the properties become XML properties (§4.2).
func FromXML(data []byte, lim calendar.Limits) (*calendar.Object, error) {
	if err := tooLarge(data, lim); err != nil {
		return nil, err
	}
	root, err := davxml.Parse(bytes.NewReader(data), davxml.Limits{Bytes: int64(len(data)) + 1, Depth: 4*maxDepth + 8, Elements: maxElements})
	if err != nil {
		return nil, bad("no XML: %v", err)
	}
	if root == nil || root.Name != xc("icalendar") || len(root.Children) != 1 || root.Children[0].Name != xc("vcalendar") {
		return nil, bad("an xCal document is icalendar with one vcalendar, in the namespace %s", namespace)
	}
	c, err := componentOf(root.Children[0], 1)
	if err != nil {
		return nil, err
	}
	return finish(c, lim)
}

// componentOf reads an element with properties and components (RFC 6321 §3.2).
func componentOf(n *davxml.Node, depth int) (*calendar.Component, error) {
	if depth > maxDepth {
		return nil, bad("components are nested more than %d deep", maxDepth)
	}
	s, err := name(nameOf(n.Local))
	if err != nil {
		return nil, err
	}
	c := calendar.NewComponent(s)
	for _, part := range n.Children {
		switch part.Name {
		case xc("properties"):
			for _, k := range part.Children {
				p, err := propertyOf(k)
				if err != nil {
					return nil, err
				}
				c.Add(p)
			}
		case xc("components"):
			for _, k := range part.Children {
				if k.Space != namespace {
					return nil, bad("the component %s is of another namespace", clip(k.Local))
				}
				kid, err := componentOf(k, depth+1)
				if err != nil {
					return nil, err
				}
				c.Children = append(c.Children, kid)
			}
		default:
			return nil, bad("%s stands where properties and components are expected", clip(part.Local))
		}
	}
	return c, nil
}

// propertyOf reads the element of a property (RFC 6321 §3.4): parameters, then
// values of one type.
func propertyOf(n *davxml.Node) (*calendar.Property, error) {
	if n.Space != namespace { // RFC 6321 §4.2
		return property("XML", nil, "text", []item{{text: n.Fragment()}})
	}
	var params []calendar.Param
	values := n.Children
	if len(values) > 0 && values[0].Name == xc("parameters") {
		for _, q := range values[0].Children {
			p, err := paramOf(q)
			if err != nil {
				return nil, err
			}
			params = append(params, p)
		}
		values = values[1:]
	}
	s := nameOf(n.Local)
	switch s {
	case "geo": // RFC 6321 §3.4.1.2
		return property(s, params, "float", []item{{parts: []string{childText(n, "latitude"), childText(n, "longitude")}}})
	case "request-status": // RFC 6321 §3.4.1.3
		parts := []string{childText(n, "code"), childText(n, "description")}
		if d := n.Child(xc("data")); d != nil {
			parts = append(parts, d.Content())
		}
		return property(s, params, "text", []item{{parts: parts}})
	}
	if len(values) == 0 {
		return nil, bad("%q has no value", clip(s))
	}
	typ := values[0].Local
	var items []item
	for _, v := range values {
		if v.Space != namespace || v.Local != typ {
			return nil, bad("the values of %q are of several types", clip(s))
		}
		it, err := valueOf(v)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return property(s, params, nameOf(typ), items)
}

func paramOf(n *davxml.Node) (calendar.Param, error) {
	s, err := name(nameOf(n.Local))
	if err != nil || n.Space != namespace {
		return calendar.Param{}, bad("%q is no parameter", clip(n.Local))
	}
	var values []string
	for _, v := range n.Children {
		if len(v.Children) > 0 || v.Space != namespace {
			return calendar.Param{}, bad("the parameter %s has more than simple values", s)
		}
		s := v.Text
		if v.Local == "boolean" {
			s = strings.ToUpper(s)
		}
		values = append(values, s)
	}
	if len(values) == 0 {
		values = []string{n.Text}
	}
	return calendar.NewParam(s, values...), nil
}

// valueOf reads the element of a value (RFC 6321 §3.3).
func valueOf(n *davxml.Node) (item, error) {
	switch {
	case n.Local == "period":
		end := n.Child(xc("end"))
		if end == nil {
			end = n.Child(xc("duration"))
		}
		if n.Child(xc("start")) == nil || end == nil {
			return item{text: n.Value()}, nil
		}
		return item{parts: []string{childText(n, "start"), end.Value()}}, nil
	case n.Local == "recur" && len(n.Children) > 0:
		v := item{rule: []rulePart{}}
		for _, k := range n.Children {
			s, part := k.Value(), strings.ToLower(nameOf(k.Local))
			if _, err := name(part); err != nil || k.Space != namespace || len(k.Children) > 0 || s == "" || strings.ContainsAny(s, ";=\r\n") {
				return item{}, bad("the part %q of a rule is no simple value", clip(k.Local))
			}
			if i := len(v.rule) - 1; i >= 0 && v.rule[i].name == part {
				v.rule[i].values = append(v.rule[i].values, s)
			} else {
				v.rule = append(v.rule, rulePart{name: part, values: []string{s}})
			}
		}
		return v, nil
	case len(n.Children) > 0:
		return item{}, bad("the value %s has elements inside", clip(n.Local))
	case n.Local == "text" || n.Local == unknownType:
		return item{text: n.Text}, nil // white space counts
	}
	return item{text: n.Value()}, nil
}

func childText(n *davxml.Node, local string) string { return n.Child(xc(local)).Content() }

// nameOf undoes elementName.
func nameOf(local string) string { return strings.TrimPrefix(local, "_") }

// elementName is the element of a name: names in iCalendar may begin with what
// XML does not let an element begin with. "_" begins none in iCalendar.
func elementName(s string) string {
	s = strings.ToLower(s)
	if s == "" || s[0]-'a' >= 26 || strings.HasPrefix(s, "xml") && len(s) > 3 {
		return "_" + s
	}
	return s
}

// ToXML writes an object as xCal.
func ToXML(o *calendar.Object) []byte {
	w := xmlWriter{b: []byte(`<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<icalendar xmlns="` + namespace + `">`)}
	w.component(o.Component)
	return append(w.b, "</icalendar>\n"...)
}

type xmlWriter struct{ b []byte }

func (w *xmlWriter) tag(s string)    { w.b = append(append(append(w.b, '<'), s...), '>') }
func (w *xmlWriter) endTag(s string) { w.b = append(append(append(w.b, '<', '/'), s...), '>') }

func (w *xmlWriter) element(tag, text string) {
	w.tag(tag)
	w.text(text)
	w.endTag(tag)
}

func (w *xmlWriter) component(c *calendar.Component) {
	n := elementName(c.Name)
	w.tag(n)
	if len(c.Props) > 0 {
		w.tag("properties")
		for _, p := range c.Props {
			w.property(p)
		}
		w.endTag("properties")
	}
	if len(c.Children) > 0 {
		w.tag("components")
		for _, k := range c.Children {
			w.component(k)
		}
		w.endTag("components")
	}
	w.endTag(n)
}

// paramTypes are the types of parameter values that are not text (RFC 6321 §3.5).
var paramTypes = map[string]string{"ALTREP": "uri", "DIR": "uri", "SCHEMA": "uri", "DELEGATED-FROM": "cal-address", "DELEGATED-TO": "cal-address", "MEMBER": "cal-address", "SENT-BY": "cal-address", "RSVP": "boolean"}

func (w *xmlWriter) property(p *calendar.Property) {
	typ, items := valuesOf(p)
	if p.Name() == "XML" && len(items) == 1 { // RFC 6321 §4.2
		if n, err := davxml.Parse(strings.NewReader(items[0].text), davxml.Limits{}); err == nil && n != nil && n.Space != namespace && n.Space != "" {
			w.b = append(w.b, n.Fragment()...)
			return
		}
	}
	n := elementName(p.Name())
	w.tag(n)
	open := false
	for _, q := range merged(p.Params()) {
		if q.Name == "VALUE" {
			continue
		}
		if !open {
			open = true
			w.tag("parameters")
		}
		w.param(q)
	}
	if open {
		w.endTag("parameters")
	}
	for _, v := range items {
		w.value(p.Name(), typ, v)
	}
	w.endTag(n)
}

func (w *xmlWriter) param(q calendar.Param) {
	n, typ := elementName(q.Name), paramTypes[q.Name]
	if typ == "" {
		typ = "text"
	}
	w.tag(n)
	for _, v := range q.Values {
		if typ == "boolean" {
			v = strings.ToLower(v)
		}
		w.element(typ, v)
	}
	if len(q.Values) == 0 {
		w.element(typ, "")
	}
	w.endTag(n)
}

func (w *xmlWriter) value(property, typ string, v item) {
	switch {
	case property == "GEO" && len(v.parts) == 2:
		w.element("latitude", v.parts[0])
		w.element("longitude", v.parts[1])
		return
	case property == "REQUEST-STATUS" && typ == "text" && v.parts != nil:
		for i, tag := range []string{"code", "description", "data"} {
			if i < len(v.parts) {
				w.element(tag, v.parts[i])
			}
		}
		return
	}
	n := elementName(typ)
	w.tag(n)
	switch {
	case v.rule != nil:
		for _, p := range v.rule {
			for _, s := range p.values {
				w.element(elementName(p.name), s)
			}
		}
	case typ == "period" && len(v.parts) == 2:
		w.element("start", v.parts[0])
		end := "end"
		if strings.ContainsAny(v.parts[1], "Pp") {
			end = "duration"
		}
		w.element(end, v.parts[1])
	case typ == "boolean":
		w.text(strings.ToLower(v.text))
	default:
		w.text(v.text)
	}
	w.endTag(n)
}

// text escapes; what XML has no character for (XML 1.0 §2.2) becomes U+FFFD.
func (w *xmlWriter) text(s string) {
	for _, r := range s {
		switch {
		case r == '&':
			w.b = append(w.b, "&amp;"...)
		case r == '<':
			w.b = append(w.b, "&lt;"...)
		case r == '>':
			w.b = append(w.b, "&gt;"...)
		case r == '\r':
			w.b = append(w.b, "&#13;"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff:
			w.b = append(w.b, "\ufffd"...)
		default:
			w.b = utf8.AppendRune(w.b, r)
		}
	}
}
