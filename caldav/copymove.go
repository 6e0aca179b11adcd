package caldav

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// destination finds what the Destination header names and whether the user may
// write there (RFC 4918 §10.3).
func (q *request) destination() (Path, storage.Found, bool, error) {
	raw := q.r.Header.Get("Destination")
	if raw == "" {
		return Path{}, storage.Found{}, false, badRequest("COPY and MOVE need a Destination header")
	}
	p, ok := parseHref(raw, q.sameHost)
	if !ok && q.isOurs(raw) {
		return Path{}, storage.Found{}, false, precondition(davxml.CCalendarCollectionLocationOK, "nothing can be at the destination")
	}
	if !ok {
		return Path{}, storage.Found{}, false, &httpError{status: http.StatusBadGateway, msg: "The destination is not on this server."}
	}
	overwrite := true
	switch strings.ToUpper(strings.TrimSpace(q.r.Header.Get("Overwrite"))) {
	case "", "T":
	case "F":
		overwrite = false
	default:
		return Path{}, storage.Found{}, false, badRequest("Overwrite is T or F")
	}
	f, err := q.h.db.Find(q.ctx, storage.Query{Login: q.user.Handle, Home: p.Handle, Collection: p.Collection, Object: p.Object})
	return p, f, overwrite, err
}

// isOurs reports whether an href that names nothing is one of this server.
func (q *request) isOurs(href string) bool {
	href = strings.TrimSpace(href)
	if strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "//") {
		return true
	}
	u, err := url.Parse(href)
	return err == nil && u.Host != "" && u.User == nil && q.sameHost(u)
}

// target checks the destination of a COPY or MOVE of an object: what they need there
// is the table of RFC 3744 Appendix B, and what the user does not see in full he does
// not overwrite either (see mayChange).
func (q *request) target(move bool) (Path, storage.ObjectKey, storage.Found, bool, error) {
	p, f, overwrite, err := q.destination()
	if err != nil {
		return p, storage.ObjectKey{}, f, false, err
	}
	if p.Kind == KindObject && f.Home == nil {
		return p, storage.ObjectKey{}, f, false, forbiddenAt(p.above(), acl.Bind) // as a home that gives no rights
	}
	if p.Kind != KindObject {
		return p, storage.ObjectKey{}, f, false, precondition(davxml.CCalendarCollectionLocationOK, "the destination is not in a calendar")
	}
	if f.Collection == nil && !q.privilegesIn(&f, nil).Has(acl.Read) {
		return p, storage.ObjectKey{}, f, false, forbiddenAt(p.above(), acl.Bind)
	}
	if f.Collection == nil {
		return p, storage.ObjectKey{}, f, false, &httpError{status: http.StatusConflict, msg: "The destination's calendar does not exist."}
	}
	privs := q.privilegesIn(&f, f.Collection)
	need, at := acl.Bind, p.above()
	if f.Object != nil && move {
		need |= acl.Unbind
	} else if f.Object != nil {
		need, at = acl.WriteContent|acl.WriteProperties, p
	}
	if !privs.Has(need) {
		return p, storage.ObjectKey{}, f, false, forbiddenAt(at, need)
	}
	there := &request{h: q.h, user: q.user, found: f, path: p}
	if f.Object != nil && there.views(f.Object.Flags, privs) != viewAll {
		return p, storage.ObjectKey{}, f, false, forbiddenAt(p, acl.WriteContent)
	}
	if f.Collection.Kind != storage.CollectionCalendar {
		return p, storage.ObjectKey{}, f, false, precondition(davxml.CCalendarCollectionLocationOK, "calendar objects are stored in calendars only")
	}
	key := storage.ObjectKey{CollectionKey: f.Collection.CollectionKey, Name: p.Object}
	if key == q.objectKey() {
		return p, key, f, false, &httpError{status: http.StatusForbidden, msg: "Source and destination are the same."}
	}
	if f.Object != nil && !overwrite {
		return p, key, f, false, &httpError{status: http.StatusPreconditionFailed, msg: "The destination exists and Overwrite is F."}
	}
	// RFC 4791 §5.3.2.1: nor is an object overwritten by one of another UID.
	if f.Object != nil && q.found.Object != nil && f.Object.UID != q.found.Object.UID {
		return p, key, f, false, refused(http.StatusForbidden, davxml.CNoUIDConflict, "the destination holds another UID", davxml.HrefChild(p.String()))
	}
	return p, key, f, overwrite, nil
}

// moveObject answers MOVE: inside of a home nobody is told; into another home
// the object is stored there and deleted here.
func (q *request) moveObject() error {
	if err := q.mayChange(); err != nil {
		return err
	}
	p, key, f, overwrite, err := q.target(true)
	if err != nil {
		return err
	}
	tag := strings.Trim(q.r.Header.Get("If-Schedule-Tag-Match"), `" `)
	if f.Home.ID == q.found.Home.ID {
		match, _ := q.entityTags()
		res, err := q.h.sched.Move(q.ctx, scheduling.Move{Actor: q.actor(), From: q.objectKey(), To: key, Overwrite: overwrite,
			IfMatch: match, IfScheduleTag: tag, RequestID: q.requestID()})
		if err != nil {
			return err
		}
		return q.moved(res, p)
	}
	return q.copyTo(key, p, f, overwrite, true)
}

func (q *request) moved(res scheduling.Result, to Path) error {
	h := q.w.Header()
	if !res.Rewritten {
		h.Set("ETag", quote(res.ETag))
	}
	if res.ScheduleTag != "" {
		h.Set("Schedule-Tag", quote(res.ScheduleTag))
	}
	status := http.StatusNoContent
	if res.Created { // RFC 9110 §15.3.2: Location says what was created
		status = http.StatusCreated
		h.Set("Location", to.String())
	}
	q.w.WriteHeader(status)
	return nil
}

// copyObject answers COPY.
func (q *request) copyObject() error {
	if err := q.mayChange(); err != nil { // what is hidden is not copied
		return err
	}
	p, key, f, overwrite, err := q.target(false)
	if err != nil {
		return err
	}
	return q.copyTo(key, p, f, overwrite, false)
}

func (q *request) copyTo(key storage.ObjectKey, p Path, f storage.Found, overwrite, remove bool) error {
	var src storage.Object
	for o, err := range q.h.db.Get(q.ctx, q.found.Collection.CollectionKey, []string{q.path.Object}, storage.ColumnData) {
		if err != nil {
			return err
		}
		src = o
	}
	if src.Missing() {
		return errNotFound
	}
	if match, _ := q.entityTags(); match != nil && !slices.Contains(match, "*") && !slices.Contains(match, src.ETag) {
		return &httpError{status: http.StatusPreconditionFailed, msg: "If-Match: the resource has changed since it was read; read it again"}
	}
	if tag := strings.Trim(q.r.Header.Get("If-Schedule-Tag-Match"), `" `); tag != "" && tag != src.ScheduleTag {
		return &httpError{status: http.StatusPreconditionFailed, msg: "If-Schedule-Tag-Match: the scheduling object has changed since it was read; read it again"}
	}
	if err := q.roomFor(f.Home, len(src.Data)); err != nil {
		return err
	}
	// The copy is a change of its owner like any other (RFC 6638 §3.2.4.4).
	put := scheduling.Put{Actor: scheduling.Actor{Account: *f.Home, By: *q.user}, Key: key, Data: []byte(src.Data), RequestID: q.requestID()}
	if !overwrite { // not what came in meanwhile either
		put.IfNoneMatch = []string{"*"}
	}
	var err error
	if put.Properties, err = q.copiedProperties(key, f); err != nil {
		return err
	}
	res, err := q.h.sched.Put(q.ctx, put)
	if err != nil {
		return err
	}
	if remove {
		err := q.h.sched.Delete(q.ctx, scheduling.Delete{Actor: q.actor(), Key: q.objectKey(), IfMatch: []string{src.ETag}, RequestID: q.requestID()}) // not what came in meanwhile
		if err != nil {
			return err
		}
	}
	return q.moved(res, p)
}

// copiedProperties are the dead properties that a copy gets from its source
// (RFC 4918 §9.8.2) in the place of what it had: everybody's inside of a home, into
// another home those that the user sees.
func (q *request) copiedProperties(key storage.ObjectKey, f storage.Found) ([]storage.Property, error) {
	from := storage.PropertyKey{CollectionKey: q.found.Collection.CollectionKey, Object: q.path.Object}
	to := storage.PropertyKey{CollectionKey: key.CollectionKey, Object: key.Name}
	rows, err := q.h.db.Properties(q.ctx, from, to)
	if err != nil {
		return nil, err
	}
	var source, changes []storage.Property
	for _, p := range rows {
		if p.PropertyKey == to {
			p.XML = ""
			changes = append(changes, p)
		} else {
			source = append(source, p)
		}
	}
	there := &request{h: q.h, user: q.user, found: f}
	if f.Home.ID != q.found.Home.ID {
		source = mine(source, q.user.ID)
	}
	for _, p := range source {
		p.PropertyKey = to
		if f.Home.ID != q.found.Home.ID {
			p.Principal = 0
			if !there.confidant() {
				p.Principal = q.user.ID
			}
		}
		changes = append(changes, p)
	}
	return changes, nil
}

// moveCollection renames a calendar inside of its home.
func (q *request) moveCollection() error {
	p, f, overwrite, err := q.destination()
	if err != nil {
		return err
	}
	if p.Kind != KindCalendar || f.Home == nil || f.Home.ID != q.found.Home.ID {
		return precondition(davxml.CCalendarCollectionLocationOK, "a calendar can be renamed inside of its own home only")
	}
	if f.Collection != nil && !overwrite { // RFC 4918 §9.9.4
		return &httpError{status: http.StatusPreconditionFailed, msg: "The destination exists and Overwrite is F."}
	}
	if f.Collection != nil {
		return refused(http.StatusForbidden, davxml.DResourceMustBeNull, "the name is taken")
	}
	if err := q.keepDefaults(q.found.Collection); err != nil {
		return err
	}
	err = q.updateCollection(q.found.Collection.Name, nil, func(c *storage.Collection) { c.Name = p.Collection })
	if err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusCreated)
	return nil
}
