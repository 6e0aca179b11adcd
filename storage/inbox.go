package storage

import "context"

// MarkRead notes that the owner of an inbox has fetched items, so that the
// janitor may take them away after their time. It is no change of the item:
// ETag and sync sequence stay.
func (db *DB) MarkRead(ctx context.Context, k CollectionKey, names []string) error {
	if len(names) == 0 {
		return nil
	}
	text, err := jsonText(names)
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.s.exec(ctx, `UPDATE object SET flags = flags | $4 WHERE account_id = $1 AND collection_id = $2
			AND name IN (SELECT v.value FROM @list($3; v)) AND flags & $4 = 0`, int64(k.Account), int64(k.ID), text, int64(FlagRead))
		return err
	})
}
