// Package discover finds the iSchedule endpoint of a calendar user's domain and
// makes every outgoing connection of the server.
//
// It owns DNS lookups with their caches ([Resolver]), the decision what an
// address leads to ([Finder]), the dialer that refuses inner networks
// ([Dialer]), the HTTP client built on it ([NewHTTPClient]), the rules for
// redirects ([Redirect]), and the lookup of published DKIM keys ([KeyLookup]).
// It never sends an iSchedule message, never parses a capabilities document,
// never verifies a signature and never logs; what it decided and why is in its
// results.
//
// It fails with [ErrNotFound] (the answer is no), [ErrTemporary] (ask again
// later), [ErrForbiddenAddress], [ErrRedirect] and [ErrTooLarge], wrapped with
// detail. Clock and randomness can be injected.
//
// Sources: ischedule §2 and §7.5 (CC/WD 51010 chapter 6, draft-desruisseaux-
// ischedule-05 §4), RFC 2782, RFC 6763, RFC 6125, RFC 2308.
package discover

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: the name does not exist or has no such record.
	ErrNotFound = errors.New("discover: not found")
	// ErrTemporary: server failure or timeout; a later try may succeed.
	ErrTemporary = errors.New("discover: temporary failure")
	// ErrInvalidName: not a name that can be asked for.
	ErrInvalidName = errors.New("discover: invalid name")
	// ErrInvalidAddress: not a calendar user address with a domain.
	ErrInvalidAddress = errors.New("discover: invalid address")
	// ErrForbiddenAddress: the address is not public and not allowed by
	// configuration (abuse case A42).
	ErrForbiddenAddress = errors.New("discover: address not allowed")
	// ErrRedirect: a redirect that must not be followed.
	ErrRedirect = errors.New("discover: redirect refused")
	// ErrTooLarge: a document exceeds its limit (A43).
	ErrTooLarge = errors.New("discover: document too large")
	// ErrScheme: a URL that is not https.
	ErrScheme = errors.New("discover: only https is used")
	// ErrNoMethod: no usable method among q= of a signature.
	ErrNoMethod = errors.New("discover: no usable q= method")
)

// LookupError is a failed lookup. errors.Is finds ErrNotFound, ErrTemporary or
// ErrInvalidName in it.
type LookupError struct {
	Query string // "SRV _ischedules._tcp.example.com"
	Err   error
}

func (e *LookupError) Error() string { return fmt.Sprintf("%v (%s)", e.Err, e.Query) }
func (e *LookupError) Unwrap() error { return e.Err }

// Temporary reports whether a later try may succeed.
func (e *LookupError) Temporary() bool { return errors.Is(e.Err, ErrTemporary) }
