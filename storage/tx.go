package storage

import (
	"context"
	"errors"
	"time"
)

// Tx is a running transaction. It belongs to the function it was given to and
// must not be used by two goroutines at once.
type Tx struct {
	db     *DB
	s      session
	notes  []note
	locked map[CollectionKey]*Collection
}

// Now is the time by the database handle's clock.
func (tx *Tx) Now() time.Time { return tx.db.clock() }

// NewID makes up an id: positive, 62 bits.
func (tx *Tx) NewID() int64 { return tx.db.NewID() }

// Tx runs fn in a read-write transaction and commits when it returns nil.
// fn is run again from its start when a conflict with another transaction or
// a lost connection ended it; see the package comment. When the connection is
// lost during the commit itself the outcome is unknown and the error is
// ErrUnavailable.
func (db *DB) Tx(ctx context.Context, fn func(context.Context, *Tx) error) error {
	ask(ctx)
	unique := false
	began := time.Now()
	for attempt := 1; ; attempt++ {
		tx := &Tx{db: db}
		unsure, err := db.attempt(ctx, tx, fn)
		if err == nil {
			db.tell(tx.notes)
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		again := false
		switch classify(err) {
		case failureRetry:
			again = !unsure && attempt < retries && (deadlocked(err) || time.Since(began) < retryFor)
		case failureUnique:
			again, unique = !unique, true
		case failureGone:
			if again = !unsure && attempt < 4; again && db.pg != nil {
				db.pg.pool.Reset()
			}
		}
		if !again {
			return err
		}
		db.log.DebugContext(ctx, "storage: transaction runs again", "attempt", attempt, "error", err)
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// attempt runs fn once.
func (db *DB) attempt(ctx context.Context, tx *Tx, fn func(context.Context, *Tx) error) (unsure bool, err error) {
	if db.lite != nil {
		return db.lite.write(ctx, func(s session) error {
			tx.s = s
			return fn(ctx, tx)
		})
	}
	c, err := db.pg.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer c.Release()
	s := newPgTx(c, db.pg, "begin")
	tx.s = s
	committed := false
	defer func() {
		if !committed {
			s.rollback()
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return false, err
	}
	if err := db.publish(ctx, tx); err != nil {
		return false, err
	}
	unsure, err = s.commit(ctx)
	committed = err == nil
	return unsure, err
}

// View runs fn on one consistent state of the database; fn writes nothing.
func (db *DB) View(ctx context.Context, fn func(context.Context, *Tx) error) error {
	ask(ctx)
	if db.lite != nil {
		return db.lite.snapshot(ctx, func(s session) error {
			return fn(ctx, &Tx{db: db, s: s})
		})
	}
	for attempt := 1; ; attempt++ {
		err := func() error {
			c, err := db.pg.acquire(ctx)
			if err != nil {
				return err
			}
			defer c.Release()
			s := newPgTx(c, db.pg, "begin isolation level repeatable read read only")
			defer s.rollback()
			return fn(ctx, &Tx{db: db, s: s})
		}()
		if err == nil || ctx.Err() != nil || attempt >= 3 {
			return err
		}
		switch classify(err) {
		case failureGone:
			db.pg.pool.Reset()
		case failureRetry:
		default:
			return err
		}
	}
}
