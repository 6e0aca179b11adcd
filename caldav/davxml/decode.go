package davxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// Limits bound what Parse accepts. A zero field means its default.
type Limits struct {
	Bytes      int64 // size of the body; default 1 MiB
	Depth      int   // nesting of elements; default 32
	Elements   int   // elements in the document; default 100,000
	Attributes int   // attributes and declarations of one element; default 32
	Namespaces int   // namespace declarations in force at one place; default 128
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 1 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 32
	}
	if l.Elements <= 0 {
		l.Elements = 100_000
	}
	if l.Attributes <= 0 {
		l.Attributes = 32
	}
	if l.Namespaces <= 0 {
		l.Namespaces = 128
	}
	return l
}

// Parse reads one XML document and returns its root. An empty body (or one of
// white space) gives nil and no error: several methods give it a meaning, and
// every Parse* function of the package takes a nil root.
//
// Refused are: encodings that inUTF8 does not know, document type declarations, prefixes without
// a declaration, an attribute twice on one element, content after the root, and
// what is over the limits. The time is linear in the size of the body. An error
// of r is wrapped, so that the caller can tell a timeout or an
// *http.MaxBytesError from bad XML.
func Parse(r io.Reader, lim Limits) (*Node, error) {
	lim = lim.withDefaults()
	data, err := io.ReadAll(io.LimitReader(r, lim.Bytes+1))
	if err != nil {
		return nil, &Error{Kind: ErrMalformed, Msg: "reading the body", Err: err}
	}
	if int64(len(data)) > lim.Bytes {
		return nil, errorf(ErrTooLarge, "more than %d bytes", lim.Bytes)
	}
	if data, err = inUTF8(data); err != nil {
		return nil, err
	}
	if len(bytes.Trim(data, xmlSpace)) == 0 {
		return nil, nil
	}
	p := parser{lim: lim, dec: xml.NewDecoder(bytes.NewReader(data))}
	p.dec.CharsetReader = asConverted
	return p.document()
}

// parser builds the tree from raw tokens. encoding/xml checks the syntax of
// names, characters and references; the parser checks structure and namespaces.
type parser struct {
	lim      Limits
	dec      *xml.Decoder
	root     *Node
	open     []*Node   // path from the root to the element being read
	scope    []binding // declarations in force, innermost last
	run      []byte    // character data since the last tag
	elements int
	slab     []Node // nodes are taken from here, to allocate them in groups
}

func (p *parser) document() (*Node, error) {
	first := true
	for {
		tok, err := p.dec.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			var se *xml.SyntaxError
			if errors.As(err, &se) {
				return nil, errorf(ErrMalformed, "line %d: %s", se.Line, clip(se.Msg))
			}
			return nil, errorf(ErrMalformed, "%s", clip(err.Error()))
		}
		switch t := tok.(type) {
		case xml.StartElement:
			err = p.start(t)
		case xml.EndElement:
			err = p.end(t)
		case xml.CharData:
			err = p.text(t)
		case xml.ProcInst:
			// The XML declaration may only be the very first thing.
			if strings.EqualFold(t.Target, "xml") && !first {
				err = errorf(ErrMalformed, "XML declaration inside the document")
			}
		case xml.Directive:
			// A12: no document type declaration, so no entities of any kind.
			// RFC 4918 §20.6
			return nil, &Error{Kind: ErrDoctype, Cond: DNoExternalEntities, Msg: "the body must not have a DOCTYPE"}
		}
		if err != nil {
			return nil, err
		}
		first = false
	}
	if len(p.open) > 0 {
		return nil, errorf(ErrMalformed, "element %s is not closed", clip(p.open[len(p.open)-1].Local))
	}
	if p.root == nil {
		return nil, errorf(ErrMalformed, "no element in the document")
	}
	return p.root, nil
}

func (p *parser) start(t xml.StartElement) error {
	p.flush()
	if p.root != nil && len(p.open) == 0 {
		return errorf(ErrMalformed, "a second root element")
	}
	if len(p.open) >= p.lim.Depth {
		return errorf(ErrTooLarge, "elements nested deeper than %d", p.lim.Depth)
	}
	if p.elements++; p.elements > p.lim.Elements {
		return errorf(ErrTooLarge, "more than %d elements", p.lim.Elements)
	}
	if len(t.Attr) > p.lim.Attributes {
		return errorf(ErrTooLarge, "more than %d attributes on one element", p.lim.Attributes)
	}
	n := p.newNode()
	if err := p.declare(n, t.Attr); err != nil {
		return err
	}
	space, err := p.resolve(t.Name, true)
	if err != nil {
		return err
	}
	n.Name, n.prefix = Name{space, t.Name.Local}, t.Name.Space
	if plain := len(t.Attr) - len(n.decls); plain > 0 {
		n.Attrs = make([]Attr, 0, plain)
	}
	for _, a := range t.Attr {
		if isDeclaration(a.Name) {
			continue
		}
		space, err := p.resolve(a.Name, false)
		if err != nil {
			return err
		}
		name := Name{space, a.Name.Local}
		for i := range n.Attrs { // few: Limits.Attributes
			if n.Attrs[i].Name == name {
				return errorf(ErrMalformed, "attribute %s stands twice", clip(a.Name.Local))
			}
		}
		n.Attrs = append(n.Attrs, Attr{Name: name, Value: a.Value, prefix: a.Name.Space})
	}
	if p.root == nil {
		p.root = n
	} else {
		up := p.open[len(p.open)-1]
		n.parent = up
		up.Children = append(up.Children, n)
	}
	p.open = append(p.open, n)
	return nil
}

func (p *parser) end(t xml.EndElement) error {
	if len(p.open) == 0 {
		return errorf(ErrMalformed, "end tag without a start tag")
	}
	p.flush()
	n := p.open[len(p.open)-1]
	if n.Local != t.Name.Local || n.prefix != t.Name.Space {
		return errorf(ErrMalformed, "element %s is closed by %s", clip(n.Local), clip(t.Name.Local))
	}
	p.open = p.open[:len(p.open)-1]
	p.scope = p.scope[:len(p.scope)-len(n.decls)]
	return nil
}

func (p *parser) text(t xml.CharData) error {
	if len(p.open) == 0 {
		if len(bytes.Trim(t, xmlSpace)) > 0 {
			return errorf(ErrMalformed, "text outside the root element")
		}
		return nil
	}
	p.run = append(p.run, t...)
	return nil
}

// flush stores the character data collected since the last tag. Comments and
// CDATA sections cut a run into pieces, so it is put together here once, which
// keeps a body of a hundred thousand pieces linear.
func (p *parser) flush() {
	if len(p.run) == 0 {
		return
	}
	n := p.open[len(p.open)-1]
	if k := len(n.Children); k > 0 {
		n.Children[k-1].Tail = string(p.run)
	} else {
		n.Text = string(p.run)
	}
	p.run = p.run[:0]
}

// declare takes the namespace declarations among the attributes.
// Namespaces in XML 1.0 §3
func (p *parser) declare(n *Node, attrs []xml.Attr) error {
	for _, a := range attrs {
		if !isDeclaration(a.Name) {
			continue
		}
		d := binding{space: a.Value}
		if a.Name.Space == "xmlns" {
			if d.prefix = a.Name.Local; !isNCName(d.prefix) {
				return errorf(ErrMalformed, "bad prefix %s", clip(d.prefix))
			}
		}
		switch {
		case d.prefix == "xmlns" || d.space == nsXMLNS,
			(d.prefix == "xml") != (d.space == nsXML):
			return errorf(ErrMalformed, "a reserved prefix or namespace is declared")
		case d.prefix != "" && d.space == "":
			return errorf(ErrMalformed, "prefix %s is declared without a namespace", clip(d.prefix))
		}
		for _, e := range n.decls {
			if e.prefix == d.prefix {
				return errorf(ErrMalformed, "prefix %s is declared twice", clip(d.prefix))
			}
		}
		n.decls = append(n.decls, d)
	}
	p.scope = append(p.scope, n.decls...)
	if len(p.scope) > p.lim.Namespaces {
		return errorf(ErrTooLarge, "more than %d namespace declarations", p.lim.Namespaces)
	}
	return nil
}

func isDeclaration(n xml.Name) bool {
	return n.Space == "xmlns" || n.Space == "" && n.Local == "xmlns"
}

// resolve finds the namespace of a raw name, whose Space is a prefix. The default
// namespace holds for elements only.
// Namespaces in XML 1.0 §6.2
func (p *parser) resolve(n xml.Name, element bool) (string, error) {
	if !isNCName(n.Local) || n.Space != "" && !isNCName(n.Space) {
		return "", errorf(ErrMalformed, "bad name %s", clip(n.Local))
	}
	if n.Space == "" && !element {
		return "", nil
	}
	if n.Space == "xml" {
		return nsXML, nil
	}
	for i := len(p.scope) - 1; i >= 0; i-- {
		if p.scope[i].prefix == n.Space {
			return p.scope[i].space, nil
		}
	}
	if n.Space == "" {
		return "", nil
	}
	return "", errorf(ErrMalformed, "prefix %s is not declared", clip(n.Space))
}

func (p *parser) newNode() *Node {
	if len(p.slab) == 0 {
		// Groups grow with the document, so that a small one stays small.
		p.slab = make([]Node, min(max(8, p.elements), 256))
	}
	n := &p.slab[0]
	p.slab = p.slab[1:]
	return n
}
