package storage

import "context"

const usedText = `SELECT COALESCE(CAST(SUM(c.bytes) AS BIGINT), 0) FROM collection c WHERE c.account_id = $1 AND c.deleting = 0`

// Used is how many octets the objects of an account have, by the running counts of
// its collections.
func (db *DB) Used(ctx context.Context, account AccountID) (int64, error) {
	return readOne(ctx, db, scanInt, usedText, int64(account))
}

// RecountBytes counts the octets of an account's objects anew, stores what each
// collection has, and returns their sum. The running count is exact but for writers
// that met on one object; whoever is about to refuse something for want of space asks
// here first.
func (db *DB) RecountBytes(ctx context.Context, account AccountID) (used int64, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.s.exec(ctx, `UPDATE collection SET bytes = COALESCE((SELECT CAST(SUM(o.size) AS BIGINT) FROM object o
			WHERE o.account_id = collection.account_id AND o.collection_id = collection.id), 0) WHERE account_id = $1 AND deleting = 0`, int64(account)); err != nil {
			return err
		}
		used, err = queryOne(ctx, tx.s, scanInt, usedText, int64(account))
		return err
	})
	return used, err
}
