package itip

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// takes lists when what lists somebody takes place, with title and answer.
func takes(t *testing.T, o *calendar.Object, who calendar.Address) []string {
	t.Helper()
	var out []string
	for i, err := range o.Instances(calendar.NewZones(o, nil), time.Time{}, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), calendar.NewBudget()) {
		if err != nil {
			t.Fatalf("%v\n%s", err, o.Bytes())
		}
		if l := line(i.Component, who.Key()); l != nil && !isCancelled(i.Component) {
			out = append(out, fmt.Sprintf("%s-%s %s %s", i.Start.UTC().Format("0102T1504"), i.End.UTC().Format("0102T1504"), i.Component.Value("SUMMARY"), partstat(l)))
		}
	}
	slices.Sort(out)
	return out
}

// tailCase is a series with an override and all after it that invites ann, who is
// not invited to the series.
func tailCase(t *testing.T, rnd *rand.Rand) string {
	pick := func(list ...string) string { return list[rnd.Intn(len(list))] }
	rule := pick("FREQ=DAILY", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "FREQ=WEEKLY;BYDAY=MO,WE,FR", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "FREQ=MONTHLY", "FREQ=MONTHLY;BYDAY=1MO,3TU;BYSETPOS=1,2")
	n := 4 + rnd.Intn(40)
	end := pick(fmt.Sprintf(";COUNT=%d", n), "", ";UNTIL="+time.Date(2026, 3, 2+n, 8+rnd.Intn(2), 0, 0, 0, time.UTC).Format("20060102T150405Z"))
	zone := ";TZID=Europe/Berlin"
	start := "20260302T100000" // a Monday; the clocks change on 29 March
	plain := mustICS(t, "BEGIN:VEVENT\nDTSTART"+zone+":"+start+"\nDURATION:PT1H\nRRULE:"+rule+end+"\nEND:VEVENT\n")
	var ids []string
	for i, err := range plain.Instances(calendar.NewZones(plain, nil), time.Time{}, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), calendar.NewBudget()) {
		if err != nil {
			panic(err)
		}
		if ids = append(ids, i.ID.Value()); len(ids) == 30 {
			break
		}
	}
	shifted := func(id string, minutes int) string {
		at, _ := time.Parse("20060102T150405", id)
		return at.Add(time.Duration(minutes) * time.Minute).Format("20060102T150405")
	}
	people := func(ann bool) string {
		s := "ORGANIZER:mailto:org@example.com\nATTENDEE;PARTSTAT=ACCEPTED:mailto:org@example.com\nATTENDEE:mailto:bob@example.com\n"
		if ann {
			s += "ATTENDEE:mailto:ann@example.com\n"
		}
		return s
	}
	var b strings.Builder
	fmt.Fprintf(&b, "BEGIN:VEVENT\nSUMMARY:Series\nDTSTART%s:%s\nDURATION:PT1H\nRRULE:%s%s\n%s", zone, start, rule, end, people(false))
	for range rnd.Intn(3) {
		fmt.Fprintf(&b, "EXDATE%s:%s\n", zone, ids[rnd.Intn(len(ids))])
	}
	if rnd.Intn(3) == 0 {
		fmt.Fprintf(&b, "RDATE%s:%s\n", zone, shifted("20260407T130000", 1440*rnd.Intn(20)))
	}
	b.WriteString("END:VEVENT\n")
	first := rnd.Intn(len(ids))
	shift := []int{0, 0, 120, -150, 1440}[rnd.Intn(5)]
	if shift == 1440 && end == "" && (strings.Contains(rule, "BYDAY") || strings.Contains(rule, "MONTHLY")) {
		shift = 0 // see tailOf
	}
	fmt.Fprintf(&b, "BEGIN:VEVENT\nSUMMARY:Rest\nRECURRENCE-ID;RANGE=THISANDFUTURE%s:%s\nDTSTART%s:%s\nDURATION:PT90M\n%sEND:VEVENT\n", zone, ids[first], zone, shifted(ids[first], shift), people(true))
	for _, i := range rnd.Perm(len(ids))[:rnd.Intn(min(4, len(ids)))] {
		fmt.Fprintf(&b, "BEGIN:VEVENT\nSUMMARY:Single\nRECURRENCE-ID%s:%s\nDTSTART%s:%s\nDURATION:PT20M\n%sEND:VEVENT\n", zone, ids[i], zone, shifted(ids[i], 30*rnd.Intn(10)), people(rnd.Intn(2) == 0))
	}
	if i := first + 1 + rnd.Intn(10); rnd.Intn(3) == 0 && i < len(ids) {
		fmt.Fprintf(&b, "BEGIN:VEVENT\nSUMMARY:Later\nRECURRENCE-ID;RANGE=THISANDFUTURE%s:%s\nDTSTART%s:%s\nDURATION:PT2H\n%sEND:VEVENT\n", zone, ids[i], zone, shifted(ids[i], 60*rnd.Intn(5)), people(rnd.Intn(2) == 0))
	}
	return b.String()
}

// Who is invited to an instance and all after it has, and is told, what the
// organizer's object says of him; his answers to all of it and to one instance arrive
// there and move nothing else.
func TestTail(t *testing.T) {
	t.Parallel()
	ann := calendar.Address("mailto:ann@example.com")
	whole, taken := 0, 0
	for seed := range int64(200) {
		rnd := rand.New(rand.NewSource(seed))
		text := tailCase(t, rnd)
		w := newWorld()
		o, err := w.ics(text)
		if err != nil {
			t.Fatal(err)
		}
		if w.put("org", o, putOptions{}); w.err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, w.err, text)
		}
		check := func(what string) {
			t.Helper()
			want := takes(t, w.user("org").copy, ann)
			if seen := Tailor(w.user("org").copy, ann); seen != nil {
				if got := takes(t, seen, ann); !slices.Equal(got, want) {
					t.Fatalf("seed %d, %s: shown\n%q\nand should be\n%q\norganizer:\n%s\nview:\n%s", seed, what, got, want, normal(w.user("org").copy), normal(seen))
				}
			}
			var got []string
			if c := w.user("ann").copy; c != nil {
				got = takes(t, c, ann)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s: has\n%q\nand should have\n%q\norganizer:\n%s\ncopy:\n%s", seed, what, got, want, normal(w.user("org").copy), normal(w.user("ann").copy))
			}
		}
		check("invited")
		if c := w.user("ann").copy; c != nil && c.Master() != nil {
			whole++
			taken += len(takes(t, c, ann))
		}
		others := takes(t, o, "mailto:bob@example.com")
		answer := func(id *calendar.DateTime, ps string) {
			t.Helper()
			w.now = w.now.Add(time.Minute)
			c := w.user("ann").copy
			if c == nil {
				return
			}
			next, err := Respond(c, w.user("ann").addresses, ps, id, RespondOptions{})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if w.put("ann", next, putOptions{}); w.err != nil {
				t.Fatalf("seed %d: %v", seed, w.err)
			}
			check(ps)
		}
		answer(nil, "ACCEPTED")
		if c := w.user("ann").copy; c != nil {
			var ids []calendar.DateTime
			for i, err := range c.Instances(calendar.NewZones(c, nil), time.Time{}, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), calendar.NewBudget()) {
				if err != nil {
					t.Fatal(err)
				}
				if line(i.Component, ann.Key()) != nil {
					ids = append(ids, i.ID)
				}
			}
			if len(ids) > 0 {
				answer(&ids[rnd.Intn(len(ids))], "DECLINED")
			}
		}
		answer(nil, "TENTATIVE")
		if now := takes(t, w.user("org").copy, "mailto:bob@example.com"); !slices.Equal(now, others) {
			t.Fatalf("seed %d: bob has\n%q\nand had\n%q", seed, now, others)
		}
		// Another title, another time, another end, and out again.
		for _, change := range []struct{ old, new string }{{"SUMMARY:Rest", "SUMMARY:Other"}, {"DURATION:PT90M", "DURATION:PT80M"}, {"SUMMARY:Series", "SUMMARY:Whole"}, {"ATTENDEE:mailto:ann@example.com\n", ""}} {
			w.now = w.now.Add(time.Minute)
			text = strings.ReplaceAll(text, change.old, change.new)
			if o, err = w.ics(text); err != nil {
				t.Fatal(err)
			}
			if w.put("org", o, putOptions{}); w.err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, w.err, text)
			}
			check(change.new)
		}
	}
	if whole < 175 || taken < 5*whole {
		t.Errorf("%d tails with %d instances", whole, taken)
	}
}
