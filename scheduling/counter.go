package scheduling

import (
	"context"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// CounterAnswer says no to a proposal.
type CounterAnswer struct {
	Actor     Actor
	Counter   *calendar.Object // the COUNTER as it came into the inbox
	Comment   string           // to the attendee; "" none
	RequestID string
}

// DeclineCounter tells an attendee that the organizer does not take what he
// proposed (RFC 5546 §3.2.8); nothing else changes. Errors: *Error when the
// actor has no such event, *itip.Error when the message is no proposal for it.
// To accept one, Put what itip.AcceptCounter makes of the event (want 17).
func (s *Service) DeclineCounter(ctx context.Context, c CounterAnswer) error {
	uid := c.Counter.UID()
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		d := s.newDelivery(tx, c.Actor.Account, c.RequestID, s.cfg.Now())
		if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: c.Actor.Account.ID, UID: uid}}); err != nil {
			return err
		}
		rows, err := tx.ObjectsByUID(ctx, []storage.AccountID{c.Actor.Account.ID}, uid, storage.ColumnData)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.Flags&storage.FlagOrganizer == 0 {
				continue
			}
			obj, err := calendar.Parse([]byte(row.Data), s.cfg.Limits)
			if err != nil {
				return err
			}
			m, err := itip.DeclineCounter(obj, c.Counter, c.Comment, itip.MessageOptions{By: addressesOf(c.Actor.Account), Now: s.cfg.Now(), ProdID: s.cfg.ProdID})
			if err != nil {
				return err
			}
			if err := d.learn(ctx, m.Recipients); err != nil {
				return err
			}
			if err := d.send(ctx, []itip.Message{m}, obj, obj, false); err != nil {
				return err
			}
			if _, err := d.lock(ctx, nil); err != nil {
				return err
			}
			return d.flush(ctx)
		}
		return &Error{Err: storage.ErrNotFound, Msg: "there is no such event to answer a proposal for"}
	})
	if err == nil {
		s.Wake()
	}
	return err
}
