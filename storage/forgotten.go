package storage

import "context"

// Forgotten is the stamp of a scheduling object that its owner deleted. A
// message that is not newer must not bring the object back.
type Forgotten struct {
	Account  AccountID
	UID      string
	Sequence int64
	DTStamp  int64  // of the last message about it
	At       int64  // when it was deleted
	Data     string // the object, when its owner declined by deleting it; else ""
}

// Forget notes deletions. A later deletion of the same UID replaces the note.
func (tx *Tx) Forget(ctx context.Context, list []Forgotten) error {
	for _, f := range list { // one per request: a DELETE is about one object
		if err := plainText(f.UID, f.Data); err != nil {
			return err
		}
		err := tx.s.later(ctx, `INSERT INTO forgotten (account_id, uid, sequence, dtstamp, deleted, data) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (account_id, uid) DO UPDATE SET sequence = excluded.sequence, dtstamp = excluded.dtstamp, deleted = excluded.deleted, data = excluded.data`,
			int64(f.Account), f.UID, f.Sequence, f.DTStamp, f.At, f.Data)
		if err != nil {
			return err
		}
	}
	return nil
}

// Forgotten finds the notes of several accounts about one UID.
func (tx *Tx) Forgotten(ctx context.Context, accounts []AccountID, uid string) ([]Forgotten, error) {
	scan := func(r rows) (f Forgotten, err error) {
		err = r.Scan((*int64)(&f.Account), &f.UID, &f.Sequence, &f.DTStamp, &f.At, &f.Data)
		return
	}
	text, err := jsonText(accounts)
	if err != nil {
		return nil, err
	}
	return queryAll(ctx, tx.s, scan, `SELECT f.account_id, f.uid, f.sequence, f.dtstamp, f.deleted, f.data
		FROM @list($1; v) JOIN forgotten f ON f.account_id = CAST(v.value AS BIGINT) WHERE f.uid = $2`, text, uid)
}
