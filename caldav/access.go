package caldav

import (
	"slices"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/storage"
)

// resolve corrects the kind of path by the rows found, and computes the
// privileges of the user. What does not exist is treated as a child of what
// does, and an account that does not exist as one that gives no rights, so that an
// answer never tells missing from forbidden (abuse A21).
func (q *request) resolve() error {
	f := &q.found
	switch q.path.Kind {
	case KindPrincipal, KindProxy:
		if f.Home == nil || folderOf(f.Home.Kind) != q.path.Folder || q.path.Kind == KindProxy && f.Home.Kind == storage.KindGroup || !q.knows(f) {
			return errNotFound
		}
		q.privs = q.principalPrivileges(f.Home)
		return nil
	case KindHome, KindCalendar, KindObject:
		if f.Home == nil || f.Home.Kind == storage.KindGroup {
			q.gone = true
			return nil
		}
		if f.Collection != nil {
			k, item := kindOf(f.Collection.Kind)
			if q.path.Kind == KindObject {
				q.path.Kind = item
			} else if q.path.Kind == KindCalendar {
				q.path.Kind = k
			}
		} else if q.path.Kind == KindCalendar && q.path.Collection == busyName && q.knows(f) {
			q.path.Kind = KindBusy
		} else if q.path.Kind == KindCalendar && q.privilegesIn(f, nil).Has(acl.Read) {
			q.path.Kind = KindUnmapped
		}
	}
	q.privs = q.privilegesIn(f, f.Collection)
	if f.Object != nil && q.views(f.Object.Flags, q.privs) == viewNone { // it is not there for this user
		f.Object, q.veiled = nil, true
	}
	return nil
}

// privilegesIn evaluates the access control list of a collection (nil: of the
// home) for the user (RFC 3744 §6). f is what was found for the home that the
// collection is in.
func (q *request) privilegesIn(f *storage.Found, c *storage.Collection) acl.Set {
	home := f.Home
	switch {
	case q.user.Rights&storage.RightReadAll != 0:
		return acl.All
	case home == nil:
		return acl.Read | acl.ReadCurrentUserPrivilegeSet // principals and the folders above: the directory
	case home.ID == q.user.ID:
		return acl.All
	}
	return acl.Evaluate(q.listOf(f, c), q.subject(f))
}

// subject is the user seen from a home.
func (q *request) subject(f *storage.Found) acl.Subject {
	who := acl.Subject{Account: int64(q.user.ID), Authenticated: true, Owner: f.Home.ID == q.user.ID, Proxy: f.Proxy}
	for _, g := range f.Groups {
		who.Groups = append(who.Groups, int64(g))
	}
	return who
}

// listOf is the list in force on a collection, as far as the directory policy lets
// the user know of its owner: to others nothing is open by default.
func (q *request) listOf(f *storage.Found, c *storage.Collection) []acl.ACE {
	var list []acl.ACE
	if c == nil || c.Kind == storage.CollectionHome {
		list = acl.List(acl.CalendarHome, f.HomeACL, nil)
	} else {
		list = acl.List(aclKind(c.Kind), c.ACL, f.HomeACL)
	}
	if !q.knows(f) {
		list = list[:len(list)-len(acl.Default(aclKindOf(c)))]
	}
	return list
}

func aclKindOf(c *storage.Collection) acl.Collection {
	if c == nil {
		return acl.CalendarHome
	}
	return aclKind(c.Kind)
}

// privsFor are the privileges that decide about a method. Who takes away, renames
// or makes a calendar changes the home that it is in (RFC 3744 Appendix B); objects
// have the privileges of their calendar.
func (q *request) privsFor(m method) acl.Set {
	if m.above && !items.has(q.path.Kind) {
		return q.privilegesIn(&q.found, nil)
	}
	return q.privs
}

// principalPrivileges: a principal is open to everybody who signed in; its
// owner also writes its properties.
func (q *request) principalPrivileges(a *storage.Account) acl.Set {
	if a != nil && a.ID == q.user.ID || q.user.Rights&storage.RightReadAll != 0 {
		return acl.All
	}
	return acl.Read | acl.ReadCurrentUserPrivilegeSet
}

func aclKind(k storage.CollectionKind) acl.Collection {
	switch k {
	case storage.CollectionHome:
		return acl.CalendarHome
	case storage.CollectionCalendar:
		return acl.Calendar
	case storage.CollectionInbox:
		return acl.ScheduleInbox
	case storage.CollectionOutbox:
		return acl.ScheduleOutbox
	}
	return acl.NotificationCollection
}

// classOf is the privilege class of a kind of resource.
func classOf(k Kind) acl.Class {
	switch k {
	case KindInbox, KindInboxItem:
		return acl.Inbox
	case KindOutbox:
		return acl.Outbox
	}
	return acl.Ordinary
}

// looks tells whether privileges let one look at a resource of a kind at all: in
// calendars also without seeing more than busy times.
func looks(k Kind, privs acl.Set) bool {
	if k == KindCalendar || k == KindObject {
		return privs.Has(acl.ReadBusy)
	}
	return privs.Has(acl.Read)
}

// view is how much of an object somebody sees.
type view uint8

const (
	viewNone view = iota // as if it were not there
	viewBusy             // that time is taken, not by what
	viewAll
)

// views decides what the user sees of an object with flags in a collection on which
// he has privileges (RFC 5545 §3.8.1.3, abuse A24). The owner, who acts for him and
// who may read everything see all. To others private objects are not there, and
// confidential ones only take time; with no more than read-busy all of them do.
func (q *request) views(flags storage.Flags, privs acl.Set) view {
	switch {
	case q.confidant():
		return viewAll
	case flags&storage.FlagPrivate != 0:
		return viewNone
	case flags&storage.FlagConfidential != 0 || !privs.Has(acl.Read):
		return viewBusy
	}
	return viewAll
}

// confidant tells whether nothing in the home is hidden from the user.
func (q *request) confidant() bool {
	return q.found.Home == nil || q.found.Home.ID == q.user.ID || q.found.Proxy == acl.WriteProxy || q.user.Rights&storage.RightReadAll != 0
}

// mayChange refuses to change or take away what the user does not see in full: he
// would destroy what is hidden from him.
func (q *request) mayChange() error {
	if q.veiled || q.found.Object != nil && q.views(q.found.Object.Flags, q.privs) != viewAll {
		return q.forbidden(acl.WriteContent)
	}
	return nil
}

// missing reports whether the path names nothing that exists.
func (q *request) missing() bool {
	switch q.path.Kind {
	case KindObject, KindInboxItem:
		return q.found.Object == nil
	case KindUnmapped, KindNone:
		return true
	case KindCalendar:
		return q.found.Collection == nil
	}
	return false
}

// inGroup tells whether the user is in a group.
func (q *request) inGroup(id storage.AccountID) bool { return slices.Contains(q.found.Groups, id) }
