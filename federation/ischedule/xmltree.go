package ischedule

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Bounds of the documents that peers send; real ones are below 4 KiB except
// for free-busy answers.
const (
	maxXMLDepth    = 12
	maxXMLElements = 50_000
	maxXMLAttrs    = 16
)

// element is a parsed XML element. text is its own character data, CDATA
// included, without that of its children.
type element struct {
	name  xml.Name
	attrs []xml.Attr
	text  string
	kids  []*element
}

// parseXML reads a whole document of at most limit octets. A document type
// declaration, content after the root and anything deeper or larger than the
// bounds is an error.
func parseXML(body []byte, limit int) (*element, error) {
	if len(body) > limit {
		return nil, fmt.Errorf("%w: %d octets, limit %d", ErrTooLarge, len(body), limit)
	}
	dec := xml.NewDecoder(bytes.NewReader(body))
	dec.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(charset, "us-ascii") {
			return in, nil
		}
		return nil, fmt.Errorf("%w: charset %q", ErrXML, charset)
	}
	type open struct {
		el   *element
		text strings.Builder
	}
	var (
		root  *element
		stack []*open
		count int
	)
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrXML, err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			return nil, ErrDTD
		case xml.StartElement:
			if count++; count > maxXMLElements || len(stack) >= maxXMLDepth || len(t.Attr) > maxXMLAttrs {
				return nil, fmt.Errorf("%w: too many or too deeply nested elements", ErrTooLarge)
			}
			if root != nil && len(stack) == 0 {
				return nil, fmt.Errorf("%w: content after the root element", ErrXML)
			}
			el := &element{name: t.Name, attrs: t.Attr}
			if root == nil {
				root = el
			} else {
				parent := stack[len(stack)-1].el
				parent.kids = append(parent.kids, el)
			}
			stack = append(stack, &open{el: el})
		case xml.EndElement:
			top := stack[len(stack)-1]
			top.el.text = top.text.String()
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text.Write(t)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, fmt.Errorf("%w: text outside the root element", ErrXML)
			}
		}
	}
	if root == nil || len(stack) > 0 {
		return nil, fmt.Errorf("%w: no root element", ErrXML)
	}
	return root, nil
}

// is tells whether the element has that name in the iSchedule namespace.
func (e *element) is(local string) bool {
	return e.name.Space == Namespace && e.name.Local == local
}

// child is the first child of that name in the iSchedule namespace, or nil.
func (e *element) child(local string) *element {
	for _, k := range e.kids {
		if k.is(local) {
			return k
		}
	}
	return nil
}

// value is the trimmed text.
func (e *element) value() string {
	if e == nil {
		return ""
	}
	return strings.TrimSpace(e.text)
}

// attr is the value of an attribute without namespace.
func (e *element) attr(local string) string {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// xmlWriter appends a document in the iSchedule namespace as default
// namespace.
type xmlWriter struct{ bytes.Buffer }

func newDocument(root string) *xmlWriter {
	w := &xmlWriter{}
	w.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n<" + root + ` xmlns="` + Namespace + `">`)
	return w
}

// text writes an element with escaped text.
func (w *xmlWriter) text(name, value string) {
	w.WriteString("<" + name + ">")
	w.escape(value)
	w.WriteString("</" + name + ">")
}

// escape writes character data; what XML 1.0 cannot carry becomes U+FFFD. A
// carriage return stays a character reference, since a parser would drop it; a
// line feed and a tab may stand as they are.
func (w *xmlWriter) escape(s string) {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s))
	plainSpace.WriteString(&w.Buffer, b.String())
}

var plainSpace = strings.NewReplacer("&#xA;", "\n", "&#x9;", "\t")

// open and close write tags; attrs are name, value pairs.
func (w *xmlWriter) open(name string, attrs ...string)  { w.tag(name, ">", attrs) }
func (w *xmlWriter) empty(name string, attrs ...string) { w.tag(name, "/>", attrs) }
func (w *xmlWriter) close(name string)                  { w.WriteString("</" + name + ">") }

func (w *xmlWriter) tag(name, end string, attrs []string) {
	w.WriteString("<" + name)
	for i := 0; i+1 < len(attrs); i += 2 {
		w.WriteString(" " + attrs[i] + `="`)
		w.escape(attrs[i+1])
		w.WriteString(`"`)
	}
	w.WriteString(end)
}
