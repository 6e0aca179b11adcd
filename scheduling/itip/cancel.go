package itip

import (
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
)

// processCancel is a CANCEL in an attendee's hands (RFC 5546 §3.2.5). Without
// RECURRENCE-ID it ends everything he has, else only the instances it names
// (want 2). What is unknown is no error.
func processCancel(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	if !fromOrganizer(m, nil, p) {
		return Outcome{Status: statusNoAuthority}, nil
	}
	if current == nil {
		return Outcome{Status: statusSuccess}, nil
	}
	if !fromOrganizer(m, current, p) || organizerLine(current) == nil || roleOf(current, self) == RoleOrganizer {
		return Outcome{Status: statusNoAuthority}, nil
	}
	out := Outcome{Status: statusSuccess, OrganizerTransp: p.OrganizerTransp, ServerTransp: p.ServerTransp}
	s := read(m)
	store := current.Clone()
	cur := read(store)
	heard := false // something of the message was news
	if s.master != nil {
		if cur.master != nil && older(s.master, cur.master, p.Now) {
			return out, nil
		}
		for _, c := range cur.components() {
			if cur.master == nil && older(s.master, c, p.Now) {
				continue
			}
			heard = heard || !isCancelled(c) || sequenceOf(s.master) > sequenceOf(c)
			markCancelled(c, s.master)
		}
		if heard && p.DropCancelled {
			return Outcome{Status: statusSuccess, Remove: true, Changed: true, NewTag: true, Inbox: m, Kind: KindCancelled}, nil
		}
	} else {
		out.Thrown = p.Thrown
		for _, k := range s.order {
			heard = cancelInstance(s, k, cur, store, p) || heard
		}
		if len(store.Components()) == 0 {
			return Outcome{Status: statusSuccess, Remove: true, Changed: true, NewTag: true, Inbox: m, Kind: KindCancelled}, nil
		}
	}
	if !heard {
		return out, nil
	}
	out.Inbox, out.Kind = m, KindCancelled
	if changedOctets(current, store) {
		addZones(store, m)
		dropZones(store)
		out.Store, out.Changed, out.NewTag = store, true, true
		out.ServerTransp = p.ServerTransp && openTransp(read(store), self)
	}
	return out, nil
}

// markCancelled gives a stored component what the CANCEL c says.
func markCancelled(n, c *calendar.Component) {
	n.Set(calendar.NewProperty("STATUS", "CANCELLED"))
	if sequenceOf(c) > sequenceOf(n) {
		setSequence(n, sequenceOf(c))
	}
	if q := c.Prop("DTSTAMP"); q != nil {
		n.Set(q.Clone())
	}
}

// cancelInstance takes one instance out of the copy and tells whether the
// message was news about it.
func cancelInstance(s *series, k string, cur *series, store *calendar.Object, p Policy) bool {
	c := s.over[k]
	id := s.ids[k]
	was := cur.over[k]
	if was != nil && (older(c, was, p.Now) || isCancelled(was) && stampOf(c, p.Now).Compare(stampOf(was, p.Now)) <= 0) {
		return false
	}
	if was == nil && overtaken(c, cur.master, p.Now) {
		return false
	}
	if isFuture(c) {
		return cancelFuture(cur, store, id, c)
	}
	_, excluded := cur.ex[k]
	drop := p.DropCancelled || !isCancelled(c) && cur.master != nil && recurs(cur.master)
	switch {
	case excluded:
		return true // he threw it away before; nothing changes
	case was == nil && (cur.master == nil || !cur.has(id)):
		return false
	case drop:
		if was != nil {
			store.RemoveComponent(was)
			delete(cur.over, k)
		}
		if cur.master != nil && (was != nil || cur.has(id)) {
			cur.exclude(cur.master, id)
			// An EXDATE bears no stamp: a late message that still has the
			// instance must not count as new.
			if q := c.Prop("DTSTAMP"); q != nil && stampOf(cur.master, p.Now).DTStamp.Before(stampOf(c, p.Now).DTStamp) {
				cur.master.Set(q.Clone())
			}
		}
	case was != nil:
		markCancelled(was, c)
	default:
		n := cur.derive(id)
		if n == nil {
			return false
		}
		n.Children = slices.DeleteFunc(n.Children, func(a *calendar.Component) bool { return a.Name == "VALARM" })
		markCancelled(n, c)
		store.Children = append(store.Children, n)
		cur.over[k] = n
	}
	return true
}

// cancelFuture ends the series right before id (RANGE=THISANDFUTURE).
func cancelFuture(cur *series, store *calendar.Object, id calendar.DateTime, c *calendar.Component) bool {
	at := cur.instant(id)
	if cur.master == nil { // single instances, or what is left of the series, are all he knows
		news := false
		for _, k := range cur.order {
			if n := cur.over[k]; !cur.instant(cur.ids[k]).Before(at) && !isCancelled(n) {
				markCancelled(n, c)
				news = true
			}
		}
		return news
	}
	if !recurs(cur.master) {
		return false
	}
	cur.truncate(cur.master, id)
	if sequenceOf(c) > sequenceOf(cur.master) {
		setSequence(cur.master, sequenceOf(c))
	}
	for _, k := range cur.order {
		if c := cur.over[k]; c != nil && !cur.instant(cur.ids[k]).Before(at) {
			store.RemoveComponent(c)
			delete(cur.over, k)
		}
	}
	return true
}
