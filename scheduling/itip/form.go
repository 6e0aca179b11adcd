package itip

import (
	"github.com/kalends/kalends/caldav/calendar"
)

// form is how the DTSTART of a series is written. What names an instance must be
// written alike (RFC 5545 §3.8.4.4), but Outlook answers to a day with the time of
// its midnight, others name the instance of a series of times by its day or leave
// out its zone.
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

// of is d in that form.
func (f form) of(d calendar.DateTime) calendar.DateTime {
	if !f.known {
		return d
	}
	return d.InForm(f.start)
}

// write gives c, a component of a message, its RECURRENCE-ID in that form.
func (f form) write(c *calendar.Component) {
	p := c.Prop("RECURRENCE-ID")
	if p == nil {
		return
	}
	if d, err := calendar.ParseDateTime(p); err == nil && f.of(d).Kind != d.Kind {
		setTime(c, "RECURRENCE-ID", f.of(d))
	}
}

// conform is the message m with its RECURRENCE-IDs in the form of the series: of its
// own, or when it holds single instances only, of the recipient's copy.
func conform(m, current *calendar.Object) *calendar.Object {
	master := m.Master()
	if master == nil && current != nil {
		master = current.Master()
	}
	f := formOf(master)
	var out *calendar.Object
	for i, c := range m.Components() {
		p := c.Prop("RECURRENCE-ID")
		if p == nil {
			continue
		}
		if d, err := calendar.ParseDateTime(p); err != nil || f.of(d).Kind == d.Kind {
			continue
		}
		if out == nil {
			out = m.Clone()
		}
		f.write(out.Components()[i])
	}
	if out == nil {
		return m
	}
	return out
}
