package caldav

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/altcal"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

const calendarType = "text/calendar; charset=utf-8"

// contentType names the component, as clients like it (clients.md 0).
func contentType(component string) string {
	switch component {
	case "VEVENT":
		return calendarType + "; component=VEVENT"
	case "VTODO":
		return calendarType + "; component=VTODO"
	case "":
		return calendarType
	}
	return calendarType + "; component=" + component
}

// getObject answers GET and HEAD of a calendar object or inbox item.
func (q *request) getObject() error {
	o := q.found.Object
	q.markRead(o)
	if q.views(o.Flags, q.privs) != viewAll {
		if err := q.veilObject(o); err != nil {
			return err
		}
	}
	h := q.w.Header()
	f := q.accepted()
	h["Etag"] = []string{quote(o.ETag)}
	h["Content-Type"] = []string{f.contentType(o.Component)}
	h["Vary"] = append(h["Vary"], varyData)
	if o.ScheduleTag != "" {
		h["Schedule-Tag"] = []string{quote(o.ScheduleTag)}
	}
	if q.r.Method == http.MethodHead {
		if ok, err := q.selected(o.ETag, o.Modified); !ok || err != nil {
			return err
		}
		h.Set("Last-Modified", time.UnixMicro(o.Modified).UTC().Format(http.TimeFormat))
		if f == formatText && q.wantedZones() == nil {
			h.Set("Content-Length", fmt.Sprint(o.Size))
		}
		return nil
	}
	data, err := q.convert(f, o.Data)
	if err != nil {
		return err
	}
	if h := q.r.Header; h["If-None-Match"] == nil && h["If-Match"] == nil && h["If-Modified-Since"] == nil && h["If-Unmodified-Since"] == nil && h["Range"] == nil {
		q.w.Header()["Last-Modified"] = []string{time.UnixMicro(o.Modified).UTC().Format(http.TimeFormat)}
		q.w.Header()["Content-Length"] = []string{itoa(len(data))}
		_, err := io.WriteString(q.w, data)
		return ignoreWrite(err)
	}
	http.ServeContent(q.w, q.r, "", time.UnixMicro(o.Modified), strings.NewReader(data))
	return nil
}

// veilObject replaces an object's data by what a user sees who may only know when
// it is.
func (q *request) veilObject(o *storage.Object) error {
	if o.Data == "" { // HEAD
		for full, err := range q.h.db.Get(q.ctx, q.found.Collection.CollectionKey, []string{o.Name}, storage.ColumnData) {
			if err != nil {
				return err
			}
			o.Data = full.Data
		}
	}
	text, err := q.veil(o.Data)
	if err != nil {
		return errNotFound // what cannot be read cannot be shown in part
	}
	o.Data, o.Size = text, int64(len(text))
	return nil
}

// readObject reads the body of a PUT or POST as text/calendar in UTF-8; other
// says that it came in another notation (RFC 7265, RFC 6321).
func (q *request) readObject() (data []byte, other bool, err error) {
	f, foreign, err := q.bodyFormat()
	if err != nil {
		return nil, false, err
	}
	body, err := q.readBody()
	if err != nil {
		return nil, false, err
	}
	data, err = q.readAs(f, foreign, body)
	return data, f != formatText, err
}

// bodyFormat is the notation that the body of a PUT or POST has by its header;
// foreign says that its charset is another than UTF-8.
func (q *request) bodyFormat() (f format, foreign bool, err error) {
	f = formatText
	if ct := q.r.Header.Get("Content-Type"); ct != "" {
		mt, params, err := mime.ParseMediaType(ct)
		var known bool
		if f, known = formatOf(mt); err != nil || !known {
			return f, false, precondition(davxml.CSupportedCalendarData, "calendar objects are text/calendar, application/calendar+json or application/calendar+xml")
		}
		cs := params["charset"]
		foreign = cs != "" && !strings.EqualFold(cs, "utf-8") && !strings.EqualFold(cs, "us-ascii")
	}
	return f, foreign, nil
}

// readAs is a body in text/calendar.
func (q *request) readAs(f format, foreign bool, body []byte) ([]byte, error) {
	if foreign && utf8.Valid(body) { // what is not UTF-8 is no valid data, whatever it says it is
		return nil, precondition(davxml.CSupportedCalendarData, "calendar objects are in UTF-8")
	}
	return q.read(f, body)
}

// readBody reads a body of at most max-resource-size.
func (q *request) readBody() ([]byte, error) {
	limit := q.h.cfg.MaxBody
	if q.r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var buf bytes.Buffer
	if n := q.r.ContentLength; n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(q.r.Body, limit+1)); err != nil {
		return nil, badRequest("the body could not be read: " + err.Error())
	}
	if int64(buf.Len()) > limit {
		return nil, tooLarge(limit)
	}
	return buf.Bytes(), nil
}

func tooLarge(limit int64) error {
	return precondition(davxml.CMaxResourceSize, fmt.Sprintf("a calendar object has at most %d octets", limit))
}

// put answers PUT (RFC 4791 §5.3.2, RFC 6638 §3.2).
func (q *request) put() error {
	col := q.found.Collection
	if col == nil && !q.privs.Has(acl.Read) {
		return forbiddenAt(q.path.above(), acl.Bind) // whether there is one or not
	}
	if col == nil {
		return &httpError{status: http.StatusConflict, msg: "The calendar does not exist; create it first."}
	}
	switch {
	case q.found.Object == nil && !q.privs.Has(acl.Bind):
		return forbiddenAt(q.path.above(), acl.Bind)
	case q.found.Object != nil && !q.privs.Has(acl.WriteContent):
		return q.forbidden(acl.WriteContent)
	}
	if err := q.mayChange(); err != nil {
		return err
	}
	if col.Kind != storage.CollectionCalendar {
		return precondition(davxml.CCalendarCollectionLocationOK, "calendar objects are stored in calendars only")
	}
	if q.r.Header.Get("Content-Range") != "" {
		return badRequest("a PUT replaces the whole resource; Content-Range is not supported (RFC 9110 section 14.5)")
	}
	data, other, err := q.readObject()
	if err != nil {
		return err
	}
	return q.store(data, q.objectKey(), other, false)
}

// store puts an object and writes the answer. other says that data is not what
// the client sent but the same in text/calendar.
func (q *request) store(data []byte, key storage.ObjectKey, other, location bool) error {
	if err := q.roomFor(q.found.Home, len(data)); err != nil {
		return err
	}
	match, none := q.entityTags()
	res, err := q.h.sched.Put(q.ctx, scheduling.Put{
		Actor: q.actor(), Key: key, Collection: q.found.Collection, Data: data,
		IfMatch: match, IfNoneMatch: none,
		IfScheduleTag: strings.Trim(q.r.Header.Get("If-Schedule-Tag-Match"), `" `),
		Silent:        strings.EqualFold(q.r.Header.Get("Schedule-Reply"), "F"),
		RequestID:     q.requestID(),
	})
	if err != nil {
		return q.preferOnFailure(err)
	}
	return q.stored(res, key, other, location)
}

// stored writes the answer to a PUT or POST.
func (q *request) stored(res scheduling.Result, key storage.ObjectKey, other, location bool) error {
	h := q.w.Header()
	if res.ScheduleTag != "" {
		h.Set("Schedule-Tag", quote(res.ScheduleTag))
	}
	path := q.path
	path.Kind, path.Object = KindObject, key.Name
	if location {
		h.Set("Location", path.String())
	}
	status := http.StatusNoContent
	if res.Created {
		status = http.StatusCreated
	}
	if q.prefers("return=representation") { // RFC 8144 §2.3
		if status == http.StatusNoContent {
			status = http.StatusOK
		}
		h.Set("ETag", quote(res.ETag))
		h.Set("Preference-Applied", "return=representation")
		h.Set("Content-Location", path.String())
		f := formatText
		if other { // who sends a notation and accepts all reads it as well
			f, _ = formatOf(mediaType(q.r.Header.Get("Content-Type")))
		}
		f = q.acceptedOr(f)
		text, err := q.convert(f, res.Object.Data)
		if err != nil {
			return err
		}
		h.Set("Content-Type", f.contentType(res.Object.Component))
		h.Set("Content-Length", itoa(len(text)))
		q.w.WriteHeader(status)
		_, err = io.WriteString(q.w, text)
		return ignoreWrite(err)
	}
	if !res.Rewritten && !other { // RFC 4791 §5.3.4: else the client must read what was stored
		h.Set("ETag", quote(res.ETag))
	}
	q.w.WriteHeader(status)
	return nil
}

// preferOnFailure gives the present representation with a 412 when the client
// asked for one (RFC 8144 §3.2).
func (q *request) preferOnFailure(err error) error {
	he := q.translate(err)
	if he.status != http.StatusPreconditionFailed || !q.prefers("return=representation") || q.found.Collection == nil {
		return err
	}
	for o, e := range q.h.db.Get(q.ctx, q.found.Collection.CollectionKey, []string{q.path.Object}, storage.ColumnData) {
		if e != nil || o.Missing() {
			return err
		}
		h := q.w.Header()
		h.Set("ETag", quote(o.ETag))
		if o.ScheduleTag != "" {
			h.Set("Schedule-Tag", quote(o.ScheduleTag))
		}
		h.Set("Preference-Applied", "return=representation")
		h.Set("Content-Location", q.path.String())
		f := q.accepted()
		text, e := q.convert(f, o.Data)
		if e != nil {
			return err
		}
		h.Set("Content-Type", f.contentType(o.Component))
		h.Set("Content-Length", itoa(len(text)))
		q.w.WriteHeader(http.StatusPreconditionFailed)
		_, werr := io.WriteString(q.w, text)
		return ignoreWrite(werr)
	}
	return err
}

// ignoreWrite drops the error of writing to a client that went away: there is
// nobody left to tell.
func ignoreWrite(error) error { return nil }

// deleteObject answers DELETE of an object.
func (q *request) deleteObject() error {
	if err := q.mayChange(); err != nil {
		return err
	}
	match, none := q.entityTags()
	err := q.h.sched.Delete(q.ctx, scheduling.Delete{
		Actor: q.actor(), Key: q.objectKey(), IfMatch: match, IfNoneMatch: none,
		IfScheduleTag: strings.Trim(q.r.Header.Get("If-Schedule-Tag-Match"), `" `),
		Silent:        strings.EqualFold(q.r.Header.Get("Schedule-Reply"), "F"), RequestID: q.requestID(),
	})
	if err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// postCalendar is RFC 5995: POST to the add-member URI makes a new member.
func (q *request) postCalendar() error {
	if !q.privs.Has(acl.Bind) {
		return q.forbidden(acl.Bind)
	}
	if q.r.URL.Query().Get("action") != "add-member" {
		return badRequest("a POST to a calendar is for ?action=add-member (RFC 5995)")
	}
	data, other, err := q.readObject()
	if err != nil {
		return err
	}
	return q.store(data, storage.ObjectKey{CollectionKey: q.found.Collection.CollectionKey, Name: q.h.sched.NewName()}, other, true)
}

// getCalendar gives the whole calendar as one iCalendar object, for programs
// that subscribe to a URL.
func (q *request) getCalendar() error {
	c := q.found.Collection
	h := q.w.Header()
	f := q.accepted()
	tag := c.Tag + "-" + fmt.Sprint(c.Seq)
	h.Set("ETag", quote(tag))
	h.Set("Content-Type", f.contentType(""))
	h.Add("Vary", "Accept")
	h.Set("Last-Modified", time.UnixMicro(c.Modified).UTC().Format(http.TimeFormat))
	if ok, err := q.selected(tag, 0); !ok || err != nil {
		return err
	}
	if q.r.Method == http.MethodHead {
		return nil
	}
	whole := calendar.NewObject("-//Kalends//Kalends//EN")
	if c.DisplayName != "" {
		whole.Add(calendar.NewProperty("X-WR-CALNAME", calendar.EscapeText(c.DisplayName)))
	}
	sw := &statusWriter{w: q.w, status: http.StatusOK}
	stream := altcal.Stream{XML: f == formatXML}
	end := []byte("END:VCALENDAR\r\n")
	head := bytes.TrimSuffix(whole.Bytes(), end)
	if f != formatText {
		head, end = stream.Begin(nil, whole), stream.End(nil)
	}
	zones := exportedZones{}
	wrote := false
	for o, err := range q.h.db.List(q.ctx, c.CollectionKey, storage.ColumnData) {
		if err != nil {
			if !wrote {
				return err
			}
			panic(http.ErrAbortHandler) // the status has gone out: cut the connection, so that nobody takes half for the whole
		}
		seen := q.views(o.Flags, q.privs)
		if seen == viewNone {
			continue
		}
		obj, err := calendar.Parse([]byte(o.Data), q.h.cfg.Limits)
		if err != nil {
			continue // stored long ago and unreadable: the others are still served
		}
		if seen == viewBusy {
			obj = calendar.Veil(obj)
		}
		if !wrote {
			wrote = true
			if _, err := sw.Write(head); err != nil {
				return nil
			}
		}
		var b []byte
		for _, k := range obj.Children {
			if k.Name == "VTIMEZONE" && !zones.take(obj, k) {
				continue
			}
			if f == formatText {
				b = k.Append(b)
			} else {
				b = stream.Component(b, k)
			}
		}
		if _, err := sw.Write(b); err != nil {
			return nil
		}
	}
	if !wrote {
		if _, err := sw.Write(head); err != nil {
			return nil
		}
	}
	_, err := sw.Write(end)
	return ignoreWrite(err)
}
