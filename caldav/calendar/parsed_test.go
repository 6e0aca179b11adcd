package calendar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// A kept object is shared by everybody who asks for its text: whatever is
// computed from it is what a fresh one gives, at the same time too, and does not
// change it.
func TestParsed(t *testing.T) {
	f, err := os.Open("testdata/recurrence/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var texts []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for i := 0; lines.Scan(); i++ {
		if i%20 != 0 {
			continue
		}
		var c struct{ ICS string }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, c.ICS)
	}
	if len(texts) < 20 {
		t.Fatalf("only %d texts", len(texts))
	}
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	busy := func(o *Object) string {
		ps, err := Busy(o, NewZones(o, time.UTC), from, from.AddDate(4, 0, 0), BusyOptions{}, nil)
		return fmt.Sprint(ps, err)
	}
	var m Parsed
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, text := range texts {
				kept, err := m.Parse(text, Limits{})
				if err != nil {
					t.Error(err)
					return
				}
				fresh, err := Parse([]byte(text), Limits{})
				if err != nil {
					t.Error(err)
					return
				}
				if got, want := busy(kept), busy(fresh); got != want {
					t.Errorf("busy %s, a fresh one %s", got, want)
				}
				if !bytes.Equal(kept.Bytes(), fresh.Bytes()) {
					t.Errorf("changed to %s", kept.Bytes())
				}
			}
		})
	}
	all.Wait()
	for _, text := range texts {
		one, _ := m.Parse(text, Limits{})
		if two, err := m.Parse(text, Limits{}); err != nil || one != two {
			t.Fatal("parsed twice", err)
		}
	}

	if _, err := m.Parse("BEGIN:VCALENDAR\r\n", Limits{}); err == nil {
		t.Error("a broken text was taken")
	}
	event := func(uid, more string) string {
		return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\n" + more + "END:VEVENT\r\nEND:VCALENDAR\r\n"
	}
	large := event("large", "DESCRIPTION:"+strings.Repeat("x", parsedMost)+"\r\n")
	one, _ := m.Parse(large, Limits{})
	if two, err := m.Parse(large, Limits{}); err != nil || one == two || !reflect.DeepEqual(one.Bytes(), two.Bytes()) {
		t.Error("a large one is kept", err)
	}
	first := event("first", "")
	old, _ := m.Parse(first, Limits{})
	for i := range 2 * parsedOctets / 2048 {
		if _, err := m.Parse(event(fmt.Sprint(i), "SUMMARY:"+strings.Repeat("y", 80)+"\r\n"), Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	if m.octets > parsedOctets || len(m.kept) != m.order.Len() || len(m.kept) < 1500 {
		t.Errorf("%d kept, %d in order, about %d octets", len(m.kept), m.order.Len(), m.octets)
	}
	if now, _ := m.Parse(first, Limits{}); now == old {
		t.Error("the one least used is still there")
	}
}
