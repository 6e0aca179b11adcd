package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// eventPage is what event.html shows: one occurrence or a whole series.
type eventPage struct {
	Path, Instance      string // Instance "" is the whole
	Summary, When, Zone string
	Repeats             string // the rule in words; "" when it does not recur
	Moved               string // when the occurrence was planned for, if elsewhere
	ColorValue          string // #rrggbb, checked
	Calendar            string
	Status              string // cancelled, not certain; "" otherwise
	Where               []span
	Link                string
	Description         []span
	Organizer           *person
	Mine                bool // the reader organizes it
	Attendees           []attendee
	Answer              *answerForm
	Conflict            bool   // somebody changed it meanwhile
	Live                bool   // deliveries are still on their way
	Trace               string // where the deliveries are told as JSON
	Week                string
}

type person struct {
	Name, Address string
	You           bool
}

type attendee struct {
	person
	Answer, Class string // in words; accepted, declined, maybe, open
	Role          string // "" for required people
	Delivery      *deliveryView
}

// answerForm is what an attendee can do.
type answerForm struct {
	Path, Shown, Instance, Next string // Shown: see shownTag
	Mine                        string // the present answer in words
	Partstat                    string
	Series                      bool // the whole can be answered beside the occurrence
	Note                        bool // offers a note to the organizer
	Title                       string
}

// occurrence is the component that a page is about, with its times.
type occurrence struct {
	comp       *calendar.Component
	start, end time.Time
	allDay     bool
	id         *calendar.DateTime // nil: the whole
	planned    time.Time          // of id
}

// maxAttendees bounds how many attendees a page lists.
const maxAttendees = 500

// pick finds what instance names in an object; "" is the series as a whole,
// shown with its next occurrence.
func (q *request) pick(f *found, instance string) (occurrence, error) {
	o := f.object
	if instance == "" {
		c := o.Master()
		if c == nil && len(o.Components()) > 0 {
			c = o.Components()[0]
		}
		if c == nil {
			return occurrence{}, errNoPage
		}
		first := occurrence{comp: c}
		from := q.now()
		for _, from := range []time.Time{from, {}} {
			for in, err := range o.Instances(f.zones, from, time.Time{}, calendar.NewBudget()) {
				if err != nil {
					return first, err
				}
				first.start, first.end, first.allDay = in.Start, in.End, in.AllDay
				return first, nil
			}
		}
		return first, nil
	}
	id, ok := instanceID(o, instance)
	if !ok {
		return occurrence{}, errNoPage
	}
	at, err := f.zones.Instant(id)
	if err != nil {
		return occurrence{}, errNoPage
	}
	if has, err := o.HasInstance(f.zones, id, calendar.NewBudget()); err != nil || !has {
		return occurrence{}, errNoPage
	}
	// An override may lie far from where it was planned; what is no override is
	// found beside its id.
	const near = 366 * 24 * time.Hour
	for _, w := range []struct{ from, to time.Time }{{at, at.Add(time.Second)}, {at.Add(-near), at.Add(near)}, {}} {
		for in, err := range o.Instances(f.zones, w.from, w.to, calendar.NewBudget()) {
			if err != nil {
				break
			}
			if in.ID.Value() != id.Value() {
				continue
			}
			return occurrence{comp: in.Component, start: in.Start, end: in.End, allDay: in.AllDay, id: &in.ID, planned: at}, nil
		}
	}
	return occurrence{}, errNoPage
}

// instanceID reads a recurrence id as the object itself writes them.
func instanceID(o *calendar.Object, value string) (calendar.DateTime, bool) {
	if len(value) > 16 {
		return calendar.DateTime{}, false
	}
	like := calendar.DateTime{Kind: calendar.Floating}
	found := false
	if m := o.Master(); m != nil && m.Prop("DTSTART") != nil {
		if d, err := calendar.ParseDateTime(m.Prop("DTSTART")); err == nil {
			like, found = d, true
		}
	}
	for _, c := range o.Components() {
		if p := c.Prop("RECURRENCE-ID"); p != nil && !found {
			if d, err := calendar.ParseDateTime(p); err == nil && d.Value() == value {
				return d, true
			}
		}
	}
	if !found {
		return like, false
	}
	plain := calendar.NewProperty("RECURRENCE-ID", value)
	d, err := calendar.ParseDateTime(plain)
	if err != nil || (d.Kind == calendar.Date) != (like.Kind == calendar.Date) {
		return d, false
	}
	d.Kind, d.TZID = like.Kind, like.TZID
	return d, true
}

// event shows one event of the own calendars.
func (q *request) event() error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	f, err := q.open(&sh, q.PathValue("calendar"), q.PathValue("name"))
	if err != nil {
		return err
	}
	p, err := q.eventPage(&sh, f, q.URL.Query().Get("instance"))
	if err != nil {
		return err
	}
	return q.render(http.StatusOK, "event", p.Summary, p)
}

func (q *request) eventPage(sh *shelf, f *found, instance string) (*eventPage, error) {
	oc, err := q.pick(f, instance)
	if err != nil {
		return nil, err
	}
	self := q.self()
	c := oc.comp
	p := &eventPage{Path: eventPath(f.in.Name, f.row.Name, ""), Instance: instance, Summary: summaryOf(c), ColorValue: colorOf(f.in, f.index), Calendar: titleOf(f.in)}
	if !oc.start.IsZero() {
		p.When = whenText(oc.start, oc.end, oc.allDay, sh.zone)
		p.Zone = zoneText(sh.zone, oc.start)
		p.Week = weekName(mondayOf(oc.start.In(sh.zone)))
		if oc.id != nil && !oc.planned.Equal(oc.start) {
			p.Moved = whenText(oc.planned, oc.planned, oc.allDay, sh.zone)
		}
	}
	if m := f.object.Master(); m != nil && m.Prop("RRULE") != nil {
		p.Repeats = ruleText(m.Value("RRULE"), sh.zone)
	} else if recurs(f.object) {
		p.Repeats = "on several dates"
	}
	switch strings.ToUpper(c.Value("STATUS")) {
	case "CANCELLED":
		p.Status = "cancelled"
	case "TENTATIVE":
		p.Status = "not certain yet"
	}
	p.Where = linked(oneLine(c.Text("LOCATION"), 1000))
	p.Description = linked(lines(c.Text("DESCRIPTION"), 20000))
	for _, name := range []string{"URL", "CONFERENCE"} {
		if p.Link == "" && c.Prop(name) != nil {
			p.Link = safeLink(c.Value(name))
		}
	}
	p.Mine = organizes(c, self)
	if org := c.Prop("ORGANIZER"); org != nil {
		name, address := addressText(org)
		p.Organizer = &person{Name: name, Address: address, You: p.Mine}
	}
	props := c.All("ATTENDEE")
	if len(props) > maxAttendees {
		props = props[:maxAttendees]
	}
	for _, a := range props {
		p.Attendees = append(p.Attendees, attendeeRow(a, self))
	}
	if p.Mine {
		if err := q.addDeliveries(p, sh.zone, f.row.UID, props); err != nil {
			return nil, err
		}
	}
	if me := attendeeOf(c, self); me != nil && !p.Mine && p.Status != "cancelled" {
		st := partstatOf(me)
		p.Answer = &answerForm{Path: p.Path, Shown: shownTag(f.row), Instance: instance, Mine: answerText(st), Partstat: st, Series: recurs(f.object), Note: true, Title: p.Summary}
	}
	return p, nil
}

func attendeeRow(a *calendar.Property, self calendar.AddressSet) attendee {
	name, address := addressText(a)
	st := partstatOf(a)
	row := attendee{person: person{Name: name, Address: address, You: self.Has(calendar.Address(a.Value()))}, Answer: answerText(st)}
	switch st {
	case "ACCEPTED", "COMPLETED", "IN-PROCESS":
		row.Class = "accepted"
	case "DECLINED":
		row.Class = "declined"
	case "TENTATIVE":
		row.Class = "maybe"
	default:
		row.Class = "open"
	}
	switch strings.ToUpper(a.Param("CUTYPE")) {
	case "ROOM":
		row.Role = "room"
	case "RESOURCE":
		row.Role = "resource"
	case "GROUP":
		row.Role = "group"
	}
	switch strings.ToUpper(a.Param("ROLE")) {
	case "OPT-PARTICIPANT":
		row.Role = strings.TrimSpace(row.Role + " optional")
	case "NON-PARTICIPANT":
		row.Role = strings.TrimSpace(row.Role + " for information")
	}
	return row
}

// answers are the buttons' values.
var answers = map[string]string{"accept": "ACCEPTED", "maybe": "TENTATIVE", "decline": "DECLINED"}

// shownTag stands for what a reader saw of an event: the schedule tag, which
// other people's answers and the fate of messages leave alone
// (RFC 6638 §3.2.10), else the entity tag.
func shownTag(o storage.Object) string {
	if o.ScheduleTag != "" {
		return o.ScheduleTag
	}
	return o.ETag
}

// answerTries is how often an answer is made anew because the server itself
// changed the event meanwhile.
const answerTries = 5

// answerEvent answers an invitation for one occurrence or the whole, as it was
// shown: when the event changed meanwhile nothing is sent, and the page shows
// what it has become.
func (q *request) answerEvent() error {
	answer, ok := answers[q.PostForm.Get("answer")]
	note := oneLine(q.PostForm.Get("note"), 1000)
	instance := q.PostForm.Get("instance")
	if !ok {
		return errBadForm
	}
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		f, err := q.open(&sh, q.PathValue("calendar"), q.PathValue("name"))
		if err != nil {
			return err
		}
		if q.PostForm.Get("shown") != shownTag(f.row) || try > answerTries {
			return q.answerConflict(&sh, f, instance)
		}
		var id *calendar.DateTime
		if instance != "" && q.PostForm.Get("scope") != "series" {
			oc, err := q.pick(f, instance)
			if err != nil {
				return err
			}
			id = oc.id
		}
		next, err := itip.Respond(f.object, scheduling.AddressesOf(*q.user), answer, id, itip.RespondOptions{Comment: note})
		if err != nil {
			return err
		}
		_, err = q.s.sched.Put(q.ctx, scheduling.Put{Actor: q.actor(), Key: f.row.ObjectKey, Data: next.Bytes(), IfMatch: []string{f.row.ETag}, RequestID: q.requestID()})
		var refused *scheduling.Error
		if errors.As(err, &refused) && refused.Precond {
			continue
		}
		if err != nil {
			return err
		}
		back := eventPath(f.in.Name, f.row.Name, instance)
		if next := q.PostForm.Get("next"); next != "" {
			back = next
		}
		q.redirect(withDone(back, "answered"))
		return nil
	}
}

// answerConflict shows what an event has become that somebody wanted to answer.
func (q *request) answerConflict(sh *shelf, f *found, instance string) error {
	page, err := q.eventPage(sh, f, instance)
	if err == errNoPage && instance != "" { // the occurrence is gone
		page, err = q.eventPage(sh, f, "")
	}
	if err != nil {
		return err
	}
	page.Conflict = true
	return q.render(http.StatusConflict, "event", page.Summary, page)
}

// directoryKey is how storage.DB.Recipients knows an address.
func directoryKey(a calendar.Address) string {
	k := a.Key()
	if parts := strings.Split(strings.Trim(k, "/"), "/"); strings.HasPrefix(k, "/dav/principals/") && len(parts) == 4 {
		return "handle:" + parts[3]
	}
	return k
}

// addDeliveries tells the organizer where each invitation is.
func (q *request) addDeliveries(p *eventPage, zone *time.Location, uid string, props []*calendar.Property) error {
	each := max(1, min(1+maxEarlier, 5000/max(1, len(props)))) // of a very large meeting fewer
	list, err := q.s.db.RecentDeliveries(q.ctx, q.user.ID, uid, each)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		p.Trace = "/api/deliveries?uid=" + url.QueryEscape(uid)
	}
	byKey := map[string][]storage.Delivery{} // newest first
	for _, d := range list {
		byKey[d.RecipientKey] = append(byKey[d.RecipientKey], d)
	}
	keys := make([]string, len(props))
	for i, a := range props {
		keys[i] = directoryKey(calendar.Address(a.Value()))
	}
	local, err := q.s.db.Recipients(q.ctx, keys)
	if err != nil {
		return err
	}
	for i, a := range props {
		row := &p.Attendees[i]
		if row.You {
			continue
		}
		_, here := local[keys[i]]
		row.Delivery = viewDelivery(a, byKey[calendar.Address(a.Value()).Key()], here, q.now(), zone)
		p.Live = p.Live || row.Delivery.Open
	}
	return nil
}
