package caldav

import "github.com/kalends/kalends/storage"

// markRead notes that the owner has fetched an inbox item, which may then be
// thrown away after its time. It is a note, not a change: when it fails, the
// item is merely kept longer.
func (q *request) markRead(items ...*storage.Object) {
	if q.found.Collection == nil || q.found.Collection.Kind != storage.CollectionInbox || q.user.ID != q.found.Home.ID {
		return
	}
	var names []string
	for _, o := range items {
		if o.Flags&storage.FlagRead == 0 {
			names = append(names, o.Name)
		}
	}
	if err := q.h.db.MarkRead(q.ctx, q.found.Collection.CollectionKey, names); err != nil && q.ctx.Err() == nil {
		q.h.cfg.Log.Warn("inbox items could not be marked as read", "error", err, "request", q.requestID())
	}
}
