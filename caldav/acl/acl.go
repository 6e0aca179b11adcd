// Package acl owns access control as RFC 3744 has it: the privileges of WebDAV,
// CalDAV and scheduling as a bit set, the tree in which they contain each other,
// access control entries, their evaluation, and the form in which they are stored.
//
// It is pure and knows no database, no HTTP and no XML: principals are account and
// group ids, names are pairs of strings. It never decides which privilege a method
// needs; that is the method table's business.
//
// Evaluate cannot fail and grants nothing that no entry grants. Decode and Validate
// fail with ErrEncoding and the Err… values of this package.
package acl

import "slices"

// Set is a set of privileges. Only the leaves of the privilege tree have bits; a
// container such as Write is the union of what it contains (RFC 3744 §3.12).
type Set uint32

// The leaves. The numbers are internal: what is stored are names (see Encode).
const (
	WriteProperties             Set = 1 << iota // RFC 3744 §3.3
	WriteContent                                // §3.4
	Bind                                        // §3.9
	Unbind                                      // §3.10
	Unlock                                      // §3.5
	ReadACL                                     // §3.6
	ReadCurrentUserPrivilegeSet                 // §3.7
	WriteACL                                    // §3.8
	ReadFreeBusy                                // RFC 4791 §6.1.1
	ReadBusy                                    // ours: see when something is, not what
	ScheduleDeliverInvite                       // RFC 6638 §6.1.2
	ScheduleDeliverReply                        // §6.1.3
	ScheduleQueryFreeBusy                       // §6.1.4
	ScheduleSendInvite                          // §6.2.2
	ScheduleSendReply                           // §6.2.3
	ScheduleSendFreeBusy                        // §6.2.4
	readContent                                 // what DAV:read is besides read-free-busy
)

// The containers.
const (
	// Read is RFC 3744 §3.1. It contains CALDAV:read-free-busy (RFC 4791 §6.1.1), so
	// who may read a calendar may also ask for its busy times, but not the reverse; and
	// ReadBusy, which shows a calendar's objects without their titles and texts.
	Read = readContent | ReadFreeBusy | ReadBusy
	// Write is RFC 3744 §3.2.
	Write = WriteProperties | WriteContent | Bind | Unbind
	// ScheduleDeliver is RFC 6638 §6.1.1; it is a privilege on inboxes.
	ScheduleDeliver = ScheduleDeliverInvite | ScheduleDeliverReply | ScheduleQueryFreeBusy
	// ScheduleSend is RFC 6638 §6.2.1; it is a privilege on outboxes.
	ScheduleSend = ScheduleSendInvite | ScheduleSendReply | ScheduleSendFreeBusy
	// All is DAV:all, RFC 3744 §3.11.
	All = Read | Write | Unlock | ReadACL | ReadCurrentUserPrivilegeSet | WriteACL |
		ScheduleDeliver | ScheduleSend
)

// Has tells whether s contains every privilege of p. The empty p is never had, so
// that a rule someone forgot to fill in opens nothing.
func (s Set) Has(p Set) bool { return p != 0 && s&p == p }

// Name is the expanded XML name of a privilege or property. It has the layout of
// davxml.Name and converts to it.
type Name struct{ Space, Local string }

const (
	nsDAV    = "DAV:"
	nsCalDAV = "urn:ietf:params:xml:ns:caldav"
	nsOurs   = "urn:kalends:ns"
)

// Class is a kind of resource with privileges of its own.
type Class int

const (
	Ordinary Class = iota // everything that is not one of the following
	Inbox                 // a scheduling inbox: also ScheduleDeliver
	Outbox                // a scheduling outbox: also ScheduleSend
)

// Privilege is a node of the privilege tree, for DAV:supported-privilege-set
// (RFC 3744 §5.3). No privilege is abstract: each can stand in an entry.
type Privilege struct {
	Name        Name
	Set         Set
	Description string // English
	Children    []Privilege
}

func leaf(space, local string, s Set, text string) Privilege {
	return Privilege{Name: Name{space, local}, Set: s, Description: text}
}

var trees = func() [3]Privilege {
	deliver := Privilege{Name{nsCalDAV, "schedule-deliver"}, ScheduleDeliver, "Deliver scheduling messages", []Privilege{
		leaf(nsCalDAV, "schedule-deliver-invite", ScheduleDeliverInvite, "Deliver invitations"),
		leaf(nsCalDAV, "schedule-deliver-reply", ScheduleDeliverReply, "Deliver replies"),
		leaf(nsCalDAV, "schedule-query-freebusy", ScheduleQueryFreeBusy, "Ask for busy times when scheduling"),
	}}
	send := Privilege{Name{nsCalDAV, "schedule-send"}, ScheduleSend, "Send scheduling messages", []Privilege{
		leaf(nsCalDAV, "schedule-send-invite", ScheduleSendInvite, "Send invitations"),
		leaf(nsCalDAV, "schedule-send-reply", ScheduleSendReply, "Send replies"),
		leaf(nsCalDAV, "schedule-send-freebusy", ScheduleSendFreeBusy, "Send requests for busy times"),
	}}
	tree := func(extra ...Privilege) Privilege {
		all := Privilege{Name{nsDAV, "all"}, 0, "All privileges", slices.Concat([]Privilege{
			{Name{nsDAV, "read"}, Read, "Read", []Privilege{
				leaf(nsCalDAV, "read-free-busy", ReadFreeBusy, "Read busy times"),
				leaf(nsOurs, "read-busy", ReadBusy, "See events as busy, without their titles"),
			}},
			{Name{nsDAV, "write"}, Write, "Write", []Privilege{
				leaf(nsDAV, "write-properties", WriteProperties, "Change properties"),
				leaf(nsDAV, "write-content", WriteContent, "Change content"),
				leaf(nsDAV, "bind", Bind, "Add members to a collection"),
				leaf(nsDAV, "unbind", Unbind, "Remove members from a collection"),
			}},
			leaf(nsDAV, "unlock", Unlock, "Remove a lock of somebody else"),
			leaf(nsDAV, "read-acl", ReadACL, "Read the access control list"),
			leaf(nsDAV, "read-current-user-privilege-set", ReadCurrentUserPrivilegeSet, "Read one's own privileges"),
			leaf(nsDAV, "write-acl", WriteACL, "Change the access control list"),
		}, extra)}
		for _, c := range all.Children {
			all.Set |= c.Set
		}
		return all
	}
	return [3]Privilege{Ordinary: tree(), Inbox: tree(deliver), Outbox: tree(send)}
}()

// Tree returns the privileges of a class with DAV:all as the root. It is shared and
// must not be changed.
func (c Class) Tree() Privilege { return trees[c.index()] }

// Supports is the set of privileges that resources of the class have.
func (c Class) Supports() Set { return trees[c.index()].Set }

func (c Class) index() Class {
	if c < Ordinary || c > Outbox {
		return Ordinary
	}
	return c
}

// byName finds privileges by name; byLocal by local name, which is unique among
// them and is what Encode writes.
var byName, byLocal = func() (map[Name]Set, map[string]Set) {
	names, locals := map[Name]Set{}, map[string]Set{}
	var walk func(Privilege)
	walk = func(p Privilege) {
		names[p.Name], locals[p.Name.Local] = p.Set, p.Set
		for _, c := range p.Children {
			walk(c)
		}
	}
	for _, t := range trees {
		walk(t)
	}
	// The trees each call their own part "all"; an entry means everything.
	names[Name{nsDAV, "all"}], locals["all"] = All, All
	return names, locals
}()

// Lookup returns the privileges that a name stands for; false when it is no
// privilege (DAV:not-supported-privilege, RFC 3744 §8.1.1).
func Lookup(n Name) (Set, bool) {
	s, ok := byName[n]
	return s, ok
}

// LookupFor is Lookup limited to the privileges that a class has.
func LookupFor(n Name, c Class) (Set, bool) {
	s, ok := byName[n]
	if n.Local == "all" {
		return s, ok
	}
	return s, ok && s&^c.Supports() == 0
}

// Names lists the privileges of the class that s contains, containers before what
// they contain: the value of DAV:current-user-privilege-set (RFC 3744 §5.4), where
// clients look for leaves as well as for containers.
func (s Set) Names(c Class) []Name {
	var out []Name
	var walk func(Privilege)
	walk = func(p Privilege) {
		if s.Has(p.Set) {
			out = append(out, p.Name)
		}
		for _, child := range p.Children {
			walk(child)
		}
	}
	walk(c.Tree())
	return out
}

// Minimal lists the fewest privileges of the class that make up s, as they stand in
// a DAV:ace. It passes over what has no name of its own; see Nameable.
func (s Set) Minimal(c Class) []Name {
	var out []Name
	var walk func(Privilege)
	walk = func(p Privilege) {
		if s.Has(p.Set) {
			out = append(out, p.Name)
			return
		}
		for _, child := range p.Children {
			walk(child)
		}
	}
	walk(c.Tree())
	return out
}

// Nameable tells whether s is the union of named privileges. Only a set that has
// the heart of DAV:read without all that it contains is not.
func (s Set) Nameable() bool { return s&^All == 0 && (s&readContent == 0 || s.Has(Read)) }
