package scheduling

import (
	"context"
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// expandGroups invites the members of a local group that an organizer newly
// lists: each gets an ATTENDEE line of his own with MEMBER (RFC 5545 §3.2.11),
// the group's line stays as CUTYPE=GROUP. A group that the component listed
// before is not expanded again, so that members who were taken out stay out.
// obj is not changed; what comes back is obj when there is nothing to do.
func (d *delivery) expandGroups(ctx context.Context, old, obj *calendar.Object) (*calendar.Object, error) {
	by := calendar.NewAddressSet(addressesOf(d.sender)...)
	if org, ok := itip.Organizer(obj); !ok || !by.Has(org) {
		return obj, nil
	}
	groups := map[storage.AccountID]bool{}
	for _, a := range itip.Attendees(obj) {
		if r, ok := d.local(a); ok && r.Account.Kind == storage.KindGroup {
			groups[r.Account.ID] = true
		}
	}
	if len(groups) == 0 {
		return obj, nil
	}
	ids := make([]storage.AccountID, 0, len(groups))
	for id := range groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	members, err := d.tx.MembersOf(ctx, ids)
	if err != nil {
		return nil, err
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
			if !ok || r.Account.Kind != storage.KindGroup {
				continue
			}
			p.SetParam("CUTYPE", "GROUP")
			if was.Has(a) {
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
		switch m.Kind {
		case storage.KindRoom:
			q.SetParam("CUTYPE", "ROOM")
		case storage.KindResource:
			q.SetParam("CUTYPE", "RESOURCE")
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
