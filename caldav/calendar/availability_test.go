package calendar

import (
	"strings"
	"testing"
)

func availability(t *testing.T, lines string) *Object {
	t.Helper()
	text := "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VAVAILABILITY\nUID:a\nDTSTAMP:20260101T000000Z\n" + lines + "\nEND:VAVAILABILITY\nEND:VCALENDAR\n"
	o, err := Parse([]byte(text), Limits{})
	if err == nil {
		err = Validate(o, Rules{})
	}
	if err != nil {
		t.Fatalf("%s: %v", lines, err)
	}
	return o
}

func available(lines string) string {
	return "\nBEGIN:AVAILABLE\nUID:b\nDTSTAMP:20260101T000000Z\n" + lines + "\nEND:AVAILABLE"
}

// RFC 7953 §4: what VAVAILABILITY components leave no time for.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	office := available("DTSTART;TZID=Europe/Berlin:20260105T090000\nDTEND;TZID=Europe/Berlin:20260105T170000\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR")
	for _, c := range []struct {
		name string
		of   []string
		want string
	}{
		{"nothing", nil, ""},
		{"never", []string{""}, "BUSY-UNAVAILABLE 20260105T000000Z/20260107T000000Z"},
		{"office hours", []string{office}, "BUSY-UNAVAILABLE 20260105T000000Z/20260105T080000Z\nBUSY-UNAVAILABLE 20260105T160000Z/20260106T080000Z\nBUSY-UNAVAILABLE 20260106T160000Z/20260107T000000Z"},
		{"its own type", []string{"BUSYTYPE:BUSY\nDTSTART:20260105T100000Z\nDURATION:PT2H"}, "BUSY 20260105T100000Z/20260105T120000Z"},
		{"unknown type", []string{"BUSYTYPE:X-GONE\nDTSTART:20260105T100000Z\nDTEND:20260105T120000Z"}, "BUSY-UNAVAILABLE 20260105T100000Z/20260105T120000Z"},
		{"outside", []string{"DTEND:20260101T000000Z", "DTSTART:20270101T000000Z"}, ""},
		{"an instance less", []string{available("DTSTART:20260105T000000Z\nDTEND:20260106T000000Z\nRRULE:FREQ=DAILY\nEXDATE:20260106T000000Z")}, "BUSY-UNAVAILABLE 20260106T000000Z/20260107T000000Z"},
		{"a moved instance", []string{available("DTSTART:20260105T000000Z\nDTEND:20260105T060000Z\nRRULE:FREQ=DAILY;COUNT=2") + available("RECURRENCE-ID:20260106T000000Z\nDTSTART:20260106T120000Z\nDTEND:20260107T000000Z")},
			"BUSY-UNAVAILABLE 20260105T060000Z/20260106T120000Z"},
		{"overlapping times", []string{available("DTSTART:20260105T000000Z\nDTEND:20260105T120000Z") + strings.Replace(available("DTSTART:20260105T100000Z\nDTEND:20260107T000000Z"), "UID:b", "UID:c", 1)}, ""},
		{"the higher priority decides", []string{"PRIORITY:1\nDTSTART:20260105T060000Z\nDTEND:20260106T000000Z" + available("DTSTART:20260105T120000Z\nDTEND:20260106T000000Z"), office},
			"BUSY-UNAVAILABLE 20260105T000000Z/20260105T120000Z\nBUSY-UNAVAILABLE 20260106T000000Z/20260106T080000Z\nBUSY-UNAVAILABLE 20260106T160000Z/20260107T000000Z"},
		{"none is the lowest", []string{"BUSYTYPE:BUSY", "PRIORITY:9\nBUSYTYPE:BUSY-TENTATIVE"}, "BUSY-TENTATIVE 20260105T000000Z/20260107T000000Z"},
		{"0 as well", []string{"PRIORITY:9\nBUSYTYPE:BUSY-TENTATIVE", "PRIORITY:0\nBUSYTYPE:BUSY"}, "BUSY-TENTATIVE 20260105T000000Z/20260107T000000Z"},
		{"at one priority the type decides", []string{"BUSYTYPE:BUSY\nDTEND:20260106T000000Z", "BUSYTYPE:BUSY-TENTATIVE", "DTSTART:20260105T120000Z\nDTEND:20260106T120000Z"},
			"BUSY 20260105T000000Z/20260106T000000Z\nBUSY-UNAVAILABLE 20260106T000000Z/20260106T120000Z\nBUSY-TENTATIVE 20260106T120000Z/20260107T000000Z"},
	} {
		var of []Availability
		for _, lines := range c.of {
			of = append(of, Availability{Object: availability(t, lines)})
		}
		ps, err := Unavailable(of, utc(t, "20260105T000000Z"), utc(t, "20260107T000000Z"), nil)
		if err != nil || busyText(ps) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, busyText(ps), c.want)
		}
	}
}

// Hostile availabilities end at the budget, not at the end of the world.
func TestUnavailableBudget(t *testing.T) {
	t.Parallel()
	o := availability(t, available("DTSTART:20260105T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY;INTERVAL=2"))
	if _, err := Unavailable([]Availability{{Object: o}}, utc(t, "20260105T000000Z"), utc(t, "20360107T000000Z"), nil); CodeOf(err) != CodeMaxInstances && CodeOf(err) != CodeBudget {
		t.Errorf("ten years of seconds: %v", err)
	}
	var of []Availability
	for range 3 * maxAvailabilities {
		of = append(of, Availability{Object: availability(t, "BUSYTYPE:BUSY")})
	}
	if ps, err := Unavailable(of, utc(t, "20260105T000000Z"), utc(t, "20260106T000000Z"), nil); err != nil || len(ps) != 1 {
		t.Errorf("many: %v %v", ps, err)
	}
}

func TestValidateAvailability(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]Code{
		"":                             ``,
		"DURATION:PT1H":                CodeInvalidData,
		"BUSYTYPE:BUSY\nBUSYTYPE:BUSY": CodeInvalidData,
		"DTSTART:20260101T000000Z\nDTEND:20250101T000000Z":                              CodeInvalidData,
		"BEGIN:AVAILABLE\nUID:x\nEND:AVAILABLE":                                         CodeInvalidData,
		"BEGIN:AVAILABLE\nDTSTART:20260101T000000Z\nEND:AVAILABLE":                      CodeInvalidObject,
		"BEGIN:AVAILABLE\nUID:x\nDTSTART;TZID=Nowhere:20260101T000000\nEND:AVAILABLE":   CodeInvalidTimezone,
		"BEGIN:AVAILABLE\nUID:x\nDTSTART:20260101T000000Z\nRRULE:FREQ=X\nEND:AVAILABLE": CodeInvalidData,
	} {
		_, err := ParseAvailability("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VAVAILABILITY\nUID:a\n"+lines+"\nEND:VAVAILABILITY\nEND:VCALENDAR\n", Limits{})
		if CodeOf(err) != want {
			t.Errorf("%q: %v, want %q", lines, err, want)
		}
	}
	for _, text := range []string{"", "x", "BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n", "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:a\nDTSTART:20260101T000000Z\nEND:VEVENT\nEND:VCALENDAR\n",
		"BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VAVAILABILITY\nUID:a\nEND:VAVAILABILITY\nBEGIN:VAVAILABILITY\nUID:b\nEND:VAVAILABILITY\nEND:VCALENDAR\n"} {
		if _, err := ParseAvailability(text, Limits{}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// RFC 7953 §7.2.2: the time range of VAVAILABILITY and AVAILABLE, and the index
// that selects for it.
func TestAvailabilityFilter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lines, from, to string
		outer, inner    bool
	}{
		{"", "20260105T000000Z", "20260106T000000Z", true, false},
		{"DTSTART:20260106T000000Z", "20260105T000000Z", "20260106T000000Z", false, false},
		{"DTEND:20260105T000000Z", "20260105T000000Z", "", false, false},
		{"DTSTART:20260101T000000Z\nDURATION:P1W", "20260105T000000Z", "20260106T000000Z", true, false},
		{available("DTSTART:20260101T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY"), "20260105T093000Z", "20260105T103000Z", true, true},
		{available("DTSTART:20260101T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY"), "20260105T113000Z", "20260105T123000Z", true, false},
	} {
		o := availability(t, c.lines)
		r := rangeOf(t, c.from, c.to)
		outer, err1 := inCalendar(CompFilter{Name: "VAVAILABILITY", Range: r}).Match(o, nil, nil)
		inner, err2 := inCalendar(CompFilter{Name: "VAVAILABILITY", Comps: []CompFilter{{Name: "AVAILABLE", Range: r}}}).Match(o, nil, nil)
		any, err3 := (&CompFilter{Name: "VCALENDAR", Range: r}).Match(o, nil, nil)
		if outer != c.outer || any != c.outer || inner != c.inner || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("%s: %v %v %v, %v %v %v", c.lines, outer, any, inner, err1, err2, err3)
		}
		x, err := o.Index()
		if err != nil {
			t.Fatal(err)
		}
		if selected := (c.to == "" || x.Start < utc(t, c.to).UnixMicro()) && x.End > utc(t, c.from).UnixMicro(); c.outer && !selected {
			t.Errorf("%s: the index %d %d misses it", c.lines, x.Start, x.End)
		}
	}
}
