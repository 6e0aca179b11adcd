package altcal

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
)

const rich = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Test//EN
X-WR-CALNAME;X-P="a;b":Raw\, as it stands;x
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+013015
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:rich
DTSTAMP:20260101T000000Z
DTSTART;TZID=Europe/Berlin:20260105T100000
DTEND;TZID=Europe/Berlin;VALUE=DATE-TIME:20260105T110000
RRULE:FREQ=WEEKLY;UNTIL=20260301T000000Z;BYDAY=MO,TU;INTERVAL=2;X-NEW=Q
EXDATE;VALUE=DATE:20260112,20260119
RDATE;VALUE=PERIOD:20260201T100000Z/PT1H,20260202T100000Z/20260202T120000Z
SUMMARY;LANGUAGE=de:Komma\, Strichpunkt\; Zeile\n"quoted" \\ <b>&amp ü
DESCRIPTION:
CATEGORIES:a\,b,c
GEO:37.386013;-122.082932
PRIORITY:05
SEQUENCE:3
REQUEST-STATUS:2.0;Success\; really;ATTENDEE:mailto:x@y\,z
ATTENDEE;CN="Müller, Jo^'s^n";MEMBER="mailto:a@x.test","mailto:b@x.test";RSVP=TRUE;PARTSTAT=ACCEPTED:mailto:jo@x.test
ORGANIZER:mailto:o@x.test
ATTACH;ENCODING=BASE64;VALUE=BINARY:AAAA
ATTACH:http://x.test/a,b;c
X-UNKNOWN;VALUE=BOOLEAN:TRUE
X-TEXT;VALUE=TEXT:a\,b
X-DATES;VALUE=DATE:20260105,20260106
X-OWN;VALUE=X-TYPE:q\,;w
X-TIME;VALUE=TIME:101112Z
CREATED:nobody knows
1ODD:x
END:VEVENT
X-COMP
END:VCALENDAR
`

func richText() string {
	s := strings.Replace(rich, "X-COMP\n", "BEGIN:X-COMP\nX-A:1\nBEGIN:X-INNER\nEND:X-INNER\nEND:X-COMP\n", 1)
	return strings.ReplaceAll(s, "\n", "\r\n")
}

func read(t testing.TB, text string) *calendar.Object {
	t.Helper()
	o, err := calendar.Parse([]byte(text), calendar.Limits{})
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return o
}

// lines are the content lines without folding, each in the plainest form.
func lines(o *calendar.Object) string {
	var b strings.Builder
	var walk func(c *calendar.Component)
	walk = func(c *calendar.Component) {
		b.WriteString("BEGIN:" + c.Name + "\n")
		for _, p := range c.Props {
			q := calendar.NewProperty(p.Name(), p.Value(), p.Params()...)
			if typ := defaultType(p.Name()); strings.EqualFold(p.Param("VALUE"), typ) {
				q.DelParam("VALUE")
			}
			k := calendar.NewComponent("X")
			k.Add(q)
			b.WriteString(strings.ReplaceAll(string(k.Append(nil)), "\r\n ", ""))
		}
		for _, k := range c.Children {
			walk(k)
		}
		b.WriteString("END:" + c.Name + "\n")
	}
	walk(o.Component)
	return b.String()
}

// sorted has parameters in one order, for a comparison that does not look at it.
func same(t *testing.T, what string, got, want *calendar.Object) {
	t.Helper()
	g, w := strings.Split(lines(got), "\n"), strings.Split(lines(want), "\n")
	for i := range max(len(g), len(w)) {
		x, y := "", ""
		if i < len(g) {
			x = g[i]
		}
		if i < len(w) {
			y = w[i]
		}
		if valueFirst(x) != valueFirst(y) {
			t.Errorf("%s:\n got %s\nwant %s", what, x, y)
		}
	}
}

// valueFirst puts the VALUE parameter first, where the conversion writes it.
func valueFirst(line string) string {
	i := strings.Index(line, ";VALUE=")
	if i < 0 {
		return line
	}
	j := strings.IndexAny(line[i+1:], ";:")
	if j < 0 {
		return line
	}
	j += i + 1
	n := strings.IndexByte(line, ';')
	return line[:n] + line[i:j] + line[n:i] + line[j:]
}

// Everything comes back, whatever it is (RFC 7265 §5, RFC 6321 §5).
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	o := read(t, richText())
	j := ToJSON(o)
	if !json.Valid(j) {
		t.Fatalf("no JSON: %s", j)
	}
	back, err := FromJSON(j, calendar.Limits{})
	if err != nil {
		t.Fatalf("%v: %s", err, j)
	}
	same(t, "jCal", back, o)
	x := ToXML(o)
	if err := xml.Unmarshal(x, new(struct{})); err != nil {
		t.Fatalf("no XML: %v: %s", err, x)
	}
	if back, err = FromXML(x, calendar.Limits{}); err != nil {
		t.Fatalf("%v: %s", err, x)
	}
	same(t, "xCal", back, o)
}

// A calendar written in pieces reads as if it had been written at once.
func TestStream(t *testing.T) {
	t.Parallel()
	o := read(t, richText())
	for _, n := range []int{0, 1, len(o.Children)} {
		part := &calendar.Object{Component: &calendar.Component{Name: o.Name, Props: o.Props, Children: o.Children[:n]}}
		for _, s := range []Stream{{}, {XML: true}} {
			from := FromJSON
			if s.XML {
				from = FromXML
			}
			b := s.Begin(nil, o)
			for _, c := range part.Children {
				b = s.Component(b, c)
			}
			back, err := from(s.End(b), calendar.Limits{})
			if err != nil {
				t.Fatalf("%d components: %v", n, err)
			}
			same(t, "in pieces", back, part)
		}
	}
}

// How the values look (RFC 7265 §3.6).
func TestJSONForms(t *testing.T) {
	t.Parallel()
	text := string(ToJSON(read(t, richText())))
	for _, want := range []string{
		`["vcalendar",[["version",{},"text","2.0"]`,
		`["x-wr-calname",{"x-p":"a;b"},"unknown","Raw\\, as it stands;x"]`,
		`["dtstart",{"tzid":"Europe/Berlin"},"date-time","2026-01-05T10:00:00"]`,
		`["dtend",{"tzid":"Europe/Berlin"},"date-time","2026-01-05T11:00:00"]`,
		`["tzoffsetfrom",{},"utc-offset","+02:00"]`,
		`["tzoffsetto",{},"utc-offset","+01:30:15"]`,
		`["rrule",{},"recur",{"freq":"YEARLY","bymonth":10,"byday":"-1SU"}]`,
		`{"freq":"WEEKLY","until":"2026-03-01T00:00:00Z","byday":["MO","TU"],"interval":2,"x-new":"Q"}`,
		`["exdate",{},"date","2026-01-12","2026-01-19"]`,
		`["rdate",{},"period",["2026-02-01T10:00:00Z","PT1H"],["2026-02-02T10:00:00Z","2026-02-02T12:00:00Z"]]`,
		`["summary",{"language":"de"},"text","Komma, Strichpunkt; Zeile\n\"quoted\" \\ <b>&amp ü"]`,
		`["categories",{},"text","a,b","c"]`,
		`["geo",{},"float",[37.386013,-122.082932]]`,
		`["priority",{},"integer","05"]`,
		`["sequence",{},"integer",3]`,
		`["request-status",{},"text",["2.0","Success; really","ATTENDEE:mailto:x@y,z"]]`,
		`"member":["mailto:a@x.test","mailto:b@x.test"]`,
		`["attach",{"encoding":"BASE64"},"binary","AAAA"]`,
		`["x-unknown",{},"boolean",true]`,
		`["x-dates",{},"date","2026-01-05","2026-01-06"]`,
		`["x-time",{},"time","10:11:12Z"]`,
		`["created",{},"date-time","nobody knows"]`,
		`["x-comp",[["x-a",{},"unknown","1"]],[["x-inner",[],[]]]]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// RFC 7986 §5.7, §5.10, §5.11, RFC 9073 §6.5, §6.6: some properties have no default type
// and say in iCalendar which one they have; the others do not.
func TestTypesWithoutDefault(t *testing.T) {
	t.Parallel()
	lines := []string{"CONFERENCE;VALUE=URI;FEATURE=AUDIO:tel:+1", "IMAGE;VALUE=URI:http://x.test/i.png", "STYLED-DESCRIPTION;VALUE=TEXT:<b>x</b>",
		"STRUCTURED-DATA;VALUE=URI:http://x.test/d", "REFRESH-INTERVAL;VALUE=DURATION:P1D", "URL:http://x.test/"}
	o := read(t, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\n"+strings.Join(lines, "\r\n")+"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	j, err := FromJSON(ToJSON(o), calendar.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	x, err := FromXML(ToXML(o), calendar.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for name, back := range map[string]*calendar.Object{"jCal": j, "xCal": x} {
		for _, line := range lines {
			if text := string(back.Bytes()); !strings.Contains(text, "\r\n"+line+"\r\n") {
				t.Errorf("%s lacks %s:\n%s", name, line, text)
			}
		}
	}
}

// How the elements look (RFC 6321 §3).
func TestXMLForms(t *testing.T) {
	t.Parallel()
	text := string(ToXML(read(t, richText())))
	for _, want := range []string{
		`<icalendar xmlns="urn:ietf:params:xml:ns:icalendar-2.0"><vcalendar><properties><version><text>2.0</text></version>`,
		`<dtstart><parameters><tzid><text>Europe/Berlin</text></tzid></parameters><date-time>2026-01-05T10:00:00</date-time></dtstart>`,
		`<recur><freq>WEEKLY</freq><until>2026-03-01T00:00:00Z</until><byday>MO</byday><byday>TU</byday><interval>2</interval><x-new>Q</x-new></recur>`,
		`<exdate><date>2026-01-12</date><date>2026-01-19</date></exdate>`,
		`<period><start>2026-02-01T10:00:00Z</start><duration>PT1H</duration></period><period><start>2026-02-02T10:00:00Z</start><end>2026-02-02T12:00:00Z</end></period>`,
		`<geo><latitude>37.386013</latitude><longitude>-122.082932</longitude></geo>`,
		`<request-status><code>2.0</code><description>Success; really</description><data>ATTENDEE:mailto:x@y,z</data></request-status>`,
		`<member><cal-address>mailto:a@x.test</cal-address><cal-address>mailto:b@x.test</cal-address></member>`,
		`<rsvp><boolean>true</boolean></rsvp>`,
		`"quoted" \ &lt;b&gt;&amp;amp ü`,
		`<_1odd><unknown>x</unknown></_1odd>`,
		`<description><text></text></description>`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// RFC 6321 §4.2: what other namespaces add is kept in XML properties, and written
// as elements again.
func TestForeignXML(t *testing.T) {
	t.Parallel()
	const doc = `<icalendar xmlns="urn:ietf:params:xml:ns:icalendar-2.0"><vcalendar><properties><version><text>2.0</text></version><y:z xmlns:y="urn:y" a="1">in <y:q/>side</y:z></properties></vcalendar></icalendar>`
	o, err := FromXML([]byte(doc), calendar.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Text("XML"); !strings.Contains(got, `urn:y`) || !strings.Contains(got, "side") {
		t.Errorf("XML property: %q", got)
	}
	if out := string(ToXML(o)); !strings.Contains(out, `<y:z xmlns:y="urn:y" a="1">in <y:q/>side</y:z>`) {
		t.Errorf("written: %s", out)
	}
	o.Set(calendar.NewProperty("XML", "no <xml"))
	if out := ToXML(o); xml.Unmarshal(out, new(struct{})) != nil || !strings.Contains(string(out), "<_xml") && !strings.Contains(string(out), "<xml>") {
		t.Errorf("broken XML property: %s", out)
	}
}

// Bad documents end in an error and never in a property nobody sent.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		``, `x`, `{}`, `[]`, `["vcalendar"]`, `["vcalendar",[]]`, `["vcalendar",[],[],[]]`, `["vcalendar",[],[]] x`, `["vevent",[],[]]`, `["vcalendar",[[]],[]]`,
		`["vcalendar",[["x",{},"text"]],[]]`, `["vcalendar",[["x",{},"te xt","a"]],[]]`, `["vcalendar",[["x y",{},"text","a"]],[]]`, `["vcalendar",[["",{},"text","a"]],[]]`,
		`["vcalendar",[["begin",{},"unknown","VEVENT"]],[]]`, `["vcalendar",[["x",{"a:b":"c"},"text","a"]],[]]`, `["vcalendar",[["x",[],"text","a"]],[]]`, `["vcalendar",[["x",{},"text",null]],[]]`,
		`["vcalendar",[["x",{},"text",[["a"]]]],[]]`, `["vcalendar",[["rrule",{},"recur",{"freq":"DAILY;COUNT=1"}]],[]]`, `["vcalendar",[["rrule",{},"recur",{}]],[]]`,
		`["vcalendar",[["rrule",{},"recur",{"freq":{"a":"b"}}]],[]]`, `["vcalendar",[["x",{"a":{"b":"c"}},"text","a"]],[]]`, "[\"vcalendar\",[[\"x\",{},\"text\",\"\xff\"]],[]]",
		`["vcalendar",[],[` + strings.Repeat(`["x",[],[`, 50) + strings.Repeat(`]]`, 50) + `]]`,
		strings.Repeat(`[`, 100_000),
	} {
		if o, err := FromJSON([]byte(s), calendar.Limits{}); err == nil {
			t.Errorf("%.80s: %s", s, o.Bytes())
		} else if c := calendar.CodeOf(err); c != calendar.CodeInvalidData {
			t.Errorf("%.80s: %v", s, err)
		}
	}
	wrap := func(s string) string {
		return `<icalendar xmlns="urn:ietf:params:xml:ns:icalendar-2.0"><vcalendar>` + s + `</vcalendar></icalendar>`
	}
	for _, s := range []string{
		``, `x`, `<icalendar/>`, `<vcalendar xmlns="urn:ietf:params:xml:ns:icalendar-2.0"/>`, wrap("<vevent/>"), wrap("<properties><x/></properties>"), wrap("<properties><x><text>a</text><date>b</date></x></properties>"),
		wrap("<properties><x><text><b/></text></x></properties>"), wrap("<properties><begin><unknown>VEVENT</unknown></begin></properties>"), wrap(`<components><y xmlns="urn:y"/></components>`),
		wrap("<properties><rrule><recur><freq>DAILY;COUNT=1</freq></recur></rrule></properties>"), wrap("<properties><x><parameters><y><text><b/></text></y></parameters><text>a</text></x></properties>"),
		`<!DOCTYPE x [<!ENTITY a "b">]>` + wrap(""), // A12
		wrap(strings.Repeat("<components><x>", 50) + strings.Repeat("</x></components>", 50)),
	} {
		if o, err := FromXML([]byte(s), calendar.Limits{}); err == nil {
			t.Errorf("%.120s: %s", s, o.Bytes())
		} else if c := calendar.CodeOf(err); c != calendar.CodeInvalidData {
			t.Errorf("%.80s: %v", s, err)
		}
	}
	big := bytes.Repeat([]byte(" "), 5000)
	if _, err := FromJSON(big, calendar.Limits{Bytes: 1000}); calendar.CodeOf(err) != calendar.CodeMaxSize {
		t.Errorf("large: %v", err)
	}
	if _, err := FromXML(big, calendar.Limits{Bytes: 1000}); calendar.CodeOf(err) != calendar.CodeMaxSize {
		t.Errorf("large: %v", err)
	}
}

// A10: line ends inside of values begin no new line.
func TestInjection(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"text", "uri", "unknown", "date", "x-y", "integer"} {
		o, err := FromJSON([]byte(`["vcalendar",[["x-a",{"p":"1\r\nX-B:2"},"`+typ+`","1\r\nX-B:2"],["version",{},"text","2.0"]],[]]`), calendar.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if o.Prop("X-B") != nil || len(o.Props) != 2 {
			t.Errorf("%s: %s", typ, o.Bytes())
		}
	}
}

func seeds() (texts []string) {
	return []string{richText(),
		"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTODO\r\nUID:t\r\nDUE;VALUE=DATE:20260105\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER;RELATED=END:-PT5M\r\nEND:VALARM\r\nEND:VTODO\r\nEND:VCALENDAR\r\n",
		"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VFREEBUSY\r\nUID:f\r\nFREEBUSY;FBTYPE=FREE:20260101T000000Z/PT1H,20260102T000000Z/PT1H\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n",
		"BEGIN:VCALENDAR\r\nX;A=1;A=2,3;B=:\r\nGEO:1\r\nRRULE:FREQ\r\nRRULE:FREQ=A;FREQ=B\r\nREQUEST-STATUS:2\r\nFREEBUSY:x\r\nXML:<a/>\r\nEND:VCALENDAR\r\n",
	}
}

// again converts twice: what came out once comes out again, octet by octet.
func again(t *testing.T, o *calendar.Object) {
	t.Helper()
	j := ToJSON(o)
	if !json.Valid(j) {
		t.Fatalf("no JSON: %s", j)
	}
	p, err := FromJSON(j, calendar.Limits{})
	if err != nil {
		t.Fatalf("%v: %s", err, j)
	}
	k := ToJSON(p)
	q, err := FromJSON(k, calendar.Limits{})
	if err != nil || !bytes.Equal(q.Bytes(), p.Bytes()) {
		t.Fatalf("jCal: %v\n%s\n%s", err, p.Bytes(), q.Bytes())
	}
	x := ToXML(o)
	if p, err = FromXML(x, calendar.Limits{}); err != nil {
		t.Fatalf("%v: %s", err, x)
	}
	if q, err = FromXML(ToXML(p), calendar.Limits{}); err != nil || !bytes.Equal(q.Bytes(), p.Bytes()) {
		t.Fatalf("xCal: %v\n%s\n%s", err, p.Bytes(), q.Bytes())
	}
}

func FuzzText(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := calendar.Parse([]byte(s), calendar.Limits{Bytes: 1 << 16}); err == nil {
			again(t, o)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range seeds() {
		f.Add(string(ToJSON(read(f, s))))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := FromJSON([]byte(s), calendar.Limits{Bytes: 1 << 16}); err == nil {
			again(t, o)
		}
	})
}

func FuzzXML(f *testing.F) {
	for _, s := range seeds() {
		f.Add(string(ToXML(read(f, s))))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := FromXML([]byte(s), calendar.Limits{Bytes: 1 << 16}); err == nil {
			again(t, o)
		}
	})
}
