package storage

import "context"

// On SQLite a plain PUT is three statements. The last divides by the number of
// objects that the second one stored: none stored means that a condition did
// not hold, the journal row becomes invalid and everything is undone. What the
// reason was is looked up afterwards.
const (
	putBump = `UPDATE collection SET seq = seq + 1, tag = $3, bytes = bytes + CAST($5 AS BIGINT) - COALESCE((SELECT x.size FROM object x
			WHERE x.account_id = $1 AND x.collection_id = $2 AND x.name = $4), 0)
		WHERE account_id = $1 AND id = $2 AND deleting = 0`
	putBumpSays = ` RETURNING seq, (SELECT count(*) FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $4)`
	putBumpArgs = 5

	putStore = `INSERT INTO object (` + objectNames + `)
		SELECT c.account_id, c.id, $3, $4, CASE WHEN c.kind = 2 THEN '' ELSE $3 END, $5, $6, $7, CAST($8 AS BIGINT), CAST($9 AS BIGINT), CAST($10 AS BIGINT),
			CAST($11 AS BIGINT), CAST($12 AS BIGINT), c.seq, CAST($13 AS BIGINT), CAST($13 AS BIGINT), $14, $15
		FROM collection c WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0`

	putIfMatch = ` AND EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3 AND o.etag = $16)`
	putIfAny   = ` AND EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3)`
	putIfNone  = ` AND NOT EXISTS (SELECT 1 FROM object o WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3)`

	putJournal = `INSERT INTO journal (account_id, collection_id, seq, name, deleted, tag, at)
		SELECT c.account_id, c.id, c.seq, $3, 1 / (SELECT count(*) FROM object o
			WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name = $3 AND o.seq = c.seq) - 1, c.tag, CAST($4 AS BIGINT)
		FROM collection c WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0`
)

// putStores are the statements that store, by condition; putBumps those that
// count up, by what they compare.
var (
	putStores = [4]string{putPlain: putStore + putReplace, putNone: putStore + putIfNone + putReplace, putAny: putStore + putIfAny + putReplace, putMatch: putStore + putIfMatch + putReplace}
	putBumps  = [putLooksKinds]string{looksNothing: putBump + putBumpSays, looksAll: putBump + putSeen(putBumpArgs+1, true) + putBumpSays, looksNoRoom: putBump + putSeen(putBumpArgs+1, false) + putBumpSays}
)

// litePut is a plain PUT that waits for its turn to write.
type litePut struct {
	ctx  context.Context
	put  *PlainPut
	now  int64
	out  *PlainResult
	err  error
	done chan struct{}
}

// putPlain is one attempt of DB.PutPlain; out.Seq stays 0 when there is no
// such collection. A commit waits for the disk, so whoever gets the turn takes
// along everybody who waits for it: one transaction, in which each PUT can be
// undone by itself. Nobody is told of success before that transaction is on
// the disk.
func (l *lite) putPlain(ctx context.Context, p *PlainPut, now int64, out *PlainResult) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	job := &litePut{ctx: context.WithoutCancel(ctx), put: p, now: now, out: out, done: make(chan struct{})}
	l.putMu.Lock()
	l.puts = append(l.puts, job)
	first := len(l.puts) == 1
	l.putMu.Unlock()
	if first {
		l.putAll(job.ctx)
	}
	<-job.done
	return job.err
}

// putAll waits for the turn and runs the PUTs that have gathered by then.
func (l *lite) putAll(ctx context.Context) {
	turn := l.lock(ctx)
	l.putMu.Lock()
	jobs := l.puts
	l.puts = nil
	l.putMu.Unlock()
	defer func() {
		for _, j := range jobs {
			close(j.done)
		}
	}()
	fail := func(err error) {
		for _, j := range jobs {
			if j.err == nil {
				j.err = err
			}
		}
	}
	if turn != nil {
		fail(turn)
		return
	}
	defer l.unlock()
	s := liteTx{l}
	if _, err := s.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		fail(err)
		return
	}
	open := true
	defer func() {
		if open { // an error of all, or a panic
			_, _ = s.exec(ctx, "ROLLBACK")
			fail(ErrUnavailable)
		}
	}()
	stored := 0
	for _, j := range jobs {
		if len(jobs) > 1 {
			if _, err := s.exec(ctx, "SAVEPOINT put"); err != nil {
				fail(err)
				return
			}
		}
		if j.err = j.run(s); j.err == nil {
			stored++
			if len(jobs) > 1 {
				if _, err := s.exec(ctx, "RELEASE put"); err != nil {
					fail(err)
					return
				}
			}
			continue
		}
		if len(jobs) > 1 {
			// A full disk may have ended the whole transaction.
			if _, err := s.exec(ctx, "ROLLBACK TO put"); err != nil {
				fail(j.err)
				return
			}
			if _, err := s.exec(ctx, "RELEASE put"); err != nil {
				fail(err)
				return
			}
		}
	}
	if stored == 0 {
		return
	}
	if _, err := s.exec(ctx, "COMMIT"); err != nil {
		fail(err)
		return
	}
	open = false
}

func (j *litePut) run(s session) error {
	p, o := j.put, &j.put.Object
	account, collection := int64(o.Account), int64(o.ID)
	condition := p.condition()
	args := []any{account, collection, o.Name, o.UID, o.Component, o.ETag, o.ScheduleTag, int64(len(o.Data)), o.Start, o.End,
		int64(o.Flags), o.Sequence, j.now, o.Extra, o.Data}
	if condition == putMatch {
		args = append(args, p.IfMatch)
	}
	looks, bumpArgs := p.looks(append(make([]any, 0, putBumpArgs+putSeenArgs), account, collection, j.out.Tag, o.Name, int64(len(o.Data))))
	r, err := s.query(j.ctx, putBumps[looks], bumpArgs...)
	if err != nil {
		return err
	}
	var there int64
	if r.Next() {
		err = r.Scan(&j.out.Seq, &there)
	} else {
		err = r.Err()
	}
	r.Close()
	if err != nil || j.out.Seq == 0 {
		return err
	}
	j.out.Created = there == 0
	if _, err = s.exec(j.ctx, putStores[condition], args...); err != nil {
		return err
	}
	_, err = s.exec(j.ctx, putJournal, account, collection, o.Name, j.now)
	return err
}
