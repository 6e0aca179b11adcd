package calendar

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The numbers A01 to A09 are those of the project's list of abuse cases. What
// a query costs is read from its Budget, never from a clock.

// matchWeek asks for one week and gives the steps it took.
func matchWeek(t *testing.T, o *Object, from string) (found bool, steps int, err error) {
	t.Helper()
	f := inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{utc(t, from), utc(t, from).AddDate(0, 0, 7)}})
	b := NewBudget()
	found, err = f.Match(o, nil, b)
	return found, DefaultSteps - b.Steps, err
}

// A01, A05: however dense, long or old a rule is, a query for a week begins
// near the week.
func TestAbuseQueriesCostTheWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lines string
		found bool
		steps int
	}{
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=DAILY;COUNT=1000000000", true, 50},
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=SECONDLY;COUNT=1000000000", true, 50},
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=SECONDLY;BYDAY=MO,TU,WE;COUNT=1000000000", true, 20_000},
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=SECONDLY", true, 50},
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=SECONDLY;BYDAY=SU;BYHOUR=23;BYMINUTE=59;BYSECOND=59", true, 50},
		{"DTSTART:00010101T000000Z\nRRULE:FREQ=MINUTELY", true, 50},
		{"DTSTART;TZID=Europe/Berlin:16010101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=7", true, 50},
		{"DTSTART:00010101T000000Z\nRRULE:FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,SU", true, 50},
		{"DTSTART:00010101T000000Z\nRRULE:FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=MO", false, 50},
		{"DTSTART:19700101T000000Z\nDTEND:19700101T000001Z\nRRULE:FREQ=SECONDLY;INTERVAL=1000000007", false, 50},
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=MINUTELY;COUNT=100", false, 50},
		{"DTSTART:20000101T000000Z\nRRULE:FREQ=DAILY;BYMONTH=1;COUNT=300", false, 2000},
	} {
		found, steps, err := matchWeek(t, eventObject(t, c.lines), "20260605T000000Z")
		if err != nil || found != c.found || steps > c.steps {
			t.Errorf("%s: %v, %d steps, %v", c.lines, found, steps, err)
		}
	}
}

// A02: rules that never match end by themselves or at the budget.
func TestAbuseNeverMatching(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31",
		"FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=SECONDLY;BYYEARDAY=366;BYMONTH=1",
		"FREQ=SECONDLY;INTERVAL=2;BYSECOND=1",
		"FREQ=SECONDLY;INTERVAL=2;BYSECOND=1;COUNT=2",
		"FREQ=MINUTELY;INTERVAL=60;BYMINUTE=1;COUNT=1000000000",
		"FREQ=HOURLY;INTERVAL=24;BYHOUR=1",
		"FREQ=MONTHLY;INTERVAL=12;BYMONTH=3",
		"FREQ=DAILY;BYSETPOS=2",
		"FREQ=YEARLY;INTERVAL=2147483647",
	} {
		o := eventObject(t, "DTSTART:20260101T000000Z", "RRULE:"+rule)
		n := 0
		var last error
		for _, err := range o.Instances(nil, time.Time{}, time.Time{}, NewBudget()) {
			if last = err; err == nil {
				n++
			}
		}
		if n != 1 || last != nil && CodeOf(last) != CodeBudget {
			t.Errorf("%s: %d instances, %v", rule, n, last)
		}
		// Within a window the budget is never needed.
		if found, steps, err := matchWeek(t, o, "20260605T000000Z"); found || err != nil && !strings.Contains(rule, "COUNT") {
			t.Errorf("%s: %v, %d steps, %v", rule, found, steps, err)
		}
	}
}

// A03: candidates are numbered, never listed.
func TestAbuseDenseLists(t *testing.T) {
	list := func(lo, hi int) string {
		var out []string
		for v := lo; v <= hi; v++ {
			out = append(out, fmt.Sprint(v))
		}
		return strings.Join(out, ",")
	}
	dense := "FREQ=YEARLY;BYMONTHDAY=" + list(1, 31) + ";BYHOUR=" + list(0, 23) + ";BYMINUTE=" + list(0, 59) + ";BYSECOND=" + list(0, 59)
	if len(dense) > 1024 {
		t.Fatal("the rule is longer than the case says")
	}
	o := eventObject(t, "DTSTART:20200101T000000Z", "RRULE:"+dense)
	b := NewBudget()
	allocs := testing.AllocsPerRun(1, func() {
		*b = *NewBudget()
		f := inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{utc(t, "20260605T000000Z"), utc(t, "20260605T000001Z")}})
		if ok, err := f.Match(o, nil, b); !ok || err != nil {
			t.Error(ok, err)
		}
	})
	if allocs > 200 || DefaultSteps-b.Steps > 100 {
		t.Errorf("%v allocations, %d steps", allocs, DefaultSteps-b.Steps)
	}
	// The last of 31 million candidates of the year.
	last := starts(t, "20200101T000000", dense+";BYSETPOS=-1;COUNT=2", 2)
	if last != "20200101T000000 20201231T235959" {
		t.Error(last)
	}
}

// A04: exceptions that hide everything.
func TestAbuseEverythingHidden(t *testing.T) {
	t.Parallel()
	var ex []string
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 3000 {
		ex = append(ex, UTCDateTime(day).Value())
		day = day.AddDate(0, 0, 1)
	}
	hidden := eventObject(t, "DTSTART:20260101T000000Z", "RRULE:FREQ=DAILY;COUNT=3000", "EXDATE:"+strings.Join(ex, ","))
	b := NewBudget()
	for i, err := range hidden.Instances(nil, time.Time{}, time.Time{}, b) {
		t.Fatal(i, err)
	}
	if DefaultSteps-b.Steps > 20_000 {
		t.Errorf("%d steps", DefaultSteps-b.Steps)
	}
	// Without end there is no answer but the budget.
	endless := eventObject(t, "DTSTART:20260101T000000Z", "RRULE:FREQ=SECONDLY;BYMONTH=1;BYMONTHDAY=1;BYHOUR=0", "EXDATE;VALUE=DATE:"+yearsOfDates(9999))
	err := errors.New("no answer")
	for _, err = range endless.Instances(nil, utc(t, "20270101T000000Z"), time.Time{}, NewBudget()) {
		break
	}
	if CodeOf(err) != CodeBudget {
		t.Error(err)
	}
}

// yearsOfDates lists the first of January from 2026 on.
func yearsOfDates(until int) string {
	var out []string
	for y := 2026; y <= until; y++ {
		out = append(out, fmt.Sprintf("%04d0101", y))
	}
	return strings.Join(out, ",")
}

// A07: a hundred thousand dates and overrides are merged in linear time, and
// counted.
func TestAbuseManyDates(t *testing.T) {
	t.Parallel()
	const n = 100_000
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var r, ex, over strings.Builder
	for i := range n {
		v := UTCDateTime(at.Add(time.Duration(i) * time.Hour)).Value()
		if i > 0 {
			r.WriteByte(',')
		}
		r.WriteString(v)
		if i%2 == 1 {
			if ex.Len() > 0 {
				ex.WriteByte(',')
			}
			ex.WriteString(v)
		}
	}
	lim := Limits{Bytes: 64 << 20, Line: 16 << 20, Components: n + 10, Properties: 1 << 20}
	parse := func(body string) *Object {
		o, err := Parse([]byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n"+body+"END:VCALENDAR\r\n"), lim)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	count := func(o *Object, b *Budget) (n int, last error) {
		for _, err := range o.Instances(nil, time.Time{}, time.Time{}, b) {
			if last = err; err == nil {
				n++
			}
		}
		return n, last
	}
	o := parse("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260101T000000Z\r\nRDATE:" + r.String() + "\r\nEXDATE:" + ex.String() + "\r\nEND:VEVENT\r\n")
	b := NewBudget()
	if got, err := count(o, b); got != n/2 || err != nil {
		t.Errorf("%d instances, %v", got, err)
	}
	if used := DefaultSteps - b.Steps; used > 3*n {
		t.Errorf("%d steps", used)
	}
	if _, err := count(o, &Budget{Steps: 1000, Instances: 1000}); CodeOf(err) != CodeBudget {
		t.Error(err)
	}
	if _, err := count(o, &Budget{Steps: DefaultSteps, Instances: 1000}); CodeOf(err) != CodeMaxInstances {
		t.Error(err)
	}

	over.WriteString("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260101T000000Z\r\nRRULE:FREQ=HOURLY;COUNT=100000\r\nEND:VEVENT\r\n")
	for i := range n / 4 {
		v := UTCDateTime(at.Add(time.Duration(i*4) * time.Hour)).Value()
		over.WriteString("BEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:" + v + "\r\nDTSTART:" + v + "\r\nEND:VEVENT\r\n")
	}
	b = NewBudget()
	b.Instances = 2 * n
	if got, err := count(parse(over.String()), b); got != n || err != nil {
		t.Errorf("%d instances, %v", got, err)
	}
	if used := DefaultSteps - b.Steps; used > 4*n {
		t.Errorf("%d steps", used)
	}
}

// One Budget serves a whole request.
func TestBudgetIsShared(t *testing.T) {
	t.Parallel()
	o := eventObject(t, "DTSTART:20200101T000000Z", "RRULE:FREQ=DAILY")
	f := inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{utc(t, "20260605T000000Z"), utc(t, "20260612T000000Z")}})
	b := &Budget{Steps: DefaultSteps, Instances: 10}
	for i := range 11 {
		_, err := f.Match(o, nil, b)
		if (err != nil) != (i == 10) {
			t.Fatalf("query %d: %v", i, err)
		}
	}
}
