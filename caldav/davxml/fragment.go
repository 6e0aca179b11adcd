package davxml

import "strings"

// Fragment writes the element as a fragment that stands for itself: every
// namespace it uses is declared inside, prefixes, order and attributes are those
// it was read with, and an xml:lang in force outside is carried over
// (RFC 4918 §4.3). It is what is stored of a dead property, and what
// Builder.Raw takes. Prefixes that only seem to be used in text or attribute
// values, as in a QName, are declared too.
//
// Parsing the fragment gives an equal tree; writing that again gives the same text.
func (n *Node) Fragment() string {
	f := fragmentWriter{}
	return string(f.top(nil, n))
}

// InnerXML writes the element's content: its text, and each child as a Fragment.
// Attributes of the element itself are not part of it.
func (n *Node) InnerXML() string {
	out := appendText(nil, n.Text)
	for _, c := range n.Children {
		f := fragmentWriter{}
		out = f.top(out, c)
		out = appendText(out, c.Tail)
	}
	return string(out)
}

// Equal tells whether two elements mean the same: names, attributes in any order,
// content, but not prefixes.
func (n *Node) Equal(m *Node) bool {
	if n == nil || m == nil {
		return n == m
	}
	if n.Name != m.Name || n.Text != m.Text || len(n.Attrs) != len(m.Attrs) || len(n.Children) != len(m.Children) {
		return false
	}
	for _, a := range n.Attrs {
		found := false
		for _, b := range m.Attrs {
			found = found || a.Name == b.Name && a.Value == b.Value
		}
		if !found {
			return false
		}
	}
	for i, c := range n.Children {
		if c.Tail != m.Children[i].Tail || !c.Equal(m.Children[i]) {
			return false
		}
	}
	return true
}

// fragmentWriter keeps the namespace declarations of the text written so far.
type fragmentWriter struct {
	scope []binding
}

func (f *fragmentWriter) top(dst []byte, n *Node) []byte {
	return f.element(dst, n, inherited(n), n.Lang())
}

// element writes n. outer holds declarations to make here besides n's own; lang,
// when not "", is the language to state if n does not.
func (f *fragmentWriter) element(dst []byte, n *Node, outer []binding, lang string) []byte {
	mark := len(f.scope)
	dst = append(dst, '<')
	dst = appendQName(dst, n.prefix, n.Local)
	for _, d := range outer {
		dst = f.declare(dst, d)
	}
	for _, d := range n.decls {
		dst = f.declare(dst, d)
	}
	// Only a node that was not read by Parse can lack a declaration here.
	if !f.bound(n.prefix, n.Space) {
		dst = f.declare(dst, binding{n.prefix, n.Space})
	}
	for i := range n.Attrs {
		a := &n.Attrs[i]
		prefix := a.prefix
		if a.Space != "" && !f.bound(prefix, a.Space) {
			if a.Space == nsXML {
				prefix = "xml"
			} else {
				prefix = "a" + string(rune('a'+i%26))
				for f.taken(prefix, mark) {
					prefix += "a"
				}
				dst = f.declare(dst, binding{prefix, a.Space})
			}
		}
		if a.Space == nsXML && a.Local == "lang" {
			lang = ""
		}
		dst = append(dst, ' ')
		dst = appendQName(dst, prefix, a.Local)
		dst = append(dst, '=', '"')
		dst = appendAttr(dst, a.Value)
		dst = append(dst, '"')
	}
	if lang != "" {
		dst = append(dst, ` xml:lang="`...)
		dst = appendAttr(dst, lang)
		dst = append(dst, '"')
	}
	if n.Text == "" && len(n.Children) == 0 {
		f.scope = f.scope[:mark]
		return append(dst, '/', '>')
	}
	dst = append(dst, '>')
	dst = appendText(dst, n.Text)
	for _, c := range n.Children {
		dst = f.element(dst, c, nil, "")
		dst = appendText(dst, c.Tail)
	}
	f.scope = f.scope[:mark]
	dst = append(dst, '<', '/')
	dst = appendQName(dst, n.prefix, n.Local)
	return append(dst, '>')
}

func (f *fragmentWriter) declare(dst []byte, d binding) []byte {
	f.scope = append(f.scope, d)
	dst = append(dst, " xmlns"...)
	if d.prefix != "" {
		dst = append(dst, ':')
		dst = append(dst, d.prefix...)
	}
	dst = append(dst, '=', '"')
	dst = appendAttr(dst, d.space)
	return append(dst, '"')
}

// bound tells whether prefix stands for space at this place of the text.
func (f *fragmentWriter) bound(prefix, space string) bool {
	if prefix == "xml" {
		return space == nsXML
	}
	for i := len(f.scope) - 1; i >= 0; i-- {
		if f.scope[i].prefix == prefix {
			return f.scope[i].space == space
		}
	}
	return prefix == "" && space == ""
}

// taken tells whether prefix is declared on the element whose declarations begin
// at mark.
func (f *fragmentWriter) taken(prefix string, mark int) bool {
	for _, d := range f.scope[mark:] {
		if d.prefix == prefix {
			return true
		}
	}
	return false
}

func appendQName(dst []byte, prefix, local string) []byte {
	if prefix != "" {
		dst = append(dst, prefix...)
		dst = append(dst, ':')
	}
	return append(dst, local...)
}

// inherited returns the declarations that n uses and that are made outside of
// it, in the order of their first use.
func inherited(n *Node) []binding {
	outside := map[string]string{}
	for p := n.parent; p != nil; p = p.parent {
		for _, d := range p.decls {
			if _, nearer := outside[d.prefix]; !nearer {
				outside[d.prefix] = d.space
			}
		}
	}
	for _, d := range n.decls {
		delete(outside, d.prefix)
	}
	if len(outside) == 0 {
		return nil
	}
	var out []binding
	use := func(prefix string) {
		if space, ok := outside[prefix]; ok {
			// xmlns="" outside of everything says nothing.
			if prefix != "" || space != "" {
				out = append(out, binding{prefix, space})
			}
			delete(outside, prefix)
		}
	}
	var walk func(*Node)
	walk = func(n *Node) {
		if len(outside) == 0 {
			return
		}
		use(n.prefix)
		inText(n.Text, use)
		for _, a := range n.Attrs {
			if a.prefix != "" {
				use(a.prefix)
			}
			inText(a.Value, use)
		}
		for _, c := range n.Children {
			walk(c)
			inText(c.Tail, use)
		}
	}
	walk(n)
	return out
}

// inText calls use for whatever stands before a colon and could be a prefix.
func inText(s string, use func(string)) {
	for {
		colon := strings.IndexByte(s, ':')
		if colon < 0 {
			return
		}
		start := colon
		for start > 0 && isNameByte(s[start-1]) {
			start--
		}
		if start < colon {
			use(s[start:colon])
		}
		s = s[colon+1:]
	}
}

// isNameByte tells whether c can stand inside a name.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c >= 0x80
}
