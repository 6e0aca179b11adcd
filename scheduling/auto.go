package scheduling

import (
	"context"
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

// autoAnswer lets a room or resource answer its copy of an event. It runs
// after the invitation was committed, in a transaction of its own, as any
// other attendee's answer does.
func (s *Service) autoAnswer(ctx context.Context, a storage.Account, uid string) error {
	var rows []storage.Object
	err := s.db.View(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		rows, err = tx.ObjectsByUID(ctx, []storage.AccountID{a.ID}, uid, storage.ColumnData|storage.ColumnExtra)
		return err
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.Flags&storage.FlagAttendee == 0 {
			continue
		}
		obj, err := calendar.Parse([]byte(row.Data), s.cfg.Limits)
		if err != nil {
			return nil
		}
		next, err := s.decide(ctx, a, row, obj)
		if err != nil || next == nil {
			return err
		}
		_, err = s.Put(ctx, Put{Actor: Actor{Account: a, By: a}, Key: row.ObjectKey, Data: next.Bytes(), IfMatch: []string{row.ETag}, RequestID: "auto-accept"})
		var e *Error
		if asError(err, &e) && e.Precond {
			return s.autoAnswer(ctx, a, uid) // changed meanwhile: look at it as it is now
		}
		return err
	}
	return nil
}

// decide edits the room's copy: per instance when only some of them conflict.
// nil means that nothing is to be answered.
func (s *Service) decide(ctx context.Context, a storage.Account, row storage.Object, obj *calendar.Object) (*calendar.Object, error) {
	self := addressesOf(a)
	pending := pendingAnswers(obj, calendar.NewAddressSet(self...))
	if !pending {
		return nil, nil
	}
	answer := func(o *calendar.Object, partstat string, id *calendar.DateTime) (*calendar.Object, error) {
		return itip.Respond(o, self, partstat, id, itip.RespondOptions{})
	}
	switch a.Settings.AutoAccept {
	case AutoAcceptAlways:
		return answer(obj, statusAccepted, nil)
	case AutoDeclineAlways:
		return answer(obj, statusDeclined, nil)
	}
	now := s.cfg.Now()
	zones := calendar.NewZones(obj, time.UTC)
	var free, busy []calendar.Instance
	var taken []calendar.Period
	for in, err := range obj.Instances(zones, now, now.Add(autoHorizon), calendar.NewBudget()) {
		if err != nil {
			return nil, err
		}
		if len(free)+len(busy) == 0 {
			if taken, err = s.taken(ctx, a, row.UID, in.Start, now.Add(autoHorizon)); err != nil {
				return nil, err
			}
		}
		if overlaps(taken, in.Start, in.End) {
			busy = append(busy, in)
		} else {
			free = append(free, in)
		}
		if len(free)+len(busy) >= autoInstances {
			break
		}
	}
	mode := a.Settings.AutoAccept
	accepts, declines := mode != AutoDeclineIfBusy, mode != AutoAcceptIfFree
	switch {
	case len(free)+len(busy) == 0: // all of it is past
		return nil, nil
	case len(busy) == 0:
		if !accepts {
			return nil, nil
		}
		return answer(obj, statusAccepted, nil)
	case len(free) == 0:
		if !declines {
			return nil, nil
		}
		return answer(obj, statusDeclined, nil)
	}
	next, err := obj, error(nil)
	if accepts {
		if next, err = answer(next, statusAccepted, nil); err != nil {
			return nil, err
		}
	}
	if declines {
		for _, in := range busy {
			id := in.ID
			if next, err = answer(next, statusDeclined, &id); err != nil {
				return nil, err
			}
		}
	}
	if next == obj {
		return nil, nil
	}
	return next, nil
}

// taken is the room's busy time, without the event in question and without
// what it has not accepted.
func (s *Service) taken(ctx context.Context, a storage.Account, uid string, from, to time.Time) ([]calendar.Period, error) {
	m, err := s.busyOf(ctx, []storage.AccountID{a.ID}, map[storage.AccountID]storage.Account{a.ID: a}, from, to, uid)
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
	for _, c := range o.Components() {
		for _, p := range c.All("ATTENDEE") {
			if self.Has(calendar.Address(p.Value())) {
				if st := p.Param("PARTSTAT"); st == "" || st == statusNeedsAction {
					return true
				}
			}
		}
	}
	return false
}
