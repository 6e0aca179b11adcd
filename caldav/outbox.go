package caldav

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// postOutbox answers a free/busy question for local and remote attendees
// together (RFC 6638 §5).
func (q *request) postOutbox() error {
	if !q.privs.Has(acl.ScheduleSendFreeBusy) {
		return q.forbidden(acl.ScheduleSendFreeBusy)
	}
	data, _, err := q.readObject()
	if err != nil {
		return err
	}
	o, err := calendar.Parse(data, q.h.cfg.Limits)
	if err != nil {
		return err
	}
	bad := func(msg string) error { return precondition(davxml.CValidSchedulingMessage, msg) }
	if o.Method() != "REQUEST" || o.Kind() != "VFREEBUSY" || len(o.Components()) != 1 {
		return bad("an outbox takes free/busy questions: METHOD:REQUEST with one VFREEBUSY; invitations are sent by storing the event")
	}
	c := o.Master()
	if c == nil || c.Prop("UID") == nil || c.Prop("DTSTAMP") == nil {
		return bad("VFREEBUSY needs UID and DTSTAMP")
	}
	org := c.Prop("ORGANIZER")
	if org == nil {
		return precondition(davxml.CValidOrganizer, "VFREEBUSY needs an ORGANIZER")
	}
	// Evolution signs such a question with the name its user signed in by, which is
	// no address where somebody signs in by a handle.
	if h := q.found.Home; strings.EqualFold(org.Value(), "mailto:"+h.Handle) && len(h.Emails) > 0 {
		org.SetValue("mailto:" + h.Emails[0])
	}
	// RFC 6638 §5.1: the organizer is the owner of the outbox.
	if !calendar.NewAddressSet(scheduling.AddressesOf(*q.found.Home)...).Has(calendar.Address(org.Value())) {
		return precondition(davxml.CValidOrganizer, "the ORGANIZER is not the owner of this outbox")
	}
	var to []calendar.Address
	asked := map[string]bool{}
	for _, p := range c.All("ATTENDEE") {
		a := calendar.Address(p.Value())
		if k := cmp.Or(a.Key(), string(a)); !asked[k] {
			asked[k] = true
			to = append(to, a)
		}
	}
	if len(to) == 0 {
		return bad("VFREEBUSY names no ATTENDEE")
	}
	if len(to) > q.h.cfg.MaxAttendees {
		return precondition(davxml.CMaxAttendeesPerInstance, "too many attendees in one question")
	}
	if err := questionRange(c); err != nil {
		return err
	}
	shown, err := q.shownInOutbox()
	if err != nil {
		return err
	}
	res, err := q.h.sched.FreeBusy(q.ctx, scheduling.FreeBusy{Asker: *q.found.Home, Originator: calendar.Address(org.Value()), Recipients: to, Request: o, RequestID: q.requestID(), Shown: shown})
	if err != nil {
		return err
	}
	// Who asks for address after address learns which of them are here, as by searches;
	// what counts is those that are not, since they are rare in honest questions.
	unknown := 0
	for _, r := range res {
		if strings.HasPrefix(r.Status, "3.7") {
			unknown++
		}
	}
	if unknown > 0 {
		if err := q.search(unknown); err != nil {
			return err
		}
	}
	// The answer is XML; its calendar data are in the notation that Accept names,
	// else in that of the question.
	f, _ := formatOf(mediaType(q.r.Header.Get("Content-Type")))
	if a := q.accepted(); a != formatText || strings.Contains(q.r.Header.Get("Accept"), formatTypes[formatText]) {
		f = a
	}
	out := make([]davxml.ScheduleRecipient, len(res))
	for i, r := range res {
		text := string(r.Calendar)
		if text != "" {
			if text, err = q.convert(f, text); err != nil { // another server's nonsense
				text, r.Status = "", "5.3;No answer that can be read"
			}
		}
		out[i] = davxml.ScheduleRecipient{Recipient: string(r.Recipient), RequestStatus: r.Status, CalendarData: []byte(text)}
		if f != formatText {
			out[i].ContentType = formatTypes[f]
		}
	}
	body := davxml.ScheduleResponse(out)
	h := q.w.Header()
	h.Set("Content-Type", "application/xml; charset=utf-8")
	h.Set("Content-Length", itoa(len(body)))
	q.w.WriteHeader(http.StatusOK)
	_, err = q.w.Write(body)
	return ignoreWrite(err)
}

// shownInOutbox tells whose busy times the user may ask for under the directory
// policy: of whom he finds, of whom he acts for, and of the outbox's owner.
func (q *request) shownInOutbox() (func(storage.Account) bool, error) {
	if q.h.open() {
		return nil, nil
	}
	bosses, err := q.h.db.AllDelegatorsOf(q.ctx, q.user.ID)
	if err != nil {
		return nil, err
	}
	return func(a storage.Account) bool {
		return a.ID == q.found.Home.ID || q.seen(&a) || slices.ContainsFunc(bosses, func(b storage.Delegate) bool { return b.Account.ID == a.ID })
	}, nil
}

// questionRange checks that a question has a range in UTC.
func questionRange(c *calendar.Component) error {
	var at [2]calendar.DateTime
	for i, name := range []string{"DTSTART", "DTEND"} {
		p := c.Prop(name)
		if p == nil {
			return precondition(davxml.CValidCalendarData, "VFREEBUSY needs "+name)
		}
		d, err := calendar.ParseDateTime(p)
		if err != nil || d.Kind != calendar.UTC {
			return precondition(davxml.CValidCalendarData, name+" of a question is in UTC")
		}
		at[i] = d
	}
	if !at[1].Wall.After(at[0].Wall) {
		return precondition(davxml.CValidCalendarData, "VFREEBUSY ends before it starts")
	}
	return nil
}
