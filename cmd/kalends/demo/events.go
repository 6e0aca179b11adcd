package demo

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"
)

// A calendar of several hundred events, made by this file alone: seeded, so
// that the same person gets the same calendar, and spread over the year around
// now, with series, moved and cancelled instances, all-day events and three
// time zones, so that free/busy has something to say.

var zonesICS = map[string]string{
	"Europe/Berlin":    "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nTZNAME:CEST\r\nEND:DAYLIGHT\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nTZNAME:CET\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n",
	"America/New_York": "BEGIN:VTIMEZONE\r\nTZID:America/New_York\r\nBEGIN:DAYLIGHT\r\nDTSTART:19700308T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\r\nTZOFFSETFROM:-0500\r\nTZOFFSETTO:-0400\r\nTZNAME:EDT\r\nEND:DAYLIGHT\r\nBEGIN:STANDARD\r\nDTSTART:19701101T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\r\nTZOFFSETFROM:-0400\r\nTZOFFSETTO:-0500\r\nTZNAME:EST\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n",
	"Asia/Tokyo":       "BEGIN:VTIMEZONE\r\nTZID:Asia/Tokyo\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0900\r\nTZOFFSETTO:+0900\r\nTZNAME:JST\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n",
}

var titles = []string{"Planning", "Review", "Budget", "Dentist", "Lunch", "Call with the printers", "Choir", "Team meeting", "Workshop", "School concert", "Train to Hamburg", "Report due"}

// generate writes n calendar objects for a person as one iCalendar file.
func generate(person string, n int, now time.Time) []byte {
	seed := uint64(0)
	for _, c := range person {
		seed = seed*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 7))
	zones := []string{"Europe/Berlin", "Europe/Berlin", "America/New_York", "Asia/Tokyo"}
	var b bytes.Buffer
	b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Kalends//Demo generator//EN\r\n")
	for _, z := range []string{"Europe/Berlin", "America/New_York", "Asia/Tokyo"} {
		b.WriteString(zonesICS[z])
	}
	monday := now.AddDate(0, 0, -int(now.Weekday()+6)%7).Truncate(24 * time.Hour)
	stamp := now.UTC().Format("20060102T150405Z")
	const local, day = "20060102T150405", "20060102"
	for i := range n {
		uid := fmt.Sprintf("demo-%s-%04d@kalends.test", person, i)
		at := monday.AddDate(0, 0, r.IntN(364)-182).Add(time.Duration(8+r.IntN(10)) * time.Hour).Add(time.Duration(r.IntN(4)*15) * time.Minute)
		title := titles[r.IntN(len(titles))]
		zone := zones[r.IntN(len(zones))]
		length := time.Duration(30+15*r.IntN(6)) * time.Minute
		event := func(extra string, start time.Time, summary string) {
			fmt.Fprintf(&b, "BEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:%s\r\nSUMMARY:%s\r\nDTSTART;TZID=%s:%s\r\nDTEND;TZID=%s:%s\r\n%sEND:VEVENT\r\n", uid, stamp, summary, zone, start.Format(local), zone, start.Add(length).Format(local), extra)
		}
		switch k := i % 20; {
		case k < 2: // all day
			fmt.Fprintf(&b, "BEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:%s\r\nSUMMARY:%s\r\nDTSTART;VALUE=DATE:%s\r\nDTEND;VALUE=DATE:%s\r\nTRANSP:TRANSPARENT\r\nEND:VEVENT\r\n", uid, stamp, title, at.Format(day), at.AddDate(0, 0, 1+r.IntN(3)).Format(day))
		case k < 5: // weekly, one instance cancelled, one moved
			start := at.AddDate(0, 0, -84)
			skip, moved := start.AddDate(0, 0, 7*(2+r.IntN(5))), start.AddDate(0, 0, 7*(10+r.IntN(5)))
			event(fmt.Sprintf("RRULE:FREQ=WEEKLY;COUNT=%d\r\nEXDATE;TZID=%s:%s\r\n", 20+r.IntN(20), zone, skip.Format(local)), start, title)
			event(fmt.Sprintf("RECURRENCE-ID;TZID=%s:%s\r\n", zone, moved.Format(local)), moved.Add(26*time.Hour), title+" (moved)")
		case k < 6: // monthly by weekday, without end
			event("RRULE:FREQ=MONTHLY;BYDAY=2TU\r\n", at.AddDate(0, -3, 0), title)
		case k < 7: // every working day for two weeks
			event("RRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;COUNT=10\r\n", at, title)
		default:
			event("", at, title)
		}
	}
	b.WriteString("END:VCALENDAR\r\n")
	return b.Bytes()
}
