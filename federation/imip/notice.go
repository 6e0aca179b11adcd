package imip

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
)

// notice is what a mail tells people, before it becomes text or HTML.
type notice struct {
	Subject string
	Lead    string // first sentence
	Changes []change
	Facts   []fact
	Text    string // description
	Hint    string // what to do
	Foot    []string
}

// change is one line of what has changed: Note as it is, else from Old to New,
// else only that it changed.
type change struct{ Label, Old, New, Note string }
type fact struct {
	Label  string
	Values []string
}

// Bounds of what is told in a mail; the calendar object has it all.
const (
	maxGuests    = 20
	maxDates     = 20
	maxChanges   = 30
	maxText      = 4000
	maxLineRunes = 300
)

// tell says what the message means to its reader. who is the name of the
// person whose change it is.
func tell(o *calendar.Object, kind itip.Kind, changes []itip.FieldChange, who Mailbox) notice {
	t := newTeller(o)
	comps := o.Components()
	if len(comps) == 0 {
		return notice{Subject: "Calendar message", Lead: "This mail carries a calendar message."}
	}
	c := o.Master()
	if c == nil {
		c = comps[0]
	}
	name := cleanLine(who.Name, 100)
	if name == "" {
		name = who.Email
	}
	noun := "event"
	if c.Name == "VTODO" {
		noun = "task"
	} else if c.Name == "VJOURNAL" {
		noun = "journal entry"
	}
	part := "" // of the series
	switch {
	case c.Prop("RECURRENCE-ID") == nil:
	case len(comps) == 1:
		part = "one date of "
	default:
		part = "several dates of "
	}
	what := part + "the " + noun
	n := notice{}
	title := titleOf(c)
	var head string
	switch kind {
	case itip.KindNew:
		head, n.Lead = "Invitation", fmt.Sprintf("%s invites you to %s.", name, part+article(noun))
		if c.Name == "VTODO" {
			head, n.Lead = "Task", fmt.Sprintf("%s asks you to do a task.", name)
		}
		n.Hint = "To answer, use the buttons your mail or calendar program shows, or open invite.ics."
	case itip.KindChanged:
		head, n.Lead = "Changed", fmt.Sprintf("%s has changed %s.", name, what)
	case itip.KindCancelled:
		head, n.Lead = "Cancelled", fmt.Sprintf("%s has cancelled %s.", name, what)
	case itip.KindRefreshed:
		head, n.Lead = "Answers", fmt.Sprintf("Other guests have answered: this is the present state of %s.", what)
	case itip.KindReply:
		head, n.Lead = replyWords(comps, name, what)
	case itip.KindCounter:
		head, n.Lead = "Proposed", fmt.Sprintf("%s proposes a change of %s. Nothing has changed yet.", name, what)
	case itip.KindDeclined:
		head, n.Lead = "Proposal declined", fmt.Sprintf("%s does not take your proposal. %s stays as it is.", name, capital(what))
	case itip.KindRefresh:
		head, n.Lead = "Request for details", fmt.Sprintf("%s asks for the present state of %s.", name, what)
	default:
		head, n.Lead = "Calendar", fmt.Sprintf("%s sends you %s.", name, what)
	}
	n.Subject = head + ": " + title
	start, hasStart := dateOf(c, "DTSTART")
	if !hasStart {
		start, hasStart = dateOf(c, "RECURRENCE-ID")
	}
	if hasStart {
		n.Subject += ", " + t.short(start)
	}
	if kind == itip.KindChanged {
		n.Changes = t.changes(changes, c)
	}
	n.Facts = t.facts(o, c, kind, title, start)
	if kind == itip.KindNew || kind == itip.KindChanged || kind == itip.KindCounter {
		n.Text = cleanText(c.Text("DESCRIPTION"), maxText)
	}
	return n
}

func article(noun string) string {
	if noun == "event" {
		return "an event"
	}
	return "a " + noun
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func titleOf(c *calendar.Component) string {
	if s := cleanLine(c.Text("SUMMARY"), 150); s != "" {
		return s
	}
	return "(no title)"
}

// replyWords says an answer. The ATTENDEE of a REPLY is the one who answers
// (RFC 5546 §3.2.3).
func replyWords(comps []*calendar.Component, name, what string) (head, lead string) {
	answer := ""
	for i, c := range comps {
		p := c.Prop("ATTENDEE")
		if p == nil {
			continue
		}
		if s := strings.ToUpper(p.Param("PARTSTAT")); i == 0 || s == answer {
			answer = s
		} else {
			return "Answers", fmt.Sprintf("%s has answered %s, and not the same for each.", name, what)
		}
	}
	switch answer {
	case "ACCEPTED":
		return "Accepted", fmt.Sprintf("%s has accepted %s.", name, what)
	case "DECLINED":
		return "Declined", fmt.Sprintf("%s has declined %s.", name, what)
	case "TENTATIVE":
		return "Tentative", fmt.Sprintf("%s may come: the answer to %s is tentative.", name, what)
	case "DELEGATED":
		return "Delegated", fmt.Sprintf("%s has delegated %s to somebody else.", name, what)
	case "COMPLETED":
		return "Completed", fmt.Sprintf("%s has completed %s.", name, what)
	case "IN-PROCESS":
		return "In progress", fmt.Sprintf("%s has begun %s.", name, what)
	}
	return "Answer", fmt.Sprintf("%s has answered %s.", name, what)
}

// facts lists what there is to know about a component.
func (t teller) facts(o *calendar.Object, c *calendar.Component, kind itip.Kind, title string, start calendar.DateTime) []fact {
	var out []fact
	add := func(label string, values ...string) {
		var vs []string
		for _, v := range values {
			if v != "" {
				vs = append(vs, v)
			}
		}
		if len(vs) > 0 {
			out = append(out, fact{label, vs})
		}
	}
	add("Title", title)
	if c.Name == "VTODO" {
		if d, ok := dateOf(c, "DTSTART"); ok {
			add("Start", t.moment(d))
		}
		if d, ok := dateOf(c, "DUE"); ok {
			add("Due", t.moment(d))
		}
	} else if w := t.event(c); w != "" {
		add("When", w)
	} else if d, ok := dateOf(c, "RECURRENCE-ID"); ok {
		add("When", t.moment(d))
	}
	if r := c.Value("RRULE"); r != "" {
		add("Repeats", t.repeats(r, start))
	}
	if kind == itip.KindReply {
		add("Dates", t.answers(o, c)...)
		add("Comment", cleanLine(c.Text("COMMENT"), maxLineRunes))
		return out
	}
	add("Other dates", t.exceptions(o, c)...)
	add("Where", cleanLine(c.Text("LOCATION"), maxLineRunes))
	add("Link", linkOf(c))
	add("Comment", cleanLine(c.Text("COMMENT"), maxLineRunes))
	if kind == itip.KindNew || kind == itip.KindChanged || kind == itip.KindRefreshed {
		if p := c.Prop("ORGANIZER"); p != nil {
			add("Organizer", person(p))
		}
		add("Guests", guests(c)...)
	}
	return out
}

// exceptions lists the overrides beside the component that is told.
func (t teller) exceptions(o *calendar.Object, told *calendar.Component) []string {
	var out []string
	more := 0
	for _, c := range o.Components() {
		id, ok := dateOf(c, "RECURRENCE-ID")
		if c == told || !ok {
			continue
		}
		if len(out) == maxDates {
			more++
			continue
		}
		line := t.short(id) + ": "
		switch when := t.event(c); {
		case strings.EqualFold(c.Value("STATUS"), "CANCELLED"):
			line += "cancelled"
		case when == "":
			line += "changed"
		default:
			line += when
		}
		if s := titleOf(c); s != titleOf(told) {
			line += ", " + s
		}
		if l := c.Text("LOCATION"); l != told.Text("LOCATION") {
			line += ", " + cleanLine(l, 100)
		}
		out = append(out, line)
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// answers lists what a REPLY says about single dates.
func (t teller) answers(o *calendar.Object, told *calendar.Component) []string {
	comps := o.Components()
	if len(comps) < 2 {
		return nil
	}
	var out []string
	more := 0
	for _, c := range comps {
		id, ok := dateOf(c, "RECURRENCE-ID")
		if !ok {
			continue
		}
		if len(out) == maxDates {
			more++
			continue
		}
		answer := ""
		if p := c.Prop("ATTENDEE"); p != nil {
			answer = partstatWord(p)
		}
		out = append(out, t.short(id)+": "+answer)
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// linkOf is the address of the online meeting or of the event's page; other
// schemes than http, https and tel are not shown as links (A37).
func linkOf(c *calendar.Component) string {
	for _, name := range []string{"CONFERENCE", "URL"} {
		if p := c.Prop(name); p != nil && safeLink(p.Value()) {
			return p.Value()
		}
	}
	return ""
}

func safeLink(s string) bool {
	if len(s) > 2000 || cleanLine(s, 3000) != s || strings.ContainsAny(s, " <>\"") {
		return false
	}
	l := strings.ToLower(s)
	return strings.HasPrefix(l, "https://") || strings.HasPrefix(l, "http://") || strings.HasPrefix(l, "tel:")
}

// person is a name with the address behind it.
func person(p *calendar.Property) string {
	email := calendar.Address(p.Value()).Email()
	name := cleanLine(p.Param("CN"), 100)
	switch {
	case email == "":
		return name
	case name == "" || strings.EqualFold(name, email):
		return cleanLine(email, 260)
	}
	return name + " <" + cleanLine(email, 260) + ">"
}

func partstatWord(p *calendar.Property) string {
	switch strings.ToUpper(p.Param("PARTSTAT")) {
	case "ACCEPTED":
		return "accepted"
	case "DECLINED":
		return "declined"
	case "TENTATIVE":
		return "tentative"
	case "DELEGATED":
		return "delegated"
	case "COMPLETED":
		return "completed"
	case "IN-PROCESS":
		return "in progress"
	}
	return "no answer yet"
}

func guests(c *calendar.Component) []string {
	organizer := calendar.Address(c.Value("ORGANIZER")).Key()
	var out []string
	more := 0
	for _, p := range c.All("ATTENDEE") {
		if k := calendar.Address(p.Value()).Key(); k == organizer && k != "" {
			continue
		}
		who := person(p)
		if who == "" {
			continue
		}
		if len(out) == maxGuests {
			more++
			continue
		}
		who += " (" + partstatWord(p)
		if strings.EqualFold(p.Param("ROLE"), "OPT-PARTICIPANT") {
			who += ", optional"
		}
		out = append(out, who+")")
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

var fieldLabels = map[string]string{
	"SUMMARY": "Title", "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "DURATION": "Length", "LOCATION": "Where",
	"DESCRIPTION": "Description", "RRULE": "Repeats", "RDATE": "Additional dates", "EXDATE": "Dates left out",
	"STATUS": "Status", "ATTENDEE": "Guests", "ORGANIZER": "Organizer", "URL": "Link", "CONFERENCE": "Link",
	"CLASS": "Privacy", "PRIORITY": "Priority", "CATEGORIES": "Categories", "ATTACH": "Attachments",
	"RECURRENCE-ID": "Date", "PERCENT-COMPLETE": "Done (percent)", "TRANSP": "Shown as", "COMMENT": "Comment",
}

// changes says what changed, old and new. Fields that mean nothing to people
// are left out.
func (t teller) changes(list []itip.FieldChange, c *calendar.Component) []change {
	var out []change
	start, _ := dateOf(c, "DTSTART")
	for _, f := range list {
		name := strings.ToUpper(f.Field)
		label, ok := fieldLabels[name]
		if !ok {
			continue
		}
		if len(out) == maxChanges {
			break
		}
		if f.Instance != "" {
			if d, ok := readMoment(f.Instance, start.TZID); ok {
				label = t.short(d) + ", " + strings.ToLower(label[:1]) + label[1:]
			}
		}
		ch := change{Label: label}
		switch name {
		case "DESCRIPTION", "ATTACH", "EXDATE", "RDATE", "COMMENT":
			// Long or unreadable: the new state stands below.
		case "ATTENDEE":
			ch.Note = comings(f.Old, f.New)
		default:
			ch.Old, ch.New = t.value(name, f.Old, start), t.value(name, f.New, start)
			if ch.Old == ch.New {
				ch.Old, ch.New = "", ""
			}
		}
		out = append(out, ch)
	}
	return out
}

// value says one field's value.
func (t teller) value(name, v string, start calendar.DateTime) string {
	switch name {
	case "DTSTART", "DTEND", "DUE", "RECURRENCE-ID":
		if d, ok := readMoment(v, start.TZID); ok {
			return t.moment(d)
		}
		if s, ok := lasting(v); ok { // the end of an event that has a DURATION
			return s + " after the start"
		}
	case "DURATION":
		if s, ok := lasting(v); ok {
			return s
		}
	case "RRULE":
		if strings.Contains(strings.ToUpper(v), "FREQ=") {
			return t.repeats(v, start)
		}
	case "TRANSP":
		switch strings.ToUpper(v) {
		case "TRANSPARENT":
			return "free"
		case "OPAQUE", "":
			return "busy"
		}
	case "STATUS", "CLASS":
		return strings.ToLower(cleanLine(v, maxLineRunes))
	}
	return cleanLine(v, maxLineRunes)
}

// comings says who came and who went, of two lists of addresses.
func comings(old, now string) string {
	listed := func(s string) (list []string) {
		for _, a := range strings.Split(s, ", ") {
			if a = cleanLine(a, 260); a != "" {
				list = append(list, a)
			}
		}
		return list
	}
	without := func(list, other []string) []string {
		var out []string
		for _, a := range list {
			if !slices.ContainsFunc(other, func(b string) bool { return strings.EqualFold(a, b) }) {
				out = append(out, a)
			}
		}
		if len(out) > maxGuests {
			out = append(out[:maxGuests], fmt.Sprintf("%d more", len(out)-maxGuests))
		}
		return out
	}
	a, b := listed(old), listed(now)
	var parts []string
	if in := without(b, a); len(in) > 0 {
		parts = append(parts, joinAnd(in)+" added")
	}
	if out := without(a, b); len(out) > 0 {
		parts = append(parts, joinAnd(out)+" removed")
	}
	return strings.Join(parts, ", ")
}
