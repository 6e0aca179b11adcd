package calendar

import (
	"testing"
	"time"
)

func TestParseDateTime(t *testing.T) {
	t.Parallel()
	tz := NewParam("TZID", "Europe/Berlin")
	for _, c := range []struct {
		value  string
		params []Param
		kind   Kind
		want   string // "" when refused
	}{
		{"20260102T030405Z", nil, UTC, "20260102T030405Z"},
		{"20260102T030405", nil, Floating, "20260102T030405"},
		{"20260102", []Param{NewParam("VALUE", "DATE")}, Date, "20260102"},
		{"20260102", nil, Date, "20260102"}, // VALUE left out
		{"20260102T030405", []Param{tz}, Zoned, "20260102T030405"},
		{"20260102T030405Z", []Param{tz}, UTC, "20260102T030405Z"}, // RFC 5545 §3.2.19
		{"20260102T030460Z", nil, UTC, "20260102T030459Z"},         // leap second
		{"20240229", nil, Date, "20240229"},
		{"00010101T000000Z", nil, UTC, "00010101T000000Z"},
		{"99991231T235959", nil, Floating, "99991231T235959"},
		{" 20260102 ", nil, Date, "20260102"},
		{"20260229", nil, 0, ""},
		{"20261301", nil, 0, ""},
		{"20260102T240000", nil, 0, ""},
		{"20260102T0304", nil, 0, ""},
		{"20260102T030405+0100", nil, 0, ""},
		{"20260102T030405", []Param{NewParam("VALUE", "DATE")}, 0, ""},
		{"20260102", []Param{NewParam("VALUE", "DATE-TIME")}, 0, ""},
		{"2026-01-02", nil, 0, ""},
		{"", nil, 0, ""},
	} {
		d, err := ParseDateTime(NewProperty("DTSTART", c.value, c.params...))
		if c.want == "" {
			if CodeOf(err) != CodeInvalidData {
				t.Errorf("%q: accepted as %v, %v", c.value, d, err)
			}
			continue
		}
		if err != nil || d.Kind != c.kind || d.Value() != c.want {
			t.Errorf("%q: %v %v", c.value, d, err)
			continue
		}
		back, err := ParseDateTime(d.Property("DTSTART"))
		if err != nil || !back.Equal(d) {
			t.Errorf("%q: comes back as %v %v", c.value, back, err)
		}
	}
}

func TestParsePeriods(t *testing.T) {
	t.Parallel()
	ps, err := ParsePeriods(NewProperty("FREEBUSY", "20260101T000000Z/PT1H,20260102T000000Z/20260102T120000Z"))
	if err != nil || len(ps) != 2 || ps[0].Duration.Clock != time.Hour || ps[1].End.Value() != "20260102T120000Z" {
		t.Errorf("%v %v", ps, err)
	}
	ds, err := ParseDateTimes(NewProperty("RDATE", "20260101T000000Z/PT1H,20260102T000000Z"))
	if err != nil || len(ds) != 2 {
		t.Errorf("%v %v", ds, err)
	}
	for _, bad := range []string{"20260101T000000Z/", "/PT1H", "20260101/P1D", "20260101T000000Z/PT", ",", "20260101T000000Z,"} {
		if ps, err := ParsePeriods(NewProperty("FREEBUSY", bad)); err == nil {
			t.Errorf("%q gives %v", bad, ps)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Duration{
		"PT15M":      {Clock: 15 * time.Minute},
		"-PT15M":     {Neg: true, Clock: 15 * time.Minute},
		"+P1D":       {Days: 1},
		"P1W":        {Days: 7},
		"P2W3D":      {Days: 17}, // tolerated
		"P1DT2H3M4S": {Days: 1, Clock: 2*time.Hour + 3*time.Minute + 4*time.Second},
		"PT0S":       {},
		"P0D":        {},
		"PT1H30S":    {Clock: time.Hour + 30*time.Second}, // tolerated
		"pt5m":       {Clock: 5 * time.Minute},
		"P1DT":       {Days: 1}, // tolerated: old Apple programs write it
		"-P1WT":      {Neg: true, Days: 7},
	} {
		d, err := ParseDuration(s)
		if err != nil || d != want {
			t.Errorf("%s: %v %v", s, d, err)
		}
		if back, err := ParseDuration(d.String()); err != nil || back.seconds() != d.seconds() {
			t.Errorf("%s is written %s", s, d)
		}
	}
	for _, s := range []string{"", "P", "PT", "P1", "1D", "P1H", "PT1D", "PT1M1H", "PT1HT", "P1DTT", "P-1D", "PT1H1H", "P99999999999D", "P9999999D",
		"PT999999999999H", "P1Y", "PT1.5H", "P1D ", "--P1D", "PT9999999999S"} {
		if d, ok := parseDuration(s); ok {
			t.Errorf("%q gives %v", s, d)
		}
	}
}

// TestDayArithmetic compares the integer calendar with time.Time.
func TestDayArithmetic(t *testing.T) {
	t.Parallel()
	at := time.Date(-1, 12, 1, 0, 0, 0, 0, time.UTC)
	for n := dayNumber(-1, 12, 1); n < dayNumber(10001, 1, 1); n += 13 {
		y, m, d := dayDate(n)
		if yy, mm, dd := at.Date(); yy != y || int(mm) != m || dd != d || weekday(n) != int(at.Weekday()) || dayNumber(y, m, d) != n {
			t.Fatalf("day %d: %d-%d-%d (%d), want %v", n, y, m, d, weekday(n), at)
		}
		at = at.AddDate(0, 0, 13)
	}
}
