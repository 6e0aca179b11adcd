package calendar

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func micro(s string) int64 {
	t, err := time.Parse("20060102T150405Z", s)
	if err != nil {
		panic(err)
	}
	return t.UnixMicro()
}

func TestIndexFields(t *testing.T) {
	t.Parallel()
	x, err := mustParse(t, crlf(sample)).Index()
	if err != nil {
		t.Fatal(err)
	}
	if x.UID != "9d1c8a3e-5a94-4c2e-a1f5-4c0f2d0a7b11" || x.Component != "VEVENT" || !x.Recurring || !x.HasAlarm || x.HasFloating || x.Exact ||
		!x.Scheduling || x.Organizer != "mailto:alice@alpha.test" || fmt.Sprint(x.Attendees) != "[mailto:alice@alpha.test mailto:bob@alpha.test]" ||
		x.Sequence != 2 || x.Summary != "Planning of the spring release, first round" || x.Location != "Room 4; second floor" ||
		x.Status != "CONFIRMED" || x.Transp != "OPAQUE" || x.Class != "" {
		t.Errorf("index %+v", x)
	}

	o := mustParse(t, event(`RECURRENCE-ID:20260106T100000Z
DTSTART:20260106T110000Z
SUMMARY:override
SEQUENCE:7
ATTENDEE:MAILTO:A@alpha.test
ATTENDEE:mailto:broken
END:VEVENT
BEGIN:VEVENT
UID:1@alpha.test
DTSTART:20260105T100000Z
RRULE:FREQ=DAILY;COUNT=3
SUMMARY:master
SEQUENCE:3
CLASS:private
ATTENDEE:mailto:a@alpha.test
ATTENDEE:mailto:b@alpha.test
`))
	x, err = o.Index()
	if err != nil || x.Summary != "master" || x.Sequence != 7 || x.Class != "PRIVATE" || x.Scheduling || x.HasAlarm ||
		fmt.Sprint(x.Attendees) != "[MAILTO:A@alpha.test mailto:b@alpha.test]" {
		t.Errorf("index %+v, %v", x, err)
	}

	for name, text := range map[string]string{
		"nothing": cal(""), "zone": cal("BEGIN:VTIMEZONE\nTZID:X\nEND:VTIMEZONE\n"), "no UID": cal("BEGIN:VEVENT\nEND:VEVENT\n"),
	} {
		if _, err := mustParse(t, text).Index(); CodeOf(err) != CodeInvalidObject {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIndexTimes(t *testing.T) {
	t.Parallel()
	const open = "-"
	todo := func(lines string) string { return cal("BEGIN:VTODO\nUID:1\n" + lines + "END:VTODO\n") }
	for _, c := range []struct {
		name, text, start, end string
		exact, recurring       bool
	}{
		{"UTC", event(start + "DTEND:20260105T110000Z\n"), "20260105T100000Z", "20260105T110000Z", true, false},
		{"zone", event("DTSTART;TZID=Europe/Vienna:20260105T100000\nDURATION:PT1H\n"), "20260105T090000Z", "20260105T100000Z", true, false},
		{"no length", event(start), "20260105T100000Z", "20260105T100001Z", true, false},
		{"DTEND is DTSTART", event(start + "DTEND:20260105T100000Z\n"), "20260105T100000Z", "20260105T100001Z", false, false},
		{"floating", event("DTSTART:20260105T100000\nDTEND:20260105T110000\n"), "20260104T200000Z", "20260106T010000Z", false, false},
		{"all day", event("DTSTART;VALUE=DATE:20260105\n"), "20260104T100000Z", "20260106T140000Z", false, false},
		{"endless", event(start + "RRULE:FREQ=DAILY\n"), "20260105T100000Z", open, false, true},
		{"unreadable", event("DTSTART:soon\n"), open, open, false, false},
		{"unknown zone", event("DTSTART;TZID=Bogus:20260105T100000\n"), open, open, false, false},
		{"A01 endless rule by the second", event(start + "RRULE:FREQ=SECONDLY\n"), "20260105T100000Z", open, false, true},
		{"task without dates", todo(""), open, open, false, false},
		{"task", todo(start + "DUE:20260106T100000Z\n"), "20260105T095959Z", "20260106T100001Z", false, false},
		{"due task", todo("DUE:20260106T100000Z\n"), "20260106T095959Z", "20260106T100001Z", false, false},
	} {
		x, err := mustParse(t, c.text).Index()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		from, to := int64(math.MinInt64), int64(math.MaxInt64)
		if c.start != open {
			from = micro(c.start)
		}
		if c.end != open {
			to = micro(c.end)
		}
		if x.Start != from || x.End != to || x.Exact != c.exact || x.Recurring != c.recurring {
			t.Errorf("%s: %s to %s, exact %v, recurring %v", c.name, time.UnixMicro(x.Start).UTC(), time.UnixMicro(x.End).UTC(), x.Exact, x.Recurring)
		}
	}
}

// What the filter matches the index must select, in whatever zone floating
// times are read; an exact index must agree with the filter.
func TestIndexAgreesWithFilter(t *testing.T) {
	t.Parallel()
	value := func(t *rapid.T, label string) string {
		at := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 72).Draw(t, label)) * time.Hour)
		switch rapid.IntRange(0, 3).Draw(t, "form of "+label) {
		case 0:
			return ":" + at.Format("20060102T150405Z")
		case 1:
			return ":" + at.Format("20060102T150405")
		case 2:
			return ";VALUE=DATE:" + at.Format("20060102")
		}
		return ";TZID=" + rapid.SampledFrom([]string{"Europe/Vienna", "America/New_York", "Pacific/Kiritimati"}).Draw(t, "zone") + ":" + at.Format("20060102T150405")
	}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"VEVENT", "VTODO", "VJOURNAL"}).Draw(t, "kind")
		end := map[string]string{"VEVENT": "DTEND", "VTODO": "DUE", "VJOURNAL": "X-NONE"}[kind]
		lines := ""
		if kind == "VEVENT" || rapid.Bool().Draw(t, "has start") {
			lines += "DTSTART" + value(t, "start") + "\n"
		}
		switch rapid.IntRange(0, 2).Draw(t, "end") {
		case 0:
			lines += end + value(t, "end") + "\n"
		case 1:
			lines += "DURATION:" + rapid.SampledFrom([]string{"PT0S", "PT1H", "P1D", "PT30H"}).Draw(t, "duration") + "\n"
		}
		lines += rapid.SampledFrom([]string{"", "", "", "RRULE:FREQ=DAILY;COUNT=2\n", "RRULE:FREQ=HOURLY;UNTIL=20260330T000000Z\n", "RRULE:FREQ=WEEKLY\n"}).Draw(t, "rule")
		o := mustParse(t, cal("BEGIN:"+kind+"\nUID:1\n"+lines+"END:"+kind+"\n"))
		x, err := o.Index()
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 140).Draw(t, "from")) * time.Hour)
		to := from.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "range")) * time.Hour)
		zone, err := time.LoadLocation(rapid.SampledFrom([]string{"UTC", "Pacific/Kiritimati", "Etc/GMT+12"}).Draw(t, "floating"))
		if err != nil {
			t.Fatal(err)
		}
		f := &CompFilter{Name: "VCALENDAR", Comps: []CompFilter{{Name: kind, Range: &TimeRange{from, to}}}}
		match, err := f.Match(o, NewZones(o, zone), NewBudget())
		if err != nil {
			t.Fatal(err)
		}
		overlap := x.Start < to.UnixMicro() && x.End > from.UnixMicro()
		if match && !overlap || x.Exact && match != overlap {
			t.Fatalf("filter %v, index %v (exact %v) for %s to %s in %s:\n%s", match, overlap, x.Exact, from, to, zone, lines)
		}
	})
}

func BenchmarkIndex(b *testing.B) {
	o := mustParse(b, crlf(sample))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Index(); err != nil {
			b.Fatal(err)
		}
	}
}
