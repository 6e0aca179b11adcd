// Package scheduling is the only writer of calendar objects. Put, Delete, Move
// and Receive are its use cases: each is one database transaction that stores
// the object, delivers to local people and queues what must travel; nothing
// here waits for a network. The worker carries queued messages to a Transport
// afterwards and writes the outcome back (RFC 6638).
//
// It knows neither HTTP nor mail. What a caller must not do is an *Error with
// a condition; what happened to a single recipient is a RecipientResult and
// never fails the others.
package scheduling

import (
	"context"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Proof says what cryptography vouches for about the sender of a message.
type Proof struct {
	Domain string // domain whose key signed, "" when nothing is proven
	Weak   bool   // vouched for by configuration or a trusted header only
	By     string // what vouches where it is no domain: "link", "user" (by hand)
}

// String is the proof as it is shown.
func (p Proof) String() string {
	if p.By != "" {
		return p.By
	}
	return p.Domain
}

// Inbound is an iTIP message that arrived for local recipients.
type Inbound struct {
	Via        string // "ischedule", "mail", "local", "link", "gateway"
	Proof      Proof
	Originator calendar.Address
	Recipients []calendar.Address
	Message    *calendar.Object // with METHOD, validated by calendar.ValidateMessage
	Once       *storage.Once    // replay key; nil: none (mail brings its Message-ID here too)
	RequestID  string
	Passed     []string // marks of the installations that it came through, by mail
}

// RecipientResult is the fate of one recipient.
type RecipientResult struct {
	Recipient calendar.Address
	Status    string // iTIP request status, "2.0;Success" (RFC 5546 §3.6, RFC 6638 §3.2.9)
	Retry     bool   // temporary: try again later
	NewWire   bool   // a retry is a new message on the wire (the peer answered)
	// RetryAfter is how long the peer asked us to wait; 0: it did not.
	RetryAfter time.Duration
	Calendar   []byte // free/busy: VCALENDAR with METHOD:REPLY
	Transport  string // "ischedule", "mail", "local"
	Proof      string // domain we signed as or that the peer proved
	Detail     string // the peer's words, for the delivery view
	Trace      []Step
}

// Step is one line of a delivery's trace.
type Step struct {
	At   time.Time     `json:"at"`
	What string        `json:"what"` // dns, connect, capabilities, post, mail, fallback
	Text string        `json:"text"`
	Took time.Duration `json:"took_ns,omitempty"`
}

// Parcel is one frozen message for recipients of one domain.
type Parcel struct {
	WireID         string // iSchedule-Message-ID, Message-ID; the same on every retry after no answer
	Account        storage.AccountID
	Method         string
	Component      string
	UID            string
	Originator     calendar.Address
	OriginatorName string
	SentBy         calendar.Address // the delegate who caused it; "": the originator himself
	SentByName     string
	Recipients     []calendar.Address
	Domain         string
	Body           []byte // iCalendar with METHOD
	Kind           itip.Kind
	Changes        []itip.FieldChange
	Attempt        int       // 1 for the first
	Queued         time.Time // when the change was made
	NoMail         bool      // the originator's settings: never by mail
	Last           bool      // no retry will follow: fall back now if policy allows
	RequestID      string
	Passed         []string // see Inbound
}

// Question asks for the busy time of people of one domain.
type Question struct {
	Originator calendar.Address
	Recipients []calendar.Address
	Domain     string
	Body       []byte // VFREEBUSY REQUEST
	RequestID  string
}

// Transport carries messages to other systems. Send returns one result per
// recipient; an error concerns all of them and is temporary. It must be safe
// for concurrent use and obey ctx.
type Transport interface {
	Send(ctx context.Context, p Parcel) ([]RecipientResult, error)
	FreeBusy(ctx context.Context, q Question) ([]RecipientResult, error)
}

// Receiver is what inbound transports hand messages to; *Service is one.
type Receiver interface {
	// Receive applies a message for local recipients in one transaction.
	Receive(ctx context.Context, in Inbound) ([]RecipientResult, error)
	// AnswerFreeBusy computes busy time of local recipients for a question
	// that came from a proven domain.
	AnswerFreeBusy(ctx context.Context, in Inbound) ([]RecipientResult, error)
}

// Put stores a calendar object for its owner.
type Put struct {
	Actor         Actor
	Key           storage.ObjectKey
	Collection    *storage.Collection // as the caller read it; nil: not read
	Data          []byte
	IfMatch       []string // entity tags without quotes, "*" for any; nil: not given
	IfNoneMatch   []string
	IfScheduleTag string // without quotes
	Silent        bool   // Schedule-Reply: F
	NoScheduling  bool   // import of past data: store, tell nobody
	// Properties are dead properties that a copy brings along (RFC 4918 §9.8.2),
	// in the same transaction; one without XML goes.
	Properties []storage.Property
	RequestID  string

	// A room's answer lists all that its copy has (whole), and brings along inbox
	// items about what it leaves to a person.
	whole bool
	items []storage.Write
}

// Actor is who does it on whose calendars.
type Actor struct {
	Account storage.Account // owner of the calendar, whose addresses speak
	By      storage.Account // who signed in; differs for delegates
}

// Result of a Put, Delete or Move.
type Result struct {
	ETag        string
	ScheduleTag string
	Created     bool
	Rewritten   bool // stored octets differ from what was sent: give no ETag
	Object      *storage.Object
}

// Condition is a WebDAV precondition that a request failed, by its local name.
type Condition string

// Error refuses a change; nothing was stored.
type Error struct {
	Condition Condition // "" for a plain failed If-header
	Precond   bool      // an If-Match, If-None-Match or If-Schedule-Tag-Match failed
	Href      *storage.ObjectKey
	Msg       string
	Err       error
}

func (e *Error) Error() string { return "scheduling: " + e.Msg }
func (e *Error) Unwrap() error { return e.Err }
