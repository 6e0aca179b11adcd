package itip

import (
	"bytes"

	"github.com/kalends/kalends/caldav/calendar"
)

// PlanChange decides what a change by the owner of a calendar becomes: the
// object to store and the messages to send. It refuses with an *Error what
// RFC 6638 §3.2.4 forbids. Old and New are not changed.
func PlanChange(c Change) (Plan, error) {
	p, err := planChange(c)
	if err == nil {
		p.sentBy(c.SentBy, c.Old)
	}
	return p, err
}

func planChange(c Change) (Plan, error) {
	by := calendar.NewAddressSet(c.By...)
	oldRole := roleOf(c.Old, by)
	if c.New == nil {
		switch oldRole {
		case RoleOrganizer:
			return planCancelAll(c, by)
		case RoleAttendee:
			return planLeave(c, by)
		}
		return Plan{}, nil
	}
	next := c.New
	if oldRole != RoleNone && c.Old.Kind() == "VTODO" {
		next = restoreTodo(c.Old, next, by)
	}
	next, err := sameOrganizer(next)
	if err != nil {
		return Plan{}, err
	}
	if err := withinLimits(next, c.Limits); err != nil {
		return Plan{}, err
	}
	newRole := roleOf(next, by)
	if oldRole != RoleNone && c.Old.UID() != next.UID() {
		// Another event at the same place: the old one ends, a new one begins.
		return planReplaced(c, by, oldRole)
	}
	switch {
	case oldRole == RoleAttendee:
		return planAttendee(c, by, next)
	case oldRole == RoleOrganizer && newRole != RoleOrganizer:
		// RFC 6638 §3.2.4.4: another ORGANIZER, or attendees left without one.
		if organizerLine(next) != nil || len(Attendees(next)) > 0 {
			return Plan{}, &Error{CondOrganizerChange, "the ORGANIZER of an event with attendees cannot be changed or removed"}
		}
		p, err := planCancelAll(c, by)
		p.Role, p.Store = RoleNone, next
		return p, err
	case newRole == RoleOrganizer:
		return planOrganizer(c, by, next)
	case newRole == RoleAttendee:
		return planAttendee(c, by, next)
	}
	return Plan{Store: next, Rewritten: next != c.New}, nil
}

// planReplaced treats a PUT of another UID over a scheduling object as the
// end of the one and the beginning of the other.
func planReplaced(c Change, by calendar.AddressSet, oldRole Role) (Plan, error) {
	gone, fresh := c, c
	gone.New, fresh.Old = nil, nil
	p, err := planChange(gone)
	if err != nil {
		return Plan{}, err
	}
	q, err := planChange(fresh)
	if err != nil {
		return Plan{}, err
	}
	q.Messages = append(p.Messages, q.Messages...)
	return q, nil
}

// PlanRecipient plans again for one recipient: the messages that lead from the
// state old, the last he is known to have (nil: none), to new (nil: deleted).
// Both may be whole objects of the organizer or what Tailor made of them. It
// decides nothing about what is stored, and SEQUENCE is taken from new.
func PlanRecipient(old, new *calendar.Object, recipient calendar.Address, opt MessageOptions) ([]Message, error) {
	if recipient.Key() == "" {
		return nil, &Error{CondValidObject, "the recipient's address is invalid"}
	}
	k := recipient.Key()
	d := newDiff(read(asTail(old, k)), read(asTail(new, k)), calendar.NewAddressSet(opt.By...), k)
	d.askAgain(opt.Marks)
	d.find(false, nil)
	return d.messages(opt), nil
}

// sameOrganizer is RFC 6638 §3.2.4.2: all components have one ORGANIZER. Some
// clients leave it out in the master when only one instance has guests; it is
// written there then.
func sameOrganizer(o *calendar.Object) (*calendar.Object, error) {
	p := organizerLine(o)
	if p == nil {
		return o, nil
	}
	k := personKey(p)
	missing := false
	for _, c := range o.Components() {
		q := c.Prop("ORGANIZER")
		if q != nil && personKey(q) != k {
			return nil, &Error{CondSameOrganizer, "all components need the same ORGANIZER"}
		}
		missing = missing || q == nil
	}
	if missing {
		o = o.Clone()
		for _, c := range o.Components() {
			if c.Prop("ORGANIZER") == nil {
				c.Add(p.Clone())
			}
		}
	}
	return o, nil
}

const defaultLimit = 5000

func withinLimits(o *calendar.Object, l Limits) error {
	if organizerLine(o) == nil {
		return nil
	}
	if l.Attendees <= 0 {
		l.Attendees = defaultLimit
	}
	if l.Instances <= 0 {
		l.Instances = defaultLimit
	}
	if len(o.Components()) > l.Instances {
		return &Error{CondMaxInstances, "the event has too many changed instances"}
	}
	if len(Attendees(o)) > l.Attendees {
		return &Error{CondMaxAttendees, "the event has too many attendees"}
	}
	return nil
}

// restoreTodo gives a VTODO back the ORGANIZER and ATTENDEEs that some clients
// drop when they complete it.
func restoreTodo(old, next *calendar.Object, by calendar.AddressSet) *calendar.Object {
	if organizerLine(next) != nil || len(Attendees(next)) > 0 || old.UID() != next.UID() {
		return next
	}
	next = next.Clone()
	a, b := read(old), read(next)
	for _, c := range b.components() {
		from := a.at(b.keyAt(c))
		if from == nil {
			from = a.components()[0]
		}
		for _, p := range from.Props {
			if n := p.Name(); n == "ORGANIZER" || n == "ATTENDEE" {
				c.Add(p.Clone())
			}
		}
		// The client that dropped the lines completed its own part.
		if own := line(c, personKey(c.Prop("ORGANIZER"))); own != nil && c.Prop("COMPLETED") != nil && roleOf(old, by) == RoleOrganizer {
			own.SetParam("PARTSTAT", "COMPLETED")
		}
	}
	return next
}

// rewritten tells whether the octets to be stored are not those that came.
func rewritten(a, b *calendar.Object) bool {
	return a != b && !bytes.Equal(a.Bytes(), b.Bytes())
}
