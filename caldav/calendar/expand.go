package calendar

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Expand is CALDAV:expand (RFC 4791 §9.6.5): an object whose components are the
// instances of o that overlap [from, to), each on its own, with times in UTC,
// with RECURRENCE-ID when o recurs (the first instance too), without RRULE,
// RDATE, EXDATE and VTIMEZONE. Dates stay dates and floating times floating.
// An object none of whose instances overlap has no components left. The result
// shares properties with o; clone it before changing it.
func Expand(o *Object, z *Zones, from, to time.Time, b *Budget) (*Object, error) {
	out := &Object{&Component{Name: o.Name, Props: o.Props}}
	for c, err := range Expanded(o, z, from, to, b) {
		if err != nil {
			return nil, err
		}
		out.Children = append(out.Children, c)
	}
	return out, nil
}

// Expanded yields the components of Expand one by one, for answers that are
// streamed.
func Expanded(o *Object, z *Zones, from, to time.Time, b *Budget) iter.Seq2[*Component, error] {
	return func(yield func(*Component, error) bool) {
		if z == nil {
			z = NewZones(o, nil)
		}
		if b == nil {
			b = NewBudget()
		}
		recurring := slices.ContainsFunc(o.Children, recurs)
		sizes := make(map[*Component]int)
		give := func(c *Component, size int, err error) bool {
			if err == nil {
				err = b.write(size)
			}
			if err != nil {
				yield(nil, err)
				return false
			}
			return yield(c, nil)
		}
		for i, err := range o.Instances(z, from, to, b) {
			if err != nil {
				yield(nil, err)
				return
			}
			size, ok := sizes[i.Component]
			if !ok {
				size = i.Component.octets()
				sizes[i.Component] = size
			}
			c, err := expandInstance(&i, z, recurring)
			if !give(c, size, err) {
				return
			}
		}
		// What has no instances: tasks without DTSTART, free/busy.
		f, t := unixRange(from, to)
		for _, c := range o.Children {
			ok, err := false, error(nil)
			switch {
			case c.Name == "VTODO" && c.Prop("DTSTART") == nil && c.Prop("RECURRENCE-ID") == nil:
				if tm, bad := timingOf(c); bad == nil {
					if tm.recurByDue(c); tm.byDue {
						continue // has instances
					}
				}
				ok, err = singleOverlaps(c, z, f, t)
			case c.Name == "VFREEBUSY":
				ok, err = freeBusyOverlaps(c, z, f, t)
			}
			if err == nil && ok {
				c, err = inUTC(c, z, nil)
			}
			if (ok || err != nil) && !give(c, c.octets(), err) {
				return
			}
		}
	}
}

// octets is about how much c is when written.
func (c *Component) octets() int {
	n := 2*len(c.Name) + 16
	for _, p := range c.Props {
		n += len(p.name) + len(p.value) + 3
		for i := range p.params {
			n += len(p.params[i].Name) + 2
			for _, v := range p.params[i].Values {
				n += len(v) + 1
			}
		}
	}
	for _, k := range c.Children {
		n += k.octets()
	}
	return n
}

// expandInstance writes an instance as a component of its own.
func expandInstance(i *Instance, z *Zones, recurring bool) (*Component, error) {
	t, err := timingOf(i.Component)
	if err != nil {
		return nil, err
	}
	endName := "DTEND"
	if i.Component.Name == "VTODO" {
		endName = "DUE"
	}
	set := map[string]*Property{"DTSTART": nil, "DTEND": nil, "DUE": nil, "DURATION": nil,
		"RECURRENCE-ID": nil, "RRULE": nil, "RDATE": nil, "EXDATE": nil, "EXRULE": nil}
	if i.Component.Name == "VTODO" && !t.hasStart {
		set["DUE"] = utcForm(i.Start, i.StartValue).Property("DUE")
	} else {
		start := i.StartValue
		if start.Kind == Zoned {
			start = UTCDateTime(i.Start)
		}
		set["DTSTART"] = start.Property("DTSTART")
		like := i.StartValue
		if t.hasEnd {
			like = t.end
		}
		end, err := z.Local(i.End, like)
		if err != nil {
			return nil, err
		}
		if end.Kind == Zoned {
			end = UTCDateTime(i.End)
		}
		switch {
		case t.hasEnd:
			set[endName] = end.Property(endName)
		case t.hasDur:
			if at := i.Start.Unix() + t.dur.seconds(); at == i.End.Unix() || start.Kind == Date || start.Kind == Floating || t.dur.Neg {
				delete(set, "DURATION")
			} else { // days across a change of the clock, or an RDATE with its own end
				set[endName] = end.Property(endName)
			}
		case i.StartValue.Kind != Date && i.End.After(i.Start):
			set[endName] = end.Property(endName)
		}
	}
	if recurring {
		id := i.ID
		if id.Kind == Zoned {
			at, err := z.Instant(id)
			if err != nil {
				return nil, err
			}
			id = UTCDateTime(at)
		}
		set["RECURRENCE-ID"] = id.Property("RECURRENCE-ID")
	}
	return inUTC(i.Component, z, set)
}

// utcForm is the instant as UTC value, or as date or floating value where like
// is one.
func utcForm(at time.Time, like DateTime) DateTime {
	if like.Kind == Zoned {
		return UTCDateTime(at)
	}
	return like
}

// inUTC copies c with the properties of set in the place of those of the same
// names (nil: left out), and with all other times that carry a TZID in UTC.
func inUTC(c *Component, z *Zones, set map[string]*Property) (*Component, error) {
	d := &Component{Name: c.Name, Props: make([]*Property, 0, len(c.Props)+2), line: c.line}
	written := map[string]bool{}
	for _, p := range c.Props {
		if q, ok := set[p.name]; ok {
			if q != nil && !written[p.name] {
				d.Props = append(d.Props, q)
				written[p.name] = true
			}
			continue
		}
		if p.Param("TZID") != "" && p.name != "BEGIN" && p.name != "END" { // those two would become brackets
			var err error
			if p, err = propertyInUTC(p, z); err != nil {
				return nil, err
			}
		}
		d.Props = append(d.Props, p)
	}
	for _, name := range []string{"DTSTART", "DTEND", "DUE", "RECURRENCE-ID"} {
		if q := set[name]; q != nil && !written[name] {
			d.Props = append(d.Props, q)
		}
	}
	for _, k := range c.Children {
		k, err := inUTC(k, z, nil)
		if err != nil {
			return nil, err
		}
		d.Children = append(d.Children, k)
	}
	return d, nil
}

// propertyInUTC converts the times of p; a value that is none stays as it is.
func propertyInUTC(p *Property, z *Zones) (*Property, error) {
	values, err := ParsePeriods(p)
	if err != nil {
		return p, nil
	}
	var b strings.Builder
	for i := range values {
		v := &values[i]
		if i > 0 {
			b.WriteByte(',')
		}
		for j, d := range []DateTime{v.Start, v.End} {
			if j == 1 && !v.Period {
				break
			}
			if j == 1 {
				b.WriteByte('/')
				if d.IsZero() {
					b.WriteString(v.Duration.String())
					break
				}
			}
			if d.Kind == Zoned {
				at, err := z.Instant(d)
				if err != nil {
					return nil, err
				}
				d = UTCDateTime(at)
			}
			b.WriteString(d.Value())
		}
	}
	q := p.Clone()
	q.SetValue(b.String())
	q.DelParam("TZID")
	return q, nil
}

// LimitRecurrenceSet is CALDAV:limit-recurrence-set (RFC 4791 §9.6.6): the
// master and those overrides that touch [from, to): where they are now, where
// the instance they replace would be, or by RANGE=THISANDFUTURE. The result
// shares components with o.
func LimitRecurrenceSet(o *Object, z *Zones, from, to time.Time) (*Object, error) {
	if z == nil {
		z = NewZones(o, nil)
	}
	s, err := newSet(o, z, nil)
	if err != nil {
		return nil, err
	}
	f, t := unixRange(from, to)
	keep := map[*Component]bool{}
	for i := range s.overrides {
		v := &s.overrides[i]
		if overlaps(s.kind, &v.timing, &v.length, v.start, v.end, f, t) {
			keep[v.comp] = true
			continue
		}
		// Where the instance would be without the override.
		zn, l, tm := v.zone, &v.length, &v.timing
		if s.master != nil && s.timing.hasStart {
			zn, l, tm = s.zone, &s.length, &s.timing
		}
		w := v.id.Wall.Unix()
		at, err := z.unix(v.id)
		if err != nil {
			return nil, err
		}
		keep[v.comp] = overlaps(s.kind, tm, l, at, l.end(zn, w, at), f, t) || thisAndFuture(v.comp) && min(at, v.start) < t
	}
	out := &Object{&Component{Name: o.Name, Props: o.Props}}
	for _, c := range o.Children {
		if c.Prop("RECURRENCE-ID") == nil || c.Name != s.kind || keep[c] {
			out.Children = append(out.Children, c)
		}
	}
	return out, nil
}

// LimitFreeBusySet is CALDAV:limit-freebusy-set (RFC 4791 §9.6.7): of FREEBUSY
// properties only the periods that overlap [from, to) stay. The result shares
// what is unchanged with o.
func LimitFreeBusySet(o *Object, from, to time.Time) (*Object, error) {
	f, t := unixRange(from, to)
	z := NewZones(o, nil)
	out := &Object{&Component{Name: o.Name, Props: o.Props}}
	for _, c := range o.Children {
		if c.Name != "VFREEBUSY" {
			out.Children = append(out.Children, c)
			continue
		}
		d := &Component{Name: c.Name, Children: c.Children, line: c.line}
		for _, p := range c.Props {
			if p.name != "FREEBUSY" {
				d.Props = append(d.Props, p)
				continue
			}
			values, err := ParsePeriods(p)
			if err != nil {
				return nil, err
			}
			var kept []string
			for i, text := range strings.Split(p.value, ",") {
				s, e, err := z.period(&values[i])
				if err != nil {
					return nil, err
				}
				if f < e && t > s {
					kept = append(kept, text)
				}
			}
			if len(kept) == len(values) {
				d.Props = append(d.Props, p)
			} else if len(kept) > 0 {
				q := p.Clone()
				q.SetValue(strings.Join(kept, ","))
				d.Props = append(d.Props, q)
			}
		}
		out.Children = append(out.Children, d)
	}
	return out, nil
}
