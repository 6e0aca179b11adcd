package calendar

import (
	"strings"
	"testing"
	"time"
)

// benchMatch measures a time-range match on a parsed object, with fresh zones
// and a fresh budget as a query does it.
func benchMatch(b *testing.B, o *Object, days int) {
	b.Helper()
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	f := inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{from, from.AddDate(0, 0, days)}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Match(o, NewZones(o, nil), NewBudget()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	const hour = "DTSTART;TZID=Europe/Berlin:20060102T100000\nDTEND;TZID=Europe/Berlin:20060102T110000\nSUMMARY:Meeting\n"
	for _, c := range []struct{ name, lines string }{
		{"single", strings.ReplaceAll(hour, "2006", "2026")},
		{"single-utc", "DTSTART:20260601T100000Z\nDURATION:PT1H"},
		{"weekly-20-years", hour + "RRULE:FREQ=WEEKLY"},
		{"weekly-20-years-no-hit", hour + "RRULE:FREQ=WEEKLY;INTERVAL=52"},
		{"weekly-count", hour + "RRULE:FREQ=WEEKLY;BYDAY=MO,WE,FR;COUNT=5000"},
		{"monthly-last-friday", hour + "RRULE:FREQ=MONTHLY;BYDAY=-1FR"},
		{"monthly-count", hour + "RRULE:FREQ=MONTHLY;BYDAY=-1FR;COUNT=500"},
		{"yearly-birthday", "DTSTART;VALUE=DATE:19500605\nRRULE:FREQ=YEARLY"},
		{"minutely-from-1601", "DTSTART:16010101T000000Z\nRRULE:FREQ=MINUTELY"},
		{"exdates", hour + "RRULE:FREQ=WEEKLY\nEXDATE;TZID=Europe/Berlin:20060109T100000,20060116T100000,20060123T100000,20260601T100000"},
	} {
		b.Run(c.name, func(b *testing.B) { benchMatch(b, eventObject(b, strings.TrimSpace(c.lines)), 7) })
	}
	b.Run("overrides-50", func(b *testing.B) {
		var s strings.Builder
		s.WriteString("BEGIN:VEVENT\nUID:1\n" + hour + "RRULE:FREQ=WEEKLY\nEND:VEVENT")
		at := time.Date(2006, 1, 2, 10, 0, 0, 0, time.UTC)
		for range 50 {
			v := DateTime{Wall: at, Kind: Floating}.Value()
			s.WriteString("\nBEGIN:VEVENT\nUID:1\nRECURRENCE-ID;TZID=Europe/Berlin:" + v + "\nDTSTART;TZID=Europe/Berlin:" + v + "\nDURATION:PT2H\nEND:VEVENT")
			at = at.AddDate(0, 0, 7)
		}
		benchMatch(b, icalObject(b, s.String()), 7)
	})
	b.Run("own-timezone", func(b *testing.B) {
		benchMatch(b, icalObject(b, strings.ReplaceAll(officeZone, "%TZID%", "X")+"\nBEGIN:VEVENT\nUID:1\n"+strings.ReplaceAll(hour, "Europe/Berlin", "X")+"RRULE:FREQ=WEEKLY\nEND:VEVENT"), 7)
	})
}

func BenchmarkText(b *testing.B) {
	o := eventObject(b, "DTSTART:20260601T100000Z", "SUMMARY:Quarterly planning with the Café team", "DESCRIPTION:"+strings.Repeat("word ", 200))
	for _, collation := range []string{"i;octet", "i;ascii-casemap", "i;unicode-casemap"} {
		b.Run(collation, func(b *testing.B) {
			f := inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "SUMMARY", Text: &TextMatch{Text: "café", Collation: collation}}}})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Match(o, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExpandMonth(b *testing.B) {
	o := eventObject(b, "DTSTART;TZID=Europe/Berlin:20200101T100000", "DTEND;TZID=Europe/Berlin:20200101T110000", "RRULE:FREQ=DAILY", "SUMMARY:Meeting", "LOCATION:Here")
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Expand(o, NewZones(o, nil), from, from.AddDate(0, 1, 0), NewBudget()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBusyMonth(b *testing.B) {
	o := eventObject(b, "DTSTART;TZID=Europe/Berlin:20200101T100000", "DTEND;TZID=Europe/Berlin:20200101T110000", "RRULE:FREQ=DAILY")
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Busy(o, NewZones(o, nil), from, from.AddDate(0, 1, 0), BusyOptions{}, NewBudget()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRule(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRule("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE,FR;UNTIL=20301231T235959Z"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBounds(b *testing.B) {
	o := eventObject(b, "DTSTART;TZID=Europe/Berlin:20200101T100000", "DTEND;TZID=Europe/Berlin:20200101T110000", "RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=100")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := Bounds(o); err != nil {
			b.Fatal(err)
		}
	}
}
