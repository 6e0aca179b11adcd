package caldav

import (
	"net/http"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// roomFor refuses what would take the home's owner over his quota: whoever writes
// into a calendar fills the account of its owner. The running count is asked first;
// before anything is refused it is counted anew (RFC 4331 §6).
func (q *request) roomFor(home *storage.Account, octets int) error {
	limit := q.h.cfg.Quota
	if limit <= 0 {
		return nil
	}
	used, err := q.h.db.Used(q.ctx, home.ID)
	if err == nil && used+int64(octets) > limit {
		used, err = q.h.db.RecountBytes(q.ctx, home.ID)
	}
	if err != nil {
		return err
	}
	if used+int64(octets) > limit {
		return refused(http.StatusInsufficientStorage, davxml.DQuotaNotExceeded, "the owner's calendars have no room left; delete what is no longer needed")
	}
	return nil
}

// used is how many octets a home's owner has stored.
func (q *request) used(r *resource) int64 {
	if r.sister != nil {
		var n int64
		for i := range r.sister {
			n += r.sister[i].Bytes
		}
		return n
	}
	n, err := q.h.db.Used(q.ctx, r.home.ID)
	q.readError("the octets used", err)
	return n
}
