package davxml

import (
	"errors"
	"fmt"
)

// The kinds of failure of a request body. The HTTP layer maps them to a status
// once: 400 for the first three (413 for ErrTooLarge), 403 with a DAV:error body
// where Error.Cond is set.
var (
	// ErrMalformed: the bytes are not a well-formed UTF-8 XML document with
	// declared namespaces (RFC 4918 §8.2).
	ErrMalformed = errors.New("davxml: malformed XML")
	// ErrDoctype: the document has a document type declaration, which a WebDAV
	// body never needs; entities would come from there.
	ErrDoctype = errors.New("davxml: document type declaration refused")
	// ErrTooLarge: the body is over one of the Limits.
	ErrTooLarge = errors.New("davxml: body over the limits")
	// ErrRequest: well-formed XML that is not what the method or report asks for.
	ErrRequest = errors.New("davxml: not a valid body for this request")
	// ErrPrecondition: the body is understood and refused; Error.Cond says why.
	ErrPrecondition = errors.New("davxml: precondition failed")
)

// Error is what every decoding function of the package returns. errors.Is finds
// its Kind, errors.As the rest.
type Error struct {
	Kind error  // one of the sentinels above
	Cond Name   // the pre- or postcondition element, zero when no RFC names one
	Msg  string // for logs and people; quotes at most a short piece of the body
	Part Name   // the filter element that CALDAV:supported-filter is about, or zero
	Name string // its name attribute
	Err  error  // the cause from a reader, or nil
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	s := e.Kind.Error()
	if !e.Cond.IsZero() {
		s += " (" + e.Cond.Local + ")"
	}
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Body is the DAV:error document for the failure, nil when no precondition
// element fits (the answer then has no XML body).
func (e *Error) Body() []byte {
	if e.Cond.IsZero() {
		return nil
	}
	if e.Part.IsZero() {
		return ErrorBody(e.Cond, e.Msg)
	}
	// RFC 4791 §7.8: the condition holds the element that is not supported.
	return ErrorBody(e.Cond, e.Msg, func(b *Builder) {
		b.Start(e.Part)
		b.Attr("name", e.Name)
		b.End()
	})
}

func errorf(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

func condf(cond Name, format string, args ...any) *Error {
	return &Error{Kind: ErrPrecondition, Cond: cond, Msg: fmt.Sprintf(format, args...)}
}

// clip shortens a piece of the body for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	for i := most; i > most-4; i-- { // do not cut a rune
		if s[i]&0xC0 != 0x80 {
			return s[:i] + "…"
		}
	}
	return s[:most] + "…"
}
