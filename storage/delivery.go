package storage

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
)

const messageColumns = `m.account_id, m.id, m.uid, m.method, m.component, m.originator, m.kind, m.changes, m.snapshot, m.request_id, m.created, m.body, m.by_id`

func messageDest(d []any, m *Message) []any {
	return append(d, (*int64)(&m.Account), &m.ID, &m.UID, &m.Method, &m.Component, &m.Originator, &m.Kind, &m.Changes, &m.Snapshot, &m.RequestID, &m.Created, &m.Body, (*int64)(&m.By))
}

const deliveryColumns = `d.account_id, d.id, d.message_id, d.uid, d.recipient, d.recipient_key, d.domain, d.turn, d.state, d.not_before, d.expires, d.attempts, d.lease_owner, d.lease_until, d.wire_id, d.transport, d.proof, d.status, d.detail, d.trace, d.written, d.created, d.updated`

// deliveryDest receives deliveryColumns; fill is to be called after Scan.
type deliveryDest struct{ state, attempts, written int64 }

func (r *deliveryDest) dest(d []any, x *Delivery) []any {
	return append(d, (*int64)(&x.Account), &x.ID, &x.MessageID, &x.UID, &x.Recipient, &x.RecipientKey, &x.Domain, &x.Turn, &r.state, &x.NotBefore,
		&x.Expires, &r.attempts, &x.LeaseOwner, &x.LeaseUntil, &x.WireID, &x.Transport, &x.Proof, &x.Status, &x.Detail, &x.Trace, &r.written, &x.Created, &x.Updated)
}

func (r *deliveryDest) fill(x *Delivery) {
	x.State, x.Attempts, x.Written = DeliveryState(r.state), int(r.attempts), r.written != 0
}

func scanDelivery(r rows) (x Delivery, err error) {
	var d deliveryDest
	err = r.Scan(d.dest(make([]any, 0, 23), &x)...)
	d.fill(&x)
	return
}

func scanClaimed(r rows) (x Claimed, err error) {
	var d deliveryDest
	err = r.Scan(messageDest(d.dest(make([]any, 0, 36), &x.Delivery), &x.Message)...)
	d.fill(&x.Delivery)
	return
}

type messageRow struct {
	Account    int64  `json:"account_id"`
	ID         int64  `json:"id"`
	UID        string `json:"uid"`
	Method     string `json:"method"`
	Component  string `json:"component"`
	Originator string `json:"originator"`
	Kind       string `json:"kind"`
	Changes    string `json:"changes"`
	Snapshot   string `json:"snapshot"`
	RequestID  string `json:"request_id"`
	Body       string `json:"body"`
	By         int64  `json:"by_id"`
}

type deliveryRow struct {
	Account      int64  `json:"account_id"`
	ID           int64  `json:"id"`
	MessageID    int64  `json:"message_id"`
	UID          string `json:"uid"`
	Recipient    string `json:"recipient"`
	RecipientKey string `json:"recipient_key"`
	Domain       string `json:"domain"`
	Nth          int64  `json:"nth"` // among those of this call for the same recipient
	State        int64  `json:"state"`
	Due          int64  `json:"due"`
	NotBefore    int64  `json:"not_before"`
	Expires      int64  `json:"expires"`
	Attempts     int64  `json:"attempts"`
	LeaseOwner   string `json:"lease_owner"`
	LeaseUntil   int64  `json:"lease_until"`
	WireID       string `json:"wire_id"`
	Transport    string `json:"transport"`
	Proof        string `json:"proof"`
	Status       string `json:"status"`
	Detail       string `json:"detail"`
	Trace        string `json:"trace"`
	Written      int64  `json:"written"`
}

const deliveryTypes = `account_id bigint, id bigint, message_id bigint, uid text, recipient text, recipient_key text, domain text, nth bigint, state bigint, due bigint, not_before bigint, expires bigint, attempts bigint, lease_owner text, lease_until bigint, wire_id text, transport text, proof text, status text, detail text, trace text, written bigint`

func deliveryRowOf(d *Delivery) (deliveryRow, error) {
	due := d.NotBefore
	if d.State == DeliveryInFlight {
		due = d.LeaseUntil
	}
	return deliveryRow{int64(d.Account), d.ID, d.MessageID, d.UID, d.Recipient, d.RecipientKey, d.Domain, 0, int64(d.State), due, d.NotBefore, d.Expires,
		int64(d.Attempts), d.LeaseOwner, d.LeaseUntil, d.WireID, d.Transport, d.Proof, d.Status, d.Detail, d.Trace, bit(d.Written)}, plainText(d.UID, d.Recipient, d.RecipientKey, d.Domain, d.WireID, d.Proof, d.Status, d.Detail, d.Trace)
}

// Enqueue stores messages and their deliveries by two statements. Ids that
// are 0 are made up and written into the slices (a delivery's MessageID must
// then name a message with an id, so give those before). State 0 is Queued.
// Deliveries to one recipient about one UID go out in the order of their
// being enqueued; the caller holds the UID's lock.
func (tx *Tx) Enqueue(ctx context.Context, ms []Message, ds []Delivery) error {
	now := Micros(tx.Now())
	if len(ms) > 0 {
		list := make([]messageRow, len(ms))
		for i := range ms {
			m := &ms[i]
			m.ID = cmp.Or(m.ID, tx.NewID())
			m.Created = now
			if err := plainText(m.UID, m.Originator, m.Changes, m.Body, m.Snapshot, m.RequestID); err != nil {
				return err
			}
			list[i] = messageRow{int64(m.Account), m.ID, m.UID, m.Method, m.Component, m.Originator, m.Kind, m.Changes, m.Snapshot, m.RequestID, m.Body, int64(m.By)}
		}
		text, err := jsonText(list)
		if err != nil {
			return err
		}
		if err := tx.s.later(ctx, `INSERT INTO message (account_id, id, uid, method, component, originator, kind, changes, snapshot, request_id, created, body, by_id)
			SELECT r.account_id, r.id, r.uid, r.method, r.component, r.originator, r.kind, r.changes, r.snapshot, r.request_id, CAST($2 AS BIGINT), r.body, r.by_id
			FROM @rows($1; r; account_id bigint, id bigint, uid text, method text, component text, originator text, kind text, changes text, snapshot text, request_id text, body text, by_id bigint)`, text, now); err != nil {
			return err
		}
	}
	if len(ds) == 0 {
		return nil
	}
	type lane struct {
		account  AccountID
		uid, key string
	}
	nth := map[lane]int64{}
	list := make([]deliveryRow, len(ds))
	for i := range ds {
		d := &ds[i]
		d.ID = cmp.Or(d.ID, tx.NewID())
		d.State = cmp.Or(d.State, DeliveryQueued)
		d.Created, d.Updated = now, now
		var err error
		if list[i], err = deliveryRowOf(d); err != nil {
			return err
		}
		l := lane{d.Account, d.UID, d.RecipientKey}
		nth[l]++
		list[i].Nth = nth[l]
	}
	text, err := jsonText(list)
	if err != nil {
		return err
	}
	tx.Notify(TopicDelivery, "")
	return tx.s.later(ctx, `INSERT INTO delivery (account_id, id, message_id, uid, recipient, recipient_key, domain, turn, state, due, not_before, expires, attempts,
			lease_owner, lease_until, wire_id, transport, proof, status, detail, trace, written, created, updated)
		SELECT r.account_id, r.id, r.message_id, r.uid, r.recipient, r.recipient_key, r.domain,
			r.nth + COALESCE((SELECT max(p.turn) FROM delivery p WHERE p.account_id = r.account_id AND p.uid = r.uid AND p.recipient_key = r.recipient_key), 0),
			r.state, r.due, r.not_before, r.expires, r.attempts, r.lease_owner, r.lease_until, r.wire_id, r.transport, r.proof, r.status, r.detail, r.trace, r.written,
			CAST($2 AS BIGINT), CAST($2 AS BIGINT)
		FROM @rows($1; r; `+deliveryTypes+`)`, text, now)
}

// OpenDeliveries reads, and locks, the deliveries about an object that are
// not final, with their messages, in their order.
func (tx *Tx) OpenDeliveries(ctx context.Context, account AccountID, uid string) ([]OpenDelivery, error) {
	return queryAll(ctx, tx.s, scanClaimed, `SELECT `+deliveryColumns+`, `+messageColumns+` FROM delivery d
		JOIN message m ON m.account_id = d.account_id AND m.id = d.message_id
		WHERE d.account_id = $1 AND d.uid = $2 AND d.state <= 3 ORDER BY d.recipient_key, d.turn @forupdate(d)`, int64(account), uid)
}

// CurrentDeliveries reads what counts of the deliveries about an object: the
// newest to each recipient and those whose status is not written yet, in the
// order of recipients and of time, without those that were superseded or
// withdrawn. What an object has behind it in changes does not make them more.
func (tx *Tx) CurrentDeliveries(ctx context.Context, account AccountID, uid string) ([]Delivery, error) {
	return queryAll(ctx, tx.s, scanDelivery, `SELECT `+deliveryColumns+` FROM delivery d WHERE d.account_id = $1 AND d.uid = $2 AND d.state <= 5 AND (d.written = 0
		OR NOT EXISTS (SELECT 1 FROM delivery n WHERE n.account_id = d.account_id AND n.uid = d.uid AND n.recipient_key = d.recipient_key AND n.turn > d.turn AND n.state <= 5))
		ORDER BY d.recipient_key, d.turn`, int64(account), uid)
}

// LastArrived are the statuses of the newest deliveries about an object that
// arrived, by recipient key.
func (tx *Tx) LastArrived(ctx context.Context, account AccountID, uid string) (map[string]string, error) {
	type arrived struct{ key, status string }
	list, err := queryAll(ctx, tx.s, func(r rows) (a arrived, err error) {
		err = r.Scan(&a.key, &a.status)
		return
	}, `SELECT d.recipient_key, d.status FROM delivery d WHERE d.account_id = $1 AND d.uid = $2 AND d.state = 4
		AND NOT EXISTS (SELECT 1 FROM delivery n WHERE n.account_id = d.account_id AND n.uid = d.uid AND n.recipient_key = d.recipient_key AND n.turn > d.turn AND n.state = 4)`,
		int64(account), uid)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(list))
	for _, a := range list {
		out[a.key] = a.status
	}
	return out, nil
}

const deliveriesTo = `SELECT ` + deliveryColumns + ` FROM delivery d WHERE d.account_id = $1 AND d.uid = $2 AND d.recipient_key = $3 ORDER BY d.turn`

// DeliveriesTo reads the deliveries about an object to one recipient that are
// still kept, in their order.
func (db *DB) DeliveriesTo(ctx context.Context, account AccountID, uid, recipientKey string) ([]Delivery, error) {
	return readAll(ctx, db, scanDelivery, deliveriesTo, int64(account), uid, recipientKey)
}

// RecentDeliveries reads the last deliveries about an object to each recipient, at
// most so many of each, the newest first.
func (db *DB) RecentDeliveries(ctx context.Context, account AccountID, uid string, each int) ([]Delivery, error) {
	return readAll(ctx, db, scanDelivery, `SELECT `+deliveryColumns+` FROM delivery d WHERE d.account_id = $1 AND d.uid = $2 AND d.turn > (
		SELECT max(n.turn) - $3 FROM delivery n WHERE n.account_id = d.account_id AND n.uid = d.uid AND n.recipient_key = d.recipient_key)
		ORDER BY d.recipient_key, d.turn DESC`, int64(account), uid, int64(each))
}

// DeliveriesTo is DB.DeliveriesTo within a transaction.
func (tx *Tx) DeliveriesTo(ctx context.Context, account AccountID, uid, recipientKey string) ([]Delivery, error) {
	return queryAll(ctx, tx.s, scanDelivery, deliveriesTo, int64(account), uid, recipientKey)
}

const deliverySet = `UPDATE delivery SET state = r.state, due = r.due, not_before = r.not_before, expires = r.expires, attempts = r.attempts,
	lease_owner = r.lease_owner, lease_until = r.lease_until, wire_id = r.wire_id, transport = r.transport, proof = r.proof, status = r.status,
	detail = r.detail, trace = r.trace, written = r.written, updated = CAST($2 AS BIGINT)
	FROM @rows($1; r; ` + deliveryTypes + `) WHERE delivery.account_id = r.account_id AND delivery.id = r.id`

// UpdateDeliveries writes the changeable fields of deliveries (everything
// from State to Written) by one statement.
func (tx *Tx) UpdateDeliveries(ctx context.Context, ds []Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	text, err := deliveryText(ds)
	if err != nil {
		return err
	}
	tx.Notify(TopicDelivery, "")
	return tx.s.later(ctx, deliverySet, text, Micros(tx.Now()))
}

func deliveryText(ds []Delivery) (string, error) {
	list := make([]deliveryRow, len(ds))
	for i := range ds {
		var err error
		if list[i], err = deliveryRowOf(&ds[i]); err != nil {
			return "", err
		}
	}
	return jsonText(list)
}

// Finish writes the outcomes of claimed deliveries and gives them free: State,
// NotBefore, Attempts, WireID (cleared by the caller for what is to be sent as
// a new message), Transport, Proof, Status, Detail, Trace, Written. What
// another worker has claimed meanwhile, because the lease ended, stays as it
// is; written tells how many were still ours.
func (db *DB) Finish(ctx context.Context, ds []Delivery) (written int, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		written, err = tx.Finish(ctx, ds)
		return err
	})
	return written, err
}

// Finish is DB.Finish within a transaction.
func (tx *Tx) Finish(ctx context.Context, ds []Delivery) (written int, err error) {
	if len(ds) == 0 {
		return 0, nil
	}
	owner := ds[0].LeaseOwner
	out := make([]Delivery, len(ds))
	for i, d := range ds {
		if d.LeaseOwner != owner || owner == "" {
			return 0, fmt.Errorf("%w: deliveries that are not leased to one worker", ErrInvalid)
		}
		if d.State == DeliveryInFlight {
			return 0, fmt.Errorf("%w: a finished delivery is not in flight", ErrInvalid)
		}
		d.LeaseOwner, d.LeaseUntil = "", 0
		out[i] = d
	}
	text, err := deliveryText(out)
	if err != nil {
		return 0, err
	}
	n, err := tx.s.exec(ctx, deliverySet+` AND delivery.state = 3 AND delivery.lease_owner = $3`, text, Micros(tx.Now()), owner)
	return int(n), err
}

// MarkWritten notes that SCHEDULE-STATUS carries the final status of the
// deliveries.
func (tx *Tx) MarkWritten(ctx context.Context, account AccountID, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	text, err := jsonText(ids)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `UPDATE delivery SET written = 1 WHERE account_id = $1 AND id IN (SELECT CAST(v.value AS BIGINT) FROM @list($2; v))`, int64(account), text)
}

// Deliveries lists deliveries, newest first.
func (db *DB) Deliveries(ctx context.Context, f DeliveryFilter) ([]Delivery, error) {
	text := `SELECT ` + deliveryColumns + ` FROM delivery d WHERE true`
	var args []any
	param := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if f.Account != 0 {
		text += ` AND d.account_id = ` + param(int64(f.Account))
	}
	if f.UID != "" {
		text += ` AND d.uid = ` + param(f.UID)
	}
	if f.Domain != "" {
		text += ` AND d.domain = ` + param(f.Domain)
	}
	if f.State != 0 {
		text += ` AND d.state = ` + param(int64(f.State))
	}
	if f.After != (DeliveryCursor{}) {
		text += ` AND (d.created, d.id) < (` + param(f.After.Created) + `, ` + param(f.After.ID) + `)`
	}
	text += ` ORDER BY d.created DESC, d.id DESC LIMIT ` + param(int64(cmp.Or(max(f.Limit, 0), 100)))
	return readAll(ctx, db, scanDelivery, text, args...)
}

// Delivery reads one delivery with its message; ErrNotFound.
func (db *DB) Delivery(ctx context.Context, account AccountID, id int64) (Claimed, error) {
	return readOne(ctx, db, scanClaimed, `SELECT `+deliveryColumns+`, `+messageColumns+` FROM delivery d
		JOIN message m ON m.account_id = d.account_id AND m.id = d.message_id WHERE d.account_id = $1 AND d.id = $2`, int64(account), id)
}

// RetryDelivery makes a delivery due now: one that waits, or one that failed,
// provided that nothing newer was sent to the recipient since. ErrNotFound
// when it is neither, or in flight.
func (db *DB) RetryDelivery(ctx context.Context, account AccountID, id int64) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		now := Micros(tx.Now())
		tx.Notify(TopicDelivery, "")
		n, err := tx.s.exec(ctx, `UPDATE delivery SET state = 2, not_before = $3, due = $3, updated = $3, written = 0, status = '1.0', wire_id = CASE WHEN state = 5 THEN '' ELSE wire_id END,
			expires = CASE WHEN expires > 0 AND expires <= $3 THEN 0 ELSE expires END
			WHERE account_id = $1 AND id = $2 AND state IN (1, 2, 5) AND NOT (state = 5 AND EXISTS (SELECT 1 FROM delivery p
				WHERE p.account_id = delivery.account_id AND p.uid = delivery.uid AND p.recipient_key = delivery.recipient_key AND p.turn > delivery.turn))`,
			int64(account), id, now)
		return affectedOne(n, err)
	})
}

// CancelDelivery gives up a delivery that waits: it has failed then, with the
// status 5.1. ErrNotFound when it is not waiting.
func (db *DB) CancelDelivery(ctx context.Context, account AccountID, id int64) error {
	n, err := db.write(ctx, `UPDATE delivery SET state = 5, status = '5.1', detail = 'given up by an administrator', updated = $3
		WHERE account_id = $1 AND id = $2 AND state IN (1, 2)`, int64(account), id, Micros(db.clock()))
	return affectedOne(n, err)
}
