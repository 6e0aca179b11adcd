package calendar

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A VTIMEZONE that came with an object is turned into a time.Location once:
// its onsets from 1900 to 2200 become a table. What is not a zone of the real
// world (rules below a day, thousands of onsets) is refused, which bounds the
// work (abuse case A09).
const (
	maxOnsets    = 4000
	maxZoneSteps = 40_000
)

var (
	firstOnset = int64(dayNumber(1900, 1, 1)) * daySeconds
	lastOnset  = int64(dayNumber(2200, 1, 1)) * daySeconds
)

// customZones keeps the locations made of VTIMEZONEs by their text; when it is
// full it starts anew.
var customZones struct {
	sync.Mutex
	m map[string]*time.Location
}

const maxCustomZones = 256

func timezoneLocation(c *Component) (*time.Location, error) {
	key := timezoneKey(c)
	if len(key) <= 8192 {
		customZones.Lock()
		loc := customZones.m[key]
		customZones.Unlock()
		if loc != nil {
			return loc, nil
		}
	}
	loc, err := buildLocation(c)
	if err != nil {
		return nil, err
	}
	if len(key) <= 8192 {
		customZones.Lock()
		if customZones.m == nil || len(customZones.m) >= maxCustomZones {
			customZones.m = make(map[string]*time.Location)
		}
		customZones.m[key] = loc
		customZones.Unlock()
	}
	return loc, nil
}

// timezoneKey is the text of all that decides about the zone.
func timezoneKey(c *Component) string {
	var b strings.Builder
	b.WriteString(c.Value("TZID"))
	for _, k := range c.Children {
		b.WriteByte('\n')
		b.WriteString(k.Name)
		for _, p := range k.Props {
			switch p.name {
			case "DTSTART", "RRULE", "RDATE", "TZOFFSETFROM", "TZOFFSETTO", "TZNAME":
				b.WriteByte('\n')
				b.WriteString(p.name)
				b.WriteByte(':')
				b.WriteString(p.value)
			}
		}
	}
	return b.String()
}

// observance is a STANDARD or DAYLIGHT part (RFC 5545 §3.6.5).
type observance struct {
	from, to int64 // seconds east of UTC
	dst      bool
	name     string
}

type onset struct {
	at  int64 // instant
	obs int
}

func buildLocation(c *Component) (*time.Location, error) {
	bad := func(line int32, format string, args ...any) error {
		return fail(CodeInvalidData, int(line), "VTIMEZONE %q: %s", clip(c.Text("TZID")), fmt.Sprintf(format, args...))
	}
	var obs []observance
	var onsets []onset
	budget := &Budget{Steps: maxZoneSteps}
	for _, k := range c.Children {
		if k.Name != "STANDARD" && k.Name != "DAYLIGHT" {
			continue
		}
		if len(obs) == 200 {
			return nil, bad(k.line, "more than 200 parts")
		}
		from, ok1 := parseOffset(k.Value("TZOFFSETFROM"))
		to, ok2 := parseOffset(k.Value("TZOFFSETTO"))
		start := k.Prop("DTSTART")
		if !ok1 || !ok2 || start == nil {
			return nil, bad(k.line, "%s needs DTSTART, TZOFFSETFROM and TZOFFSETTO", k.Name)
		}
		d, err := ParseDateTime(start)
		if err != nil {
			return nil, err
		}
		i := len(obs)
		obs = append(obs, observance{from: from, to: to, dst: k.Name == "DAYLIGHT", name: zoneAbbreviation(k)})
		add := func(wall int64) bool {
			if wall < lastOnset {
				onsets = append(onsets, onset{at: wall - from, obs: i})
			}
			return len(onsets) <= maxOnsets
		}
		first := d.Wall.Unix()
		add(first)
		for _, p := range k.All("RDATE") {
			dates, err := ParseDateTimes(p)
			if err != nil {
				return nil, err
			}
			for _, d := range dates {
				w := d.Wall.Unix()
				if d.Kind == UTC {
					w += from
				}
				if !add(w) {
					return nil, bad(p.line, "more than %d onsets", maxOnsets)
				}
			}
		}
		for _, p := range k.All("RRULE") {
			r, err := ParseRule(p.value)
			if err != nil {
				return nil, err
			}
			if r.Freq > Daily {
				return nil, bad(p.line, "a rule below a day")
			}
			stop := lastOnset
			if !r.Until.IsZero() {
				u := r.Until.Wall.Unix()
				switch r.Until.Kind {
				case UTC:
					u += from
				case Date:
					u += daySeconds - 1
				}
				stop = min(stop, u)
			}
			it := newRuleIter(r, first, false, stop, budget)
			it.seek(firstOnset)
			for w, ok := it.next(); ok; w, ok = it.next() {
				if w != first && !add(w) {
					return nil, bad(p.line, "more than %d onsets", maxOnsets)
				}
			}
			if it.err != nil {
				return nil, bad(p.line, "the rule needs too much work")
			}
		}
	}
	if len(obs) == 0 {
		return nil, bad(c.line, "neither STANDARD nor DAYLIGHT")
	}
	slices.SortStableFunc(onsets, func(a, b onset) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	loc, err := time.LoadLocationFromTZData(c.Text("TZID"), tzif(obs, onsets))
	if err != nil {
		return nil, bad(c.line, "%v", err)
	}
	return loc, nil
}

// parseOffset reads a UTC-OFFSET (RFC 5545 §3.3.14), +hhmm or +hhmmss.
func parseOffset(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if len(s) != 5 && len(s) != 7 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	n, ok := digits(s[1:])
	if len(s) == 5 {
		n *= 100
	}
	h, m, sec := n/10000, n/100%100, n%100
	if !ok || h > 23 || m > 59 || sec > 59 {
		return 0, false
	}
	off := int64(h*3600 + m*60 + sec)
	if s[0] == '-' {
		off = -off
	}
	return off, true
}

func zoneAbbreviation(k *Component) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '-' {
			return r
		}
		return -1
	}, k.Text("TZNAME"))
	switch {
	case name == "" && k.Name == "DAYLIGHT":
		return "DST"
	case name == "":
		return "STD"
	}
	return name[:min(len(name), 6)]
}

// tzif writes a zone file (RFC 8536, version 2): before the first onset the
// offset is that onset's TZOFFSETFROM.
func tzif(obs []observance, onsets []onset) []byte {
	types := append([]observance{{to: obs[onsets[0].obs].from, name: "LMT"}}, obs...)
	var names []byte
	index := make([]byte, len(types))
	seen := map[string]int{}
	for i, t := range types {
		at, ok := seen[t.name]
		if !ok && len(names)+len(t.name) < 250 {
			at = len(names)
			seen[t.name] = at
			names = append(append(names, t.name...), 0)
		}
		index[i] = byte(at)
	}
	header := func(b []byte, times, types, chars int) []byte {
		b = append(b, "TZif2"...)
		b = append(b, make([]byte, 15)...)
		for _, n := range []int{0, 0, 0, times, types, chars} {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
		return b
	}
	b := header(nil, 0, 1, 1)
	b = append(b, 0, 0, 0, 0, 0, 0, 0) // the version 1 block: one type, one empty name
	b = header(b, len(onsets), len(types), len(names))
	for _, o := range onsets {
		b = binary.BigEndian.AppendUint64(b, uint64(o.at))
	}
	for _, o := range onsets {
		b = append(b, byte(o.obs+1))
	}
	for i, t := range types {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(t.to)))
		dst := byte(0)
		if t.dst {
			dst = 1
		}
		b = append(b, dst, index[i])
	}
	b = append(b, names...)
	return append(b, "\n\n"...)
}

// VTimezone makes the VTIMEZONE of an IANA or Windows name as it is at the
// time at: yearly rules from 1970 on for both halves, no history. Zones whose
// changes follow no yearly rule (they hang on another calendar) get their
// changes of the ten years from at's on as single dates. TZID is written as
// given. Errors are of code CodeInvalidData.
func VTimezone(tzid string, at time.Time) (*Component, error) {
	name := ZoneName(tzid)
	loc := knownLocation(tzid, true)
	if loc == nil {
		return nil, fail(CodeInvalidData, 0, "the time zone %q is unknown", clip(tzid))
	}
	c := NewComponent("VTIMEZONE")
	c.Add(NewProperty("TZID", EscapeText(tzid)))
	c.Add(NewProperty("X-LIC-LOCATION", EscapeText(name)))
	// Rules can be seen only over years; what stops within them is no rule.
	from := time.Date(at.In(loc).Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	changes := zoneChanges(loc, from, from.AddDate(30, 0, 0))
	if len(changes) == 0 {
		abbr, off := from.In(loc).Zone()
		c.Children = []*Component{observanceOf(zoneChange{name: abbr, from: off, to: off}, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), "")}
		return c, nil
	}
	for _, dst := range []bool{true, false} {
		var half []zoneChange
		for _, ch := range changes {
			if ch.dst == dst {
				half = append(half, ch)
			}
		}
		rule, first, ok := yearlyRule(half)
		if !ok {
			return irregular(c, changes, from.AddDate(10, 0, 0)), nil
		}
		c.Children = append(c.Children, observanceOf(half[0], first, rule))
	}
	return c, nil
}

// zoneChange is one change of offset; wall is the clock time it happens at,
// shown with the offset before. dst: the clock goes forward (zones whose winter
// time is the exception by law are written like all others).
type zoneChange struct {
	wall     time.Time
	at       time.Time
	from, to int
	dst      bool
	name     string
}

func zoneChanges(loc *time.Location, from, to time.Time) (out []zoneChange) {
	for t := from.In(loc); len(out) < 200; {
		_, end := t.ZoneBounds()
		if end.IsZero() || !end.Before(to) {
			return out
		}
		if !end.After(t) { // time.ZoneBounds cuts rules at the 365th day of a year
			t = t.Add(24 * time.Hour)
			continue
		}
		_, off := end.Add(-time.Second).Zone()
		name, next := end.Zone()
		if next != off {
			out = append(out, zoneChange{wall: end.UTC().Add(time.Duration(off) * time.Second), at: end, from: off, to: next, dst: next > off, name: name})
		}
		t = end
	}
	return out
}

// yearlyRule finds the rule behind one change a year, and its first date from
// 1970 on; false when there is none.
func yearlyRule(half []zoneChange) (rule string, first time.Time, ok bool) {
	if len(half) < 28 {
		return "", first, false
	}
	a := half[0]
	low, high := 31, 1
	fixed := true
	for i, ch := range half {
		if ch.from != a.from || ch.to != a.to || ch.wall.Month() != a.wall.Month() || ch.wall.Year() != a.wall.Year()+i ||
			ch.wall.Hour() != a.wall.Hour() || ch.wall.Minute() != a.wall.Minute() || ch.wall.Second() != a.wall.Second() {
			return "", first, false
		}
		fixed = fixed && ch.wall.Day() == a.wall.Day()
		low, high = min(low, ch.wall.Day()), max(high, ch.wall.Day())
	}
	month, wd := int(a.wall.Month()), int(a.wall.Weekday())
	rule = fmt.Sprintf("FREQ=YEARLY;BYMONTH=%d;", month)
	if fixed {
		rule += fmt.Sprintf("BYMONTHDAY=%d", low)
	} else {
		for _, ch := range half {
			if int(ch.wall.Weekday()) != wd {
				return "", first, false
			}
		}
		switch {
		case high-low != 6:
			return "", first, false
		case high == monthDays(2001, month) && month != 2:
			rule += "BYDAY=-1" + weekdayCodes[wd]
		case low%7 == 1 && low < 28:
			rule += fmt.Sprintf("BYDAY=%d%s", low/7+1, weekdayCodes[wd])
		default:
			rule += "BYDAY=" + weekdayCodes[wd] + ";BYMONTHDAY="
			for d := low; d <= high; d++ {
				if d > low {
					rule += ","
				}
				rule += fmt.Sprint(d)
			}
		}
	}
	r, err := ParseRule(rule)
	if err != nil {
		return "", first, false
	}
	h, m, s := a.wall.Clock()
	start := time.Date(1970, 1, 1, h, m, s, 0, time.UTC).Unix()
	it := newRuleIter(r, start, false, lastOnset, NewBudget())
	it.next() // the onset at start itself
	t, ok := it.next()
	if !ok {
		return "", first, false
	}
	return rule, wallTime(t), true
}

func observanceOf(ch zoneChange, first time.Time, rule string) *Component {
	k := NewComponent("STANDARD")
	if ch.dst {
		k.Name = "DAYLIGHT"
	}
	k.Add(DateTime{Wall: first, Kind: Floating}.Property("DTSTART"))
	k.Add(NewProperty("TZOFFSETFROM", offsetText(ch.from)))
	k.Add(NewProperty("TZOFFSETTO", offsetText(ch.to)))
	k.Add(NewProperty("TZNAME", EscapeText(ch.name)))
	if rule != "" {
		k.Add(NewProperty("RRULE", rule))
	}
	return k
}

// irregular lists the changes before until one by one, one part per pair of
// offsets.
func irregular(c *Component, changes []zoneChange, until time.Time) *Component {
	type pair struct{ from, to int }
	parts := map[pair]*Component{}
	for _, ch := range changes {
		if ch.at.After(until) {
			break
		}
		key := pair{ch.from, ch.to}
		d := DateTime{Wall: ch.wall, Kind: Floating}
		if k := parts[key]; k != nil {
			k.Add(d.Property("RDATE"))
			continue
		}
		parts[key] = observanceOf(ch, ch.wall, "")
		c.Children = append(c.Children, parts[key])
	}
	return c
}

func offsetText(off int) string {
	sign := '+'
	if off < 0 {
		sign, off = '-', -off
	}
	s := fmt.Sprintf("%c%02d%02d", sign, off/3600, off/60%60)
	if off%60 != 0 {
		s += fmt.Sprintf("%02d", off%60)
	}
	return s
}
