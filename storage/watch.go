package storage

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Topics of Notify and Watch.
const (
	TopicDelivery   = "delivery"   // something is due; key: ""
	TopicCollection = "collection" // a collection changed, or its properties; key: the account it belongs to, in decimal
)

// note is one notification of a transaction.
type note struct{ topic, key string }

// hub hands notifications to the watchers of this process.
type hub struct {
	mu       sync.Mutex
	next     int
	listened atomic.Int32 // number of watchers
	watchers map[int]func(topic, key string)
}

const channel = "kalends"

// Notify tells the watchers after the commit. Of the topic TopicDelivery the
// watchers of other processes on the same PostgreSQL hear as well; other
// topics stay in this process, since a notification between processes makes
// commits wait for each other. Nobody may rely on hearing anything.
func (tx *Tx) Notify(topic, key string) {
	n := note{topic, key}
	for _, have := range tx.notes {
		if have == n {
			return
		}
	}
	tx.notes = append(tx.notes, n)
}

// changed tells the watchers of this process that an account's collections have
// news.
func (tx *Tx) changed(account AccountID) {
	if tx.db.hub.listened.Load() > 0 {
		tx.Notify(TopicCollection, strconv.FormatInt(int64(account), 10))
	}
}

// publish adds the notifications for other processes to the transaction.
func (db *DB) publish(ctx context.Context, tx *Tx) error {
	for _, n := range tx.notes {
		if n.topic == TopicDelivery && len(n.key) < 4000 {
			if err := tx.s.later(ctx, `SELECT pg_notify($1, $2)`, channel, db.peer+" "+n.topic+" "+n.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell hands notifications to the watchers of this process.
func (db *DB) tell(notes []note) {
	if len(notes) == 0 {
		return
	}
	db.hub.mu.Lock()
	fns := make([]func(topic, key string), 0, len(db.hub.watchers))
	for _, fn := range db.hub.watchers {
		fns = append(fns, fn)
	}
	db.hub.mu.Unlock()
	for _, n := range notes {
		for _, fn := range fns {
			fn(n.topic, n.key)
		}
	}
}

// Watch calls fn for notifications until ctx is done, which it then returns.
// fn must be quick; it may be called by several goroutines at once. A lost
// connection is made again; what was said meanwhile is lost.
func (db *DB) Watch(ctx context.Context, fn func(topic, key string)) error {
	db.hub.mu.Lock()
	if db.hub.watchers == nil {
		db.hub.watchers = map[int]func(topic, key string){}
	}
	id := db.hub.next
	db.hub.next++
	db.hub.watchers[id] = fn
	db.hub.mu.Unlock()
	db.hub.listened.Add(1)
	defer func() {
		db.hub.mu.Lock()
		delete(db.hub.watchers, id)
		db.hub.mu.Unlock()
		db.hub.listened.Add(-1)
	}()
	for db.pg != nil && ctx.Err() == nil {
		if err := db.listen(ctx, fn); err != nil && ctx.Err() == nil {
			db.log.DebugContext(ctx, "storage: listening ended", "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// listen waits for the notifications of other processes on a connection of
// its own.
func (db *DB) listen(ctx context.Context, fn func(topic, key string)) error {
	conn, err := pgx.ConnectConfig(ctx, db.pg.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		peer, rest, _ := strings.Cut(n.Payload, " ")
		topic, key, ok := strings.Cut(rest, " ")
		if ok && peer != db.peer {
			fn(topic, key)
		}
	}
}
