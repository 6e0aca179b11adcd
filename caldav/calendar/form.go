package calendar

import "time"

// InForm is d, which names an instance of a series that begins at start, as it
// should be written: RFC 5545 §3.8.4.4 and §3.8.5.1 want the value type of DTSTART
// and, by its examples, its zone. Programs write otherwise, and mean:
//   - a day, in a series of times: the usual time of that day;
//   - a time, in a series of days: its day, and of a time in UTC, which is
//     somebody's midnight, the nearest day;
//   - a time without a zone, in a series that has one: that time there;
//   - a time with a zone, in a series that has none: that time on the clock.
//
// Two times of different zones are compared as instants; they stay.
func (d DateTime) InForm(start DateTime) DateTime {
	switch {
	case d.Kind == start.Kind:
	case start.Kind == Date:
		if d.Kind == UTC {
			d.Wall = d.Wall.Add(12 * time.Hour)
		}
		return DateTime{Wall: d.Wall.Truncate(24 * time.Hour), Kind: Date}
	case d.Kind == Date:
		return DateTime{Wall: d.Wall.Add(start.Wall.Sub(start.Wall.Truncate(24 * time.Hour))), Kind: start.Kind, TZID: start.TZID}
	case d.Kind == Floating:
		return DateTime{Wall: d.Wall, Kind: start.Kind, TZID: start.TZID}
	case start.Kind == Floating && d.Kind != UTC:
		return DateTime{Wall: d.Wall, Kind: Floating}
	}
	return d
}
