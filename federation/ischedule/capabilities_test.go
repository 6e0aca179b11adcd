package ischedule

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCapabilitiesVectors(t *testing.T) {
	t.Parallel()
	var set struct {
		Cases []struct {
			File   string                     `json:"file"`
			Expect map[string]json.RawMessage `json:"expect"`
		} `json:"cases"`
	}
	vectorJSON(t, "capabilities.json", &set)
	if len(set.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range set.Cases {
		caps, err := ParseCapabilities(vectorFile(t, c.File))
		if usable, ok := c.Expect["usable"]; ok {
			if got := err == nil && caps.Usable(); got != (string(usable) == "true") {
				t.Errorf("%s: usable %v, want %s", c.File, got, usable)
			}
			if err != nil {
				continue
			}
		} else if err != nil || !caps.Usable() {
			t.Errorf("%s: not usable: %v", c.File, err)
			continue
		}
		for name, raw := range c.Expect {
			var got any
			switch name {
			case "serial":
				got = nullable(caps.Serial)
			case "versions":
				got = caps.Versions
			case "messages":
				m := map[string]any{}
				for _, s := range caps.Messages {
					m[s.Component] = s.Methods
					if len(s.Methods) == 0 {
						m[s.Component] = "any"
					}
				}
				got = m
			case "inline":
				got = caps.Inline
			case "external":
				got = caps.External
			case "max_content_length":
				got = nullable(caps.MaxContentLength)
			case "max_recipients":
				got = nullable(caps.MaxRecipients)
			case "max_instances":
				got = nullable(caps.MaxInstances)
			case "dialect":
				got = caps.Dialect.String()
			case "usable":
				continue
			default:
				t.Errorf("%s: unknown expectation %q", c.File, name)
				continue
			}
			b, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var g, w any
			json.Unmarshal(b, &g)
			json.Unmarshal(raw, &w)
			if d := cmp.Diff(w, g); d != "" {
				t.Errorf("%s: %s (-want +got):\n%s", c.File, name, d)
			}
		}
	}
}

// nullable is nil for a zero value, as the vectors write an absent limit.
func nullable[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// The documents of running servers, cut out of recorded answers.
func TestCapabilitiesCaptures(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		dialect    Dialect
		serial     string
		instances  int
		usable     bool
		components int
	}{
		"captures/cyrus-capabilities.resp.http":   {DialectFinal, "1795219797", 0, true, 4},
		"captures/davical-capabilities.resp.http": {DialectDraft01, "", 150, false, 3},
	} {
		caps, err := ParseCapabilities(captureBody(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if caps.Dialect != want.dialect || caps.Serial != want.serial || caps.MaxInstances != want.instances ||
			caps.Usable() != want.usable || len(caps.Messages) != want.components {
			t.Errorf("%s: %+v", file, caps)
		}
	}
}

func captureBody(t testing.TB, file string) []byte {
	t.Helper()
	raw := string(vectorFile(t, file))
	for _, sep := range []string{"\r\n\r\n", "\n\n"} {
		if _, body, ok := strings.Cut(raw, sep); ok {
			return []byte(body)
		}
	}
	t.Fatalf("%s: no body", file)
	return nil
}

func ours() *Capabilities {
	return &Capabilities{
		Serial:   "42",
		Versions: []string{Version},
		Messages: []MessageSupport{
			{"VEVENT", []string{"REQUEST", "ADD", "REPLY", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"}},
			{"VTODO", nil},
			{"VFREEBUSY", []string{"REQUEST"}},
		},
		DataTypes:        []DataType{{"text/calendar", "2.0"}},
		External:         true,
		RScales:          []string{"GREGORIAN"},
		MaxContentLength: 1 << 20,
		MinDate:          time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC),
		MaxDate:          time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		MaxInstances:     1000,
		MaxRecipients:    100,
		Administrator:    "mailto:postmaster@south.example?subject=a&b<c>",
	}
}

func TestCapabilitiesRoundTrip(t *testing.T) {
	t.Parallel()
	c := ours()
	got, err := ParseCapabilities(c.Document())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, got); d != "" {
		t.Errorf("final document (-want +got):\n%s", d)
	}
	if got, err = ParseCapabilities(c.DraftDocument()); err != nil {
		t.Fatal(err)
	}
	// -01 knows neither serial numbers nor calendar scales.
	want := *c
	want.Dialect, want.Serial, want.RScales = DialectDraft01, "", nil
	if d := cmp.Diff(&want, got); d != "" {
		t.Errorf("draft-01 document (-want +got):\n%s", d)
	}
}

// Children stand in the order of WD 10.2.
func TestCapabilitiesOrder(t *testing.T) {
	t.Parallel()
	doc := string(ours().Document())
	last := 0
	for _, name := range []string{"serial-number", "versions", "scheduling-messages", "calendar-data-types", "attachments", "rscales",
		"max-content-length", "min-date-time", "max-date-time", "max-instances", "max-recipients", "administrator"} {
		i := strings.Index(doc, "<"+name)
		if i < last {
			t.Errorf("%s at %d, after %d expected", name, i, last)
		}
		last = i
	}
}

func TestCapabilitiesHostile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"empty":            {"", ErrXML},
		"entity bomb":      {`<!DOCTYPE x [<!ENTITY a "aaaa">]><query-result xmlns="` + Namespace + `"/>`, ErrDTD},
		"external entity":  {`<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>`, ErrDTD},
		"too large":        {strings.Repeat(" ", MaxCapabilitiesSize+1), ErrTooLarge},
		"deep":             {strings.Repeat("<a>", 100), ErrTooLarge},
		"many":             {"<a>" + strings.Repeat("<b/>", 60_000) + "</a>", ErrTooLarge},
		"other namespace":  {`<query-result xmlns="DAV:"><capabilities/></query-result>`, ErrNotCapabilities},
		"no namespace":     {`<query-result><capabilities/></query-result>`, ErrNotCapabilities},
		"no capabilities":  {`<query-result xmlns="` + Namespace + `"/>`, ErrNotCapabilities},
		"other root":       {`<error xmlns="` + Namespace + `"/>`, ErrNotCapabilities},
		"trailing element": {`<query-result xmlns="` + Namespace + `"><capabilities/></query-result><x/>`, ErrXML},
		"trailing text":    {`<query-result xmlns="` + Namespace + `"><capabilities/></query-result>x`, ErrXML},
		"cut off":          {`<query-result xmlns="` + Namespace + `"><capabilities>`, ErrXML},
		"latin 1":          {`<?xml version="1.0" encoding="iso-8859-1"?><a/>`, ErrXML},
	} {
		if _, err := ParseCapabilities([]byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
	// Odd values count as absent.
	caps, err := ParseCapabilities([]byte(`<query-result xmlns="` + Namespace + `"><capabilities><serial-number>-3</serial-number><max-recipients>0</max-recipients>` +
		`<max-instances>many</max-instances><max-content-length>99999999999999999999</max-content-length><min-date-time>yesterday</min-date-time></capabilities></query-result>`))
	if err != nil || caps.Serial != "" || caps.MaxRecipients != 0 || caps.MaxInstances != 0 || caps.MaxContentLength != 0 || !caps.MinDate.IsZero() {
		t.Errorf("odd values: %+v, %v", caps, err)
	}
	if caps.Usable() {
		t.Error("usable without a version")
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	day := func(y int) time.Time { return time.Date(y, 5, 1, 0, 0, 0, 0, time.UTC) }
	base := Outline{Component: "VEVENT", Method: "REQUEST", Size: 1000, Start: day(2026), End: day(2027), Instances: 10}
	for _, c := range []struct {
		name   string
		change func(*Outline, *Capabilities)
		limit  string // "": fits
	}{
		{"baseline", func(*Outline, *Capabilities) {}, ""},
		{"lower case names", func(o *Outline, _ *Capabilities) { o.Component, o.Method = "vevent", "request" }, ""},
		{"any method", func(o *Outline, _ *Capabilities) { o.Component, o.Method = "VTODO", "COUNTER" }, ""},
		{"nothing known", func(_ *Outline, c *Capabilities) {
			*c = Capabilities{Versions: c.Versions, Messages: c.Messages}
		}, ""},
		{"version", func(_ *Outline, c *Capabilities) { c.Versions = []string{"2.0"} }, "versions"},
		{"component", func(o *Outline, _ *Capabilities) { o.Component = "VJOURNAL" }, "scheduling-messages"},
		{"method", func(o *Outline, _ *Capabilities) { o.Component, o.Method = "VFREEBUSY", "REPLY" }, "scheduling-messages"},
		{"data type", func(_ *Outline, c *Capabilities) { c.DataTypes = []DataType{{"application/calendar+xml", "2.0"}} }, "calendar-data-types"},
		{"size", func(o *Outline, _ *Capabilities) { o.Size = 1<<20 + 1 }, "max-content-length"},
		{"inline attachment", func(o *Outline, _ *Capabilities) { o.Inline = true }, "attachments"},
		{"external attachment", func(o *Outline, _ *Capabilities) { o.External = true }, ""},
		{"rscale", func(o *Outline, _ *Capabilities) { o.RScale = "CHINESE" }, "rscales"},
		{"gregorian", func(o *Outline, c *Capabilities) { o.RScale, c.RScales = "Gregorian", nil }, ""},
		{"too early", func(o *Outline, _ *Capabilities) { o.Start = day(1899) }, "min-date-time"},
		{"too late", func(o *Outline, _ *Capabilities) { o.End = day(2101) }, "max-date-time"},
		{"starts too late, open end", func(o *Outline, _ *Capabilities) { o.Start, o.End = day(2101), time.Time{} }, "max-date-time"},
		{"open end", func(o *Outline, _ *Capabilities) { o.End, o.Instances = time.Time{}, 0 }, ""},
		{"instances", func(o *Outline, _ *Capabilities) { o.Instances = 1001 }, "max-instances"},
	} {
		o, caps := base, ours()
		c.change(&o, caps)
		err := caps.Fits(o)
		var m *Misfit
		switch {
		case c.limit == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.limit != "" && (!errors.As(err, &m) || m.Limit != c.limit):
			t.Errorf("%s: %v, want %s", c.name, err, c.limit)
		}
	}
	if n := (&Capabilities{MaxRecipients: 25}).Recipients(); n != 25 {
		t.Errorf("recipients %d", n)
	}
	if n := (&Capabilities{MaxRecipients: 5000}).Recipients(); n != DefaultMaxRecipients {
		t.Errorf("recipients %d", n)
	}
}

func FuzzCapabilities(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectorsDir(), "capabilities", "*"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCapabilities(b)
		if err != nil {
			return
		}
		if c.MaxRecipients < 0 || c.MaxInstances < 0 || c.MaxContentLength < 0 || slices.Contains(c.Versions, "") {
			t.Fatalf("%+v", c)
		}
		c.Fits(Outline{Component: "VEVENT", Method: "REQUEST"})
		if _, err := ParseCapabilities(c.Document()); err != nil {
			t.Fatalf("own document: %v", err)
		}
	})
}
