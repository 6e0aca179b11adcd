package calendar

import (
	"strings"
	"testing"
	"time"
)

// TestEmailAlarms: when EMAIL alarms go off (RFC 5545 §3.6.6, §3.8.6, RFC 9074
// §6.1), read from what is written short here.
func TestEmailAlarms(t *testing.T) {
	t.Parallel()
	const email, end = "BEGIN:VALARM\nACTION:EMAIL\n", "\nEND:VALARM\n"
	weekly := "DTSTART;TZID=Europe/Berlin:20260323T100000\nDTEND;TZID=Europe/Berlin:20260323T110000\nRRULE:FREQ=WEEKLY;COUNT=4\n"
	for _, c := range []struct{ name, kind, body, want string }{
		{"before the start, over a clock change", "VEVENT", weekly + email + "TRIGGER:-PT15M" + end, "20260323T084500 20260330T074500 20260406T074500 20260413T074500"},
		{"days are nominal", "VEVENT", weekly + email + "TRIGGER:-P1D" + end, "20260322T090000 20260329T080000 20260405T080000 20260412T080000"},
		{"after the end", "VEVENT", weekly + email + "TRIGGER;RELATED=END:PT5M" + end, "20260323T100500 20260330T090500 20260406T090500 20260413T090500"},
		{"absolute, once", "VEVENT", weekly + email + "TRIGGER;VALUE=DATE-TIME:20260401T060000Z" + end, "20260401T060000"},
		{"repeated", "VEVENT", "DTSTART:20260401T100000Z\n" + email + "TRIGGER:-PT30M\nREPEAT:2\nDURATION:PT10M" + end, "20260401T093000 20260401T094000 20260401T095000"},
		{"exdate", "VEVENT", weekly + "EXDATE;TZID=Europe/Berlin:20260330T100000\n" + email + "TRIGGER:PT0S" + end, "20260323T090000 20260406T080000 20260413T080000"},
		{"acknowledged", "VEVENT", weekly + email + "TRIGGER:-PT15M\nACKNOWLEDGED:20260330T080000Z" + end, "20260406T074500 20260413T074500"},
		{"other actions", "VEVENT", weekly + "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT15M" + end + "BEGIN:VALARM\nACTION:AUDIO\nTRIGGER:-PT15M" + end, ""},
		{"cancelled", "VEVENT", weekly + "STATUS:CANCELLED\n" + email + "TRIGGER:-PT15M" + end, ""},
		{"unreadable trigger", "VEVENT", weekly + email + "TRIGGER:soon" + end + email + "TRIGGER:-PT15M" + end, "20260323T084500 20260330T074500 20260406T074500 20260413T074500"},
		{"all-day in the calendar's zone", "VEVENT", "DTSTART;VALUE=DATE:20260401\n" + email + "TRIGGER:PT9H" + end, "20260401T130000"},
		{"due task", "VTODO", "DUE:20260401T100000Z\n" + email + "TRIGGER;RELATED=END:-PT1H" + end, "20260401T090000"},
		{"finished task", "VTODO", "DUE:20260401T100000Z\nCOMPLETED:20260301T100000Z\n" + email + "TRIGGER;RELATED=END:-PT1H" + end, ""},
		{"moved instance with its own alarm", "VEVENT", weekly + email + "TRIGGER:-PT15M" + end + "END:VEVENT\nBEGIN:VEVENT\nUID:1\nDTSTAMP:20260101T000000Z\nRECURRENCE-ID;TZID=Europe/Berlin:20260330T100000\n" +
			"DTSTART;TZID=Europe/Berlin:20260331T120000\n" + email + "TRIGGER:-PT1H" + end, "20260323T084500 20260331T090000 20260406T074500 20260413T074500"},
		{"moved instance without an alarm", "VEVENT", weekly + email + "TRIGGER:-PT15M" + end + "END:VEVENT\nBEGIN:VEVENT\nUID:1\nDTSTAMP:20260101T000000Z\nRECURRENCE-ID;TZID=Europe/Berlin:20260330T100000\n" +
			"DTSTART;TZID=Europe/Berlin:20260331T120000\n", "20260323T084500 20260406T074500 20260413T074500"},
	} {
		text := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:" + c.kind + "\nUID:1\nDTSTAMP:20260101T000000Z\n" + c.body + "END:" + c.kind + "\nEND:VCALENDAR\n"
		o, err := Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), DefaultLimits())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		newYork, err := LoadZone("America/New_York")
		if err != nil {
			t.Fatal(err)
		}
		z := NewZones(o, newYork)
		from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		all, err := o.EmailAlarms(z, from, to, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []string
		for _, a := range all {
			got = append(got, a.At.Format("20060102T150405"))
			// The window [At, At+1s) holds it, and the second before does not.
			here, err := o.EmailAlarms(z, a.At, a.At.Add(time.Second), nil)
			before, err2 := o.EmailAlarms(z, a.At.Add(-time.Second), a.At, nil)
			if err != nil || err2 != nil || len(here) != 1 || len(before) != 0 {
				t.Errorf("%s: %v: %d in its second, %d in the one before (%v, %v)", c.name, a.At, len(here), len(before), err, err2)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, text, c.want)
		}
		idx, err := o.Index()
		if err != nil || idx.EmailAlarm != strings.Contains(c.body, "ACTION:EMAIL") {
			t.Errorf("%s: EmailAlarm is %v, %v", c.name, idx.EmailAlarm, err)
		}
	}
}

// A01: an alarm on a rule without end and with a second's interval costs its
// window.
func TestEmailAlarmsAbuse(t *testing.T) {
	t.Parallel()
	o, err := Parse([]byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:16010101T000000Z\r\nRRULE:FREQ=SECONDLY\r\n"+
		"BEGIN:VALARM\r\nACTION:EMAIL\r\nTRIGGER:PT0S\r\nREPEAT:2000000000\r\nDURATION:PT1S\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := o.EmailAlarms(NewZones(o, time.UTC), from, from.AddDate(1, 0, 0), NewBudget()); CodeOf(err) != CodeMaxInstances && CodeOf(err) != CodeBudget {
		t.Errorf("a year of seconds: %v", err)
	}
}
