package scheduling

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// deletedState names the snapshot of an object that its owner deleted, kept
// for clients that move by DELETE and PUT (want 33) and in case another event
// begins under its UID. Its text is a line with where and when it was, one with
// what the server remembered beside it, and the object.
const deletedState = storage.DeletedState

// keepDeleted remembers an object for the time in which it may return.
func (d *delivery) keepDeleted(o storage.Object) {
	if o.Data == "" {
		return
	}
	d.snapshots = append(d.snapshots, storage.Snapshot{Account: o.Account, UID: o.UID, Digest: deletedState,
		Data: fmt.Sprintf("%d %d\n%s\n%s", o.CollectionKey.ID, micros(d.now), o.Extra, o.Data)})
}

// gone is an object that was deleted.
type gone struct {
	in     storage.CollectionID
	at     time.Time
	extra  extra
	object *calendar.Object
}

// readGone reads the text of a deletedState; nil when it says nothing.
func (d *delivery) readGone(text string) *gone {
	head, rest, _ := strings.Cut(text, "\n")
	ex, data, _ := strings.Cut(rest, "\n")
	var g gone
	var at int64
	if _, err := fmt.Sscan(head, &g.in, &at); err != nil {
		return nil
	}
	o, err := calendar.Parse([]byte(data), d.s.cfg.Limits)
	if err != nil {
		return nil
	}
	g.at, g.extra, g.object = time.UnixMicro(at), readExtra(ex), o
	return &g
}

// former tells whether people of other systems have an event that was called
// off.
func (d *delivery) former(ctx context.Context, g *gone) (bool, error) {
	if itip.RoleOf(g.object, addressesOf(d.sender)) != itip.RoleOrganizer {
		return false, nil
	}
	people := itip.Attendees(g.object)
	if err := d.learn(ctx, people); err != nil {
		return false, err
	}
	return slices.ContainsFunc(people, func(a calendar.Address) bool {
		_, local := d.local(a)
		return !local
	}), nil
}

// returns tells whether an object that comes within the hold time of its
// DELETE is the one that went, and not a new event that has only the UID in
// common: it turns up in another calendar (a move), or exactly as it was (an
// undo), or people elsewhere have not been told yet that it went.
func (d *delivery) returns(g *gone, in storage.CollectionKey, obj *calendar.Object) bool {
	if g.in != in.ID || itip.Unchanged(g.object, obj) {
		return true
	}
	for _, o := range d.opens {
		if o.Delivery.State == storage.DeliveryHeld {
			return true
		}
	}
	return false
}

// plan is itip.PlanChange, but for an object that returns within the hold time
// of its DELETE: then what others had answered and what people elsewhere know
// is as if it had never gone. back is what was deleted, nil when nothing
// returned.
func (d *delivery) plan(ctx context.Context, c itip.Change, in storage.CollectionKey, created bool) (plan itip.Plan, back *gone, err error) {
	if created {
		text, err := d.tx.Snapshot(ctx, d.sender.ID, c.New.UID(), deletedState)
		if err != nil && !IsNotFound(err) {
			return plan, nil, err
		}
		if g := d.readGone(text); g != nil {
			d.told.since(d.sender.ID, g.extra.Told)
			if hold := d.s.cfg.HoldDelete; hold > 0 && !g.at.Before(d.now.Add(-hold)) && d.returns(g, in, c.New) {
				if plan, ok, err := d.planReturn(ctx, c, g); err != nil || ok {
					return plan, g, err
				}
			}
			known, err := d.former(ctx, g)
			if err != nil {
				return plan, nil, err
			}
			if known {
				c.Former = g.object
			}
		}
	}
	plan, err = itip.PlanChange(c)
	return plan, nil, err
}

// planReturn plans the return of back; ok is false when it is to be treated as
// any other new object.
func (d *delivery) planReturn(ctx context.Context, c itip.Change, back *gone) (plan itip.Plan, ok bool, err error) {
	c.Old, c.Marks, c.Thrown, c.OrganizerTransp = back.object, back.extra.Marks, back.extra.Thrown, back.extra.OrganizerTransp
	plan, err = itip.PlanChange(c)
	if err != nil {
		return plan, false, nil // another organizer, another time in an attendee's copy: something else
	}
	if err := d.learn(ctx, partiesOf(back.object)); err != nil {
		return plan, false, err
	}
	switch plan.Role {
	case itip.RoleOrganizer:
		// Local people were told at once that it was cancelled: they are told
		// again. The others know it as it was; what was held back is withdrawn.
		var here []calendar.Address
		for _, a := range itip.Attendees(plan.Store) {
			if _, local := d.local(a); local {
				here = append(here, a)
			}
		}
		msgs, err := itip.RefreshFor(plan.Store, here, itip.MessageOptions{By: c.By, Now: c.Now, ProdID: c.ProdID})
		if err != nil {
			return plan, false, nil
		}
		for i := range msgs {
			msgs[i].Kind = itip.KindNew
		}
		for _, m := range plan.Messages {
			var to []calendar.Address
			for _, a := range m.Recipients {
				if _, local := d.local(a); !local {
					to = append(to, a)
				}
			}
			if m.Recipients = to; len(to) > 0 {
				msgs = append(msgs, m)
			}
		}
		plan.Messages = msgs
		return plan, true, nil
	case itip.RoleAttendee:
		// A local organizer knows already that he declined.
		for _, o := range d.opens {
			if o.Delivery.State == storage.DeliveryHeld && o.Message.Method == "REPLY" {
				return plan, true, nil
			}
		}
	}
	return plan, false, nil
}
