package web

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// invitationsPage is what invitations.html shows.
type invitationsPage struct {
	Waiting []invitation
	News    []newsItem
	More    bool // of either there is more than shown
	Zone    string
}

// invitation is an event that waits for the reader's answer.
type invitation struct {
	Title, Href, When, Where, Repeats string
	From                              person
	Color                             string // #rrggbb
	Answer                            answerForm
	start                             time.Time
}

// newsItem is something in the scheduling inbox that is no invitation.
type newsItem struct {
	Name, Text, Title, Detail, At string
	Counter                       bool // a proposal that can be taken over
}

// Bounds of the page.
const (
	maxPending = 100
	maxNews    = 50
)

// pending finds copies of coming events that the person has not answered. The
// index leaves over few: only what others invite the person to is parsed.
func (q *request) pending(sh *shelf) ([]invitation, error) {
	self := q.self()
	now := q.now()
	var out []invitation
	for _, c := range sh.calendars {
		var names []string
		for row, err := range q.s.db.Select(q.ctx, c.CollectionKey, storage.ObjectQuery{Components: []string{"VEVENT"}, From: storage.Micros(now), To: math.MaxInt64, Flags: storage.FlagAttendee}) {
			if err != nil {
				return nil, err
			}
			if row.Flags&storage.FlagOrganizer == 0 && len(names) < 1000 { // one's own meetings wait for nobody
				names = append(names, row.Name)
			}
		}
		if len(names) == 0 {
			continue
		}
		for row, err := range q.s.db.Get(q.ctx, c.CollectionKey, names, storage.ColumnData) {
			if err != nil {
				return nil, err
			}
			if row.Missing() {
				continue
			}
			f, err := q.parse(sh, row)
			if err != nil {
				continue // the week counts what cannot be read
			}
			for _, in := range q.waiting(sh, f, self, now) {
				if len(out) < maxPending {
					out = append(out, in)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b invitation) int { return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.Title, b.Title)) })
	return out, nil
}

// waiting are the unanswered parts of an object: the whole, or single
// occurrences that differ from it.
func (q *request) waiting(sh *shelf, f *found, self calendar.AddressSet, now time.Time) []invitation {
	var out []invitation
	master := f.object.Master()
	whole := open(master, self)
	for _, c := range f.object.Components() {
		if !open(c, self) || c != master && whole { // the answer to the whole takes its exceptions along
			continue
		}
		instance := ""
		if c != master {
			d, err := calendar.ParseDateTime(c.Prop("RECURRENCE-ID"))
			if err != nil {
				continue
			}
			instance = d.Value()
		}
		oc, err := q.pick(f, instance)
		if err != nil || !oc.end.IsZero() && oc.end.Before(now) {
			continue
		}
		inv := invitation{Title: summaryOf(c), Href: eventPath(f.in.Name, f.row.Name, instance), When: whenText(oc.start, oc.end, oc.allDay, sh.zone),
			Where: oneLine(c.Text("LOCATION"), 200), Color: colorOf(f.in, f.index), start: oc.start}
		if c == master && c.Prop("RRULE") != nil {
			inv.Repeats = ruleText(c.Value("RRULE"), sh.zone)
		}
		if org := c.Prop("ORGANIZER"); org != nil {
			inv.From.Name, inv.From.Address = addressText(org)
		}
		inv.Answer = answerForm{Path: eventPath(f.in.Name, f.row.Name, ""), Shown: shownTag(f.row), Instance: instance, Next: "/invitations", Partstat: "NEEDS-ACTION", Title: inv.Title}
		out = append(out, inv)
	}
	return out
}

// open reports whether a component waits for an answer of self.
func open(c *calendar.Component, self calendar.AddressSet) bool {
	if c == nil || strings.EqualFold(c.Value("STATUS"), "CANCELLED") || organizes(c, self) {
		return false
	}
	p := attendeeOf(c, self)
	return p != nil && partstatOf(p) == "NEEDS-ACTION"
}

// invitations lists what waits for an answer, and other people's news.
func (q *request) invitations() error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	p := invitationsPage{Zone: zoneText(sh.zone, q.now())}
	if p.Waiting, err = q.pending(&sh); err != nil {
		return err
	}
	var items []storage.Object
	if sh.inbox.ID != 0 {
		for row, err := range q.s.db.Select(q.ctx, sh.inbox.CollectionKey, storage.ObjectQuery{Columns: storage.ColumnData, Limit: 500}) {
			if err != nil {
				return err
			}
			items = append(items, row)
		}
	}
	slices.SortStableFunc(items, func(a, b storage.Object) int { return cmp.Compare(b.Created, a.Created) })
	for _, row := range items {
		if len(p.News) >= maxNews {
			p.More = true
			break
		}
		if n, ok := q.news(&sh, row); ok {
			p.News = append(p.News, n)
		}
	}
	p.More = p.More || len(p.Waiting) >= maxPending
	return q.render(http.StatusOK, "invitations", "Invitations", p)
}

// news puts an inbox item into words. Requests are left out: they are the
// invitations above, or events in the calendar.
func (q *request) news(sh *shelf, row storage.Object) (newsItem, bool) {
	f, err := q.parse(sh, row)
	if err != nil || len(f.object.Components()) == 0 {
		return newsItem{}, false
	}
	c := f.object.Components()[0]
	n := newsItem{Name: row.Name, Title: summaryOf(c), At: agoText(time.UnixMicro(row.Created), q.now())}
	who := "Somebody"
	detail := oneLine(c.Text("COMMENT"), 300)
	switch f.object.Method() {
	case "REPLY":
		p := c.Prop("ATTENDEE")
		if p == nil {
			return n, false
		}
		who, _ = addressText(p)
		n.Text = who + ": " + answerText(partstatOf(p))
	case "CANCEL":
		if p := c.Prop("ORGANIZER"); p != nil {
			who, _ = addressText(p)
		}
		n.Text = who + " cancelled"
	case "COUNTER":
		if p := c.Prop("ATTENDEE"); p != nil {
			who, _ = addressText(p)
		}
		n.Text, n.Counter = who+" proposes another time or place", true
	case "DECLINECOUNTER":
		if p := c.Prop("ORGANIZER"); p != nil {
			who, _ = addressText(p)
		}
		n.Text = who + " declined your proposal"
	default:
		return n, false
	}
	if oc, err := q.pick(f, ""); err == nil && !oc.start.IsZero() {
		n.Detail = whenText(oc.start, oc.end, oc.allDay, sh.zone)
	}
	if n.Counter {
		if where := oneLine(c.Text("LOCATION"), 200); where != "" {
			n.Detail = strings.TrimPrefix(n.Detail+", "+where, ", ")
		}
	}
	if detail != "" {
		n.Detail = strings.TrimPrefix(n.Detail+" — “"+detail+"”", " — ")
	}
	return n, true
}

// decideNews takes a proposal over (want 17), declines it, or puts an item
// away.
func (q *request) decideNews() error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	if sh.inbox.ID == 0 {
		return errNoPage
	}
	var row storage.Object
	for o, err := range q.s.db.Get(q.ctx, sh.inbox.CollectionKey, []string{q.PathValue("name")}, storage.ColumnData) {
		if err != nil {
			return err
		}
		row = o
	}
	if row.Name == "" || row.Missing() {
		return errNoPage
	}
	done := "dismissed"
	switch q.PostForm.Get("do") {
	case "dismiss":
	case "take":
		if err := q.takeOver(&sh, row); err != nil {
			return err
		}
		done = "countered"
	case "decline":
		if err := q.declineCounter(&sh, row); err != nil {
			return err
		}
		done = "declined"
	default:
		return errBadForm
	}
	err = q.s.sched.Delete(q.ctx, scheduling.Delete{Actor: q.actor(), Key: row.ObjectKey, NoScheduling: true, RequestID: q.requestID()})
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	q.redirect(withDone("/invitations", done))
	return nil
}

var errGone = &problem{http.StatusConflict, "The event is gone", "The event that the proposal is about is not in your calendars any more."}

// takeOver edits the organizer's event as a COUNTER proposes; everybody else
// hears of it as of any other change.
func (q *request) takeOver(sh *shelf, row storage.Object) error {
	counter, err := q.parse(sh, row)
	if err != nil {
		return err
	}
	if counter.object.Method() != "COUNTER" {
		return errBadForm
	}
	current, err := q.byUID(sh, row.UID)
	if err != nil {
		return err
	}
	if current == nil {
		return errGone
	}
	next, err := itip.AcceptCounter(current.object, counter.object)
	if err != nil {
		return err
	}
	_, err = q.s.sched.Put(q.ctx, scheduling.Put{Actor: q.actor(), Key: current.row.ObjectKey, Data: next.Bytes(), IfMatch: []string{current.row.ETag}, RequestID: q.requestID()})
	return err
}

// declineCounter tells who made a proposal that the event stays as it is
// (RFC 5546 §3.2.8).
func (q *request) declineCounter(sh *shelf, row storage.Object) error {
	counter, err := q.parse(sh, row)
	if err != nil {
		return err
	}
	if counter.object.Method() != "COUNTER" {
		return errBadForm
	}
	err = q.s.sched.DeclineCounter(q.ctx, scheduling.CounterAnswer{Actor: q.actor(), Counter: counter.object, RequestID: q.requestID()})
	if errors.Is(err, storage.ErrNotFound) {
		return errGone
	}
	return err
}
