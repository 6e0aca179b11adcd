package acl

import (
	"errors"
	"slices"
)

// Kind tells the forms of a principal in an entry apart (RFC 3744 §5.5.1).
type Kind uint8

const (
	Nobody          Kind = iota // the zero value; matches nobody
	Account                     // one account, by id
	Group                       // the members of a group, by id
	Owner                       // DAV:property with DAV:owner
	Self                        // DAV:self: the principal that the resource is
	Everyone                    // DAV:all
	Authenticated               // DAV:authenticated
	Unauthenticated             // DAV:unauthenticated
	Property                    // DAV:property with another property
	ProxyRead                   // the owner's calendar-proxy-read
	ProxyWrite                  // the owner's calendar-proxy-write
)

// Proxy is how much of an owner's calendars somebody looks after: the members of
// his calendar-proxy-read and calendar-proxy-write principals.
type Proxy uint8

// The grades of delegation. A delegate who may write is a member of one principal, no
// more; what he may do contains what a reading one may.
const (
	NoProxy Proxy = iota
	ReadProxy
	WriteProxy
)

// Principal says whom an entry is about.
type Principal struct {
	Kind     Kind
	ID       int64 // of the account or group
	Property Name  // for Property
}

// ACE is an access control entry (RFC 3744 §5.5). A valid one either grants or
// denies.
type ACE struct {
	Principal   Principal
	Grant, Deny Set
	Protected   bool // cannot be changed by an ACL request
	Inherited   bool // comes from a collection above
}

// Subject is who asks, seen from one resource.
type Subject struct {
	Account       int64   // id, 0 for nobody
	Groups        []int64 // ids of the groups with the account, also through other groups
	Owner         bool    // the account owns the resource
	Self          bool    // the resource is the account's principal, or a group of it
	Proxy         Proxy   // what the account is for the owner
	Authenticated bool
	Properties    []Name // properties of the resource, besides DAV:owner, that name the account
}

// Matches tells whether the principal includes the subject.
func (p Principal) Matches(who Subject) bool {
	switch p.Kind {
	case Account:
		return who.Authenticated && who.Account != 0 && p.ID == who.Account
	case Group:
		return who.Authenticated && p.ID != 0 && slices.Contains(who.Groups, p.ID)
	case Owner:
		return who.Authenticated && who.Owner
	case Self:
		return who.Authenticated && who.Self
	case Everyone:
		return true
	case Authenticated:
		return who.Authenticated
	case Unauthenticated:
		return !who.Authenticated
	case Property:
		return who.Authenticated && slices.Contains(who.Properties, p.Property)
	case ProxyRead:
		return who.Authenticated && who.Proxy == ReadProxy
	case ProxyWrite:
		return who.Authenticated && who.Proxy == WriteProxy
	}
	return false
}

// Evaluate returns the privileges that the entries give to the subject. For each
// privilege the first entry that matches and speaks of it decides; one that no entry
// speaks of is not granted. Denying a part of a container takes the container away,
// its other parts stay.
// RFC 3744 §6
func Evaluate(aces []ACE, who Subject) Set {
	var granted, decided Set
	for i := range aces {
		a := &aces[i]
		if a.Grant|a.Deny == 0 || !a.Principal.Matches(who) {
			continue
		}
		// An entry that grants and denies the same is not valid; deny wins.
		denied := a.Deny &^ decided
		granted |= a.Grant &^ decided &^ denied
		decided |= a.Grant | a.Deny
		if decided&All == All {
			break
		}
	}
	return granted & All
}

// MaxACEs is the number of entries a list may have (DAV:limited-number-of-aces).
const MaxACEs = 1000

// What can be wrong with an entry. Each stands for the precondition of RFC 3744
// §8.1.1 in its comment.
var (
	ErrTooMany   = errors.New("acl: too many entries")                              // DAV:limited-number-of-aces
	ErrEntry     = errors.New("acl: an entry grants something or denies something") // not well-formed
	ErrPrincipal = errors.New("acl: an entry for nobody")                           // DAV:recognized-principal
	ErrPrivilege = errors.New("acl: privileges that a resource of this kind lacks") // DAV:not-supported-privilege
	ErrProtected = errors.New("acl: the owner's rights are protected")              // DAV:no-protected-ace-conflict
)

// Validate checks the unprotected entries that an ACL request wants to store on a
// resource of the class: each grants or denies something that the class has to
// somebody. It refuses entries for the owner, whose rights are protected. Grants and
// denials may stand in any order: the first that speaks of a privilege decides.
func Validate(aces []ACE, c Class) error {
	if len(aces) > MaxACEs {
		return ErrTooMany
	}
	for i := range aces {
		a := &aces[i]
		set := a.Grant | a.Deny
		switch {
		case (a.Grant == 0) == (a.Deny == 0):
			return ErrEntry
		case a.Protected || a.Inherited || a.Principal.Kind == Owner:
			return ErrProtected
		case a.Principal.Kind == Nobody || a.Principal.Kind > ProxyWrite,
			(a.Principal.Kind == Account || a.Principal.Kind == Group) != (a.Principal.ID > 0),
			(a.Principal.Kind == Property) != (a.Principal.Property != Name{}):
			return ErrPrincipal
		case !set.Nameable() || set != All && set&^c.Supports() != 0:
			return ErrPrivilege
		}
	}
	return nil
}

// Collection is a kind of collection with a default list of its own.
type Collection int

const (
	PlainCollection        Collection = iota
	CalendarHome                      // the calendar home of an account
	Calendar                          // a calendar
	ScheduleInbox                     // its inbox
	ScheduleOutbox                    // its outbox
	NotificationCollection            // its notifications
)

// Class is the privilege class of the collection and its members.
func (k Collection) Class() Class {
	switch k {
	case ScheduleInbox:
		return Inbox
	case ScheduleOutbox:
		return Outbox
	}
	return Ordinary
}

// Protected returns the entries that no ACL request can take away, and that stand
// before all others. The owner may do everything, so nobody can lock himself out.
// His delegates read, or do what he does except giving rights to others.
func Protected() []ACE {
	return []ACE{
		{Principal: Principal{Kind: Owner}, Grant: All, Protected: true},
		{Principal: Principal{Kind: ProxyRead}, Grant: Read | ReadCurrentUserPrivilegeSet, Protected: true},
		{Principal: Principal{Kind: ProxyWrite}, Grant: Read | Write | ReadCurrentUserPrivilegeSet | ScheduleSend | ScheduleDeliver, Protected: true},
	}
}

// Default returns the entries that collections of a kind inherit from above all
// homes, and that stand behind all others, so that an owner can deny what they give.
// Whoever has signed in may see busy times through homes and calendars, and may
// deliver into inboxes; without that, people of one installation could not invite
// each other. Nothing else is open.
func Default(k Collection) []ACE {
	signedIn := Principal{Kind: Authenticated}
	switch k {
	case CalendarHome, Calendar:
		return []ACE{{Principal: signedIn, Grant: ReadFreeBusy, Inherited: true}}
	case ScheduleInbox:
		return []ACE{{Principal: signedIn, Grant: ScheduleDeliver, Inherited: true}}
	}
	return nil
}

// Inherited returns what a collection of the kind has from the entries of its home:
// calendars have all of them, the collections of scheduling none, since who shares his
// calendars does not mean his mail.
// RFC 3744 §5.5.4
func Inherited(k Collection, home []ACE) []ACE {
	if k != Calendar {
		return nil
	}
	out := slices.Clone(home)
	for i := range out {
		out[i].Inherited = true
	}
	return out
}

// List is the whole list in force on a collection, in the order of its evaluation:
// what is protected, its own entries, those of its home, and the defaults.
func List(k Collection, own, home []ACE) []ACE {
	return slices.Concat(Protected(), own, Inherited(k, home), Default(k))
}
