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
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// heldPage is what held.html shows: mail that nothing vouched for.
type heldPage struct {
	Items   []heldItem
	Blocked []blockedSender
	More    bool
}

// heldItem is one held mail, as the page and programs see it.
type heldItem struct {
	ID      int64     `json:"id,string"`
	From    string    `json:"from"`
	Speaker string    `json:"speaks_for,omitempty"` // who it claims to speak for, when that is another
	Reason  string    `json:"reason"`
	Detail  string    `json:"detail,omitempty"`
	At      string    `json:"-"`
	Came    time.Time `json:"came"`
	What    string    `json:"what"`            // what it wants
	Title   string    `json:"title,omitempty"` // of the event it is about
	When    string    `json:"when,omitempty"`
	Changes []change  `json:"changes,omitempty"` // to the reader's own copy
	Note    string    `json:"note,omitempty"`
	Text    string    `json:"text,omitempty"` // of a mail without a usable calendar part; its links are not made handy
	Usable  bool      `json:"usable"`         // it can be applied
	File    bool      `json:"file"`           // there is a calendar file to save
	Block   bool      `json:"-"`              // there is a sender who can be blocked
}

type change struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

type blockedSender struct {
	Sender string `json:"sender"` // comparison form, for the form
	Name   string `json:"address"`
	Since  string `json:"-"`
}

const maxHeld = 100

// held lists what waits for a decision, and whose mail is not wanted.
func (q *request) held() error {
	p, err := q.heldPage()
	if err != nil {
		return err
	}
	return q.render(http.StatusOK, "held", "Held back", p)
}

func (q *request) heldPage() (p heldPage, err error) {
	sh, err := q.shelf()
	if err != nil {
		return p, err
	}
	rows, err := q.s.db.ListQuarantine(q.ctx, q.user.ID, maxHeld+1)
	if err != nil {
		return p, err
	}
	if p.More = len(rows) > maxHeld; p.More {
		rows = rows[:maxHeld]
	}
	for _, row := range rows {
		it, err := q.heldItem(&sh, row)
		if err != nil {
			return p, err
		}
		p.Items = append(p.Items, it)
	}
	blocked, err := q.s.db.BlockedSenders(q.ctx, q.user.ID)
	for _, b := range blocked {
		p.Blocked = append(p.Blocked, blockedSender{Sender: b.Sender, Name: oneLine(mailText(b.Sender), 200), Since: time.UnixMicro(b.Created).In(sh.zone).Format("2 January 2006")})
	}
	return p, err
}

// reasonWords put the intake's reasons into words.
var reasonWords = map[string]string{
	"unproven": "Nothing proves that the named sender wrote it.",
	"speaker":  "Its sender is proven, but it speaks for somebody else.",
	"token":    "It does not fit the invitation that it answers.",
	"text":     "It answers in words, and only a person understands them.",
	"policy":   "Your settings say that you decide about mail from this sender.",
	"publish":  "It was published and is no invitation to you.",
	"unusable": "Its calendar part cannot be used.",
}

// faultWords say what to do about a part that cannot be used.
var faultWords = []struct{ detail, words string }{
	{"winmail.dat", "It came in a format of Outlook's own (winmail.dat) that other programs cannot read. Ask the sender to answer again as plain text or HTML, or to write the answer in words."},
	{"METHOD and method parameter disagree", "The mail says one thing outside and another inside about what it wants, so it is not applied. You can save the file and look at it."},
	{"calendar parts disagree", "It holds two calendar parts that say different things, and nobody can tell which one you were meant to see. Ask the sender what is right."},
	{"without a METHOD", "It is a plain calendar file, no invitation. You can save it and bring it into your calendar yourself."},
}

// reasonText says why a mail is held, and what the machines said about it.
func reasonText(reason string) (words, detail string) {
	key, detail, _ := strings.Cut(reason, ":")
	detail = oneLine(strings.TrimSpace(detail), 300)
	words = reasonWords[key]
	if words == "" {
		words = oneLine(key, 100)
	}
	if key == "unusable" {
		for _, f := range faultWords {
			if strings.Contains(detail, f.detail) {
				words = f.words
			}
		}
	}
	return words, strings.TrimPrefix(detail, "imip: ")
}

func (q *request) heldItem(sh *shelf, row storage.Quarantined) (heldItem, error) {
	it := heldItem{ID: row.ID, From: oneLine(mailText(row.From), 200), At: agoText(time.UnixMicro(row.Created), q.now()), Came: time.UnixMicro(row.Created).UTC(), File: row.File != "", Block: calendar.Address(row.From).Key() != ""}
	it.Reason, it.Detail = reasonText(row.Reason)
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
	case "PUBLISH":
		it.What = "Publishes an event"
		it.Note = "It would become an event of your own that nobody else knows of; nobody is told."
		if own != nil && own.row.Flags&storage.FlagScheduling != 0 {
			it.Usable, it.Note = false, "You have this event as a meeting with others, and what is published cannot change that."
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
// nobody but the reader, throws it away, or blocks its sender as well. None of
// it tells the sender anything (A32).
func (q *request) decideHeld() error {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	done, err := q.decide(id, q.PostForm.Get("do"))
	if err != nil {
		return err
	}
	q.redirect(withDone("/held", done))
	return nil
}

// decide does it and names the notice that says so.
func (q *request) decide(id int64, what string) (done string, err error) {
	row, err := q.s.db.Quarantined(q.ctx, q.user.ID, id)
	if errors.Is(err, storage.ErrNotFound) {
		return "", &problem{http.StatusNotFound, "This mail is not held any more", "It was applied or thrown away before."}
	}
	if err != nil {
		return "", err
	}
	switch what {
	case "ignore":
		done = "ignored"
	case "apply":
		done = "applied"
		if err := q.applyHeld(q.ctx, row); err != nil {
			return "", err
		}
	case "block":
		key := calendar.Address(row.From).Key()
		if key == "" {
			return "", &problem{http.StatusConflict, "There is nobody to block", "This mail names no sender."}
		}
		if err := q.s.db.BlockSender(q.ctx, q.user.ID, key); err != nil {
			return "", err
		}
		done = "blocked"
	default:
		return "", errBadForm
	}
	if err := q.s.db.DeleteQuarantine(q.ctx, q.user.ID, id); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return "", err
	}
	return done, nil
}

// unblock lets a sender in again.
func (q *request) unblock() error {
	if err := q.s.db.UnblockSender(q.ctx, q.user.ID, q.PostForm.Get("sender")); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	q.redirect(withDone("/held", "unblocked"))
	return nil
}

// heldFile hands out the calendar part of a held mail as a file to be saved:
// it is a stranger's text and no page of ours (A37).
func (q *request) heldFile() error {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	row, err := q.s.db.Quarantined(q.ctx, q.user.ID, id)
	if err != nil {
		return err
	}
	if row.File == "" {
		return errNoPage
	}
	h := q.w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Content-Type", "text/calendar; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="held.ics"`)
	_, _ = q.w.Write([]byte(row.File))
	return nil
}

func (q *request) applyHeld(ctx context.Context, row storage.Quarantined) error {
	msg, ok := q.heldMessage(row)
	if !ok {
		return &problem{http.StatusConflict, "There is nothing to apply", "This mail has no calendar part that could be used."}
	}
	if msg.Method() == "PUBLISH" {
		return q.takePublished(msg)
	}
	speaker := speakerOf(msg)
	if speaker == "" {
		speaker = calendar.Address(row.From)
	}
	results, err := q.s.sched.Receive(ctx, scheduling.Inbound{Via: "mail", Proof: scheduling.Proof{Weak: true, By: "user"}, Originator: speaker,
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

// takePublished makes a published event one of the reader's own: nobody is its
// organizer here, and nobody is told.
func (q *request) takePublished(msg *calendar.Object) error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	o := itip.Defuse(msg) // A55
	o.Remove("METHOD")
	for _, c := range o.Components() {
		for _, name := range []string{"ORGANIZER", "ATTENDEE", "REQUEST-STATUS"} {
			c.Remove(name)
		}
	}
	main, ok := sh.byName(sh.main)
	if !ok {
		return &problem{http.StatusConflict, "You have no calendar for it", "Choose a calendar for new events in your settings."}
	}
	put := scheduling.Put{Actor: q.actor(), Key: storage.ObjectKey{CollectionKey: main.CollectionKey, Name: q.s.sched.NewName()}, NoScheduling: true, RequestID: q.requestID()}
	own, err := q.byUID(&sh, msg.UID())
	if err != nil {
		return err
	}
	if own != nil {
		if own.row.Flags&storage.FlagScheduling != 0 {
			return &problem{http.StatusConflict, "This is a meeting with others", "What is published cannot change a meeting that you have with other people. It is still held back."}
		}
		put.Key, put.IfMatch = own.row.ObjectKey, []string{own.row.ETag}
	}
	put.Data = o.Bytes()
	_, err = q.s.sched.Put(q.ctx, put)
	return err
}
