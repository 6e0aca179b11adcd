package calendar

import (
	"strconv"
	"strings"
	"time"
)

// Kind tells the forms of date and time values apart (RFC 5545 §3.3.4, §3.3.5).
type Kind uint8

// The kinds of DateTime.
const (
	Date     Kind = iota // a day, 20260102
	Floating             // local time of whoever looks, 20260102T030405
	UTC                  // 20260102T030405Z
	Zoned                // local time of the zone in TZID
)

// DateTime is a DATE or DATE-TIME value as it stands in a property. Wall has
// the civil fields and is always carried in time.UTC, whatever the kind;
// only Zones.Instant makes an instant of it.
type DateTime struct {
	Wall time.Time
	Kind Kind
	TZID string // for Zoned: the parameter's text
}

// IsZero reports whether d is no value at all.
func (d DateTime) IsZero() bool { return d.Wall.IsZero() && d.Kind == Date && d.TZID == "" }

// ParseDateTime reads the single DATE or DATE-TIME value of p. A value of
// eight digits without VALUE is taken for a DATE (many programs leave the
// parameter out). A TZID beside a UTC value is ignored (RFC 5545 §3.2.19).
// Errors are of code CodeInvalidData.
func ParseDateTime(p *Property) (DateTime, error) {
	d, ok := parseDateTime(p.value, p)
	if !ok {
		return DateTime{}, badValue(p, "date or date-time", p.value)
	}
	return d, nil
}

// ParseDateTimes reads the comma-separated values of EXDATE or RDATE. Of
// PERIOD values (RFC 5545 §3.3.9) the start is given; ParsePeriods gives more.
func ParseDateTimes(p *Property) ([]DateTime, error) {
	if strings.IndexByte(p.value, ',') < 0 && strings.IndexByte(p.value, '/') < 0 {
		d, err := ParseDateTime(p)
		if err != nil {
			return nil, err
		}
		return []DateTime{d}, nil
	}
	out := make([]DateTime, 0, strings.Count(p.value, ",")+1)
	for v := range strings.SplitSeq(p.value, ",") {
		v, _, _ = strings.Cut(v, "/")
		d, ok := parseDateTime(v, p)
		if !ok {
			return nil, badValue(p, "date or date-time", v)
		}
		out = append(out, d)
	}
	return out, nil
}

// PeriodValue is one PERIOD (RFC 5545 §3.3.9) or, with neither End nor
// Duration, a plain date or date-time of an RDATE.
type PeriodValue struct {
	Start    DateTime
	End      DateTime // zero when the period has a duration
	Duration Duration
	Period   bool
}

// ParsePeriods reads the values of RDATE or FREEBUSY.
func ParsePeriods(p *Property) ([]PeriodValue, error) {
	out := make([]PeriodValue, 0, strings.Count(p.value, ",")+1)
	for v := range strings.SplitSeq(p.value, ",") {
		s, e, isPeriod := strings.Cut(v, "/")
		pv := PeriodValue{Period: isPeriod}
		ok := true
		if pv.Start, ok = parseDateTime(s, p); ok && isPeriod {
			if e = strings.TrimSpace(e); e != "" && (e[0] == 'P' || e[0] == 'p' || e[0] == '+') {
				var err error
				pv.Duration, err = ParseDuration(e)
				ok = err == nil
			} else {
				pv.End, ok = parseDateTime(e, p)
			}
			ok = ok && pv.Start.Kind != Date
		}
		if !ok {
			return nil, badValue(p, "period", v)
		}
		out = append(out, pv)
	}
	return out, nil
}

// parseDateTime reads v with the VALUE and TZID parameters of p.
func parseDateTime(v string, p *Property) (DateTime, bool) {
	v = strings.TrimSpace(v)
	wall, kind, ok := parseWall(v)
	if !ok {
		return DateTime{}, false
	}
	d := DateTime{Wall: wall, Kind: kind}
	for i := range p.params {
		q := &p.params[i]
		if len(q.Values) == 0 {
			continue
		}
		switch q.Name {
		case "VALUE":
			if strings.EqualFold(q.Values[0], "DATE") != (kind == Date) {
				return DateTime{}, false
			}
		case "TZID":
			if kind == Floating {
				if id := strings.Trim(q.Values[0], "\" \t"); id != "" {
					d.Kind, d.TZID = Zoned, id
				}
			}
		}
	}
	return d, true
}

// parseWall reads 20260102, 20260102T030405 or 20260102T030405Z.
func parseWall(v string) (time.Time, Kind, bool) {
	if len(v) != 8 && len(v) != 15 && len(v) != 16 {
		return time.Time{}, 0, false
	}
	year, ok1 := digits(v[:4])
	month, ok2 := digits(v[4:6])
	day, ok3 := digits(v[6:8])
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 || day > monthDays(year, month) {
		return time.Time{}, 0, false
	}
	if len(v) == 8 {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), Date, true
	}
	hour, ok1 := digits(v[9:11])
	minute, ok2 := digits(v[11:13])
	second, ok3 := digits(v[13:15])
	if !ok1 || !ok2 || !ok3 || v[8] != 'T' && v[8] != 't' || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, 0, false
	}
	if second == 60 { // RFC 5545 §3.3.12: without leap seconds, 60 is read as 59
		second = 59
	}
	kind := Floating
	if len(v) == 16 {
		if v[15] != 'Z' && v[15] != 'z' {
			return time.Time{}, 0, false
		}
		kind = UTC
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC), kind, true
}

func digits(s string) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

// clip shortens foreign text for a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// badValue is an error of code CodeInvalidData that names p's line.
func badValue(p *Property, kind, value string) error {
	return fail(CodeInvalidData, int(p.line), "%s: %q is no %s", p.name, clip(value), kind)
}

// Value is the wire form: 20260102, 20260102T030405 or 20260102T030405Z.
func (d DateTime) Value() string {
	var buf [16]byte
	y, m, day := d.Wall.Date()
	b := appendPadded(buf[:0], y, 4)
	b = appendPadded(b, int(m), 2)
	b = appendPadded(b, day, 2)
	if d.Kind != Date {
		h, mi, s := d.Wall.Clock()
		b = append(b, 'T')
		b = appendPadded(b, h, 2)
		b = appendPadded(b, mi, 2)
		b = appendPadded(b, s, 2)
		if d.Kind == UTC {
			b = append(b, 'Z')
		}
	}
	return string(b)
}

func appendPadded(b []byte, n, width int) []byte {
	if n < 0 {
		n = 0
	}
	var tmp [8]byte
	s := strconv.AppendInt(tmp[:0], int64(n), 10)
	for i := len(s); i < width; i++ {
		b = append(b, '0')
	}
	return append(b, s...)
}

// Property returns a property with this value, with VALUE=DATE or TZID where
// the kind needs them.
func (d DateTime) Property(name string) *Property {
	p := NewProperty(name, d.Value())
	switch d.Kind {
	case Date:
		p.params = []Param{NewParam("VALUE", "DATE")}
	case Zoned:
		p.params = []Param{NewParam("TZID", d.TZID)}
	}
	return p
}

// Equal reports whether both are the same value in the same form. Two forms of
// one instant are not Equal; compare Zones.Instant for that.
func (d DateTime) Equal(e DateTime) bool {
	return d.Kind == e.Kind && d.TZID == e.TZID && d.Wall.Equal(e.Wall)
}

// UTCDateTime is the UTC value of an instant, cut to seconds.
func UTCDateTime(t time.Time) DateTime {
	return DateTime{Wall: t.UTC().Truncate(time.Second), Kind: UTC}
}

// Duration is a DURATION value (RFC 5545 §3.3.6). Days are nominal: they
// follow the calendar of the zone. Clock is exact time. Both are absolute, Neg
// is the sign of the whole.
type Duration struct {
	Neg   bool
	Days  int // weeks folded in
	Clock time.Duration
}

const (
	maxDurationDays  = 3_660_000              // ten thousand years
	maxDurationClock = 200 * 8766 * time.Hour // two hundred years
)

// ParseDuration reads a DURATION value: P1W, -P1DT2H, PT15M. A value that mixes
// weeks with others, or has a T that nothing follows (P1DT), is tolerated. Errors
// are of code CodeInvalidData.
func ParseDuration(s string) (Duration, error) {
	d, ok := parseDuration(strings.TrimSpace(s))
	if !ok {
		return Duration{}, fail(CodeInvalidData, 0, "%q is no duration", clip(s))
	}
	return d, nil
}

func parseDuration(s string) (d Duration, ok bool) {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		d.Neg = s[0] == '-'
		s = s[1:]
	}
	if len(s) < 3 || s[0]|0x20 != 'p' {
		return d, false
	}
	const order = "wdthms"
	last, inTime, any := -1, false, false
	for s = s[1:]; s != ""; {
		if s[0]|0x20 == 't' {
			if inTime || len(s) == 1 && !any {
				return d, false
			}
			inTime, last, s = true, 2, s[1:]
			continue
		}
		i, n := 0, 0
		for i < len(s) && s[i] >= '0' && s[i] <= '9' && i < 11 {
			n = n*10 + int(s[i]-'0')
			i++
		}
		if i == 0 || i == 11 || i == len(s) {
			return d, false
		}
		unit := s[i] | 0x20
		rank := strings.IndexByte(order, unit)
		if rank <= last || inTime != (rank > 2) {
			return d, false
		}
		var each time.Duration
		switch unit {
		case 'w', 'd':
			if unit == 'w' {
				n *= 7
			}
			if d.Days += n; d.Days > maxDurationDays {
				return d, false
			}
		case 'h':
			each = time.Hour
		case 'm':
			each = time.Minute
		case 's':
			each = time.Second
		}
		if each > 0 {
			if n > int(maxDurationClock/each) {
				return d, false
			}
			if d.Clock += time.Duration(n) * each; d.Clock > maxDurationClock {
				return d, false
			}
		}
		any, last, s = true, rank, s[i+1:]
	}
	return d, any
}

// String is the wire form; weeks are written as days unless they are alone.
func (d Duration) String() string {
	var b []byte
	if d.Neg {
		b = append(b, '-')
	}
	b = append(b, 'P')
	switch {
	case d.Days == 0 && d.Clock == 0:
		return "PT0S"
	case d.Clock == 0 && d.Days%7 == 0:
		b = strconv.AppendInt(b, int64(d.Days/7), 10)
		return string(append(b, 'W'))
	case d.Days > 0:
		b = strconv.AppendInt(b, int64(d.Days), 10)
		b = append(b, 'D')
	}
	if d.Clock > 0 {
		b = append(b, 'T')
		left := int64(d.Clock / time.Second)
		for _, u := range [...]struct {
			size int64
			name byte
		}{{3600, 'H'}, {60, 'M'}, {1, 'S'}} {
			if n := left / u.size; n > 0 {
				b = strconv.AppendInt(b, n, 10)
				b = append(b, u.name)
				left -= n * u.size
			}
		}
	}
	return string(b)
}

// IsZero reports whether the duration has no length.
func (d Duration) IsZero() bool { return d.Days == 0 && d.Clock == 0 }

// Sign is -1, 0 or 1.
func (d Duration) Sign() int {
	switch {
	case d.IsZero():
		return 0
	case d.Neg:
		return -1
	}
	return 1
}

// Nominal is the length with days of 24 hours.
func (d Duration) Nominal() time.Duration {
	n := time.Duration(min(d.Days, 100_000))*24*time.Hour + d.Clock // keeps clear of the 292 years of time.Duration
	if d.Neg {
		return -n
	}
	return n
}

// seconds is the length in seconds with days of 24 hours.
func (d Duration) seconds() int64 {
	n := int64(d.Days)*daySeconds + int64(d.Clock/time.Second)
	if d.Neg {
		return -n
	}
	return n
}

const daySeconds = 86400

// The functions below do calendar arithmetic on plain integers: day numbers
// count from 1970-01-01 in the proleptic Gregorian calendar, weekdays from
// Sunday as 0.

func isLeap(y int) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

// monthDays is the number of days of month m (1-12) of year y.
func monthDays(y, m int) int {
	switch m {
	case 2:
		if isLeap(y) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func yearDays(y int) int {
	if isLeap(y) {
		return 366
	}
	return 365
}

// dayNumber is the day number of a date. Years are counted from March so that
// the leap day comes last.
func dayNumber(y, m, d int) int {
	if m <= 2 {
		y--
		m += 12
	}
	return 365*y + floorDiv(y, 4) - floorDiv(y, 100) + floorDiv(y, 400) + (153*(m-3)+2)/5 + d - 719469
}

// dayDate is the inverse of dayNumber.
func dayDate(n int) (y, m, d int) {
	n += 719468 // days from 0000-03-01
	era := floorDiv(n, 146097)
	n -= era * 146097
	yoe := (n - n/1460 + n/36524 - n/146096) / 365
	doy := n - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	y, m, d = yoe+era*400, mp+3, doy-(153*mp+2)/5+1
	if m > 12 {
		m -= 12
		y++
	}
	return y, m, d
}

// weekday of a day number: 0 is Sunday.
func weekday(n int) int { return floorMod(n+4, 7) }

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int) int { return a - floorDiv(a, b)*b }

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
