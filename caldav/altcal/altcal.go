// Package altcal owns the two other notations of iCalendar: jCal, in JSON (RFC
// 7265), and xCal, in XML (RFC 6321). It turns them into calendar objects and
// calendar objects into them, so that nothing is lost either way: unknown
// components, properties, parameters and value types come back as they were.
// What does not survive is what has no meaning: line folding, upper and lower
// case of names, a VALUE parameter that says what goes without saying.
//
// It knows nothing of HTTP, of time zones or of what makes an object valid: the
// text of what it read is parsed and validated like any other. It has no clock,
// net, randomness or os. Bad input ends in a *calendar.Error with CodeInvalidData
// (too much of it: CodeMaxSize); it never panics, and needs memory of a small
// multiple of its size.
package altcal

import (
	"fmt"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// The media types (RFC 7265 §6, RFC 6321 §6).
const (
	JSONType = "application/calendar+json"
	XMLType  = "application/calendar+xml"
)

// Limits of a document, beside those that its text has to keep (calendar.Limits).
const (
	maxDepth    = 12      // nesting of components
	maxElements = 400_000 // values in JSON, elements in XML
	maxValues   = 20_000  // values of one property
)

func bad(format string, args ...any) error {
	return &calendar.Error{Code: calendar.CodeInvalidData, Msg: fmt.Sprintf(format, args...)}
}

// name checks the name of a component, property, parameter or type and gives it
// in upper case.
func name(s string) (string, error) {
	if s == "" || len(s) > 255 {
		return "", bad("a name that is empty or too long")
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c|0x20)-'a' >= 26 && c-'0' >= 10 && c != '-' && c != '_' && c != '.' {
			return "", bad("%q is no name", clip(s))
		}
	}
	return strings.ToUpper(s), nil
}

func clip(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// property makes a property of its parts.
func property(n string, params []calendar.Param, typ string, items []item) (*calendar.Property, error) {
	n, err := name(n)
	if err != nil {
		return nil, err
	}
	if n == "BEGIN" || n == "END" {
		return nil, bad("%s is no property", n)
	}
	typ = strings.ToLower(typ)
	if typ != unknownType {
		if _, err := name(typ); err != nil {
			return nil, err
		}
	}
	if len(items) > maxValues {
		return nil, bad("%s has more than %d values", n, maxValues)
	}
	out := params[:0:0]
	if typ != unknownType && (typ != defaultType(n) || typed[n]) {
		out = append(out, calendar.NewParam("VALUE", strings.ToUpper(typ)))
	}
	for _, p := range params {
		if p.Name != "VALUE" { // RFC 7265 §3.4: the type says it
			out = append(out, p)
		}
	}
	p := calendar.NewProperty(n, "", out...)
	p.SetValue(rawOf(n, typ, items))
	return p, nil
}

// finish reads the text of what was put together like any other calendar data,
// with its limits.
func finish(c *calendar.Component, lim calendar.Limits) (*calendar.Object, error) {
	if c.Name != "VCALENDAR" {
		return nil, bad("the outermost component is vcalendar")
	}
	return calendar.Parse((&calendar.Object{Component: c}).Bytes(), lim)
}

// tooLarge compares a document with the size that its text may have; the other
// notations are wordy.
func tooLarge(data []byte, lim calendar.Limits) error {
	limit := lim.Bytes
	if limit <= 0 {
		limit = calendar.DefaultLimits().Bytes
	}
	if len(data) > 4*limit {
		return &calendar.Error{Code: calendar.CodeMaxSize, Msg: fmt.Sprintf("the document has %d octets, at most %d are read", len(data), 4*limit)}
	}
	return nil
}
