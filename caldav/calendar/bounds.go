package calendar

import "time"

// boundSteps is the work Bounds may spend on finding the end of a rule with
// COUNT; a rule that needs more counts as endless.
const boundSteps = 20_000

// Bounds gives limits for all the time o covers by RFC 4791 §9.9: no instance
// starts before start or ends after end. A zero start or end is an open side.
// Instances without length are given one second, tasks one on each side (their
// table includes the ends). floating: some value is a date or floating time,
// which was read in UTC here and may lie up to 14 hours off. Alarms do not
// count. Errors: a broken value or an unknown TZID.
func Bounds(o *Object) (start, end time.Time, floating bool, err error) {
	z := NewZones(o, nil)
	b := bounds{start: openEnd, end: openStart}
	for _, c := range o.Children {
		switch c.Name {
		case "VEVENT", "VTODO", "VJOURNAL":
			err = b.component(o, c, z)
		case "VFREEBUSY":
			err = b.freeBusy(c, z)
		case "VAVAILABILITY":
			err = b.availability(c, z)
		}
		if err != nil {
			return time.Time{}, time.Time{}, false, err
		}
	}
	if b.start > b.end {
		return time.Time{}, time.Time{}, b.floating, nil
	}
	if b.start > openStart {
		start = wallTime(b.start)
	}
	if b.end < openEnd {
		end = wallTime(b.end)
	}
	return start, end, b.floating, nil
}

type bounds struct {
	start, end int64
	floating   bool
}

func (b *bounds) add(start, end int64) {
	b.start, b.end = min(b.start, start), max(b.end, end)
}

func (b *bounds) see(d DateTime) {
	b.floating = b.floating || d.Kind == Date || d.Kind == Floating
}

func (b *bounds) component(o *Object, c *Component, z *Zones) error {
	t, err := timingOf(c)
	if err != nil {
		return err
	}
	t.recurByDue(c)
	if p := c.Prop("RECURRENCE-ID"); p != nil && !t.hasStart && !(c.Name == "VTODO" && t.hasEnd) {
		// An override that does not say when it begins has not been moved.
		if t.start, err = ParseDateTime(p); err != nil {
			return err
		}
		if master := o.Master(); master != nil {
			if mt, err := timingOf(master); err == nil && mt.hasStart {
				t.start = t.start.InForm(mt.start)
			}
		}
		t.hasStart = true
	}
	if !t.hasStart {
		return b.startless(c, z, &t)
	}
	b.see(t.start)
	if t.hasEnd {
		b.see(t.end)
	}
	l, err := lengthOf(z, c.Name, &t)
	if err != nil {
		return err
	}
	zn, err := z.zoneOf(t.start)
	if err != nil {
		return err
	}
	w := t.start.Wall.Unix()
	s, _ := zn.instant(w)
	e := l.end(zn, w, s)
	widen := func(s, e int64) {
		switch {
		case c.Name == "VTODO":
			b.add(s-1, e+1)
		case e == s:
			b.add(s, e+1)
		default:
			b.add(s, e)
		}
	}
	widen(s, e)

	// What recurs is bounded by its last start and the longest length.
	var last int64 = s
	for _, p := range c.Props {
		switch p.name {
		case "RRULE":
			r, err := ParseRule(p.value)
			if err != nil {
				return err
			}
			at, ok := lastStart(r, &t, zn)
			if !ok {
				b.add(s, openEnd)
				return nil
			}
			last = max(last, at)
		case "RDATE":
			values, err := ParsePeriods(p)
			if err != nil {
				return err
			}
			for i := range values {
				v := &values[i]
				b.see(v.Start)
				at, err := z.unix(v.Start)
				if err != nil {
					return err
				}
				if v.Start.Kind == Date && t.start.Kind != Date {
					at += daySeconds
				}
				end := at + l.longest()
				if v.Period {
					if end, err = (&set{z: z}).periodEnd(v, at); err != nil {
						return err
					}
				}
				widen(min(at, s), end)
			}
		case "RECURRENCE-ID":
			if master := o.Master(); thisAndFuture(c) && master != nil {
				if err := b.thisAndFuture(master, p, z, &t, s, &l); err != nil {
					return err
				}
			}
		}
	}
	if last > s {
		widen(s, max(e, last+l.longest()))
	}
	return nil
}

// lastStart is the last start a rule makes; false: it has no end, or finding it
// is too much work.
func lastStart(r *Rule, t *timing, zn *zone) (int64, bool) {
	switch {
	case !r.Until.IsZero():
		u := r.Until.Wall.Unix()
		switch r.Until.Kind {
		case UTC:
			if t.start.Kind != UTC {
				u += maxOffset / 2 // a floating start reads UNTIL as it likes
			}
			return u, true
		case Date:
			u += daySeconds
		}
		u, _ = zn.instant(u)
		return u + maxOffset/2, true
	case r.Count > 0:
		it := newRuleIter(r, t.start.Wall.Unix(), t.start.Kind == Date, lastWall, &Budget{Steps: boundSteps})
		w, ok := it.final()
		if !ok {
			return 0, false
		}
		at, _ := zn.instant(w)
		return at, true
	}
	return 0, false
}

// thisAndFuture: the master's later instances are moved and resized.
func (b *bounds) thisAndFuture(master *Component, id *Property, z *Zones, t *timing, start int64, l *length) error {
	mt, err := timingOf(master)
	if err != nil || !mt.hasStart {
		return err
	}
	zn, err := z.zoneOf(mt.start)
	if err != nil {
		return err
	}
	d, err := ParseDateTime(id)
	if err != nil {
		return err
	}
	at, err := z.unix(d.InForm(mt.start))
	if err != nil {
		return err
	}
	for _, p := range master.All("RRULE") {
		r, err := ParseRule(p.value)
		if err != nil {
			return err
		}
		last, ok := lastStart(r, &mt, zn)
		if !ok {
			b.add(start, openEnd)
			return nil
		}
		b.add(start, max(start, last+start-at+daySeconds+l.longest()))
	}
	for _, p := range master.All("RDATE") {
		values, err := ParseDateTimes(p)
		if err != nil {
			return err
		}
		for _, v := range values {
			last, err := z.unix(v)
			if err != nil {
				return err
			}
			b.add(start, max(start, last+start-at+daySeconds+l.longest()))
		}
	}
	return nil
}

// startless: tasks without DTSTART (RFC 4791 §9.9); journals without one match
// no range.
func (b *bounds) startless(c *Component, z *Zones, t *timing) error {
	if c.Name != "VTODO" {
		return nil
	}
	if t.hasEnd {
		b.see(t.end)
		due, err := z.unix(t.end)
		b.add(due-1, due+1)
		return err
	}
	found := false
	for _, name := range []string{"COMPLETED", "CREATED"} {
		p := c.Prop(name)
		if p == nil {
			continue
		}
		d, err := ParseDateTime(p)
		if err != nil {
			return err
		}
		b.see(d)
		at, err := z.unix(d)
		if err != nil {
			return err
		}
		found = true
		b.add(at-1, at+1)
		if name == "CREATED" && c.Prop("COMPLETED") == nil {
			b.add(at-1, openEnd)
		}
	}
	if !found {
		b.add(openStart, openEnd)
	}
	return nil
}

func (b *bounds) availability(c *Component, z *Zones) error {
	t, err := timingOf(c)
	if err != nil {
		return err
	}
	if t.hasStart {
		b.see(t.start)
	}
	if t.hasEnd {
		b.see(t.end)
	}
	s, e, err := availabilitySpan(c, z)
	b.add(s, e)
	return err
}

func (b *bounds) freeBusy(c *Component, z *Zones) error {
	t, err := timingOf(c)
	if err != nil {
		return err
	}
	if t.hasStart && t.hasEnd {
		s, err := z.unix(t.start)
		if err != nil {
			return err
		}
		e, err := z.unix(t.end)
		b.add(s, max(s, e)+1)
		b.see(t.start)
		return err
	}
	for _, p := range c.All("FREEBUSY") {
		values, err := ParsePeriods(p)
		if err != nil {
			return err
		}
		for i := range values {
			s, e, err := z.period(&values[i])
			if err != nil {
				return err
			}
			b.see(values[i].Start)
			b.add(s, e)
		}
	}
	return nil
}

// period gives both ends of a PERIOD.
func (z *Zones) period(p *PeriodValue) (start, end int64, err error) {
	if start, err = z.unix(p.Start); err == nil {
		end, err = (&set{z: z}).periodEnd(p, start)
	}
	return start, end, err
}
