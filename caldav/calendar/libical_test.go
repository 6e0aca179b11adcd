package calendar

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// libicalRules is how many generated objects TestAgainstLibical compares.
const libicalRules = 6400

// TestAgainstLibical compares the recurrence engine with libical over generated
// objects. Where both differ the object must belong to a class of
// testdata/libical/differences.txt, which names the line of the RFC that
// decides; a class that no object needs any more is a failure as well.
//
// The helper is built here with gcc. Without gcc or libical-dev the test is
// skipped on a developer's machine; with CI set it fails.
func TestAgainstLibical(t *testing.T) {
	t.Parallel()
	oracle := buildOracle(t)
	rng := rand.New(rand.NewPCG(5545, 7529))
	objects := make([]*oracleObject, 0, libicalRules)
	for len(objects) < libicalRules {
		if o := generateObject(t, rng); o != nil {
			objects = append(objects, o)
		}
	}
	answers := oracle(objects)
	classes := readDifferences(t)
	hits := map[string]int{}
	equal, silent := 0, 0
	var unexplained []string
	for i, o := range objects {
		if strings.HasPrefix(answers[i], "!") { // slow, crashed, or a rule it does not take
			silent++
			continue
		}
		if o.ours == answers[i] {
			equal++
			continue
		}
		class := ""
		for _, c := range classes {
			if c.holds(o, answers[i]) {
				class = c.name
				break
			}
		}
		if hits[class]++; class == "" {
			unexplained = append(unexplained, fmt.Sprintf("%s\nours    %s\nlibical %s\n", o.text, readable(o.ours), readable(answers[i])))
		}
	}
	t.Logf("%d objects: %d equal, %d without an answer of libical, different by class: %v", len(objects), equal, silent, hits)
	if equal < 5000 {
		t.Errorf("only %d objects are equal", equal)
	}
	for _, u := range unexplained[:min(len(unexplained), 8)] {
		t.Error(u)
	}
	if len(unexplained) > 0 {
		t.Fatalf("%d differences belong to no class", len(unexplained))
	}
	for _, c := range classes {
		if hits[c.name] == 0 {
			t.Errorf("no object differs by class %s any more: remove it", c.name)
		}
	}
}

// readable writes instants as times, for people.
func readable(list string) string {
	var out []string
	for _, f := range strings.Fields(list) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return list
		}
		out = append(out, wallTime(n).Format("20060102T150405"))
	}
	return strings.Join(out, " ")
}

// buildOracle compiles testdata/libical/oracle.c and answers a function that
// runs it over objects.
func buildOracle(t *testing.T) func([]*oracleObject) []string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "oracle")
	if out, err := exec.Command("gcc", "-O1", "-Wall", "-o", exe, "testdata/libical/oracle.c", "-lical").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("install gcc and libical-dev: %v\n%s", err, out)
		}
		t.Skipf("not compared with libical: install gcc and libical-dev (%v)", err)
	}
	return func(objects []*oracleObject) []string {
		var in bytes.Buffer
		for _, o := range objects {
			in.WriteString(o.text)
			in.WriteString(".\n")
		}
		cmd := exec.Command(exe, oracleZones...)
		cmd.Stdin, cmd.Stderr = &in, os.Stderr
		text, err := cmd.Output()
		out := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if err != nil || len(out) != len(objects) {
			t.Fatalf("%d answers for %d objects, %v", len(out), len(objects), err)
		}
		return out
	}
}

// oracleObject is a generated object with what we say about it.
type oracleObject struct {
	text       string
	rule       *Rule
	start      DateTime
	offRule    bool // DTSTART is not made by the rule
	unsorted   bool // a list of the rule is not in order
	crosses    bool // its instances have several UTC offsets
	rdateType  bool // an RDATE has another value type than DTSTART
	exdateType bool // so has an EXDATE
	ours       string
}

// oracleZones have their clock changes at different hours, on both sides of
// the equator, by half an hour, and none at all.
var oracleZones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Halifax", "Asia/Tokyo", "Europe/Lisbon", "Pacific/Auckland", "Australia/Adelaide", "Europe/London"}

// generateObject makes an object; nil when its rule gives nothing to compare.
func generateObject(t *testing.T, rng *rand.Rand) *oracleObject {
	rule, sorted := oracleRule(rng)
	start := DateTime{Wall: time.Date(1998+rng.IntN(34), time.Month(1+rng.IntN(12)), 1+rng.IntN(31), rng.IntN(24), 15*rng.IntN(4), 0, 0, time.UTC)}
	switch rng.IntN(8) {
	case 0:
		start.Kind = UTC
	case 1:
		start.Kind = Floating
	case 2, 3:
		start.Kind, start.Wall = Date, start.Wall.Truncate(24*time.Hour)
	default:
		start.Kind, start.TZID = Zoned, oracleZones[rng.IntN(len(oracleZones))]
		if rng.IntN(4) == 0 { // near the hours at which clocks change
			start.Wall = start.Wall.Truncate(24 * time.Hour).Add(time.Duration(rng.IntN(12)) * 15 * time.Minute)
		}
	}
	r, err := ParseRule(rule)
	if err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	if start.Kind == Date && (r.Freq > Daily || r.ByHour != nil || r.ByMinute != nil || r.BySecond != nil) {
		return nil // RFC 5545 §3.3.10: not for a DATE
	}
	// What libical reads differently is kept in small numbers.
	if differs := r.Freq >= Daily && (hasNegative(r.ByMonthDay) || hasNegative(r.ByYearDay)) || r.Freq == Yearly && r.ByMonthDay != nil && r.ByMonth == nil || hasNegative(r.ByWeekNo); differs && rng.IntN(8) > 0 {
		return nil
	}
	o := &oracleObject{rule: r, start: start, unsorted: !sorted}
	// The rule's own times, as if it had begun earlier.
	walk := func(from time.Time, n int) []int64 {
		it := newRuleIter(r, from.Unix(), start.Kind == Date, from.AddDate(40, 0, 0).Unix(), &Budget{Steps: 20_000})
		return take(it, n)
	}
	if rng.IntN(20) == 0 {
		times := walk(start.Wall.AddDate(-1, 0, 0), 2)
		o.offRule = len(times) < 2 || !slices.Contains(walk(wallTime(times[1]), 400), start.Wall.Unix())
	} else {
		times := walk(start.Wall, 2)
		if len(times) < 2 {
			return nil
		}
		o.start.Wall = wallTime(times[1])
	}
	// RFC 5545 §3.3.10: UNTIL has DTSTART's value type, and is UTC for a zone.
	switch rng.IntN(3) {
	case 0:
		rule += ";COUNT=" + fmt.Sprint(1+rng.IntN(60))
	case 1:
		times := walk(o.start.Wall, 2+rng.IntN(40))
		until := wallTime(times[len(times)-1]).Add(time.Duration(rng.IntN(3)-1) * time.Second)
		if rng.IntN(2) == 0 {
			until = wallTime(times[len(times)-1])
		}
		d := DateTime{Wall: until, Kind: o.start.Kind}
		if d.Kind == Zoned {
			z := NewZones(nil, time.UTC)
			at, err := z.Instant(DateTime{Wall: until, Kind: Zoned, TZID: o.start.TZID})
			if err != nil {
				t.Fatal(err)
			}
			d = UTCDateTime(at)
		}
		rule += ";UNTIL=" + d.Value()
	}
	if o.rule, err = ParseRule(rule); err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	lines := []string{"UID:1", "DTSTAMP:20260101T000000Z", line(o.start.Property("DTSTART")), "RRULE:" + rule}
	members := walk(o.start.Wall, 30)
	for range rng.IntN(3) * rng.IntN(2) {
		d := o.start
		d.Wall = wallTime(members[rng.IntN(len(members))])
		lines = append(lines, line(otherType(rng, d, &o.exdateType).Property("EXDATE")))
	}
	for range rng.IntN(3) * rng.IntN(2) {
		d := o.start
		d.Wall = wallTime(members[rng.IntN(len(members))]).Add(time.Duration(rng.IntN(3)) * 24 * time.Hour)
		d = otherType(rng, d, &o.rdateType)
		p := d.Property("RDATE")
		if d.Kind != Date && rng.IntN(3) == 0 {
			p.SetParam("VALUE", "PERIOD")
			p.SetValue(p.Value() + "/PT1H")
		}
		lines = append(lines, line(p))
	}
	return o.finish(t, lines)
}

// otherType turns a value into one of another type than DTSTART's, now and
// then: a date for a time, a UTC time for a zoned one, a time for a date.
func otherType(rng *rand.Rand, d DateTime, other *bool) DateTime {
	switch n := rng.IntN(24); {
	case n == 0:
		*other = true
		if d.Kind == Date {
			return DateTime{Wall: d.Wall.Add(10 * time.Hour), Kind: Floating}
		}
		return DateTime{Wall: d.Wall.Truncate(24 * time.Hour), Kind: Date}
	case n < 6:
		if d.Kind == Zoned {
			z := NewZones(nil, time.UTC)
			if at, err := z.Instant(d); err == nil {
				return UTCDateTime(at)
			}
		}
	}
	return d
}

func line(p *Property) string { return strings.TrimRight(string(p.appendTo(nil)), "\r\n") }

// finish writes the object down together with what we say about it: up to 60
// instances of at most 40 years.
func (o *oracleObject) finish(t *testing.T, lines []string) *oracleObject {
	body := strings.Join(lines, "\n")
	wrap := func(end int64) string {
		return "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\n" + body + "\nX-WINDOW:" + strconv.FormatInt(end, 10) + "\nEND:VEVENT\nEND:VCALENDAR\n"
	}
	obj, err := Parse([]byte(strings.ReplaceAll(wrap(0), "\n", "\r\n")), Limits{})
	if err != nil {
		t.Fatalf("%v\n%s", err, wrap(0))
	}
	var starts []int64
	b := &Budget{Steps: 50_000, Instances: 1000}
	end := o.start.Wall.AddDate(25, 0, 0).Unix()
	for i, err := range obj.Instances(NewZones(obj, time.UTC), time.Time{}, wallTime(end), b) {
		if err != nil {
			return nil
		}
		if len(starts) == 60 {
			end = i.Start.Unix()
			break
		}
		starts = append(starts, i.Start.Unix())
	}
	if len(starts) < 60 && o.rule.Count == 0 && o.rule.Until.IsZero() && o.rule.Freq > Daily {
		return nil // libical walks to the end of the window second by second
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	out := make([]string, len(starts))
	for i, s := range starts {
		out[i] = strconv.FormatInt(s, 10)
	}
	if loc, err := time.LoadLocation(o.start.TZID); err == nil && o.start.Kind == Zoned && len(starts) > 0 {
		for _, s := range starts {
			o.crosses = o.crosses || offsetAt(loc, s) != offsetAt(loc, starts[0])
		}
	}
	o.text, o.ours = wrap(end), strings.Join(out, " ")
	return o
}

// oracleRule is randomRule without its end, with SKIP now and then. Mostly its
// lists are sorted.
func oracleRule(rng *rand.Rand) (rule string, sorted bool) {
	var parts []string
	for part := range strings.SplitSeq(randomRule(rng), ";") {
		if !strings.HasPrefix(part, "COUNT=") && !strings.HasPrefix(part, "UNTIL=") {
			parts = append(parts, part)
		}
	}
	if rng.IntN(8) == 0 {
		parts = append(parts, "RSCALE=GREGORIAN")
		if skip := rng.IntN(4); skip > 0 {
			parts = append(parts, "SKIP="+[]string{"", "OMIT", "BACKWARD", "FORWARD"}[skip])
		}
	}
	rule = strings.Join(parts, ";")
	if r, err := ParseRule(rule); err == nil && rng.IntN(20) > 0 {
		return r.String(), true
	}
	return rule, false
}

// difference is a class of objects for which libical and we differ.
type difference struct {
	name  string
	holds func(o *oracleObject, libical string) bool
}

// readDifferences reads testdata/libical/differences.txt: paragraphs whose first
// line is "class: the RFC's line".
func readDifferences(t *testing.T) (out []difference) {
	t.Helper()
	text, err := os.ReadFile("testdata/libical/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		name, rest, ok := strings.Cut(strings.TrimSpace(paragraph), ": ")
		if strings.HasPrefix(name, "#") || name == "" {
			continue
		}
		holds := differenceClasses[name]
		if !ok || holds == nil || !strings.HasPrefix(rest, "RFC ") {
			t.Fatalf("differences.txt: %q is no known class with the RFC that decides it", name)
		}
		out = append(out, difference{name, holds})
	}
	if len(out) != len(differenceClasses) {
		t.Fatalf("differences.txt has %d classes, the test knows %d", len(out), len(differenceClasses))
	}
	return out
}

// differenceClasses decide by the object alone whether it belongs to a class.
var differenceClasses = map[string]func(o *oracleObject, libical string) bool{
	"yearly-bymonthday": func(o *oracleObject, _ string) bool {
		return o.rule.Freq == Yearly && o.rule.ByMonthDay != nil && o.rule.ByMonth == nil
	},
	"negative-limit": func(o *oracleObject, _ string) bool {
		return o.rule.Freq >= Daily && (hasNegative(o.rule.ByMonthDay) || hasNegative(o.rule.ByYearDay))
	},
	"rdate-type":  func(o *oracleObject, _ string) bool { return o.rdateType },
	"exdate-type": func(o *oracleObject, _ string) bool { return o.exdateType },
	"interval-limit": func(o *oracleObject, _ string) bool {
		r := o.rule
		return r.Interval > 1 && (r.Freq >= Hourly && r.ByHour != nil || r.Freq >= Minutely && r.ByMinute != nil || r.Freq == Secondly && r.BySecond != nil || hasNegative(r.ByMonthDay))
	},
	"byweekno": func(o *oracleObject, _ string) bool {
		return o.rule.ByWeekNo != nil && (o.rule.ByDay == nil || hasNegative(o.rule.ByWeekNo))
	},
	"byweekno-edge": func(o *oracleObject, _ string) bool {
		return slices.ContainsFunc(o.rule.ByWeekNo, func(w int) bool { return w == 1 || w >= 52 })
	},
	"bysetpos": func(o *oracleObject, _ string) bool {
		r := o.rule
		return r.BySetPos != nil && (r.Freq > Monthly || r.ByHour != nil || r.ByMinute != nil || r.BySecond != nil)
	},
	"dtstart-off-rule": func(o *oracleObject, _ string) bool { return o.offRule },
	"hours-across-change": func(o *oracleObject, _ string) bool {
		return o.rule.Freq >= Hourly && o.crosses
	},
	"weekly-wkst": func(o *oracleObject, _ string) bool {
		return o.rule.Freq == Weekly && o.rule.Interval > 1 && o.rule.WeekStart != time.Monday
	},
	"count-limit": func(o *oracleObject, _ string) bool {
		r := o.rule
		return r.Count > 0 && (r.Freq == Hourly && r.ByHour != nil || r.Freq == Minutely && r.ByMinute != nil || r.Freq == Secondly && r.BySecond != nil)
	},
	"skip-byday": func(o *oracleObject, _ string) bool {
		return o.rule.Skip != SkipOmit && o.rule.ByDay != nil && o.rule.ByMonthDay != nil
	},
	"clock-change": nearClockChange,
	"unsorted":     func(o *oracleObject, _ string) bool { return o.unsorted },
}

func hasNegative(list []int) bool { return len(list) > 0 && slices.Min(list) < 0 }

// nearClockChange: the times that only one of both has lie within a day of a
// clock change of the zone, or at an hour that clock changes skip.
func nearClockChange(o *oracleObject, libical string) bool {
	if o.start.Kind != Zoned {
		return false
	}
	loc, err := time.LoadLocation(o.start.TZID)
	if err != nil {
		return false
	}
	a, b := strings.Fields(o.ours), strings.Fields(libical)
	for _, f := range append(slices.Clone(a), b...) {
		if slices.Contains(a, f) && slices.Contains(b, f) {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if h := time.Unix(n, 0).In(loc).Hour(); err != nil || (h < 1 || h > 4) && offsetAt(loc, n-26*3600) == offsetAt(loc, n+26*3600) {
			return false
		}
	}
	return true
}

func offsetAt(loc *time.Location, at int64) int {
	_, off := time.Unix(at, 0).In(loc).Zone()
	return off
}
