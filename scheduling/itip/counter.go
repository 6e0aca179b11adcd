package itip

import (
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
)

// proposed are the properties a COUNTER may propose (RFC 5546 §3.2.7).
var proposed = []string{"DTSTART", "DTEND", "DURATION", "DUE", "RRULE", "RDATE", "SUMMARY", "DESCRIPTION", "LOCATION"}

// AcceptCounter is the organizer's object with what an attendee's COUNTER
// proposes: times, place and text of the components it names. It belongs
// through PlanChange like a PUT, which tells everybody (want 17). The objects
// are not changed. It refuses instances that do not exist.
func AcceptCounter(current, counter *calendar.Object) (*calendar.Object, error) {
	if current == nil || counter == nil || counter.Method() != "COUNTER" || current.UID() != counter.UID() {
		return nil, &Error{CondValidObject, "this is no COUNTER for the event"}
	}
	store := current.Clone()
	s, m := read(store), read(counter)
	for _, c := range m.components() {
		k := m.keyAt(c)
		t := s.at(k)
		if t == nil && k != "" && s.master != nil && recurs(s.master) && !isFuture(c) && s.has(m.ids[k]) {
			t = s.derive(m.ids[k])
			store.Children = append(store.Children, t)
		}
		if t == nil {
			return nil, &Error{CondValidObject, "the proposal names an instance that does not exist"}
		}
		moves := c.Prop("DTSTART") != nil || c.Prop("DUE") != nil
		for _, name := range proposed {
			have := c.All(name)
			switch {
			case (name == "RRULE" || name == "RDATE") && (k != "" || len(have) == 0):
				continue
			case moves && (name == "DTEND" || name == "DURATION" || name == "DUE"):
				if hasAny(c, "DTEND", "DURATION", "DUE") {
					t.Remove(name)
				}
			case len(have) == 0:
				continue
			default:
				t.Remove(name)
			}
			for _, p := range have {
				t.Add(p.Clone())
			}
		}
	}
	addZones(store, counter)
	dropZones(store)
	return store, nil
}

func hasAny(c *calendar.Component, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return c.Prop(n) != nil })
}

// DeclineCounter is the answer to a COUNTER that the organizer does not take
// (RFC 5546 §3.2.8): a DECLINECOUNTER to the attendee who proposed it.
func DeclineCounter(current, counter *calendar.Object, comment string, opt MessageOptions) (Message, error) {
	if current == nil || counter == nil || counter.Method() != "COUNTER" || current.UID() != counter.UID() {
		return Message{}, &Error{CondValidObject, "this is no COUNTER for the event"}
	}
	who, ok := asks(counter, current, Policy{Now: opt.Now}, calendar.NewAddressSet(opt.By...))
	if !ok {
		return Message{}, &Error{CondValidObject, "the proposal does not come from an attendee"}
	}
	org := organizerLine(current)
	if t := read(current).tailOf(who.Key()); t != nil {
		counter = t.forth(counter)
	}
	s := read(counter)
	var comps []*calendar.Component
	for _, c := range s.components() {
		n := calendar.NewComponent(c.Name)
		n.Add(calendar.NewProperty("DTSTAMP", ""))
		for _, name := range []string{"UID", "RECURRENCE-ID", "SEQUENCE", "DTSTART", "SUMMARY"} {
			for _, p := range c.All(name) {
				n.Add(p.Clone())
			}
		}
		line := org.Clone()
		cleanLine(line)
		n.Add(line)
		n.Add(calendar.NewProperty("ATTENDEE", string(who)))
		if comment != "" {
			n.SetText("COMMENT", comment)
		}
		n.Add(calendar.NewProperty("REQUEST-STATUS", "3.0;Declined"))
		comps = append(comps, n)
	}
	o := s.wrap(comps)
	dropZones(o)
	envelope(o, "DECLINECOUNTER", opt)
	return newMessage(o, "DECLINECOUNTER", calendar.Address(org.Value()), []calendar.Address{who}, KindDeclined), nil
}
