package calendar

import (
	"slices"
	"strings"
	"time"
)

// EmailAlarm is one going off of a VALARM that sends mail.
type EmailAlarm struct {
	At    time.Time
	Alarm *Component
	Owner *Component // the VEVENT or VTODO that holds the alarm
	Start DateTime   // of the instance it is about; zero when that has none
}

// emailAlarm reports whether a component is a VALARM with ACTION:EMAIL.
func emailAlarm(c *Component) bool {
	return c.Name == "VALARM" && strings.EqualFold(strings.TrimSpace(c.Value("ACTION")), "EMAIL")
}

// EmailAlarms lists what goes off in [from, to), in order of time (RFC 5545
// §3.6.6): relative alarms once for each instance that their component
// describes, absolute ones once, and what REPEAT says. Cancelled instances,
// finished tasks and alarms that were acknowledged (RFC 9074 §6.1) are silent.
// An alarm that cannot be read is left out; an error says that the object's
// times cannot be read, or that b was used up.
func (o *Object) EmailAlarms(z *Zones, from, to time.Time, b *Budget) ([]EmailAlarm, error) {
	if b == nil {
		b = NewBudget()
	}
	g := &ringing{z: z, from: from.Unix(), to: to.Unix()}
	low, high := g.to, g.from // what instances the relative alarms can be about
	relative := false
	for _, c := range o.Components() {
		if !alive(c) {
			continue
		}
		for _, a := range c.Children {
			t, ok, err := alarmOf(a, z)
			switch {
			case !emailAlarm(a) || !ok || err != nil:
			case t.absolute:
				tm, err := timingOf(c)
				if err != nil {
					return nil, err
				}
				g.add(c, a, t, t.at, tm.start)
			case c.Name == "VTODO" && c.Prop("DTSTART") == nil:
				if tm, err := timingOf(c); err == nil && tm.hasEnd && t.toEnd {
					if zn, err := z.zoneOf(tm.end); err == nil {
						g.add(c, a, t, zn.add(tm.end.Wall.Unix(), t.offset), tm.end)
					}
				}
			default:
				relative = true
				span := t.offset.seconds()
				low = min(low, g.from-span-t.repeat*t.every-2*daySeconds)
				high = max(high, g.to-span+2*daySeconds)
			}
		}
	}
	if relative {
		for i, err := range o.Instances(z, wallTime(low), wallTime(high), b) {
			if err != nil {
				return nil, err
			}
			if err := g.instance(&i); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(g.out, func(a, b EmailAlarm) int { return a.At.Compare(b.At) })
	return g.out, nil
}

// alive reports whether a component still takes place or is still to be done.
func alive(c *Component) bool {
	switch strings.ToUpper(strings.TrimSpace(c.Value("STATUS"))) {
	case "CANCELLED", "COMPLETED":
		return false
	}
	return c.Name != "VTODO" || c.Prop("COMPLETED") == nil
}

// ringing collects what goes off in [from, to).
type ringing struct {
	z        *Zones
	from, to int64
	out      []EmailAlarm
}

// instance adds the relative alarms of one instance.
func (g *ringing) instance(i *Instance) error {
	if !alive(i.Component) {
		return nil
	}
	for _, a := range i.Component.Children {
		t, ok, err := alarmOf(a, g.z)
		if !emailAlarm(a) || !ok || err != nil || t.absolute {
			continue
		}
		zn, err := g.z.zoneOf(i.StartValue)
		if err != nil {
			return err
		}
		at := zn.add(i.StartValue.Wall.Unix(), t.offset)
		if t.toEnd {
			if at = i.End.Unix() + t.offset.seconds(); t.offset.Days != 0 { // nominal days
				at = zn.add(i.End.Unix()+zn.offset(i.End.Unix()), t.offset)
			}
		}
		g.add(i.Component, a, t, at, i.StartValue)
	}
	return nil
}

// add notes an alarm and its repetitions.
func (g *ringing) add(owner, alarm *Component, t alarmTimes, at int64, start DateTime) {
	acknowledged := int64(openStart)
	if p := alarm.Prop("ACKNOWLEDGED"); p != nil {
		if d, err := ParseDateTime(p); err == nil && d.Kind == UTC {
			acknowledged = d.Wall.Unix()
		}
	}
	const most = 20 // mails of one alarm about one instance
	for n := int64(0); n <= min(t.repeat, most); n++ {
		if when := at + n*t.every; when >= g.from && when < g.to && when > acknowledged {
			g.out = append(g.out, EmailAlarm{At: wallTime(when), Alarm: alarm, Owner: owner, Start: start})
		}
	}
}
