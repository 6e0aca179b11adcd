package calendar

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseRule(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"FREQ=DAILY":                                                "FREQ=DAILY",
		"freq=weekly;byday=mo,we,MO":                                "FREQ=WEEKLY;BYDAY=MO,WE",
		"COUNT=3;FREQ=DAILY;INTERVAL=1;":                            "FREQ=DAILY;COUNT=3",
		"FREQ=MONTHLY;BYDAY=-1SU,+2MO;BYSETPOS=-1":                  "FREQ=MONTHLY;BYDAY=-1SU,2MO;BYSETPOS=-1",
		"FREQ=YEARLY;WKST=SU;BYWEEKNO=-1,1;X-A=1":                   "FREQ=YEARLY;BYWEEKNO=-1,1;WKST=SU",
		"FREQ=DAILY;UNTIL=20260101":                                 "FREQ=DAILY;UNTIL=20260101",
		"FREQ=DAILY;UNTIL=20260101T000000Z":                         "FREQ=DAILY;UNTIL=20260101T000000Z",
		"FREQ=MINUTELY;BYSECOND=60,59,0":                            "FREQ=MINUTELY;BYSECOND=0,59",
		"RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD;BYMONTHDAY=31": "RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=31;SKIP=BACKWARD",
		// A01, A02 and the other impossibilities
		"FREQ=DAILY;COUNT=1000000000":                           "FREQ=DAILY;COUNT=1000000000",
		"":                                                      "",
		"INTERVAL=1":                                            "",
		"FREQ=DAILY;INTERVAL=0":                                 "",
		"FREQ=DAILY;INTERVAL=-1":                                "",
		"FREQ=DAILY;COUNT=0":                                    "",
		"FREQ=DAILY;COUNT=99999999999999999999":                 "",
		"FREQ=DAILY;COUNT=1;UNTIL=20260101":                     "",
		"FREQ=DAILY;UNTIL=20260230":                             "",
		"FREQ=FORTNIGHTLY":                                      "",
		"FREQ=DAILY;FREQ=WEEKLY":                                "",
		"FREQ=MONTHLY;BYMONTHDAY=32":                            "",
		"FREQ=MONTHLY;BYMONTHDAY=0":                             "",
		"FREQ=MONTHLY;BYMONTHDAY=":                              "",
		"FREQ=YEARLY;BYMONTH=13":                                "",
		"FREQ=YEARLY;BYMONTH=5L":                                "",
		"FREQ=DAILY;BYHOUR=24":                                  "",
		"FREQ=DAILY;BYMINUTE=60":                                "",
		"FREQ=DAILY;BYDAY=XX":                                   "",
		"FREQ=MONTHLY;BYDAY=54MO":                               "",
		"FREQ=WEEKLY;BYDAY=1MO":                                 "",
		"FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO":                      "",
		"FREQ=MONTHLY;BYWEEKNO=1":                               "",
		"FREQ=MONTHLY;BYYEARDAY=1":                              "",
		"FREQ=WEEKLY;BYMONTHDAY=1":                              "",
		"FREQ=DAILY;BYFOO=1":                                    "",
		"FREQ=DAILY;INTERVAL":                                   "",
		"FREQ=DAILY;SKIP=FORWARD":                               "",
		"FREQ=DAILY;BYSETPOS=367":                               "",
		"FREQ=DAILY;BYHOUR=+1":                                  "",
		"RSCALE=HEBREW;FREQ=YEARLY":                             "",
		"FREQ=DAILY;BYHOUR=" + strings.Repeat("1,", 5000) + "1": "",
	} {
		r, err := ParseRule(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is accepted as %s", text, r)
			}
			continue
		}
		if err != nil || r.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, r, err, want)
		}
	}
	if _, err := ParseRule("RSCALE=HEBREW;FREQ=YEARLY"); CodeOf(err) != CodeUnsupportedRScale {
		t.Errorf("another calendar scale: %v", err)
	}
}

// starts lists the first n values of a rule as text.
func starts(t *testing.T, start, rule string, n int) string {
	t.Helper()
	r, err := ParseRule(rule)
	if err != nil {
		t.Fatal(err)
	}
	wall, kind, _ := parseWall(start)
	var out []string
	for _, s := range take(newRuleIter(r, wall.Unix(), kind == Date, lastWall, NewBudget()), n) {
		out = append(out, DateTime{Wall: wallTime(s), Kind: kind}.Value())
	}
	return strings.Join(out, " ")
}

// TestRuleCorners are readings that the vectors do not reach.
func TestRuleCorners(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ start, rule, want string }{
		// DTSTART comes first though the rule does not make it, and COUNT counts it (RFC 5545 §3.8.5.3).
		{"20260101", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=3", "20260101 20260213 20260313"},
		// BYSETPOS looks at the whole first period, also before DTSTART.
		{"20260115", "FREQ=MONTHLY;BYMONTHDAY=1,15,20;BYSETPOS=2;COUNT=2", "20260115 20260215"},
		// February 29 and months without a 31st.
		{"20240229", "FREQ=YEARLY;COUNT=3", "20240229 20280229 20320229"},
		{"20260131", "FREQ=MONTHLY;COUNT=3", "20260131 20260331 20260531"},
		// RFC 7529 §4.1.
		{"20240229", "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=BACKWARD;COUNT=3", "20240229 20250228 20260228"},
		{"20240229", "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FORWARD;COUNT=3", "20240229 20250301 20260301"},
		{"20260131", "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD;COUNT=4", "20260131 20260228 20260331 20260430"},
		{"20260131", "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD;COUNT=4", "20260131 20260301 20260331 20260501"},
		{"20260131", "RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=1,31;SKIP=FORWARD;COUNT=5", "20260131 20260201 20260301 20260331 20260401"},
		// A DATE has no hours.
		{"20260101", "FREQ=DAILY;BYHOUR=1,2,3;COUNT=3", "20260101 20260102 20260103"},
		{"20260101", "FREQ=HOURLY", "20260101"},
		// The year ends at 9999.
		{"99991230", "FREQ=DAILY", "99991230 99991231"},
		{"20260101T000000", "FREQ=YEARLY;INTERVAL=2147483647", "20260101T000000"},
		{"20260101T000000", "FREQ=SECONDLY;INTERVAL=2147483647;COUNT=2", "20260101T000000 20940119T031407"},
	} {
		if got := starts(t, c.start, c.rule, 6); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.start, c.rule, got, c.want)
		}
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		start, rule string
		want        []string
	}{
		{"DTSTART:20260101T100000Z", "FREQ=DAILY;UNTIL=20260103T100000Z", []string{"20260101T100000Z", "20260102T100000Z", "20260103T100000Z"}},
		{"DTSTART:20260101T100000Z", "FREQ=DAILY;UNTIL=20260102", []string{"20260101T100000Z", "20260102T100000Z"}}, // a date means all of it
		{"DTSTART;TZID=Asia/Tokyo:20260101T080000", "FREQ=DAILY;UNTIL=20260102", []string{"20251231T230000Z", "20260101T230000Z"}},
		{"DTSTART;TZID=Asia/Tokyo:20260101T080000", "FREQ=DAILY;UNTIL=20260101T230000Z", []string{"20251231T230000Z", "20260101T230000Z"}},
		{"DTSTART;TZID=Asia/Tokyo:20260101T080000", "FREQ=DAILY;UNTIL=20260101T225959Z", []string{"20251231T230000Z"}},
		{"DTSTART;TZID=Asia/Tokyo:20260101T080000", "FREQ=DAILY;UNTIL=20260102T080000", []string{"20251231T230000Z", "20260101T230000Z"}},
		{"DTSTART;VALUE=DATE:20260101", "FREQ=DAILY;UNTIL=20260102T150000Z", []string{"20260101T000000Z", "20260102T000000Z"}},
		{"DTSTART:20260101T100000Z", "FREQ=DAILY;UNTIL=20251231T000000Z", nil},
	} {
		o := eventObject(t, c.start, "RRULE:"+c.rule)
		var got []string
		for i, err := range o.Instances(nil, time.Time{}, time.Time{}, nil) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, UTCDateTime(i.Start).Value())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s: got %v, want %v", c.start, c.rule, got, c.want)
		}
	}
}
