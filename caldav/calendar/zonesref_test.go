package calendar

import (
	"slices"
	"strings"
	"testing"
)

// RFC 7809 §3.1.2: zones left out and put in by their names.
func TestZonesByReference(t *testing.T) {
	t.Parallel()
	const own = "BEGIN:VTIMEZONE\nTZID:Own\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n"
	text := "BEGIN:VCALENDAR\nVERSION:2.0\n" + own + strings.Replace(own, "TZID:Own", "TZID:Europe/Berlin", 1) +
		"BEGIN:VEVENT\nUID:a\nDTSTART;TZID=Europe/Berlin:20260105T100000\nDTEND;TZID=Own:20260105T110000\nEXDATE;TZID=America/New_York:20260106T100000\nRDATE;TZID=Eastern Standard Time:20260106T100000\n" +
		"COMMENT;TZID=Nowhere:x\nEND:VEVENT\nEND:VCALENDAR\n"
	o, err := Parse([]byte(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	before := string(o.Bytes())
	ids := func(o *Object) (out []string) {
		for _, z := range o.ChildrenNamed("VTIMEZONE") {
			out = append(out, z.Text("TZID"))
		}
		slices.Sort(out)
		return out
	}
	if got := ids(WithoutZones(o)); !slices.Equal(got, []string{"Own"}) {
		t.Errorf("without: %v", got)
	}
	with := WithZones(o)
	if got := ids(with); !slices.Equal(got, []string{"America/New_York", "Eastern Standard Time", "Europe/Berlin", "Own"}) {
		t.Errorf("with: %v", got)
	}
	if text := string(with.Bytes()); !strings.Contains(text, "TZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000") {
		t.Errorf("the VTIMEZONE that came along was changed: %s", text)
	}
	if err := Validate(with, Rules{}); err != nil {
		t.Error(err)
	}
	if string(o.Bytes()) != before {
		t.Error("the object was changed")
	}
}

// A task that recurs by its DUE, without DTSTART: python-caldav.md
// (includes-implicit.todo), RFC 4791 §9.9.
func TestRecurringByDue(t *testing.T) {
	t.Parallel()
	o, err := Parse([]byte("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VTODO\nUID:t\nDTSTAMP:20260101T000000Z\nDUE;TZID=Europe/Berlin:20260105T100000\nRRULE:FREQ=WEEKLY;COUNT=10\nEXDATE;TZID=Europe/Berlin:20260119T100000\n"+
		"BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER;RELATED=END:-PT1H\nEND:VALARM\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT2H\nEND:VALARM\nEND:VTODO\n"+
		"BEGIN:VTODO\nUID:t\nDTSTAMP:20260101T000000Z\nRECURRENCE-ID;TZID=Europe/Berlin:20260126T100000\nDUE;TZID=Europe/Berlin:20260127T100000\nEND:VTODO\nEND:VCALENDAR\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(o, Rules{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"20260105T080000Z", "20260105T090000Z", true}, // the end counts: (start < DUE) AND (end >= DUE)
		{"20260105T090000Z", "20260105T100000Z", false},
		{"20260112T000000Z", "20260113T000000Z", true},
		{"20260113T000000Z", "20260114T000000Z", false},
		{"20260119T000000Z", "20260120T000000Z", false}, // EXDATE
		{"20260126T000000Z", "20260127T000000Z", false}, // moved
		{"20260127T000000Z", "20260128T000000Z", true},
		{"20260309T000000Z", "20260310T000000Z", true}, // the last
		{"20260316T000000Z", "", false},
		{"", "20260105T085959Z", false},
		{"20260301T000000Z", "", true},
	} {
		r := rangeOf(t, c.from, c.to)
		if got, err := inCalendar(CompFilter{Name: "VTODO", Range: r}).Match(o, nil, nil); err != nil || got != c.want {
			t.Errorf("%s to %s: %v %v", c.from, c.to, got, err)
		}
		x, err := o.Index()
		if err != nil {
			t.Fatal(err)
		}
		if c.want && (!r.End.IsZero() && x.Start > r.End.UnixMicro() || !r.Start.IsZero() && x.End <= r.Start.UnixMicro()) {
			t.Errorf("%s to %s: the index %d %d misses it", c.from, c.to, x.Start, x.End)
		}
	}
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"20260112T080000Z", "20260112T080001Z", true},  // an hour before it is due
		{"20260112T070000Z", "20260112T070001Z", false}, // relative to a start that is not there
	} {
		f := inCalendar(CompFilter{Name: "VTODO", Comps: []CompFilter{{Name: "VALARM", Range: rangeOf(t, c.from, c.to)}}})
		if got, err := f.Match(o, nil, nil); err != nil || got != c.want {
			t.Errorf("alarm at %s: %v %v", c.from, got, err)
		}
	}
	e, err := Expand(o, nil, utc(t, "20260110T000000Z"), utc(t, "20260128T000000Z"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range e.Children {
		got = append(got, c.Value("RECURRENCE-ID")+" "+c.Value("DUE")+c.Value("DTSTART")+c.Value("RRULE"))
	}
	if want := "20260112T090000Z 20260112T090000Z, 20260126T090000Z 20260127T090000Z"; strings.Join(got, ", ") != want {
		t.Errorf("expanded: %s, want %s", strings.Join(got, ", "), want)
	}
	if !strings.Contains(string(e.Bytes()), "DUE:") || strings.Contains(string(e.Bytes()), "DTSTART") {
		t.Errorf("%s", e.Bytes())
	}
}
