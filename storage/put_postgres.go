package storage

import (
	"context"
	"strconv"
	"time"
)

// On PostgreSQL a plain PUT is one statement, its own transaction: each
// statement less is a tenth of the time of a PUT. The collection's row is
// locked first, for everything else is made of what that update returns. What
// another writer committed while this one waited for the lock is seen all the
// same: an update looks at the newest version of its row, and an insertion
// meets the unique index.
const (
	// The octets that go are those of the statement's snapshot: two writers of one
	// object who meet without a condition may count one of them wrong, which
	// RecountBytes sets right.
	pgOld  = ` - COALESCE((SELECT x.size FROM object x WHERE x.account_id = $1 AND x.collection_id = $2 AND x.name = $4), 0)`
	pgBump = ` WHERE account_id = $1 AND id = $2 AND deleting = 0`
	pgSays = ` RETURNING account_id, id, kind, seq, `

	pgThere = `(SELECT count(*) FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $4)`

	pgCount = `WITH bump AS (UPDATE collection SET seq = seq + 1, tag = $3, bytes = bytes + CAST($9 AS BIGINT)`

	pgInsert = `, store AS (INSERT INTO object (` + objectNames + `)
		SELECT b.account_id, b.id, $4, $5, CASE WHEN b.kind = 2 THEN '' ELSE $4 END, $6, $7, $8, CAST($9 AS BIGINT), CAST($10 AS BIGINT), CAST($11 AS BIGINT),
			CAST($12 AS BIGINT), CAST($13 AS BIGINT), b.seq, CAST($14 AS BIGINT), CAST($14 AS BIGINT), $15, $16 FROM bump b`

	pgUpdate = `, store AS (UPDATE object SET uid = $5, component = $6, etag = $7, schedule_tag = $8, size = $9, start_at = $10, end_at = $11,
		flags = $12, sequence = $13, seq = b.seq, modified = $14, extra = $15, data = $16
		FROM bump b WHERE object.account_id = $1 AND object.collection_id = $2 AND object.name = $4 AND object.flags & 16 = 0 AND object.uid = $5`

	// None stored means that a condition did not hold: the division fails and
	// everything is undone.
	pgJournal = ` RETURNING 1), log AS (INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT b.account_id, b.id, b.seq, $4, 0, $3, CAST($14 AS BIGINT) FROM bump b)
		SELECT b.seq, b.there, 1 / (SELECT count(*) FROM store) FROM bump b`
)

// pgPut is the statement of a plain PUT under a condition; the values of Seen
// stand behind those of the object, an entity tag behind all.
func pgPut(c putCondition, seen bool) string {
	guard, next := "", pgPutArgs+1
	if seen {
		guard, next = putSeen(next), next+putSeenArgs
	}
	switch c {
	case putNone:
		return pgCount + pgBump + guard + pgSays + `0 AS there)` + pgInsert + pgJournal
	case putAny:
		return pgCount + pgOld + pgBump + guard + pgSays + `1 AS there)` + pgUpdate + pgJournal
	case putMatch:
		return pgCount + pgOld + pgBump + guard + pgSays + `1 AS there)` + pgUpdate + ` AND object.etag = $` + strconv.Itoa(next) + pgJournal
	}
	return pgCount + pgOld + pgBump + guard + pgSays + pgThere + ` AS there)` + pgInsert + putReplace + pgJournal
}

const pgPutArgs = 16

// pgPuts are the statements by condition, without and with Seen.
var pgPuts = func() (texts [4][2]string) {
	for c := range texts {
		texts[c] = [2]string{pgPut(putCondition(c), false), pgPut(putCondition(c), true)}
	}
	return texts
}()

// pgPutWait bounds a plain PUT on the wire. It is longer than the connection's
// lock_timeout, so that the server gives up first and says why.
const pgPutWait = 20 * time.Second

// putPlain is one attempt of DB.PutPlain; out.Seq stays 0 when there is no
// such collection.
func (p *postgres) putPlain(ctx context.Context, put *PlainPut, now int64, out *PlainResult) error {
	o := &put.Object
	args := make([]any, 0, pgPutArgs+putSeenArgs+1)
	args = append(args, int64(o.Account), int64(o.ID), out.Tag, o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, int64(len(o.Data)), o.Start, o.End,
		int64(o.Flags), o.Sequence, now, o.Extra, o.Data)
	condition, seen := put.condition(), 0
	if put.Seen != nil {
		seen, args = 1, put.Seen.args(args, o)
	}
	if condition == putMatch {
		args = append(args, put.IfMatch)
	}
	text := pgPuts[condition][seen]
	return p.within(ctx, pgPutWait, p.d, func(ctx context.Context, s session) error {
		r, err := s.query(ctx, text, args...)
		if err != nil {
			return err
		}
		defer r.Close()
		if r.Next() {
			var there, stored int64
			if err := r.Scan(&out.Seq, &there, &stored); err != nil {
				return err
			}
			out.Created = there == 0
		}
		r.Close()
		return r.Err()
	})
}
