package storage

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// deletedLife is how long a deleted object is remembered in case its UID comes
// again: longer than messages about it are under way.
const deletedLife = 7 * 24 * time.Hour

// Janitor removes what nobody needs any more: journal rows behind the
// retention (but the newest of each collection), final deliveries whose
// status is written and messages without deliveries, expired replay rows,
// mail tokens and push subscriptions, held mail nobody decided about, who asked for busy times long ago, notes of deleted scheduling objects, states that no peer is
// known to have any more, inbox items that were read, unused UID locks, the objects of
// collections that are being deleted, and the rows of accounts whose hold-back
// is over. Each kind is one bounded batch in a transaction of its own; More
// asks to be called again.
func (db *DB) Janitor(ctx context.Context, now time.Time, r Retention) (Swept, error) {
	var s Swept
	batch := int64(cmp.Or(max(r.Batch, 0), 500))
	before := func(d time.Duration) int64 {
		if d <= 0 {
			return 0
		}
		return Micros(now.Add(-d))
	}
	for _, job := range []struct {
		n    *int
		when bool
		text string
		args []any
	}{
		{&s.Deliveries, r.Deliveries > 0, `DELETE FROM delivery WHERE (account_id, id) IN (
			SELECT account_id, id FROM delivery WHERE created < $1 AND updated < $1 AND state > 3 AND (written = 1 OR state > 5) ORDER BY created LIMIT $2)`, []any{before(r.Deliveries), batch}},
		{&s.Messages, r.Deliveries > 0, `DELETE FROM message WHERE (account_id, id) IN (
			SELECT m.account_id, m.id FROM message m WHERE m.created < $1
			AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.account_id = m.account_id AND d.message_id = m.id) ORDER BY m.created LIMIT $2)`, []any{before(r.Deliveries), batch}},
		{&s.Replay, true, `DELETE FROM replay_signature WHERE (domain, selector, hash) IN (
			SELECT domain, selector, hash FROM replay_signature WHERE expires <= $1 LIMIT $2)`, []any{Micros(now), batch}},
		{&s.Replay, true, `DELETE FROM replay_message WHERE (domain, message_id) IN (
			SELECT domain, message_id FROM replay_message WHERE expires <= $1 LIMIT $2)`, []any{Micros(now), batch}},
		{&s.Forgotten, r.Forgotten > 0, `DELETE FROM forgotten WHERE (account_id, uid) IN (
			SELECT account_id, uid FROM forgotten WHERE deleted < $1 ORDER BY deleted LIMIT $2)`, []any{before(r.Forgotten), batch}},
		{&s.States, r.Deliveries > 0, `DELETE FROM peer_state WHERE (account_id, uid, recipient_key) IN (
			SELECT p.account_id, p.uid, p.recipient_key FROM peer_state p WHERE p.updated < $1
			AND NOT EXISTS (SELECT 1 FROM object o WHERE o.account_id = p.account_id AND o.uid = p.uid)
			AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.account_id = p.account_id AND d.uid = p.uid AND d.state <= 3) LIMIT $2)`, []any{before(r.Deliveries), batch}},
		{&s.States, true, `DELETE FROM snapshot WHERE (account_id, uid, digest) IN (
			SELECT x.account_id, x.uid, x.digest FROM snapshot x WHERE (x.created < $1 AND x.digest <> '` + DeletedState + `' OR x.created < $3)
			AND NOT EXISTS (SELECT 1 FROM peer_state p WHERE p.account_id = x.account_id AND p.uid = x.uid AND p.digest = x.digest)
			AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.account_id = x.account_id AND d.uid = x.uid AND d.state <= 3) LIMIT $2)`, []any{Micros(now.Add(-24 * time.Hour)), batch, Micros(now.Add(-deletedLife))}},
		{&s.Tokens, true, `DELETE FROM mail_token WHERE hash IN (SELECT hash FROM mail_token WHERE expires <= $1 LIMIT $2)`, []any{Micros(now), batch}},
		{&s.Tokens, true, `DELETE FROM quarantine WHERE (account_id, id) IN (SELECT account_id, id FROM quarantine WHERE created < $1 ORDER BY created LIMIT $2)`, []any{before(quarantineLife), batch}},
		{&s.Tokens, true, `DELETE FROM push_subscription WHERE (account_id, id) IN (SELECT account_id, id FROM push_subscription WHERE expires <= $1 LIMIT $2)`, []any{Micros(now), batch}},
		{&s.Tokens, true, `DELETE FROM busy_question WHERE (account_id, domain) IN (SELECT account_id, domain FROM busy_question WHERE last < $1 ORDER BY last LIMIT $2)`, []any{before(askedLife), batch}},
		{&s.Locks, true, `DELETE FROM uid_lock WHERE (account_id, uid) IN (SELECT account_id, uid FROM uid_lock WHERE used < $1 LIMIT $2)`, []any{Micros(now.Add(-30 * 24 * time.Hour)), batch}},
		{&s.Accounts, true, `DELETE FROM address WHERE address IN (SELECT address FROM address WHERE held_until > 0 AND held_until <= $1 LIMIT $2)`, []any{Micros(now), batch}},
		{&s.Accounts, true, `DELETE FROM account WHERE id IN (SELECT a.id FROM account a WHERE a.removed > 0 AND a.removed <= $1
			AND NOT EXISTS (SELECT 1 FROM collection c WHERE c.account_id = a.id) LIMIT $2)`, []any{Micros(now.Add(-HoldBack)), batch}},
	} {
		if !job.when {
			continue
		}
		n, err := db.write(ctx, job.text, job.args...)
		if err != nil {
			return s, err
		}
		*job.n += int(n)
		s.More = s.More || n == batch
	}
	if r.Tombstones > 0 {
		if err := db.sweepJournal(ctx, before(r.Tombstones), batch, &s); err != nil {
			return s, err
		}
	}
	if r.InboxRead > 0 {
		if err := db.sweepInbox(ctx, before(r.InboxRead), &s); err != nil {
			return s, err
		}
	}
	return s, db.sweepCollections(ctx, &s)
}

// sweepJournal removes the beginnings of journals: rows up to the first one
// that is young enough, but never the newest, so that the present token and
// every token after the beginning stay good.
func (db *DB) sweepJournal(ctx context.Context, before, batch int64, s *Swept) error {
	const most = 50
	keys, err := readAll(ctx, db, func(r rows) (k CollectionKey, err error) {
		err = r.Scan((*int64)(&k.Account), (*int64)(&k.ID))
		return
	}, `SELECT c.account_id, c.id FROM collection c WHERE $1 > (SELECT CASE WHEN j.seq < c.seq THEN j.at ELSE $1 END FROM journal j
			WHERE j.account_id = c.account_id AND j.collection_id = c.id ORDER BY j.seq LIMIT 1) LIMIT $2`, before, int64(most))
	if err != nil {
		return err
	}
	for _, k := range keys {
		n, err := db.write(ctx, `DELETE FROM journal WHERE account_id = $1 AND collection_id = $2 AND seq IN (
			SELECT j.seq FROM journal j WHERE j.account_id = $1 AND j.collection_id = $2 AND j.seq < COALESCE(
				(SELECT min(y.seq) FROM journal y WHERE y.account_id = $1 AND y.collection_id = $2 AND y.at >= $3),
				(SELECT max(y.seq) FROM journal y WHERE y.account_id = $1 AND y.collection_id = $2))
			ORDER BY j.seq LIMIT $4)`, int64(k.Account), int64(k.ID), before, batch)
		if err != nil {
			return err
		}
		s.Journal += int(n)
		s.More = s.More || n == batch
	}
	s.More = s.More || len(keys) == most
	return nil
}

// sweepInbox removes inbox items that were read long ago, as changes that
// clients are told of.
func (db *DB) sweepInbox(ctx context.Context, before int64, s *Swept) error {
	const most = 200
	list, err := readAll(ctx, db, func(r rows) (k ObjectKey, err error) {
		err = r.Scan((*int64)(&k.Account), (*int64)(&k.ID), &k.Name)
		return
	}, `SELECT o.account_id, o.collection_id, o.name FROM collection c JOIN object o ON o.account_id = c.account_id AND o.collection_id = c.id
		WHERE c.kind = 3 AND c.deleting = 0 AND o.flags & 512 <> 0 AND o.modified < $1 LIMIT $2`, before, int64(most))
	if err != nil || len(list) == 0 {
		return err
	}
	writes := make([]Write, len(list))
	for i, k := range list {
		writes[i] = Write{Object: Object{ObjectKey: k}, Delete: true}
	}
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Apply(ctx, writes)
		return err
	})
	if errors.Is(err, ErrNotFound) { // an inbox went away meanwhile
		return nil
	}
	s.Inbox += len(list)
	s.More = s.More || len(list) == most
	return err
}

// sweepCollections goes on with the removal of collections.
func (db *DB) sweepCollections(ctx context.Context, s *Swept) error {
	list, err := db.DeletingCollections(ctx, 20)
	if err != nil {
		return err
	}
	for _, c := range list {
		more, err := db.RemoveObjects(ctx, c.CollectionKey, 200)
		if err != nil {
			return err
		}
		s.Objects++
		if more {
			s.More = true
			continue
		}
		err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error { return tx.RemoveCollection(ctx, c.CollectionKey) })
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrExists) {
			return err
		}
	}
	s.More = s.More || len(list) == 20
	return nil
}
