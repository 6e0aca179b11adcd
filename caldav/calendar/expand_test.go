package calendar

import (
	"strings"
	"testing"
	"time"
)

// written is o without its first lines, LF only.
func written(o *Object) string {
	var b []byte
	for _, c := range o.Children {
		b = c.Append(b)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestExpand(t *testing.T) {
	t.Parallel()
	berlin, err := LoadZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, lines, from, to, want string
	}{
		{"RFC 4791 7.8.3", `BEGIN:VTIMEZONE
TZID:US/Eastern
BEGIN:STANDARD
DTSTART:20001026T020000
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART;TZID=US/Eastern:20060102T120000
DURATION:PT1H
RRULE:FREQ=DAILY;COUNT=5
SUMMARY:Event #2
UID:2
END:VEVENT
BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART;TZID=US/Eastern:20060104T140000
DURATION:PT1H
RECURRENCE-ID;TZID=US/Eastern:20060104T120000
SUMMARY:Event #2 bis
UID:2
END:VEVENT`, "20060103T000000Z", "20060105T000000Z", `BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART:20060103T170000Z
DURATION:PT1H
SUMMARY:Event #2
UID:2
RECURRENCE-ID:20060103T170000Z
END:VEVENT
BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART:20060104T190000Z
DURATION:PT1H
RECURRENCE-ID:20060104T170000Z
SUMMARY:Event #2 bis
UID:2
END:VEVENT
`},
		{"first instance, DTEND, EXDATE, alarm, other times", `BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20260328T100000
DTEND;TZID=Europe/Berlin:20260328T110000
RRULE:FREQ=DAILY;COUNT=3
EXDATE;TZID=Europe/Berlin:20260330T100000
X-WHEN;TZID=Europe/Berlin;VALUE=DATE-TIME:20260328T100000
X-ODD;TZID=Europe/Berlin:soon
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15M
END:VALARM
END:VEVENT`, "20260301T000000Z", "20260401T000000Z", `BEGIN:VEVENT
UID:1
DTSTART:20260328T090000Z
DTEND:20260328T100000Z
X-WHEN;VALUE=DATE-TIME:20260328T090000Z
X-ODD;TZID=Europe/Berlin:soon
RECURRENCE-ID:20260328T090000Z
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15M
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:1
DTSTART:20260329T080000Z
DTEND:20260329T090000Z
X-WHEN;VALUE=DATE-TIME:20260328T090000Z
X-ODD;TZID=Europe/Berlin:soon
RECURRENCE-ID:20260329T080000Z
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15M
END:VALARM
END:VEVENT
`},
		{"a nominal day over the clock change becomes an end", `BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20260328T100000
DURATION:P1D
RRULE:FREQ=WEEKLY;COUNT=2
END:VEVENT`, "20260301T000000Z", "20260501T000000Z", `BEGIN:VEVENT
UID:1
DTSTART:20260328T090000Z
DTEND:20260329T080000Z
RECURRENCE-ID:20260328T090000Z
END:VEVENT
BEGIN:VEVENT
UID:1
DTSTART:20260404T080000Z
DURATION:P1D
RECURRENCE-ID:20260404T080000Z
END:VEVENT
`},
		{"dates stay dates", `BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20260101
DTEND;VALUE=DATE:20260103
RRULE:FREQ=WEEKLY;COUNT=3
END:VEVENT`, "20260108T000000Z", "20260110T000000Z", `BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20260108
DTEND;VALUE=DATE:20260110
RECURRENCE-ID;VALUE=DATE:20260108
END:VEVENT
`},
		{"floating stays floating", `BEGIN:VEVENT
UID:1
DTSTART:20260101T100000
DTEND:20260101T110000
RRULE:FREQ=DAILY;COUNT=2
END:VEVENT`, "20260102T090000Z", "20260103T000000Z", `BEGIN:VEVENT
UID:1
DTSTART:20260102T100000
DTEND:20260102T110000
RECURRENCE-ID:20260102T100000
END:VEVENT
`},
		{"no RECURRENCE-ID where nothing recurs", `BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20260101T100000
DURATION:PT1H
END:VEVENT`, "20260101T000000Z", "20260102T000000Z", `BEGIN:VEVENT
UID:1
DTSTART:20260101T090000Z
DURATION:PT1H
END:VEVENT
`},
		{"a period of its own length", `BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20260101T100000
DURATION:PT1H
RDATE;VALUE=PERIOD;TZID=Europe/Berlin:20260102T100000/PT3H
END:VEVENT`, "20260102T000000Z", "20260103T000000Z", `BEGIN:VEVENT
UID:1
DTSTART:20260102T090000Z
DTEND:20260102T120000Z
RECURRENCE-ID:20260102T090000Z
END:VEVENT
`},
		{"THISANDFUTURE moves what follows", `BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20260101T100000
DTEND;TZID=Europe/Berlin:20260101T110000
RRULE:FREQ=DAILY
SUMMARY:old
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20260105T100000
DTSTART;TZID=Europe/Berlin:20260105T140000
DTEND;TZID=Europe/Berlin:20260105T160000
SUMMARY:new
END:VEVENT`, "20260107T000000Z", "20260108T000000Z", `BEGIN:VEVENT
UID:1
RECURRENCE-ID:20260107T090000Z
DTSTART:20260107T130000Z
DTEND:20260107T150000Z
SUMMARY:new
END:VEVENT
`},
		{"tasks: DUE, and one without any time", `BEGIN:VTODO
UID:1
DUE;TZID=Europe/Berlin:20260101T100000
END:VTODO`, "20260101T000000Z", "20260102T000000Z", `BEGIN:VTODO
UID:1
DUE:20260101T090000Z
END:VTODO
`},
		{"nothing in the range", `BEGIN:VEVENT
UID:1
DTSTART:20260101T100000Z
END:VEVENT`, "20260301T000000Z", "20260401T000000Z", ""},
	} {
		o := icalObject(t, c.lines)
		before := string(o.Bytes())
		out, err := Expand(o, NewZones(o, berlin), utc(t, c.from), utc(t, c.to), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := written(out); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if string(o.Bytes()) != before {
			t.Errorf("%s: the object was changed", c.name)
		}
	}
}

// TestExpandVectors: every instance of the cases is in the expanded object,
// with the right times and nothing left that recurs or needs a zone.
func TestExpandVectors(t *testing.T) {
	t.Parallel()
	for _, c := range readVectors(t) {
		if c.Component == "VFREEBUSY" || c.Group == "alarm" {
			continue
		}
		o, err := Parse([]byte(c.ICS), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		loc, err := LoadZone(c.Floating)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.Windows {
			if len(w.Instances) == 0 {
				continue
			}
			out, err := Expand(o, NewZones(o, loc), utc(t, w.Start), utc(t, w.End), nil)
			if err != nil {
				t.Fatalf("%s: %v", c.ID, err)
			}
			if len(out.Children) != len(w.Instances) {
				t.Errorf("%s: %d components, want %d", c.ID, len(out.Children), len(w.Instances))
				continue
			}
			z := NewZones(out, loc)
			for i, k := range out.Children {
				if id := k.Value("RECURRENCE-ID"); id != "" && id != w.Instances[i][0] || k.Value("DTSTART") != w.Instances[i][1] {
					t.Errorf("%s: instance %s starts %s, want %v", c.ID, id, k.Value("DTSTART"), w.Instances[i])
				}
				tm, err := timingOf(k)
				if err != nil {
					t.Fatal(err)
				}
				l, err := lengthOf(z, k.Name, &tm)
				if err != nil {
					t.Fatal(err)
				}
				zn, _ := z.zoneOf(tm.start)
				s, _ := zn.instant(tm.start.Wall.Unix())
				if end := vectorValue(t, z, wallTime(l.end(zn, tm.start.Wall.Unix(), s)), tm.start); end != w.Instances[i][2] {
					t.Errorf("%s: instance %v ends %s", c.ID, w.Instances[i], end)
				}
			}
			if text := written(out); strings.Contains(text, "RRULE") || strings.Contains(text, "RDATE") || strings.Contains(text, "TZID") {
				t.Errorf("%s: left over:\n%s", c.ID, text)
			}
		}
	}
}

// A06: many instances of a long text stop at the octets allowed.
func TestExpandBudget(t *testing.T) {
	t.Parallel()
	o := eventObject(t, "DTSTART:20200101T000000Z", "RRULE:FREQ=MINUTELY", "DESCRIPTION:"+strings.Repeat("x", 100_000))
	b := NewBudget()
	b.Bytes = 10_000_000
	n := 0
	var last error
	for _, err := range Expanded(o, nil, utc(t, "20260101T000000Z"), utc(t, "20270101T000000Z"), b) {
		if last = err; err == nil {
			n++
		}
	}
	if CodeOf(last) != CodeBudget || n < 90 || n > 100 {
		t.Errorf("%d instances, then %v", n, last)
	}
}

const overridden = `BEGIN:VEVENT
UID:1
DTSTART:20260101T100000Z
DTEND:20260101T110000Z
RRULE:FREQ=DAILY
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID:20260103T100000Z
DTSTART:20260203T100000Z
DTEND:20260203T110000Z
SUMMARY:moved
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID:20260104T100000Z
DTSTART:20260104T120000Z
DTEND:20260104T130000Z
SUMMARY:late
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID;RANGE=THISANDFUTURE:20260201T100000Z
DTSTART:20260201T110000Z
DTEND:20260201T120000Z
SUMMARY:future
END:VEVENT`

// RFC 4791 §9.6.6.
func TestLimitRecurrenceSet(t *testing.T) {
	t.Parallel()
	o := icalObject(t, overridden)
	for _, c := range []struct{ from, to, want string }{
		{"20260103T000000Z", "20260104T000000Z", ",moved"},        // where it was
		{"20260203T000000Z", "20260204T000000Z", ",moved,future"}, // where it is
		{"20260104T100000Z", "20260104T103000Z", ",late"},
		{"20260110T000000Z", "20260111T000000Z", ""},
		{"20270110T000000Z", "20270111T000000Z", ",future"},
	} {
		out, err := LimitRecurrenceSet(o, nil, utc(t, c.from), utc(t, c.to))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range out.Children {
			got = append(got, k.Text("SUMMARY"))
		}
		if s := strings.Join(got, ","); s != c.want {
			t.Errorf("%s: %q, want %q", c.from, s, c.want)
		}
	}
}

// RFC 4791 §9.6.7.
func TestLimitFreeBusySet(t *testing.T) {
	t.Parallel()
	o := icalObject(t, "BEGIN:VFREEBUSY\nUID:1\nFREEBUSY:20260101T000000Z/PT1H,20260102T000000Z/PT1H\nFREEBUSY;FBTYPE=FREE:20260103T000000Z/20260103T010000Z\nEND:VFREEBUSY")
	out, err := LimitFreeBusySet(o, utc(t, "20260102T000000Z"), utc(t, "20260103T000000Z"))
	if err != nil {
		t.Fatal(err)
	}
	if got := written(out); got != "BEGIN:VFREEBUSY\nUID:1\nFREEBUSY:20260102T000000Z/PT1H\nEND:VFREEBUSY\n" {
		t.Error(got)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	o := icalObject(t, "BEGIN:VEVENT\nUID:1\nSUMMARY;LANGUAGE=de:Hallo\nDESCRIPTION:long\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:PT0S\nEND:VALARM\nEND:VEVENT\nBEGIN:VTODO\nUID:1\nEND:VTODO")
	spec := &DataSpec{Name: "vcalendar", Props: []PropSpec{{Name: "version"}}, Comps: []DataSpec{
		{Name: "VEVENT", Props: []PropSpec{{Name: "UID"}, {Name: "SUMMARY", NoValue: true}}, Comps: []DataSpec{{Name: "VALARM", AllProps: true}}}}}
	want := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY;LANGUAGE=de:\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:PT0S\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	if got := string(Select(o, spec).Bytes()); got != want {
		t.Errorf("got\n%s", got)
	}
	if Select(o, nil) != o {
		t.Error("no selection is not everything")
	}
	all := &DataSpec{Name: "VCALENDAR", AllProps: true, AllComps: true}
	if got := string(Select(o, all).Bytes()); got != string(o.Bytes()) {
		t.Errorf("got\n%s", got)
	}
}

func TestExpandOpenRange(t *testing.T) {
	t.Parallel()
	o := eventObject(t, "DTSTART:20260101T100000Z", "RRULE:FREQ=DAILY")
	b := NewBudget()
	b.Instances = 50
	if _, err := Expand(o, nil, utc(t, "20260101T000000Z"), time.Time{}, b); CodeOf(err) != CodeMaxInstances {
		t.Error(err)
	}
}
