package calendar

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// CodeUnsupportedRScale is the precondition of RFC 7529 §4.3 for calendar
// scales other than GREGORIAN; RFC 7529 calls it supported-rscale.
const CodeUnsupportedRScale Code = "supported-rscale"

// Freq is the FREQ part of a rule, from the longest period to the shortest.
type Freq uint8

// The frequencies of RFC 5545 §3.3.10.
const (
	Yearly Freq = iota
	Monthly
	Weekly
	Daily
	Hourly
	Minutely
	Secondly
)

var freqNames = [...]string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"}

// String is the name as in a rule.
func (f Freq) String() string { return freqNames[f] }

// Skip says what becomes of a month's day that does not exist (RFC 7529 §4.1).
type Skip uint8

// The values of SKIP.
const (
	SkipOmit     Skip = iota // the date is left out; what RFC 5545 does
	SkipBackward             // the last day of the month is taken
	SkipForward              // the first day of the next month is taken
)

// RuleDay is one BYDAY value: N is 0 for every such weekday of the period, else
// the n-th (negative: from the end).
type RuleDay struct {
	N   int
	Day time.Weekday
}

// Rule is a recurrence rule (RFC 5545 §3.3.10). Lists are sorted and free of
// repetitions. A Rule is not changed after ParseRule.
type Rule struct {
	Freq       Freq
	Interval   int      // at least 1
	Count      int      // 0: none
	Until      DateTime // IsZero: none
	WeekStart  time.Weekday
	ByMonth    []int
	ByWeekNo   []int
	ByYearDay  []int
	ByMonthDay []int
	ByDay      []RuleDay
	ByHour     []int
	ByMinute   []int
	BySecond   []int
	BySetPos   []int
	RScale     bool // RSCALE=GREGORIAN stands in the rule
	Skip       Skip
}

const maxRuleNumber = 1<<31 - 1 // INTERVAL and COUNT

var weekdayCodes = [...]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// ParseRule reads an RRULE value. Letters of either case, any order of parts,
// empty parts and X- parts are tolerated; everything that would make the rule
// mean nothing (INTERVAL=0, day 32, unknown parts, two UNTILs, parts that the
// frequency forbids) is an error of code CodeInvalidData.
func ParseRule(s string) (*Rule, error) {
	r := &Rule{Interval: 1, WeekStart: time.Monday}
	seen := make([]string, 0, 8)
	for part := range strings.SplitSeq(s, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(value))
		if strings.HasPrefix(name, "X-") {
			continue
		}
		if slices.Contains(seen, name) {
			return nil, badRule("%s stands twice", name)
		}
		seen = append(seen, name)
		if !ok || !r.setPart(name, value) {
			if name == "RSCALE" {
				return nil, fail(CodeUnsupportedRScale, 0, "recurrence rule: calendar scale %q is not supported", clip(value))
			}
			return nil, badRule("part %q is not valid", clip(part))
		}
	}
	if err := r.check(slices.Contains(seen, "FREQ")); err != nil {
		return nil, err
	}
	return r, nil
}

func badRule(format string, args ...any) error {
	return fail(CodeInvalidData, 0, "recurrence rule: "+format, args...)
}

// setPart stores one part; false: the value is not valid.
func (r *Rule) setPart(name, value string) (ok bool) {
	switch name {
	case "FREQ":
		i := slices.Index(freqNames[:], value)
		r.Freq = Freq(max(i, 0))
		return i >= 0
	case "INTERVAL":
		r.Interval, ok = positive(value)
	case "COUNT":
		r.Count, ok = positive(value)
	case "UNTIL":
		wall, kind, valid := parseWall(value)
		r.Until, ok = DateTime{Wall: wall, Kind: kind}, valid
	case "WKST":
		i := slices.Index(weekdayCodes[:], value)
		r.WeekStart, ok = time.Weekday(max(i, 0)), i >= 0
	case "BYSECOND":
		r.BySecond, ok = numbers(value, 0, 60, false)
		for i, v := range r.BySecond { // RFC 5545 §3.3.12: without leap seconds 60 is 59
			r.BySecond[i] = min(v, 59)
		}
		r.BySecond = slices.Compact(r.BySecond)
	case "BYMINUTE":
		r.ByMinute, ok = numbers(value, 0, 59, false)
	case "BYHOUR":
		r.ByHour, ok = numbers(value, 0, 23, false)
	case "BYDAY":
		r.ByDay, ok = ruleDays(value)
	case "BYMONTHDAY":
		r.ByMonthDay, ok = numbers(value, 1, 31, true)
	case "BYYEARDAY":
		r.ByYearDay, ok = numbers(value, 1, 366, true)
	case "BYWEEKNO":
		r.ByWeekNo, ok = numbers(value, 1, 53, true)
	case "BYMONTH":
		r.ByMonth, ok = numbers(value, 1, 12, false)
	case "BYSETPOS":
		r.BySetPos, ok = numbers(value, 1, 366, true)
	case "RSCALE":
		r.RScale = true
		return value == "GREGORIAN"
	case "SKIP":
		i := slices.Index([]string{"OMIT", "BACKWARD", "FORWARD"}, value)
		r.Skip, ok = Skip(max(i, 0)), i >= 0
	}
	return ok
}

// check tests what concerns several parts: RFC 5545 §3.3.10, the prose below
// the grammar and the N/A cells of its table.
func (r *Rule) check(hasFreq bool) error {
	numbered := slices.ContainsFunc(r.ByDay, func(d RuleDay) bool { return d.N != 0 })
	switch {
	case !hasFreq:
		return badRule("FREQ is missing")
	case r.Count > 0 && !r.Until.IsZero():
		return badRule("COUNT and UNTIL exclude each other")
	case r.ByWeekNo != nil && r.Freq != Yearly:
		return badRule("BYWEEKNO goes with FREQ=YEARLY only")
	case r.ByYearDay != nil && (r.Freq == Monthly || r.Freq == Weekly || r.Freq == Daily):
		return badRule("BYYEARDAY does not go with FREQ=%s", r.Freq)
	case r.ByMonthDay != nil && r.Freq == Weekly:
		return badRule("BYMONTHDAY does not go with FREQ=WEEKLY")
	case numbered && (r.Freq > Monthly || r.ByWeekNo != nil):
		return badRule("numbered BYDAY values go with FREQ=MONTHLY or YEARLY without BYWEEKNO only")
	case r.Skip != SkipOmit && !r.RScale:
		return badRule("SKIP needs RSCALE") // RFC 7529 §4.1
	}
	return nil
}

func positive(s string) (int, bool) {
	if s == "" || len(s) > 10 {
		return 0, false
	}
	n, ok := digits(s)
	return n, ok && n > 0 && n <= maxRuleNumber
}

// numbers reads a list of values lo to hi, with negative ones when signed.
func numbers(s string, lo, hi int, signed bool) ([]int, bool) {
	if len(s) > 8000 {
		return nil, false
	}
	out := make([]int, 0, strings.Count(s, ",")+1)
	for v := range strings.SplitSeq(s, ",") {
		v = strings.TrimSpace(v)
		neg := false
		if signed && v != "" && (v[0] == '-' || v[0] == '+') {
			neg = v[0] == '-'
			v = v[1:]
		}
		if v == "" || len(v) > 4 {
			return nil, false
		}
		n, ok := digits(v)
		if !ok || n < lo || n > hi {
			return nil, false
		}
		if neg {
			n = -n
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

func ruleDays(s string) ([]RuleDay, bool) {
	if len(s) > 8000 {
		return nil, false
	}
	out := make([]RuleDay, 0, strings.Count(s, ",")+1)
	for v := range strings.SplitSeq(s, ",") {
		v = strings.TrimSpace(v)
		if len(v) < 2 {
			return nil, false
		}
		day := slices.Index(weekdayCodes[:], v[len(v)-2:])
		if day < 0 {
			return nil, false
		}
		d := RuleDay{Day: time.Weekday(day)}
		if num := v[:len(v)-2]; num != "" {
			ns, ok := numbers(num, 1, 53, true)
			if !ok || len(ns) != 1 {
				return nil, false
			}
			d.N = ns[0]
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b RuleDay) int {
		if a.N != b.N {
			return a.N - b.N
		}
		return int(a.Day) - int(b.Day)
	})
	return slices.Compact(out), true
}

// String writes the rule in a fixed order of its parts.
func (r *Rule) String() string {
	var b strings.Builder
	if r.RScale {
		b.WriteString("RSCALE=GREGORIAN;")
	}
	b.WriteString("FREQ=" + r.Freq.String())
	if !r.Until.IsZero() {
		b.WriteString(";UNTIL=" + r.Until.Value())
	}
	if r.Count > 0 {
		b.WriteString(";COUNT=" + strconv.Itoa(r.Count))
	}
	if r.Interval > 1 {
		b.WriteString(";INTERVAL=" + strconv.Itoa(r.Interval))
	}
	for _, l := range []struct {
		name   string
		values []int
	}{
		{";BYMONTH=", r.ByMonth}, {";BYWEEKNO=", r.ByWeekNo}, {";BYYEARDAY=", r.ByYearDay}, {";BYMONTHDAY=", r.ByMonthDay},
		{";BYDAY=", nil}, {";BYHOUR=", r.ByHour}, {";BYMINUTE=", r.ByMinute}, {";BYSECOND=", r.BySecond}, {";BYSETPOS=", r.BySetPos},
	} {
		if l.name == ";BYDAY=" {
			for i, d := range r.ByDay {
				b.WriteString([]string{l.name, ","}[min(i, 1)])
				if d.N != 0 {
					b.WriteString(strconv.Itoa(d.N))
				}
				b.WriteString(weekdayCodes[d.Day])
			}
		}
		for i, v := range l.values {
			b.WriteString([]string{l.name, ","}[min(i, 1)])
			b.WriteString(strconv.Itoa(v))
		}
	}
	if r.WeekStart != time.Monday {
		b.WriteString(";WKST=" + weekdayCodes[r.WeekStart])
	}
	if r.Skip != SkipOmit {
		b.WriteString([]string{"", ";SKIP=BACKWARD", ";SKIP=FORWARD"}[r.Skip])
	}
	return b.String()
}
