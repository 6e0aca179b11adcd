package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// heldPage is what held.html shows: mail that nothing vouched for.
type heldPage struct {
	Items []heldItem
	More  bool
}

type heldItem struct {
	ID                    int64
	From, Speaker, Reason string // Speaker: who it claims to speak for, when that is another
	At                    string
	What                  string   // what it wants
	Title, When           string   // of the event it is about
	Changes               []change // to the reader's own copy
	Note                  string
	Text                  string // of a mail without a usable calendar part; its links are not made handy
	Usable                bool   // it can be applied
}

type change struct {
	Field, Old, New string
}

const maxHeld = 100

// held lists what waits for a decision.
func (q *request) held() error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	rows, err := q.s.db.ListQuarantine(q.ctx, q.user.ID, maxHeld+1)
	if err != nil {
		return err
	}
	var p heldPage
	if p.More = len(rows) > maxHeld; p.More {
		rows = rows[:maxHeld]
	}
	for _, row := range rows {
		it, err := q.heldItem(&sh, row)
		if err != nil {
			return err
		}
		p.Items = append(p.Items, it)
	}
	return q.render(http.StatusOK, "held", "Held back", p)
}

// reasonWords put the intake's reasons into words; others are shown as they
// are.
func reasonText(reason string) string {
	key, detail, _ := strings.Cut(reason, ":")
	return strings.TrimSuffix(oneLine(strings.ReplaceAll(key, "-", " ")+": "+strings.TrimSpace(detail), 300), ":")
}

func (q *request) heldItem(sh *shelf, row storage.Quarantined) (heldItem, error) {
	it := heldItem{ID: row.ID, From: oneLine(mailText(row.From), 200), Reason: reasonText(row.Reason), At: agoText(time.UnixMicro(row.Created), q.now())}
	msg, ok := q.heldMessage(row)
	if !ok {
		it.What = "A mail without a usable calendar part"
		it.Text = lines(row.Body, 2000)
		return it, nil
	}
	speaker := speakerOf(msg)
	if speaker != "" && !speaker.Equal(calendar.Address(row.From)) {
		it.Speaker = oneLine(mailText(string(speaker)), 200)
	}
	c := msg.Components()[0]
	f := &found{object: msg, zones: calendar.NewZones(msg, sh.zone)}
	it.Title = summaryOf(c)
	if oc, err := q.pick(f, ""); err == nil && !oc.start.IsZero() {
		it.When = whenText(oc.start, oc.end, oc.allDay, sh.zone)
	}
	own, err := q.byUID(sh, msg.UID())
	var broken *calendar.Error
	if err != nil && !errors.As(err, &broken) {
		return it, err
	}
	it.Usable = true
	part := ""
	if c.Prop("RECURRENCE-ID") != nil {
		part = " (only some occurrences of a series)"
	}
	switch msg.Method() {
	case "REQUEST", "ADD":
		it.What = "Wants to invite you" + part
		if own != nil {
			it.What = "Wants to change an event in your calendar" + part
			it.Changes = q.compare(sh, own, f, c)
		} else {
			it.Note = "It would become a new event in your calendar, waiting for your answer."
		}
	case "CANCEL":
		it.What = "Wants to cancel an event" + part
		if own == nil {
			it.Usable, it.Note = false, "You have no such event: there is nothing to cancel."
		} else {
			it.Note = "The event would be marked as cancelled."
		}
	case "REPLY":
		it.What = "Brings an answer to your invitation"
		for _, a := range c.All("ATTENDEE") {
			name, _ := addressText(a)
			it.Note = name + " would be recorded as: " + answerText(partstatOf(a)) + "."
		}
		if own == nil {
			it.Usable, it.Note = false, "You have no such event: there is nothing to record."
		}
	case "COUNTER":
		it.What = "Proposes another time or place for your event"
		if own == nil {
			it.Usable, it.Note = false, "You have no such event."
		} else {
			it.Note = "The proposal would be shown among your invitations, for you to decide."
			it.Changes = q.compare(sh, own, f, c)
		}
	case "REFRESH":
		it.What = "Asks for the present state of your event"
	default:
		it.What = "A message of the kind " + oneLine(msg.Method(), 40)
	}
	return it, nil
}

// compare lists what a message would change in the own copy, for people.
func (q *request) compare(sh *shelf, own, msg *found, c *calendar.Component) []change {
	mine := own.object.Master()
	instance := ""
	if p := c.Prop("RECURRENCE-ID"); p != nil {
		if d, err := calendar.ParseDateTime(p); err == nil {
			instance = d.Value()
		}
	}
	was, err := q.pick(own, instance)
	if err != nil {
		if was, err = q.pick(own, ""); err != nil {
			return nil
		}
	}
	if was.comp != nil {
		mine = was.comp
	}
	if mine == nil {
		return nil
	}
	var out []change
	add := func(field, old, new string) {
		if old != new {
			out = append(out, change{field, old, new})
		}
	}
	add("Title", summaryOf(mine), summaryOf(c))
	if is, err := q.pick(msg, instance); err == nil && !is.start.IsZero() && !was.start.IsZero() {
		add("When", whenText(was.start, was.end, was.allDay, sh.zone), whenText(is.start, is.end, is.allDay, sh.zone))
	}
	add("Where", oneLine(mine.Text("LOCATION"), 200), oneLine(c.Text("LOCATION"), 200))
	add("Repeats", mine.Value("RRULE"), c.Value("RRULE"))
	if lines(mine.Text("DESCRIPTION"), 20000) != lines(c.Text("DESCRIPTION"), 20000) {
		out = append(out, change{Field: "Description", New: "another text"})
	}
	return out
}

// heldMessage is the calendar message of a held mail; false when it has none
// that could be applied.
func (q *request) heldMessage(row storage.Quarantined) (*calendar.Object, bool) {
	if !strings.Contains(strings.ToUpper(row.Body[:min(len(row.Body), 64)]), "BEGIN:VCALENDAR") {
		return nil, false
	}
	o, err := calendar.Parse([]byte(row.Body), q.s.cfg.Limits)
	if err != nil || calendar.ValidateMessage(o) != nil || len(o.Components()) == 0 {
		return nil, false
	}
	return o, true
}

// speakerOf is whom a message speaks for: the attendee of an answer, the
// organizer of everything else (RFC 5546 §3).
func speakerOf(msg *calendar.Object) calendar.Address {
	name := "ORGANIZER"
	switch msg.Method() {
	case "REPLY", "COUNTER", "REFRESH":
		name = "ATTENDEE"
	}
	for _, c := range msg.Components() {
		if p := c.Prop(name); p != nil {
			return calendar.Address(p.Value())
		}
	}
	return ""
}

// meantFor is the reader's address that a message is about.
func (q *request) meantFor(msg *calendar.Object) calendar.Address {
	named := calendar.NewAddressSet()
	for _, c := range msg.Components() {
		for _, name := range []string{"ATTENDEE", "ORGANIZER"} {
			for _, p := range c.All(name) {
				named.Add(calendar.Address(p.Value()))
			}
		}
	}
	return q.selfAddress(named)
}

func mailText(address string) string {
	if e := calendar.Address(address).Email(); e != "" {
		return e
	}
	return address
}

// decideHeld applies a held message to the reader's own copy, vouched for by
// nobody but the reader, or throws it away. Ignoring tells the sender nothing
// (A32).
func (q *request) decideHeld() error {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	rows, err := q.s.db.ListQuarantine(q.ctx, q.user.ID, 10000)
	if err != nil {
		return err
	}
	var row *storage.Quarantined
	for i := range rows {
		if rows[i].ID == id {
			row = &rows[i]
		}
	}
	if row == nil {
		return &problem{http.StatusNotFound, "This mail is not held any more", "It was applied or thrown away before."}
	}
	done := "ignored"
	switch q.PostForm.Get("do") {
	case "ignore":
	case "apply":
		if err := q.applyHeld(q.ctx, *row); err != nil {
			return err
		}
		done = "applied"
	default:
		return errBadForm
	}
	if err := q.s.db.DeleteQuarantine(q.ctx, q.user.ID, id); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	q.redirect(withDone("/held", done))
	return nil
}

func (q *request) applyHeld(ctx context.Context, row storage.Quarantined) error {
	msg, ok := q.heldMessage(row)
	if !ok {
		return &problem{http.StatusConflict, "There is nothing to apply", "This mail has no calendar part that could be used."}
	}
	speaker := speakerOf(msg)
	if speaker == "" {
		speaker = calendar.Address(row.From)
	}
	results, err := q.s.sched.Receive(ctx, scheduling.Inbound{Via: "mail", Proof: scheduling.Proof{Weak: true}, Originator: speaker,
		Recipients: []calendar.Address{q.meantFor(msg)}, Message: msg, RequestID: q.requestID()})
	if err != nil {
		return err
	}
	for _, r := range results {
		if code, means := statusText(r.Status); !strings.HasPrefix(code, "1") && !strings.HasPrefix(code, "2") {
			return &problem{http.StatusConflict, "The message could not be applied", "The answer was " + code + ": " + means + ". It is still held back."}
		}
	}
	return nil
}
