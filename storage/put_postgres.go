package storage

import (
	"context"
	"strconv"
	"sync"
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

	pgThere = `CASE WHEN EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $4) THEN 1 ELSE 0 END`

	pgCount = `WITH bump AS (UPDATE collection SET seq = seq + 1, tag = $3, bytes = bytes + CAST($9 AS BIGINT)`

	pgInsert = `, store AS (INSERT INTO object (` + objectNames + `)
		SELECT b.account_id, b.id, $4, $5, CASE WHEN b.kind = 2 THEN '' ELSE $4 END, $6, $7, $8, CAST($9 AS BIGINT), CAST($10 AS BIGINT), CAST($11 AS BIGINT),
			CAST($12 AS BIGINT), CAST($13 AS BIGINT), b.seq, CAST($14 AS BIGINT), CAST($14 AS BIGINT), $15, $16 FROM bump b`

	pgUpdate = `, store AS (UPDATE object SET uid = $5, component = $6, etag = $7, schedule_tag = $8, size = $9, start_at = $10, end_at = $11,
		flags = $12, sequence = $13, seq = b.seq, modified = $14, extra = $15, data = $16
		FROM bump b WHERE object.account_id = $1 AND object.collection_id = $2 AND object.name = $4 AND object.flags & 16 = 0 AND object.uid = $5`

	pgJournal = `), log AS (INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT b.account_id, b.id, b.seq, $4, 0, $3, CAST($14 AS BIGINT) FROM bump b)
		SELECT b.seq, b.there, `
	// None stored means that a condition did not hold: the division fails and
	// everything is undone. An insertion that replaces nothing fails by itself.
	pgStored = ` RETURNING 1` + pgJournal + `1 / COALESCE((SELECT 1 FROM store), 0) FROM bump b`
	pgSure   = pgJournal + `1 FROM bump b`
)

// pgPut is the statement of a plain PUT under a condition; the values of Seen
// stand behind those of the object, an entity tag behind all.
func pgPut(c putCondition, looks putLooks) string {
	guard, next := "", pgPutArgs+1
	switch looks {
	case looksAll:
		guard, next = putSeen(next, true), next+putSeenArgs
	case looksNoRoom:
		guard, next = putSeen(next, false), next+putSeenArgs-1
	}
	switch c {
	case putNone:
		return pgCount + pgBump + guard + pgSays + `0 AS there)` + pgInsert + pgSure
	case putAny:
		return pgCount + pgOld + pgBump + guard + pgSays + `1 AS there)` + pgUpdate + pgStored
	case putMatch:
		return pgCount + pgOld + pgBump + guard + pgSays + `1 AS there)` + pgUpdate + ` AND object.etag = $` + strconv.Itoa(next) + pgStored
	}
	return pgCount + pgOld + pgBump + guard + pgSays + pgThere + ` AS there)` + pgInsert + putReplace + pgStored
}

const pgPutArgs = 16

// pgPuts are the statements.
var pgPuts = func() (texts [4][putLooksKinds]string) {
	for c := range texts {
		for looks := range putLooksKinds {
			texts[c][looks] = pgPut(putCondition(c), looks)
		}
	}
	return texts
}()

// pgPutWait bounds a plain PUT on the wire. It is longer than the connection's
// lock_timeout, so that the server gives up first and says why.
const pgPutWait = 20 * time.Second

// pgPutJob is a plain PUT and what became of it.
type pgPutJob struct {
	ctx  context.Context // only its end and its counter of statements
	put  *PlainPut
	text string
	args []any
	out  *PlainResult
	err  error
	turn chan []*pgPutJob // the turn, with those who go along; see pgPutLines
}

// pgPutLines are the plain PUTs of this node, by collection. Two that meet in a
// collection would wait for each other in the database, each with a connection
// in its hands. Here only one of them has the turn; whoever comes
// meanwhile waits, and the first of those takes the others along, in one
// transaction and one round trip.
type pgPutLines struct {
	mu   sync.Mutex
	wait map[CollectionKey][]*pgPutJob // there is an entry while somebody has the turn
}

const (
	pgPutCompany = 32      // PUTs in one transaction
	pgPutOctets  = 4 << 20 // and of data in it, but for the last
)

// enter waits for the turn or, with turn nil, for the end of the job.
func (l *pgPutLines) enter(key CollectionKey, job *pgPutJob) (turn []*pgPutJob) {
	alone := []*pgPutJob{job}
	l.mu.Lock()
	line, busy := l.wait[key]
	if busy {
		job.turn = make(chan []*pgPutJob, 1)
		l.wait[key] = append(line, job)
	} else {
		if l.wait == nil {
			l.wait = map[CollectionKey][]*pgPutJob{}
		}
		l.wait[key] = nil
	}
	l.mu.Unlock()
	if !busy {
		return alone
	}
	return <-job.turn
}

// leave hands the turn to the first who waits.
func (l *pgPutLines) leave(key CollectionKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.wait[key]
	if len(line) == 0 {
		delete(l.wait, key)
		return
	}
	n, octets := 0, 0
	for n < len(line) && n < pgPutCompany && octets < pgPutOctets {
		octets += len(line[n].put.Object.Data)
		n++
	}
	l.wait[key] = append([]*pgPutJob(nil), line[n:]...)
	line[0].turn <- line[:n:n]
}

// putPlain is one attempt of DB.PutPlain; out.Seq stays 0 when there is no
// such collection.
func (p *postgres) putPlain(ctx context.Context, put *PlainPut, now int64, out *PlainResult) error {
	o := &put.Object
	args := make([]any, 0, pgPutArgs+putSeenArgs+1)
	args = append(args, int64(o.Account), int64(o.ID), out.Tag, o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, int64(len(o.Data)), o.Start, o.End,
		int64(o.Flags), o.Sequence, now, o.Extra, o.Data)
	condition := put.condition()
	looks, args := put.looks(args)
	if condition == putMatch {
		args = append(args, put.IfMatch)
	}
	job := &pgPutJob{ctx: ctx, put: put, text: pgPuts[condition][looks], args: args, out: out}
	key := CollectionKey{Account: o.Account, ID: o.ID}
	if turn := p.lines.enter(key, job); turn != nil {
		defer func() {
			p.lines.leave(key)
			for _, j := range turn {
				if j != job {
					j.turn <- nil
				}
			}
		}()
		p.putTogether(ctx, turn)
	}
	return job.err
}

// putTogether runs PUTs of one collection in one transaction. When one of them
// fails by what it asks for, nothing of it has been stored, and each is tried
// by itself.
func (p *postgres) putTogether(ctx context.Context, jobs []*pgPutJob) {
	list := make([]*pgPutJob, 0, len(jobs))
	for _, j := range jobs {
		j.err = j.ctx.Err()
		if j.err == nil {
			j.err = ErrUnavailable // unless this function ends
			list = append(list, j)
		}
	}
	if len(list) > 1 {
		ctx = context.WithoutCancel(ctx)
	}
	err := p.putOnce(ctx, list)
	again := false
	if err != nil && len(list) > 1 {
		f := classify(err)
		again = f == failureUnique || f == failureGuard
	}
	for _, j := range list {
		if j.err = err; err == nil {
			continue
		}
		j.out.Seq, j.out.Created = 0, false
		if again {
			j.err = p.putOnce(ctx, []*pgPutJob{j})
		}
	}
}

// putOnce is one transaction.
func (p *postgres) putOnce(ctx context.Context, jobs []*pgPutJob) error {
	if len(jobs) == 0 {
		return nil
	}
	return p.within(ctx, pgPutWait, func(ctx context.Context, s session) error {
		list := make([]reading, len(jobs))
		for i, j := range jobs {
			count(j.ctx, 1)
			list[i] = reading{j.text, j.args, j.take}
		}
		return s.(pgRead).together(uncounted(ctx), list)
	})
}

func (j *pgPutJob) take(r rows) error {
	if r.Next() {
		var there, stored int64
		if err := r.Scan(&j.out.Seq, &there, &stored); err != nil {
			return err
		}
		j.out.Created = there == 0
	}
	r.Close()
	return r.Err()
}
