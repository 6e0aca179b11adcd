package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// RespondOptions is what an answer may carry besides PARTSTAT.
type RespondOptions struct {
	Comment string // goes to the organizer as COMMENT; "" none
}

// answersOf are the PARTSTATs a component can have (RFC 5545 §3.2.12).
var answersOf = map[string][]string{
	"VEVENT": {"NEEDS-ACTION", "ACCEPTED", "DECLINED", "TENTATIVE"},
	"VTODO":  {"NEEDS-ACTION", "ACCEPTED", "DECLINED", "TENTATIVE", "COMPLETED", "IN-PROCESS"},
}

// Respond answers in an attendee's own copy, as the web page, a link in a mail
// or a room does: for the whole (instance nil; instances that were never
// answered go along) or for one instance, which gets an override when it has
// none. The result belongs through PlanChange like a PUT. Errors are *Error:
// not invited, no such instance, unknown PARTSTAT.
func Respond(current *calendar.Object, self []calendar.Address, answer string, instance *calendar.DateTime, opt RespondOptions) (*calendar.Object, error) {
	by := calendar.NewAddressSet(self...)
	if roleOf(current, by) != RoleAttendee {
		return nil, refuse("only somebody invited can answer")
	}
	answer = strings.ToUpper(answer)
	if !slices.Contains(answersOf[current.Kind()], answer) {
		return nil, refuse("there is no such answer")
	}
	store := current.Clone()
	s := read(store)
	give := func(c *calendar.Component) bool {
		own := ownLine(c, by)
		if own == nil || isCancelled(c) {
			return false
		}
		setPartstat(own, answer)
		if opt.Comment != "" {
			c.Remove("COMMENT")
			c.SetText("COMMENT", opt.Comment)
		}
		return true
	}
	if instance != nil {
		k := s.idKey(*instance)
		c := s.over[k]
		if c == nil && s.master != nil && recurs(s.master) && s.has(*instance) {
			c = s.derive(*instance)
			store.Children = append(store.Children, c)
		}
		if c == nil && s.master != nil && !recurs(s.master) && s.has(*instance) {
			c = s.master
		}
		if c == nil || !give(c) {
			return nil, refuse("there is no such instance to answer")
		}
		return store, nil
	}
	done := false
	before := partstat(ownLine(s.master, by))
	for _, c := range s.components() {
		if p := partstat(ownLine(c, by)); c == s.master || s.master == nil || p == "NEEDS-ACTION" || p == before {
			done = give(c) || done
		}
	}
	if !done {
		return nil, refuse("nothing is left to answer")
	}
	return store, nil
}
