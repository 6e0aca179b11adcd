package calendar

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vectorCase is a line of testdata/recurrence/cases.jsonl.
type vectorCase struct {
	ID        string `json:"id"`
	Group     string `json:"group"`
	Component string `json:"component"`
	ICS       string `json:"ics"`
	Floating  string `json:"floating_tzid"`
	Windows   []struct {
		Start     string      `json:"start"`
		End       string      `json:"end"`
		Match     bool        `json:"match"`
		Instances [][3]string `json:"instances"`
	} `json:"windows"`
}

// vectorFiles are the project's own cases and those of the file or folder that
// KALENDS_RECURRENCE_CASES names.
func vectorFiles(t testing.TB) []string {
	files := []string{"testdata/recurrence/cases.jsonl"}
	extra := os.Getenv("KALENDS_RECURRENCE_CASES")
	if extra == "" {
		return files
	}
	info, err := os.Stat(extra)
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		return append(files, extra)
	}
	more, err := filepath.Glob(filepath.Join(extra, "*.jsonl"))
	if err != nil || len(more) == 0 {
		t.Fatalf("no *.jsonl in %s (%v)", extra, err)
	}
	return append(files, more...)
}

func readVectors(t testing.TB) (out []vectorCase) {
	for _, name := range vectorFiles(t) {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(f)
		sc.Buffer(nil, 16<<20)
		for n := 1; sc.Scan(); n++ {
			if len(strings.TrimSpace(sc.Text())) == 0 {
				continue
			}
			var c vectorCase
			if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
			out = append(out, c)
		}
		if err := sc.Err(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return out
}

func utc(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse("20060102T150405Z", s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// vectorValue writes an instant in the form of the cases: DATE, floating, UTC.
func vectorValue(t testing.TB, z *Zones, at time.Time, like DateTime) string {
	t.Helper()
	if like.Kind == Zoned {
		like = DateTime{Kind: UTC}
	}
	d, err := z.Local(at, like)
	if err != nil {
		t.Fatal(err)
	}
	return d.Value()
}

func TestRecurrenceVectors(t *testing.T) {
	t.Parallel()
	cases := readVectors(t)
	groups := map[string]int{}
	for _, c := range cases {
		groups[c.Group]++
		if err := runVector(t, c); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
	t.Logf("%d cases: %v", len(cases), groups)
}

func runVector(t *testing.T, c vectorCase) error {
	o, err := Parse([]byte(c.ICS), Limits{})
	if err != nil {
		return err
	}
	loc, err := LoadZone(c.Floating)
	if err != nil {
		return err
	}
	start, end, _, err := Bounds(o)
	if err != nil {
		return err
	}
	for _, w := range c.Windows {
		from, to := utc(t, w.Start), utc(t, w.End)
		z := NewZones(o, loc)
		r := &TimeRange{from, to}
		f := CompFilter{Name: c.Component, Range: r}
		if c.Group == "alarm" {
			f = CompFilter{Name: c.Component, Comps: []CompFilter{{Name: "VALARM", Range: r}}}
		}
		f = CompFilter{Name: "VCALENDAR", Comps: []CompFilter{f}}
		match, err := f.Match(o, z, nil)
		if err != nil {
			return err
		}
		if match != w.Match {
			return fmt.Errorf("%s to %s: match is %v, want %v\n%s", w.Start, w.End, match, w.Match, c.ICS)
		}
		const margin = 14 * time.Hour // floating times
		if w.Match && c.Group != "alarm" && (!start.IsZero() && start.Add(-margin).After(to) || !end.IsZero() && end.Add(margin).Before(from)) {
			return fmt.Errorf("%s to %s matches but lies outside the bounds %v to %v\n%s", w.Start, w.End, start, end, c.ICS)
		}
		if w.Instances == nil || c.Group == "alarm" {
			continue
		}
		var got [][3]string
		for i, err := range o.Instances(z, from, to, nil) {
			if err != nil {
				return err
			}
			if ok, err := o.HasInstance(z, i.ID, nil); !ok || err != nil {
				return fmt.Errorf("%v is an instance and HasInstance says %v, %v", i.ID, ok, err)
			}
			got = append(got, [3]string{vectorID(t, z, i.ID), vectorValue(t, z, i.Start, i.StartValue), vectorValue(t, z, i.End, i.StartValue)})
		}
		if !slices.Equal(got, w.Instances) {
			return fmt.Errorf("%s to %s:\n got %v\nwant %v\n%s", w.Start, w.End, got, w.Instances, c.ICS)
		}
	}
	return nil
}

func vectorID(t testing.TB, z *Zones, id DateTime) string {
	t.Helper()
	if id.Kind != Zoned {
		return id.Value()
	}
	at, err := z.Instant(id)
	if err != nil {
		t.Fatal(err)
	}
	return UTCDateTime(at).Value()
}
