package calendar

import (
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	vtimezone := func(id string) string {
		return "BEGIN:VTIMEZONE\nTZID:" + id + "\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n"
	}
	vevent := func(uid, lines string) string { return "BEGIN:VEVENT\nUID:" + uid + "\n" + lines + "END:VEVENT\n" }
	a1 := vevent("a", "DTSTART;TZID=Zone B:20260105T100000\nEXDATE;TZID=\"Zone A\":20260105T100000\nRRULE:FREQ=DAILY\nX-KEEP;A=\"1\":2\n")
	a2 := vevent("a", "RECURRENCE-ID;TZID=Zone B:20260106T100000\nDTSTART;TZID=Europe/Vienna:20260105T100000\n")
	b := vevent("b", "DTSTART:20260105T100000Z\n")
	todo := "BEGIN:VTODO\nUID:b\nBEGIN:VALARM\nACTION:AUDIO\nTRIGGER:PT0S\nX-AT;TZID=Zone A:1\nEND:VALARM\nEND:VTODO\n"
	nameless := "BEGIN:VEVENT\nDTSTART:20260105T100000Z\nEND:VEVENT\n"
	head := "METHOD:PUBLISH\nX-WR-CALNAME:Old\n"
	o := mustParse(t, cal(head+vtimezone("Zone A")+a1+b+vtimezone("Zone B")+vtimezone("Zone B")+vtimezone("Unused")+todo+nameless+a2+nameless))

	want := []string{
		vtimezone("Zone B") + vtimezone("Zone A") + a1 + a2,
		b,
		vtimezone("Zone A") + todo,
		nameless,
		nameless,
	}
	parts := Split(o)
	if len(parts) != len(want) {
		t.Fatalf("%d parts", len(parts))
	}
	for i, p := range parts {
		if got := string(p.Bytes()); got != cal(want[i]) {
			t.Errorf("part %d:\n%s\nwant\n%s", i, got, cal(want[i]))
		}
	}
	for _, i := range []int{0, 1, 2} {
		if err := Validate(parts[i], Rules{}); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
	parts[0].Add(NewProperty("X-NEW", "1"))
	if strings.Contains(string(parts[1].Bytes()), "X-NEW") {
		t.Error("parts share room for properties")
	}
	if got := Split(mustParse(t, cal(vtimezone("Zone A")))); got != nil {
		t.Errorf("zones alone: %v", got)
	}
	bare := Split(mustParse(t, crlf("BEGIN:VCALENDAR\n"+b+"END:VCALENDAR\n")))
	if got := string(bare[0].Bytes()); got != crlf("BEGIN:VCALENDAR\nVERSION:2.0\n"+b+"END:VCALENDAR\n") {
		t.Errorf("without VERSION:\n%s", got)
	}
}
