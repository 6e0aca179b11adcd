package itip

import (
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// form is how the DTSTART of a series is written. What names an instance must be
// written alike (RFC 5545 §3.8.4.4), but Outlook answers to a day with the time of
// its midnight, and others name the instance of a series of times by its day.
type form struct {
	start calendar.DateTime
	known bool
}

func formOf(master *calendar.Component) form {
	if master == nil {
		return form{}
	}
	d, err := calendar.ParseDateTime(orEmpty(master.Prop("DTSTART")))
	return form{d, err == nil}
}

// of is d in that form: a day becomes the usual time of that day, a time its day.
// A time in UTC is somebody's midnight, wherever he is: the nearest.
func (f form) of(d calendar.DateTime) calendar.DateTime {
	if !f.known || (f.start.Kind == calendar.Date) == (d.Kind == calendar.Date) {
		return d
	}
	if d.Kind == calendar.Date {
		clock := f.start.Wall.Sub(f.start.Wall.Truncate(24 * time.Hour))
		return calendar.DateTime{Wall: d.Wall.Add(clock), Kind: f.start.Kind, TZID: f.start.TZID}
	}
	if d.Kind == calendar.UTC {
		d.Wall = d.Wall.Add(12 * time.Hour)
	}
	return calendar.DateTime{Wall: d.Wall.Truncate(24 * time.Hour), Kind: calendar.Date}
}

// conform is the message m with its RECURRENCE-IDs in the form of the series: of its
// own, or when it holds single instances only, of the recipient's copy.
func conform(m, current *calendar.Object) *calendar.Object {
	master := m.Master()
	if master == nil && current != nil {
		master = current.Master()
	}
	f := formOf(master)
	wrong := func(p *calendar.Property) (calendar.DateTime, bool) {
		if p == nil {
			return calendar.DateTime{}, false
		}
		d, err := calendar.ParseDateTime(p)
		return f.of(d), err == nil && f.of(d).Kind != d.Kind
	}
	var out *calendar.Object
	for i, c := range m.Components() {
		if d, ok := wrong(c.Prop("RECURRENCE-ID")); ok {
			if out == nil {
				out = m.Clone()
			}
			p := d.Property("RECURRENCE-ID")
			if isFuture(c) {
				p.SetParam("RANGE", "THISANDFUTURE")
			}
			out.Components()[i].Set(p)
		}
	}
	if out == nil {
		return m
	}
	return out
}
