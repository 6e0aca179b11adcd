package calendar

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rules are what a calendar collection asks of its objects beyond RFC 4791
// §4.1. A zero field asks nothing.
type Rules struct {
	Components   []string  // accepted component names, upper case (RFC 4791 §5.2.3); nil: any
	MaxSize      int       // octets (RFC 4791 §5.2.5)
	MaxInstances int       // overrides, RDATEs and COUNT together (RFC 4791 §5.2.8); rules without end are not counted
	MaxAttendees int       // ATTENDEEs of one component (RFC 4791 §5.2.9)
	MinDate      time.Time // no start, end or recurrence id lies before (RFC 4791 §5.2.6)
	MaxDate      time.Time // nor after this (RFC 4791 §5.2.7)
}

// maxUID keeps UIDs within what database keys can hold; RFC 7986 §5.3 asks
// for at most 255 octets.
const maxUID = 1024

// maxZones bounds the time zones one object may name.
const maxZones = 100

// Validate checks that o can be stored as a calendar object resource (RFC 4791
// §4.1, §5.3.2.1). The error is an *Error that names the component, the
// property and the line, with the precondition that is broken.
//
// It refuses what would make instances, scheduling or other clients go wrong.
// What real programs write and nothing depends on is accepted: no PRODID or
// DTSTAMP, no VTIMEZONE for a zone that is known by its name, a CREATED or
// LAST-MODIFIED nobody can read, unknown STATUS values, unknown escapes in
// texts, an override that matches no instance of a recurring master, a DUE
// before DTSTART or in another form. In messages of others a DTEND may have
// another form (DATE, local time) than DTSTART as well; the two are compared
// only when they have the same form.
func Validate(o *Object, r Rules) error {
	v := validator{o: o, rules: r, structure: CodeInvalidObject}
	if err := v.size(); err != nil {
		return err
	}
	if err := v.calendar(); err != nil {
		return err
	}
	if p := o.Prop("METHOD"); p != nil { // RFC 4791 §4.1
		return fail(CodeInvalidObject, int(p.line), "a stored calendar object has no METHOD")
	}
	return v.components()
}

// methods are the iTIP methods (RFC 5546 §1.4).
var methods = []string{"PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"}

// ValidateMessage checks that o is one iTIP message (RFC 5546 §3): a METHOD
// that is known, one component type, one UID, one ORGANIZER. A message that
// mixes things is refused as a whole (abuse case A11). Alarms are not looked
// at, and components of a REPLY may lack the ORGANIZER, as Exchange's do.
// Errors have CodeInvalidData.
func ValidateMessage(o *Object) error { return ValidateMessageWithin(o, Rules{}) }

// ValidateMessageWithin is ValidateMessage, and holds the message to the limits
// of the calendars that it is for; errors of these have the codes of Validate.
// Which of them takes its kind of component is not asked.
func ValidateMessageWithin(o *Object, r Rules) error {
	r.Components = nil
	v := validator{o: o, rules: r, message: true, structure: CodeInvalidData}
	if err := v.size(); err != nil {
		return err
	}
	if err := v.calendar(); err != nil {
		return err
	}
	all := o.All("METHOD")
	if len(all) == 0 {
		return fail(CodeInvalidData, 0, "a scheduling message needs a METHOD")
	}
	if len(all) > 1 {
		return fail(CodeInvalidData, int(all[1].line), "METHOD stands twice")
	}
	v.method = o.Method()
	if !slices.Contains(methods, v.method) {
		return fail(CodeInvalidData, int(all[0].line), "METHOD %q is unknown", excerpt(v.method))
	}
	return v.components()
}

// Exceeds is the limit of r that o is beyond, nil when there is none. What else
// Validate asks of an object is not looked at.
func Exceeds(o *Object, r Rules) error {
	r.Components = nil
	v := validator{o: o, rules: r, message: true, structure: CodeInvalidData}
	err := v.size()
	if err == nil {
		err = v.components()
	}
	switch CodeOf(err) {
	case CodeMaxSize, CodeMinDate, CodeMaxDate, CodeMaxInstances, CodeMaxAttendees:
		return err
	}
	return nil
}

type validator struct {
	o         *Object
	rules     Rules
	message   bool
	method    string
	structure Code // for components that do not fit together
	zones     *Zones
	zoneIDs   []string // of times, found to be known
	instances int      // counted for MaxInstances
}

// size tests the octets of the whole.
func (v *validator) size() error {
	m := v.rules.MaxSize
	if m <= 0 || v.o.textSize() <= m {
		return nil
	}
	if n := len(v.o.Bytes()); n > m {
		return fail(CodeMaxSize, 0, "the calendar object has %d bytes, at most %d are accepted", n, m)
	}
	return nil
}

// calendar checks the VCALENDAR's own properties (RFC 5545 §3.7).
func (v *validator) calendar() error {
	version := v.o.Prop("VERSION")
	if version == nil {
		return fail(CodeInvalidData, int(v.o.line), "VCALENDAR: VERSION is missing")
	}
	if strings.TrimSpace(version.value) != "2.0" {
		return fail(CodeInvalidData, int(version.line), "VCALENDAR: VERSION is %q, only 2.0 is accepted", excerpt(version.value))
	}
	if p := v.o.Prop("CALSCALE"); p != nil && !strings.EqualFold(strings.TrimSpace(p.value), "GREGORIAN") {
		return fail(CodeInvalidData, int(p.line), "VCALENDAR: CALSCALE is %q, only GREGORIAN is accepted", excerpt(p.value))
	}
	return v.characters(v.o.Component)
}

// components checks every component and how they belong together.
func (v *validator) components() error {
	var (
		first     *Component
		master    *Component
		uid       string
		organizer string
		key       string
		overrides int
	)
	for _, c := range v.o.Children {
		if c.Name == "VTIMEZONE" {
			if c.Value("TZID") == "" { // RFC 5545 §3.6.5
				return fail(CodeInvalidData, int(c.line), "VTIMEZONE: TZID is missing")
			}
			continue
		}
		if first == nil {
			first = c
			if r := v.rules.Components; r != nil && !slices.Contains(r, c.Name) {
				return fail(CodeUnsupportedComponent, int(c.line), "this calendar takes no %s, only %s", excerpt(c.Name), strings.Join(r, ", "))
			}
		} else if c.Name != first.Name { // RFC 4791 §4.1
			return fail(v.structure, int(c.line), "%s and %s in one calendar object", excerpt(first.Name), excerpt(c.Name))
		}
		if err := v.component(c); err != nil {
			return err
		}
		u := c.Text("UID")
		if c == first {
			uid = u
		} else if u != uid { // RFC 4791 §4.1
			return fail(v.structure, int(c.Prop("UID").line), "%s: UID %q is another than that of the first component", c.Name, excerpt(u))
		}
		if c.Prop("RECURRENCE-ID") != nil {
			overrides++
		} else if master != nil {
			return fail(v.structure, int(c.line), "two components without RECURRENCE-ID have the UID %q", excerpt(uid))
		} else {
			master = c
		}
		if p := c.Prop("ORGANIZER"); p != nil {
			k := Address(p.value).Key()
			if k == "" {
				k = p.value
			}
			if organizer == "" {
				organizer, key = p.value, k
			} else if k != key {
				code := CodeSameOrganizer // RFC 6638 §3.2.4.2
				if v.message {
					code = CodeInvalidData
				}
				return fail(code, int(p.line), "%s: ORGANIZER is %s here and %s in another component", c.Name, excerpt(p.value), excerpt(organizer))
			}
		}
	}
	if first == nil {
		return fail(v.structure, int(v.o.line), "the VCALENDAR has no component but time zones")
	}
	if v.message && organizer == "" && v.method != "REPLY" && v.method != "PUBLISH" {
		return fail(CodeInvalidData, int(first.line), "%s: a %s needs an ORGANIZER", first.Name, v.method) // RFC 5546 §3.2
	}
	if n := v.instances + overrides; v.rules.MaxInstances > 0 && n > v.rules.MaxInstances {
		return fail(CodeMaxInstances, int(first.line), "%s: %d instances, at most %d are accepted", first.Name, n, v.rules.MaxInstances)
	}
	if overrides > 0 {
		return v.recurrenceIDs(master)
	}
	return nil
}

// recurrenceKey makes recurrence ids comparable: an instant where there is
// one, else the local time.
type recurrenceKey struct {
	local  bool
	at     int64
	onward bool // RANGE=THISANDFUTURE: its first instance may have an override of its own
}

// form, of the DTSTART of the series, is nil where there is none.
func (v *validator) recurrenceKey(p *Property, form *DateTime) (recurrenceKey, error) {
	d, err := ParseDateTime(p)
	if err != nil {
		return recurrenceKey{}, err
	}
	if form != nil {
		d = d.InForm(*form)
	}
	if d.Kind == Date || d.Kind == Floating {
		return recurrenceKey{local: true, at: d.Wall.Unix()}, nil
	}
	t, err := v.zones.Instant(d)
	return recurrenceKey{at: t.Unix()}, err
}

// recurrenceIDs checks that no instance is described twice and that there is
// something to override.
func (v *validator) recurrenceIDs(master *Component) error {
	single := false
	var start recurrenceKey
	var form *DateTime
	if master != nil {
		if p := master.Prop("DTSTART"); p != nil {
			d, err := ParseDateTime(p)
			if err == nil {
				form = &d
				start, err = v.recurrenceKey(p, nil)
			}
			if err != nil {
				return at(err, master, p)
			}
			single = !v.message && master.Prop("RRULE") == nil && master.Prop("RDATE") == nil
		}
	}
	seen := make(map[recurrenceKey]struct{}, 8)
	for _, c := range v.o.Children {
		p := c.Prop("RECURRENCE-ID")
		if c.Name == "VTIMEZONE" || p == nil {
			continue
		}
		k, err := v.recurrenceKey(p, form)
		if err != nil {
			return at(err, c, p)
		}
		k.onward = thisAndFuture(c)
		if _, ok := seen[k]; ok {
			return fail(v.structure, int(p.line), "%s: two components have the RECURRENCE-ID %s", c.Name, excerpt(p.value))
		}
		seen[k] = struct{}{}
		if k.onward = false; single && k != start {
			return fail(v.structure, int(p.line), "%s: RECURRENCE-ID %s overrides an instance, but the master does not recur", c.Name, excerpt(p.value))
		}
	}
	return nil
}

// single are the properties whose repetition would leave open what counts
// (RFC 5545 §3.6.1 to §3.6.4).
var single = []string{
	"UID", "DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID", "ORGANIZER", "DTSTAMP", "SEQUENCE",
	"STATUS", "TRANSP", "CLASS", "COMPLETED",
}

// component checks one VEVENT, VTODO, VJOURNAL, VFREEBUSY… by itself.
func (v *validator) component(c *Component) error {
	var seen uint32
	var uid, start, end, due, length *Property
	attendees := 0
	for _, p := range c.Props {
		if i := slices.Index(single, p.name); i >= 0 {
			if seen&(1<<i) != 0 {
				return fail(CodeInvalidData, int(p.line), "%s: %s stands twice", c.Name, p.name)
			}
			seen |= 1 << i
		}
		switch p.name {
		case "UID":
			uid = p
		case "DTSTART":
			start = p
		case "DTEND":
			end = p
		case "DUE":
			due = p
		case "DURATION":
			length = p
		case "ATTENDEE":
			attendees++
		case "SEQUENCE":
			if _, err := strconv.ParseUint(strings.TrimSpace(p.value), 10, 31); err != nil {
				return fail(CodeInvalidData, int(p.line), "%s: SEQUENCE is %q, not a number", c.Name, excerpt(p.value))
			}
		case "RRULE":
			rule, err := ParseRule(p.value)
			if err != nil {
				return at(err, c, p)
			}
			v.instances += rule.Count
		case "RECURRENCE-ID", "DTSTAMP", "COMPLETED":
			if err := v.dates(c, p); err != nil {
				return err
			}
		case "RDATE", "EXDATE":
			if err := v.dates(c, p); err != nil {
				return err
			}
		case "FREEBUSY":
			if _, err := ParsePeriods(p); err != nil {
				return at(err, c, p)
			}
		}
	}
	if err := v.uid(c, uid); err != nil {
		return err
	}
	if start == nil && c.Name == "VEVENT" && v.needsStart() {
		return fail(CodeInvalidData, int(c.line), "VEVENT: DTSTART is missing") // RFC 5545 §3.6.1
	}
	for _, p := range []*Property{start, end, due} {
		if p != nil {
			if err := v.dates(c, p); err != nil {
				return err
			}
		}
	}
	if err := v.span(c, start, end, due, length); err != nil {
		return err
	}
	if m := v.rules.MaxAttendees; m > 0 && attendees > m {
		return fail(CodeMaxAttendees, int(c.line), "%s: %d attendees, at most %d are accepted", c.Name, attendees, m)
	}
	if v.message {
		return nil
	}
	if c.Name == "VAVAILABILITY" {
		return v.availability(c)
	}
	for _, k := range c.Children {
		if k.Name == "VALARM" {
			if err := v.alarm(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// needsStart: RFC 5546 §3.2 lets the other methods go without DTSTART.
func (v *validator) needsStart() bool {
	return !v.message || v.method == "REQUEST" || v.method == "PUBLISH" || v.method == "ADD"
}

func (v *validator) uid(c *Component, p *Property) error {
	if p == nil || p.value == "" {
		return fail(v.structure, int(c.line), "%s: UID is missing", excerpt(c.Name)) // RFC 4791 §4.1
	}
	uid := p.Text()
	if len(uid) > maxUID {
		return fail(CodeInvalidData, int(p.line), "%s: UID has %d octets, at most %d are accepted", c.Name, len(uid), maxUID)
	}
	if strings.ContainsFunc(uid, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.TrimSpace(uid) == "" {
		return fail(CodeInvalidData, int(p.line), "%s: UID %q is blank or has control characters", c.Name, excerpt(uid)) // A10
	}
	return nil
}

// dates checks every value of a date property: readable, in a known zone,
// within the limits.
func (v *validator) dates(c *Component, p *Property) error {
	var values []DateTime
	switch p.name {
	case "RDATE":
		periods, err := ParsePeriods(p)
		if err != nil {
			return at(err, c, p)
		}
		v.instances += len(periods)
		values = make([]DateTime, 0, 2*len(periods))
		for _, q := range periods {
			values = append(values, q.Start)
			if !q.End.IsZero() {
				values = append(values, q.End)
			}
		}
	case "EXDATE":
		var err error
		if values, err = ParseDateTimes(p); err != nil {
			return at(err, c, p)
		}
	default:
		d, err := ParseDateTime(p)
		if err != nil {
			return at(err, c, p)
		}
		var one [1]DateTime
		one[0] = d
		values = one[:]
	}
	for _, d := range values {
		if err := v.zone(c, p, d); err != nil {
			return err
		}
		if p.name == "DTSTAMP" || p.name == "COMPLETED" || p.name == "EXDATE" {
			continue
		}
		if m := v.rules.MinDate; !m.IsZero() && d.Wall.Before(m) {
			return fail(CodeMinDate, int(p.line), "%s: %s %s lies before %s", c.Name, p.name, d.Value(), m.UTC().Format(time.DateOnly))
		}
		if m := v.rules.MaxDate; !m.IsZero() && d.Wall.After(m) {
			return fail(CodeMaxDate, int(p.line), "%s: %s %s lies after %s", c.Name, p.name, d.Value(), m.UTC().Format(time.DateOnly))
		}
	}
	return nil
}

// zone checks that a zoned value can be resolved: by name or by a VTIMEZONE
// of the object (RFC 5545 §3.2.19, RFC 7809 §3.1).
func (v *validator) zone(c *Component, p *Property, d DateTime) error {
	if v.zones == nil {
		v.zones = NewZones(v.o, nil)
	}
	if d.Kind != Zoned || slices.Contains(v.zoneIDs, d.TZID) {
		return nil
	}
	if len(v.zoneIDs) == maxZones {
		return fail(CodeInvalidData, int(p.line), "%s: more than %d time zones", c.Name, maxZones)
	}
	if _, err := v.zones.Location(d.TZID); err != nil {
		e := at(err, c, p)
		e.Code = CodeInvalidTimezone
		return e
	}
	v.zoneIDs = append(v.zoneIDs, d.TZID)
	return nil
}

// span checks the end of a component against its start.
func (v *validator) span(c *Component, start, end, due, length *Property) error {
	last := end
	if last == nil {
		last = due
	}
	if last != nil && length != nil { // RFC 5545 §3.6.1, §3.6.2
		return fail(CodeInvalidData, int(length.line), "%s: both %s and DURATION", c.Name, last.name)
	}
	if length != nil {
		d, err := ParseDuration(length.value)
		if err != nil {
			return at(err, c, length)
		}
		if d.Sign() < 0 { // RFC 5545 §3.8.2.5
			return fail(CodeInvalidData, int(length.line), "%s: DURATION is negative", c.Name)
		}
	}
	if start == nil || last == nil {
		return nil
	}
	s, err := ParseDateTime(start)
	if err != nil {
		return at(err, c, start)
	}
	e, err := ParseDateTime(last)
	if err != nil {
		return at(err, c, last)
	}
	// RFC 5545 §3.8.2.2: DTEND is a DATE when DTSTART is, and local without a
	// zone when DTSTART is; nobody knows else how long the event lasts.
	if last == end && !v.message && (s.Kind == Date) != (e.Kind == Date) {
		return fail(CodeInvalidData, int(end.line), "%s: one of DTSTART and DTEND is a DATE, the other a time", c.Name)
	}
	if last == end && !v.message && (s.Kind == Floating) != (e.Kind == Floating) {
		return fail(CodeInvalidData, int(end.line), "%s: one of DTSTART and DTEND has a time zone, the other has none", c.Name)
	}
	// RFC 5545 §3.8.2.2. An end equal to the start is common and harmless; a
	// DUE before DTSTART is what task programs leave when a task is put off.
	if last != due && s.Kind == e.Kind && s.TZID == e.TZID && e.Wall.Before(s.Wall) {
		return fail(CodeInvalidData, int(last.line), "%s: %s is before DTSTART", c.Name, last.name)
	}
	return nil
}

// alarm checks a VALARM (RFC 5545 §3.6.6, RFC 9074 §6.1).
func (v *validator) alarm(c *Component) error {
	if c.Value("ACTION") == "" {
		return fail(CodeInvalidData, int(c.line), "VALARM: ACTION is missing")
	}
	trigger := c.Prop("TRIGGER")
	if trigger == nil {
		return fail(CodeInvalidData, int(c.line), "VALARM: TRIGGER is missing")
	}
	if _, err := ParseDuration(trigger.value); err != nil {
		if d, err := ParseDateTime(trigger); err != nil || d.Kind == Date {
			return fail(CodeInvalidData, int(trigger.line), "VALARM: TRIGGER %q is no duration and no date-time", excerpt(trigger.value))
		}
	}
	if p := c.Prop("DURATION"); p != nil {
		if _, err := ParseDuration(p.value); err != nil {
			return at(err, c, p)
		}
	}
	if p := c.Prop("REPEAT"); p != nil {
		if _, err := strconv.ParseUint(strings.TrimSpace(p.value), 10, 31); err != nil {
			return fail(CodeInvalidData, int(p.line), "VALARM: REPEAT is %q, not a number", excerpt(p.value))
		}
	}
	if p := c.Prop("ACKNOWLEDGED"); p != nil {
		if d, err := ParseDateTime(p); err != nil || d.Kind != UTC {
			return fail(CodeInvalidData, int(p.line), "VALARM: ACKNOWLEDGED %q is no UTC date-time", excerpt(p.value))
		}
	}
	return nil
}

// characters refuses control characters in stored objects: RFC 5545 §3.1
// leaves them out, and calendar data in XML could not carry them. Messages
// from outside are not refused for them, see Defuse.
func (v *validator) characters(c *Component) error {
	if v.message {
		return nil
	}
	for _, p := range c.Props {
		bad := hasControl(p.value)
		for i := range p.params {
			bad = bad || slices.ContainsFunc(p.params[i].Values, hasControl)
		}
		if bad {
			return fail(CodeInvalidData, int(p.line), "%s: %s has a control character", excerpt(c.Name), excerpt(p.name))
		}
	}
	for _, k := range c.Children {
		if err := v.characters(k); err != nil {
			return err
		}
	}
	return nil
}

// hasControl tells of control characters other than tab and, in decoded
// parameter values, line feed.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' && c != '\n' || c == 0x7f {
			return true
		}
	}
	return false
}

// at puts the component's name and p's line into an error.
func at(err error, c *Component, p *Property) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Code: CodeInvalidData, Line: int(p.line), Msg: c.Name + ": " + p.name, Err: err}
	}
	msg := e.Msg
	if !strings.HasPrefix(msg, p.name) {
		msg = p.name + ": " + msg
	}
	return &Error{Code: e.Code, Line: int(p.line), Msg: c.Name + ": " + msg, Err: e.Err}
}
