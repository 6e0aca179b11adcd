package scheduling

import (
	"context"
	"maps"
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// cutypes are the calendar user types of accounts that are no persons.
var cutypes = map[storage.AccountKind]string{storage.KindGroup: "GROUP", storage.KindRoom: "ROOM", storage.KindResource: "RESOURCE"}

// completePeople says what the directory knows of the attendees that an
// organizer lists. Rooms, resources and groups get their CUTYPE (RFC 5545
// §3.2.3). The members of a group that is newly listed are invited: each gets
// an ATTENDEE line of his own with MEMBER (RFC 5545 §3.2.11), the group's stays.
// A group that the component listed before is not expanded again, so that
// members who were taken out stay out. obj is not changed; what comes back is
// obj when there is nothing to do.
func (d *delivery) completePeople(ctx context.Context, old, obj *calendar.Object) (*calendar.Object, error) {
	by := calendar.NewAddressSet(addressesOf(d.sender)...)
	if org, ok := itip.Organizer(obj); !ok || !by.Has(org) {
		return obj, nil
	}
	groups := map[storage.AccountID]bool{}
	todo := false
	for _, c := range obj.Components() {
		for _, p := range c.All("ATTENDEE") {
			r, ok := d.local(calendar.Address(p.Value()))
			if !ok || cutypes[r.Account.Kind] == "" {
				continue
			}
			todo = todo || p.Param("CUTYPE") == ""
			if r.Account.Kind == storage.KindGroup {
				groups[r.Account.ID], todo = true, true
			}
		}
	}
	if !todo {
		return obj, nil
	}
	var members map[storage.AccountID][]storage.Account
	if len(groups) > 0 {
		var err error
		if members, err = d.tx.MembersOf(ctx, slices.Sorted(maps.Keys(groups))); err != nil {
			return nil, err
		}
	}
	listed := map[string]calendar.AddressSet{} // by RECURRENCE-ID: who the old component lists
	if old != nil {
		for _, c := range old.Components() {
			listed[c.Value("RECURRENCE-ID")] = attendeeSet(c)
		}
	}
	next := obj.Clone()
	for _, c := range next.Components() {
		have := attendeeSet(c)
		was, known := listed[c.Value("RECURRENCE-ID")]
		if !known {
			was = listed[""]
		}
		for _, p := range c.All("ATTENDEE") {
			a := calendar.Address(p.Value())
			r, ok := d.local(a)
			if !ok || cutypes[r.Account.Kind] == "" {
				continue
			}
			if p.Param("CUTYPE") == "" {
				p.SetParam("CUTYPE", cutypes[r.Account.Kind])
			}
			if r.Account.Kind != storage.KindGroup || was.Has(a) {
				continue
			}
			addMembers(c, p, members[r.Account.ID], have, by)
		}
	}
	return next, nil
}

// addMembers lists the members of a group whose line is p, but nobody twice
// and not the organizer; it returns their addresses.
func addMembers(c *calendar.Component, p *calendar.Property, members []storage.Account, have, organizer calendar.AddressSet) []calendar.Address {
	var out []calendar.Address
	for _, m := range members {
		all := addressesOf(m)
		if len(m.Emails) == 0 || slices.ContainsFunc(all, have.Has) || slices.ContainsFunc(all, organizer.Has) {
			continue
		}
		have.Add(all[0])
		out = append(out, all[0])
		q := calendar.NewProperty("ATTENDEE", string(all[0]))
		if m.DisplayName != "" {
			q.SetParam("CN", m.DisplayName)
		}
		if t := cutypes[m.Kind]; t != "" {
			q.SetParam("CUTYPE", t)
		}
		q.SetParam("MEMBER", p.Value())
		q.SetParam("PARTSTAT", statusNeedsAction)
		q.SetParam("RSVP", "TRUE")
		c.Add(q)
	}
	return out
}

// inviteMembers turns a message that came for a local group into one for its
// members, each with a line of his own beside the group's.
func (d *delivery) inviteMembers(ctx context.Context, group storage.Account, a calendar.Address, msg itip.Message) (itip.Message, error) {
	members, err := d.tx.MembersOf(ctx, []storage.AccountID{group.ID})
	if err != nil {
		return msg, err
	}
	msg.Object, msg.Recipients = msg.Object.Clone(), nil
	organizer := calendar.AddressSet{}
	if org, ok := itip.Organizer(msg.Object); ok {
		organizer.Add(org)
	}
	to := calendar.AddressSet{}
	for _, c := range msg.Object.Components() {
		have := attendeeSet(c)
		for _, p := range c.All("ATTENDEE") {
			if !calendar.Address(p.Value()).Equal(a) {
				continue
			}
			for _, m := range addMembers(c, p, members[group.ID], have, organizer) {
				if !to.Has(m) {
					to.Add(m)
					msg.Recipients = append(msg.Recipients, m)
				}
			}
		}
	}
	return msg, d.learn(ctx, msg.Recipients)
}

func attendeeSet(c *calendar.Component) calendar.AddressSet {
	s := calendar.AddressSet{}
	for _, p := range c.All("ATTENDEE") {
		s.Add(calendar.Address(p.Value()))
	}
	return s
}
