package davxml

import (
	"errors"
	"strconv"
	"time"
)

// Mistakes in the use of a Builder or Multistatus; the document is not usable.
var (
	ErrUnbalanced = errors.New("davxml: End without a Start of one's own")
	ErrAttrPlace  = errors.New("davxml: Attr not directly after Start")
	ErrName       = errors.New("davxml: not an XML name")
	ErrClosed     = errors.New("davxml: use of a response after its End")
)

// Builder appends XML to a buffer: a tag at a time, escaped, with the fixed
// prefixes of this package. It remembers the open elements, so an end tag cannot
// carry a wrong name, and whoever hands out a Builder closes what the user left
// open. After its first mistake a Builder keeps the error and writes nothing more.
//
// A namespace without a fixed prefix, or one not declared at the root, is declared
// on each element that is in it.
type Builder struct {
	buf   []byte
	stack []Name
	floor int    // elements below this height belong to somebody else
	roots nsMask // what the root declares
	open  bool   // the last start tag still lacks its ">"
	err   error
}

const xmlDecl = `<?xml version="1.0" encoding="utf-8"?>` + "\n"

// begin starts a document with its root element.
func (b *Builder) begin(root Name, declare nsMask) {
	_, own := prefixOf(root.Space)
	b.roots = declare | own | maskXML
	b.buf = append(b.buf, xmlDecl...)
	b.Start(root)
	for _, ns := range fixedNamespaces {
		// The root's own namespace as well: Start counts it as declared.
		if b.roots&ns.bit != 0 {
			prefix, _ := prefixOf(ns.space)
			b.buf = appendDeclaration(b.buf, prefix, ns.space)
		}
	}
}

// Err is the first mistake, or nil.
func (b *Builder) Err() error { return b.err }

func (b *Builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Start opens an element.
func (b *Builder) Start(n Name) {
	if b.err != nil {
		return
	}
	if !n.writable() {
		b.fail(ErrName)
		return
	}
	b.closeTag()
	b.buf = b.appendStart(b.buf, n)
	b.stack = append(b.stack, n)
	b.open = true
}

// appendStart appends a start tag without its ">", with the declaration that the
// root does not make.
func (b *Builder) appendStart(dst []byte, n Name) []byte {
	dst = append(dst, '<')
	dst = appendName(dst, n)
	if prefix, bit := prefixOf(n.Space); prefix != "" && b.roots&bit == 0 {
		dst = appendDeclaration(dst, prefix, n.Space)
	}
	return dst
}

// End closes the innermost element.
func (b *Builder) End() {
	if b.err != nil {
		return
	}
	if len(b.stack) <= b.floor {
		b.fail(ErrUnbalanced)
		return
	}
	b.pop()
}

// pop is End without the guard.
func (b *Builder) pop() {
	n := b.stack[len(b.stack)-1]
	b.stack = b.stack[:len(b.stack)-1]
	if b.open {
		b.open = false
		b.buf = append(b.buf, '/', '>')
		return
	}
	b.buf = append(b.buf, '<', '/')
	b.buf = appendName(b.buf, n)
	b.buf = append(b.buf, '>')
}

// closeTo closes elements until height of them are open.
func (b *Builder) closeTo(height int) {
	for len(b.stack) > height && b.err == nil {
		b.pop()
	}
}

func (b *Builder) closeTag() {
	if b.open {
		b.open = false
		b.buf = append(b.buf, '>')
	}
}

// Attr writes an attribute in no namespace on the element just started, which may
// be the property that Response.Prop began. Each name may be given once.
func (b *Builder) Attr(local, value string) {
	switch {
	case b.err != nil:
		return
	case !b.open:
		b.fail(ErrAttrPlace)
		return
	case !isNCName(local) || local == "xmlns":
		b.fail(ErrName)
		return
	}
	b.buf = append(b.buf, ' ')
	b.buf = append(b.buf, local...)
	b.buf = append(b.buf, '=', '"')
	b.buf = appendAttr(b.buf, value)
	b.buf = append(b.buf, '"')
}

func appendDeclaration(dst []byte, prefix, space string) []byte {
	dst = append(dst, " xmlns:"...)
	dst = append(dst, prefix...)
	dst = append(dst, '=', '"')
	dst = appendAttr(dst, space)
	return append(dst, '"')
}

// Text writes character data, escaped.
func (b *Builder) Text(s string) {
	if b.err == nil && s != "" {
		b.closeTag()
		b.buf = appendText(b.buf, s)
	}
}

// TextBytes is Text for octets; p is not kept.
func (b *Builder) TextBytes(p []byte) {
	if b.err == nil && len(p) > 0 {
		b.closeTag()
		b.buf = appendText(b.buf, p)
	}
}

// Int writes a number as text.
func (b *Builder) Int(n int64) {
	if b.err == nil {
		b.closeTag()
		b.buf = strconv.AppendInt(b.buf, n, 10)
	}
}

// HTTPDate writes t as an RFC 9110 §5.6.7 date, for DAV:getlastmodified.
func (b *Builder) HTTPDate(t time.Time) {
	if b.err == nil {
		b.closeTag()
		b.buf = t.UTC().AppendFormat(b.buf, "Mon, 02 Jan 2006 15:04:05 GMT")
	}
}

// Timestamp writes t in UTC as RFC 3339 has it, for DAV:creationdate.
func (b *Builder) Timestamp(t time.Time) {
	if b.err == nil {
		b.closeTag()
		b.buf = t.UTC().AppendFormat(b.buf, "2006-01-02T15:04:05Z")
	}
}

// Raw writes a fragment as it is. It must be well-formed content that declares
// what it uses: what Node.Fragment or Node.InnerXML gave, nothing else.
func (b *Builder) Raw(fragment string) {
	if b.err == nil && fragment != "" {
		b.closeTag()
		b.buf = append(b.buf, fragment...)
	}
}

// Empty writes an element without content.
func (b *Builder) Empty(n Name) {
	b.Start(n)
	b.End()
}

// Empties writes one empty element per name, as in DAV:resourcetype.
func (b *Builder) Empties(names ...Name) {
	for _, n := range names {
		b.Empty(n)
	}
}

// Element writes an element that holds only text.
func (b *Builder) Element(n Name, text string) {
	b.Start(n)
	b.Text(text)
	b.End()
}

// Href writes a DAV:href element. The caller has percent-encoded the href.
func (b *Builder) Href(href string) { b.Element(DHref, href) }

// HrefList writes one DAV:href per element.
func (b *Builder) HrefList(hrefs []string) {
	for _, h := range hrefs {
		b.Href(h)
	}
}

// StatusResponse writes a DAV:response that has a status and no properties
// (RFC 4918 §14.24). cond and desc may be zero. It is for the expand-property
// report, whose responses stand inside a property; elsewhere see
// Multistatus.Status.
func (b *Builder) StatusResponse(href string, status int, cond Name, desc string) {
	b.Start(DResponse)
	b.Href(href)
	b.status(status)
	b.errorAndText(cond, desc)
	b.End()
}

// status writes a DAV:status element.
func (b *Builder) status(code int) {
	b.Start(DStatus)
	if b.err == nil {
		b.closeTag()
		b.buf = appendStatus(b.buf, code)
	}
	b.End()
}

// errorAndText writes the optional tail of a response or propstat.
func (b *Builder) errorAndText(cond Name, desc string) {
	if !cond.IsZero() {
		b.Start(DError)
		b.Empty(cond)
		b.End()
	}
	if desc != "" {
		b.Element(DResponseDescription, desc)
	}
}

func appendName(dst []byte, n Name) []byte {
	if prefix, _ := prefixOf(n.Space); prefix != "" {
		dst = append(dst, prefix...)
		dst = append(dst, ':')
	}
	return append(dst, n.Local...)
}

// appendStatus appends a status line (RFC 4918 §14.28). The phrase is for people.
func appendStatus(dst []byte, code int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, ' ')
	return append(dst, phrase(code)...)
}

func phrase(code int) string {
	switch code {
	case 200:
		return "OK"
	case 201:
		return "Created"
	case 204:
		return "No Content"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 409:
		return "Conflict"
	case 410:
		return "Gone"
	case 412:
		return "Precondition Failed"
	case 413:
		return "Content Too Large"
	case 415:
		return "Unsupported Media Type"
	case 422:
		return "Unprocessable Content"
	case 423:
		return "Locked"
	case 424:
		return "Failed Dependency"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 507:
		return "Insufficient Storage"
	}
	return "Status"
}
