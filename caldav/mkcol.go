package caldav

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// mkcalendar answers MKCALENDAR (RFC 4791 §5.3.1).
func (q *request) mkcalendar() error {
	root, err := q.readXML()
	if err != nil {
		return err
	}
	body, err := davxml.ParseMkcalendar(root)
	if err != nil {
		return err
	}
	return q.create(body, davxml.CMkCalendarResponse)
}

// mkcol answers MKCOL with the resource type calendar (RFC 5689). Plain
// collections do not exist here.
func (q *request) mkcol() error {
	body, err := q.mkcolBody()
	if err != nil {
		return err
	}
	if q.path.Kind == KindUnmapped && !body.Is(davxml.CCalendar) && !body.Is(davxml.CSSubscribed) {
		return precondition(davxml.DValidResourceType, "a calendar home holds calendars: send the resource types collection and calendar")
	}
	return q.create(body, davxml.DMkColResponse)
}

// mkcolBody reads the body of a MKCOL. One that says that it is something else, and is,
// is of a type that is not understood (RFC 4918 §9.3).
func (q *request) mkcolBody() (*davxml.MakeCollection, error) {
	root, err := q.readXML()
	if err == nil {
		var body *davxml.MakeCollection
		if body, err = davxml.ParseMkcol(root); err == nil {
			return body, nil
		}
	}
	switch t := strings.ToLower(mediaType(q.r.Header.Get("Content-Type"))); {
	case t == "", t == "text/xml", strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "xml"):
		return nil, err
	}
	return nil, &httpError{status: http.StatusUnsupportedMediaType, msg: "The body of a MKCOL is XML, as RFC 5689 has it."}
}

func (q *request) create(body *davxml.MakeCollection, answer davxml.Name) error {
	if q.path.Kind != KindUnmapped {
		return refused(http.StatusForbidden, davxml.DResourceMustBeNull, "there is something at this address already")
	}
	c := storage.Collection{CollectionKey: storage.CollectionKey{Account: q.found.Home.ID}, Name: q.path.Collection, Kind: storage.CollectionCalendar,
		Components: storage.CompEvent | storage.CompTodo | storage.CompJournal}
	ch := q.plan(c, KindCalendar, body.Props, true)
	if isSubscription(body) {
		if !slices.Contains(ch.names, davxml.CSSource) {
			return precondition(davxml.DValidResourceType, "a subscription has a CS:source with the address of the feed")
		}
		ch.set(func(c *storage.Collection) { c.Components = 0 })
	}
	if len(ch.failed) > 0 && answer == davxml.CMkCalendarResponse {
		// RFC 4791 §5.3.1 has MKCALENDAR set properties as PROPPATCH does, and
		// says no other form for their refusal.
		m := q.multistatus()
		r := m.Response(q.path.String())
		ch.write(r)
		r.End()
		return q.end(m)
	}
	if len(ch.failed) > 0 {
		doc, err := davxml.PropstatDocument(answer, davxml.Options{}, func(r *davxml.Response) {
			ch.write(r)
		})
		if err != nil {
			return err
		}
		return &httpError{status: http.StatusFailedDependency, body: doc, msg: "a property was refused"} // RFC 5689 §3
	}
	if most := q.h.cfg.MaxCalendars; most > 0 {
		cols, err := q.h.db.Collections(q.ctx, q.found.Home.ID)
		if err != nil {
			return err
		}
		n := 0
		for i := range cols {
			if k := cols[i].Kind; k == storage.CollectionCalendar || k == storage.CollectionInbox {
				n++
			}
		}
		if n >= most {
			return precondition(davxml.Name{Space: davxml.NSCalendarServer, Local: "max-collections"}, "a home has at most "+itoa(most)+" calendars, the inbox included")
		}
	}
	_, err := q.h.db.CreateCollection(q.ctx, ch.col, ch.dead)
	if errors.Is(err, storage.ErrExists) {
		return refused(http.StatusForbidden, davxml.DResourceMustBeNull, "there is something at this address already")
	}
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Cache-Control", "no-cache") // RFC 4791 §5.3.1
	if q.prefers("return=minimal") {
		h.Set("Preference-Applied", "return=minimal")
	}
	q.w.WriteHeader(http.StatusCreated)
	return nil
}

// deleteCollection answers DELETE of a calendar; name and UIDs are free at
// once. The default calendar stays (RFC 6638 §4.3).
func (q *request) deleteCollection() error {
	c := q.found.Collection
	if err := q.keepDefaults(c); err != nil {
		return err
	}
	if err := q.h.sched.DeleteCollection(q.ctx, q.actor(), c.CollectionKey, equalF(q.r.Header.Get("Schedule-Reply")), q.requestID()); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func equalF(s string) bool { return s == "F" || s == "f" }

// keepDefaults refuses to take away the calendar that invitations go to.
func (q *request) keepDefaults(c *storage.Collection) error {
	def := q.found.Home.Settings.DefaultCalendar
	if def == "" {
		def = "calendar"
	}
	if c.Name == def {
		return precondition(davxml.CDefaultCalendarNeeded, "invitations arrive in this calendar; choose another default calendar first")
	}
	return nil
}
