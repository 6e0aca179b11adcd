package storage

import (
	"context"
	"strings"
	"time"
)

// Purposes of mail tokens.
const (
	TokenReply  = ""       // address that answers come home to
	TokenBounce = "bounce" // address that bounces come home to
	TokenRSVP   = "rsvp"   // one-time link for an answer
)

// MailToken stands for an attendee of an event, by the hash of a secret text.
type MailToken struct {
	Hash      string
	Purpose   string
	Account   AccountID
	UID       string
	Attendee  string
	Sequence  int64
	Instances string // RECURRENCE-IDs, separated by a blank; "": the whole
	Nonce     string
	Expires   int64
	Used      int64 // when; 0: not yet
}

const mailTokenColumns = `hash, purpose, account_id, uid, attendee, sequence, instances, nonce, expires, used`

func scanMailToken(r rows) (t MailToken, err error) {
	err = r.Scan(&t.Hash, &t.Purpose, (*int64)(&t.Account), &t.UID, &t.Attendee, &t.Sequence, &t.Instances, &t.Nonce, &t.Expires, &t.Used)
	return
}

// SaveMailToken keeps the hash of a token. Of one that is known only the
// expiry changes.
func (tx *Tx) SaveMailToken(ctx context.Context, t MailToken) error {
	if err := plainText(t.Hash, t.UID, t.Attendee, t.Instances, t.Nonce); err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO mail_token (`+mailTokenColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)
		ON CONFLICT (hash) DO UPDATE SET expires = excluded.expires`, t.Hash, t.Purpose, int64(t.Account), t.UID, t.Attendee, t.Sequence, t.Instances, t.Nonce, t.Expires)
}

// SaveMailToken is Tx.SaveMailToken in a transaction of its own.
func (db *DB) SaveMailToken(ctx context.Context, t MailToken) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error { return tx.SaveMailToken(ctx, t) })
}

// MailToken finds a token that has not expired; ErrNotFound.
func (db *DB) MailToken(ctx context.Context, hash string) (MailToken, error) {
	return readOne(ctx, db, scanMailToken, `SELECT `+mailTokenColumns+` FROM mail_token WHERE hash = $1 AND expires > $2`, hash, Micros(db.clock()))
}

// UseMailToken marks a token as used now. Of several who try only one gets
// true; ErrNotFound when there is no such token any more.
func (tx *Tx) UseMailToken(ctx context.Context, hash string) (bool, error) {
	now := Micros(tx.Now())
	n, err := tx.s.exec(ctx, `UPDATE mail_token SET used = $2 WHERE hash = $1 AND used = 0 AND expires > $2`, hash, now)
	if err != nil || n == 1 {
		return n == 1, err
	}
	_, err = queryOne(ctx, tx.s, scanMailToken, `SELECT `+mailTokenColumns+` FROM mail_token WHERE hash = $1 AND expires > $2`, hash, now)
	return false, err
}

// Quarantined is an inbound message that its recipient decides about.
type Quarantined struct {
	Account AccountID
	ID      int64
	UID     string
	From    string
	Reason  string
	Body    string // a calendar message that can be applied, else words
	File    string // a calendar part that must not be applied; may be ""
	Key     string // names the mail; one that comes twice is held once. "": never the same
	Created int64
}

// maxQuarantined is how many messages an account can have waiting; the oldest
// go first (A32).
const maxQuarantined = 500

// AddQuarantine keeps an inbound message until its recipient decides. What is
// held already is not held twice; the ID is 0 then.
func (db *DB) AddQuarantine(ctx context.Context, q Quarantined) (Quarantined, error) {
	if err := plainText(q.UID, q.From, q.Reason, q.Body, q.File, q.Key); err != nil {
		return q, err
	}
	q.ID, q.Created = db.NewID(), Micros(db.clock())
	n := int64(0)
	err := db.Tx(ctx, func(ctx context.Context, tx *Tx) (err error) {
		n, err = tx.s.exec(ctx, `INSERT INTO quarantine (account_id, id, uid, sender, reason, created, body, file, message_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (account_id, message_key) WHERE message_key <> '' DO NOTHING`, int64(q.Account), q.ID, q.UID, q.From, q.Reason, q.Created, q.Body, q.File, q.Key)
		if err != nil || n == 0 {
			return err
		}
		return tx.s.later(ctx, `DELETE FROM quarantine WHERE account_id = $1 AND id IN (
			SELECT x.id FROM quarantine x WHERE x.account_id = $1 ORDER BY x.created DESC, x.id LIMIT 1000 OFFSET $2)`, int64(q.Account), int64(maxQuarantined))
	})
	if n == 0 {
		q.ID = 0
	}
	return q, err
}

const quarantineColumns = `account_id, id, uid, sender, reason, created, body, file, message_key`

func scanQuarantined(r rows) (q Quarantined, err error) {
	err = r.Scan((*int64)(&q.Account), &q.ID, &q.UID, &q.From, &q.Reason, &q.Created, &q.Body, &q.File, &q.Key)
	return
}

// ListQuarantine lists what is kept for an account (0: for all), newest first.
func (db *DB) ListQuarantine(ctx context.Context, account AccountID, limit int) ([]Quarantined, error) {
	return readAll(ctx, db, scanQuarantined, `SELECT `+quarantineColumns+` FROM quarantine WHERE account_id = $1 OR $1 = 0 ORDER BY created DESC, id LIMIT $2`,
		int64(account), int64(max(limit, 1)))
}

// Quarantined finds one kept message; ErrNotFound.
func (db *DB) Quarantined(ctx context.Context, account AccountID, id int64) (Quarantined, error) {
	return readOne(ctx, db, scanQuarantined, `SELECT `+quarantineColumns+` FROM quarantine WHERE account_id = $1 AND id = $2`, int64(account), id)
}

// DeleteQuarantine removes a message; ErrNotFound.
func (db *DB) DeleteQuarantine(ctx context.Context, account AccountID, id int64) error {
	return affectedOne(db.write(ctx, `DELETE FROM quarantine WHERE account_id = $1 AND id = $2`, int64(account), id))
}

// BlockedSender is somebody whose mail an account does not want.
type BlockedSender struct {
	Account AccountID
	Sender  string // comparison form of an address
	Created int64
}

// BlockSender throws away what waits from a sender, and keeps him out from now
// on.
func (db *DB) BlockSender(ctx context.Context, account AccountID, sender string) error {
	if err := plainText(sender); err != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.s.later(ctx, `INSERT INTO blocked_sender (account_id, sender, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, int64(account), sender, Micros(tx.Now())); err != nil {
			return err
		}
		return tx.s.later(ctx, `DELETE FROM quarantine WHERE account_id = $1 AND lower(sender) = $2`, int64(account), strings.ToLower(sender))
	})
}

// UnblockSender lets him in again; ErrNotFound.
func (db *DB) UnblockSender(ctx context.Context, account AccountID, sender string) error {
	return affectedOne(db.write(ctx, `DELETE FROM blocked_sender WHERE account_id = $1 AND sender = $2`, int64(account), sender))
}

// BlockedSenders lists whom an account has blocked, the newest first.
func (db *DB) BlockedSenders(ctx context.Context, account AccountID) ([]BlockedSender, error) {
	return readAll(ctx, db, func(r rows) (b BlockedSender, err error) {
		err = r.Scan((*int64)(&b.Account), &b.Sender, &b.Created)
		return
	}, `SELECT account_id, sender, created FROM blocked_sender WHERE account_id = $1 ORDER BY created DESC, sender LIMIT 1000`, int64(account))
}

// SenderBlocked tells whether an account has blocked an address.
func (db *DB) SenderBlocked(ctx context.Context, account AccountID, sender string) (bool, error) {
	n, err := readOne(ctx, db, scanInt, `SELECT count(*) FROM blocked_sender WHERE account_id = $1 AND sender = $2`, int64(account), sender)
	return n > 0, err
}

// Wrote tells whether an account has ever sent something to an address, as far
// as deliveries are kept.
func (db *DB) Wrote(ctx context.Context, account AccountID, recipientKey string) (bool, error) {
	n, err := readOne(ctx, db, scanInt, `SELECT count(*) FROM (SELECT 1 AS one FROM delivery WHERE account_id = $1 AND recipient_key = $2 LIMIT 1) x`, int64(account), recipientKey)
	return n > 0, err
}

// Mentioning reads scheduling objects of an account in whose text a word
// stands, at most limit; the word is compared without regard to case and to
// the folding of lines, so the caller looks closer.
func (db *DB) Mentioning(ctx context.Context, account AccountID, word string, limit int) ([]Object, error) {
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(word)) + "%"
	return readAll(ctx, db, objectScanner(ColumnData), `SELECT `+objectColumns(ColumnData)+` FROM object o WHERE o.account_id = $1 AND o.item = '' AND o.flags & 16 <> 0
		AND lower(replace(replace(o.data, $2, ''), $3, '')) LIKE $4 ESCAPE '\' LIMIT $5`, int64(account), "\r\n ", "\n ", like, int64(max(limit, 1)))
}

// quarantineLife is how long a message waits for its recipient's decision.
const quarantineLife = 90 * 24 * time.Hour
