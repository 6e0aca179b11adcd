package storage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrTooMany refuses what goes beyond a limit per account.
var ErrTooMany = errors.New("storage: the account has too many of these")

// PushSubscription is a registration of draft-bitfire-webdav-push: who wants to
// be told of the changes of which collection, and where. Endpoint, PublicKey
// and Auth are secrets between the subscriber and us.
type PushSubscription struct {
	Account    AccountID // the subscriber
	ID         int64
	Token      string        // names the registration in its URL; set by RegisterPush
	Collection CollectionKey // of whatever account
	Endpoint   string        // URL of the push resource
	PublicKey  string        // P-256, uncompressed, base64url
	Auth       string        // 16 octets, base64url
	Content    bool          // tell of changes of members
	Properties bool          // tell of changes of properties
	Created    int64
	Expires    int64
}

// ClaimedPush is a subscription whose collection has news for it.
type ClaimedPush struct {
	PushSubscription
	Of             Collection // its present state; zero when Gone
	Gone           bool       // the collection is no more
	ContentNews    bool
	PropertiesNews bool
	Failures       int   // failed attempts in a row
	FailingSince   int64 // of the first of them
	Budget         int64 // what the last PushOutcome said

	seq, homeSeq int64 // states that the news bring the subscriber to
}

// PushOutcome says what became of a claimed push.
type PushOutcome struct {
	ClaimedPush
	Remove bool  // the subscription is dead
	Failed bool  // not delivered: the news stay news
	Later  bool  // not tried: the same, and it says nothing against the subscription
	Next   int64 // not to be claimed before
}

// RegisterPush stores a subscription, or renews the one that the account has for
// the same collection and endpoint: that one keeps its token and what it was told
// of. most bounds the subscriptions of one account: ErrTooMany.
func (db *DB) RegisterPush(ctx context.Context, s PushSubscription, most int) (out PushSubscription, err error) {
	if err := plainText(s.Endpoint, s.PublicKey, s.Auth); err != nil {
		return s, err
	}
	sum := sha256.Sum256([]byte(s.Endpoint))
	hash := hex.EncodeToString(sum[:])
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		out = s
		now := Micros(tx.Now())
		if err := tx.LockHome(ctx, s.Account); err != nil { // two registrations of one account take turns
			return err
		}
		type known struct {
			id, created int64
			token       string
		}
		old, err := queryOne(ctx, tx.s, func(r rows) (k known, err error) {
			err = r.Scan(&k.id, &k.created, &k.token)
			return
		}, `SELECT p.id, p.created, p.token FROM push_subscription p WHERE p.account_id = $1 AND p.home_id = $2 AND p.collection_id = $3 AND p.endpoint_hash = $4`,
			int64(s.Account), int64(s.Collection.Account), int64(s.Collection.ID), hash)
		if err == nil {
			out.ID, out.Token, out.Created = old.id, old.token, old.created
			return tx.s.later(ctx, `UPDATE push_subscription SET public_key = $3, auth = $4, content = $5, properties = $6, expires = $7, failing_since = 0, failures = 0
				WHERE account_id = $1 AND id = $2`, int64(s.Account), old.id, s.PublicKey, s.Auth, bit(s.Content), bit(s.Properties), s.Expires)
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		n, err := queryOne(ctx, tx.s, scanInt, `SELECT count(*) FROM push_subscription WHERE account_id = $1 AND expires > $2`, int64(s.Account), now)
		if err != nil {
			return err
		}
		if n >= int64(most) {
			return fmt.Errorf("%w: %d push subscriptions", ErrTooMany, n)
		}
		out.ID, out.Token, out.Created = tx.NewID(), tx.db.random(16), now
		n, err = tx.s.exec(ctx, `INSERT INTO push_subscription (account_id, id, token, home_id, collection_id, endpoint, endpoint_hash, public_key, auth, content, properties,
				seq, home_seq, due, budget, muted, lease_owner, lease_seq, lease_home, failing_since, failures, created, expires)
			SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS TEXT), c.account_id, c.id, CAST($6 AS TEXT), CAST($7 AS TEXT), CAST($8 AS TEXT), CAST($9 AS TEXT),
				CAST($10 AS BIGINT), CAST($11 AS BIGINT), c.seq, h.seq, 0, 0, 0, '', 0, 0, 0, 0, CAST($12 AS BIGINT), CAST($13 AS BIGINT)
			FROM collection c JOIN collection h ON h.account_id = c.account_id AND h.name = '' WHERE c.account_id = $4 AND c.id = $5 AND c.deleting = 0`,
			int64(s.Account), out.ID, out.Token, int64(s.Collection.Account), int64(s.Collection.ID), s.Endpoint, hash, s.PublicKey, s.Auth,
			bit(s.Content), bit(s.Properties), now, s.Expires)
		return affectedOne(n, err)
	})
	return out, err
}

// RemovePush ends a subscription of the account; ErrNotFound when it has none
// with the token.
func (db *DB) RemovePush(ctx context.Context, account AccountID, token string) error {
	if err := plainText(token); err != nil {
		return ErrNotFound
	}
	n, err := db.write(ctx, `DELETE FROM push_subscription WHERE account_id = $1 AND token = $2 AND expires > $3`, int64(account), token, Micros(db.clock()))
	return affectedOne(n, err)
}

// PushSubscriptions lists the subscriptions of an account that have not expired,
// the oldest first.
func (db *DB) PushSubscriptions(ctx context.Context, account AccountID) ([]PushSubscription, error) {
	return readAll(ctx, db, func(r rows) (p PushSubscription, err error) {
		var content, properties int64
		err = r.Scan((*int64)(&p.Account), &p.ID, &p.Token, (*int64)(&p.Collection.Account), (*int64)(&p.Collection.ID), &p.Endpoint, &p.PublicKey, &p.Auth, &content, &properties, &p.Created, &p.Expires)
		p.Content, p.Properties = content != 0, properties != 0
		return
	}, `SELECT p.account_id, p.id, p.token, p.home_id, p.collection_id, p.endpoint, p.public_key, p.auth, p.content, p.properties, p.created, p.expires
		FROM push_subscription p WHERE p.account_id = $1 AND p.expires > $2 ORDER BY p.created, p.id`, int64(account), Micros(db.clock()))
}

// pushNews finds subscriptions with news. A change of properties is a row in
// the journal of the home, under the collection's name.
const pushNews = ` FROM push_subscription p
	LEFT JOIN collection c ON c.account_id = p.home_id AND c.id = p.collection_id AND c.deleting = 0
	LEFT JOIN collection h ON h.account_id = p.home_id AND h.name = ''
	WHERE p.due <= $1 AND p.muted <= $1 AND p.expires > $1 AND (c.id IS NULL OR p.content = 1 AND c.seq > p.seq OR p.properties = 1 AND h.seq > p.home_seq AND ` + pushProperties + `)`

const pushProperties = `EXISTS (SELECT 1 FROM journal j WHERE j.account_id = h.account_id AND j.collection_id = h.id AND j.seq > p.home_seq AND j.name = c.name)`

// ClaimPush leases up to limit subscriptions with news to owner until
// now+lease, so that of all nodes one tells each subscriber. homes narrows the
// search to the collections of these accounts (nil: all), busy leaves
// subscribers out. Without news it is one statement that only reads.
func (db *DB) ClaimPush(ctx context.Context, owner string, now time.Time, lease time.Duration, homes, busy []AccountID, limit int) (out []ClaimedPush, err error) {
	at := Micros(now)
	where := pushNews
	args := []any{at}
	for _, f := range []struct {
		list []AccountID
		cond string
	}{{homes, ` AND p.home_id IN`}, {busy, ` AND p.account_id NOT IN`}} {
		if len(f.list) == 0 {
			continue
		}
		text, err := jsonText(f.list)
		if err != nil {
			return nil, err
		}
		args = append(args, text)
		where += f.cond + ` (SELECT CAST(v.value AS BIGINT) FROM @list($` + strconv.Itoa(len(args)) + `; v))`
	}
	if n, err := readAll(ctx, db, scanInt, `SELECT 1`+where+` LIMIT 1`, args...); err != nil || len(n) == 0 {
		return nil, err
	}
	args = append(args, int64(limit))
	columns := `SELECT p.account_id, p.id, p.token, p.home_id, p.collection_id, p.endpoint, p.public_key, p.auth, p.content, p.properties, p.created, p.expires,
		p.failures, p.failing_since, p.budget, p.seq, COALESCE(h.seq, 0), CASE WHEN p.properties = 1 AND h.seq > p.home_seq AND ` + pushProperties + ` THEN 1 ELSE 0 END, ` +
		orNothing(collectionNarrow)
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		out, err = queryAll(ctx, tx.s, scanPush, columns+where+` ORDER BY p.due, p.account_id, p.id LIMIT $`+strconv.Itoa(len(args))+` @skiplocked(p)`, args...)
		if err != nil || len(out) == 0 {
			return err
		}
		text, err := jsonText(pushKeys(out))
		if err != nil {
			return err
		}
		return tx.s.later(ctx, `UPDATE push_subscription SET due = $2, lease_owner = $3, lease_seq = r.seq, lease_home = r.home_seq
			FROM @rows($1; r; account_id bigint, id bigint, seq bigint, home_seq bigint)
			WHERE push_subscription.account_id = r.account_id AND push_subscription.id = r.id`, text, Micros(now.Add(lease)), owner)
	})
	return out, err
}

func scanPush(r rows) (p ClaimedPush, err error) {
	var row collectionRow
	var content, properties, told, news int64
	d := []any{(*int64)(&p.Account), &p.ID, &p.Token, (*int64)(&p.Collection.Account), (*int64)(&p.Collection.ID), &p.Endpoint, &p.PublicKey, &p.Auth, &content, &properties,
		&p.Created, &p.Expires, &p.Failures, &p.FailingSince, &p.Budget, &told, &p.homeSeq, &news}
	if err := r.Scan(row.dest(d, &p.Of, false)...); err != nil {
		return p, err
	}
	p.Content, p.Properties, p.PropertiesNews = content != 0, properties != 0, news != 0
	if p.Of.ID == 0 {
		p.Gone, p.ContentNews = true, p.Content
		return p, nil
	}
	p.seq, p.ContentNews = p.Of.Seq, p.Content && p.Of.Seq > told
	return p, row.fill(&p.Of, true)
}

type pushKey struct {
	Account  int64 `json:"account_id"`
	ID       int64 `json:"id"`
	Seq      int64 `json:"seq"`
	HomeSeq  int64 `json:"home_seq"`
	Due      int64 `json:"due"`
	Budget   int64 `json:"budget"`
	Failing  int64 `json:"failing_since"`
	Failures int64 `json:"failures"`
}

func pushKeys(list []ClaimedPush) []pushKey {
	out := make([]pushKey, len(list))
	for i, p := range list {
		out[i] = pushKey{Account: int64(p.Account), ID: p.ID, Seq: p.seq, HomeSeq: p.homeSeq}
	}
	return out
}

// PushDone records outcomes and ends the leases of owner; what another node has
// taken over meanwhile stays as it is.
func (db *DB) PushDone(ctx context.Context, owner string, list []PushOutcome) error {
	if len(list) == 0 {
		return nil
	}
	now := Micros(db.clock())
	var gone, told, failed, later []pushKey
	for _, o := range list {
		k := pushKey{Account: int64(o.Account), ID: o.ID, Due: o.Next, Budget: o.Budget}
		switch {
		case o.Remove:
			gone = append(gone, k)
		case o.Later:
			later = append(later, k)
		case o.Failed:
			k.Failing, k.Failures = cmp.Or(o.FailingSince, now), int64(o.Failures)+1
			failed = append(failed, k)
		default:
			told = append(told, k)
		}
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		run := func(keys []pushKey, query string) error {
			if len(keys) == 0 {
				return nil
			}
			text, err := jsonText(keys)
			if err != nil {
				return err
			}
			return tx.s.later(ctx, query, text, owner)
		}
		const mine = ` WHERE push_subscription.account_id = r.account_id AND push_subscription.id = r.id AND push_subscription.lease_owner = $2`
		if err := run(gone, `DELETE FROM push_subscription WHERE lease_owner = $2 AND (account_id, id) IN (SELECT r.account_id, r.id FROM @rows($1; r; account_id bigint, id bigint))`); err != nil {
			return err
		}
		if err := run(told, `UPDATE push_subscription SET seq = lease_seq, home_seq = lease_home, due = r.due, budget = r.budget, lease_owner = '', failing_since = 0, failures = 0
			FROM @rows($1; r; account_id bigint, id bigint, due bigint, budget bigint)`+mine); err != nil {
			return err
		}
		if err := run(later, `UPDATE push_subscription SET due = r.due, lease_owner = '' FROM @rows($1; r; account_id bigint, id bigint, due bigint)`+mine); err != nil {
			return err
		}
		return run(failed, `UPDATE push_subscription SET due = r.due, lease_owner = '', failing_since = r.failing_since, failures = r.failures
			FROM @rows($1; r; account_id bigint, id bigint, due bigint, failing_since bigint, failures bigint)`+mine)
	})
}

// PushMute is a request that its own subscriptions shall not hear of
// (the Push-Dont-Notify header).
type PushMute struct {
	Account    AccountID
	Collection CollectionKey
	Tokens     []string // nil: all that the account has on the collection

	seq, homeSeq int64
}

// muted is how long a request may take before its subscriptions are told after all.
const muted = 30 * time.Second

const pushMine = ` p.account_id = $1 AND p.home_id = $2 AND p.collection_id = $3 AND ($4 = '' OR p.token IN (SELECT v.value FROM @list($5; v)))`

func (m *PushMute) args() ([]any, error) {
	text, err := jsonText(m.Tokens)
	all := "listed"
	if m.Tokens == nil {
		all = ""
	}
	return []any{int64(m.Account), int64(m.Collection.Account), int64(m.Collection.ID), all, text}, err
}

// MutePush stops pushes to the subscriptions until UnmutePush, or until the
// request must be over.
func (db *DB) MutePush(ctx context.Context, m *PushMute) error {
	args, err := m.args()
	if err != nil || plainText(m.Tokens...) != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if m.seq, m.homeSeq, err = tx.pushState(ctx, m.Collection); err != nil {
			return err
		}
		return tx.s.later(ctx, `UPDATE push_subscription AS p SET muted = $6 WHERE`+pushMine, append(args, Micros(tx.Now().Add(muted)))...)
	})
}

// UnmutePush lets pushes go on. The subscriptions count as told of the change
// of the request, provided that it was the only one since MutePush: nobody
// else's change may be lost with it.
func (db *DB) UnmutePush(ctx context.Context, m *PushMute) error {
	args, err := m.args()
	if err != nil || plainText(m.Tokens...) != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		seq, homeSeq, err := tx.pushState(ctx, m.Collection)
		if err != nil && !errors.Is(err, ErrNotFound) { // deleted by the request: that is told
			return err
		}
		if seq != m.seq+1 {
			seq = 0
		}
		others, err := queryOne(ctx, tx.s, scanInt, `SELECT count(*) FROM journal j JOIN collection h ON h.account_id = j.account_id AND h.id = j.collection_id AND h.name = ''
			LEFT JOIN collection c ON c.account_id = $1 AND c.id = $2 WHERE j.account_id = $1 AND j.seq > $3 AND (c.name IS NULL OR j.name <> c.name)`,
			int64(m.Collection.Account), int64(m.Collection.ID), m.homeSeq)
		if err != nil {
			return err
		}
		if others > 0 {
			homeSeq = 0
		}
		// A push on its way tells of more than what is recorded so far.
		return tx.s.later(ctx, `UPDATE push_subscription AS p SET muted = 0,
			seq = CASE WHEN p.seq >= $6 AND p.seq < $7 THEN $7 ELSE p.seq END,
			home_seq = CASE WHEN p.home_seq >= $8 AND p.home_seq < $9 THEN $9 ELSE p.home_seq END,
			lease_seq = CASE WHEN p.lease_seq >= $6 AND p.lease_seq < $7 THEN $7 ELSE p.lease_seq END,
			lease_home = CASE WHEN p.lease_home >= $8 AND p.lease_home < $9 THEN $9 ELSE p.lease_home END WHERE`+pushMine,
			append(args, m.seq, seq, m.homeSeq, homeSeq)...)
	})
}

// pushState is the state of a collection and of its home.
func (tx *Tx) pushState(ctx context.Context, k CollectionKey) (seq, homeSeq int64, err error) {
	type state struct{ seq, home int64 }
	s, err := queryOne(ctx, tx.s, func(r rows) (s state, err error) {
		err = r.Scan(&s.seq, &s.home)
		return
	}, `SELECT c.seq, h.seq FROM collection c JOIN collection h ON h.account_id = c.account_id AND h.name = '' WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0`,
		int64(k.Account), int64(k.ID))
	return s.seq, s.home, err
}
