package caldav

import (
	"context"
	"net/http"
	"time"

	"github.com/kalends/kalends/storage"
)

// auditEvery is how often the same method of the same user on the same home is
// written down; auditMost bounds what is remembered of that.
const (
	auditEvery = time.Minute
	auditMost  = 10000
)

// audit writes down that the right read-all opened what the user's other rights
// would not. It comes before the answer: what cannot be written down is not served.
func (q *request) audit() error {
	home := q.found.Home
	if home == nil || home.ID == q.user.ID || q.path.Kind == KindPrincipal || q.path.Kind == KindProxy || q.r.Method == http.MethodOptions {
		return nil
	}
	key := q.user.Handle + " " + q.r.Method + " " + home.Handle
	if reads(q.r.Method) && !q.h.auditDue(key) {
		return nil
	}
	err := q.h.db.Tx(q.ctx, func(ctx context.Context, tx *storage.Tx) error {
		return tx.Audit(ctx, q.user.Handle, "read-all "+q.r.Method, home.Handle, q.path.String())
	})
	if err != nil {
		q.h.auditing.Lock()
		delete(q.h.audited, key)
		q.h.auditing.Unlock()
	}
	return err
}

// reads tells whether a method changes nothing: those may come in thousands.
func reads(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, "PROPFIND", "REPORT":
		return true
	}
	return false
}

// auditDue tells whether something is to be written down now.
func (h *Handler) auditDue(key string) bool {
	now := h.cfg.Now()
	h.auditing.Lock()
	defer h.auditing.Unlock()
	if at, ok := h.audited[key]; ok && now.Sub(at) < auditEvery {
		return false
	}
	if len(h.audited) >= auditMost {
		clear(h.audited)
	}
	h.audited[key] = now
	return true
}
