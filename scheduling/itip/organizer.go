package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// planOrganizer is the organizer's PUT (RFC 6638 §3.2.1). An old object that
// was no scheduling object of this organizer counts as none.
func planOrganizer(c Change, by calendar.AddressSet, next *calendar.Object) (Plan, error) {
	old := c.Old
	if roleOf(old, by) != RoleOrganizer {
		old = nil
	}
	store := next.Clone()
	oneLineEach(store)
	if was := organizerLine(old); was != nil {
		// RFC 6638 §3.2.4.3: the attendees know the organizer by one address, and take
		// nothing from another.
		for _, n := range store.Components() {
			if q := n.Prop("ORGANIZER"); q != nil && personKey(q) != personKey(was) {
				q.SetValue(was.Value())
			}
		}
	}
	a, b := read(old), read(store)
	forced := b.ownServerState(a, by, c)
	forceMaster := false
	if b.master != nil && a.master != nil {
		forceMaster = b.keepAnswers(a, by, c)
	}
	b = read(store) // keepAnswers may have added overrides
	d := newDiff(a, b, by, "")
	d.forceMaster = d.forceMaster || forceMaster
	d.find(c.Force, forced)

	// RFC 5546 §2.1.4: never lower than what was given out; raised when an
	// update goes to somebody and the client did not raise it.
	for _, n := range b.components() {
		was := a.at(b.keyAt(n))
		if was == nil {
			was = a.master
		}
		if sequenceOf(n) < sequenceOf(was) {
			setSequence(n, sequenceOf(was))
		}
	}
	if top := a.maxSequence(); old != nil && d.update && b.maxSequence() <= top {
		for _, n := range b.components() {
			setSequence(n, top+1)
		}
	}
	// RFC 5546 §2.1.5: whom an event of that UID was called off to elsewhere has
	// its CANCEL, and would take what has a lower SEQUENCE for older.
	if old == nil && c.Former != nil {
		if top := cancelledWith(c.Former); b.maxSequence() <= top {
			for _, n := range b.components() {
				setSequence(n, top+1)
			}
		}
	}
	p := Plan{Role: RoleOrganizer, Store: store, NewTag: true, Marks: d.marks(c)}
	p.Rewritten = rewritten(store, c.New)
	if !c.Silent {
		p.Messages = d.messages(MessageOptions{By: c.By, Now: c.Now, ProdID: c.ProdID})
	}
	return p, nil
}

// planCancelAll is the organizer's DELETE, or the removal of ORGANIZER and all
// attendees: CANCEL to everybody (RFC 6638 §3.2.1.4).
func planCancelAll(c Change, by calendar.AddressSet) (Plan, error) {
	p := Plan{Role: RoleOrganizer, NewTag: true}
	if c.Silent {
		return p, nil
	}
	gone := c.Old.Clone()
	s := read(gone)
	top := cancelledWith(gone)
	for _, n := range s.components() {
		setSequence(n, top)
	}
	d := newDiff(s, read(nil), by, "")
	d.find(false, nil)
	p.Messages = d.messages(MessageOptions{By: c.By, Now: c.Now, ProdID: c.ProdID})
	return p, nil
}

// cancelledWith is the SEQUENCE of the CANCEL that ends an organizer's object.
func cancelledWith(o *calendar.Object) int { return read(o).maxSequence() + 2 }

// lines indexes the ATTENDEEs of a component by person.
func lines(c *calendar.Component) map[string]*calendar.Property {
	m := map[string]*calendar.Property{}
	if c == nil {
		return m
	}
	for _, p := range c.Props {
		if p.Name() == "ATTENDEE" {
			if k := personKey(p); m[k] == nil {
				m[k] = p
			}
		}
	}
	return m
}

// ownServerState writes back what is the server's in an organizer's object:
// other people's PARTSTAT (want 13) and every SCHEDULE-STATUS. It answers who
// is to get a message although nothing changed (SCHEDULE-FORCE-SEND).
func (s *series) ownServerState(old *series, by calendar.AddressSet, ch Change) (forced map[string]bool) {
	var seen map[string]bool
	if ch.Unguarded {
		seen = answersSeen(old, read(ch.New))
	}
	moved := old.master != nil && s.master != nil && rescheduled(old, old.master, s, s.master)
	for _, n := range s.components() {
		key := s.keyAt(n)
		was := old.at(key)
		derived := false
		if was == nil && key != "" && old.master != nil {
			was, derived = old.effective(key, s.ids[key]), true
		}
		again := was != nil && rescheduled(old, was, s, n) || was != nil && derived && moved || was == nil && key != "" && moved ||
			isFuture(n) && moved // its later instances are the series'
		touched := was != nil && !slices.Equal(withoutAnswers(old.canon(was)), withoutAnswers(s.canon(n)))
		before := lines(was)
		if q := n.Prop("ORGANIZER"); q != nil {
			q.DelParam("SCHEDULE-STATUS")
			q.DelParam("SCHEDULE-FORCE-SEND")
		}
		for _, q := range n.Props {
			if q.Name() != "ATTENDEE" {
				continue
			}
			k := personKey(q)
			insists := strings.EqualFold(q.Param("SCHEDULE-FORCE-SEND"), "REQUEST") // RFC 6638 §7.2
			if insists {
				if forced == nil {
					forced = map[string]bool{}
				}
				forced[k] = true
			}
			q.DelParam("SCHEDULE-FORCE-SEND")
			if AgentOf(q) != AgentServer { // the client does it all
				continue
			}
			w := before[k]
			q.DelParam("SCHEDULE-STATUS")
			if w != nil {
				if v := w.ParamValues("SCHEDULE-STATUS"); len(v) > 0 {
					q.SetParam("SCHEDULE-STATUS", v...)
				}
			}
			if by.Has(calendar.Address(q.Value())) {
				continue
			}
			sent := partstat(q)
			switch {
			case w == nil && ch.Silent: // an import brings its answers along
			case w == nil || again: // RFC 6638 §3.2.8
				setPartstat(q, "NEEDS-ACTION")
			case sent == "NEEDS-ACTION" && partstat(w) != sent && (insists || touched && (ch.AllowReset || seen[k]) || ch.Automatic.Has(calendar.Address(q.Value())) && sequenceOf(n) > sequenceOf(was)):
				setPartstat(q, sent)
			default:
				if v := partstat(w); v != sent {
					setPartstat(q, v)
					copyParams(q, w, "DELEGATED-TO", "DELEGATED-FROM")
				} else if v == "NEEDS-ACTION" {
					setPartstat(q, v)
				}
			}
		}
	}
	return forced
}

// answersSeen are the people whose answer to some part of old the object says as it
// is: who writes that has read their answers.
func answersSeen(old, s *series) map[string]bool {
	out := map[string]bool{}
	for _, n := range s.components() {
		before := lines(old.at(s.keyAt(n)))
		for k, q := range lines(n) {
			if w := before[k]; w != nil && partstat(q) != "NEEDS-ACTION" && partstat(q) == partstat(w) {
				out[k] = true
			}
		}
	}
	return out
}

func copyParams(to, from *calendar.Property, names ...string) {
	for _, n := range names {
		to.SetParam(n, from.ParamValues(n)...)
	}
}

// keepAnswers brings back what attendees said about single instances when the
// organizer's client did not send those overrides: it may never have seen
// them, or it took a change of the instance back. An instance that returns to
// its regular time asks everybody again. It answers whether the master must go
// out although it did not change, because an override's text went away.
func (s *series) keepAnswers(old *series, by calendar.AddressSet, ch Change) (forceMaster bool) {
	if len(old.order) == 0 || !recurs(s.master) || rescheduled(old, old.master, s, s.master) {
		return false
	}
	for _, k := range old.order {
		was := old.over[k]
		if s.over[k] != nil || isCancelled(was) || isFuture(was) {
			continue
		}
		if _, out := s.ex[k]; out || !s.has(old.ids[k]) {
			continue
		}
		n := s.derive(old.ids[k])
		if n == nil {
			continue
		}
		moved := rescheduled(old, was, s, n)
		need := false
		before := lines(was)
		for _, q := range n.Props {
			if q.Name() != "ATTENDEE" || by.Has(calendar.Address(q.Value())) {
				continue
			}
			key := personKey(q)
			w := before[key]
			if w == nil || AgentOf(q) != AgentServer || AgentOf(w) != AgentServer {
				continue
			}
			answer := partstat(w)
			if moved {
				answer = "NEEDS-ACTION"
			}
			if answer != partstat(q) {
				need = true
				setPartstat(q, answer)
				copyParams(q, w, "SCHEDULE-STATUS")
			}
		}
		if need {
			setStamp(n, ch.Now)
			s.o.Children = append(s.o.Children, n)
		} else if !slices.Equal(withoutAnswers(old.canon(was)), withoutAnswers(s.canon(n))) {
			forceMaster = true
		}
	}
	return forceMaster
}

// oneLineEach removes further ATTENDEE lines for the same person (want 11).
func oneLineEach(o *calendar.Object) {
	for _, c := range o.Components() {
		seen := map[string]bool{}
		c.Props = slices.DeleteFunc(c.Props, func(p *calendar.Property) bool {
			if p.Name() != "ATTENDEE" {
				return false
			}
			k := personKey(p)
			twice := seen[k]
			seen[k] = true
			return twice
		})
	}
}
