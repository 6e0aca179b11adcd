package storage

import (
	"context"
	"time"
)

// QueueDepth is how full the queue of deliveries is.
type QueueDepth struct {
	Held, Queued, InFlight int64
	Failed                 int64     // for good, and not thrown away yet
	Oldest                 time.Time // when the oldest was queued that is not final; zero: there is none
}

// queueDepth reads partial indexes alone: however many deliveries are done.
const queueDepth = `SELECT d.state, count(*), min(d.created) FROM delivery d WHERE d.state <= 3 GROUP BY d.state
	UNION ALL SELECT 5, count(*), 0 FROM delivery f WHERE f.state = 5`

// QueueDepth counts the deliveries of all accounts, by one statement.
func (db *DB) QueueDepth(ctx context.Context) (QueueDepth, error) {
	type row struct{ state, n, oldest int64 }
	list, err := readAll(ctx, db, func(r rows) (x row, err error) {
		err = r.Scan(&x.state, &x.n, &x.oldest)
		return
	}, queueDepth)
	var out QueueDepth
	for _, x := range list {
		switch DeliveryState(x.state) {
		case DeliveryHeld:
			out.Held = x.n
		case DeliveryQueued:
			out.Queued = x.n
		case DeliveryInFlight:
			out.InFlight = x.n
		case DeliveryFailed:
			out.Failed = x.n
			continue
		}
		if at := time.UnixMicro(x.oldest); out.Oldest.IsZero() || at.Before(out.Oldest) {
			out.Oldest = at
		}
	}
	return out, err
}
