package web

import (
	"errors"
	"net/http"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// problem is an error that a person can read.
type problem struct {
	status int
	title  string
	text   string
}

func (p *problem) Error() string { return "web: " + p.title + ": " + p.text }

var (
	errNoPage    = &problem{http.StatusNotFound, "There is no such page", "The address may be misspelt, or what it led to was moved or deleted."}
	errSignedOut = &problem{http.StatusForbidden, "You are not signed in any more", "Nothing was changed. Sign in and do it again."}
	errForeign   = &problem{http.StatusForbidden, "This request came from another site", "Nothing was changed. If you did mean it, open the page here and do it from there."}
	errBadForm   = &problem{http.StatusBadRequest, "The form could not be read", "Nothing was changed. Go back, load the page again, and send it once more."}
	errBroken    = &problem{http.StatusInternalServerError, "Something failed on the server", "It is not your fault. Try again in a moment; if it stays, tell your administrator the request id below."}
	errAway      = &problem{http.StatusServiceUnavailable, "The database does not answer", "Nothing was changed. Try again in a moment."}
)

// explain finds the words for an error. Causes that a person cannot act on
// become errBroken; known is false then.
func explain(err error) (p *problem, known bool) {
	if errors.As(err, &p) {
		return p, true
	}
	var se *scheduling.Error
	var ce *calendar.Error
	var ie *itip.Error
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return errNoPage, true
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrFull):
		return errAway, false
	case errors.As(err, &se):
		return &problem{http.StatusConflict, "That cannot be done", "The calendar refused it: " + se.Msg + "."}, true
	case errors.As(err, &ie):
		return &problem{http.StatusConflict, "That cannot be done", "The rules of scheduling forbid it: " + ie.Msg + "."}, true
	case errors.As(err, &ce):
		return &problem{http.StatusUnprocessableEntity, "The event cannot be read", "Its data breaks a rule of the calendar format: " + ce.Msg + "."}, true
	}
	return errBroken, false
}

// errorPage is what error.html shows.
type errorPage struct {
	Title, Text, RequestID string
}

// fail answers with an error page. It is the one place where errors become
// statuses.
func (q *request) fail(err error) {
	p, known := explain(err)
	if !known && q.ctx.Err() == nil {
		q.s.cfg.Log.ErrorContext(q.ctx, "a page failed", "path", loggedPath(q.URL.Path), "error", err, "request", q.requestID())
	}
	if p.status == http.StatusServiceUnavailable || p.status == http.StatusTooManyRequests {
		q.w.Header().Set("Retry-After", "60")
	}
	if q.program() {
		_ = q.json(p.status, map[string]string{"error": p.title, "text": p.text, "request": q.requestID()})
		return
	}
	q.render(p.status, "error", p.title, errorPage{Title: p.title, Text: p.text, RequestID: q.requestID()})
}
