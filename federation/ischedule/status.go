package ischedule

import (
	"net/http"
	"strings"
)

// Disposition is what a sender does with a recipient after an answer.
type Disposition uint8

const (
	// Done: the peer took the message, or free-busy data arrived.
	Done Disposition = iota
	// Retry: temporary trouble; try again later.
	Retry
	// Fail: final refusal that mail must not circumvent.
	Fail
	// Mail: this peer cannot take the message by iSchedule; an event may go by
	// iMIP, a free-busy question ends with the status given.
	Mail
)

// String names the disposition for logs.
func (d Disposition) String() string {
	switch d {
	case Done:
		return "done"
	case Retry:
		return "retry"
	case Fail:
		return "fail"
	}
	return "mail"
}

// iTIP status codes (RFC 5546 §3.6) used here.
const (
	StatusPending        = "1.0" // queued or deferred
	StatusSent           = "1.1"
	StatusDelivered      = "1.2"
	StatusSuccess        = "2.0"
	StatusSingle         = "2.8" // accepted as a single instance
	StatusNoCapability   = "3.14"
	StatusUnknownUser    = "3.7"
	StatusNoAuthority    = "3.8"
	StatusNotSupported   = "5.0"
	StatusUnavailable    = "5.1" // temporary trouble for this recipient
	StatusNoRoute        = "5.2"
	StatusNotSchedulable = "5.3"
)

// ParseStatus reads a request-status "code;text": the code with one or two
// dots ("2" is read as "2.0") and the text. ok is false when it does not begin
// with a number.
func ParseStatus(s string) (code, text string, ok bool) {
	code, text, _ = strings.Cut(strings.TrimSpace(s), ";")
	// RFC 5545 §3.8.8.3: statcode = 1*DIGIT 1*2("." 1*DIGIT).
	code = strings.TrimSpace(code)
	if i := strings.IndexFunc(code, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		// "2.0 Success": the text follows after a blank in place of ";".
		if code[i] != ' ' && code[i] != '\t' {
			return "", "", false
		}
		code, text = code[:i], strings.TrimSpace(code[i:])
	}
	parts := strings.Split(code, ".")
	if len(parts) > 3 || len(code) > 12 {
		return "", "", false
	}
	for _, p := range parts {
		if p == "" {
			return "", "", false
		}
	}
	if len(parts) == 1 {
		code += ".0"
	}
	return code, strings.TrimSpace(text), true
}

// DispositionOf classifies the code a peer gave for one recipient.
func DispositionOf(code string) Disposition {
	switch {
	case code == StatusPending || code == StatusUnavailable:
		return Retry
	case strings.HasPrefix(code, "1.") || strings.HasPrefix(code, "2."):
		return Done
	case code == StatusNoCapability:
		return Mail
	}
	return Fail
}

// ScheduleStatus is the SCHEDULE-STATUS (RFC 6638 §3.2.9) that a sender
// records for the code of a peer: a delivered event is 1.2, all else keeps its
// code.
func ScheduleStatus(code string, freeBusy bool) string {
	if code == StatusSuccess && !freeBusy {
		return StatusDelivered
	}
	return code
}

// worse tells whether status a is worse than b: final beats temporary beats
// success, then the higher code.
func worse(a, b string) bool {
	rank := func(code string) int {
		switch DispositionOf(code) {
		case Done:
			return 0
		case Retry:
			return 1
		}
		return 2
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra > rb
	}
	return a > b
}

// HTTPDisposition classifies an HTTP status other than 200 together with the
// IS:error element that came with it ("" when none).
func HTTPDisposition(status int, condition Condition) Disposition {
	switch condition {
	case VersionNotSupported, InvalidCalendarDataType, MaxContentLength, MaxRecipients,
		MaxDateTime, MinDateTime, MaxInstances, AttachmentNotSupported:
		return Mail
	}
	switch status {
	case http.StatusOK:
		if condition != "" {
			return Fail
		}
		return Retry
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return Retry
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return Fail
	}
	if status >= 500 {
		return Retry
	}
	if status < 300 {
		// A success without a schedule-response: nothing is known of anybody.
		return Retry
	}
	return Fail
}
