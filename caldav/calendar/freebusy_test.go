package calendar

import (
	"slices"
	"strings"
	"testing"
)

// busyText writes periods as "TYPE start/end".
func busyText(ps []Period) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Type.String()+" "+UTCDateTime(p.Start).Value()+"/"+UTCDateTime(p.End).Value())
	}
	return strings.Join(out, "\n")
}

func TestBusy(t *testing.T) {
	t.Parallel()
	const invited = "DTSTART:20260105T100000Z\nDTEND:20260105T110000Z\nORGANIZER:mailto:o@a.test\nATTENDEE;PARTSTAT=ACCEPTED:mailto:x@a.test\nATTENDEE%:MAILTO:Me@a.test"
	const hour = " 20260105T100000Z/20260105T110000Z"
	me := BusyOptions{Self: NewAddressSet("mailto:me@a.test")}
	pending, server, transparent := me, me, me
	pending.PendingTentative = true
	server.PendingTentative, server.ServerTransp = true, true
	transparent.PendingTentative, transparent.ServerTransp, transparent.OrganizerTransp = true, true, "TRANSPARENT"
	for _, c := range []struct {
		name, lines string
		opt         BusyOptions
		want        string
	}{
		{"plain", "DTSTART:20260105T100000Z\nDTEND:20260105T110000Z", me, "BUSY" + hour},
		{"transparent", "DTSTART:20260105T100000Z\nDTEND:20260105T110000Z\nTRANSP:TRANSPARENT", me, ""},
		{"cancelled", "DTSTART:20260105T100000Z\nDTEND:20260105T110000Z\nSTATUS:CANCELLED", me, ""},
		{"tentative", "DTSTART:20260105T100000Z\nDTEND:20260105T110000Z\nSTATUS:TENTATIVE", me, "BUSY-TENTATIVE" + hour},
		{"no length", "DTSTART:20260105T100000Z", me, ""},
		{"cut at both ends", "DTSTART:20260101T100000Z\nDTEND:20260201T110000Z", me, "BUSY 20260105T000000Z/20260106T000000Z"},
		{"all day", "DTSTART;VALUE=DATE:20260105", me, "BUSY 20260105T000000Z/20260105T230000Z\nBUSY 20260105T230000Z/20260106T000000Z"},
		{"accepted", strings.ReplaceAll(invited, "%", ";PARTSTAT=ACCEPTED"), me, "BUSY" + hour},
		{"declined", strings.ReplaceAll(invited, "%", ";PARTSTAT=DECLINED"), me, ""},
		{"delegated", strings.ReplaceAll(invited, "%", ";PARTSTAT=DELEGATED"), me, ""},
		{"answered tentative", strings.ReplaceAll(invited, "%", ";PARTSTAT=TENTATIVE"), me, "BUSY-TENTATIVE" + hour},
		{"pending", strings.ReplaceAll(invited, "%", ""), me, "BUSY" + hour},
		{"pending as tentative", strings.ReplaceAll(invited, "%", ""), pending, "BUSY-TENTATIVE" + hour},
		{"pending, the user's TRANSPARENT", strings.ReplaceAll(invited, "%", "") + "\nTRANSP:TRANSPARENT", pending, ""},
		{"pending, the server's TRANSPARENT", strings.ReplaceAll(invited, "%", "") + "\nTRANSP:TRANSPARENT", server, "BUSY-TENTATIVE" + hour},
		{"pending, the organizer's TRANSPARENT", strings.ReplaceAll(invited, "%", "") + "\nTRANSP:TRANSPARENT", transparent, ""},
		{"somebody else declined", strings.ReplaceAll(invited, "%", ";PARTSTAT=DECLINED"), BusyOptions{}, "BUSY" + hour},
		{"daily", "DTSTART:20200105T100000Z\nDTEND:20200105T110000Z\nRRULE:FREQ=DAILY", me, "BUSY" + hour},
	} {
		lines := c.lines
		zone, err := LoadZone("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "all day" {
			lines += "\nRRULE:FREQ=DAILY;COUNT=2" // Berlin's days begin an hour before UTC's
		}
		o := eventObject(t, lines)
		ps, err := Busy(o, NewZones(o, zone), utc(t, "20260105T000000Z"), utc(t, "20260106T000000Z"), c.opt, nil)
		if err != nil || busyText(ps) != c.want {
			t.Errorf("%s: %v got\n%s\nwant\n%s", c.name, err, busyText(ps), c.want)
		}
	}
}

func TestBusyOverridesAndFreeBusy(t *testing.T) {
	t.Parallel()
	o := icalObject(t, `BEGIN:VEVENT
UID:1
DTSTART:20260105T100000Z
DTEND:20260105T110000Z
RRULE:FREQ=DAILY;COUNT=4
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID:20260106T100000Z
DTSTART:20260106T100000Z
DTEND:20260106T110000Z
STATUS:CANCELLED
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID:20260107T100000Z
DTSTART:20260107T150000Z
DTEND:20260107T160000Z
STATUS:TENTATIVE
END:VEVENT`)
	ps, err := Busy(o, nil, utc(t, "20260101T000000Z"), utc(t, "20260201T000000Z"), BusyOptions{}, nil)
	want := "BUSY 20260105T100000Z/20260105T110000Z\nBUSY-TENTATIVE 20260107T150000Z/20260107T160000Z\nBUSY 20260108T100000Z/20260108T110000Z"
	if err != nil || busyText(ps) != want {
		t.Errorf("%v got\n%s", err, busyText(ps))
	}
	o = icalObject(t, "BEGIN:VFREEBUSY\nUID:1\nFREEBUSY:20260101T000000Z/PT1H,20260110T000000Z/PT1H\nFREEBUSY;FBTYPE=FREE:20260111T000000Z/PT1H\nFREEBUSY;FBTYPE=X-OOO:20260112T000000Z/PT1H\nFREEBUSY;FBTYPE=busy-unavailable:20260112T000000Z/PT2H\nEND:VFREEBUSY")
	ps, err = Busy(o, nil, utc(t, "20260105T000000Z"), utc(t, "20260201T000000Z"), BusyOptions{}, nil)
	want = "BUSY 20260110T000000Z/20260110T010000Z\nBUSY 20260112T000000Z/20260112T010000Z\nBUSY-UNAVAILABLE 20260112T000000Z/20260112T020000Z"
	if err != nil || busyText(ps) != want {
		t.Errorf("%v got\n%s", err, busyText(ps))
	}
}

func TestMergePeriods(t *testing.T) {
	t.Parallel()
	p := func(from, to string, typ BusyType) Period {
		return Period{utc(t, "20260101T"+from+"0000Z"), utc(t, "20260101T"+to+"0000Z"), typ}
	}
	in := []Period{
		p("10", "12", BusyTime), p("11", "14", BusyTentative), p("09", "10", BusyTime), p("13", "16", BusyUnavailable),
		p("15", "18", BusyTime), p("10", "11", BusyTime), p("20", "20", BusyTime), p("22", "21", BusyTime), p("17", "19", Free),
	}
	want := []Period{
		p("09", "12", BusyTime), p("12", "13", BusyTentative), p("13", "16", BusyUnavailable), p("16", "18", BusyTime), p("18", "19", Free),
	}
	if got := MergePeriods(in); !slices.Equal(got, want) {
		t.Errorf("got\n%s", busyText(got))
	}
	if got := MergePeriods(nil); got != nil {
		t.Error(got)
	}
	c := FreeBusyComponent(in, utc(t, "20260101T000000Z"), utc(t, "20260102T000000Z"), utc(t, "20251231T000000Z"))
	text := string(c.Append(nil))
	for _, line := range []string{
		"DTSTAMP:20251231T000000Z\r\nDTSTART:20260101T000000Z\r\nDTEND:20260102T000000Z\r\n",
		"FREEBUSY;FBTYPE=BUSY-TENTATIVE:20260101T120000Z/20260101T130000Z\r\n",
		"FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20260101T130000Z/20260101T160000Z\r\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
	if got := c.All("FREEBUSY")[0]; got.Param("FBTYPE") != "BUSY" || got.Value() != "20260101T090000Z/20260101T120000Z,20260101T160000Z/20260101T180000Z" {
		t.Error(got.Value())
	}
}
