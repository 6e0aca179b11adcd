package calendar

import (
	"strings"
	"testing"
)

// What is hidden is everything that is not known to be a time (abuse A24).
func TestVeil(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//secret//EN
X-WR-CALNAME:secret
BEGIN:VTIMEZONE
TZID:Europe/Vienna
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:u
DTSTAMP:20260101T000000Z
DTSTART;TZID=Europe/Vienna;X-NOTE=secret:20260105T100000
DURATION:PT1H
RRULE:FREQ=DAILY
EXDATE;TZID=Europe/Vienna:20260106T100000
CLASS:CONFIDENTIAL
SUMMARY:secret
DESCRIPTION:secret
X-ALT-DESC:secret
CATEGORIES:secret
ATTENDEE:mailto:secret@example.com
ORGANIZER:mailto:secret@example.com
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT5M
DESCRIPTION:secret
END:VALARM
END:VEVENT
BEGIN:X-SECRET
X-A:secret
END:X-SECRET
END:VCALENDAR
`, "\n", "\r\n")
	o, err := Parse([]byte(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := string(Veil(o).Bytes())
	if strings.Contains(got, "secret") {
		t.Errorf("hidden things show:\n%s", got)
	}
	for _, want := range []string{"UID:u\r\n", "DTSTART;TZID=Europe/Vienna:20260105T100000\r\n", "DURATION:PT1H", "RRULE:FREQ=DAILY", "EXDATE;TZID", "SUMMARY:Busy", "BEGIN:VTIMEZONE", "CLASS:CONFIDENTIAL"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is lacking:\n%s", want, got)
		}
	}
	if string(o.Bytes()) != text {
		t.Error("the object itself was changed")
	}
	p, err := Parse([]byte(got), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(p, Rules{}); err != nil {
		t.Error(err)
	}
}

// RFC 5545 §3.8.1.3: the strictest class of an object counts; what nobody knows is
// private.
func TestIndexClass(t *testing.T) {
	t.Parallel()
	for classes, want := range map[string]string{"": "", "PUBLIC": "", "public": "", "CONFIDENTIAL": "CONFIDENTIAL", "Private": "PRIVATE", "X-A": "PRIVATE",
		"PUBLIC,CONFIDENTIAL": "CONFIDENTIAL", "CONFIDENTIAL,PRIVATE": "PRIVATE", "PRIVATE,CONFIDENTIAL": "PRIVATE", "PRIVATE,PUBLIC": "PRIVATE"} {
		o := NewObject("x")
		for _, c := range strings.Split(classes, ",") {
			k := &Component{Name: "VEVENT", Props: []*Property{NewProperty("UID", "u"), NewProperty("DTSTART", "20260101T000000Z")}}
			if c != "" {
				k.Props = append(k.Props, NewProperty("CLASS", c))
			}
			o.Children = append(o.Children, k)
		}
		if x, err := o.Index(); err != nil || x.Class != want {
			t.Errorf("%s: %q, %v", classes, x.Class, err)
		}
	}
}
