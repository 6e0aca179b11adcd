package calendar

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// event wraps lines into a VEVENT with a UID; the first of them is line 6.
func event(lines string) string {
	return cal("BEGIN:VEVENT\nUID:1@alpha.test\n" + lines + "END:VEVENT\n")
}

const start = "DTSTART:20260105T100000Z\n"

func TestValidate(t *testing.T) {
	t.Parallel()
	date := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	override := func(id string) string {
		return "END:VEVENT\nBEGIN:VEVENT\nUID:1@alpha.test\nDTSTART:20260106T120000Z\nRECURRENCE-ID" + id + "\n"
	}
	alarm := func(lines string) string { return "BEGIN:VALARM\n" + lines + "END:VALARM\n" }
	for _, c := range []struct {
		name, text string
		rules      Rules
		code       Code // "" with want "": valid
		want       string
	}{
		{"sample", crlf(sample), Rules{Components: []string{"VEVENT"}, MaxSize: 2000, MaxInstances: 1, MaxAttendees: 2, MinDate: date(2000), MaxDate: date(2100)}, "", ""},

		// VCALENDAR
		{"no VERSION", crlf("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR\n"), Rules{}, CodeInvalidData, "VCALENDAR: VERSION is missing (line 1)"},
		{"vCalendar", crlf("BEGIN:VCALENDAR\nVERSION:1.0\nEND:VCALENDAR\n"), Rules{}, CodeInvalidData, `VCALENDAR: VERSION is "1.0", only 2.0 is accepted (line 2)`},
		{"CALSCALE", cal("CALSCALE:CHINESE\n"), Rules{}, CodeInvalidData, `VCALENDAR: CALSCALE is "CHINESE", only GREGORIAN is accepted (line 4)`},
		{"METHOD", cal("METHOD:PUBLISH\n"), Rules{}, CodeInvalidObject, "a stored calendar object has no METHOD (line 4)"},
		{"empty", cal(""), Rules{}, CodeInvalidObject, "the VCALENDAR has no component but time zones (line 1)"},
		{"zone alone", cal("BEGIN:VTIMEZONE\nTZID:X\nEND:VTIMEZONE\n"), Rules{}, CodeInvalidObject, "the VCALENDAR has no component but time zones (line 1)"},
		{"zone without name", cal("BEGIN:VTIMEZONE\nEND:VTIMEZONE\n"), Rules{}, CodeInvalidData, "VTIMEZONE: TZID is missing (line 4)"},
		{"no PRODID", strings.Replace(event(start), "PRODID:-//kalends//test//EN\r\n", "", 1), Rules{}, "", ""},

		// components together
		{"A11 two types", cal("BEGIN:VEVENT\nUID:1\n" + start + "END:VEVENT\nBEGIN:VTODO\nUID:1\nEND:VTODO\n"), Rules{}, CodeInvalidObject, "VEVENT and VTODO in one calendar object (line 8)"},
		{"A11 two UIDs", cal("BEGIN:VTODO\nUID:1\nEND:VTODO\nBEGIN:VTODO\nRECURRENCE-ID:20260101T000000Z\nUID:2\nEND:VTODO\n"), Rules{}, CodeInvalidObject, `VTODO: UID "2" is another than that of the first component (line 9)`},
		{"two masters", cal("BEGIN:VTODO\nUID:1\nEND:VTODO\nBEGIN:VTODO\nUID:1\nEND:VTODO\n"), Rules{}, CodeInvalidObject, `two components without RECURRENCE-ID have the UID "1" (line 7)`},
		{"wrong type", cal("BEGIN:VTODO\nUID:1\nEND:VTODO\n"), Rules{Components: []string{"VEVENT", "VJOURNAL"}}, CodeUnsupportedComponent, "this calendar takes no VTODO, only VEVENT, VJOURNAL (line 4)"},
		{"two organizers", event(start + "RRULE:FREQ=DAILY\nORGANIZER:mailto:a@b.test\n" + override(":20260106T100000Z") + "ORGANIZER:mailto:c@b.test\n"), Rules{}, CodeSameOrganizer, "VEVENT: ORGANIZER is mailto:c@b.test here and mailto:a@b.test in another component (line 14)"},
		{"organizer spelt twice", event(start + "RRULE:FREQ=DAILY\nORGANIZER:mailto:a@b.test\n" + override(":20260106T100000Z") + "ORGANIZER:MAILTO:A@b.test\n"), Rules{}, "", ""},
		{"override alone", event(start + "RECURRENCE-ID:20260106T100000Z\n"), Rules{}, "", ""},
		{"override first", event(start + "RECURRENCE-ID:20260106T100000Z\nEND:VEVENT\nBEGIN:VEVENT\nUID:1@alpha.test\nRRULE:FREQ=DAILY\n" + start), Rules{}, "", ""},
		{"same RECURRENCE-ID", event(start + "RRULE:FREQ=DAILY\n" + override(":20260106T100000Z") + override(":20260106T100000Z")), Rules{}, CodeInvalidObject, "VEVENT: two components have the RECURRENCE-ID 20260106T100000Z (line 17)"},
		{"same RECURRENCE-ID with THISANDFUTURE", event(start + "RRULE:FREQ=DAILY\n" + override(":20260106T100000Z") + override(";RANGE=THISANDFUTURE:20260106T100000Z")), Rules{}, "", ""},
		{"THISANDFUTURE twice", event(start + "RRULE:FREQ=DAILY\n" + override(";RANGE=THISANDFUTURE:20260106T100000Z") + override(";RANGE=THISANDFUTURE:20260106T100000Z")), Rules{}, CodeInvalidObject, "VEVENT: two components have the RECURRENCE-ID 20260106T100000Z (line 17)"},
		{"same RECURRENCE-ID in two zones", event(start + "RRULE:FREQ=DAILY\n" + override(":20260106T100000Z") + override(";TZID=Europe/Vienna:20260106T110000")), Rules{}, CodeInvalidObject, "VEVENT: two components have the RECURRENCE-ID 20260106T110000 (line 17)"},
		{"RECURRENCE-ID as DATE and DATE-TIME", event(start + "RRULE:FREQ=DAILY\n" + override(":20260106T000000Z") + override(";VALUE=DATE:20260106")), Rules{}, "", ""},
		{"same RECURRENCE-ID without its zone", event("DTSTART;TZID=Europe/Berlin:20260105T110000\nRRULE:FREQ=DAILY\n" + override(";TZID=Europe/Berlin:20260106T110000") + override(":20260106T110000")), Rules{}, CodeInvalidObject, "VEVENT: two components have the RECURRENCE-ID 20260106T110000 (line 17)"},
		{"override of the only instance, without its zone", event("DTSTART;TZID=Europe/Berlin:20260105T110000\n" + override(":20260105T110000")), Rules{}, "", ""},
		{"override of nothing", event(start + override(":20260106T100000Z")), Rules{}, CodeInvalidObject, "VEVENT: RECURRENCE-ID 20260106T100000Z overrides an instance, but the master does not recur (line 11)"},
		{"override of a single event's own start", event(start + override(";TZID=Europe/Vienna:20260105T110000")), Rules{}, "", ""},
		{"override of RDATE", event(start + "RDATE:20260106T100000Z\n" + override(":20260106T100000Z")), Rules{}, "", ""},

		// one component
		{"no UID", cal("BEGIN:VEVENT\n" + start + "END:VEVENT\n"), Rules{}, CodeInvalidObject, "VEVENT: UID is missing (line 4)"},
		{"empty UID", cal("BEGIN:VEVENT\nUID:\n" + start + "END:VEVENT\n"), Rules{}, CodeInvalidObject, "VEVENT: UID is missing (line 4)"},
		{"blank UID", cal("BEGIN:VEVENT\nUID:  \n" + start + "END:VEVENT\n"), Rules{}, CodeInvalidData, `VEVENT: UID "  " is blank or has control characters (line 5)`},
		{"A10 UID with a line end", cal("BEGIN:VEVENT\nUID:a\\nb\n" + start + "END:VEVENT\n"), Rules{}, CodeInvalidData, `VEVENT: UID "a\nb" is blank or has control characters (line 5)`},
		{"A10 UID like a path", cal("BEGIN:VEVENT\nUID:../../'\";--%00\n" + start + "END:VEVENT\n"), Rules{}, "", ""},
		{"long UID", cal("BEGIN:VEVENT\nUID:" + strings.Repeat("x", 1025) + "\n" + start + "END:VEVENT\n"), Rules{}, CodeInvalidData, "VEVENT: UID has 1025 octets, at most 1024 are accepted (line 5)"},
		{"UID twice", event("UID:1@alpha.test\n" + start), Rules{}, CodeInvalidData, "VEVENT: UID stands twice (line 6)"},
		{"no DTSTART", event(""), Rules{}, CodeInvalidData, "VEVENT: DTSTART is missing (line 4)"},
		{"no DTSTAMP", event(start), Rules{}, "", ""},
		{"DTSTART twice", event(start + start), Rules{}, CodeInvalidData, "VEVENT: DTSTART stands twice (line 7)"},
		{"SUMMARY twice", event(start + "SUMMARY:1\nSUMMARY:2\n"), Rules{}, "", ""},
		{"bad DTSTART", event("DTSTART:20260230T100000Z\n"), Rules{}, CodeInvalidData, `VEVENT: DTSTART: "20260230T100000Z" is no date or date-time (line 6)`},
		{"DTEND before DTSTART", event(start + "DTEND:20260105T095959Z\n"), Rules{}, CodeInvalidData, "VEVENT: DTEND is before DTSTART (line 7)"},
		{"dates reversed", event("DTEND;VALUE=DATE:20260104\nDTSTART;VALUE=DATE:20260105\n"), Rules{}, CodeInvalidData, "VEVENT: DTEND is before DTSTART (line 6)"},
		{"DTEND is DTSTART", event(start + "DTEND:20260105T100000Z\n"), Rules{}, "", ""},
		{"DTEND is a date", event(start + "DTEND;VALUE=DATE:20260106\n"), Rules{}, CodeInvalidData, "VEVENT: one of DTSTART and DTEND is a DATE, the other a time (line 7)"},
		{"DTSTART is a date", event("DTSTART;VALUE=DATE:20260105\nDTEND:20260106T100000Z\n"), Rules{}, CodeInvalidData, "VEVENT: one of DTSTART and DTEND is a DATE, the other a time (line 7)"},
		{"DTEND floats", event(start + "DTEND:20260106T100000\n"), Rules{}, CodeInvalidData, "VEVENT: one of DTSTART and DTEND has a time zone, the other has none (line 7)"},
		{"DTSTART floats", event("DTSTART:20260105T100000\nDTEND;TZID=Asia/Tokyo:20260106T100000\n"), Rules{}, CodeInvalidData, "VEVENT: one of DTSTART and DTEND has a time zone, the other has none (line 7)"},
		{"DTEND in UTC, DTSTART in a zone", event("DTSTART;TZID=Asia/Tokyo:20260105T100000\nDTEND:20260105T110000Z\n"), Rules{}, "", ""},
		{"DUE in another form", strings.NewReplacer("VEVENT", "VTODO").Replace(event(start + "DUE;VALUE=DATE:20260106\n")), Rules{}, "", ""},
		{"DTEND in another zone", event("DTSTART;TZID=Asia/Tokyo:20260105T100000\nDTEND;TZID=America/New_York:20260105T070000\n"), Rules{}, "", ""},
		{"DTEND and DURATION", event(start + "DTEND:20260105T110000Z\nDURATION:PT1H\n"), Rules{}, CodeInvalidData, "VEVENT: both DTEND and DURATION (line 8)"},
		{"negative DURATION", event(start + "DURATION:-PT1H\n"), Rules{}, CodeInvalidData, "VEVENT: DURATION is negative (line 7)"},
		{"bad DURATION", event(start + "DURATION:1H\n"), Rules{}, CodeInvalidData, `VEVENT: DURATION: "1H" is no duration (line 7)`},
		{"bad SEQUENCE", event(start + "SEQUENCE:-1\n"), Rules{}, CodeInvalidData, `VEVENT: SEQUENCE is "-1", not a number (line 7)`},
		{"bad RRULE", event(start + "RRULE:FREQ=DAILY;COUNT=x\n"), Rules{}, CodeInvalidData, `VEVENT: RRULE: `},
		{"A02 INTERVAL=0", event(start + "RRULE:FREQ=DAILY;INTERVAL=0\n"), Rules{}, CodeInvalidData, `VEVENT: RRULE: `},
		{"bad EXDATE", event(start + "EXDATE:20260106T100000Z,x\n"), Rules{}, CodeInvalidData, `VEVENT: EXDATE: "x" is no date or date-time (line 7)`},
		{"bad RDATE", event(start + "RDATE;VALUE=PERIOD:20260106T100000Z/x\n"), Rules{}, CodeInvalidData, `VEVENT: RDATE: `},
		{"odd CREATED", event(start + "CREATED:   51222T205954Z\n"), Rules{}, "", ""},
		{"odd escape", event(start + "DESCRIPTION:a \\\"b\\\"\n"), Rules{}, "", ""},
		{"control character", event(start + "DESCRIPTION:a\x07b\n"), Rules{}, CodeInvalidData, "VEVENT: DESCRIPTION has a control character (line 7)"},
		{"control character in a parameter", event(start + "X;CN=\x1b[0m:b\n"), Rules{}, CodeInvalidData, "VEVENT: X has a control character (line 7)"},
		{"line feed in a parameter", event(start + "X;CN=a^nb:c\td\n"), Rules{}, "", ""},
		{"group prefix", event(start + "item1.URL:x\nitem1.X-ABLABEL:\n"), Rules{}, "", ""},
		{"empty values", event(start + "SUMMARY:\nORGANIZER:\nATTENDEE:\nX-A;B=:\n"), Rules{}, "", ""},

		// zones
		{"known zone", event("DTSTART;TZID=Europe/Vienna:20260105T100000\n"), Rules{}, "", ""},
		{"Windows zone", event("DTSTART;TZID=\"W. Europe Standard Time\":20260105T100000\n"), Rules{}, "", ""},
		{"unknown zone", event("DTSTART;TZID=Bogus:20260105T100000\n"), Rules{}, CodeInvalidTimezone, `VEVENT: DTSTART: the time zone "Bogus" is unknown and comes without a VTIMEZONE (line 6)`},
		{"A10 zone like a path", event("DTSTART;TZID=../../etc/passwd:20260105T100000\n"), Rules{}, CodeInvalidTimezone, `VEVENT: DTSTART: the time zone "../../etc/passwd" is unknown`},
		{"unknown zone in EXDATE", event(start + "EXDATE;TZID=Bogus:20260105T100000\n"), Rules{}, CodeInvalidTimezone, `VEVENT: EXDATE: the time zone "Bogus" is unknown`},
		{"A08 many zones", event(start + zonesText(101)), Rules{}, CodeInvalidData, "VEVENT: more than 100 time zones"},

		// tasks and others
		{"task without dates", cal("BEGIN:VTODO\nUID:1\nRRULE:FREQ=DAILY;COUNT=3\nEND:VTODO\n"), Rules{}, "", ""},
		{"task put off", cal("BEGIN:VTODO\nUID:1\n" + start + "DUE:20260104T100000Z\nEND:VTODO\n"), Rules{}, "", ""},
		{"DUE and DURATION", cal("BEGIN:VTODO\nUID:1\n" + start + "DURATION:PT1H\nDUE:20260106T100000Z\nEND:VTODO\n"), Rules{}, CodeInvalidData, "VTODO: both DUE and DURATION (line 7)"},
		{"journal", cal("BEGIN:VJOURNAL\nUID:1\nEND:VJOURNAL\n"), Rules{}, "", ""},
		{"free-busy", cal("BEGIN:VFREEBUSY\nUID:1\nFREEBUSY:20260105T100000Z/PT1H,20260105T130000Z/20260105T140000Z\nEND:VFREEBUSY\n"), Rules{}, "", ""},
		{"bad free-busy", cal("BEGIN:VFREEBUSY\nUID:1\nFREEBUSY:20260105T100000Z/1\nEND:VFREEBUSY\n"), Rules{}, CodeInvalidData, "VFREEBUSY: FREEBUSY: "},

		// alarms
		{"alarm", event(start + alarm("ACTION:DISPLAY\nTRIGGER:-PT5M\nACKNOWLEDGED:20260105T100000Z\nREPEAT:2\nDURATION:PT1M\n")), Rules{}, "", ""},
		{"alarm at a time", event(start + alarm("ACTION:X-WHAT\nTRIGGER;VALUE=DATE-TIME:20260105T100000Z\n")), Rules{}, "", ""},
		{"alarm without TRIGGER", event(start + alarm("ACTION:DISPLAY\n")), Rules{}, CodeInvalidData, "VALARM: TRIGGER is missing (line 7)"},
		{"alarm without ACTION", event(start + alarm("TRIGGER:PT1M\n")), Rules{}, CodeInvalidData, "VALARM: ACTION is missing (line 7)"},
		{"bad TRIGGER", event(start + alarm("ACTION:AUDIO\nTRIGGER:soon\n")), Rules{}, CodeInvalidData, `VALARM: TRIGGER "soon" is no duration and no date-time (line 9)`},
		{"bad REPEAT", event(start + alarm("ACTION:AUDIO\nTRIGGER:PT0S\nREPEAT:x\n")), Rules{}, CodeInvalidData, `VALARM: REPEAT is "x", not a number (line 10)`},
		{"local ACKNOWLEDGED", event(start + alarm("ACTION:AUDIO\nTRIGGER:PT0S\nACKNOWLEDGED:20260105T100000\n")), Rules{}, CodeInvalidData, `VALARM: ACKNOWLEDGED "20260105T100000" is no UTC date-time (line 10)`},

		// limits of the collection
		{"size", event(start), Rules{MaxSize: 50}, CodeMaxSize, "the calendar object has 144 bytes, at most 50 are accepted"},
		{"attendees", event(start + strings.Repeat("ATTENDEE:mailto:a@b.test\n", 3)), Rules{MaxAttendees: 2}, CodeMaxAttendees, "VEVENT: 3 attendees, at most 2 are accepted (line 4)"},
		{"A01 COUNT", event(start + "RRULE:FREQ=SECONDLY;COUNT=1000000000\n"), Rules{MaxInstances: 1000}, CodeMaxInstances, "VEVENT: 1000000000 instances, at most 1000 are accepted (line 4)"},
		{"A07 RDATE", event(start + "RDATE:20260106T100000Z" + strings.Repeat(",20260106T100000Z", 100_000) + "\n"), Rules{MaxInstances: 1000}, CodeMaxInstances, "VEVENT: 100001 instances, at most 1000 are accepted (line 4)"},
		{"A07 overrides", event(start + "RRULE:FREQ=DAILY\n" + override(":20260106T100000Z") + override(":20260107T100000Z")), Rules{MaxInstances: 1}, CodeMaxInstances, "VEVENT: 2 instances, at most 1 are accepted (line 4)"},
		{"too early", event("DTSTART:19991231T235959Z\n"), Rules{MinDate: date(2000)}, CodeMinDate, "VEVENT: DTSTART 19991231T235959Z lies before 2000-01-01 (line 6)"},
		{"too late", event(start + "RDATE:21000102T000000Z\n"), Rules{MaxDate: date(2100)}, CodeMaxDate, "VEVENT: RDATE 21000102T000000Z lies after 2100-01-01 (line 7)"},
		{"zones may be old", cal("BEGIN:VTIMEZONE\nTZID:Eastern Standard Time\nBEGIN:STANDARD\nDTSTART:16010101T000000\nTZOFFSETFROM:-0400\nTZOFFSETTO:-0500\nEND:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:1\n" + start + "END:VEVENT\n"), Rules{MinDate: date(2000)}, "", ""},
	} {
		err := Validate(mustParse(t, c.text), c.rules)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: refused: %v", c.name, err)
		case c.want != "" && err == nil:
			t.Errorf("%s: accepted", c.name)
		case c.want != "" && (CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s:\n got %s %v\nwant %s %s", c.name, CodeOf(err), err, c.code, c.want)
		}
	}
}

// zonesText has n EXDATEs in n zones, all of them with a VTIMEZONE.
func zonesText(n int) string {
	var dates, zones strings.Builder
	for i := range n {
		fmt.Fprintf(&dates, "EXDATE;TZID=Zone %d:20260105T100000\n", i)
		fmt.Fprintf(&zones, "BEGIN:VTIMEZONE\nTZID:Zone %d\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n", i)
	}
	return dates.String() + "END:VEVENT\n" + zones.String() + "BEGIN:VEVENT\nUID:1@alpha.test\nRECURRENCE-ID:20260101T000000Z\n" + start
}

// A07: very many overrides are checked in one pass.
func TestValidateManyOverrides(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("BEGIN:VEVENT\nUID:1\nDTSTART:20000101T000000Z\nRRULE:FREQ=HOURLY\nEND:VEVENT\n")
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 40_000 {
		s := at.Format("20060102T150405Z")
		b.WriteString("BEGIN:VEVENT\nUID:1\nDTSTART:" + s + "\nRECURRENCE-ID:" + s + "\nEND:VEVENT\n")
		at = at.Add(time.Hour)
	}
	o := mustParse(t, cal(b.String()))
	if err := Validate(o, Rules{}); err != nil {
		t.Fatal(err)
	}
	if err := Validate(o, Rules{MaxInstances: 10_000}); CodeOf(err) != CodeMaxInstances {
		t.Errorf("got %v", err)
	}
	if n := len(Split(o)); n != 1 {
		t.Errorf("split into %d", n)
	}
}

func TestValidateMessage(t *testing.T) {
	t.Parallel()
	message := func(method, body string) string { return cal("METHOD:" + method + "\n" + body) }
	vevent := func(lines string) string { return "BEGIN:VEVENT\nUID:1@alpha.test\n" + lines + "END:VEVENT\n" }
	org := "ORGANIZER:mailto:a@alpha.test\n"
	for _, c := range []struct{ name, text, want string }{
		{"request", message("REQUEST", vevent(start+org)), ""},
		{"small letters", message("request", vevent(start+org)), ""},
		{"reply without DTSTART", message("REPLY", vevent(org)), ""},
		{"reply of Exchange", message("REPLY", vevent(start+"ATTENDEE:mailto:b@beta.test\n")), ""},
		{"cancel of an instance", message("CANCEL", vevent(org+"RECURRENCE-ID:20260105T100000Z\n")), ""},
		{"override with a master that does not recur", message("REQUEST", vevent(start+org)+vevent(start+org+"RECURRENCE-ID:20260109T100000Z\n")), ""},
		{"control character", message("REQUEST", vevent(start+org+"DESCRIPTION:a\x0bb\n")), ""},
		{"odd alarm", message("REQUEST", vevent(start+org+"BEGIN:VALARM\nEND:VALARM\n")), ""},
		{"free-busy", message("REQUEST", "BEGIN:VFREEBUSY\nUID:1\n"+org+start+"DTEND:20260106T100000Z\nEND:VFREEBUSY\n"), ""},

		{"no method", cal(vevent(start + org)), "a scheduling message needs a METHOD"},
		{"unknown method", message("PAY", vevent(start+org)), `METHOD "PAY" is unknown (line 4)`},
		{"two methods", message("REQUEST\nMETHOD:CANCEL", vevent(start+org)), "METHOD stands twice (line 5)"},
		{"no organizer", message("REQUEST", vevent(start)), "VEVENT: a REQUEST needs an ORGANIZER (line 5)"},
		{"no start", message("REQUEST", vevent(org)), "VEVENT: DTSTART is missing (line 5)"},
		{"no UID", message("REQUEST", "BEGIN:VEVENT\n"+start+org+"END:VEVENT\n"), "VEVENT: UID is missing (line 5)"},
		{"nothing", message("REQUEST", ""), "the VCALENDAR has no component but time zones (line 1)"},
		{"A11 two UIDs", message("REQUEST", vevent(start+org)+strings.Replace(vevent(start+org), "UID:1", "UID:2", 1)), `VEVENT: UID "2@alpha.test" is another than that of the first component (line 11)`},
		{"A11 mixed components", message("REQUEST", vevent(start+org)+"BEGIN:VTODO\nUID:1@alpha.test\n"+org+"END:VTODO\n"), "VEVENT and VTODO in one calendar object (line 10)"},
		{"A11 two masters", message("REQUEST", vevent(start+org)+vevent(start+org)), `two components without RECURRENCE-ID have the UID "1@alpha.test" (line 10)`},
		{"A11 two organizers", message("REQUEST", vevent(start+org)+vevent(start+"ORGANIZER:mailto:eve@evil.test\nRECURRENCE-ID:20260105T100000Z\n")), "VEVENT: ORGANIZER is mailto:eve@evil.test here and mailto:a@alpha.test in another component (line 13)"},
		{"A11 one instance twice", message("REPLY", vevent(org+"RECURRENCE-ID:20260105T100000Z\n")+vevent(org+"RECURRENCE-ID:20260105T100000Z\n")), "VEVENT: two components have the RECURRENCE-ID 20260105T100000Z (line 13)"},
		{"unknown zone", message("REPLY", vevent(org+"RECURRENCE-ID;TZID=Bogus:20260105T100000\n")), `VEVENT: RECURRENCE-ID: the time zone "Bogus" is unknown`},
	} {
		err := ValidateMessage(mustParse(t, c.text))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: refused: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
		case c.want != "" && c.name != "unknown zone" && CodeOf(err) != CodeInvalidData:
			t.Errorf("%s: code %s", c.name, CodeOf(err))
		}
	}
}

// RFC 4791 §5.2.5 to §5.2.9: the limits of calendars hold messages and what they make
// of a copy; what else is wrong with a copy is not asked.
func TestLimitsOfMessages(t *testing.T) {
	t.Parallel()
	const org = "ORGANIZER:mailto:a@alpha.test\n"
	vevent := func(lines string) string { return "BEGIN:VEVENT\nUID:1@alpha.test\n" + lines + "END:VEVENT\n" }
	rules := Rules{Components: []string{"VTODO"}, MaxSize: 1000, MaxInstances: 5, MaxAttendees: 2, MinDate: utc(t, "19000101T000000Z"), MaxDate: utc(t, "22000101T000000Z")}
	override := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "BEGIN:VEVENT\nUID:1@alpha.test\n%sRECURRENCE-ID:2026010%dT100000Z\nDTSTART:2026010%dT100000Z\nEND:VEVENT\n", org, i+1, i+1)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		body string
		want Code
	}{
		"within":        {vevent(start + org + "RRULE:FREQ=DAILY;COUNT=5\nATTENDEE:mailto:b@alpha.test\n"), ""},
		"endless":       {vevent(start + org + "RRULE:FREQ=DAILY\n"), ""},
		"until far":     {vevent(start + org + "RRULE:FREQ=DAILY;UNTIL=99991231T000000Z\n"), ""},
		"size":          {vevent(start + org + "DESCRIPTION:" + strings.Repeat("x", 1000) + "\n"), CodeMaxSize},
		"count":         {vevent(start + org + "RRULE:FREQ=DAILY;COUNT=6\n"), CodeMaxInstances},
		"overrides":     {override(6), CodeMaxInstances},
		"attendees":     {vevent(start + org + strings.Repeat("ATTENDEE:mailto:b@alpha.test\n", 3)), CodeMaxAttendees},
		"before":        {vevent("DTSTART:18991231T100000Z\n" + org), CodeMinDate},
		"after":         {vevent("DTSTART:99990101T100000Z\n" + org), CodeMaxDate},
		"instance late": {vevent(start + org + "RRULE:FREQ=DAILY\nRDATE:99990101T100000Z\n"), CodeMaxDate},
	} {
		if err := ValidateMessageWithin(mustParse(t, cal("METHOD:REQUEST\n"+c.body)), rules); CodeOf(err) != c.want {
			t.Errorf("%s: a message: %v", name, err)
		}
		if err := Exceeds(mustParse(t, cal(c.body)), rules); CodeOf(err) != c.want {
			t.Errorf("%s: a copy: %v", name, err)
		}
	}
	if err := Exceeds(mustParse(t, cal(vevent("DTSTART:20260105T100000Z\nDTEND:20250105T100000Z\n"))), rules); err != nil {
		t.Errorf("a copy that is wrong, but not too large: %v", err)
	}
}

func FuzzValidate(f *testing.F) {
	f.Add([]byte(crlf(sample)))
	f.Add([]byte(event(start + "RRULE:FREQ=DAILY\nRDATE;VALUE=PERIOD:20260105T100000Z/PT1H\nEXDATE;TZID=X:20260105T100000\nDURATION:P1W\n")))
	f.Add([]byte(cal("METHOD:REPLY\nBEGIN:VTODO\nUID:1\nRECURRENCE-ID;VALUE=DATE:20260101\nSEQUENCE:3\nEND:VTODO\n")))
	f.Add([]byte(cal("BEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nRRULE:FREQ=SECONDLY\nEND:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:1\nDTSTART;TZID=X:20260101T000000\nEND:VEVENT\n")))
	rules := Rules{Components: []string{"VEVENT", "VTODO"}, MaxSize: 1000, MaxInstances: 5, MaxAttendees: 3, MinDate: time.Unix(0, 0), MaxDate: time.Unix(4e9, 0)}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data, Limits{Properties: 1000})
		if err != nil {
			return
		}
		strict := Validate(o, rules)
		if err := Validate(o, Rules{}); err != nil {
			if strict == nil {
				t.Fatalf("refused without rules, accepted with: %v", err)
			}
			if CodeOf(err) == "" {
				t.Fatalf("no code: %v", err)
			}
		}
		_ = ValidateMessage(o)
		n := 0
		for _, part := range Split(o) {
			n += len(part.Components())
			if _, err := Parse(part.Bytes(), Limits{}); err != nil {
				t.Fatalf("part: %v", err)
			}
		}
		if n != len(o.Components()) {
			t.Fatalf("%d of %d components are left", n, len(o.Components()))
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	o := mustParse(b, crlf(sample))
	b.ReportAllocs()
	for b.Loop() {
		if err := Validate(o, Rules{MaxSize: 1 << 20, MaxAttendees: 100}); err != nil {
			b.Fatal(err)
		}
	}
}
