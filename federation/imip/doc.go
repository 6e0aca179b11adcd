// Package imip owns scheduling by mail (iMIP, RFC 6047): it writes an iTIP
// object as a mail that people and programs read, hands it to a submission
// server, takes mails from an LMTP or SMTP listener, finds the calendar object
// in them, and says whose word it is.

// It never changes calendar data and never decides what a message means; that
// is scheduling's. It never relays mail, never fetches what a mail points to,
// and never lets an unproven mail act: such mail goes to the Quarantine, where
// the user decides.

// It fails with the sentinel errors of this file, wrapped with detail. A
// failure that may pass by itself (DNS, connection, 4xx) is temporary and says
// so; everything else is final for that mail.
package imip

import "errors"

// What can be wrong with a mail, an address or a server.
var (
	ErrTooBig         = errors.New("imip: message exceeds a limit") // A35
	ErrMalformed      = errors.New("imip: not a readable MIME message")
	ErrNoCalendar     = errors.New("imip: no calendar part")
	ErrNoMethod       = errors.New("imip: calendar part without a METHOD")       // a file, not a message
	ErrMethodConflict = errors.New("imip: METHOD and method parameter disagree") // want 20
	ErrTwins          = errors.New("imip: calendar parts disagree")              // A35
	ErrTNEF           = errors.New("imip: content is in a winmail.dat")
	ErrCalendar       = errors.New("imip: calendar part is not valid")
	ErrCharset        = errors.New("imip: unknown or broken character set")
	ErrUnproven       = errors.New("imip: the sender is not proven") // A31
	ErrSpeaker        = errors.New("imip: the sender is not the one the message speaks for")
	ErrTemporary      = errors.New("imip: try again later")
	ErrAddress        = errors.New("imip: not an address for mail")
	ErrConfig         = errors.New("imip: configuration")
	ErrNoToken        = errors.New("imip: unknown token")
	ErrInsecure       = errors.New("imip: the mail server offers no TLS")
)
