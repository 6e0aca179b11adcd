package storage

import "context"

const usedText = `SELECT COALESCE(CAST(SUM(c.bytes) AS BIGINT), 0) FROM collection c WHERE c.account_id = $1 AND c.deleting = 0`

// Used is how many octets the objects of an account have, by the running counts of
// its collections.
func (db *DB) Used(ctx context.Context, account AccountID) (int64, error) {
	return readOne(ctx, db, scanInt, usedText, int64(account))
}

// usedBy sums the octets of several accounts.
func (tx *Tx) usedBy(ctx context.Context, accounts []AccountID, sum string) (map[AccountID]int64, error) {
	out := make(map[AccountID]int64, len(accounts))
	if len(accounts) == 0 {
		return out, nil
	}
	text, err := jsonText(accounts)
	if err != nil {
		return nil, err
	}
	type used struct {
		account AccountID
		octets  int64
	}
	scan := func(r rows) (u used, err error) {
		err = r.Scan((*int64)(&u.account), &u.octets)
		return
	}
	// Not a join: with few accounts planners would read all collections for it.
	list, err := queryAll(ctx, tx.s, scan, `SELECT CAST(v.value AS BIGINT), COALESCE((SELECT CAST(SUM(`+sum+`) AS BIGINT)
		FROM collection x WHERE x.account_id = CAST(v.value AS BIGINT) AND x.deleting = 0), -1) FROM @list($1; v)`, text)
	for _, u := range list {
		if u.octets >= 0 { // he has a home
			out[u.account] = u.octets
		}
	}
	return out, err
}

// UsedBy is Used for several accounts, by one statement.
func (tx *Tx) UsedBy(ctx context.Context, accounts []AccountID) (map[AccountID]int64, error) {
	return tx.usedBy(ctx, accounts, "x.bytes")
}

// CountedBy is UsedBy without the running counts: it adds up all objects, which is
// what whoever is about to refuse something asks.
func (tx *Tx) CountedBy(ctx context.Context, accounts []AccountID) (map[AccountID]int64, error) {
	return tx.usedBy(ctx, accounts, `COALESCE((SELECT SUM(o.size) FROM object o WHERE o.account_id = x.account_id AND o.collection_id = x.id), 0)`)
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
