package calendar

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Index is what a store keeps beside an object so that queries need not read
// it. The times select candidates; only with Exact they decide alone.
type Index struct {
	UID       string
	Component string // VEVENT, VTODO…

	// Start and End cover every instance in Unix microseconds: a time-range
	// of RFC 4791 §9.9 on Component can only match when it overlaps [Start,
	// End). math.MinInt64 and math.MaxInt64 are open sides.
	Start, End int64

	// Exact: one instance at a known instant, and overlap with [Start, End)
	// is the answer to a time-range whose ends are whole seconds.
	Exact bool

	Recurring   bool // RRULE, RDATE, or overrides
	HasAlarm    bool
	EmailAlarm  bool // an alarm sends mail
	HasFloating bool // dates or floating times: Start and End were widened by 14 hours

	Scheduling bool      // a VEVENT or VTODO has an ORGANIZER (a VJOURNAL is never scheduled)
	Organizer  Address   // as written
	Attendees  []Address // of all components, each once, as first written; invalid ones left out
	Sequence   int       // highest of all components

	// Of the master, else of the first component. Texts are unescaped; the
	// last two are in upper case; "" when the property is absent.
	Summary, Location string
	Status, Transp    string

	// Class is the strictest CLASS of all components, PRIVATE or CONFIDENTIAL; what
	// nobody knows is private (RFC 5545 §3.8.1.3). "" is public.
	Class string
}

// floatingSlack is how far a floating time can be from the same time in UTC:
// zones reach from -12:00 to +14:00.
const floatingSlack = 14 * time.Hour

// Index computes the index values. It fails, with CodeInvalidObject, only when
// there is no component or no UID; an object whose times cannot be read gets
// open sides, so that every query looks at it.
func (o *Object) Index() (Index, error) {
	master := o.Master()
	components := 0
	x := Index{Start: math.MinInt64, End: math.MaxInt64}
	var seen AddressSet
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			continue
		}
		if components++; master == nil {
			master = c
		}
		for _, p := range c.Props {
			switch p.name {
			case "ORGANIZER":
				x.Scheduling = x.Scheduling || c.Name == "VEVENT" || c.Name == "VTODO"
				if x.Organizer == "" {
					x.Organizer = Address(p.value)
				}
			case "ATTENDEE":
				k := Address(p.value).Key()
				if _, ok := seen[k]; ok || k == "" {
					continue
				}
				if seen == nil {
					seen = make(AddressSet)
				}
				seen[k] = struct{}{}
				x.Attendees = append(x.Attendees, Address(p.value))
			case "SEQUENCE":
				if n, err := strconv.Atoi(strings.TrimSpace(p.value)); err == nil {
					x.Sequence = max(x.Sequence, n)
				}
			case "CLASS":
				x.Class = stricter(x.Class, p.value)
			case "RRULE", "RDATE", "RECURRENCE-ID", "EXDATE", "EXRULE":
				x.Recurring = true
			}
		}
		for _, k := range c.Children {
			x.HasAlarm = x.HasAlarm || k.Name == "VALARM"
			x.EmailAlarm = x.EmailAlarm || emailAlarm(k)
		}
	}
	if master == nil {
		return Index{}, fail(CodeInvalidObject, int(o.line), "the VCALENDAR has no component but time zones")
	}
	x.Component, x.UID = master.Name, master.Text("UID")
	if x.UID == "" {
		return Index{}, fail(CodeInvalidObject, int(master.line), "%s: UID is missing", excerpt(master.Name))
	}
	x.Summary, x.Location = master.Text("SUMMARY"), master.Text("LOCATION")
	upper := func(name string) string { return strings.ToUpper(strings.TrimSpace(master.Value(name))) }
	x.Status, x.Transp = upper("STATUS"), upper("TRANSP")

	from, to, floating, err := Bounds(o)
	if err != nil {
		x.HasFloating = true
		return x, nil
	}
	x.HasFloating = floating
	slack := time.Duration(0)
	if floating {
		slack = floatingSlack
	}
	if !from.IsZero() {
		x.Start = from.Add(-slack).UnixMicro()
	}
	if !to.IsZero() {
		x.End = to.Add(slack).UnixMicro()
	}
	x.Exact = components == 1 && master.Name == "VEVENT" && !x.Recurring && !floating && !from.IsZero() && !to.IsZero() && clearEnd(master)
	return x, nil
}

// stricter is the stricter one of two access classifications.
func stricter(a, b string) string {
	switch strings.ToUpper(strings.TrimSpace(b)) {
	case "", "PUBLIC":
		return a
	case "CONFIDENTIAL":
		if a == "" {
			return "CONFIDENTIAL"
		}
		return a
	}
	return "PRIVATE"
}

// clearEnd: an event with a DTEND that is not later than its start has an end
// that Bounds moved by a second.
func clearEnd(c *Component) bool {
	t, err := timingOf(c)
	if err != nil || !t.hasEnd {
		return err == nil
	}
	z := NewZones(nil, nil)
	s, err := z.unix(t.start)
	if err != nil {
		return false
	}
	e, err := z.unix(t.end)
	return err == nil && e > s
}
