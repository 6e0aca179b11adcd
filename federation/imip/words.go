package imip

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// teller says times and rules of one object in plain English.
type teller struct{ zones *calendar.Zones }

func newTeller(o *calendar.Object) teller { return teller{calendar.NewZones(o, time.UTC)} }

const (
	dayForm   = "Monday, 2 January 2006"
	shortForm = "Mon 2 Jan 2006"
	clockForm = "15:04"
)

// zone names the zone of a time for people: its TZID and the offset that
// holds then.
func (t teller) zone(d calendar.DateTime) string {
	switch d.Kind {
	case calendar.UTC:
		return "UTC"
	case calendar.Zoned:
	default:
		return "local time"
	}
	name := cleanLine(d.TZID, 60)
	if strings.HasPrefix(name, "/") { // RFC 5545 §3.2.19: a registry's own prefix
		if parts := strings.Split(name, "/"); len(parts) > 2 {
			if tail := strings.Join(parts[len(parts)-2:], "/"); calendar.KnownZone(tail) {
				name = tail
			}
		}
	}
	at, err := t.zones.Instant(d)
	if err != nil {
		return name
	}
	off := d.Wall.Sub(at)
	sign := "+"
	if off < 0 {
		sign, off = "-", -off
	}
	return fmt.Sprintf("%s, UTC%s%02d:%02d", name, sign, int(off.Hours()), int(off.Minutes())%60)
}

// moment says one date or time.
func (t teller) moment(d calendar.DateTime) string {
	if d.Kind == calendar.Date {
		return d.Wall.Format(dayForm)
	}
	return d.Wall.Format(dayForm+", "+clockForm) + " (" + t.zone(d) + ")"
}

// short says a date or time for a subject line.
func (t teller) short(d calendar.DateTime) string {
	if d.Kind == calendar.Date {
		return d.Wall.Format(shortForm)
	}
	s := d.Wall.Format(shortForm + " " + clockForm)
	if d.Kind == calendar.Zoned {
		return s + " (" + strings.SplitN(t.zone(d), ",", 2)[0] + ")"
	}
	if d.Kind == calendar.UTC {
		return s + " UTC"
	}
	return s
}

// span says when an event is. DTEND of whole days is the day after the last
// one (RFC 5545 §3.6.1).
func (t teller) span(start, end calendar.DateTime, hasEnd bool) string {
	if start.Kind == calendar.Date {
		last := start.Wall
		if hasEnd && end.Wall.After(start.Wall) {
			last = end.Wall.AddDate(0, 0, -1)
		}
		if !last.After(start.Wall) {
			return start.Wall.Format(dayForm) + " (all day)"
		}
		return start.Wall.Format(dayForm) + " to " + last.Format(dayForm) + " (all day)"
	}
	if !hasEnd || end.Wall.Equal(start.Wall) && end.TZID == start.TZID {
		return t.moment(start)
	}
	if end.Kind != start.Kind || end.TZID != start.TZID {
		return t.moment(start) + " to " + t.moment(end)
	}
	to := end.Wall.Format(clockForm)
	if y, m, d := start.Wall.Date(); !sameDay(end.Wall, y, m, d) {
		to = end.Wall.Format(dayForm + ", " + clockForm)
	}
	return start.Wall.Format(dayForm+", "+clockForm) + " to " + to + " (" + t.zone(start) + ")"
}

func sameDay(t time.Time, y int, m time.Month, d int) bool {
	ty, tm, td := t.Date()
	return ty == y && tm == m && td == d
}

// event says when a component is, "" when it has no start.
func (t teller) event(c *calendar.Component) string {
	start, ok := dateOf(c, "DTSTART")
	if !ok {
		return ""
	}
	end, ok := dateOf(c, "DTEND")
	if !ok {
		end, ok = t.afterDuration(c, start)
	}
	return t.span(start, end, ok)
}

// afterDuration is the end of an event that has a DURATION: days count on the
// calendar, the rest on the clock (RFC 5545 §3.3.6).
func (t teller) afterDuration(c *calendar.Component, start calendar.DateTime) (calendar.DateTime, bool) {
	p := c.Prop("DURATION")
	if p == nil {
		return start, false
	}
	d, err := calendar.ParseDuration(p.Value())
	if err != nil || d.Neg {
		return start, false
	}
	end := start
	end.Wall = end.Wall.AddDate(0, 0, d.Days)
	if d.Clock == 0 || start.Kind == calendar.Date {
		return end, true
	}
	at, err := t.zones.Instant(end)
	if err != nil {
		end.Wall = end.Wall.Add(d.Clock)
		return end, true
	}
	if end, err = t.zones.Local(at.Add(d.Clock), start); err != nil {
		return start, false
	}
	return end, true
}

// lasting says a DURATION value, "1 day 2 hours".
func lasting(v string) (string, bool) {
	d, err := calendar.ParseDuration(v)
	if err != nil || d.Neg {
		return "", false
	}
	var parts []string
	for _, u := range []struct {
		n    int
		name string
	}{{d.Days, "day"}, {int(d.Clock.Hours()), "hour"}, {int(d.Clock.Minutes()) % 60, "minute"}, {int(d.Clock.Seconds()) % 60, "second"}} {
		if u.n == 1 {
			parts = append(parts, "1 "+u.name)
		} else if u.n > 1 {
			parts = append(parts, fmt.Sprintf("%d %ss", u.n, u.name))
		}
	}
	return strings.Join(parts, " "), len(parts) > 0
}

func dateOf(c *calendar.Component, name string) (calendar.DateTime, bool) {
	p := c.Prop(name)
	if p == nil {
		return calendar.DateTime{}, false
	}
	d, err := calendar.ParseDateTime(p)
	return d, err == nil
}

var weekdays = map[string]string{
	"MO": "Monday", "TU": "Tuesday", "WE": "Wednesday", "TH": "Thursday", "FR": "Friday", "SA": "Saturday", "SU": "Sunday",
}

var ordinals = map[int]string{1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last", -2: "second to last"}

// otherRule is said of rules that have no short form in words.
const otherRule = "by a rule that your calendar program can show"

// repeats says a recurrence rule (RFC 5545 §3.3.10) in words: the usual daily,
// weekly, monthly and yearly rules.
func (t teller) repeats(rule string, start calendar.DateTime) string {
	parts := map[string]string{}
	for _, kv := range strings.Split(strings.ToUpper(rule), ";") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || v == "" {
			continue
		}
		if _, dup := parts[k]; dup {
			return otherRule
		}
		parts[k] = v
	}
	interval := 1
	if v, ok := parts["INTERVAL"]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 1000 {
			return otherRule
		}
		interval = n
	}
	delete(parts, "INTERVAL")
	delete(parts, "WKST")
	ending, ok := t.ending(parts, start)
	if !ok {
		return otherRule
	}
	freq := parts["FREQ"]
	delete(parts, "FREQ")
	on, ok := "", false
	switch freq {
	case "DAILY":
		if len(parts) == 0 {
			ok = true
		} else if interval == 1 && len(parts) == 1 && isWorkweek(parts["BYDAY"]) {
			return "every weekday (Monday to Friday)" + ending
		}
	case "WEEKLY":
		days, has := parts["BYDAY"]
		switch {
		case !has && len(parts) == 0:
			on, ok = " on "+start.Wall.Weekday().String(), true
		case has && len(parts) == 1 && interval == 1 && isWorkweek(days):
			return "every weekday (Monday to Friday)" + ending
		case has && len(parts) == 1:
			var list string
			list, ok = dayList(days)
			on = " on " + list
		}
	case "MONTHLY":
		on, ok = monthly(parts, start)
	case "YEARLY":
		on, ok = yearly(parts, start)
	}
	if !ok {
		return otherRule
	}
	unit := map[string]string{"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}[freq]
	if interval == 1 {
		return "every " + unit + on + ending
	}
	return fmt.Sprintf("every %d %ss%s%s", interval, unit, on, ending)
}

// ending says COUNT or UNTIL and takes them out of parts.
func (t teller) ending(parts map[string]string, start calendar.DateTime) (string, bool) {
	count, hasCount := parts["COUNT"]
	until, hasUntil := parts["UNTIL"]
	delete(parts, "COUNT")
	delete(parts, "UNTIL")
	switch {
	case hasCount && hasUntil:
		return "", false
	case hasCount:
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return "", false
		}
		if n == 1 {
			return ", once", true
		}
		return fmt.Sprintf(", %d times", n), true
	case hasUntil:
		d, ok := readMoment(until, "")
		if !ok {
			return "", false
		}
		if d.Kind == calendar.UTC && start.Kind == calendar.Zoned {
			if at, err := t.zones.Instant(d); err == nil {
				if local, err := t.zones.Local(at, start); err == nil {
					d = local
				}
			}
		}
		return ", until " + d.Wall.Format("2 January 2006"), true
	}
	return "", true
}

func isWorkweek(days string) bool {
	seen := map[string]bool{}
	for _, d := range strings.Split(days, ",") {
		seen[d] = true
	}
	return len(seen) == 5 && seen["MO"] && seen["TU"] && seen["WE"] && seen["TH"] && seen["FR"]
}

func dayList(days string) (string, bool) {
	var names []string
	for _, d := range strings.Split(days, ",") {
		name, ok := weekdays[d]
		if !ok {
			return "", false
		}
		names = append(names, name)
	}
	return joinAnd(names), true
}

func joinAnd(list []string) string {
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return strings.Join(list, "")
}

// nthDay says which weekday of a month is meant by BYDAY=2TU, or by BYDAY=TU
// with BYSETPOS=2.
func nthDay(byday, setpos string) (string, bool) {
	pos, day := 0, byday
	if n := len(byday); n > 2 && setpos == "" {
		p, err := strconv.Atoi(byday[:n-2])
		if err != nil {
			return "", false
		}
		pos, day = p, byday[n-2:]
	} else if setpos != "" {
		p, err := strconv.Atoi(setpos)
		if err != nil {
			return "", false
		}
		pos = p
	}
	name, ok := weekdays[day]
	if isWorkweek(day) {
		name, ok = "weekday", true
	}
	nth, known := ordinals[pos]
	return "the " + nth + " " + name, ok && known
}

func monthly(parts map[string]string, start calendar.DateTime) (string, bool) {
	byday, hasDay := parts["BYDAY"]
	bymd, hasMD := parts["BYMONTHDAY"]
	setpos := parts["BYSETPOS"]
	switch {
	case len(parts) == 0:
		return fmt.Sprintf(" on day %d", start.Wall.Day()), true
	case hasMD && len(parts) == 1:
		if bymd == "-1" {
			return " on the last day", true
		}
		var days []string
		for _, d := range strings.Split(bymd, ",") {
			n, err := strconv.Atoi(d)
			if err != nil || n < 1 || n > 31 {
				return "", false
			}
			days = append(days, strconv.Itoa(n))
		}
		if len(days) > 1 {
			return " on days " + joinAnd(days), true
		}
		return " on day " + days[0], true
	case hasDay && (len(parts) == 1 || len(parts) == 2 && setpos != ""):
		s, ok := nthDay(byday, setpos)
		return " on " + s, ok
	}
	return "", false
}

func yearly(parts map[string]string, start calendar.DateTime) (string, bool) {
	month := start.Wall.Month()
	used := 0
	if v, ok := parts["BYMONTH"]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 12 {
			return "", false
		}
		month, used = time.Month(n), 1
	}
	if len(parts) == used {
		return fmt.Sprintf(" on %d %s", start.Wall.Day(), month), true
	}
	if used == 0 {
		return "", false
	}
	if v, ok := parts["BYMONTHDAY"]; ok && len(parts) == 2 {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 31 {
			return "", false
		}
		return fmt.Sprintf(" on %d %s", n, month), true
	}
	if v, ok := parts["BYDAY"]; ok && (len(parts) == 2 || len(parts) == 3 && parts["BYSETPOS"] != "") {
		s, ok := nthDay(v, parts["BYSETPOS"])
		return " on " + s + " of " + month.String(), ok
	}
	return "", false
}

// readMoment reads a date or time in its wire form, with its zone after a
// blank ("20260102T030405 Europe/Berlin", as itip.FieldChange has it) or in the
// zone tzid.
func readMoment(v, tzid string) (calendar.DateTime, bool) {
	if value, zone, ok := strings.Cut(v, " "); ok {
		v, tzid = value, zone
	}
	var params []calendar.Param
	switch {
	case len(v) == 8:
		params = append(params, calendar.NewParam("VALUE", "DATE"))
	case tzid != "" && !strings.HasSuffix(v, "Z"):
		params = append(params, calendar.NewParam("TZID", tzid))
	}
	d, err := calendar.ParseDateTime(calendar.NewProperty("DTSTART", v, params...))
	return d, err == nil
}
