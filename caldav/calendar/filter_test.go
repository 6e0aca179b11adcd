package calendar

import (
	"strings"
	"testing"
	"time"
)

// The objects of RFC 4791 Appendix B, cut to what the filters look at.
var appendixB = map[string]string{
	"abcd1": "BEGIN:VEVENT\nDTSTAMP:20060206T001102Z\nDTSTART;TZID=US/Eastern:20060102T100000\nDURATION:PT1H\nSUMMARY:Event #1\nDescription:Go Steelers!\nUID:74855313FA803DA593CD579A@example.com\nEND:VEVENT",
	"abcd2": "BEGIN:VEVENT\nDTSTAMP:20060206T001121Z\nDTSTART;TZID=US/Eastern:20060102T120000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=5\nSUMMARY:Event #2\nUID:00959BC664CA650E933C892C@example.com\nEND:VEVENT\n" +
		"BEGIN:VEVENT\nDTSTAMP:20060206T001121Z\nDTSTART;TZID=US/Eastern:20060104T140000\nDURATION:PT1H\nRECURRENCE-ID;TZID=US/Eastern:20060104T120000\nSUMMARY:Event #2 bis\nUID:00959BC664CA650E933C892C@example.com\nEND:VEVENT\n" +
		"BEGIN:VEVENT\nDTSTAMP:20060206T001121Z\nDTSTART;TZID=US/Eastern:20060106T140000\nDURATION:PT1H\nRECURRENCE-ID;TZID=US/Eastern:20060106T120000\nSUMMARY:Event #2 bis bis\nUID:00959BC664CA650E933C892C@example.com\nEND:VEVENT",
	"abcd3": "BEGIN:VEVENT\nATTENDEE;PARTSTAT=ACCEPTED;ROLE=CHAIR:mailto:cyrus@example.com\nATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:lisa@example.com\nDTSTAMP:20060206T001220Z\nDTSTART;TZID=US/Eastern:20060104T100000\nDURATION:PT1H\nLAST-MODIFIED:20060206T001330Z\nORGANIZER:mailto:cyrus@example.com\nSEQUENCE:1\nSTATUS:TENTATIVE\nSUMMARY:Event #3\nUID:DC6C50A017428C5216A2F1CD@example.com\nEND:VEVENT",
	"abcd4": "BEGIN:VTODO\nDTSTAMP:20060205T235335Z\nDUE;VALUE=DATE:20060104\nSTATUS:NEEDS-ACTION\nSUMMARY:Task #1\nUID:DDDEEB7915FA61233B861457@example.com\nBEGIN:VALARM\nACTION:AUDIO\nTRIGGER;RELATED=START:-PT10M\nEND:VALARM\nEND:VTODO",
	"abcd5": "BEGIN:VTODO\nDTSTAMP:20060205T235300Z\nDUE;VALUE=DATE:20060106\nLAST-MODIFIED:20060205T235308Z\nSEQUENCE:1\nSTATUS:NEEDS-ACTION\nSUMMARY:Task #2\nUID:E10BA47467C5C69BB74E8720@example.com\nBEGIN:VALARM\nACTION:AUDIO\nTRIGGER:20060106T100000Z\nEND:VALARM\nEND:VTODO",
	"abcd6": "BEGIN:VTODO\nCOMPLETED:20051223T122322Z\nDTSTAMP:20060205T235400Z\nDUE;VALUE=DATE:20051225\nLAST-MODIFIED:20060205T235308Z\nSEQUENCE:1\nSTATUS:COMPLETED\nSUMMARY:Task #3\nUID:E10BA47467C5C69BB74E8722@example.com\nEND:VTODO",
	"abcd7": "BEGIN:VTODO\nDTSTAMP:20060205T235600Z\nDUE;VALUE=DATE:20060101\nSEQUENCE:1\nSTATUS:CANCELLED\nSUMMARY:Task #4\nUID:E10BA47467C5C69BB74E8725@example.com\nEND:VTODO",
	"abcd8": "BEGIN:VFREEBUSY\nORGANIZER;CN=\"Bernard Desruisseaux\":mailto:bernard@example.com\nUID:76ef34-54a3d2@example.com\nDTSTAMP:20050530T123421Z\nDTSTART:20060101T000000Z\nDTEND:20060108T000000Z\nFREEBUSY:20050531T230000Z/20050601T010000Z\nFREEBUSY;FBTYPE=BUSY-TENTATIVE:20060102T100000Z/20060102T120000Z\nFREEBUSY:20060103T100000Z/20060103T120000Z\nEND:VFREEBUSY",
}

func rangeOf(t testing.TB, from, to string) *TimeRange {
	r := &TimeRange{}
	if from != "" {
		r.Start = utc(t, from)
	}
	if to != "" {
		r.End = utc(t, to)
	}
	return r
}

func inCalendar(fs ...CompFilter) *CompFilter { return &CompFilter{Name: "VCALENDAR", Comps: fs} }

func TestFilterAppendixB(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		filter *CompFilter
		want   string
	}{
		{"7.8.1 events by time", inCalendar(CompFilter{Name: "VEVENT", Range: rangeOf(t, "20060104T000000Z", "20060105T000000Z")}), "abcd2 abcd3"},
		{"7.8.5 tasks by alarm", inCalendar(CompFilter{Name: "VTODO", Comps: []CompFilter{{Name: "VALARM", Range: rangeOf(t, "20060106T100000Z", "20060107T100000Z")}}}), "abcd5"},
		{"7.8.6 event by UID", inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "UID", Text: &TextMatch{Text: "DC6C50A017428C5216A2F1CD@example.com", Collation: "i;octet"}}}}), "abcd3"},
		{"7.8.7 events by PARTSTAT", inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "ATTENDEE",
			Text:   &TextMatch{Text: "mailto:lisa@example.com", Collation: "i;ascii-casemap"},
			Params: []ParamFilter{{Name: "PARTSTAT", Text: &TextMatch{Text: "NEEDS-ACTION", Collation: "i;ascii-casemap"}}}}}}), "abcd3"},
		{"7.8.8 events only", inCalendar(CompFilter{Name: "VEVENT"}), "abcd1 abcd2 abcd3"},
		{"7.8.9 pending tasks", inCalendar(CompFilter{Name: "VTODO", Props: []PropFilter{{Name: "COMPLETED", IsNotDefined: true},
			{Name: "STATUS", Text: &TextMatch{Text: "CANCELLED", Negate: true}}}}), "abcd4 abcd5"},
		{"free/busy by time", inCalendar(CompFilter{Name: "VFREEBUSY", Range: rangeOf(t, "20060102T000000Z", "20060109T000000Z")}), "abcd8"},
		{"everything", inCalendar(), "abcd1 abcd2 abcd3 abcd4 abcd5 abcd6 abcd7 abcd8"},
		{"no event", inCalendar(CompFilter{Name: "VEVENT", IsNotDefined: true}), "abcd4 abcd5 abcd6 abcd7 abcd8"},
		{"no alarm", inCalendar(CompFilter{Name: "VTODO", Comps: []CompFilter{{Name: "VALARM", IsNotDefined: true}}}), "abcd6 abcd7"},
		{"event or task", &CompFilter{Name: "VCALENDAR", AnyOf: true, Comps: []CompFilter{{Name: "VFREEBUSY"}, {Name: "VTODO"}}}, "abcd4 abcd5 abcd6 abcd7 abcd8"},
		{"event and task", inCalendar(CompFilter{Name: "VEVENT"}, CompFilter{Name: "VTODO"}), ""},
		{"names of any case", &CompFilter{Name: "vcalendar", Comps: []CompFilter{{Name: "vevent", Props: []PropFilter{{Name: "summary", Text: &TextMatch{Text: "EVENT #1"}}}}}}, "abcd1"},
		{"an attendee without ROLE", inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "ATTENDEE", Params: []ParamFilter{{Name: "ROLE", IsNotDefined: true}}}}}), "abcd3"},
		{"both properties", inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "STATUS"}, {Name: "SUMMARY", Text: &TextMatch{Text: "#2"}}}}), ""},
		{"one of the properties", inCalendar(CompFilter{Name: "VEVENT", AnyOf: true, Props: []PropFilter{{Name: "STATUS"}, {Name: "SUMMARY", Text: &TextMatch{Text: "#2"}}}}), "abcd2 abcd3"},
		{"text or time", inCalendar(CompFilter{Name: "VEVENT", AnyOf: true, Range: rangeOf(t, "20060104T000000Z", "20060105T000000Z"), Props: []PropFilter{{Name: "SUMMARY", Text: &TextMatch{Text: "#1"}}}}), "abcd1 abcd2 abcd3"},
		{"a property in a range", inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "LAST-MODIFIED", Range: rangeOf(t, "20060206T000000Z", "")}}}), "abcd3"},
		{"at an inclusive start", inCalendar(CompFilter{Name: "VTODO", Props: []PropFilter{{Name: "LAST-MODIFIED", Range: rangeOf(t, "20060205T235308Z", "20060205T235309Z")}}}), "abcd5 abcd6"},
		{"open start", inCalendar(CompFilter{Name: "VEVENT", Range: rangeOf(t, "", "20060102T160000Z")}), "abcd1"},
		{"open end", inCalendar(CompFilter{Name: "VEVENT", Range: rangeOf(t, "20060106T180000Z", "")}), "abcd2"},
		// The text must hold for the component whose instance is in the range.
		{"override's text, override's time", inCalendar(CompFilter{Name: "VEVENT", Range: rangeOf(t, "20060104T000000Z", "20060105T000000Z"), Props: []PropFilter{{Name: "SUMMARY", Text: &TextMatch{Text: "#2 bis"}}}}), "abcd2"},
		{"override's text, master's time", inCalendar(CompFilter{Name: "VEVENT", Range: rangeOf(t, "20060103T000000Z", "20060104T000000Z"), Props: []PropFilter{{Name: "SUMMARY", Text: &TextMatch{Text: "#2 bis"}}}}), ""},
		{"no time range on it", inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "SUMMARY", Range: rangeOf(t, "20060101T000000Z", "")}}}), ""},
	} {
		var got []string
		for _, name := range []string{"abcd1", "abcd2", "abcd3", "abcd4", "abcd5", "abcd6", "abcd7", "abcd8"} {
			o := icalObject(t, appendixB[name])
			ok, err := c.filter.Match(o, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if ok {
				got = append(got, name)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %s, want %s", c.name, s, c.want)
		}
	}
}

func TestTextMatch(t *testing.T) {
	t.Parallel()
	o := eventObject(t, `DTSTART:20260101T000000Z`, `SUMMARY:Grüße\, Café\nZWEI`, `CATEGORIES:Work,Büro\, klein`, `CATEGORIES:home`,
		`ATTENDEE;CN="Ann, B";MEMBER="mailto:x@a.test","mailto:y@a.test":mailto:ann@a.test`, `URL:http://a.test/x\,y`)
	for _, c := range []struct {
		prop string
		m    TextMatch
		want bool
	}{
		{"SUMMARY", TextMatch{Text: "café"}, true},
		{"SUMMARY", TextMatch{Text: "GRÜSSE"}, false},
		{"SUMMARY", TextMatch{Text: "CAFÉ"}, false}, // ASCII letters only
		{"SUMMARY", TextMatch{Text: "CAFÉ", Collation: "i;unicode-casemap"}, true},
		{"SUMMARY", TextMatch{Text: "cafe\u0301", Collation: "i;unicode-casemap"}, true}, // RFC 5051: decomposed
		{"SUMMARY", TextMatch{Text: "grÜ", Collation: "i;unicode-casemap"}, true},
		{"SUMMARY", TextMatch{Text: "café", Collation: "i;octet"}, false},
		{"SUMMARY", TextMatch{Text: "Café", Collation: "i;octet"}, true},
		{"SUMMARY", TextMatch{Text: "Grüße, Café\nZWEI", MatchType: "equals", Collation: "i;octet"}, true},
		{"SUMMARY", TextMatch{Text: "gr", MatchType: "starts-with"}, true},
		{"SUMMARY", TextMatch{Text: "zwei", MatchType: "ends-with"}, true},
		{"SUMMARY", TextMatch{Text: "zwei", MatchType: "starts-with"}, false},
		{"SUMMARY", TextMatch{Text: "zwei", Negate: true}, false},
		{"SUMMARY", TextMatch{Text: "drei", Negate: true}, true},
		{"SUMMARY", TextMatch{}, true},
		{"DESCRIPTION", TextMatch{}, false},
		{"DESCRIPTION", TextMatch{Text: "x", Negate: true}, false}, // the property must exist
		{"CATEGORIES", TextMatch{Text: "work", MatchType: "equals"}, true},
		{"CATEGORIES", TextMatch{Text: "home", MatchType: "equals"}, true},
		{"CATEGORIES", TextMatch{Text: "BÜRO, KLEIN", MatchType: "equals", Collation: "i;unicode-casemap"}, true},
		{"CATEGORIES", TextMatch{Text: "work,b"}, false}, // values are apart
		{"ATTENDEE", TextMatch{Text: "MAILTO:ANN@A.TEST", MatchType: "equals"}, true},
		{"URL", TextMatch{Text: `x\,y`}, true},
	} {
		f := inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: c.prop, Text: &c.m}}})
		if got, err := f.Match(o, nil, nil); err != nil || got != c.want {
			t.Errorf("%s %+v: %v %v", c.prop, c.m, got, err)
		}
	}
	for _, c := range []struct {
		p    ParamFilter
		want bool
	}{
		{ParamFilter{Name: "cn", Text: &TextMatch{Text: "ann, b", MatchType: "equals"}}, true},
		{ParamFilter{Name: "MEMBER", Text: &TextMatch{Text: "mailto:y@a.test", MatchType: "equals"}}, true},
		{ParamFilter{Name: "MEMBER", Text: &TextMatch{Text: "mailto:z@a.test"}}, false},
		{ParamFilter{Name: "CN"}, true},
		{ParamFilter{Name: "ROLE"}, false},
		{ParamFilter{Name: "CN", IsNotDefined: true}, false},
		{ParamFilter{Name: "CN", Text: &TextMatch{Text: "zoe", Negate: true}}, true},
	} {
		f := inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "ATTENDEE", Params: []ParamFilter{c.p}}}})
		if got, err := f.Match(o, nil, nil); err != nil || got != c.want {
			t.Errorf("%+v: %v %v", c.p, got, err)
		}
	}
}

func TestFoldUnicode(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"Straße", "STRAßE"}, {"ﬁn", "FIN", "fin"}, {"Å", "å", "A\u030a", "\u212b"}, {"ǅ", "Ǆ", "ǆ", "DŽ"},
		{"ΣΑΣ", "σας"}, {"한", "\u1112\u1161\u11ab"}, {"가", "\u1100\u1161"}, {"Ⅷ", "viii"}, {"½", "1⁄2"}, {"ABC", "ａｂｃ"},
	} {
		for _, s := range same[1:] {
			if foldUnicode(s) != foldUnicode(same[0]) {
				t.Errorf("%q and %q differ: %q %q", s, same[0], foldUnicode(s), foldUnicode(same[0]))
			}
		}
	}
}

func TestFilterCheck(t *testing.T) {
	t.Parallel()
	deep := CompFilter{Name: "VALARM"}
	for range 1000 { // A14
		deep = CompFilter{Name: "VEVENT", Comps: []CompFilter{deep}}
	}
	wide := CompFilter{Name: "VEVENT", Props: make([]PropFilter, 1000)}
	for i := range wide.Props {
		wide.Props[i].Name = "X"
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		f    *CompFilter
		want Code
	}{
		"fine":           {inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{Start: now}}), ""},
		"no VCALENDAR":   {&CompFilter{Name: "VEVENT"}, CodeInvalidFilter},
		"deep (A14)":     {inCalendar(deep), CodeInvalidFilter},
		"wide (A14)":     {inCalendar(wide), CodeInvalidFilter},
		"empty range":    {inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{}}), CodeInvalidFilter},
		"backward range": {inCalendar(CompFilter{Name: "VEVENT", Range: &TimeRange{Start: now, End: now.Add(-time.Second)}}), CodeInvalidFilter},
		"zone range":     {inCalendar(CompFilter{Name: "VTIMEZONE", Range: &TimeRange{Start: now}}), CodeUnsupportedFilter},
		"both":           {inCalendar(CompFilter{Name: "VEVENT", IsNotDefined: true, Range: &TimeRange{Start: now}}), CodeInvalidFilter},
		"collation":      {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "UID", Text: &TextMatch{Collation: "i;klingon"}}}}), CodeUnsupportedCollation},
		"match type":     {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "UID", Text: &TextMatch{MatchType: "like"}}}}), CodeInvalidFilter},
		"no name":        {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{}}}), CodeInvalidFilter},
		"param":          {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "UID", Params: []ParamFilter{{}}}}}), CodeInvalidFilter},
	} {
		if got := CodeOf(c.f.Check()); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if _, err := c.f.Match(eventObject(t, "DTSTART:20260101T000000Z"), nil, nil); CodeOf(err) != c.want {
			t.Errorf("%s: Match says %v", name, err)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	r := rangeOf(t, "20260101T000000Z", "20260201T000000Z")
	uid := PropFilter{Name: "UID", Text: &TextMatch{Text: "x", Collation: "i;octet", MatchType: "equals"}}
	for name, c := range map[string]struct {
		f              *CompFilter
		comp, uid      string
		ranged         bool
		ok, sufficient bool
	}{
		"range":                    {inCalendar(CompFilter{Name: "vevent", Range: r}), "VEVENT", "", true, true, true},
		"component":                {inCalendar(CompFilter{Name: "VTODO"}), "VTODO", "", false, true, true},
		"everything":               {inCalendar(), "", "", false, true, true},
		"text":                     {inCalendar(CompFilter{Name: "VEVENT", Range: r, Props: []PropFilter{{Name: "SUMMARY"}}}), "VEVENT", "", true, true, false},
		"alarm":                    {inCalendar(CompFilter{Name: "VEVENT", Comps: []CompFilter{{Name: "VALARM", Range: r}}}), "VEVENT", "", false, true, false},
		"uid":                      {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{uid}}), "VEVENT", "x", false, true, true},
		"uid within":               {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "UID", Text: &TextMatch{Text: "x", Collation: "i;octet"}}}}), "VEVENT", "x", false, true, true},
		"uid negated":              {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{{Name: "UID", Text: &TextMatch{Text: "x", Negate: true}}}}), "VEVENT", "", false, true, false},
		"uid and more":             {inCalendar(CompFilter{Name: "VEVENT", Props: []PropFilter{uid, {Name: "SUMMARY"}}}), "VEVENT", "x", false, true, false},
		"any component in a range": {&CompFilter{Name: "VCALENDAR", Range: r}, "", "", true, true, true},
		"range above and below":    {&CompFilter{Name: "VCALENDAR", Range: r, Comps: []CompFilter{{Name: "VTODO", Range: rangeOf(t, "20260101T000000Z", "")}}}, "VTODO", "", true, true, false},
		"range above or below":     {&CompFilter{Name: "VCALENDAR", AnyOf: true, Range: r, Comps: []CompFilter{{Name: "VTODO"}}}, "", "", false, false, false},
		"not defined":              {inCalendar(CompFilter{Name: "VEVENT", IsNotDefined: true}), "", "", false, false, false},
		"any of":                   {&CompFilter{Name: "VCALENDAR", AnyOf: true, Comps: []CompFilter{{Name: "VEVENT"}, {Name: "VTODO"}}}, "", "", false, false, false},
		"any inside":               {inCalendar(CompFilter{Name: "VEVENT", AnyOf: true, Range: r, Props: []PropFilter{uid}}), "VEVENT", "", false, true, false},
	} {
		w := c.f.Window()
		uid := ""
		if w.UID != nil {
			uid = w.UID.Text
		}
		if w.Component != c.comp || uid != c.uid || w.Ranged() != c.ranged || w.OK != c.ok || w.Sufficient != c.sufficient {
			t.Errorf("%s: %q %+v", name, uid, w)
		}
	}
}

func TestAlarms(t *testing.T) {
	t.Parallel()
	daily := "DTSTART;TZID=Europe/Berlin:20200101T090000\nDTEND;TZID=Europe/Berlin:20200101T100000\nRRULE:FREQ=DAILY\nBEGIN:VALARM\nACTION:DISPLAY\n%\nEND:VALARM"
	for _, c := range []struct {
		alarm    string
		from, to string
		want     bool
	}{
		{"TRIGGER:-PT15M", "20260105T074500Z", "20260105T074501Z", true},
		{"TRIGGER:-PT15M", "20260105T074501Z", "20260106T074500Z", false},
		{"TRIGGER;RELATED=END:PT5M", "20260105T090500Z", "20260105T090501Z", true},
		{"TRIGGER:-P1D", "20260328T080000Z", "20260328T080001Z", true}, // nominal: 09:00 the day before the clock change
		{"TRIGGER:-PT24H", "20260328T070000Z", "20260328T070001Z", true},
		{"TRIGGER:-P400D", "20250105T080000Z", "20250105T080001Z", true},
		{"TRIGGER;VALUE=DATE-TIME:20300101T000000Z", "20300101T000000Z", "20300101T000001Z", true},
		{"TRIGGER;VALUE=DATE-TIME:20300101T000000Z", "20260101T000000Z", "20270101T000001Z", false},
		{"TRIGGER:-PT15M\nREPEAT:4\nDURATION:PT5M", "20260105T080500Z", "20260105T080501Z", true},
		{"TRIGGER:-PT15M\nREPEAT:3\nDURATION:PT5M", "20260105T080500Z", "20260105T080501Z", false},
		{"TRIGGER:-PT15M\nREPEAT:1000000000\nDURATION:PT5M", "20260105T120500Z", "20260105T120501Z", true},
		{"TRIGGER:-PT15M\nREPEAT:1000000000\nDURATION:PT0S", "20260105T120500Z", "20260105T120501Z", false},
		{"TRIGGER:-PT15M", "", "20191231T000000Z", false},
		{"TRIGGER:-PT15M", "20300101T000000Z", "", true},
		{"ACTION:DISPLAY", "20260105T074500Z", "", false},
	} {
		o := eventObject(t, strings.Replace(daily, "%", c.alarm, 1))
		f := inCalendar(CompFilter{Name: "VEVENT", Comps: []CompFilter{{Name: "VALARM", Range: rangeOf(t, c.from, c.to)}}})
		if got, err := f.Match(o, nil, nil); err != nil || got != c.want {
			t.Errorf("%s in %s: %v %v", c.alarm, c.from, got, err)
		}
	}
}
