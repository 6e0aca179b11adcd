package web

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

const weekly = `BEGIN:VEVENT
UID:weekly@test
DTSTAMP:20260101T000000Z
DTSTART;TZID=Europe/Berlin:20261005T090000
DTEND;TZID=Europe/Berlin:20261005T100000
RRULE:FREQ=WEEKLY;BYDAY=MO,WE
EXDATE;TZID=Europe/Berlin:20261021T090000
SUMMARY:Stand-up
LOCATION:Room 7
END:VEVENT
BEGIN:VEVENT
UID:weekly@test
DTSTAMP:20260101T000000Z
RECURRENCE-ID;TZID=Europe/Berlin:20261026T090000
DTSTART;TZID=Europe/Berlin:20261027T143000
DTEND;TZID=Europe/Berlin:20261027T150000
SUMMARY:Stand-up, moved
END:VEVENT`

var itemText = regexp.MustCompile(`<li id="([^"]*)" class="ev ([^"]*)"><a href="([^"]*)"><span class="when">([^<]*)(?:<span class="until">([^<]*)</span>)?</span> <span class="title">([^<]*)</span>`)

// shown are the events of a week page, day by day: "26 09:00 – 10:00 Title".
func shown(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	for i, day := range strings.Split(page, "<section class=\"day")[1:] {
		_, rest, _ := strings.Cut(day, `<time datetime="`)
		date := rest[:10]
		for _, m := range itemText.FindAllStringSubmatch(day, -1) {
			out = append(out, fmt.Sprintf("%s %s%s %s", date[8:], m[4], m[5], m[6]))
		}
		if i > 6 {
			t.Fatal("a week has more than seven days")
		}
	}
	return out
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The clocks of Europe/Berlin go back on 25 October 2026: the wall-clock time of
// a series stays, that of an event fixed in UTC moves.
func TestWeekOverDST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account("alice", nil)
	w.put(a, "weekly.ics", weekly)
	w.put(a, "utc.ics", `BEGIN:VEVENT
UID:utc@test
DTSTAMP:20260101T000000Z
DTSTART:20261002T120000Z
DTEND:20261002T123000Z
RRULE:FREQ=WEEKLY
SUMMARY:Call
END:VEVENT`)
	w.put(a, "night.ics", `BEGIN:VEVENT
UID:night@test
DTSTAMP:20260101T000000Z
DTSTART;TZID=Europe/Berlin:20261024T220000
DTEND;TZID=Europe/Berlin:20261025T040000
SUMMARY:Night shift
END:VEVENT`)
	b := w.signedIn("alice")
	page := b.get("/?week=2026-W43")
	page.want(t, 200, "19 – 25 October 2026", "2026-W43", "Europe/Berlin (CEST, UTC&#43;02:00)", "the clocks change this week", `href="/?week=2026-W42"`, `href="/?week=2026-W44"`)
	same(t, shown(t, page.body), []string{"19 09:00 – 10:00 Stand-up", "23 14:00 – 14:30 Call", "24 22:00 – 04:00 Night shift", "25 22:00 – 04:00 Night shift"})
	if !strings.Contains(page.body, `#e6-0{grid-row:1/49;`) {
		t.Error("the night shift does not fill 0 to 4 o'clock of Sunday")
	}
	page = b.get("/?week=2026-W44")
	page.want(t, 200, "26 October – 1 November 2026", "Europe/Berlin (CET, UTC&#43;01:00)")
	page.lacks(t, "the clocks change")
	same(t, shown(t, page.body), []string{"27 14:30 – 15:00 Stand-up, moved", "28 09:00 – 10:00 Stand-up", "30 13:00 – 13:30 Call"})
	if !strings.Contains(page.body, `href="/event/calendar/weekly.ics?instance=20261026T090000"`) {
		t.Error("the moved occurrence is not linked by its recurrence id")
	}
	b.get("/event/calendar/weekly.ics?instance=20261026T090000").want(t, 200, "Stand-up, moved", "Tue 27 Oct 2026, 14:30 – 15:00", "Moved from", "Mon 26 Oct 2026, 09:00", "every week on Monday and Wednesday")
	b.get("/event/calendar/weekly.ics?instance=20261028T090000").want(t, 200, "Wed 28 Oct 2026, 09:00 – 10:00", "Room 7")
	for _, none := range []string{"20261021T090000", "20261029T090000", "20261028", "nonsense", strings.Repeat("2", 99)} {
		b.get("/event/calendar/weekly.ics?instance="+none).want(t, 404)
	}
	b.get("/?week=nonsense").want(t, 200, "16 – 22 November 2026")
}

func TestWeekLooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account("alice", nil)
	event := func(name, lines string) {
		w.put(a, name+".ics", "BEGIN:VEVENT\nUID:"+name+"\nDTSTAMP:20260101T000000Z\nSUMMARY:"+name+"\n"+lines+"\nEND:VEVENT")
	}
	event("conference", "DTSTART;VALUE=DATE:20261117\nDTEND;VALUE=DATE:20261120")
	event("off", "DTSTART:20261118T100000Z\nDTEND:20261118T110000Z\nSTATUS:CANCELLED")
	event("early", "DTSTART;TZID=Europe/Berlin:20261116T053000\nDURATION:PT15M")
	event("left", "DTSTART;TZID=Europe/Berlin:20261119T100000\nDURATION:PT2H")
	event("right", "DTSTART;TZID=Europe/Berlin:20261119T110000\nDURATION:PT2H")
	event("later", "DTSTART;TZID=Europe/Berlin:20261119T120000\nDURATION:PT30M")
	event("floats", "DTSTART:20261121T080000\nDTEND:20261121T083000")
	w.put(a, "invited.ics", `BEGIN:VEVENT
UID:invited@test
DTSTAMP:20260101T000000Z
DTSTART:20261120T130000Z
DTEND:20261120T140000Z
SUMMARY:Asked
ORGANIZER:mailto:carol@beta.test
ATTENDEE;PARTSTAT=ACCEPTED:mailto:carol@beta.test
ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:alice@alpha.test
END:VEVENT`)
	page := w.signedIn("alice").get("/")
	page.want(t, 200, "1 invitation waits", `<li id="now"`)
	same(t, shown(t, page.body), []string{"16 05:30 – 05:45 early", "17 all day conference", "18 all day conference", "18 11:00 – 12:00 off", "19 all day conference",
		"19 10:00 – 12:00 left", "19 11:00 – 13:00 right", "19 12:00 – 12:30 later", "20 14:00 – 15:00 Asked", "21 08:00 – 08:30 floats"})
	class := map[string]string{}
	id := map[string]string{}
	for _, m := range itemText.FindAllStringSubmatch(page.body, -1) {
		class[m[6]], id[m[6]] = class[m[6]]+"|"+m[2], m[1]
	}
	for title, want := range map[string]string{"off": "|c0 cancelled", "Asked": "|c0 pending", "conference": "|c0 goes-on|c0 from-before goes-on|c0 from-before", "early": "|c0 short"} {
		if class[title] != want {
			t.Errorf("%s has the classes %q, want %q", title, class[title], want)
		}
	}
	for title, want := range map[string]string{"left": "--l:0;--n:2}", "right": "--l:1;--n:2}", "later": "--l:0;--n:2}"} {
		if !regexp.MustCompile(`#` + id[title] + `\{grid-row:\d+/\d+;` + want).MatchString(page.body) {
			t.Errorf("%s is not placed at %s", title, want)
		}
	}
	page.want(t, 200, ">05:00<", ">17:00<", "(cancelled)", "(invitation, not answered yet)")
	page.lacks(t, ">04:00<", ">18:00<")
}

func TestWeeks(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"2026-W48": "2026-11-23", "2026-W53": "2026-12-28", "2025-W01": "2024-12-30", "2025-W53": "", "2026-W00": "", "2026-W54": "", "x": "", "2026-W": "", "99999-W01": ""} {
		got, ok := parseWeek(text, zone)
		if ok != (want != "") || ok && (got.Format(time.DateOnly) != want || got.Hour() != 0 || weekName(got) != text) {
			t.Errorf("parseWeek(%s) = %v %v, want %s", text, got, ok, want)
		}
	}
	if got := mondayOf(time.Date(2026, 11, 22, 23, 59, 0, 0, zone)).Format(time.DateOnly); got != "2026-11-16" {
		t.Errorf("Monday before Sunday the 22nd is %s", got)
	}
}

// Foreign text stays text wherever it is shown (A37), and colours cannot get
// out of the style sheet.
func TestForeignText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account("alice", nil)
	w.setColor(a, `#123456;}body{background:url(//evil.test)`)
	w.put(a, "x.ics", `BEGIN:VEVENT
UID:x@test
DTSTAMP:20260101T000000Z
DTSTART:20261119T130000Z
DTEND:20261119T140000Z
SUMMARY:</style><script>alert(1)</script>
LOCATION:"><img src=x onerror=alert(2)>
DESCRIPTION:See https://good.test/a?b=1&c=2. And javascript:alert(3) <b>bold</b>\nhttp://user@evil.test/ or data:text/html\,x
URL:javascript:alert(4)
X-ALT-DESC;FMTTYPE=text/html:<html><script>alert(5)</script></html>
CATEGORIES:<svg onload=alert(6)>
ORGANIZER;CN="<i>Mallory</i>":mailto:m@evil.test
ATTENDEE;CN="a' onmouseover='alert(7)";PARTSTAT=<u>:mailto:alice@alpha.test
END:VEVENT`)
	b := w.signedIn("alice")
	for _, path := range []string{"/", "/event/calendar/x.ics", "/invitations"} {
		r := b.get(path)
		r.want(t, 200)
		r.lacks(t, "<script>alert", "<img", "onerror=alert(2)>", "<b>bold", "<svg onload", "<i>Mallory", "<u>", `href="javascript`, `href="data`, "evil.test)", `href="http://user@`, "onmouseover='", "alert(5)", "alert(6)")
	}
	b.get("/event/calendar/x.ics").want(t, 200, `<a href="https://good.test/a?b=1&amp;c=2" rel="noopener noreferrer nofollow" target="_blank">`, "javascript:alert(3)", "&lt;b&gt;bold&lt;/b&gt;")
}

func TestLinks(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://a.test/x": "https://a.test/x", " http://a.test ": "http://a.test", "mailto:a@b.test": "mailto:a@b.test", "tel:+49301234": "tel:+49301234",
		"HTTPS://A.test": "HTTPS://A.test", "javascript:alert(1)": "", "java\nscript:alert(1)": "", "data:text/html,x": "", "vbscript:x": "", "file:///etc/passwd": "",
		"//a.test": "", "/local": "", "https://": "", "https://u:p@a.test": "", `https:\\a.test`: "", "mailto:": "", "": "", "blob:https://a.test/1": "", "https://" + strings.Repeat("a", 3000): "",
	} {
		if got := safeLink(in); got != want {
			t.Errorf("safeLink(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"": "", "plain": "plain", "at https://a.test/b, or": "at |[https://a.test/b]|, or", "(http://a.test)": "(|[http://a.test]|)",
		"https://a.test/(x)": "[https://a.test/(x)]", "HTTP://A.TEST.": "[HTTP://A.TEST]|.", "<https://a.test>": "<|[https://a.test]|>", "http://": "http://", "http://http://a.test": "[http://http://a.test]",
	} {
		var parts []string
		for _, s := range linked(in) {
			if s.Href != "" {
				s.Text = "[" + s.Text + "]"
			}
			parts = append(parts, s.Text)
		}
		if got := strings.Join(parts, "|"); got != want {
			t.Errorf("linked(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLinked(f *testing.F) {
	for _, s := range []string{"", "https://a.test", "x http://a.test). İhttp://b.test", "http://\x00", strings.Repeat("http://a.test ", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b strings.Builder
		for _, s := range linked(text) {
			b.WriteString(s.Text)
			if s.Href != "" && !strings.HasPrefix(strings.ToLower(s.Href), "http") {
				t.Errorf("a link to %q", s.Href)
			}
		}
		if b.String() != text {
			t.Errorf("%q became %q", text, b.String())
		}
		_ = oneLine(text, 10)
		_ = lines(text, 10)
	})
}

func TestText(t *testing.T) {
	t.Parallel()
	if got := oneLine("a\r\nb\x00 \u202ec\u2066  d", 100); got != "a b c d" {
		t.Errorf("oneLine: %q", got)
	}
	if got := oneLine("äöüß", 3); got != "äö…" {
		t.Errorf("oneLine cuts to %q", got)
	}
	if got := lines("a\r\n b\x07\n\tc", 100); got != "a\n b\n\tc" {
		t.Errorf("lines: %q", got)
	}
	for rule, want := range map[string]string{
		"FREQ=DAILY": "every day", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU": "every 2 weeks on Tuesday", "FREQ=MONTHLY;BYDAY=-1FR;COUNT=5": "every month on the last Friday, 5 times",
		"FREQ=MONTHLY;BYMONTHDAY=15,-1": "every month on the last day and day 15", "FREQ=YEARLY;UNTIL=20300101T230000Z": "every year, until 2 January 2030", "nonsense": "by a rule that this page cannot read",
	} {
		if got := ruleText(rule, time.FixedZone("X", 7200)); got != want {
			t.Errorf("ruleText(%s) = %q, want %q", rule, got, want)
		}
	}
	day := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		end    time.Time
		allDay bool
		want   string
	}{
		{day.Add(time.Hour), false, "Fri 20 Nov 2026, 09:00 – 10:00"}, {day, false, "Fri 20 Nov 2026, 09:00"}, {day.Add(24 * time.Hour), false, "Fri 20 Nov 2026, 09:00 – Sat 21 Nov 2026, 09:00"},
		{day.Add(15 * time.Hour), true, "Fri 20 Nov 2026, all day"}, {day.Add(39 * time.Hour), true, "Fri 20 Nov 2026 – Sat 21 Nov 2026, all day"},
	} {
		if got := whenText(day, c.end, c.allDay, time.UTC); got != c.want {
			t.Errorf("whenText = %q, want %q", got, c.want)
		}
	}
}
