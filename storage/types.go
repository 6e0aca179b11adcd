package storage

import (
	"errors"

	"github.com/kalends/kalends/caldav/acl"
)

// Ids are random positive 62-bit numbers, so that no hot sequence exists and
// rows of one account stay together on any engine. Times are Unix microseconds.
type (
	AccountID    int64
	CollectionID int64
)

// AccountKind says what a principal is (RFC 6638 §2.4.2, CALDAV:calendar-user-type).
type AccountKind uint8

const (
	KindUser AccountKind = iota + 1
	KindGroup
	KindRoom
	KindResource
)

// Rights are what an account may do beyond its own data.
type Rights uint8

const (
	RightAdmin   Rights = 1 << iota // accounts, domains, queues; opens no calendar
	RightReadAll                    // every DAV privilege everywhere; audited
)

// Account is a principal: its immutable handle, addresses and secrets.
type Account struct {
	ID          AccountID
	Handle      string
	Kind        AccountKind
	DisplayName string
	UUID        string
	Rights      Rights
	Verifier    string // password verifier, PHC form; "" means nobody can sign in
	Version     int64  // rises when verifier, rights or disabled change, or an app password is revoked
	Disabled    bool
	Emails      []string // mail addresses without mailto:, primary first
	Settings    Settings
	Created     int64
	Modified    int64
}

// Settings are an account's scheduling choices, stored as JSON.
type Settings struct {
	AutoAccept      string `json:"auto_accept,omitempty"`      // "", none, accept-always, decline-always, accept-if-free, decline-if-busy, automatic
	HideFreeBusy    bool   `json:"hide_free_busy,omitempty"`   // answers no free/busy question from other domains
	DefaultCalendar string `json:"default_calendar,omitempty"` // collection name for VEVENT; "" = calendar
	DefaultTasks    string `json:"default_tasks,omitempty"`    // collection name for VTODO; "" = tasks
	Availability    string `json:"availability,omitempty"`     // VAVAILABILITY object (RFC 7953)
	MailIntake      string `json:"mail_intake,omitempty"`      // everybody, known, nobody
	NoMail          bool   `json:"no_mail,omitempty"`          // invitations and answers never go out by mail
	EmailAlarms     string `json:"email_alarms,omitempty"`     // EMAIL alarms go to: "" = the owner, everybody (whom they name), nobody

	// Rooms and resources: what is booked by itself.
	BookBy   []string `json:"book_by,omitempty"`   // organizers: handles of people and groups, addresses, "@domain"; none: everybody
	BookDays int      `json:"book_days,omitempty"` // how many days ahead; 0: no limit
	Capacity int      `json:"capacity,omitempty"`  // seats; 0: not said
}

// CollectionKind is what a row of the collection table stands for.
type CollectionKind uint8

const (
	CollectionHome CollectionKind = iota + 1 // the calendar home itself; Name is ""
	CollectionCalendar
	CollectionInbox
	CollectionOutbox
	CollectionNotification
)

// Component bits of supported-calendar-component-set.
type Components uint8

const (
	CompEvent Components = 1 << iota
	CompTodo
	CompJournal
	CompFreeBusy
	CompAvailability
	CompPoll
)

// CollectionKey names a collection inside of its account.
type CollectionKey struct {
	Account AccountID
	ID      CollectionID
}

// Collection is a calendar, inbox, outbox, notification collection or home.
type Collection struct {
	CollectionKey
	Name        string // last path segment, decoded
	Kind        CollectionKind
	DisplayName string
	Description string
	Color       string
	Order       string
	Timezone    string // VCALENDAR text of calendar-timezone
	TimezoneID  string
	Components  Components
	Transparent bool // schedule-calendar-transp
	Nonce       string
	Seq         int64  // last change
	Tag         string // random tag of that change
	ACL         []acl.ACE
	Bytes       int64 // of its objects; counted by storage
	Created     int64
	Modified    int64
	Deleting    bool
}

// Flags of an object, from its index values.
type Flags uint16

const (
	FlagExact Flags = 1 << iota // Start and End decide a time-range test alone
	FlagRecurring
	FlagAlarm
	FlagFloating
	FlagScheduling // has ORGANIZER
	FlagOrganizer  // the account is its organizer
	FlagAttendee   // the account is an attendee
	FlagTransparent
	FlagServerTransp // TRANSP was written by the server, not by the attendee
	FlagRead         // an inbox item that its owner has fetched or deleted the event of
	FlagPrivate      // CLASS:PRIVATE, or one that nobody knows (RFC 5545 §3.8.1.3)
	FlagConfidential // CLASS:CONFIDENTIAL, and nothing private
	FlagEmailAlarm   // has an alarm that sends mail
	FlagBusy         // takes its owner's time from Start to End, whatever else is in it
)

// ObjectKey names an object resource.
type ObjectKey struct {
	CollectionKey
	Name string
}

// Object is a stored calendar object or inbox item.
type Object struct {
	ObjectKey
	UID         string
	Component   string
	ETag        string // without quotes
	ScheduleTag string // without quotes; "" when it is no scheduling object resource
	Data        string // the octets as stored; empty when the columns were not asked for
	Size        int64
	Start, End  int64 // bounds of all instances, unix µs
	Flags       Flags
	Sequence    int64  // iTIP SEQUENCE of the master
	Seq         int64  // change number in its collection
	Extra       string // JSON of the scheduling layer, e.g. what the server did to the copy
	Created     int64
	Modified    int64
}

// Columns choose what a read of objects loads.
type Columns uint8

const (
	ColumnsMeta Columns = 0         // everything but Data and Extra
	ColumnData  Columns = 1 << iota // Data
	ColumnExtra
	ColumnTimezone // Find only: Collection.Timezone
	ColumnBrief    // Find only: no more than GET needs, see BriefColumns in find.go
	ColumnPresence // Find only: no more than PUT and DELETE need, see owner.go
	ColumnContents // Find only: Found.Contents for the owner of a home, when they travel with what is asked anyway
)

// Message is one iTIP message; its Body is frozen when it is queued.
type Message struct {
	Account    AccountID // whose change it is
	ID         int64
	UID        string
	Method     string
	Component  string
	Originator string // address that speaks
	Kind       string // new, changed, cancelled, reply, … per-person kind of mail
	Changes    string // JSON list of changed fields, for mails
	Body       string // iCalendar with METHOD
	Snapshot   string // digest of the stored state that it brings a recipient to
	RequestID  string
	Created    int64
	By         AccountID // who made the change, a delegate; 0: the account itself
}

// DeliveryState of one (message, recipient).
type DeliveryState uint8

const (
	DeliveryHeld       DeliveryState = iota + 1 // waits for NotBefore, may be withdrawn
	DeliveryQueued                              // due at NotBefore
	DeliveryInFlight                            // leased to a worker
	DeliveryDone                                // final success
	DeliveryFailed                              // final failure
	DeliverySuperseded                          // a newer message was planned from the last acknowledged state
	DeliveryWithdrawn                           // the cause was taken back before anything was sent
)

// Delivery is one message to one recipient.
type Delivery struct {
	Account      AccountID
	ID           int64
	MessageID    int64 // Message.ID
	UID          string
	Recipient    string // address as it stands in the object
	RecipientKey string // its comparison form
	Domain       string
	State        DeliveryState
	NotBefore    int64
	Expires      int64
	Attempts     int
	LeaseOwner   string
	LeaseUntil   int64
	WireID       string // id on the wire; the same for all recipients of one POST or mail
	Transport    string // ischedule, mail, local
	Proof        string // what the peer proved or we signed as
	Status       string // iTIP status, "1.0" while pending
	Detail       string // the peer's words
	Trace        string // JSON, newest attempt last
	Written      bool   // SCHEDULE-STATUS carries the final status
	Turn         int64  // order among the deliveries of one (account, UID, recipient); given by Enqueue
	Created      int64
	Updated      int64
}

// Errors of the package. Everything else is wrapped as it came.
var (
	ErrNotFound    = errors.New("storage: not found")
	ErrExists      = errors.New("storage: exists already")
	ErrBadToken    = errors.New("storage: sync token is not valid here")
	ErrUnavailable = errors.New("storage: the database cannot be reached")
	ErrFull        = errors.New("storage: the database has no space left")
	ErrInvalid     = errors.New("storage: not a valid value")
	ErrNotPlain    = errors.New("storage: the stored object is a scheduling object resource")
	ErrNewer       = errors.New("storage: the database was made by a newer version of kalends")

	// What DB.PutPlain may refuse with; see PreconditionError, UIDConflictError.
	ErrPrecondition = errors.New("storage: precondition failed")
	ErrUIDConflict  = errors.New("storage: the UID is used by another object of the calendar")

	ErrDirty = errors.New("storage: a schema migration stopped half way")
)
