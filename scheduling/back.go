package scheduling

import (
	"context"
	"strconv"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// deletedState names the snapshot of an object that its owner deleted, kept
// for clients that move by DELETE and PUT (want 33). Its text is the number of
// the calendar it was in, a line feed, and the object.
const deletedState = "deleted"

// keepDeleted remembers an object for the time in which it may return.
func (d *delivery) keepDeleted(o storage.Object) {
	if d.s.cfg.HoldDelete > 0 && o.Data != "" {
		d.snapshots = append(d.snapshots, storage.Snapshot{Account: o.Account, UID: o.UID, Digest: deletedState,
			Data: strconv.FormatInt(int64(o.CollectionKey.ID), 10) + "\n" + o.Data})
	}
}

// returns tells whether an object that comes within the hold time of its
// DELETE is the one that went, and not a new event that has only the UID in
// common: it turns up in another calendar (a move), or exactly as it was (an
// undo), or people elsewhere have not been told yet that it went.
func (d *delivery) returns(from string, in storage.CollectionKey, back, obj *calendar.Object) bool {
	if from != strconv.FormatInt(int64(in.ID), 10) || itip.Unchanged(back, obj) {
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
// is as if it had never gone. back is the object as it was deleted, nil when
// nothing returned.
func (d *delivery) plan(ctx context.Context, c itip.Change, in storage.CollectionKey, created bool) (plan itip.Plan, back *calendar.Object, err error) {
	if created && d.s.cfg.HoldDelete > 0 {
		data, err := d.tx.SnapshotSince(ctx, d.sender.ID, c.New.UID(), deletedState, d.now.Add(-d.s.cfg.HoldDelete))
		if err != nil && !IsNotFound(err) {
			return plan, nil, err
		}
		if err == nil {
			from, text, _ := strings.Cut(data, "\n")
			if back, _ = calendar.Parse([]byte(text), d.s.cfg.Limits); back != nil && !d.returns(from, in, back, c.New) {
				back = nil
			}
		}
	}
	if back != nil {
		if plan, ok, err := d.planReturn(ctx, c, back); err != nil || ok {
			return plan, back, err
		}
	}
	plan, err = itip.PlanChange(c)
	return plan, nil, err
}

// planReturn plans the return of back; ok is false when it is to be treated as
// any other new object.
func (d *delivery) planReturn(ctx context.Context, c itip.Change, back *calendar.Object) (plan itip.Plan, ok bool, err error) {
	c.Old = back
	plan, err = itip.PlanChange(c)
	if err != nil {
		return plan, false, nil // another organizer, another time in an attendee's copy: something else
	}
	if err := d.learn(ctx, partiesOf(back)); err != nil {
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
