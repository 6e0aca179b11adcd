package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// rsvpPrefix begins the addresses of links in mails; what follows is a secret
// and stands in no log (A36, A53).
const rsvpPrefix = "/rsvp/"

// rsvpPage is what rsvp.html shows to somebody who has a link from a mail and
// no account.
type rsvpPage struct {
	Path             string
	Summary          string
	When, Zone       string
	Repeats          string
	Dates            []string // when he is invited to some dates only
	Where            []span
	Link             string
	Description      []span
	Organizer, Write string // name, and address to write to
	You              string
	Status           string // cancelled, …; "" when it takes place
	Open             bool   // it can be answered
	Answered         bool   // just now
	Chosen           string // button that the link in the mail stands for
	Partstat, Mine   string // present answer; Mine in words, "" when there is none
	Problem          string // why it cannot be answered
	More             string // what to do then
}

var errNoLink = &problem{http.StatusNotFound, "This link does not work",
	"Perhaps it is not complete: some mail programs cut long links. Or it has ended, as links do when the event is long over. Nothing was changed. You can always answer by writing to the person who invited you."}

// rsvp shows what a link in a mail is about. It changes nothing: programs that
// look at mails follow links (A36).
func (q *request) rsvp() error {
	q.rsvpHeaders()
	v, err := q.s.sched.ShowLink(q.ctx, q.PathValue("token"))
	if errors.Is(err, scheduling.ErrNoLink) {
		return errNoLink
	}
	if err != nil {
		return err
	}
	p := q.rsvpPage(v)
	p.Answered = p.Open && p.Mine != "" && q.URL.Query().Get("done") == "rsvp"
	if a := answers[q.URL.Query().Get("a")]; a != "" {
		p.Chosen = a
	}
	return q.render(http.StatusOK, "rsvp", p.Summary, p)
}

// answerRSVP gives the answer. A link answers once; the page that follows has
// one of its own to change it.
func (q *request) answerRSVP() error {
	q.rsvpHeaders()
	answer, ok := answers[q.PostForm.Get("answer")]
	if !ok {
		return errBadForm
	}
	v, next, err := q.s.sched.AnswerLink(q.ctx, q.PathValue("token"), answer, oneLine(q.PostForm.Get("note"), 500), q.requestID())
	if errors.Is(err, scheduling.ErrNoLink) {
		return errNoLink
	}
	if err != nil {
		return err
	}
	if next == "" {
		p := q.rsvpPage(v)
		return q.render(http.StatusConflict, "rsvp", p.Summary, p)
	}
	q.redirect(rsvpPrefix + next + "?done=rsvp")
	return nil
}

// rsvpHeaders keeps the address of the page from other sites and from search
// engines.
func (q *request) rsvpHeaders() {
	q.w.Header().Set("Referrer-Policy", "no-referrer")
	q.w.Header().Set("X-Robots-Tag", "noindex, nofollow, noarchive")
}

func (q *request) rsvpPage(v scheduling.LinkView) *rsvpPage {
	p := &rsvpPage{Path: rsvpPrefix + url.PathEscape(q.PathValue("token")), Summary: "Your invitation", You: oneLine(mailText(string(v.Attendee)), 200),
		Organizer: oneLine(mailText(string(v.Organizer)), 200), Write: safeLink("mailto:" + v.Organizer.Email())}
	if v.Partstat != "" && v.Partstat != "NEEDS-ACTION" {
		p.Partstat, p.Mine = v.Partstat, answerText(v.Partstat)
	}
	var c *calendar.Component
	if v.Object != nil {
		c = q.rsvpEvent(p, v)
	}
	switch v.State {
	case scheduling.LinkOpen:
		p.Open = true
	case scheduling.LinkUsed:
		p.Problem = "This link has been used " + agoText(v.Used, q.now()) + ", and a link answers once."
		p.More = "To change your answer, write to " + p.Organizer + "."
	case scheduling.LinkStale:
		p.Problem = "The event was changed after this link was sent to you."
		p.More = "This is how things stand now. You get a newer mail about it; the links in that one work."
	case scheduling.LinkCancelled:
		p.Status, p.Problem = "cancelled", "This does not take place: it was cancelled."
		p.More = "You need not answer."
	case scheduling.LinkOver:
		p.Problem, p.More = "This is over.", "It cannot be answered any more."
	default:
		p.Problem = "You are not on the list of guests any more, or the event was deleted."
		p.More = "You need not answer. If you did not expect that, write to " + p.Organizer + "."
		if c == nil {
			p.Summary = "Your invitation"
		}
	}
	return p
}

// rsvpEvent fills in the event, in its own zone: where the reader is, nobody
// knows.
func (q *request) rsvpEvent(p *rsvpPage, v scheduling.LinkView) *calendar.Component {
	zone := eventZone(v.Object)
	f := &found{object: v.Object, zones: calendar.NewZones(v.Object, zone)}
	c := v.Object.Master()
	if c == nil {
		c = v.Object.Components()[0]
	}
	for _, k := range v.Object.Components() {
		if len(v.Instances) > 0 && k.Value("RECURRENCE-ID") == v.Instances[0] {
			c = k
		}
	}
	p.Summary = summaryOf(c)
	if len(v.Instances) > 0 {
		for _, id := range v.Instances {
			if oc, err := q.pick(f, id); err == nil && !oc.start.IsZero() {
				p.Dates = append(p.Dates, whenText(oc.start, oc.end, oc.allDay, zone))
				p.Zone = zoneOfEvent(zone, oc)
			}
		}
		if len(p.Dates) == 1 {
			p.When, p.Dates = p.Dates[0], nil
		}
	} else if oc, err := q.pick(f, ""); err == nil && !oc.start.IsZero() {
		p.When, p.Zone = whenText(oc.start, oc.end, oc.allDay, zone), zoneOfEvent(zone, oc)
		if m := v.Object.Master(); m != nil && m.Prop("RRULE") != nil {
			p.Repeats = ruleText(m.Value("RRULE"), zone)
		}
	}
	p.Where = linked(oneLine(c.Text("LOCATION"), 1000))
	p.Description = linked(lines(c.Text("DESCRIPTION"), 20000))
	for _, name := range []string{"URL", "CONFERENCE"} {
		if p.Link == "" && c.Prop(name) != nil {
			p.Link = safeLink(c.Value(name))
		}
	}
	if org := c.Prop("ORGANIZER"); org != nil {
		p.Organizer, _ = addressText(org)
	}
	if strings.EqualFold(c.Value("STATUS"), "TENTATIVE") {
		p.Status = "not certain yet"
	}
	return c
}

func zoneOfEvent(zone *time.Location, oc occurrence) string {
	if oc.allDay {
		return ""
	}
	return zoneText(zone, oc.start)
}

// eventZone is the zone in which an event was written, UTC when it has none.
func eventZone(o *calendar.Object) *time.Location {
	zones := calendar.NewZones(o, time.UTC)
	for _, c := range o.Components() {
		for _, name := range []string{"DTSTART", "DUE", "RECURRENCE-ID"} {
			p := c.Prop(name)
			if p == nil || p.Param("TZID") == "" {
				continue
			}
			if loc, err := zones.Location(p.Param("TZID")); err == nil {
				return loc
			}
		}
	}
	return time.UTC
}

// loggedPath is a path as it may stand in a log.
func loggedPath(path string) string {
	if strings.HasPrefix(path, rsvpPrefix) {
		return rsvpPrefix + "…"
	}
	return path
}
