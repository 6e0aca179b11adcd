package scheduling

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Modes in which a room or resource answers invitations by itself.
const (
	AutoNone          = "none"
	AutoAcceptAlways  = "accept-always"
	AutoDeclineAlways = "decline-always"
	AutoAcceptIfFree  = "accept-if-free"  // else a person answers
	AutoDeclineIfBusy = "decline-if-busy" // else a person answers
	AutoAutomatic     = "automatic"       // accepts when free, declines when busy
	autoHorizon       = 2 * 366 * 24 * time.Hour
	autoInstances     = 500
	statusAccepted    = "ACCEPTED"
	statusDeclined    = "DECLINED"
	statusNeedsAction = "NEEDS-ACTION"
)

// automatic reports whether an account answers by itself.
func automatic(a storage.Account) bool {
	return a.Settings.AutoAccept != "" && a.Settings.AutoAccept != AutoNone
}

// automatic are the attendees of an object who answer by themselves.
func (d *delivery) automatic(o *calendar.Object) calendar.AddressSet {
	out := calendar.AddressSet{}
	for _, a := range itip.Attendees(o) {
		if r, ok := d.local(a); ok && automatic(r.Account) {
			out.Add(a)
		}
	}
	return out
}

// autoLock is the UID under which a room is locked while it decides, so that
// two events that are booked at the same time see each other.
const autoLock = "kalends:auto-answer"

// autoAnswer lets a room or resource answer its copy of an event. It runs
// after the invitation was committed, in a transaction of its own, as any
// other attendee's answer does. What cannot be answered is left to people.
func (s *Service) autoAnswer(ctx context.Context, a storage.Account, uid string) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		_, obj, err := s.attendeeCopy(ctx, tx, a, uid)
		if err != nil || obj == nil || !pendingAnswers(obj, calendar.NewAddressSet(addressesOf(a)...)) {
			return err
		}
		d := s.newDelivery(tx, a, "auto-accept", s.cfg.Now())
		own := addressesOf(a)[0]
		org, _ := itip.Organizer(obj)
		if err := d.learn(ctx, []calendar.Address{org, own}); err != nil {
			return err
		}
		if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: d.ownerOf(obj), UID: uid}, {Owner: a.ID, UID: autoLock}}); err != nil {
			return err
		}
		row, obj, err := s.attendeeCopy(ctx, tx, a, uid)
		if err != nil || obj == nil {
			return err
		}
		next, left, err := s.decide(ctx, d, a, row, obj)
		if err != nil {
			return err
		}
		if r, ok := d.local(own); ok && left && r.Inbox.ID != 0 {
			if err := d.show(row, obj, r.Inbox); err != nil {
				return err
			}
		}
		if next == nil && len(d.inbox) == 0 {
			return nil
		}
		if next == nil {
			if _, err := d.lock(ctx, nil); err != nil {
				return err
			}
			return d.flush(ctx)
		}
		idx, err := next.Index()
		if err != nil {
			return err
		}
		_, err = s.putScheduled(ctx, tx, Put{Actor: Actor{Account: a, By: a}, Key: row.ObjectKey, Data: next.Bytes(), RequestID: "auto-accept", whole: true, items: d.inbox}, mandate{invite: true, reply: true}, next, idx)
		return err
	})
	var refused *itip.Error
	var invalid *calendar.Error
	var e *Error
	if errors.As(err, &refused) || errors.As(err, &invalid) || errors.As(err, &e) {
		s.cfg.Log.Error("an invitation could not be answered automatically", "account", a.Handle, "uid", uid, "error", err)
		return nil // trying again would end alike
	}
	return err
}

// show puts an invitation that a room leaves to a person into its inbox, where
// whoever decides for it finds it (RFC 6638 §4.1).
func (d *delivery) show(row storage.Object, obj *calendar.Object, inbox storage.CollectionKey) error {
	item := itip.Invitation(obj, readExtra(row.Extra).OrganizerTransp, itip.MessageOptions{Now: d.now, ProdID: d.s.cfg.ProdID})
	key := storage.ObjectKey{CollectionKey: inbox, Name: d.s.newID() + ".ics"}
	w, err := d.row(storage.Object{ObjectKey: key, Created: micros(d.now)}, item, itip.RoleNone)
	if err == nil {
		d.inbox = append(d.inbox, w)
	}
	return err
}

// attendeeCopy reads an account's copy of an event it is invited to; nil when
// there is none that can be read.
func (s *Service) attendeeCopy(ctx context.Context, tx *storage.Tx, a storage.Account, uid string) (row storage.Object, obj *calendar.Object, err error) {
	rows, err := tx.ObjectsByUID(ctx, []storage.AccountID{a.ID}, uid, storage.ColumnData|storage.ColumnExtra)
	if err != nil {
		return row, nil, err
	}
	for _, row = range rows {
		if row.Flags&storage.FlagAttendee != 0 {
			if obj, err = calendar.Parse([]byte(row.Data), s.cfg.Limits); err != nil {
				obj = nil
			}
			return row, obj, nil
		}
	}
	return row, nil, nil
}

// decide edits the room's copy: what is pending and not over is answered, per
// instance when only some of them conflict. nil means that nothing is to be
// answered.
// An organizer who may not book is declined; what lies too far ahead or has
// more people than seats is like what conflicts. left tells whether something
// is left to a person.
func (s *Service) decide(ctx context.Context, d *delivery, a storage.Account, row storage.Object, obj *calendar.Object) (next *calendar.Object, left bool, err error) {
	self := addressesOf(a)
	own := calendar.NewAddressSet(self...)
	mode, book := a.Settings.AutoAccept, s.bookingOf(a)
	if ok, err := d.mayBook(ctx, a, obj); err != nil {
		return nil, false, err
	} else if !ok {
		mode = AutoDeclineAlways
	}
	next = obj.Clone()
	now := s.cfg.Now()
	zones := calendar.NewZones(obj, time.UTC)
	// Instances by the component that describes them.
	free, busy := map[*calendar.Component][]calendar.Instance{}, map[*calendar.Component][]calendar.Instance{}
	var seen []*calendar.Component
	var pending []calendar.Instance
	var from, until, horizon time.Time // from and until: what is looked at
	n := 0
	// They come in the order of their recurrence ids, so one that was moved may begin
	// before the first and after the last.
	for in, err := range obj.Instances(zones, now, time.Time{}, calendar.NewBudget()) {
		if err != nil {
			return nil, false, err
		}
		if n++; n == 1 {
			horizon = in.ID.Wall.Add(autoHorizon)
		}
		if n > autoInstances || in.ID.Wall.After(horizon) {
			break
		}
		if !pendingIn(in.Component, own) {
			continue
		}
		if pending = append(pending, in); len(pending) == 1 {
			from = in.Start
		}
		from, until = earlier(from, in.Start), later(until, in.End)
	}
	var taken []calendar.Period
	if mode != AutoAcceptAlways && mode != AutoDeclineAlways && len(pending) > 0 {
		if taken, err = s.taken(ctx, d.tx, a, row.UID, from.Add(-time.Second), until.Add(time.Second)); err != nil {
			return nil, false, err
		}
	}
	for _, in := range pending {
		if len(free[in.Component])+len(busy[in.Component]) == 0 {
			seen = append(seen, in.Component)
		}
		if overlaps(taken, in.Start, in.End) || book.limited() && !book.takes(in) {
			busy[in.Component] = append(busy[in.Component], in)
		} else {
			free[in.Component] = append(free[in.Component], in)
		}
	}
	accepts, declines := mode != AutoDeclineIfBusy && mode != AutoDeclineAlways, mode != AutoAcceptIfFree && mode != AutoAcceptAlways
	answered := false
	comps, copies := obj.Components(), next.Components()
	give := func(c *calendar.Component, partstat string) {
		answered = setAnswer(copies[slices.Index(comps, c)], own, partstat) || answered
	}
	// The answer for most of a series becomes the answer of the series, the
	// others are answered one by one.
	except := map[string][]calendar.Instance{}
	for _, c := range seen {
		left = left || mode != AutoDeclineAlways && (len(free[c]) > 0 && !accepts || len(busy[c]) > 0 && !declines)
		switch {
		case mode == AutoDeclineAlways:
			give(c, statusDeclined)
		case len(busy[c]) == 0 && accepts:
			give(c, statusAccepted)
		case len(free[c]) == 0 && len(busy[c]) > 0 && declines:
			give(c, statusDeclined)
		case len(free[c]) > 0 && len(busy[c]) > 0:
			switch {
			case accepts && declines && len(busy[c]) > len(free[c]):
				give(c, statusDeclined)
				except[statusAccepted] = append(except[statusAccepted], free[c]...)
			case accepts && declines:
				give(c, statusAccepted)
				except[statusDeclined] = append(except[statusDeclined], busy[c]...)
			case accepts: // a person answers the others
				give(c, statusAccepted)
				except[statusNeedsAction] = append(except[statusNeedsAction], busy[c]...)
			case declines:
				except[statusDeclined] = append(except[statusDeclined], busy[c]...)
			}
		}
	}
	for _, answer := range []string{statusAccepted, statusDeclined, statusNeedsAction} {
		for _, in := range except[answer] {
			id := in.ID
			with, err := itip.Respond(next, self, answer, &id, itip.RespondOptions{})
			if err != nil {
				return nil, false, err
			}
			next, answered = with, true
		}
	}
	if !answered {
		next = nil
	}
	return next, left, nil
}

// setAnswer writes an answer into the owner's line of a component.
func setAnswer(c *calendar.Component, own calendar.AddressSet, partstat string) bool {
	for _, p := range c.All("ATTENDEE") {
		if own.Has(calendar.Address(p.Value())) {
			p.SetParam("PARTSTAT", partstat)
			p.DelParam("RSVP")
			return true
		}
	}
	return false
}

// taken is the room's busy time, without the event in question and without
// what it has not accepted.
func (s *Service) taken(ctx context.Context, tx *storage.Tx, a storage.Account, uid string, from, to time.Time) ([]calendar.Period, error) {
	m, err := s.busyOf(ctx, tx, []storage.AccountID{a.ID}, map[storage.AccountID]storage.Account{a.ID: a}, from, to, uid)
	if err != nil {
		return nil, err
	}
	ps := m[a.ID][:0:0]
	for _, p := range m[a.ID] {
		if p.Type == calendar.BusyTime || p.Type == calendar.BusyUnavailable {
			ps = append(ps, p)
		}
	}
	return ps, nil
}

func overlaps(ps []calendar.Period, from, to time.Time) bool {
	for _, p := range ps {
		if p.Start.Before(to) && from.Before(p.End) {
			return true
		}
	}
	return false
}

// pendingAnswers reports whether the owner has not answered some component.
func pendingAnswers(o *calendar.Object, self calendar.AddressSet) bool {
	return slices.ContainsFunc(o.Components(), func(c *calendar.Component) bool { return pendingIn(c, self) })
}

// pendingIn reports whether the owner has not answered a component.
func pendingIn(c *calendar.Component, self calendar.AddressSet) bool {
	for _, p := range c.All("ATTENDEE") {
		if self.Has(calendar.Address(p.Value())) {
			st := p.Param("PARTSTAT")
			return st == "" || st == statusNeedsAction
		}
	}
	return false
}
