package calendar

import (
	"strings"
	"testing"
	"time"
)

// icalObject wraps components into an object.
func icalObject(t testing.TB, lines ...string) *Object {
	t.Helper()
	text := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//kalends//test//EN\n" + strings.Join(lines, "\n") + "\nEND:VCALENDAR\n"
	o, err := Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), Limits{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return o
}

// event is an object with one VEVENT of these lines.
func eventObject(t testing.TB, lines ...string) *Object {
	t.Helper()
	all := append([]string{"BEGIN:VEVENT", "UID:1", "DTSTAMP:20260101T000000Z"}, lines...)
	return icalObject(t, append(all, "END:VEVENT")...)
}

func zoned(tzid, value string) DateTime {
	wall, kind, ok := parseWall(value)
	if !ok {
		panic(value)
	}
	d := DateTime{Wall: wall, Kind: kind}
	if tzid != "" {
		d.Kind, d.TZID = Zoned, tzid
	}
	return d
}

func TestInstantInGapsAndFolds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ tzid, local, want string }{
		{"Europe/Berlin", "20260701T120000", "20260701T100000Z"},
		{"Europe/Berlin", "20260329T020000", "20260329T010000Z"}, // gap: read with the offset before
		{"Europe/Berlin", "20260329T023000", "20260329T013000Z"},
		{"Europe/Berlin", "20260329T030000", "20260329T010000Z"},
		{"Europe/Berlin", "20261025T020000", "20261025T000000Z"}, // fold: the first
		{"Europe/Berlin", "20261025T025959", "20261025T005959Z"},
		{"Europe/Berlin", "20261025T030000", "20261025T020000Z"},
		{"America/New_York", "20260308T023000", "20260308T073000Z"},
		{"America/New_York", "20261101T013000", "20261101T053000Z"},
		{"Australia/Lord_Howe", "20261004T021500", "20261003T154500Z"}, // half an hour
		{"Australia/Lord_Howe", "20260405T014500", "20260404T144500Z"},
		{"Pacific/Apia", "20111230T100000", "20111230T200000Z"}, // a day that never was
		{"Pacific/Apia", "20111231T100000", "20111230T200000Z"},
		{"Europe/London", "20260329T013000", "20260329T013000Z"},
		{"Europe/London", "20261025T013000", "20261025T003000Z"},
		{"UTC", "20261025T013000", "20261025T013000Z"},
	} {
		// Whatever the memo remembers, the answer is the same.
		for _, before := range []string{"", "20260115T120000", "20260715T120000", "20270115T120000", "19990715T120000"} {
			z := NewZones(nil, nil)
			if before != "" {
				if _, err := z.Instant(zoned(c.tzid, before)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := z.Instant(zoned(c.tzid, c.local))
			if err != nil || UTCDateTime(got).Value() != c.want {
				t.Errorf("%s %s after %q: got %s %v, want %s", c.tzid, c.local, before, UTCDateTime(got).Value(), err, c.want)
			}
		}
	}
}

func TestZoneNames(t *testing.T) {
	t.Parallel()
	for win, iana := range windowsZones {
		if knownName(iana, false) != iana {
			t.Errorf("%s: %s is no IANA name", win, iana)
		}
	}
	if n := len(windowsZones); n < 135 {
		t.Errorf("only %d Windows names", n)
	}
	n := 0
	for name, iana := range knownNames() {
		if name != iana {
			continue
		}
		n++
		if knownLocation(name, false) == nil {
			t.Errorf("%s cannot be loaded", name)
		}
	}
	if n < 590 {
		t.Errorf("only %d IANA names", n)
	}
	for tzid, want := range map[string]string{
		"Europe/Berlin":           "Europe/Berlin",
		"europe/berlin":           "Europe/Berlin",
		"W. Europe Standard Time": "Europe/Berlin",
		"utc":                     "Etc/UTC",
		"/freeassociation.sourceforge.net/Tzfile/Europe/Berlin":  "Europe/Berlin",
		"/citadel.org/20210210_1/America/Argentina/Buenos_Aires": "America/Argentina/Buenos_Aires",
		"/softwarestudio.org/Olson_20011030_5/America/New_York":  "America/New_York",
		"Local":                   "", // the zone of the machine is nobody's business
		"localtime":               "",
		"posixrules":              "",
		"right/Europe/Berlin":     "",
		"":                        "",
		"../../etc/passwd":        "", // A10: never a path
		"/etc/localtime":          "",
		"Europe/Berlin\r\nX: y":   "",
		"tzdata.zi":               "",
		"Etc/UTC/../Europe/Paris": "",
		"Nowhere":                 "",
	} {
		if got := ZoneName(tzid); strings.EqualFold(got, want) != true && !(tzid == "utc" && got != "") {
			t.Errorf("%q means %q, want %q", tzid, got, want)
		}
		if KnownZone(tzid) != (want != "") {
			t.Errorf("KnownZone(%q) is %v", tzid, want == "")
		}
	}
}

const officeZone = `BEGIN:VTIMEZONE
TZID:%TZID%
BEGIN:DAYLIGHT
DTSTART:20070330T000000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1FR
TZOFFSETFROM:+0200
TZOFFSETTO:+0300
TZNAME:DST
END:DAYLIGHT
BEGIN:STANDARD
DTSTART:20071026T010000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1FR
TZOFFSETFROM:+0300
TZOFFSETTO:+0200
END:STANDARD
END:VTIMEZONE`

func TestOwnTimezone(t *testing.T) {
	t.Parallel()
	instant := func(tzid, value string) string {
		o := icalObject(t, strings.ReplaceAll(officeZone, "%TZID%", tzid))
		got, err := NewZones(o, nil).Instant(zoned(tzid, value))
		if err != nil {
			return err.Error()
		}
		return UTCDateTime(got).Value()
	}
	for _, c := range []struct{ tzid, local, want string }{
		{"Office", "20260101T120000", "20260101T100000Z"},
		{"Office", "20260601T120000", "20260601T090000Z"},
		{"Office", "20260327T003000", "20260326T223000Z"}, // gap
		{"Office", "20261030T003000", "20261029T213000Z"}, // fold
		{"Office", "19000101T120000", "19000101T100000Z"}, // before the first onset: its TZOFFSETFROM
		{"Office", "20990601T120000", "20990601T090000Z"},
		{"Europe/Berlin", "20260601T120000", "20260601T100000Z"},           // our own data wins
		{"W. Europe Standard Time", "20260601T120000", "20260601T100000Z"}, // also for Windows names
		{"/x.example/2020/Europe/Berlin", "20260601T120000", "20260601T100000Z"},
		{"/x.example/Egypt", "20260101T120000", "20260101T100000Z"}, // too vague: what came along wins
	} {
		if got := instant(c.tzid, c.local); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.tzid, c.local, got, c.want)
		}
	}
	if _, err := NewZones(icalObject(t, officeZone), nil).Instant(zoned("Other", "20260101T000000")); CodeOf(err) != CodeInvalidData {
		t.Errorf("an unknown TZID gives %v", err)
	}
}

// A09: zone definitions that would cost without end are refused, long ones are
// bounded.
func TestHostileTimezone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		part string
		ok   bool
	}{
		"per second":     {"DTSTART:20000101T000000\nRRULE:FREQ=SECONDLY", false},
		"daily":          {"DTSTART:20000101T000000\nRRULE:FREQ=DAILY", false},
		"dense":          {"DTSTART:20000101T000000\nRRULE:FREQ=YEARLY;BYDAY=MO,TU,WE;BYHOUR=0,1,2,3;BYMINUTE=0,1,2,3,4,5", false},
		"from 1601":      {"DTSTART:16010101T000000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", true},
		"year 1":         {"DTSTART:00010101T000000\nRRULE:FREQ=YEARLY;COUNT=9999", true},
		"never":          {"DTSTART:20000101T000000\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", true},
		"no offset":      {"DTSTART:20000101T000000\nTZOFFSETTO:", false},
		"huge offset":    {"DTSTART:20000101T000000\nTZOFFSETTO:+9900", false},
		"bad rule":       {"DTSTART:20000101T000000\nRRULE:FREQ=YEARLY;INTERVAL=0", false},
		"many dates":     {"DTSTART:20000101T000000\nRDATE:" + strings.TrimSuffix(strings.Repeat("20010101T000000,", 5000), ","), false},
		"until and date": {"DTSTART:19700101T000000\nRRULE:FREQ=YEARLY;UNTIL=19991231", true},
	} {
		extra := "TZOFFSETFROM:+0100\n"
		if !strings.Contains(c.part, "TZOFFSETTO") {
			extra += "TZOFFSETTO:+0200\n"
		}
		o := icalObject(t, "BEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\n"+extra+c.part+"\nEND:STANDARD\nEND:VTIMEZONE")
		_, err := NewZones(o, nil).Location("X")
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewZones(icalObject(t, "BEGIN:VTIMEZONE\nTZID:X\nEND:VTIMEZONE"), nil).Location("X"); err == nil {
		t.Error("a VTIMEZONE without parts is accepted")
	}
}

// TestVTimezone makes the VTIMEZONE of every IANA zone and reads it back: it
// gives the same local times for years.
func TestVTimezone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	regular, irregular := 0, 0
	for name, iana := range knownNames() {
		if name != iana {
			continue
		}
		c, err := VTimezone(name, at)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := knownLocation(name, false)
		got, err := timezoneLocation(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(c.Children) > 2 || c.Children[0].Prop("RDATE") != nil {
			irregular++
		} else {
			regular++
			for _, k := range c.Children {
				if !strings.HasPrefix(k.Value("DTSTART"), "1970") {
					t.Errorf("%s: %s starts %s", name, k.Name, k.Value("DTSTART"))
				}
			}
		}
		for u := at; u.Year() < 2035; u = u.Add(7 * time.Hour) {
			_, a := u.In(want).Zone()
			_, b := u.In(got).Zone()
			if a != b {
				t.Errorf("%s at %v: offset %d, want %d\n%s", name, u, b, a, c.Append(nil))
				break
			}
		}
	}
	if regular < 500 || irregular > 12 {
		t.Errorf("%d zones with yearly rules, %d without", regular, irregular)
	}
	c, err := VTimezone("Europe/Berlin", at)
	if err != nil {
		t.Fatal(err)
	}
	want := "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nX-LIC-LOCATION:Europe/Berlin\r\n" +
		"BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nTZNAME:CEST\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\n" +
		"BEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nTZNAME:CET\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
	if got := string(c.Append(nil)); got != want {
		t.Errorf("got\n%s", got)
	}
	if _, err := VTimezone("Nowhere", at); err == nil {
		t.Error("a VTIMEZONE of nowhere")
	}
}

func TestParseTimezone(t *testing.T) {
	t.Parallel()
	office := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n" + strings.ReplaceAll(officeZone, "\n", "\r\n") + "\r\nEND:VCALENDAR\r\n"
	for text, want := range map[string]string{
		"Europe/Berlin":                                       "13:00",
		"Eastern Standard Time":                               "07:00",
		strings.ReplaceAll(office, "%TZID%", "Office"):        "14:00",
		strings.ReplaceAll(office, "%TZID%", "Europe/Berlin"): "13:00",
		"Nowhere": "",
		"Local":   "",
		"":        "",
		strings.ReplaceAll(office, "TZID:%TZID%\r\n", ""): "",
		"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n":            "",
	} {
		loc, err := ParseTimezone(text)
		if want == "" {
			if CodeOf(err) != CodeInvalidData {
				t.Errorf("%.30q: %v %v", text, loc, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%.30q: %v", text, err)
			continue
		}
		if got := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).In(loc).Format("15:04"); got != want {
			t.Errorf("%.30q: noon is %s, want %s", text, got, want)
		}
	}
}
