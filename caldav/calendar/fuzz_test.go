package calendar

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"FREQ=DAILY", "FREQ=MONTHLY;BYDAY=-1SU,2MO;BYSETPOS=-1;COUNT=3", "FREQ=YEARLY;BYWEEKNO=-53;WKST=SU", "FREQ=SECONDLY;INTERVAL=2;BYSECOND=1",
		"RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD;BYMONTHDAY=31", "FREQ=WEEKLY;UNTIL=20260101", "FREQ=HOURLY;BYYEARDAY=-366;BYHOUR=23;COUNT=9"} {
		f.Add(s, int64(1767225600))
	}
	f.Fuzz(func(t *testing.T, s string, start int64) {
		r, err := ParseRule(s)
		if err != nil {
			return
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q is written %q, which reads %v %v", s, r, again, err)
		}
		if start < -62135596800 || start > lastWall {
			return
		}
		fresh := func() *ruleIter { return newRuleIter(r, start, false, lastWall, &Budget{Steps: 20_000}) }
		all := take(fresh(), 200)
		if !slices.IsSortedFunc(all, func(a, b int64) int { return order(a, b) }) || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Fatalf("%q: %v", s, all)
		}
		if len(all) < 10 {
			return
		}
		it := fresh()
		it.seek(all[len(all)/2])
		if got, ok := it.next(); it.err == nil && (!ok || got != all[len(all)/2]) {
			t.Fatalf("%q: seek gives %v %v, want %v", s, wallTime(got), ok, wallTime(all[len(all)/2]))
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"P1D", "-PT15M", "P1W", "P1DT2H3M4S", "PT0S", "P99999999999D", "+P2W3D"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		back, err := ParseDuration(d.String())
		if err != nil || back.seconds() != d.seconds() {
			t.Fatalf("%q: %v comes back as %v %v", s, d, back, err)
		}
	})
}

// FuzzObject throws whole objects at everything that reads time.
func FuzzObject(f *testing.F) {
	for _, body := range appendixB {
		f.Add(body, int64(1136073600), int64(604800))
	}
	f.Add(overridden, int64(1767225600), int64(86400*60))
	f.Add(strings.ReplaceAll(officeZone, "%TZID%", "X")+"\nBEGIN:VEVENT\nDTSTART;TZID=X:20260327T003000\nRRULE:FREQ=HOURLY\nRDATE;VALUE=PERIOD:20260401T000000Z/P1D\nEND:VEVENT", int64(1767225600), int64(86400*120))
	f.Add("BEGIN:VEVENT\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;BYWEEKNO=53\nEXDATE:20260101T000000Z\nBEGIN:VALARM\nTRIGGER;RELATED=END:-P1W\nREPEAT:3\nDURATION:PT1H\nEND:VALARM\nEND:VEVENT", int64(0), int64(1<<40))
	f.Fuzz(func(t *testing.T, body string, from, size int64) {
		o, err := Parse([]byte("BEGIN:VCALENDAR\nVERSION:2.0\n"+body+"\nEND:VCALENDAR\n"), Limits{})
		if err != nil || from < -1<<40 || from > 1<<40 || size < 0 || size > 1<<40 {
			return
		}
		start, end := time.Unix(from, 0), time.Unix(from+size, 0)
		budget := func() *Budget { return &Budget{Steps: 20_000, Instances: 200, Bytes: 1 << 20} }
		first, last, _, boundsErr := Bounds(o)
		r := &TimeRange{start, end}
		for _, comp := range []string{"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY"} {
			got, err := inCalendar(CompFilter{Name: comp, Range: r}).Match(o, nil, budget())
			if err == nil && got && boundsErr == nil && (!first.IsZero() && first.Add(-maxOffset*time.Second).After(end) || !last.IsZero() && last.Add(maxOffset*time.Second).Before(start)) {
				t.Fatalf("%s matches outside of %v to %v", comp, first, last)
			}
			inCalendar(CompFilter{Name: comp, Comps: []CompFilter{{Name: "VALARM", Range: r}}}).Match(o, nil, budget())
		}
		var before int64
		n := 0
		for i, err := range o.Instances(nil, start, end, budget()) {
			if err != nil {
				break
			}
			id, err := NewZones(o, nil).Instant(i.ID)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 && id.Unix() < before {
				t.Fatalf("instance %v is out of order", i.ID)
			}
			if i.End.Before(i.Start) {
				t.Fatalf("instance %v ends before it starts", i.ID)
			}
			before = id.Unix()
			n++
		}
		if out, err := Expand(o, nil, start, end, budget()); err == nil {
			if _, err := Parse(out.Bytes(), Limits{}); err != nil {
				t.Fatalf("the expanded object cannot be read: %v", err)
			}
		}
		LimitRecurrenceSet(o, nil, start, end)
		LimitFreeBusySet(o, start, end)
		if ps, err := Busy(o, nil, start, end, BusyOptions{}, budget()); err == nil {
			MergePeriods(ps)
		}
		for _, c := range o.Components() {
			if p := c.Prop("RECURRENCE-ID"); p != nil {
				if d, err := ParseDateTime(p); err == nil {
					o.HasInstance(nil, d, budget())
				}
			}
		}
	})
}

func FuzzTimezone(f *testing.F) {
	f.Add(strings.ReplaceAll(officeZone, "%TZID%", "X"))
	f.Add("Europe/Berlin")
	f.Add("BEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\nDTSTART:16010101T000000\nRRULE:FREQ=YEARLY;BYDAY=1SU;BYMONTH=11\nRDATE:20000101T000000Z\nTZOFFSETFROM:-235959\nTZOFFSETTO:+1400\nTZNAME:\nEND:STANDARD\nEND:VTIMEZONE")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "BEGIN:VTIMEZONE") {
			s = "BEGIN:VCALENDAR\n" + s + "\nEND:VCALENDAR\n"
		}
		loc, err := ParseTimezone(s)
		if err != nil {
			return
		}
		z := newZone(loc)
		for _, w := range []int64{-62135596800, -1, 0, 1774746000, 1792890000, 7258118400, lastWall} {
			at, gap := z.instant(w)
			if back := at + z.offset(at); back != w+gap {
				t.Fatalf("%v is shown as %v, gap %d", wallTime(w), wallTime(back), gap)
			}
		}
	})
}
