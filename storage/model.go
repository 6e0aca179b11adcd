package storage

import (
	"fmt"
	"time"

	"github.com/kalends/kalends/caldav/acl"
)

// Open tells whether the delivery is not final yet.
func (s DeliveryState) Open() bool { return s >= DeliveryHeld && s <= DeliveryInFlight }

// Final tells whether nothing more happens to the delivery by itself.
func (s DeliveryState) Final() bool { return s > DeliveryInFlight }

// HoldBack is how long handles and addresses of a removed account stay
// reserved, so that nobody inherits its invitations.
const HoldBack = 180 * 24 * time.Hour

// Micros is t as the database stores it; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Query names what one request is about. Empty names are not looked up.
type Query struct {
	Login      string // handle or mail address of who signs in
	Home       string // handle of the account whose home the path names
	Collection string // collection name inside of the home
	Object     string // object name inside of the collection
	Columns    Columns
}

// Found is what a Query met; nil for what does not exist. When Login and Home
// name the same account both pointers are equal, Groups is empty and the
// ACLs of collection and home are not loaded, for an owner needs neither.
type Found struct {
	Login      *Account
	Home       *Account
	Groups     []AccountID // every group that Login is in, directly or not
	Proxy      acl.Proxy   // what Login is for Home by delegation
	HomeACL    []acl.ACE   // own entries of the home
	Collection *Collection
	Object     *Object
	Contents   *Contents // with ColumnContents, perhaps
}

// Recipient is what local delivery has to know about a calendar user.
type Recipient struct {
	Account  Account
	Inbox    CollectionKey // ID 0 when the account has none (groups)
	Calendar DefaultCollection
	Tasks    DefaultCollection
}

// DefaultCollection is where new objects of a kind go; ID is 0 when there is none.
type DefaultCollection struct {
	CollectionKey
	Name        string
	Components  Components
	Transparent bool
	Timezone    string
}

// AccountSpec is one row of an import: created, or changed to what it says.
type AccountSpec struct {
	Handle      string
	Kind        AccountKind
	DisplayName string
	Emails      []string // nil: leave those of an existing account
	Verifier    string   // "": leave that of an existing account
	Rights      *Rights  // nil: leave
	Members     []string // handles of a group's direct members; nil: leave
	UUID        string   // "": made up, or left
}

// AccountChange says what UpdateAccount changes; nil fields stay.
type AccountChange struct {
	DisplayName  *string
	Kind         *AccountKind
	Rights       *Rights
	Disabled     *bool
	Verifier     *string
	Settings     *Settings
	Emails       *[]string // replaces all
	AddEmails    []string
	RemoveEmails []string
}

// Page asks for up to Limit rows after the handle (or name) After.
type Page struct {
	After string
	Limit int // 0: 500
}

// Domain is a mail domain that this installation is responsible for.
type Domain struct {
	Name    string
	Created int64
	Role    string // RoleLocal or RoleGateway
	Backend string // where messages for the people of a gateway domain go
	Nonce   string // of the secret that we show to the backend
	Token   string // hash of the token that the backend shows to us
}

// Roles of our domains.
const (
	RoleLocal   = ""        // its people have accounts here
	RoleGateway = "gateway" // its people have their calendars in a backend
)

// KeyState is where a key stands in its life.
type KeyState string

// States of a domain's key.
const (
	KeyNext    KeyState = "next"    // published, does not sign yet
	KeyActive  KeyState = "active"  // signs
	KeyRetired KeyState = "retired" // published, signs no more
	KeyRevoked KeyState = "revoked" // published as revoked
)

// Key is a private key of a domain.
type Key struct {
	Domain   string
	Purpose  string // calendar or mail
	Selector string
	PEM      string
	State    KeyState
	Created  int64
	Changed  int64
}

// AppPassword lets one program sign in; only the hash of its secret is known.
type AppPassword struct {
	Account AccountID
	ID      int64
	Hash    string
	Label   string
	Created int64
	LastUse int64
}

// Link is a public, read-only address of a collection; only the hash of its
// token is stored.
type Link struct {
	CollectionKey
	Hash    string
	Label   string
	Created int64
	Expires int64 // 0: never
}

// UIDLock names a lock row: one per (organizer's account, UID).
type UIDLock struct {
	Owner AccountID // 0: the organizer is not an account here
	UID   string
}

// Slot is what a write to an object name meets.
type Slot struct {
	Existing *Object      // with Data and Extra; nil when the name is free
	SameUID  []SlotObject // other objects of the home's calendars with the UID
}

// SlotObject is another object of the home, without Data and Extra.
type SlotObject struct {
	Object
	Collection string // name of its collection
}

// Write is one change of Apply. For a delete only the ObjectKey is read.
// The engine of the write is the same whether it creates or replaces.
type Write struct {
	Object Object
	Delete bool
}

// Applied is the change number and tag that a Write got.
type Applied struct {
	Seq int64
	Tag string
}

// PlainPut is a PUT that concerns nobody but the owner: neither the stored
// nor the new object has an organizer.
type PlainPut struct {
	Object  Object // Seq, Created are set by storage; Created of an existing object is kept
	IfMatch string // ETag that must be there now; "" does not ask, "*" any
	IfNone  bool   // the name must be free (If-None-Match: *)
	Seen    *Seen  // must still be so; nil: the caller's request has read it

	room roomCheck // set by storage
}

// Seen is what an owner's PUT takes from memory instead of reading it: his
// account is as it was, the calendar still has its name and takes the same
// components, and there is room for what comes.
type Seen struct {
	Version, Modified int64 // of the account
	Collection        string
	Components        Components
	Room              int64 // octets that the account's calendars may have in all
}

// PlainResult tells what DB.PutPlain did.
type PlainResult struct {
	Applied
	Created bool
}

// ObjectQuery selects objects of a collection by their index values.
type ObjectQuery struct {
	Components []string // any of these; empty: all
	UID        string   // "": all
	UIDs       []string // any of these; empty: all
	From, To   int64    // overlap of [Start, End) with [From, To); both 0: all
	Flags      Flags    // objects with any of these; 0: all
	Columns    Columns
	Limit      int // 0: none
}

// Busy is one object that may make its owner busy: CollectionKey, UID,
// Component, Start, End, Flags, and Data and Extra as BusyObjects says.
type Busy struct {
	Object
	Timezone string // name or definition of its collection's time zone
}

// CollectionProperty is a dead property of a collection, everybody's view.
type CollectionProperty struct {
	CollectionKey
	Kind        CollectionKind
	Transparent bool
	Timezone    string // name or definition of the collection's time zone
	XML         string
}

// ChangeSet is the answer to a sync token.
type ChangeSet struct {
	Changes   []Change // each name once, in the order of their last change (initial: of their names)
	Token     string   // to continue from
	Truncated bool     // more is to be had with Token now
}

// Change is the last state of a name.
type Change struct {
	*Object // as DB.Listing gives it, not to be written to; only Name and Seq when Deleted
	Deleted bool
}

// HomeChangeSet tells which collections of a home have changed.
type HomeChangeSet struct {
	Changed []string // created, renamed to, or with changed properties; "" is the home itself
	Deleted []string
	Token   string
}

// PropertyKey names a place that carries dead properties.
type PropertyKey struct {
	CollectionKey
	Object string // "" for the collection itself
}

// Property is one dead property.
type Property struct {
	PropertyKey
	Principal AccountID // whose view; 0: everybody's
	Space     string
	Local     string
	XML       string // "" in SetProperties removes it
}

// Claimed is a delivery leased to a worker, with its message.
type Claimed struct {
	Delivery
	Message Message
}

// OpenDelivery is a delivery that is not final, with its message.
type OpenDelivery = Claimed

// WriteBack names an object whose SCHEDULE-STATUS lacks final outcomes.
type WriteBack struct {
	Account AccountID
	UID     string
}

// PeerState is the last state of an object that a recipient acknowledged.
type PeerState struct {
	Account      AccountID
	UID          string
	RecipientKey string
	Digest       string // of a Snapshot; "" removes the row
	Updated      int64
}

// Snapshot is a frozen state of an object, named by its digest.
type Snapshot struct {
	Account AccountID
	UID     string
	Digest  string
	Data    string
}

// DeliveryFilter selects deliveries for listings, newest first.
type DeliveryFilter struct {
	Account AccountID // 0: all
	UID     string
	Domain  string
	State   DeliveryState // 0: all
	Limit   int           // 0: 100
	After   DeliveryCursor
}

// DeliveryCursor is where the next page of a listing begins; zero: the start.
type DeliveryCursor struct {
	Created int64
	ID      int64
}

// Once identifies an inbound iSchedule request.
type Once struct {
	Domain        string
	Selector      string
	SignatureHash string
	MessageID     string // "" when the peer sent none
	BodyHash      string
	Recipients    string // normalized list
}

// Refresh is a queued re-distribution of one object (other people's answers).
type Refresh struct {
	Account    AccountID
	UID        string
	NotBefore  int64
	Generation int64 // rises each time it is queued
}

// AuditEntry is one line of the audit trail.
type AuditEntry struct {
	ID      int64
	At      int64
	Actor   string
	Action  string
	Subject string
	Detail  string
}

// Retention is how long things are kept; 0 keeps for ever.
type Retention struct {
	Tombstones time.Duration // journal rows; older sync tokens stop working
	Deliveries time.Duration // final deliveries and their messages
	InboxRead  time.Duration // inbox items flagged FlagRead
	Forgotten  time.Duration // notes that an owner deleted a scheduling object
	Batch      int           // rows per statement; 0: 500
}

// Swept counts what a run of the janitor removed.
type Swept struct {
	Journal, Deliveries, Messages, Replay, Inbox, Tokens, Accounts, Objects, Locks, Forgotten, States int

	More bool // a batch was full; run again soon
}

// MigrationState is where the schema stands.
type MigrationState struct {
	Version uint // 0: empty database
	Latest  uint // newest that this binary knows
	Dirty   bool
}

// HeldError refuses a handle or address that a removed account had.
type HeldError struct {
	What  string // the handle or address
	Until int64
}

// Error says until when.
func (e *HeldError) Error() string {
	return fmt.Sprintf("storage: %s belonged to a removed account and is held back until %s", e.What, time.UnixMicro(e.Until).UTC().Format(time.DateOnly))
}

// Unwrap is ErrExists.
func (e *HeldError) Unwrap() error { return ErrExists }

// PreconditionError is why PutPlain refused by If-Match, If-None-Match.
type PreconditionError struct {
	ETag string // of what is there; "" when nothing is
}

// Error says what is there.
func (e *PreconditionError) Error() string {
	if e.ETag == "" {
		return "storage: precondition failed: there is no such object"
	}
	return "storage: precondition failed: the object's ETag is " + e.ETag
}

// Is makes errors.Is(err, ErrPrecondition) true.
func (e *PreconditionError) Is(target error) bool { return target == ErrPrecondition }

// UIDConflictError is a second object with the UID in one calendar.
type UIDConflictError struct {
	Name string // of the other object
}

// Error names the other object.
func (e *UIDConflictError) Error() string {
	return "storage: the UID is used by " + e.Name + " of the same calendar"
}

// Is makes errors.Is true for ErrExists and ErrUIDConflict.
func (e *UIDConflictError) Is(target error) bool {
	return target == ErrExists || target == ErrUIDConflict
}
