package scheduling

import (
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// oneAddressEach makes an organizer's object call each local person by one of his
// addresses in all its components (want 11): that of the stored object, else the
// first. Two addresses in different instances would be two people, each told that
// he is not in what the other is in. Where one component lists two
// addresses of a person, that stays. obj is not changed.
func (d *delivery) oneAddressEach(old, obj *calendar.Object) *calendar.Object {
	by := calendar.NewAddressSet(addressesOf(d.sender)...)
	if org, ok := itip.Organizer(obj); !ok || !by.Has(org) {
		return obj
	}
	account := func(p *calendar.Property) (storage.AccountID, bool) {
		r, ok := d.local(calendar.Address(p.Value()))
		return r.Account.ID, ok
	}
	known := map[storage.AccountID]calendar.Address{}
	several := false
	for _, o := range []*calendar.Object{old, obj} {
		if o == nil {
			continue
		}
		for _, a := range itip.Attendees(o) {
			r, ok := d.local(a)
			if !ok {
				continue
			}
			if first, seen := known[r.Account.ID]; !seen {
				known[r.Account.ID] = a
			} else if !first.Equal(a) {
				several = true
			}
		}
	}
	if !several {
		return obj
	}
	next := obj.Clone()
	for _, c := range next.Components() {
		n := map[storage.AccountID]int{}
		for _, p := range c.All("ATTENDEE") {
			if id, ok := account(p); ok {
				n[id]++
			}
		}
		for _, p := range c.All("ATTENDEE") {
			if id, ok := account(p); ok && n[id] == 1 && !known[id].Equal(calendar.Address(p.Value())) {
				p.SetValue(string(known[id]))
			}
		}
	}
	return next
}
