package davxml

import (
	"iter"
	"strings"
)

// Node is an element of a parsed document. Comments and processing instructions
// are gone, CDATA sections have become text; everything else is there in its
// order, so that Fragment can write the element again.
type Node struct {
	Name
	Attrs    []Attr // without namespace declarations
	Text     string // character data before the first child
	Tail     string // character data between this element and its next sibling
	Children []*Node

	prefix string
	decls  []binding // namespace declarations made on this element
	parent *Node
}

// Attr is an attribute. An attribute without a prefix is in no namespace, so its
// Space is "".
type Attr struct {
	Name
	Value string

	prefix string
}

// binding is one namespace declaration; prefix "" is the default namespace.
type binding struct{ prefix, space string }

// Child returns the first child with the name, nil when there is none. A nil
// node has no children.
func (n *Node) Child(name Name) *Node {
	if n != nil {
		for _, c := range n.Children {
			if c.Name == name {
				return c
			}
		}
	}
	return nil
}

// All yields the children with the name, in order.
func (n *Node) All(name Name) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		if n == nil {
			return
		}
		for _, c := range n.Children {
			if c.Name == name && !yield(c) {
				return
			}
		}
	}
}

// Content is the element's own character data, untrimmed: its text without that
// of its children.
func (n *Node) Content() string {
	if n == nil {
		return ""
	}
	if len(n.Children) == 0 {
		return n.Text
	}
	var b strings.Builder
	b.WriteString(n.Text)
	for _, c := range n.Children {
		b.WriteString(c.Tail)
	}
	return b.String()
}

// Value is Content without white space around it.
func (n *Node) Value() string { return strings.Trim(n.Content(), xmlSpace) }

// xmlSpace holds the white space characters of XML 1.0 §2.3.
const xmlSpace = " \t\r\n"

// Attr returns the value of an attribute in no namespace, and whether it is there.
func (n *Node) Attr(local string) (string, bool) {
	if n != nil {
		for i := range n.Attrs {
			if n.Attrs[i].Space == "" && n.Attrs[i].Local == local {
				return n.Attrs[i].Value, true
			}
		}
	}
	return "", false
}

// Lang is the xml:lang in force on the element, its own or an ancestor's
// (RFC 4918 §4.3), "" when none.
func (n *Node) Lang() string {
	for ; n != nil; n = n.parent {
		for i := range n.Attrs {
			if n.Attrs[i].Space == nsXML && n.Attrs[i].Local == "lang" {
				return n.Attrs[i].Value
			}
		}
	}
	return ""
}

// Href returns the text of the first DAV:href child, "" when there is none.
func (n *Node) Href() string { return n.Child(DHref).Value() }

// Hrefs returns the texts of all DAV:href children in order.
func (n *Node) Hrefs() []string {
	var out []string
	for c := range n.All(DHref) {
		out = append(out, c.Value())
	}
	return out
}

// Names returns the names of the children in order, as in DAV:prop or
// DAV:resourcetype.
func (n *Node) Names() []Name {
	if n == nil {
		return nil
	}
	out := make([]Name, len(n.Children))
	for i, c := range n.Children {
		out[i] = c.Name
	}
	return out
}
