package ischedule

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Condition is the name of the element in an IS:error document (WD 10.3).
type Condition string

// Conditions in the order in which a receiver tests them.
const (
	VersionNotSupported      Condition = "version-not-supported"
	InvalidCalendarDataType  Condition = "invalid-calendar-data-type"
	OriginatorMissing        Condition = "originator-missing"
	TooManyOriginators       Condition = "too-many-originators"
	OriginatorInvalid        Condition = "originator-invalid"
	RecipientMissing         Condition = "recipient-missing"
	MaxRecipients            Condition = "max-recipients"
	MaxContentLength         Condition = "max-content-length"
	VerificationFailed       Condition = "verification-failed"
	OriginatorDenied         Condition = "originator-denied"
	InvalidCalendarData      Condition = "invalid-calendar-data"
	InvalidSchedulingMessage Condition = "invalid-scheduling-message"
	RecipientMismatch        Condition = "recipient-mismatch"
	AttachmentNotSupported   Condition = "attachment-type-not-supported"
	MinDateTime              Condition = "min-date-time"
	MaxDateTime              Condition = "max-date-time"
	MaxInstances             Condition = "max-instances"
)

// Error refuses an inbound request as a whole.
type Error struct {
	Condition  Condition     // element of the IS:error document; "" sends no document
	Status     int           // HTTP status; 0 means 403 (WD 8.2)
	Public     string        // response-description; never holds key text or user data
	RetryAfter time.Duration // > 0: Retry-After
	Close      bool          // close the connection after the answer
	Err        error         // for the log only
}

// Error describes the refusal for a log.
func (e *Error) Error() string {
	s := "ischedule: " + string(e.Condition)
	if e.Condition == "" {
		s = fmt.Sprintf("ischedule: HTTP %d", e.HTTPStatus())
	}
	if e.Err != nil {
		return s + ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// HTTPStatus is the status the answer carries.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusForbidden
	}
	return e.Status
}

func refuse(c Condition, format string, args ...any) *Error {
	return &Error{Condition: c, Err: fmt.Errorf(format, args...)}
}

// Errors of documents that peers send.
var (
	ErrTooLarge        = errors.New("document is larger than allowed")
	ErrDTD             = errors.New("document type declarations are refused")
	ErrXML             = errors.New("not well-formed XML")
	ErrNotCapabilities = errors.New("not an iSchedule capabilities document")
)
