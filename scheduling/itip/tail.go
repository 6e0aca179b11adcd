package itip

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// tail is what somebody has of a series whom an override with
// RANGE=THISANDFUTURE invites, and not the series itself: that instance and all
// after it. RFC 5545 §3.8.4.4 lets such an override speak only beside the series,
// which he must not see (RFC 6638 §3.2.6). To him it is a series of its own under the same UID,
// which begins there: what the override says, with the rest of the rule. When the
// override is at another time than the series, so are his instances, and each is
// named by the time that it has in his series (RFC 5545 §3.8.4.4).
type tail struct {
	s     *series
	first *calendar.Component // the override
	at    calendar.DateTime   // the instance it names, in the form of the series
	start calendar.DateTime   // when that takes place
	shift time.Duration       // from at to start
	view  *calendar.Object    // s.o as it looks to him; see asTail
}

// asTail is o as it looks to a person who has only its tail; for everybody else,
// and where the rest of the series cannot be said (see tailOf), o itself.
func asTail(o *calendar.Object, person string) *calendar.Object {
	if t := read(o).tailOf(person); t != nil {
		return t.view
	}
	return o
}

// tailOf is what a person has of s when it is a tail, else nil. There is none either
// when the override names no instance of the rule, or puts its instances into another
// zone, or to another day by a rule that is bound to days and has no end near by: then
// the override stands alone, as single instances do.
func (s *series) tailOf(person string) *tail {
	if len(s.future) == 0 || s.master == nil || !recurs(s.master) || served(s.master, person) != nil {
		return nil
	}
	i := slices.IndexFunc(s.future, func(k string) bool { return served(s.over[k], person) != nil })
	if i < 0 {
		return nil
	}
	t := &tail{s: s, first: s.over[s.future[i]]}
	var ok bool
	if t.at, ok = s.inForm(s.ids[s.future[i]]); !ok || !t.inRule() {
		return nil
	}
	start, err := calendar.ParseDateTime(orEmpty(t.first.Prop("DTSTART")))
	if err != nil || start.Kind != t.at.Kind || start.TZID != t.at.TZID {
		return nil
	}
	t.start, t.shift = start, start.Wall.Sub(t.at.Wall)
	if t.view, ok = t.build(person); !ok {
		return nil
	}
	return t
}

// inForm is d in the form of the master's DTSTART.
func (s *series) inForm(d calendar.DateTime) (calendar.DateTime, bool) {
	form, err := calendar.ParseDateTime(orEmpty(s.master.Prop("DTSTART")))
	if err != nil || (form.Kind == calendar.Date) != (d.Kind == calendar.Date) || (form.Kind == calendar.Floating) != (d.Kind == calendar.Floating) {
		return d, false
	}
	if form.Kind == calendar.Date || form.Kind == calendar.Floating {
		return d, true
	}
	l, err := s.z.Local(s.instant(d), form)
	return l, err == nil
}

// build makes the view.
func (t *tail) build(person string) (*calendar.Object, bool) {
	s := t.s
	n := t.first.Clone()
	n.Remove("RECURRENCE-ID", "RRULE", "RDATE", "EXDATE", "EXRULE")
	if s.master.Prop("EXRULE") != nil || len(s.master.All("RRULE")) > 1 {
		return nil, false
	}
	if p := s.master.Prop("RRULE"); p != nil {
		if rule, ok := t.rule(p); ok {
			n.Add(rule)
		} else if !t.list(n) {
			return nil, false
		}
	}
	for _, name := range []string{"RDATE", "EXDATE"} {
		for _, p := range s.master.All(name) {
			ds, err := calendar.ParseDateTimes(p)
			if err != nil { // of a PERIOD the start: its length is the override's now
				return nil, false
			}
			for _, d := range ds {
				l, ok := s.inForm(d)
				switch {
				case !ok:
					return nil, false
				case t.before(l) || name == "RDATE" && s.key(l) == s.key(t.at):
					continue
				}
				n.Add(t.later(l).Property(name))
			}
		}
	}
	o := &calendar.Object{Component: &calendar.Component{Name: s.o.Name, Props: s.o.Props, Children: append(zonesOf(s.o), n)}}
	for _, k := range s.order {
		c := s.over[k]
		id, ok := s.inForm(s.ids[k])
		switch {
		case c == t.first:
		case !ok:
			return nil, false
		case t.before(id):
			if served(c, person) != nil { // a single instance that he is invited to besides
				o.Children = append(o.Children, c)
			}
		default:
			o.Children = append(o.Children, rename(c, t.later(id)))
		}
	}
	return o, true
}

func (t *tail) before(d calendar.DateTime) bool { return t.s.instant(d).Before(t.s.instant(t.at)) }

func (t *tail) later(d calendar.DateTime) calendar.DateTime {
	d.Wall = d.Wall.Add(t.shift)
	return d
}

// rename is c as the instance id; what its RECURRENCE-ID says besides stays.
func rename(c *calendar.Component, id calendar.DateTime) *calendar.Component {
	c = c.Clone()
	setTime(c, "RECURRENCE-ID", id)
	return c
}

// rule is the rest of the master's rule from t.at on, for instances at t.start. COUNT
// becomes what is left of it.
func (t *tail) rule(p *calendar.Property) (*calendar.Property, bool) {
	r, err := calendar.ParseRule(strings.TrimSpace(p.Value()))
	if err != nil || !t.follows(r) {
		return nil, false
	}
	var parts []string
	for _, part := range strings.Split(p.Value(), ";") {
		name, _, _ := strings.Cut(part, "=")
		switch strings.ToUpper(strings.TrimSpace(name)) {
		case "COUNT":
			n, ok := t.passed()
			if !ok || n >= r.Count {
				return nil, false
			}
			part = "COUNT=" + strconv.Itoa(r.Count-n)
		case "UNTIL":
			until, ok := t.until(r.Until)
			if !ok {
				return nil, false
			}
			part = "UNTIL=" + until
		}
		parts = append(parts, part)
	}
	q := p.Clone()
	q.SetValue(strings.Join(parts, ";"))
	return q, true
}

// maxListed bounds the dates of a rest that no rule can say.
const maxListed = 400

// list adds the instances after t.at to n as dates, where they are not too many.
func (t *tail) list(n *calendar.Component) bool {
	var dates []string
	for i, err := range t.alone().Instances(t.s.z, time.Time{}, time.Time{}, t.s.budget) {
		switch {
		case err != nil || len(dates) == maxListed:
			return false
		case t.s.instant(t.at).Before(t.s.instant(i.ID)):
			dates = append(dates, t.later(i.ID).Value())
		}
	}
	if len(dates) > 0 {
		p := t.start.Property("RDATE")
		p.SetValue(strings.Join(dates, ","))
		n.Add(p)
	}
	return true
}

// follows tells whether the rule gives each instance at its new time when it begins
// at t.start.
func (t *tail) follows(r *calendar.Rule) bool {
	if t.shift == 0 {
		return true
	}
	times := len(r.ByHour)+len(r.ByMinute)+len(r.BySecond) > 0
	days := len(r.ByMonth)+len(r.ByWeekNo)+len(r.ByYearDay)+len(r.ByMonthDay)+len(r.ByDay)+len(r.BySetPos) > 0
	switch r.Freq {
	case calendar.Secondly, calendar.Minutely, calendar.Hourly:
		return false
	case calendar.Daily, calendar.Weekly:
		return !times && (!days || sameDay(t.at.Wall, t.start.Wall))
	}
	return !times && sameDay(t.at.Wall, t.start.Wall)
}

func sameDay(a, b time.Time) bool {
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}

// alone is the master with its rule alone.
func (t *tail) alone() *calendar.Object {
	s := t.s
	c := &calendar.Component{Name: s.master.Name}
	for _, q := range s.master.Props {
		if name := q.Name(); name != "EXDATE" && name != "RDATE" {
			c.Props = append(c.Props, q)
		}
	}
	return &calendar.Object{Component: &calendar.Component{Name: s.o.Name, Children: append(zonesOf(s.o), c)}}
}

// inRule tells whether t.at can begin the rest: an instance of the rule, where there
// is one.
func (t *tail) inRule() bool {
	if t.s.master.Prop("RRULE") == nil {
		return t.s.planned(t.at)
	}
	ok, err := t.alone().HasInstance(t.s.z, t.at, t.s.budget)
	return err == nil && ok
}

// passed counts the instances of the rule before t.at.
func (t *tail) passed() (n int, ok bool) {
	s := t.s
	for i, err := range t.alone().Instances(s.z, time.Time{}, time.Time{}, s.budget) {
		if err != nil {
			return n, false
		}
		if !t.before(i.ID) {
			return n, s.key(i.ID) == s.key(t.at)
		}
		n++
	}
	return n, false
}

// until moves the end of a rule along, by the clock on the wall.
func (t *tail) until(d calendar.DateTime) (string, bool) {
	if t.shift == 0 || d.Kind == calendar.Date && t.at.Kind != calendar.Date {
		return d.Value(), true // the last day stays the last day
	}
	if d.Kind != calendar.UTC {
		return t.later(d).Value(), true
	}
	l, err := t.s.z.Local(d.Wall, t.at)
	if err != nil {
		return "", false
	}
	return calendar.UTCDateTime(t.s.instant(t.later(l))).Value(), true
}

// back is the message m, of somebody who has the tail, in the terms of the
// organizer's object: what it says of the whole is about the override, and its
// instances have the names that the series gives them.
func (t *tail) back(m *calendar.Object) *calendar.Object {
	o := &calendar.Object{Component: &calendar.Component{Name: m.Name, Props: m.Props, Children: zonesOf(m)}}
	in := read(m)
	for _, c := range in.components() {
		if c == in.master {
			c = c.Clone()
			c.Remove("RRULE", "RDATE", "EXDATE", "EXRULE")
			c.Set(t.first.Prop("RECURRENCE-ID").Clone())
		} else if id, ok := t.s.inForm(in.ids[in.keyAt(c)]); ok && !t.s.instant(id).Before(t.s.instant(t.start)) {
			id.Wall = id.Wall.Add(-t.shift)
			c = rename(c, id)
		}
		o.Children = append(o.Children, c)
	}
	addZones(o, t.s.o)
	return o
}

// forth undoes back.
func (t *tail) forth(m *calendar.Object) *calendar.Object {
	o := &calendar.Object{Component: &calendar.Component{Name: m.Name, Props: m.Props, Children: zonesOf(m)}}
	in := read(m)
	for _, c := range in.components() {
		id, ok := t.s.inForm(in.ids[in.keyAt(c)])
		switch {
		case c == in.master || !ok || t.before(id):
		case isFuture(c) && t.s.key(id) == t.s.key(t.at):
			c = c.Clone()
			c.Remove("RECURRENCE-ID")
		default:
			c = rename(c, t.later(id))
		}
		o.Children = append(o.Children, c)
	}
	return o
}

// fromTail is the message m of a person in the terms of the organizer's object
// current; see tail.back.
func fromTail(m, current *calendar.Object, person string) *calendar.Object {
	if t := read(current).tailOf(person); t != nil {
		return t.back(m)
	}
	return m
}
