package storage

import "context"

// Sent says what left, or waits to leave, for one recipient.
type Sent struct {
	Messages int
	Newest   int64 // when the newest was made
}

// SentSince counts what an account has sent to other systems since hour, and,
// of that, what each recipient was sent about one object since window. What was
// taken back does not count.
func (tx *Tx) SentSince(ctx context.Context, account AccountID, uid string, hour, window int64) (total int, recent map[string]Sent, err error) {
	type row struct {
		key string
		Sent
	}
	list, err := queryAll(ctx, tx.s, func(r rows) (x row, err error) {
		var n int64
		err = r.Scan(&x.key, &n, &x.Newest)
		x.Messages = int(n)
		return
	}, `SELECT k, count(*), max(created) FROM (SELECT CASE WHEN d.uid = $2 AND d.created > $4 THEN d.recipient_key ELSE '' END AS k, d.created FROM delivery d
		WHERE d.account_id = $1 AND d.created > $3 AND d.transport <> 'local' AND d.state <= 5) s GROUP BY k`, int64(account), uid, hour, window)
	recent = map[string]Sent{}
	for _, x := range list {
		total += x.Messages
		if x.key != "" {
			recent[x.key] = x.Sent
		}
	}
	return total, recent, err
}
