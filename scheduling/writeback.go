package scheduling

import (
	"context"
	"maps"
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// stepWriteBack writes final delivery statuses into the objects that caused
// them, once per object and round. ETag and sync sequence change, the
// Schedule-Tag does not.
func (s *Service) stepWriteBack(ctx context.Context) bool {
	list, err := s.db.PendingWriteBack(ctx, 32)
	if err != nil {
		s.complain(ctx, "delivery statuses cannot be read", err)
		return false
	}
	did := false
	for _, w := range list {
		if err := s.writeBack(ctx, w); err != nil {
			s.complain(ctx, "a delivery status could not be written back; it will be tried again", err)
			continue // the others must not wait for it
		}
		did = true
	}
	return did
}

func (s *Service) writeBack(ctx context.Context, w storage.WriteBack) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return s.edit(ctx, tx, w.Account, w.UID, func(row *storage.Object, obj *calendar.Object) (bool, error) {
			ds, err := tx.CurrentDeliveries(ctx, w.Account, w.UID)
			if err != nil {
				return false, err
			}
			newest := map[string]storage.Delivery{}
			var ids []int64
			for _, d := range ds {
				if d.State.Final() && !d.Written {
					ids = append(ids, d.ID)
				}
				newest[d.RecipientKey] = d // they come in the order of each recipient
			}
			status := map[string]string{}
			for k, d := range newest {
				if d.State.Final() && !d.Written {
					status[k] = d.Status
				}
			}
			if err := tx.MarkWritten(ctx, w.Account, ids); err != nil {
				return false, err
			}
			if obj == nil || len(status) == 0 {
				return false, nil
			}
			return itip.CompleteStatus(obj, status), nil
		})
	})
}

// edit changes an account's scheduling object under its locks, in a
// transaction of its own; change gets nil when there is none (any more).
func (s *Service) edit(ctx context.Context, tx *storage.Tx, account storage.AccountID, uid string, change func(*storage.Object, *calendar.Object) (bool, error)) error {
	read := func() (*storage.Object, *calendar.Object, error) {
		rows, err := tx.ObjectsByUID(ctx, []storage.AccountID{account}, uid, storage.ColumnData|storage.ColumnExtra)
		if err != nil {
			return nil, nil, err
		}
		for i := range rows {
			if rows[i].Flags&storage.FlagScheduling == 0 {
				continue
			}
			obj, err := calendar.Parse([]byte(rows[i].Data), s.cfg.Limits)
			if err != nil {
				return nil, nil, nil // corrupt: there is nothing to edit
			}
			return &rows[i], obj, nil
		}
		return nil, nil, nil
	}
	_, obj, err := read()
	if err != nil {
		return err
	}
	if obj == nil {
		_, err := change(nil, nil)
		return err
	}
	d := s.newDelivery(tx, storage.Account{ID: account}, "", s.cfg.Now())
	if org, ok := itip.Organizer(obj); ok {
		if err := d.learn(ctx, []calendar.Address{org}); err != nil {
			return err
		}
	}
	if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: d.ownerOf(obj), UID: uid}}); err != nil {
		return err
	}
	row, obj, err := read()
	if err != nil {
		return err
	}
	changed, err := change(row, obj)
	if err != nil || !changed || row == nil {
		return err
	}
	if _, err := tx.LockCollections(ctx, []storage.CollectionKey{row.CollectionKey}); err != nil {
		return err
	}
	idx, err := obj.Index()
	if err != nil {
		return err
	}
	o := *row
	flags := o.Flags & (storage.FlagServerTransp | storage.FlagOrganizer | storage.FlagAttendee)
	o.Data = string(obj.Bytes())
	o.ETag, o.Modified, o.Flags = ETag(o.Data), micros(s.cfg.Now()), 0
	o = fill(o, idx, itip.RoleNone)
	o.Flags |= flags
	_, err = tx.Apply(ctx, []storage.Write{{Object: o}})
	return err
}

// stepRefresh tells attendees what others answered, and lets rooms answer.
func (s *Service) stepRefresh(ctx context.Context) bool {
	list, err := s.db.ClaimRefresh(ctx, s.cfg.Node, s.cfg.Now(), s.cfg.Lease, 32)
	if err != nil {
		s.complain(ctx, "the refresh queue cannot be read", err)
		return false
	}
	did := false
	for _, r := range list {
		if err := s.refreshOne(ctx, r); err != nil {
			s.complain(ctx, "attendees could not be refreshed; it will be tried again", err)
			continue // its lease ends; the others must not wait for it
		}
		did = true
	}
	return did
}

func (s *Service) refreshOne(ctx context.Context, r storage.Refresh) error {
	a, err := s.db.AccountByID(ctx, r.Account)
	if err != nil {
		if !IsNotFound(err) {
			return err
		}
		return s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error { return tx.DoneRefresh(ctx, r) })
	}
	if automatic(a) {
		if err := s.autoAnswer(ctx, a, r.UID); err != nil {
			return err
		}
	}
	for after := ""; ; {
		var more bool
		err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
			next := ""
			if next, err = s.refreshAttendees(ctx, tx, a, r.UID, after); err != nil {
				return err
			}
			if more = next != ""; more {
				after = next
				return nil
			}
			return tx.DoneRefresh(ctx, r)
		})
		if err != nil || !more {
			return err
		}
	}
}

// refreshAttendees brings the answers on the organizer's copy to local
// attendees, Config.LocalThreshold of them in one batch: those after the given
// address key. It returns the last key of a batch that was full. People
// elsewhere are not told: an answer of one is no reason to mail the others
// (want 1).
func (s *Service) refreshAttendees(ctx context.Context, tx *storage.Tx, a storage.Account, uid, after string) (last string, err error) {
	if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: a.ID, UID: uid}}); err != nil {
		return "", err
	}
	rows, err := tx.ObjectsByUID(ctx, []storage.AccountID{a.ID}, uid, storage.ColumnData)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(rows, func(o storage.Object) bool { return o.Flags&storage.FlagOrganizer != 0 })
	if i < 0 {
		return "", nil
	}
	obj, err := calendar.Parse([]byte(rows[i].Data), s.cfg.Limits)
	if err != nil {
		return "", nil // corrupt: there is nothing to tell
	}
	d := s.newDelivery(tx, a, "refresh", s.cfg.Now())
	if err := d.learn(ctx, partiesOf(obj)); err != nil {
		return "", err
	}
	if err := d.open(ctx, uid); err != nil {
		return "", err
	}
	waits := map[string]bool{} // who has not got the invitation yet gets it with what it says now
	for _, o := range d.opens {
		waits[o.RecipientKey] = waits[o.RecipientKey] || o.Delivery.Transport == transportLocal
	}
	to := map[string]calendar.Address{}
	for _, x := range itip.Attendees(obj) {
		if r, ok := d.local(x); ok && r.Account.ID != a.ID && unreachable(r) == "" && !waits[x.Key()] && x.Key() > after {
			to[x.Key()] = x
		}
	}
	keys := slices.Sorted(maps.Keys(to))
	if len(keys) > s.cfg.LocalThreshold {
		keys = keys[:s.cfg.LocalThreshold]
		last = keys[len(keys)-1]
	}
	var batch []calendar.Address
	for _, k := range keys {
		batch = append(batch, to[k])
	}
	msgs, err := itip.RefreshFor(obj, batch, itip.MessageOptions{By: addressesOf(a), Now: s.cfg.Now(), ProdID: s.cfg.ProdID})
	if err != nil {
		return "", nil // no organizer any more: there is nothing to tell
	}
	if err := d.sendLocal(ctx, msgs); err != nil {
		return "", err
	}
	if _, err := d.lock(ctx, nil); err != nil {
		return "", err
	}
	return last, d.flush(ctx)
}

// lockUIDOf takes the UID lock that guards a scheduling object.
func (s *Service) lockUIDOf(ctx context.Context, tx *storage.Tx, key storage.ObjectKey) error {
	row, err := one(ctx, tx, key, storage.ColumnData)
	if err != nil || row == nil {
		return err
	}
	obj, err := calendar.Parse([]byte(row.Data), s.cfg.Limits)
	if err != nil {
		return nil
	}
	d := s.newDelivery(tx, storage.Account{ID: key.Account}, "", s.cfg.Now())
	if org, ok := itip.Organizer(obj); ok {
		if err := d.learn(ctx, []calendar.Address{org}); err != nil {
			return err
		}
	}
	return tx.LockUIDs(ctx, []storage.UIDLock{{Owner: d.ownerOf(obj), UID: row.UID}})
}

// Bounce is a message that had left and came back.
type Bounce struct {
	Account  storage.AccountID
	UID      string
	Attendee calendar.Address
	Delivery int64
	Detail   string // the other side's words
}

// Bounced notes that a message could not be delivered after all: on the
// delivery, and where it is the newest to that attendee, as his SCHEDULE-STATUS
// 5.1 (RFC 6638 §3.2.9). He knows nothing then of what it said, so the next
// change tells him all of it.
func (s *Service) Bounced(ctx context.Context, b Bounce) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return s.edit(ctx, tx, b.Account, b.UID, func(_ *storage.Object, obj *calendar.Object) (bool, error) {
			ds, err := tx.DeliveriesTo(ctx, b.Account, b.UID, b.Attendee.Key())
			if err != nil {
				return false, err
			}
			var back *storage.Delivery
			newest := int64(-1)
			for i, d := range ds {
				if d.State == storage.DeliverySuperseded || d.State == storage.DeliveryWithdrawn {
					continue
				}
				newest = max(newest, d.Turn)
				if d.ID == b.Delivery && d.State == storage.DeliveryDone {
					back = &ds[i]
				}
			}
			if back == nil { // it is known already
				return false, nil
			}
			now := s.cfg.Now()
			back.State, back.Status, back.Detail, back.Updated, back.Written = storage.DeliveryFailed, "5.1", b.Detail, micros(now), true
			back.Trace = appendTrace(back.Trace, nil, now, RecipientResult{Transport: back.Transport, Status: "5.1;Could not complete delivery", Detail: b.Detail})
			if err := tx.UpdateDeliveries(ctx, []storage.Delivery{*back}); err != nil {
				return false, err
			}
			if back.Turn < newest {
				return false, nil
			}
			if err := tx.SetPeerStates(ctx, []storage.PeerState{{Account: b.Account, UID: b.UID, RecipientKey: b.Attendee.Key(), Updated: micros(now)}}); err != nil {
				return false, err
			}
			return obj != nil && itip.ApplyStatus(obj, map[string]string{b.Attendee.Key(): "5.1"}), nil
		})
	})
	if err == nil {
		s.cfg.Observe("delivery.bounced", 1)
	}
	return err
}
