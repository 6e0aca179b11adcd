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
	s.follows(m)
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
		if start, err := calendar.ParseDateTime(orEmpty(c.Prop("DTSTART"))); err == nil && !hasAny(c, "DTEND", "DURATION", "DUE") {
			s.keepLength(t, start)
		}
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

// keepLength moves the end of c along with a new start.
func (s *series) keepLength(c *calendar.Component, start calendar.DateTime) {
	was, err := calendar.ParseDateTime(orEmpty(c.Prop("DTSTART")))
	switch {
	case err != nil:
	case (was.Kind == calendar.Date) == (start.Kind == calendar.Date):
		s.moveTo(c, c.Clone(), start, 0)
	default: // days become hours or the other way round: what is left is the default
		c.Remove("DTEND", "DURATION", "DUE")
	}
}

// follows gives what belongs to single instances of s new names when the proposal m
// moves the series: the dates that were taken out are taken out of the new
// one, and an override is of the same instance (RFC 5545 §3.8.4.4). One that was
// like the series, but for answers, goes: everybody is asked anew. Another that has
// no time of its own moves along.
func (s *series) follows(m *series) {
	if !recurs(s.master) || m.master == nil {
		return
	}
	from, err := calendar.ParseDateTime(orEmpty(s.master.Prop("DTSTART")))
	to, bad := calendar.ParseDateTime(orEmpty(m.master.Prop("DTSTART")))
	if err != nil || bad != nil || s.key(from) == s.key(to) && from.Kind == to.Kind && from.TZID == to.TZID {
		return
	}
	moved := func(id calendar.DateTime) calendar.DateTime {
		if l, ok := s.inForm(id); ok {
			id = l
		}
		return calendar.DateTime{Wall: id.Wall.Add(to.Wall.Sub(from.Wall)), Kind: to.Kind, TZID: to.TZID}
	}
	out := sortedKeys(s.ex)
	dates := make([]calendar.DateTime, 0, len(out))
	for _, k := range out {
		dates = append(dates, moved(s.ex[k]))
	}
	for _, k := range s.order {
		c, id := s.over[k], moved(s.ids[k])
		if plain := s.derive(s.ids[k]); !isFuture(c) && plain != nil && s.timing(c) == s.timing(plain) {
			if sameAlarms(c, s.master) && slices.Equal(withoutAnswers(s.canon(c)), withoutAnswers(s.canon(plain))) {
				s.o.RemoveComponent(c)
				continue
			}
			s.keepLength(c, id)
			setTime(c, "DTSTART", id)
		}
		setTime(c, "RECURRENCE-ID", id)
	}
	s.master.Remove("EXDATE")
	for _, d := range dates {
		s.master.Add(d.Property("EXDATE"))
	}
	*s = *read(s.o)
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
