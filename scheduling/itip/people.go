package itip

import (
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// Agent is a SCHEDULE-AGENT value (RFC 6638 §7.1): who sends the messages for
// one attendee or to the organizer.
type Agent string

const (
	AgentServer Agent = "SERVER" // also when the parameter is absent
	AgentClient Agent = "CLIENT"
	AgentNone   Agent = "NONE" // also for values nobody knows, as RFC 6638 §7.1 asks
)

// AgentOf reads SCHEDULE-AGENT of an ATTENDEE or ORGANIZER property.
func AgentOf(p *calendar.Property) Agent {
	if p == nil {
		return AgentServer
	}
	switch v := strings.ToUpper(p.Param("SCHEDULE-AGENT")); v {
	case "", "SERVER":
		return AgentServer
	case "CLIENT":
		return AgentClient
	}
	return AgentNone
}

// Organizer is the first ORGANIZER of the object; false when it has none.
func Organizer(o *calendar.Object) (calendar.Address, bool) {
	if p := organizerLine(o); p != nil {
		return calendar.Address(p.Value()), true
	}
	return "", false
}

// Attendees lists everybody invited to at least one component, each person
// once (by address key), in the order of appearance. Invalid addresses are
// left out.
func Attendees(o *calendar.Object) []calendar.Address {
	if o == nil {
		return nil
	}
	var out []calendar.Address
	seen := calendar.AddressSet{}
	for _, c := range o.Components() {
		for _, p := range c.Props {
			if p.Name() != "ATTENDEE" {
				continue
			}
			if a := calendar.Address(p.Value()); a.Key() != "" && !seen.Has(a) {
				seen.Add(a)
				out = append(out, a)
			}
		}
	}
	return out
}

// RoleOf is what the owner of the addresses by is to o. An organizer is
// usually an attendee as well; organizer wins (RFC 6638 §3.1).
func RoleOf(o *calendar.Object, by []calendar.Address) Role {
	return roleOf(o, calendar.NewAddressSet(by...))
}

func roleOf(o *calendar.Object, by calendar.AddressSet) Role {
	p := organizerLine(o)
	switch {
	case p == nil:
		return RoleNone
	case by.Has(calendar.Address(p.Value())):
		return RoleOrganizer
	}
	for _, c := range o.Components() {
		if ownLine(c, by) != nil {
			return RoleAttendee
		}
	}
	return RoleNone
}

func organizerLine(o *calendar.Object) *calendar.Property {
	if o == nil {
		return nil
	}
	for _, c := range o.Components() {
		if p := c.Prop("ORGANIZER"); p != nil {
			return p
		}
	}
	return nil
}

// personKey compares addresses; what is no address compares by its text.
func personKey(p *calendar.Property) string {
	if p == nil {
		return ""
	}
	if k := calendar.Address(p.Value()).Key(); k != "" {
		return k
	}
	return "?" + strings.ToLower(p.Value())
}

// line is the first ATTENDEE of c with that key, nil when there is none.
func line(c *calendar.Component, key string) *calendar.Property {
	if c == nil || key == "" {
		return nil
	}
	for _, p := range c.Props {
		if p.Name() == "ATTENDEE" && personKey(p) == key {
			return p
		}
	}
	return nil
}

// served is line when the server schedules for that person there (RFC 6638 §7.1).
// Where two lines of one component name him, one with CLIENT or NONE speaks for both.
func served(c *calendar.Component, key string) (first *calendar.Property) {
	if c == nil || key == "" {
		return nil
	}
	for _, p := range c.Props {
		if p.Name() != "ATTENDEE" || personKey(p) != key {
			continue
		}
		if AgentOf(p) != AgentServer {
			return nil
		}
		if first == nil {
			first = p
		}
	}
	return first
}

// agents tells who schedules for the people of c for whom the server does not.
func agents(c *calendar.Component) map[string]Agent {
	if c == nil {
		return nil
	}
	var out map[string]Agent
	for _, p := range c.Props {
		if p.Name() != "ATTENDEE" {
			continue
		}
		if a := AgentOf(p); a != AgentServer {
			if out == nil {
				out = map[string]Agent{}
			}
			out[personKey(p)] = a
		}
	}
	return out
}

// ownLine is the first ATTENDEE of c that is one of by.
func ownLine(c *calendar.Component, by calendar.AddressSet) *calendar.Property {
	if c == nil {
		return nil
	}
	for _, p := range c.Props {
		if p.Name() == "ATTENDEE" && by.Has(calendar.Address(p.Value())) {
			return p
		}
	}
	return nil
}

// partstat is PARTSTAT with its default (RFC 5545 §3.2.12).
func partstat(p *calendar.Property) string {
	if p == nil {
		return ""
	}
	if v := strings.ToUpper(p.Param("PARTSTAT")); v != "" {
		return v
	}
	return "NEEDS-ACTION"
}

// setPartstat writes v; NEEDS-ACTION asks for an answer too, an answer takes
// the question away (RFC 6638 §3.2.8, RFC 5546 §3.2.3).
func setPartstat(p *calendar.Property, v string) {
	if partstat(p) != v {
		p.SetParam("PARTSTAT", v)
	}
	if v == "NEEDS-ACTION" {
		p.SetParam("RSVP", "TRUE")
	} else {
		p.DelParam("RSVP")
	}
}

// isCancelled tells whether the component has STATUS:CANCELLED.
func isCancelled(c *calendar.Component) bool {
	return c != nil && strings.EqualFold(strings.TrimSpace(c.Value("STATUS")), "CANCELLED")
}

// paramList reads a list of addresses in a parameter as keys.
func paramKeys(p *calendar.Property, name string) []string {
	var out []string
	for _, v := range p.ParamValues(name) {
		if k := calendar.Address(v).Key(); k != "" {
			out = append(out, k)
		}
	}
	return out
}
