package calendar

import (
	"errors"
	"fmt"
	"strconv"
)

// Code is the local name of the precondition element that a refused request
// is answered with (RFC 4791 §1.3, §5.3.2.1, §7.8). This package only names
// it; the XML namespace is the caller's business.
type Code string

// The preconditions this package can find broken.
const (
	CodeInvalidData          Code = "valid-calendar-data"              // not iCalendar text: RFC 4791 §5.3.2.1
	CodeInvalidObject        Code = "valid-calendar-object-resource"   // iCalendar, but not one calendar object: RFC 4791 §4.1
	CodeUnsupportedComponent Code = "supported-calendar-component"     // RFC 4791 §5.2.3
	CodeUnsupportedData      Code = "supported-calendar-data"          // RFC 4791 §5.2.4
	CodeMaxSize              Code = "max-resource-size"                // RFC 4791 §5.2.5
	CodeMinDate              Code = "min-date-time"                    // RFC 4791 §5.2.6
	CodeMaxDate              Code = "max-date-time"                    // RFC 4791 §5.2.7
	CodeMaxInstances         Code = "max-instances"                    // RFC 4791 §5.2.8
	CodeMaxAttendees         Code = "max-attendees-per-instance"       // RFC 4791 §5.2.9
	CodeInvalidFilter        Code = "valid-filter"                     // RFC 4791 §7.8
	CodeUnsupportedFilter    Code = "supported-filter"                 // RFC 4791 §7.8
	CodeUnsupportedCollation Code = "supported-collation"              // RFC 4791 §7.5
	CodeInvalidTimezone      Code = "valid-timezone"                   // a TZID that means nothing: RFC 7809 §3.1, §5.2
	CodeSameOrganizer        Code = "same-organizer-in-all-components" // RFC 6638 §3.2.4.2
	CodeBudget               Code = "number-of-matches-within-limits"  // RFC 4791 §7.8, the step budget ran out
)

// Error is the only error type of this package. Msg says what is wrong in
// words a user of a calendar program can act on.
type Error struct {
	Code Code
	Line int    // line of the input, counted from 1 before unfolding; 0: unknown or not text
	Msg  string // "VEVENT: DTEND is before DTSTART"
	Err  error  // cause, may be nil
}

// Error gives Msg, the line when it is known, and the cause.
func (e *Error) Error() string {
	s := e.Msg
	if s == "" {
		s = string(e.Code)
	}
	if e.Line > 0 {
		s += " (line " + strconv.Itoa(e.Line) + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, &Error{Code: c}) ask for the code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Line == 0 && t.Msg == "" && t.Err == nil
}

// CodeOf is the code of the first *Error in err's chain, "" when there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// fail builds an *Error.
func fail(code Code, line int, format string, args ...any) *Error {
	return &Error{Code: code, Line: line, Msg: fmt.Sprintf(format, args...)}
}
