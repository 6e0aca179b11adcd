package calendar

import (
	"strconv"
	"strings"
)

// alarmTimes is what a VALARM says about when it goes off.
type alarmTimes struct {
	absolute bool
	at       int64    // absolute
	offset   Duration // relative
	toEnd    bool     // relative to the end
	repeat   int64    // how often more
	every    int64    // seconds between
}

// maxRepeatSpan bounds how long an alarm may go on repeating, in seconds.
const maxRepeatSpan = 100 * 366 * daySeconds

// alarmOf reads a VALARM (RFC 5545 §3.6.6, §3.8.6); ok is false when it never
// goes off by time.
func alarmOf(a *Component, z *Zones) (t alarmTimes, ok bool, err error) {
	p := a.Prop("TRIGGER")
	if p == nil {
		return t, false, nil
	}
	if d, isDuration := parseDuration(strings.TrimSpace(p.value)); isDuration {
		t.offset, t.toEnd = d, strings.EqualFold(p.Param("RELATED"), "END")
	} else {
		d, err := ParseDateTime(p)
		if err != nil {
			return t, false, err
		}
		t.absolute = true
		if t.at, err = z.unix(d); err != nil {
			return t, false, err
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(a.Value("REPEAT")), 10, 32)
	if d := a.Prop("DURATION"); err == nil && n > 0 && d != nil {
		if every, ok := parseDuration(strings.TrimSpace(d.value)); ok && !every.Neg && !every.IsZero() {
			t.every = every.seconds()
			t.repeat = min(n, maxRepeatSpan/t.every)
		}
	}
	return t, true, nil
}

// fires reports whether the alarm, first going off at the instant at, does so
// in [from, to).
func (t *alarmTimes) fires(at, from, to int64) bool {
	if at >= to {
		return false
	}
	if at >= from {
		return true
	}
	if t.repeat == 0 {
		return false
	}
	n := (from - at + t.every - 1) / t.every
	return n <= t.repeat && at+n*t.every < to
}

// alarm is the VALARM row of RFC 4791 §9.9: the alarm a of the component owner
// goes off in [from, to) for one of owner's instances.
func (m *matcher) alarm(a, owner *Component, from, to int64) (bool, error) {
	t, ok, err := alarmOf(a, m.z)
	if err != nil || !ok {
		return false, err
	}
	if t.absolute {
		return t.fires(t.at, from, to), nil
	}
	if owner.Name == "VTODO" && owner.Prop("DTSTART") == nil {
		tm, err := timingOf(owner)
		if err != nil || !tm.hasEnd || !t.toEnd {
			return false, err
		}
		if tm.recurByDue(owner); tm.byDue {
			return m.alarmOfInstances(&t, owner, from, to)
		}
		zn, err := m.z.zoneOf(tm.end)
		if err != nil {
			return false, err
		}
		return t.fires(zn.add(tm.end.Wall.Unix(), t.offset), from, to), nil
	}
	return m.alarmOfInstances(&t, owner, from, to)
}

// alarmOfInstances: a relative alarm goes off in [from, to) for an instance of
// owner.
func (m *matcher) alarmOfInstances(t *alarmTimes, owner *Component, from, to int64) (bool, error) {
	slack := int64(0)
	if t.offset.Days != 0 {
		slack = maxOffset
	}
	low, high := from, to
	if low > openStart {
		low -= t.offset.seconds() + t.repeat*t.every + slack
	}
	if high < openEnd {
		high += slack - t.offset.seconds()
	}
	found := false
	var failed error
	err := m.walk(low, high, true, func(i *Instance) bool {
		if i.Component != owner {
			return true
		}
		zn, err := m.z.zoneOf(i.StartValue)
		if err != nil {
			failed = err
			return false
		}
		w := i.StartValue.Wall.Unix()
		if t.toEnd {
			e := i.End.Unix()
			w = e + zn.offset(e)
			if t.offset.Days == 0 { // keep clear of folds
				found = t.fires(e+t.offset.seconds(), from, to)
				return !found
			}
		}
		found = t.fires(zn.add(w, t.offset), from, to)
		return !found
	})
	if failed != nil {
		err = failed
	}
	return found, err
}
