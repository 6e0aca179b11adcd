package caldav

import (
	"bytes"
	"errors"
	"io"
	"math"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// putSeen answers an owner's PUT of an object that concerns nobody else without
// reading anything first: account and calendar are remembered from an earlier
// request, and the statement that stores compares them, the quota included.
// False: something is otherwise, or not so simple; nothing has been stored or
// answered, and the request takes the way that reads first and tells all.
func (q *request) putSeen(login, password string) (bool, error) {
	h := q.r.Header
	if q.path.Kind != KindObject || q.path.NoSlash || q.r.ContentLength <= 0 || q.r.ContentLength > q.h.cfg.MaxBody ||
		h["Prefer"] != nil || h["If-Schedule-Tag-Match"] != nil || h["Content-Range"] != nil || h["Content-Encoding"] != nil || h["Push-Dont-Notify"] != nil || conditional(h) {
		return false, nil
	}
	found, seen, ok := q.h.db.Remember(q.path.Handle, q.path.Collection)
	if !ok || !found.Login.SignsInAs(login) || found.Login.Rights&storage.RightReadAll != 0 || !q.h.auth.Knows(found.Login, password) {
		return false, nil
	}
	f, foreign, err := q.bodyFormat()
	if err != nil || f != formatText {
		return false, nil
	}
	body, err := q.readBody()
	if err != nil {
		return true, err // the client is gone
	}
	again := func() { q.r.Body = io.NopCloser(bytes.NewReader(body)) }
	data, err := q.readAs(f, foreign, body)
	if err != nil || bytes.Contains(data, organizerName) {
		again()
		return false, nil
	}
	seen.Room = math.MaxInt64
	if q.h.cfg.Quota > 0 {
		seen.Room = q.h.cfg.Quota
	}
	q.found, q.user = found, found.Login
	key := q.objectKey()
	res, err := q.h.sched.PutSeen(q.ctx, scheduling.Put{
		Actor: q.actor(), Key: key, Collection: found.Collection, Data: data,
		IfMatch: etags(h.Values("If-Match")), IfNoneMatch: weakEtags(h.Values("If-None-Match")), RequestID: q.requestID(),
	}, seen)
	if errors.Is(err, scheduling.ErrUnseen) {
		q.found, q.user = storage.Found{}, nil
		again()
		return false, nil
	}
	if err != nil {
		return true, err
	}
	return true, q.stored(res, key, false, false)
}

// organizerName begins what puts an object among those that concern others.
var organizerName = []byte("ORGANIZER")
