package itip

import (
	"github.com/kalends/kalends/caldav/calendar"
)

// processAdd is an ADD (RFC 5546 §3.2.4): further instances of a series the
// attendee has. Who does not have it asks for it by REFRESH.
func processAdd(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	if !fromOrganizer(m, current, p) || current != nil && roleOf(current, self) != RoleAttendee {
		return Outcome{Status: statusNoAuthority}, nil
	}
	if current == nil {
		var own *calendar.Property
		for _, c := range m.Components() {
			if own = ownLine(c, self); own != nil {
				break
			}
		}
		if own == nil {
			return Outcome{Status: statusNoAuthority}, nil
		}
		return Outcome{Status: statusSuccess, Messages: []Message{refreshRequest(m, own, p)}}, nil
	}
	cur := read(current)
	if cur.master == nil {
		return Outcome{Status: statusSuccess, Messages: []Message{refreshRequest(m, ownLine(cur.over[cur.order[0]], self), p)}}, nil
	}
	store := current.Clone()
	cur = read(store)
	in := read(m)
	out := Outcome{Status: statusSuccess, ServerTransp: p.ServerTransp, Thrown: p.Thrown, OrganizerTransp: mergeTransp(p.OrganizerTransp, &series{order: in.order, over: in.over})}
	any := false
	for _, c := range m.Components() {
		start := c.Prop("DTSTART")
		if ownLine(c, self) == nil || start == nil || stampOf(c, p.Now).Sequence < sequenceOf(cur.master) {
			continue
		}
		id, err := calendar.ParseDateTime(start)
		if q := c.Prop("RECURRENCE-ID"); q != nil {
			id, err = calendar.ParseDateTime(q)
		}
		if err != nil {
			continue
		}
		k := in.idKey(id)
		if cur.over[k] != nil || cur.has(id) {
			continue
		}
		n := stored(c)
		if n.Prop("RECURRENCE-ID") == nil {
			n.Add(id.Property("RECURRENCE-ID"))
		}
		n.Remove("RRULE", "RDATE", "EXDATE")
		keepStatus(n, cur.master)
		for _, a := range cur.master.ChildrenNamed("VALARM") {
			n.Children = append(n.Children, a.Clone())
		}
		pending(n, self, &out)
		cur.include(cur.master, k)
		cur.master.Add(id.Property("RDATE"))
		cur.over[k] = n
		if sequenceOf(c) > sequenceOf(cur.master) {
			setSequence(cur.master, sequenceOf(c))
		}
		store.Children = append(store.Children, n)
		any = true
	}
	if !any {
		return Outcome{Status: statusSuccess, ServerTransp: p.ServerTransp, OrganizerTransp: p.OrganizerTransp}, nil
	}
	addZones(store, m)
	out.Store, out.Changed, out.NewTag, out.Inbox, out.Kind = store, true, true, m, KindChanged
	return out, nil
}

// refreshRequest asks the organizer for the whole event (RFC 5546 §3.2.6).
func refreshRequest(m *calendar.Object, own *calendar.Property, p Policy) Message {
	c := calendar.NewComponent(m.Kind())
	c.Add(calendar.NewProperty("DTSTAMP", ""))
	c.Add(calendar.NewProperty("UID", calendar.EscapeText(m.UID())))
	org := organizerLine(m).Clone()
	cleanLine(org)
	c.Add(org)
	line := calendar.NewProperty("ATTENDEE", own.Value())
	c.Add(line)
	o := calendar.NewObject(p.ProdID)
	o.Children = []*calendar.Component{c}
	envelope(o, "REFRESH", MessageOptions{Now: p.Now, ProdID: p.ProdID})
	return newMessage(o, "REFRESH", calendar.Address(own.Value()), []calendar.Address{calendar.Address(org.Value())}, KindRefresh)
}

// asks finds the attendee who sends a COUNTER or REFRESH and checks that the
// organizer's object lists him.
func asks(m, current *calendar.Object, p Policy, self calendar.AddressSet) (calendar.Address, bool) {
	if current == nil || roleOf(current, self) != RoleOrganizer {
		return "", false
	}
	if org := organizerLine(m); org != nil && personKey(org) != personKey(organizerLine(current)) && !self.Has(calendar.Address(org.Value())) {
		return "", false
	}
	for _, c := range m.Components() {
		for _, l := range c.All("ATTENDEE") {
			a := calendar.Address(l.Value())
			if self.Has(a) || p.Sender != "" && !p.Sender.Equal(a) {
				continue
			}
			for _, k := range current.Components() {
				if q := line(k, a.Key()); q != nil {
					return calendar.Address(q.Value()), true
				}
			}
		}
	}
	return "", false
}

// processRefresh answers a REFRESH with the whole event as that attendee may
// see it.
func processRefresh(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	who, ok := asks(m, current, p, self)
	if !ok {
		return Outcome{Status: statusNoAuthority}, nil
	}
	msgs, err := fullRequests(current, []calendar.Address{who}, KindChanged, MessageOptions{By: p.Self, Now: p.Now, ProdID: p.ProdID})
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Status: statusSuccess, Messages: msgs, Replier: who}, nil
}

// processCounter puts a proposal before the organizer; only he decides (want
// 17: see AcceptCounter). Where the attendee has a tail of the series it is put into
// the organizer's terms, for his program does not know the series that began there.
func processCounter(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	who, ok := asks(m, current, p, self)
	if !ok {
		return Outcome{Status: statusNoAuthority}, nil
	}
	return Outcome{Status: statusSuccess, Inbox: fromTail(m, current, who.Key()), Kind: KindCounter, Replier: who}, nil
}

// processDeclineCounter tells the attendee that his proposal was not taken.
func processDeclineCounter(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	if current == nil || !fromOrganizer(m, current, p) || roleOf(current, self) != RoleAttendee {
		return Outcome{Status: statusNoAuthority}, nil
	}
	return Outcome{Status: statusSuccess, Inbox: m, Kind: KindDeclined}, nil
}
