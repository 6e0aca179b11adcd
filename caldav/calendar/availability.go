package calendar

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Availability is one VAVAILABILITY object (RFC 7953 §3.1) with the zones that
// its times are read in.
type Availability struct {
	Object *Object
	Zones  *Zones
}

// maxAvailabilities is how many VAVAILABILITY components count together, the
// most important ones.
const maxAvailabilities = 200

// Unavailable gives the periods of [from, to) that the VAVAILABILITY components
// leave no time in, ordered and without overlaps (RFC 7953 §4). A component
// speaks of the whole time from its DTSTART to its DTEND: what no AVAILABLE
// inside of it covers is taken, with its BUSYTYPE. Where components overlap the
// one of the higher PRIORITY decides (1 is the highest, 0 or none the lowest),
// at the same priority the stronger BUSYTYPE: BUSY, BUSY-UNAVAILABLE,
// BUSY-TENTATIVE. Both ends are needed. Errors are those of Instances.
func Unavailable(of []Availability, from, to time.Time, b *Budget) ([]Period, error) {
	if b == nil {
		b = NewBudget()
	}
	f, t := unixRange(from, to)
	var all []statement
	for _, a := range of {
		z := a.Zones
		if z == nil {
			z = NewZones(a.Object, nil)
		}
		for _, c := range a.Object.Children {
			if c.Name != "VAVAILABILITY" {
				continue
			}
			s, e, err := availabilitySpan(c, z)
			if err != nil {
				return nil, err
			}
			if s, e = max(s, f), min(e, t); s < e {
				all = append(all, statement{c: c, z: z, start: s, end: e, typ: availabilityType(c), rank: availabilityRank(c)})
			}
		}
	}
	// The last word is the strongest one's.
	slices.SortStableFunc(all, func(a, b statement) int {
		if a.rank != b.rank {
			return order(int64(b.rank), int64(a.rank))
		}
		return order(int64(availabilityStrength[a.typ]), int64(availabilityStrength[b.typ]))
	})
	if n := len(all); n > maxAvailabilities {
		all = all[n-maxAvailabilities:]
	}
	var taken []span
	for i := range all {
		var err error
		if taken, err = all[i].over(taken, b); err != nil {
			return nil, err
		}
	}
	out := make([]Period, 0, len(taken))
	for _, s := range taken {
		if n := len(out); n > 0 && out[n-1].Type == s.typ && out[n-1].End.Unix() == s.start {
			out[n-1].End = wallTime(s.end)
			continue
		}
		out = append(out, Period{Start: wallTime(s.start), End: wallTime(s.end), Type: s.typ})
	}
	return out, nil
}

// availabilityStrength orders BUSYTYPEs of one priority (RFC 7953 §4).
var availabilityStrength = [...]int{BusyTime: 3, BusyUnavailable: 2, BusyTentative: 1, Free: 0}

// statement is one VAVAILABILITY within the range.
type statement struct {
	c          *Component
	z          *Zones
	start, end int64
	typ        BusyType
	rank       int
}

type span struct {
	start, end int64
	typ        BusyType
}

// over gives what is taken when s is the last to speak of its time.
func (s *statement) over(taken []span, b *Budget) ([]span, error) {
	if err := b.spend(len(taken) + 1); err != nil {
		return nil, err
	}
	free, err := s.available(b)
	if err != nil {
		return nil, err
	}
	out := make([]span, 0, len(taken)+len(free)+2)
	for _, t := range taken { // before
		if t.start < s.start {
			out = append(out, span{t.start, min(t.end, s.start), t.typ})
		}
	}
	at := s.start
	for _, p := range free {
		if p.start > at {
			out = append(out, span{at, p.start, s.typ})
		}
		at = max(at, p.end)
	}
	if at < s.end {
		out = append(out, span{at, s.end, s.typ})
	}
	for _, t := range taken { // after
		if t.end > s.end {
			out = append(out, span{max(t.start, s.end), t.end, t.typ})
		}
	}
	return out, nil
}

// available are the times of the AVAILABLE components of s, cut to its range,
// in order and joined.
func (s *statement) available(b *Budget) ([]span, error) {
	var free []span
	for _, o := range availables(s.c) {
		set, err := newSet(o, s.z, b)
		if err == nil {
			err = set.walk(s.start, s.end, false, func(i *Instance) bool {
				if from, to := max(i.Start.Unix(), s.start), min(i.End.Unix(), s.end); from < to {
					free = append(free, span{start: from, end: to})
				}
				return true
			})
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(free, func(a, b span) int { return order(a.start, b.start) })
	joined := free[:0]
	for _, p := range free {
		if n := len(joined); n > 0 && p.start <= joined[n-1].end {
			joined[n-1].end = max(joined[n-1].end, p.end)
		} else {
			joined = append(joined, p)
		}
	}
	return joined, nil
}

// availables gives the AVAILABLE components of a VAVAILABILITY as recurrence
// sets: those of one UID belong together, and recur as events do (RFC 7953
// §3.1).
func availables(c *Component) []*Object {
	var out []*Object
	byUID := map[string]*Object{}
	for _, k := range c.Children {
		if k.Name != "AVAILABLE" {
			continue
		}
		uid := k.Text("UID")
		o := byUID[uid]
		if o == nil || uid == "" || k.Prop("RECURRENCE-ID") == nil && o.Master() != nil {
			o = &Object{&Component{Name: "VCALENDAR"}}
			out = append(out, o)
			if byUID[uid] == nil {
				byUID[uid] = o
			}
		}
		o.Children = append(o.Children, &Component{Name: "VEVENT", Props: k.Props, line: k.line})
	}
	return out
}

// availabilitySpan is the time a VAVAILABILITY speaks of: without DTSTART it
// has always been so, without DTEND and DURATION it stays so (RFC 7953 §3.1).
func availabilitySpan(c *Component, z *Zones) (start, end int64, err error) {
	start, end = openStart, openEnd
	t, err := timingOf(c)
	if err != nil {
		return start, end, err
	}
	if t.hasStart {
		if start, err = z.unix(t.start); err != nil {
			return start, end, err
		}
	}
	switch {
	case t.hasEnd:
		end, err = z.unix(t.end)
	case t.hasDur && t.hasStart:
		var at time.Time
		at, err = z.Add(t.start, t.dur)
		end = at.Unix()
	}
	return start, end, err
}

func availabilityType(c *Component) BusyType {
	switch strings.ToUpper(strings.TrimSpace(c.Value("BUSYTYPE"))) {
	case "BUSY":
		return BusyTime
	case "BUSY-TENTATIVE":
		return BusyTentative
	}
	return BusyUnavailable // RFC 7953 §3.2: the default, and what unknown values mean
}

// availabilityRank is 1 for the highest priority; no priority is below 9.
func availabilityRank(c *Component) int {
	n, err := strconv.Atoi(strings.TrimSpace(c.Value("PRIORITY")))
	if err != nil || n < 1 || n > 9 {
		return 10
	}
	return n
}

// availabilityOverlaps is the time range on VAVAILABILITY, which asks for the
// time it speaks of, and on AVAILABLE, which asks for an instance (RFC 7953
// §7.2.2).
func availabilityOverlaps(c *Component, z *Zones, from, to int64, b *Budget) (bool, error) {
	if c.Name == "VAVAILABILITY" {
		s, e, err := availabilitySpan(c, z)
		return from < e && to > s, err
	}
	set, err := newSet(&Object{&Component{Name: "VCALENDAR", Children: []*Component{{Name: "VEVENT", Props: c.Props, line: c.line}}}}, z, b)
	if err != nil {
		return false, err
	}
	found := false
	if err = set.walk(from, to, false, func(*Instance) bool { found = true; return false }); err == errStopped {
		err = nil
	}
	return found, err
}

// availability checks a VAVAILABILITY and its AVAILABLE components (RFC 7953
// §3.1).
func (v *validator) availability(c *Component) error {
	if d := c.Prop("DURATION"); d != nil && c.Prop("DTSTART") == nil {
		return fail(CodeInvalidData, int(d.line), "VAVAILABILITY: DURATION without DTSTART")
	}
	if all := c.All("BUSYTYPE"); len(all) > 1 {
		return fail(CodeInvalidData, int(all[1].line), "VAVAILABILITY: BUSYTYPE stands twice")
	}
	for _, k := range c.Children {
		if k.Name != "AVAILABLE" {
			continue
		}
		if k.Prop("DTSTART") == nil {
			return fail(CodeInvalidData, int(k.line), "AVAILABLE: DTSTART is missing")
		}
		if err := v.component(k); err != nil {
			return err
		}
	}
	return nil
}

// ParseAvailability reads the value of CALDAV:calendar-availability (RFC 7953
// §7.2.4): an iCalendar object with one VAVAILABILITY and the time zones it
// needs. Errors have the codes of Parse and Validate.
func ParseAvailability(text string, lim Limits) (*Object, error) {
	o, err := Parse([]byte(text), lim)
	if err != nil {
		return nil, err
	}
	if err := Validate(o, Rules{Components: []string{"VAVAILABILITY"}}); err != nil {
		return nil, err
	}
	if len(o.Components()) != 1 {
		return nil, fail(CodeInvalidObject, int(o.line), "calendar-availability is one VAVAILABILITY")
	}
	return o, nil
}
