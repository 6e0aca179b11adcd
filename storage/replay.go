package storage

import (
	"context"
	"time"
)

// ReplaySeen tells whether an inbound request was answered before: found with
// the results it got then. A signature or a message id that comes back with
// another body or other recipients is a conflict.
func (tx *Tx) ReplaySeen(ctx context.Context, o Once) (results string, found, conflict bool, err error) {
	type seen struct{ body, recipients, results string }
	scan := func(r rows) (s seen, err error) {
		err = r.Scan(&s.body, &s.recipients, &s.results)
		return
	}
	list, err := queryAll(ctx, tx.s, scan, `SELECT body_hash, recipients, results FROM replay_signature WHERE domain = $1 AND selector = $2 AND hash = $3 AND expires > $6
		UNION ALL SELECT body_hash, recipients, results FROM replay_message WHERE domain = $4 AND message_id = $5 AND message_id <> '' AND expires > $6`,
		o.Domain, o.Selector, o.SignatureHash, o.Domain, o.MessageID, Micros(tx.Now()))
	if err != nil {
		return "", false, false, err
	}
	for _, s := range list {
		if s.body != o.BodyHash || s.recipients != o.Recipients {
			return "", false, true, nil
		}
		results, found = s.results, true
	}
	return results, found, false, nil
}

// ReplayStore keeps the results of a request, for its signature until
// untilSig and for its message id until untilMsg. When the same request is
// being answered elsewhere at the same time, one of the two transactions runs
// again and finds the other's results.
func (tx *Tx) ReplayStore(ctx context.Context, o Once, results string, untilSig, untilMsg time.Time) error {
	if err := plainText(o.Domain, o.Selector, o.SignatureHash, o.MessageID, o.Recipients, results); err != nil {
		return err
	}
	now := Micros(tx.Now())
	if o.SignatureHash != "" {
		if err := tx.s.later(ctx, `DELETE FROM replay_signature WHERE domain = $1 AND selector = $2 AND hash = $3 AND expires <= $4`, o.Domain, o.Selector, o.SignatureHash, now); err != nil {
			return err
		}
		if err := tx.s.later(ctx, `INSERT INTO replay_signature (domain, selector, hash, body_hash, recipients, results, expires) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			o.Domain, o.Selector, o.SignatureHash, o.BodyHash, o.Recipients, results, Micros(untilSig)); err != nil {
			return err
		}
	}
	if o.MessageID == "" {
		return nil
	}
	// A request that comes again with a new signature keeps the message's row.
	_, err := tx.s.exec(ctx, `INSERT INTO replay_message (domain, message_id, body_hash, recipients, results, expires) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain, message_id) DO UPDATE SET body_hash = excluded.body_hash, recipients = excluded.recipients, results = excluded.results, expires = excluded.expires
		WHERE replay_message.expires <= $7 OR (replay_message.body_hash = excluded.body_hash AND replay_message.recipients = excluded.recipients)`,
		o.Domain, o.MessageID, o.BodyHash, o.Recipients, results, Micros(untilMsg), now)
	return err
}

// AddLink keeps the hash of a public link's token (at least 128 random bits).
func (db *DB) AddLink(ctx context.Context, l Link) error {
	if err := plainText(l.Hash, l.Label); err != nil {
		return err
	}
	_, err := db.write(ctx, `INSERT INTO link (account_id, hash, collection_id, label, created, expires) VALUES ($1, $2, $3, $4, $5, $6)`,
		int64(l.Account), l.Hash, int64(l.ID), l.Label, Micros(db.clock()), l.Expires)
	return err
}

const linkColumns = `account_id, hash, collection_id, label, created, expires`

func scanLink(r rows) (l Link, err error) {
	err = r.Scan((*int64)(&l.Account), &l.Hash, (*int64)(&l.ID), &l.Label, &l.Created, &l.Expires)
	return
}

// LinkByHash finds a link that has not expired; ErrNotFound.
func (db *DB) LinkByHash(ctx context.Context, hash string) (Link, error) {
	return readOne(ctx, db, scanLink, `SELECT `+linkColumns+` FROM link WHERE hash = $1 AND (expires = 0 OR expires > $2)`, hash, Micros(db.clock()))
}

// Links lists the links to an account's collections.
func (db *DB) Links(ctx context.Context, account AccountID) ([]Link, error) {
	return readAll(ctx, db, scanLink, `SELECT `+linkColumns+` FROM link WHERE account_id = $1 ORDER BY created, hash`, int64(account))
}

// DeleteLink revokes a link; ErrNotFound.
func (db *DB) DeleteLink(ctx context.Context, account AccountID, hash string) error {
	return affectedOne(db.write(ctx, `DELETE FROM link WHERE account_id = $1 AND hash = $2`, int64(account), hash))
}
