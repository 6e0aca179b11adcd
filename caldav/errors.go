package caldav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// httpError is an answer that is an error: a status with a DAV:error body, or
// with a line of text.
type httpError struct {
	status int
	body   []byte // DAV:error document
	msg    string // for people
	header map[string]string
}

func (e *httpError) Error() string { return fmt.Sprintf("caldav: %d %s", e.status, e.msg) }

var (
	errUnauthorized = &httpError{status: http.StatusUnauthorized, msg: "Sign in with your name or address and your password."}
	errNotFound     = &httpError{status: http.StatusNotFound, msg: "There is nothing here."}
)

func badRequest(msg string) error { return &httpError{status: http.StatusBadRequest, msg: msg} }

// precondition is a 403 with the precondition element.
func precondition(cond davxml.Name, msg string, children ...func(*davxml.Builder)) error {
	return refused(http.StatusForbidden, cond, msg, children...)
}

func refused(status int, cond davxml.Name, msg string, children ...func(*davxml.Builder)) error {
	return &httpError{status: status, body: davxml.ErrorBody(cond, msg, children...), msg: msg}
}

// forbidden says which privilege is missing (RFC 3744 §7.1.1).
func (q *request) forbidden(need acl.Set) error { return forbiddenAt(q.path, need) }

func forbiddenAt(p Path, need acl.Set) error {
	if need == acl.ReadBusy {
		need = acl.Read // which everybody knows
	}
	var names []davxml.NeededPrivilege
	for _, n := range need.Minimal(classOf(p.Kind)) {
		names = append(names, davxml.NeededPrivilege{Href: p.String(), Privilege: davxml.Name(n)})
	}
	return &httpError{status: http.StatusForbidden, body: davxml.NeedPrivileges(names...), msg: "You may not do this here."}
}

// notAllowed is a 405 with the methods that the resource has, or 404 where
// there is none.
func (q *request) notAllowed() error {
	switch k := q.path.Kind; {
	case q.r.Method == http.MethodPut && k != KindInboxItem:
		return q.misplaced()
	case q.r.Method == "COPY" && k == KindCalendar:
		return precondition(davxml.CCalendarCollectionLocationOK, "a calendar cannot be copied as a whole")
	case k <= KindCalendars && (q.r.Method == "DELETE" || q.r.Method == "MOVE" || q.r.Method == "COPY"):
		return q.forbidden(acl.Unbind) // nobody takes away what the server itself is made of
	case (q.r.Method == "MKCALENDAR" || q.r.Method == "MKCOL") && k != KindUnmapped:
		return q.misplaced()
	}
	if q.missing() && looks(q.path.Kind, q.privs) && q.r.Method != "OPTIONS" {
		switch q.r.Method {
		case "PROPFIND", "PROPPATCH", "REPORT", "GET", "HEAD", "DELETE", "POST", "ACL", "COPY", "MOVE":
			return errNotFound
		}
	}
	return &httpError{status: http.StatusMethodNotAllowed, msg: "This resource does not have the method " + q.r.Method + ".", header: map[string]string{"Allow": allow(q.path.Kind)}}
}

// misplaced refuses to make something where nothing of the kind can be: calendars
// are in calendar homes, calendar objects in calendars (RFC 4791 §4.2, §5.3.1.1).
func (q *request) misplaced() error {
	if q.r.Method == http.MethodPut {
		return precondition(davxml.CCalendarCollectionLocationOK, "calendar objects are stored in calendars only")
	}
	return precondition(davxml.CCalendarCollectionLocationOK, "calendars are made in a calendar home only")
}

// fail is the one place where errors become answers.
func (q *request) fail(err error) {
	he := q.translate(err)
	h := q.w.Header()
	for k, v := range he.header {
		h.Set(k, v)
	}
	if he.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="`+q.h.cfg.Realm+`", charset="UTF-8"`)
	}
	// A destination elsewhere and a full account are the client's doing, a full disk is not.
	theirs := he.status == http.StatusBadGateway || he.status == http.StatusInsufficientStorage && !errors.Is(err, storage.ErrFull)
	if he.status >= 500 && !theirs {
		q.h.cfg.Log.Error("request failed", "method", q.r.Method, "path", q.r.URL.Path, "status", he.status, "error", err, "request", q.requestID())
	}
	h.Del("ETag")
	h.Del("Content-Length")
	if he.body != nil {
		h.Set("Content-Type", "application/xml; charset=utf-8")
		q.w.WriteHeader(he.status)
		if q.r.Method != http.MethodHead {
			_, _ = q.w.Write(he.body)
		}
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	q.w.WriteHeader(he.status)
	if q.r.Method != http.MethodHead {
		_, _ = fmt.Fprintln(q.w, he.msg)
	}
}

// conditions maps the preconditions of the pure packages to their elements.
var conditions = map[string]davxml.Name{
	string(calendar.CodeInvalidData):          davxml.CValidCalendarData,
	string(calendar.CodeInvalidObject):        davxml.CValidCalendarObjectResource,
	string(calendar.CodeUnsupportedComponent): davxml.CSupportedCalendarComponent,
	string(calendar.CodeUnsupportedData):      davxml.CSupportedCalendarData,
	string(calendar.CodeMaxSize):              davxml.CMaxResourceSize,
	string(calendar.CodeMaxInstances):         davxml.CMaxInstances,
	string(calendar.CodeMaxAttendees):         davxml.CMaxAttendeesPerInstance,
	string(calendar.CodeMinDate):              davxml.CMinDateTime,
	string(calendar.CodeMaxDate):              davxml.CMaxDateTime,
	string(calendar.CodeInvalidFilter):        davxml.CValidFilter,
	string(calendar.CodeUnsupportedFilter):    davxml.CSupportedFilter,
	string(calendar.CodeUnsupportedCollation): davxml.CSupportedCollation,
	string(calendar.CodeUnsupportedRScale):    davxml.CSupportedRScale,
	string(calendar.CodeInvalidTimezone):      davxml.CValidTimezone,
	string(calendar.CodeBudget):               davxml.DNumberOfMatchesWithinLimits,
	string(itip.CondAttendeeChange):           davxml.CAllowedAttendeeSchedulingObjectChange,
	string(itip.CondOrganizerChange):          davxml.CAllowedOrganizerSchedulingObjectChange,
	string(itip.CondSameOrganizer):            davxml.CSameOrganizerInAllComponents,
	string(itip.CondUniqueObject):             davxml.CUniqueSchedulingObjectResource,
	string(itip.CondDefaultCalendar):          davxml.CDefaultCalendarNeeded,
	string(scheduling.CondAttendee):           davxml.CAttendeeAllowed,
	string(scheduling.CondOrganizer):          davxml.COrganizerAllowed,
	string(scheduling.CondUIDConflict):        davxml.CNoUIDConflict,
	string(scheduling.CondCollection):         davxml.CCalendarCollectionLocationOK,
}

func (q *request) translate(err error) *httpError {
	var he *httpError
	var se *scheduling.Error
	var ie *itip.Error
	var ce *calendar.Error
	var xe *davxml.Error
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &he):
		return he
	case errors.As(err, &se):
		var children []func(*davxml.Builder)
		if se.Href != nil {
			if href := q.hrefOf(*se.Href); href != "" {
				children = append(children, davxml.HrefChild(href))
			}
		}
		switch {
		case se.Precond && children != nil && q.r.Method == http.MethodPut && slices.Contains(etags(q.r.Header["If-None-Match"]), "*"):
			// The new object is there already, or would take the place of another
			// one: which one it is says what RFC 4791 §5.3.2.1 has for that.
			return refused(http.StatusPreconditionFailed, davxml.CNoUIDConflict, se.Msg, children...).(*httpError)
		case se.Precond:
			return &httpError{status: http.StatusPreconditionFailed, msg: se.Msg}
		case errors.Is(err, storage.ErrNotFound):
			return &httpError{status: http.StatusNotFound, msg: se.Msg}
		case se.Condition == scheduling.CondSendInvite, se.Condition == scheduling.CondSendReply: // RFC 6638 §6.2
			need := acl.ScheduleSendInvite
			if se.Condition == scheduling.CondSendReply {
				need = acl.ScheduleSendReply
			}
			return forbiddenAt(Path{Kind: KindOutbox, Handle: q.found.Home.Handle, Collection: "outbox"}, need).(*httpError)
		case se.Condition != "":
			return refused(http.StatusForbidden, conditions[string(se.Condition)], se.Msg, children...).(*httpError)
		}
	case errors.As(err, &ie):
		return refused(http.StatusForbidden, conditions[string(ie.Condition)], ie.Msg).(*httpError)
	case errors.As(err, &ce):
		cond, ok := conditions[string(ce.Code)]
		if !ok {
			cond = davxml.CValidCalendarData
		}
		return refused(http.StatusForbidden, cond, ce.Error()).(*httpError)
	case errors.As(err, &tooBig):
		return &httpError{status: http.StatusRequestEntityTooLarge, msg: fmt.Sprintf("The body is larger than %d octets.", tooBig.Limit)}
	case errors.As(err, &xe):
		status := http.StatusBadRequest
		switch {
		case errors.Is(xe, davxml.ErrPrecondition):
			status = http.StatusForbidden
		case errors.Is(xe, davxml.ErrTooLarge):
			status = http.StatusRequestEntityTooLarge
		}
		return &httpError{status: status, body: xe.Body(), msg: xe.Error()}
	case errors.Is(err, storage.ErrBadToken):
		return precondition(davxml.DValidSyncToken, "this sync token is not, or no longer, valid here; start again without one").(*httpError)
	case errors.Is(err, storage.ErrNotFound):
		return errNotFound
	case errors.Is(err, storage.ErrFull):
		return refused(http.StatusInsufficientStorage, davxml.DSufficientDiskSpace, "the server has no space left").(*httpError)
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &httpError{status: http.StatusServiceUnavailable, msg: "The database cannot be reached; try again soon.", header: map[string]string{"Retry-After": "5"}}
	}
	return &httpError{status: http.StatusInternalServerError, msg: "The server failed; the request id is " + q.requestID() + "."}
}

// hrefOf is the path of an object in the home that the request is about; "" also
// when the user does not see the object (abuse A24).
func (q *request) hrefOf(k storage.ObjectKey) string {
	home := q.found.Home
	if home == nil || home.ID != k.Account {
		return ""
	}
	in := q.found.Collection
	if in == nil || in.ID != k.ID {
		cols, err := q.h.db.Collections(q.ctx, home.ID)
		i := slices.IndexFunc(cols, func(c storage.Collection) bool { return c.ID == k.ID })
		if err != nil || i < 0 {
			return ""
		}
		in = &cols[i]
	}
	if !q.confidant() && !q.sees(in, k) {
		return ""
	}
	return collectionPath(home, in.Name) + escape(k.Name)
}

// sees tells whether the user sees that there is an object in a collection of the home.
func (q *request) sees(in *storage.Collection, k storage.ObjectKey) bool {
	privs := q.privilegesIn(&q.found, in)
	for o, err := range q.h.db.Get(q.ctx, k.CollectionKey, []string{k.Name}, storage.ColumnsMeta) {
		if err != nil || o.Missing() {
			return false
		}
		return looks(kindFor(in), privs) && q.views(o.Flags, privs) != viewNone
	}
	return false
}
