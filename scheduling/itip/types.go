// Package itip decides what a change of a calendar object means for other
// people (RFC 5546, RFC 6638): a user's change becomes the object to store and
// the messages to send; a message becomes edits of a recipient's copy.
//
// It is pure: snapshots in, plan out; no clock, no database, no transport. It
// never decides how a message travels or where a copy is stored, and it never
// changes an object it was given. What a change must not do is an *Error with
// a Condition; nothing is half planned.
//
// Where the RFCs leave a choice, this is what the package does:
//
//   - SEQUENCE is never added on create. When an update (REQUEST or CANCEL of
//     something already scheduled) goes to anybody and the client did not
//     raise SEQUENCE, every component gets the highest stored value plus one;
//     the CANCEL of a deletion gets plus two, so that it outranks an update
//     planned from the same state that is still under way. It never falls.
//   - Deleting an event ends it for everybody by a CANCEL without RECURRENCE-ID,
//     also for somebody who knows single instances of it alone. When it was
//     called off before, the CANCEL is Redundant.
//   - An attendee's answer belongs to the attendee: in an organizer's change
//     the PARTSTAT of others is put back, also in an override the client did
//     not know of. A reschedule of a component asks everybody again. Cutting a
//     series short is not a reschedule; nor is EXDATE.
//   - A cancelled event or instance stays in an attendee's copy with
//     STATUS:CANCELLED until the attendee removes it. An instance from which
//     only this attendee was taken out becomes an EXDATE (the CANCEL then has
//     no STATUS, RFC 5546 §3.2.5). Policy.DropCancelled removes instead.
//   - An EXDATE in the master yields a CANCEL for the instance and a REQUEST
//     with the master. The REQUEST is marked Redundant: who shows messages to
//     people may leave it out.
//   - The REPLY to a changed answer for the whole lists every instance the
//     attendee knows with its own answer; one for instances lists just those.
//   - A REPLY names the SEQUENCE it answers, also when that is 0. One of another
//     program that names none counts unless it is older by its DTSTAMP, or says
//     another time: RFC 5546 §3.2.3 lets only 0 be left out, but programs leave
//     out others too, and an answer that is lost is worse than one too many.
//   - An attendee who declined and threw the event (or an instance) away does
//     not get it back by an update that leaves his PARTSTAT at DECLINED.
//   - An answer given outlives an update from another server that asks for it
//     while the time stays the same: some servers always ask (RFC 6638 says
//     nothing), and the answer may be under way. When such an update has a
//     higher SEQUENCE the answer is sent once more, so that the organizer has
//     it in any case. So it is with what was declined by throwing it away.
//   - SENT-BY says who sent a change for somebody. It is not compared: that another
//     delegate stores the same is no change.
//   - An attendee may not change times, recurrence, ORGANIZER or the list of
//     attendees (refused); what clients merely reformat is put back silently.
package itip

import (
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// Role is what the owner of a calendar is to an object in it.
type Role uint8

const (
	RoleNone      Role = iota // no ORGANIZER, or the owner is neither
	RoleOrganizer             // RFC 6638 §3.2.1
	RoleAttendee              // RFC 6638 §3.2.2
)

// Change is what the owner of a calendar does to one object.
type Change struct {
	Old, New *calendar.Object   // Old nil: created; New nil: deleted
	By       []calendar.Address // every address of the owner
	SentBy   calendar.Address   // who acts for the owner (RFC 5545 §3.2.18); "": himself
	Now      time.Time          // becomes DTSTAMP of messages
	Silent   bool               // Schedule-Reply: F (RFC 6638 §8.1)
	Force    bool               // plan as if everything had changed (resend)
	ProdID   string
	Limits   Limits

	// Attendee's copy only: whether the server wrote TRANSP of Old (storage
	// keeps it), and what the organizer's message said, as the last
	// Outcome.OrganizerTransp or Plan.OrganizerTransp gave it.
	ServerTransp    bool
	OrganizerTransp string
	// Attendee's copy only: as the last Plan.Thrown or Outcome.Thrown gave it.
	Thrown []string

	// Marks, of an organizer's object, are what the last Plan gave.
	Marks Marks
	// Former, of an organizer's new object, is a former event of that UID that
	// people elsewhere know, as it was when he deleted it; nil: there was none, or
	// nobody else knows it.
	Former *calendar.Object

	// AllowReset lets the organizer ask an attendee again: PARTSTAT set to
	// NEEDS-ACTION in a component that changed otherwise too is kept. Leave it
	// false for a PUT with If-Schedule-Tag-Match, whose client may not have
	// seen the latest answers (RFC 6638 §3.2.10).
	AllowReset bool
	// Unguarded: the PUT named no version at all. Then it may ask those again whose
	// answer to another part of the event it says as it is.
	Unguarded bool
	// LocalOrganizer, of an attendee's copy: its organizer is one of this server,
	// who tells it anyway. Then who schedules is not the attendee's to say.
	LocalOrganizer bool

	// Automatic are attendees who answer by themselves: a component with a higher
	// SEQUENCE that sets one of them to NEEDS-ACTION asks him again.
	Automatic calendar.AddressSet
}

// Limits bound what one change may cause; 0 means the default.
type Limits struct {
	Attendees int // different attendees of an object, default 5000
	Instances int // components of an object, default 5000
}

// Plan is the outcome of a change.
type Plan struct {
	Role      Role
	Store     *calendar.Object // what to store; nil when deleted
	Rewritten bool             // Store differs in octets from Change.New
	NewTag    bool             // the Schedule-Tag changes (RFC 6638 §3.2.10)
	Messages  []Message

	// Attendee's copy only: what storage must remember about TRANSP.
	ServerTransp    bool
	OrganizerTransp string

	// Thrown, of an attendee's copy, is what storage must remember of the
	// instances that he took out himself; opaque.
	Thrown []string

	// Marks, of an organizer's object, are what storage must remember to know
	// later to what an answer belongs.
	Marks Marks

	// Forget is set on the DELETE of an attendee's copy: pass it as
	// Policy.Forgotten when a message for that UID comes later (want 14).
	Forget *Stamp
	// Left, with Forget, is the copy with what its owner has declined, by
	// deleting it or before: pass it as Policy.Left. Nil when that is nothing.
	Left *calendar.Object
}

// Stamp orders messages of one sender about one UID: by SEQUENCE, then by
// DTSTAMP (RFC 5546 §2.1.5). A negative Sequence, which only Plan.Forget has,
// says that the event was over when its copy was deleted: the organizer may
// begin it again with any SEQUENCE, but not by a message older than DTStamp.
type Stamp struct {
	Sequence int       `json:"seq"`
	DTStamp  time.Time `json:"stamp"`
}

// Marks tell, on the organizer's side, an answer to what holds from an answer to
// what was before (RFC 5546 §2.1.5).
type Marks struct {
	// Asked is the SEQUENCE with which the whole was last rescheduled: an answer to
	// an earlier one is no answer to it. AskedAt is when that was, for answers that
	// name no SEQUENCE.
	Asked   int       `json:"asked,omitempty"`
	AskedAt time.Time `json:"askedAt,omitzero"`
	// Moved tells the same of instances that were rescheduled by themselves, by the
	// key of the instance.
	Moved map[string]Stamp `json:"moved,omitempty"`
	// Begun, of an object that came new with a SEQUENCE, is its lowest SEQUENCE
	// and the time: an answer from before belongs to a former event of that UID,
	// which was called off. Everybody is asked about this one.
	Begun Stamp `json:"begun,omitzero"`
	// Invited tells of everybody who was taken out when that was or, after he was
	// invited again, when this was: an answer from before belongs to the former
	// invitation. Keys are those of Outcome.ReplyStamps.
	Invited map[string]Stamp `json:"invited,omitempty"`
}

// Message is one iTIP message for one or several recipients who all get the
// same object.
type Message struct {
	Method     string // REQUEST, REPLY, CANCEL, …
	Component  string // VEVENT, VTODO
	UID        string
	Originator calendar.Address
	Recipients []calendar.Address
	Object     *calendar.Object // with METHOD; no alarms, no private data
	Kind       Kind
	Changes    []FieldChange     // for humans, on Kind Changed
	Agents     map[string]string // recipient key -> SCHEDULE-AGENT when not SERVER (never delivered); none is planned today

	// Before is set on a message that the next one of the same plan completes:
	// what its recipients know of the object between the two. Nil when nothing
	// follows, and a state without components when they know of nothing then.
	Before *calendar.Object

	// Forced: it goes out although nothing changed for its recipients (RFC 6638 §7.2).
	Forced bool

	// Redundant: another message of the same plan already tells the recipient
	// everything (a CANCEL of the instances that a new EXDATE takes out). Local
	// copies need it; a transport that shows messages to people may drop it.
	Redundant bool
}

// Kind is what the message means to this recipient (want 10).
type Kind string

const (
	KindNew       Kind = "new"
	KindChanged   Kind = "changed"
	KindCancelled Kind = "cancelled"
	KindReply     Kind = "reply"
	KindCounter   Kind = "counter"
	KindDeclined  Kind = "declinecounter"
	KindRefresh   Kind = "refresh"
	KindRefreshed Kind = "refreshed" // only other people's PARTSTAT changed
)

// FieldChange names a property that changed, with its old and new text.
type FieldChange struct {
	Instance string `json:"instance,omitempty"` // recurrence id, "" for the whole
	Field    string `json:"field"`
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
}

// Policy is what a recipient's side brings to a message.
type Policy struct {
	Self         []calendar.Address // every address of the recipient
	Now          time.Time
	ServerTransp bool             // TRANSP of the current copy was written by the server
	Sender       calendar.Address // the proven speaker, compared with the property it speaks for
	ProdID       string

	// OrganizerTransp is what the last Outcome for this copy gave; opaque.
	OrganizerTransp string
	// Forgotten is Plan.Forget of the copy the recipient deleted, nil when he
	// never deleted one. Looked at only while current is nil or knows single
	// instances alone: those that came since.
	Forgotten *Stamp
	// Left is Plan.Left of that copy; nil when he declined nothing, or it is not
	// known any more.
	Left *calendar.Object
	// Thrown is what the last Plan or Outcome for this copy gave.
	Thrown []string
	// LastReply holds, on the organizer's copy, Outcome.ReplyStamps of earlier
	// replies (merged by key); nil when none came.
	LastReply map[string]Stamp
	// Marks are those of the last Plan of the organizer's copy.
	Marks Marks
	// Outside is true when the message did not come from a user of this
	// server: what acts in the receiving program is taken out (abuse A55).
	Outside bool
	// DropCancelled removes cancelled events and instances from the copy
	// instead of keeping them with STATUS:CANCELLED (rooms, for example).
	DropCancelled bool
}

// Outcome is what a message does to the recipient.
type Outcome struct {
	Status       string           // iTIP request status: "2.0;Success", "3.8;…"
	Store        *calendar.Object // new copy for the calendar; nil: unchanged
	Remove       bool             // the copy goes away
	Changed      bool             // Store or Remove says something new
	ServerTransp bool             // TRANSP of Store is the server's doing
	NewTag       bool             // the Schedule-Tag of the copy changes
	Inbox        *calendar.Object // item for the scheduling inbox; nil: none
	Refresh      bool             // other attendees must learn (organizer side of a REPLY)
	Messages     []Message        // e.g. the answer to a REFRESH

	OrganizerTransp string           // to be kept beside Store; opaque
	Thrown          []string         // to be kept beside Store; opaque
	ReplyStamps     map[string]Stamp // to be merged into what Policy.LastReply gets next time
	Replier         calendar.Address // whose answer was applied (REPLY), as the organizer's copy writes it
	Kind            Kind             // what the inbox item means to the recipient; "" without one
	Changes         []FieldChange    // for humans, on KindChanged
}

// Condition is a precondition name of RFC 6638 §3.2.4 or RFC 4791.
type Condition string

const (
	CondAttendeeChange  Condition = "allowed-attendee-scheduling-object-change"
	CondOrganizerChange Condition = "allowed-organizer-scheduling-object-change"
	CondSameOrganizer   Condition = "same-organizer-in-all-components"
	CondUniqueObject    Condition = "unique-scheduling-object-resource"
	CondDefaultCalendar Condition = "default-calendar-needed"
	CondValidObject     Condition = "valid-calendar-object-resource"
	CondMaxAttendees    Condition = "max-attendees-per-instance"
	CondMaxInstances    Condition = "max-instances"
)

// Error refuses a change.
type Error struct {
	Condition Condition
	Msg       string
}

func (e *Error) Error() string { return "itip: " + e.Msg + " (" + string(e.Condition) + ")" }
