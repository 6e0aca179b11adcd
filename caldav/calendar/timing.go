package calendar

import (
	"math"
	"time"
)

// timing is what a component says about its time. For VTODO end is DUE.
type timing struct {
	start, end               DateTime
	dur                      Duration
	hasStart, hasEnd, hasDur bool
	byDue                    bool // start is the DUE of a task that recurs without DTSTART
}

// recurByDue makes the DUE of a task that recurs without DTSTART what its
// instances are counted from. RFC 5545 §3.8.5.3 wants a DTSTART there; task
// programs leave it out and mean that the task is due again and again.
func (t *timing) recurByDue(c *Component) {
	if c.Name == "VTODO" && !t.hasStart && t.hasEnd && (c.Prop("RRULE") != nil || c.Prop("RDATE") != nil) {
		t.start, t.hasStart, t.hasEnd, t.byDue = t.end, true, false, true
	}
}

// timingOf reads DTSTART, DTEND (DUE) and DURATION of c.
func timingOf(c *Component) (t timing, err error) {
	endName := "DTEND"
	if c.Name == "VTODO" {
		endName = "DUE"
	}
	for _, p := range c.Props {
		switch p.name {
		case "DTSTART":
			if !t.hasStart {
				t.start, err = ParseDateTime(p)
				t.hasStart = true
			}
		case endName:
			if !t.hasEnd {
				t.end, err = ParseDateTime(p)
				t.hasEnd = true
			}
		case "DURATION":
			if !t.hasDur {
				d, ok := parseDuration(p.value)
				if !ok {
					err = badValue(p, "duration", p.value)
				}
				t.dur, t.hasDur = d, true
			}
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// length is how long the instances of a component are.
type length struct {
	form  lengthForm
	exact int64    // seconds, or days for lengthDays
	dur   Duration // for lengthNominal
}

type lengthForm uint8

const (
	lengthNone    lengthForm = iota // no DTEND, DUE or DURATION, and no date
	lengthExact                     // DTEND: the same number of seconds for every instance (RFC 5545 §3.8.5.3)
	lengthNominal                   // DURATION: days follow the calendar
	lengthDays                      // between two dates
)

// lengthOf measures a component. A DATE without an end lasts a day in VEVENT
// and VJOURNAL (RFC 5545 §3.6.1, RFC 4791 §9.9).
func lengthOf(z *Zones, kind string, t *timing) (length, error) {
	switch {
	case t.hasEnd && t.start.Kind == Date && t.end.Kind == Date:
		return length{form: lengthDays, exact: max(0, (t.end.Wall.Unix()-t.start.Wall.Unix())/daySeconds)}, nil
	case t.hasEnd:
		s, err := z.unix(t.start)
		if err != nil {
			return length{}, err
		}
		e, err := z.unix(t.end)
		return length{form: lengthExact, exact: max(0, e-s)}, err
	case t.hasDur:
		if t.dur.Neg {
			return length{form: lengthNominal}, nil
		}
		return length{form: lengthNominal, dur: t.dur}, nil
	case t.start.Kind == Date && kind != "VTODO":
		return length{form: lengthDays, exact: 1}, nil
	}
	return length{}, nil
}

// end is the end of an instance that starts at the wall clock time w, which is
// the instant s.
func (l *length) end(zn *zone, w, s int64) int64 {
	switch l.form {
	case lengthExact:
		return s + l.exact
	case lengthNominal:
		if l.dur.Days == 0 {
			return s + int64(l.dur.Clock/time.Second)
		}
		return zn.add(w, l.dur)
	case lengthDays:
		t, _ := zn.instant(w + l.exact*daySeconds)
		return t
	}
	return s
}

// longest is at least the length of every instance, in seconds.
func (l *length) longest() int64 {
	switch l.form {
	case lengthExact:
		return l.exact
	case lengthNominal:
		if l.dur.Days == 0 {
			return int64(l.dur.Clock / time.Second)
		}
		return l.dur.seconds() + maxOffset
	case lengthDays:
		return l.exact*daySeconds + maxOffset
	}
	return 0
}

// The ends of open ranges.
const (
	openStart = math.MinInt64 / 4
	openEnd   = math.MaxInt64 / 4
)

// unixRange turns a range of times into seconds; zero times are open ends.
func unixRange(from, to time.Time) (f, t int64) {
	f, t = openStart, openEnd
	if !from.IsZero() {
		f = from.Unix()
		if from.Nanosecond() > 0 {
			f++ // values are whole seconds
		}
	}
	if !to.IsZero() {
		t = to.Unix()
		if to.Nanosecond() > 0 {
			t++
		}
	}
	return f, t
}

// overlaps is RFC 4791 §9.9 for a component that has a DTSTART: start and end
// are those of the instance, from is inclusive and to exclusive.
func overlaps(kind string, t *timing, l *length, start, end, from, to int64) bool {
	switch kind {
	case "VTODO":
		switch {
		case t.byDue:
			return from < start && to >= start
		case t.hasEnd: // DTSTART and DUE
			return (from < end || from <= start) && (to > start || to >= end)
		case t.hasDur:
			return from <= end && (to > start || to >= end)
		}
		return from <= start && to > start
	case "VJOURNAL":
		if t.start.Kind == Date {
			return from < end && to > start
		}
		return from <= start && to > start
	}
	if t.hasEnd || l.form == lengthDays || end > start {
		return from < end && to > start
	}
	return from <= start && to > start
}

// todoOverlaps is the part of the VTODO table of RFC 4791 §9.9 that is for
// tasks without DTSTART.
func todoOverlaps(c *Component, z *Zones, t *timing, from, to int64) (bool, error) {
	if t.hasEnd {
		due, err := z.unix(t.end)
		return from < due && to >= due, err
	}
	at := func(name string) (v int64, ok bool, err error) {
		p := c.Prop(name)
		if p == nil {
			return 0, false, nil
		}
		d, err := ParseDateTime(p)
		if err != nil {
			return 0, false, err
		}
		v, err = z.unix(d)
		return v, err == nil, err
	}
	completed, hasCompleted, err := at("COMPLETED")
	if err != nil {
		return false, err
	}
	created, hasCreated, err := at("CREATED")
	if err != nil {
		return false, err
	}
	switch {
	case hasCompleted && hasCreated:
		return (from <= created || from <= completed) && (to >= created || to >= completed), nil
	case hasCompleted:
		return from <= completed && to >= completed, nil
	case hasCreated:
		return to > created, nil
	}
	return true, nil
}
