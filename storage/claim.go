package storage

import (
	"context"
	"math"
	"slices"
	"time"
)

// claimRounds bound how many domains that are full can be passed over in one
// Claim; the next Claim goes on.
const claimRounds = 8

// Claim leases up to limit due deliveries to owner until now+lease, with
// their messages. A delivery is due when its time has come, or when the lease
// of another worker has ended, and when what was enqueued before it for the
// same account, UID and recipient is final. Deliveries of one message to one
// domain get one WireID; who keeps the WireID of an earlier attempt is claimed
// together with all that have it (beyond limit, if need be). At most perDomain
// different WireIDs of one domain are in flight at a time (0: any number);
// claims of all nodes take turns, so that this holds among them as well.
func (db *DB) Claim(ctx context.Context, owner string, now time.Time, lease time.Duration, limit, perDomain int) (out []Claimed, err error) {
	if perDomain <= 0 {
		perDomain = math.MaxInt
	}
	return db.ClaimFor(ctx, owner, now, lease, limit, func() func(string) int { return func(string) int { return perDomain } })
}

// ClaimFor is Claim with a number for each domain. rule is called once for each
// run of the transaction; what it returns tells how many different WireIDs of a
// domain may be in flight, 0 for none now. It may be asked about a domain
// several times and must not answer less the second time.
func (db *DB) ClaimFor(ctx context.Context, owner string, now time.Time, lease time.Duration, limit int, rule func() func(domain string) int) (out []Claimed, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		out, err = tx.claim(ctx, owner, Micros(now), Micros(now.Add(lease)), limit, rule())
		return err
	})
	return out, err
}

const claimable = ` FROM delivery d JOIN message m ON m.account_id = d.account_id AND m.id = d.message_id
	WHERE d.state <= 3 AND NOT EXISTS (SELECT 1 FROM delivery p
		WHERE p.account_id = d.account_id AND p.uid = d.uid AND p.recipient_key = d.recipient_key AND p.turn < d.turn AND p.state <= 3)`

func (tx *Tx) claim(ctx context.Context, owner string, now, until int64, limit int, perDomain func(string) int) ([]Claimed, error) {
	if limit <= 0 || owner == "" {
		return nil, nil
	}
	if _, err := queryOne(ctx, tx.s, scanText, `SELECT l.name FROM lease l WHERE l.name = 'claim' @forupdate(l)`); err != nil {
		return nil, err
	}
	flight := map[string]map[string]bool{} // domain -> WireIDs
	type parcel struct{ domain, wire string }
	live, err := queryAll(ctx, tx.s, func(r rows) (p parcel, err error) {
		err = r.Scan(&p.domain, &p.wire)
		return
	}, `SELECT DISTINCT domain, wire_id FROM delivery WHERE state = 3 AND due > $1`, now)
	if err != nil {
		return nil, err
	}
	use := func(p parcel) bool { // false: the domain is full
		wires := flight[p.domain]
		if wires == nil {
			wires = map[string]bool{}
			flight[p.domain] = wires
		}
		if !wires[p.wire] && len(wires) >= perDomain(p.domain) {
			return false
		}
		wires[p.wire] = true
		return true
	}
	full := []string{}
	for _, p := range live {
		if flight[p.domain] == nil {
			flight[p.domain] = map[string]bool{}
		}
		flight[p.domain][p.wire] = true
	}
	for domain, wires := range flight {
		if len(wires) >= perDomain(domain) {
			full = append(full, domain)
		}
	}
	type group struct {
		account AccountID
		message int64
		domain  string
	}
	fresh := map[group]string{} // WireIDs given in this call
	seen := map[[2]int64]bool{}
	var out []Claimed
	take := func(c Claimed) (full bool) {
		key := [2]int64{int64(c.Account), c.ID}
		if seen[key] {
			return false
		}
		if c.WireID == "" {
			g := group{c.Account, c.MessageID, c.Domain}
			wire, ok := fresh[g]
			if !ok {
				wire = tx.db.random(16)
			}
			if !use(parcel{c.Domain, wire}) {
				return true
			}
			fresh[g], c.WireID = wire, wire
		} else if !use(parcel{c.Domain, c.WireID}) {
			return true
		}
		seen[key] = true
		c.State, c.LeaseOwner, c.LeaseUntil = DeliveryInFlight, owner, until
		out = append(out, c)
		return false
	}
	for range claimRounds {
		text, err := jsonText(full)
		if err != nil {
			return nil, err
		}
		ask := limit - len(out)
		list, err := queryAll(ctx, tx.s, scanClaimed, `SELECT `+deliveryColumns+`, `+messageColumns+claimable+`
			AND d.due <= $1 AND d.domain NOT IN (SELECT v.value FROM @list($2; v)) ORDER BY d.due, d.account_id, d.message_id, d.domain, d.id LIMIT $3 @skiplocked(d)`,
			now, text, int64(ask+len(out)))
		if err != nil {
			return nil, err
		}
		was := len(full)
		for _, c := range list {
			if len(out) >= limit {
				break
			}
			if take(c) && !slices.Contains(full, c.Domain) {
				full = append(full, c.Domain)
			}
		}
		if len(out) >= limit || len(list) < ask || len(full) == was {
			break
		}
	}
	rest, err := tx.sameWire(ctx, out)
	if err != nil {
		return nil, err
	}
	for _, c := range rest {
		_ = take(c)
	}
	if len(out) == 0 {
		return nil, nil
	}
	type row struct {
		Account int64  `json:"account_id"`
		ID      int64  `json:"id"`
		Wire    string `json:"wire_id"`
	}
	list := make([]row, len(out))
	for i := range out {
		list[i] = row{int64(out[i].Account), out[i].ID, out[i].WireID}
	}
	text, err := jsonText(list)
	if err != nil {
		return nil, err
	}
	return out, tx.s.later(ctx, `UPDATE delivery SET state = 3, lease_owner = $2, lease_until = $3, due = $3, wire_id = r.wire_id, updated = $4
		FROM @rows($1; r; account_id bigint, id bigint, wire_id text) WHERE delivery.account_id = r.account_id AND delivery.id = r.id`,
		text, owner, until, now)
}

// sameWire reads all open deliveries of the WireIDs that were kept from an
// earlier attempt.
func (tx *Tx) sameWire(ctx context.Context, claimed []Claimed) ([]Claimed, error) {
	var wires []string
	for _, c := range claimed {
		if c.Attempts > 0 && !slices.Contains(wires, c.WireID) {
			wires = append(wires, c.WireID)
		}
	}
	if len(wires) == 0 {
		return nil, nil
	}
	text, err := jsonText(wires)
	if err != nil {
		return nil, err
	}
	return queryAll(ctx, tx.s, scanClaimed, `SELECT `+deliveryColumns+`, `+messageColumns+claimable+`
		AND d.wire_id IN (SELECT v.value FROM @list($1; v)) ORDER BY d.account_id, d.id @forupdate(d)`, text)
}

// PendingWriteBack lists objects some of whose deliveries are final without
// SCHEDULE-STATUS telling so, once nothing about the object has become final
// for two seconds or nothing is open any more.
func (db *DB) PendingWriteBack(ctx context.Context, limit int) ([]WriteBack, error) {
	return readAll(ctx, db, func(r rows) (w WriteBack, err error) {
		err = r.Scan((*int64)(&w.Account), &w.UID)
		return
	}, `SELECT f.account_id, f.uid FROM (SELECT account_id, uid, max(updated) AS newest, min(updated) AS oldest FROM delivery
			WHERE written = 0 AND state IN (4, 5) GROUP BY account_id, uid) f
		WHERE f.newest <= $1 OR NOT EXISTS (SELECT 1 FROM delivery o WHERE o.account_id = f.account_id AND o.uid = f.uid AND o.state <= 3)
		ORDER BY f.oldest LIMIT $2`, Micros(db.clock().Add(-2*time.Second)), int64(max(limit, 1)))
}

// NextDue is when the next delivery or refresh becomes due; the zero time
// when there is none. What waits for a predecessor does not count, what waits
// for a place of its domain does.
func (db *DB) NextDue(ctx context.Context) (time.Time, error) {
	n, err := readOne(ctx, db, scanInt, `SELECT COALESCE(min(q.due), 0) FROM (
		SELECT min(f.due) AS due FROM refresh f
		UNION ALL
		SELECT e.due FROM (SELECT d.due FROM delivery d WHERE d.state <= 3 AND NOT EXISTS (SELECT 1 FROM delivery p
			WHERE p.account_id = d.account_id AND p.uid = d.uid AND p.recipient_key = d.recipient_key AND p.turn < d.turn AND p.state <= 3)
			ORDER BY d.due LIMIT 1) e) q`)
	if err != nil || n == 0 {
		return time.Time{}, err
	}
	return time.UnixMicro(n), nil
}

// QueueRefresh asks for one refresh of an object, not before a time; while
// one waits, another adds nothing.
func (tx *Tx) QueueRefresh(ctx context.Context, account AccountID, uid string, notBefore time.Time) error {
	tx.Notify(TopicDelivery, "")
	return tx.s.later(ctx, `INSERT INTO refresh (account_id, uid, due, generation, lease_owner) VALUES ($1, $2, $3, 1, '')
		ON CONFLICT (account_id, uid) DO UPDATE SET generation = refresh.generation + 1,
			due = CASE WHEN refresh.lease_owner = '' AND refresh.due < excluded.due THEN refresh.due ELSE excluded.due END, lease_owner = ''`,
		int64(account), uid, Micros(notBefore))
}

// QueueRefreshes is QueueRefresh for several objects, by one statement; of two
// about one object the earlier time counts.
func (tx *Tx) QueueRefreshes(ctx context.Context, list []Refresh) error {
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Account int64  `json:"account_id"`
		UID     string `json:"uid"`
		Due     int64  `json:"due"`
	}
	var out []row
	at := map[row]int{}
	for _, f := range list {
		if err := plainText(f.UID); err != nil {
			return err
		}
		k := row{Account: int64(f.Account), UID: f.UID}
		if i, ok := at[k]; ok {
			out[i].Due = min(out[i].Due, f.NotBefore)
			continue
		}
		at[k] = len(out)
		k.Due = f.NotBefore
		out = append(out, k)
	}
	text, err := jsonText(out)
	if err != nil {
		return err
	}
	tx.Notify(TopicDelivery, "")
	return tx.s.later(ctx, `INSERT INTO refresh (account_id, uid, due, generation, lease_owner)
		SELECT r.account_id, r.uid, r.due, 1, '' FROM @rows($1; r; account_id bigint, uid text, due bigint) WHERE true
		ON CONFLICT (account_id, uid) DO UPDATE SET generation = refresh.generation + 1,
			due = CASE WHEN refresh.lease_owner = '' AND refresh.due < excluded.due THEN refresh.due ELSE excluded.due END, lease_owner = ''`, text)
}

// ClaimRefresh leases up to limit due refreshes. Each ends with DoneRefresh;
// else it is due again when the lease ends.
func (db *DB) ClaimRefresh(ctx context.Context, owner string, now time.Time, lease time.Duration, limit int) (out []Refresh, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		out, err = queryAll(ctx, tx.s, func(r rows) (f Refresh, err error) {
			err = r.Scan((*int64)(&f.Account), &f.UID, &f.NotBefore, &f.Generation)
			return
		}, `SELECT f.account_id, f.uid, f.due, f.generation FROM refresh f WHERE f.due <= $1 ORDER BY f.due LIMIT $2 @skiplocked(f)`, Micros(now), int64(max(limit, 1)))
		if err != nil || len(out) == 0 {
			return err
		}
		type row struct {
			Account int64  `json:"account_id"`
			UID     string `json:"uid"`
		}
		list := make([]row, len(out))
		for i, f := range out {
			list[i] = row{int64(f.Account), f.UID}
		}
		text, err := jsonText(list)
		if err != nil {
			return err
		}
		return tx.s.later(ctx, `UPDATE refresh SET due = $2, lease_owner = $3 FROM @rows($1; r; account_id bigint, uid text)
			WHERE refresh.account_id = r.account_id AND refresh.uid = r.uid`, text, Micros(now.Add(lease)), owner)
	})
	return out, err
}

// DoneRefresh takes a claimed refresh off the queue, unless it was queued
// again meanwhile.
func (tx *Tx) DoneRefresh(ctx context.Context, f Refresh) error {
	return tx.s.later(ctx, `DELETE FROM refresh WHERE account_id = $1 AND uid = $2 AND generation = $3`, int64(f.Account), f.UID, f.Generation)
}

// PeerStates are the states of an object that remote recipients acknowledged,
// by recipient key.
func (tx *Tx) PeerStates(ctx context.Context, account AccountID, uid string) (map[string]PeerState, error) {
	list, err := queryAll(ctx, tx.s, func(r rows) (p PeerState, err error) {
		err = r.Scan((*int64)(&p.Account), &p.UID, &p.RecipientKey, &p.Digest, &p.Updated)
		return
	}, `SELECT account_id, uid, recipient_key, digest, updated FROM peer_state WHERE account_id = $1 AND uid = $2`, int64(account), uid)
	if err != nil {
		return nil, err
	}
	out := make(map[string]PeerState, len(list))
	for _, p := range list {
		out[p.RecipientKey] = p
	}
	return out, nil
}

// FailedRecipients are the keys of those whose last message about an object
// has failed: what they know of it is behind. Local deliveries do not count.
func (tx *Tx) FailedRecipients(ctx context.Context, account AccountID, uid string) (map[string]bool, error) {
	list, err := queryAll(ctx, tx.s, scanText, `SELECT d.recipient_key FROM delivery d WHERE d.account_id = $1 AND d.uid = $2 AND d.state = 5 AND d.transport <> 'local'
		AND NOT EXISTS (SELECT 1 FROM delivery n WHERE n.account_id = d.account_id AND n.uid = d.uid AND n.recipient_key = d.recipient_key AND n.turn > d.turn AND n.state <= 5)`,
		int64(account), uid)
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool, len(list))
	for _, k := range list {
		out[k] = true
	}
	return out, nil
}

// SetPeerStates writes what recipients acknowledged; an empty digest forgets.
func (tx *Tx) SetPeerStates(ctx context.Context, ps []PeerState) error {
	type row struct {
		Account int64  `json:"account_id"`
		UID     string `json:"uid"`
		Key     string `json:"recipient_key"`
		Digest  string `json:"digest"`
	}
	var set, gone []row
	for _, p := range ps {
		r := row{int64(p.Account), p.UID, p.RecipientKey, p.Digest}
		if p.Digest == "" {
			gone = append(gone, r)
		} else {
			set = append(set, r)
		}
	}
	const types = `account_id bigint, uid text, recipient_key text, digest text`
	if len(gone) > 0 {
		text, err := jsonText(gone)
		if err != nil {
			return err
		}
		if err := tx.s.later(ctx, `DELETE FROM peer_state WHERE (account_id, uid, recipient_key) IN (SELECT r.account_id, r.uid, r.recipient_key FROM @rows($1; r; `+types+`))`, text); err != nil {
			return err
		}
	}
	if len(set) == 0 {
		return nil
	}
	text, err := jsonText(set)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO peer_state (account_id, uid, recipient_key, digest, updated)
		SELECT r.account_id, r.uid, r.recipient_key, r.digest, CAST($2 AS BIGINT) FROM @rows($1; r; `+types+`) WHERE true
		ON CONFLICT (account_id, uid, recipient_key) DO UPDATE SET digest = excluded.digest, updated = excluded.updated`, text, Micros(tx.Now()))
}

// DeletedState is the digest of the snapshot of an object that its owner has
// deleted. It is kept longer than others, see Janitor.
const DeletedState = "deleted"

// SaveSnapshot keeps a state of an object under its digest, in place of what
// was there.
func (tx *Tx) SaveSnapshot(ctx context.Context, s Snapshot) error {
	if err := plainText(s.UID, s.Digest, s.Data); err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO snapshot (account_id, uid, digest, created, data) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account_id, uid, digest) DO UPDATE SET created = excluded.created, data = excluded.data`, int64(s.Account), s.UID, s.Digest, Micros(tx.Now()), s.Data)
}

// Snapshot is the state with the digest; ErrNotFound.
func (tx *Tx) Snapshot(ctx context.Context, account AccountID, uid, digest string) (string, error) {
	return queryOne(ctx, tx.s, scanText, `SELECT data FROM snapshot WHERE account_id = $1 AND uid = $2 AND digest = $3`, int64(account), uid, digest)
}
