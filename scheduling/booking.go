package scheduling

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// booking is what an account that answers by itself asks of an event besides
// that its time is free.
type booking struct {
	last     time.Time // what begins later is not booked; zero: no limit
	capacity int
}

func (s *Service) bookingOf(a storage.Account) booking {
	b := booking{capacity: a.Settings.Capacity}
	if d := a.Settings.BookDays; d > 0 {
		b.last = s.cfg.Now().AddDate(0, 0, d)
	}
	return b
}

// limited reports whether there is anything to ask.
func (b booking) limited() bool { return b.capacity > 0 || !b.last.IsZero() }

// takes tests one instance: not too far ahead, and not more people than seats.
func (b booking) takes(in calendar.Instance) bool {
	if !b.last.IsZero() && in.Start.After(b.last) {
		return false
	}
	if b.capacity == 0 {
		return true
	}
	people := 0
	for _, p := range in.Component.All("ATTENDEE") {
		switch strings.ToUpper(p.Param("CUTYPE")) {
		case "ROOM", "RESOURCE", "GROUP":
			continue
		}
		if st := strings.ToUpper(p.Param("PARTSTAT")); st != statusDeclined && st != "DELEGATED" {
			people++
		}
	}
	return people <= b.capacity
}

// mayBook tests the organizer against the account's list: people and groups of
// this server by handle, others by address or "@domain".
func (d *delivery) mayBook(ctx context.Context, a storage.Account, obj *calendar.Object) (bool, error) {
	if len(a.Settings.BookBy) == 0 {
		return true, nil
	}
	org, ok := itip.Organizer(obj)
	if !ok {
		return false, nil
	}
	r, local := d.local(org)
	var keys []string
	for _, who := range a.Settings.BookBy {
		switch domain, isDomain := strings.CutPrefix(who, "@"); {
		case isDomain:
			if email := org.Email(); strings.HasSuffix(strings.ToLower(email), "@"+strings.ToLower(domain)) {
				return true, nil
			}
		case strings.Contains(who, "@"):
			if org.Equal(calendar.Address("mailto:" + who)) {
				return true, nil
			}
		case local && who == r.Account.Handle:
			return true, nil
		default:
			keys = append(keys, "handle:"+who)
		}
	}
	if !local || len(keys) == 0 {
		return false, nil
	}
	found, err := d.tx.Recipients(ctx, keys)
	if err != nil {
		return false, err
	}
	var groups []storage.AccountID
	for _, g := range found {
		if g.Account.Kind == storage.KindGroup && !g.Account.Disabled {
			groups = append(groups, g.Account.ID)
		}
	}
	if len(groups) == 0 {
		return false, nil
	}
	slices.Sort(groups)
	members, err := d.tx.MembersOf(ctx, groups)
	if err != nil {
		return false, err
	}
	for _, list := range members {
		if slices.ContainsFunc(list, func(m storage.Account) bool { return m.ID == r.Account.ID }) {
			return true, nil
		}
	}
	return false, nil
}
