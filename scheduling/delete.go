package scheduling

import (
	"context"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Delete removes an object resource of a calendar or an inbox item.
type Delete struct {
	Actor         Actor
	Key           storage.ObjectKey
	IfMatch       []string
	IfNoneMatch   []string // RFC 9110 §13.1.2
	IfScheduleTag string
	Silent        bool // Schedule-Reply: F (RFC 6638 §8.1)
	NoScheduling  bool
	RequestID     string

	marked bool // the collection is marked for deletion: it cannot be locked, nobody else writes into it
}

// Delete removes an object; attendees hear of a cancelled event, the organizer
// of a declined one (RFC 6638 §3.2.1.3, §3.2.2.3). Messages that leave the
// house are held back for Config.HoldDelete, in case the client is moving the
// object by DELETE and PUT.
func (s *Service) Delete(ctx context.Context, p Delete) error {
	may, err := s.mandateOf(ctx, p.Actor.Account, p.Actor.By)
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return s.delete(ctx, tx, p, may)
	})
	if err == nil {
		s.Wake()
	}
	return err
}

func (s *Service) delete(ctx context.Context, tx *storage.Tx, p Delete, may mandate) error {
	have, err := one(ctx, tx, p.Key, storage.ColumnData|storage.ColumnExtra)
	if err != nil {
		return err
	}
	if have == nil {
		return &Error{Err: storage.ErrNotFound, Msg: "there is no such resource"}
	}
	cond := func(o *storage.Object) error {
		return conditions(Put{IfMatch: p.IfMatch, IfNoneMatch: p.IfNoneMatch, IfScheduleTag: p.IfScheduleTag}, o)
	}
	if have.Flags&storage.FlagScheduling == 0 || have.Flags&(storage.FlagOrganizer|storage.FlagAttendee) == 0 {
		if _, err := tx.LockCollections(ctx, []storage.CollectionKey{p.Key.CollectionKey}); err != nil {
			return err
		}
		if have, err = one(ctx, tx, p.Key, storage.ColumnsMeta); err != nil {
			return err
		}
		if have == nil {
			return &Error{Err: storage.ErrNotFound, Msg: "there is no such resource"}
		}
		if err := cond(have); err != nil {
			return err
		}
		_, err = tx.Apply(ctx, []storage.Write{{Object: *have, Delete: true}})
		return err
	}
	now := s.cfg.Now()
	old, err := calendar.Parse([]byte(have.Data), s.cfg.Limits)
	if err != nil {
		old = calendar.NewObject(s.cfg.ProdID) // unreadable: it can be deleted, nobody can be told
	}
	d := s.newDelivery(tx, p.Actor.Account, p.RequestID, now)
	d.by = p.Actor
	if err := d.learn(ctx, partiesOf(old)); err != nil {
		return err
	}
	if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: d.ownerOf(old), UID: have.UID}}); err != nil {
		return err
	}
	again, err := one(ctx, tx, p.Key, storage.ColumnData|storage.ColumnExtra)
	if err != nil {
		return err
	}
	if again == nil {
		return &Error{Err: storage.ErrNotFound, Msg: "there is no such resource"}
	}
	if err := cond(again); err != nil {
		return err
	}
	if again.ETag != have.ETag { // changed while we waited for the lock
		if o, err := calendar.Parse([]byte(again.Data), s.cfg.Limits); err == nil {
			old = o
			if err := d.learn(ctx, partiesOf(old)); err != nil {
				return err
			}
		}
	}
	ex := readExtra(again.Extra)
	plan, err := itip.PlanChange(itip.Change{Old: old, By: addressesOf(p.Actor.Account), SentBy: p.Actor.sentBy(), Now: now, Silent: p.Silent, ProdID: s.cfg.ProdID,
		ServerTransp: again.Flags&storage.FlagServerTransp != 0, OrganizerTransp: ex.OrganizerTransp})
	if err != nil {
		return err
	}
	if p.NoScheduling {
		plan.Messages = nil
	}
	if err := may.check(plan.Messages); err != nil {
		return err
	}
	if err := d.open(ctx, have.UID); err != nil {
		return err
	}
	d.told.since(p.Actor.Account.ID, ex.Told)
	if err := d.send(ctx, plan.Messages, old, nil, true); err != nil {
		return err
	}
	ex.Told = d.told.latest(p.Actor.Account.ID)
	own := &p.Key.CollectionKey
	if p.marked {
		own = nil
		if err := tx.LockMarked(ctx, p.Key.CollectionKey); err != nil {
			return err
		}
	}
	if _, err := d.lock(ctx, own); err != nil {
		return err
	}
	d.writes = append(d.writes, storage.Write{Object: *again, Delete: true})
	again.Extra = ex.String()
	d.keepDeleted(*again)
	if f := plan.Forget; f != nil {
		left := storage.Forgotten{Account: p.Key.Account, UID: have.UID, Sequence: int64(f.Sequence), DTStamp: micros(f.DTStamp), At: micros(now)}
		if plan.Left != nil {
			left.Data = string(plan.Left.Bytes())
		}
		d.forget = append(d.forget, left)
	}
	return d.flush(ctx)
}

// DeleteCollection removes a calendar with everything in it. It is marked
// first, so that nobody sees it any more, and emptied in small transactions;
// what is a scheduling object is cancelled or declined as by Delete. Who may not
// send that in the owner's name does not begin.
func (s *Service) DeleteCollection(ctx context.Context, a Actor, key storage.CollectionKey, silent bool, requestID string) error {
	may, err := s.mandateOf(ctx, a.Account, a.By)
	if err == nil && !silent {
		err = may.checkAll()
	}
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkDeleting(ctx, key) })
	if err != nil {
		return err
	}
	return s.emptyCollection(ctx, a, key, silent, requestID)
}

func (s *Service) emptyCollection(ctx context.Context, a Actor, key storage.CollectionKey, silent bool, requestID string) error {
	for {
		var scheduled []storage.ObjectKey
		done := false
		err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
			scheduled, done = nil, false
			if err := tx.LockMarked(ctx, key); err != nil {
				return err
			}
			var writes []storage.Write
			for o, err := range tx.Select(ctx, key, storage.ObjectQuery{Limit: 200}) {
				if err != nil {
					return err
				}
				if o.Flags&(storage.FlagOrganizer|storage.FlagAttendee) != 0 {
					scheduled = append(scheduled, o.ObjectKey)
					continue
				}
				writes = append(writes, storage.Write{Object: o, Delete: true})
			}
			if len(writes) > 0 {
				_, err := tx.Apply(ctx, writes)
				return err
			}
			done = len(scheduled) == 0
			return nil
		})
		if err != nil {
			return err
		}
		if done {
			break
		}
		for _, k := range scheduled {
			err := s.Delete(ctx, Delete{Actor: a, Key: k, Silent: silent, RequestID: requestID, marked: true})
			if err != nil && !IsNotFound(err) {
				return err
			}
		}
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error { return tx.RemoveCollection(ctx, key) })
}

// one reads one object in a transaction; nil when it does not exist.
func one(ctx context.Context, tx *storage.Tx, key storage.ObjectKey, cols storage.Columns) (*storage.Object, error) {
	rows, err := tx.Objects(ctx, []storage.ObjectKey{key}, cols)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}
