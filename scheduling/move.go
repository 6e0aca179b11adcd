package scheduling

import (
	"context"

	"github.com/kalends/kalends/storage"
)

// Move renames an object inside of one home; answers, Schedule-Tag and history
// stay, and nobody is told (RFC 6638 §3.2.4).
type Move struct {
	Actor         Actor
	From, To      storage.ObjectKey
	Overwrite     bool
	IfMatch       []string
	IfScheduleTag string
	RequestID     string
}

// Move moves an object between calendars of one home.
func (s *Service) Move(ctx context.Context, m Move) (Result, error) {
	var res Result
	if m.From.Account != m.To.Account {
		return res, &Error{Condition: CondCollection, Msg: "objects are moved inside of one home only"}
	}
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		have, err := one(ctx, tx, m.From, storage.ColumnsMeta)
		if err != nil {
			return err
		}
		if have == nil {
			return &Error{Err: storage.ErrNotFound, Msg: "there is nothing to move"}
		}
		if have.Flags&storage.FlagScheduling != 0 {
			if err := s.lockUIDOf(ctx, tx, m.From); err != nil {
				return err
			}
		}
		cols, err := tx.LockCollections(ctx, []storage.CollectionKey{m.From.CollectionKey, m.To.CollectionKey})
		if err != nil {
			return err
		}
		if have, err = one(ctx, tx, m.From, storage.ColumnData|storage.ColumnExtra); err != nil {
			return err
		}
		if have == nil {
			return &Error{Err: storage.ErrNotFound, Msg: "there is nothing to move"}
		}
		if err := conditions(Put{IfMatch: m.IfMatch, IfScheduleTag: m.IfScheduleTag}, have); err != nil {
			return err
		}
		if err := takes(cols, m.To.CollectionKey, have.Component); err != nil {
			return err
		}
		slot, err := tx.Slot(ctx, m.To, have.UID)
		if err != nil {
			return err
		}
		if slot.Existing != nil && !m.Overwrite {
			return &Error{Precond: true, Href: &slot.Existing.ObjectKey, Msg: "the destination exists and Overwrite is F"}
		}
		if slot.Existing != nil && slot.Existing.UID != have.UID { // RFC 4791 §5.3.2.1
			return &Error{Condition: CondUIDConflict, Href: &slot.Existing.ObjectKey, Msg: "the destination holds another UID"}
		}
		for _, o := range slot.SameUID {
			if o.ObjectKey != m.From && o.CollectionKey == m.To.CollectionKey {
				return &Error{Condition: CondUIDConflict, Href: &o.ObjectKey, Msg: "the UID exists in the destination calendar already"}
			}
		}
		if err := tx.MoveProperties(ctx, m.From, m.To); err != nil { // RFC 4918 §9.9.1
			return err
		}
		writes := []storage.Write{{Object: *have, Delete: true}}
		moved := *have
		moved.ObjectKey = m.To
		if _, err := tx.Apply(ctx, append(writes, storage.Write{Object: moved})); err != nil {
			return err
		}
		res = Result{ETag: moved.ETag, ScheduleTag: moved.ScheduleTag, Created: slot.Existing == nil, Object: &moved}
		return nil
	})
	return res, err
}
