package itip

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

func mustICS(t testing.TB, text string) *calendar.Object {
	t.Helper()
	o, err := newWorld().ics(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const seriesText = `BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20260302T100000
DURATION:PT1H
RRULE:FREQ=WEEKLY;COUNT=6
SUMMARY:Talk
ORGANIZER:mailto:org@example.com
ATTENDEE;PARTSTAT=ACCEPTED:mailto:org@example.com
ATTENDEE:mailto:ann@example.com
END:VEVENT
BEGIN:VEVENT
RECURRENCE-ID:20260309T090000Z
DTSTART;TZID=Europe/Berlin:20260309T150000
DURATION:PT1H
SUMMARY:Talk
ORGANIZER:mailto:org@example.com
ATTENDEE;PARTSTAT=ACCEPTED:mailto:org@example.com
ATTENDEE:mailto:bob@example.com
END:VEVENT
`

func TestRoles(t *testing.T) {
	t.Parallel()
	o := mustICS(t, seriesText)
	for _, c := range []struct {
		by   []calendar.Address
		want Role
	}{
		{[]calendar.Address{"MAILTO:Org@Example.com"}, RoleOrganizer},
		{[]calendar.Address{"mailto:x@example.com", "ann@example.com"}, RoleAttendee},
		{[]calendar.Address{"mailto:bob@example.com"}, RoleAttendee},
		{[]calendar.Address{"mailto:eve@example.com"}, RoleNone},
		{nil, RoleNone},
	} {
		if got := RoleOf(o, c.by); got != c.want {
			t.Errorf("RoleOf(%v) = %v, want %v", c.by, got, c.want)
		}
	}
	if RoleOf(nil, []calendar.Address{"mailto:org@example.com"}) != RoleNone {
		t.Error("nobody has a role in nothing")
	}
	if got := Attendees(o); len(got) != 3 || Attendees(nil) != nil {
		t.Errorf("Attendees: %v", got)
	}
	if a, ok := Organizer(o); !ok || a != "mailto:org@example.com" {
		t.Errorf("Organizer: %v %v", a, ok)
	}
}

func TestAgentOf(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]Agent{"": AgentServer, "server": AgentServer, "CLIENT": AgentClient, "None": AgentNone, "X-OTHER": AgentNone} {
		p := calendar.NewProperty("ATTENDEE", "mailto:a@b.c")
		if v != "" {
			p.SetParam("SCHEDULE-AGENT", v)
		}
		if got := AgentOf(p); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
}

// Tailor is a projection: applying it twice changes nothing, and it never
// changes what it is given.
func TestTailorTwice(t *testing.T) {
	t.Parallel()
	o := mustICS(t, seriesText)
	before := string(o.Bytes())
	for _, a := range []calendar.Address{"mailto:ann@example.com", "mailto:bob@example.com", "mailto:org@example.com"} {
		one := Tailor(o, a)
		if two := Tailor(one, a); normal(one) != normal(two) {
			t.Errorf("%s:\n%s\n%s", a, normal(one), normal(two))
		}
	}
	if Tailor(o, "mailto:eve@example.com") != nil || Tailor(nil, "mailto:ann@example.com") != nil || Tailor(o, "nobody") != nil {
		t.Error("who is not listed sees nothing")
	}
	if string(o.Bytes()) != before {
		t.Error("the object was changed")
	}
	if z := zoneNamed(Tailor(o, "mailto:ann@example.com"), "Europe/Berlin"); z == nil {
		t.Error("the time zone is missing")
	}
}

func TestSignificant(t *testing.T) {
	t.Parallel()
	o := mustICS(t, seriesText)
	for name, c := range map[string]struct {
		old, new string
		want     bool
	}{
		"title":           {"SUMMARY:Talk", "SUMMARY:Other", false},
		"start":           {"DTSTART;TZID=Europe/Berlin:20260302T100000", "DTSTART;TZID=Europe/Berlin:20260302T110000", true},
		"length":          {"DURATION:PT1H\nRRULE", "DURATION:PT2H\nRRULE", true},
		"shorter series":  {"COUNT=6", "COUNT=4", false},
		"until":           {"COUNT=6", "UNTIL=20260323T090000Z", false},
		"until too far":   {"COUNT=6", "UNTIL=20260423T090000Z", true},
		"longer series":   {"COUNT=6", "COUNT=7", true},
		"other rule":      {"WEEKLY", "DAILY", true},
		"no rule":         {"RRULE:FREQ=WEEKLY;COUNT=6\n", "", true},
		"exdate":          {"RRULE:", "EXDATE:20260316T090000Z\nRRULE:", false},
		"rdate":           {"RRULE:", "RDATE:20260317T090000Z\nRRULE:", true},
		"instance":        {"20260309T150000", "20260309T160000", true},
		"instance's text": {"SUMMARY:Talk\nORGANIZER:mailto:org@example.com\nATTENDEE;PARTSTAT=ACCEPTED:mailto:org@example.com\nATTENDEE:mailto:bob", "SUMMARY:Bob's\nORGANIZER:mailto:org@example.com\nATTENDEE;PARTSTAT=ACCEPTED:mailto:org@example.com\nATTENDEE:mailto:bob", false},
	} {
		if !strings.Contains(seriesText, c.old) {
			t.Fatalf("%s: nothing to replace", name)
		}
		if got := Significant(o, mustICS(t, strings.Replace(seriesText, c.old, c.new, 1))); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !Significant(o, mustICS(t, seriesText[:strings.Index(seriesText, "END:VEVENT")]+"END:VEVENT\n")) {
		t.Error("an instance that returns to its regular time is moved")
	}
	if Significant(nil, o) || Significant(o, nil) {
		t.Error("what begins or ends is not rescheduled")
	}
}

func TestApplyStatus(t *testing.T) {
	t.Parallel()
	o := mustICS(t, strings.ReplaceAll(seriesText, "ATTENDEE:mailto:bob", "ATTENDEE;SCHEDULE-AGENT=CLIENT:mailto:bob"))
	if !ApplyStatus(o, map[string]string{"mailto:ann@example.com": "5.1;Try later", "mailto:bob@example.com": "1.2", "mailto:eve@example.com": "1.2"}) {
		t.Fatal("nothing changed")
	}
	text := string(o.Bytes())
	if strings.Count(text, "SCHEDULE-STATUS=5.1") != 1 || strings.Count(text, "SCHEDULE-STATUS") != 1 {
		t.Error(text)
	}
	if ApplyStatus(o, map[string]string{"mailto:ann@example.com": "5.1"}) || ApplyStatus(nil, nil) {
		t.Error("nothing is new")
	}
	ApplyStatus(o, map[string]string{"mailto:org@example.com": "1.2", "mailto:ann@example.com": ""})
	text = string(o.Bytes())
	if strings.Count(text, "ORGANIZER;SCHEDULE-STATUS=1.2") != 2 || strings.Count(text, "SCHEDULE-STATUS") != 2 {
		t.Error(text)
	}
}

func TestStamps(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := Stamp{1, now}
	for _, c := range []struct {
		b    Stamp
		want int
	}{{Stamp{1, now}, 0}, {Stamp{1, now.Add(300 * time.Millisecond)}, 0}, {Stamp{1, now.Add(time.Second)}, -1}, {Stamp{0, now.Add(time.Hour)}, 1}, {Stamp{2, now.Add(-time.Hour)}, -1}} {
		if got := a.Compare(c.b); got != c.want {
			t.Errorf("%v: %d", c.b, got)
		}
	}
	if got := StampOf(mustICS(t, strings.Replace(seriesText, "DURATION", "SEQUENCE:99999999999\nDURATION", 1))); got.Sequence != 0 {
		t.Errorf("an impossible SEQUENCE counts as %d", got.Sequence)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	o := mustICS(t, seriesText)
	by := []calendar.Address{"mailto:org@example.com"}
	for cond, l := range map[Condition]Limits{CondMaxAttendees: {Attendees: 2}, CondMaxInstances: {Instances: 1}} {
		_, err := PlanChange(Change{New: o, By: by, Limits: l})
		var e *Error
		if !errors.As(err, &e) || e.Condition != cond {
			t.Errorf("%s: %v", cond, err)
		}
	}
	if _, err := PlanChange(Change{New: o, By: by, Limits: Limits{3, 2}}); err != nil {
		t.Error(err)
	}
}

// Many attendees with few different views share few messages.
func TestGroups(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "ATTENDEE:mailto:u%d@example.com\n", i)
	}
	text := strings.Replace(seriesText, "ATTENDEE:mailto:ann@example.com\n", b.String(), 1)
	p, err := PlanChange(Change{New: mustICS(t, text), By: []calendar.Address{"mailto:org@example.com"}})
	if err != nil || len(p.Messages) != 2 {
		t.Fatalf("%d messages, %v", len(p.Messages), err)
	}
	if n := len(p.Messages[0].Recipients) + len(p.Messages[1].Recipients); n != 2001 {
		t.Errorf("%d recipients", n)
	}
}

// PlanRecipient leads one recipient from what he knows to what is, also over
// several changes at once.
func TestPlanRecipient(t *testing.T) {
	t.Parallel()
	o := mustICS(t, seriesText)
	opt := MessageOptions{By: []calendar.Address{"mailto:org@example.com"}, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	moved := mustICS(t, strings.Replace(strings.Replace(seriesText, "20260309T150000", "20260309T170000", 1), "SUMMARY:Talk", "SUMMARY:New", 1))
	for name, c := range map[string]struct {
		old, new *calendar.Object
		who      calendar.Address
		want     string
	}{
		"new":            {nil, o, "mailto:bob@example.com", "REQUEST new"},
		"same":           {o, o, "mailto:bob@example.com", ""},
		"known view":     {Tailor(o, "mailto:ann@example.com"), o, "mailto:ann@example.com", ""},
		"known override": {Tailor(o, "mailto:bob@example.com"), moved, "mailto:bob@example.com", "REQUEST changed"},
		"gone":           {o, nil, "mailto:ann@example.com", "CANCEL cancelled"},
		"not invited":    {o, moved, "mailto:eve@example.com", ""},
	} {
		msgs, err := PlanRecipient(c.old, c.new, c.who, opt)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range msgs {
			got = append(got, m.Method+" "+string(m.Kind))
			if !slices.Equal(m.Recipients, []calendar.Address{c.who}) || m.UID != "1" || m.Component != "VEVENT" || m.Originator != "mailto:org@example.com" {
				t.Errorf("%s: %+v", name, m)
			}
			if err := calendar.ValidateMessage(m.Object); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
	if _, err := PlanRecipient(o, o, "nobody", opt); err == nil {
		t.Error("an invalid address was accepted")
	}
}

// TestConverges edits a series at random and checks after every step that
// each attendee's calendar shows what the organizer's object says about him,
// and that the messages of a change are what a second attendee server could
// apply as well (they validate).
func TestConverges(t *testing.T) {
	t.Parallel()
	for seed := range int64(100) {
		rnd := rand.New(rand.NewSource(seed))
		w := newWorld()
		far := newWorld() // ann's copy on a server that is reached only now and then
		var known *calendar.Object
		g := &generator{rnd: rnd, start: 10, count: 6, people: map[string]bool{"ann": true}, over: map[int]*instanceSpec{}, out: map[int]bool{}}
		for range 12 {
			w.now = w.now.Add(time.Minute)
			text := g.text()
			o, err := w.ics(text)
			if err != nil {
				t.Fatal(err)
			}
			if w.put("org", o, putOptions{keepTag: rnd.Intn(2) == 0}); w.err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, w.err, text)
			}
			for _, m := range w.sent {
				if err := calendar.ValidateMessage(m.Object); err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, m.Object.Bytes())
				}
			}
			for _, who := range []string{"ann", "bob"} {
				if u := w.user(who); u.copy != nil && rnd.Intn(4) == 0 && roleOf(u.copy, calendar.NewAddressSet(u.addresses...)) == RoleAttendee {
					w.now = w.now.Add(time.Minute)
					answer := []string{"ACCEPTED", "TENTATIVE"}[rnd.Intn(2)]
					var id *calendar.DateTime
					if rnd.Intn(2) == 0 {
						d := calendar.DateTime{Wall: time.Date(2026, 3, 2+7*rnd.Intn(6), g.start, 0, 0, 0, time.UTC), Kind: calendar.Zoned, TZID: "Europe/Berlin"}
						id = &d
					}
					if o, err := Respond(u.copy, u.addresses, answer, id, RespondOptions{}); err == nil {
						if w.put(who, o, putOptions{}); w.err != nil {
							t.Fatalf("seed %d: %s: %v", seed, who, w.err)
						}
					}
				}
			}
			for _, who := range []string{"ann", "bob"} {
				a := w.user(who).addresses[0]
				want, got := view(Tailor(w.user("org").copy, a), a), view(w.user(who).copy, a)
				if want != got {
					t.Fatalf("seed %d: %s sees\n%s\nand should see\n%s\norganizer:\n%s\ncopy:\n%s", seed, who, got, want, normal(w.user("org").copy), normal(w.user(who).copy))
				}
			}
			if rnd.Intn(3) == 0 { // the messages since are planned again as one step
				far.now = w.now
				ann := far.user("ann")
				now := w.user("org").copy
				msgs, err := PlanRecipient(known, now, ann.addresses[0], MessageOptions{By: w.user("org").addresses, Now: w.now})
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range msgs {
					far.receive(ann, m.Object, m.Originator, true)
				}
				known = Tailor(now, ann.addresses[0])
				if known == nil {
					known = now // nothing lists her; the next step starts from there
				}
				// An answer outlives an update with the same time that asks
				// for it: some servers always ask. So answers do not count.
				want, got := plain(view(Tailor(now, ann.addresses[0]), ann.addresses[0])), plain(view(ann.copy, ann.addresses[0]))
				if want != got {
					t.Fatalf("seed %d: the far copy shows\n%s\nand should show\n%s\ncopy:\n%s", seed, got, want, normal(ann.copy))
				}
			}
			g.change()
		}
	}
}

// view lists what takes place for somebody in the weeks of the test.
func view(o *calendar.Object, who calendar.Address) string {
	s := read(o)
	var b strings.Builder
	if o == nil {
		return ""
	}
	for day := range 70 {
		for _, hour := range []int{9, 10, 11} {
			id := calendar.DateTime{Wall: time.Date(2026, 3, 2+day, hour, 0, 0, 0, time.UTC), Kind: calendar.Zoned, TZID: "Europe/Berlin"}
			c := s.effective(s.key(id), id)
			if c == nil || isCancelled(c) || isCancelled(s.master) && s.over[s.key(id)] == nil {
				continue
			}
			l := line(c, who.Key())
			if l == nil {
				continue
			}
			fmt.Fprintf(&b, "%s %s %s %s\n", id.Value(), s.timing(c), c.Text("SUMMARY"), partstat(l))
		}
	}
	return b.String()
}

// plain is a view without the answers.
func plain(view string) string {
	return strings.NewReplacer("NEEDS-ACTION", "", "ACCEPTED", "", "TENTATIVE", "").Replace(view)
}

// generator makes series with exceptions and changes them.
type generator struct {
	rnd          *rand.Rand
	start, count int
	title        int
	people       map[string]bool
	over         map[int]*instanceSpec
	out          map[int]bool
}

type instanceSpec struct {
	hour, title int
	people      map[string]bool
	cancelled   bool
}

func (g *generator) change() {
	week := g.rnd.Intn(g.count)
	who := []string{"ann", "bob"}[g.rnd.Intn(2)]
	switch g.rnd.Intn(9) {
	case 0:
		g.title++
	case 1:
		g.start = 9 + g.rnd.Intn(3)
		g.over, g.out = map[int]*instanceSpec{}, map[int]bool{}
	case 2:
		g.people = copyOf(g.people)
		g.people[who] = !g.people[who]
	case 3:
		g.out[week] = true
		delete(g.over, week)
	case 4:
		delete(g.out, week)
	case 5, 6:
		p := copyOf(g.people)
		p[who] = g.rnd.Intn(3) > 0
		g.over[week] = &instanceSpec{hour: 8 + g.rnd.Intn(9), title: g.rnd.Intn(3), people: p, cancelled: g.rnd.Intn(6) == 0}
		delete(g.out, week)
	case 7:
		delete(g.over, week)
	case 8:
		g.count = 4 + g.rnd.Intn(4)
	}
}

func copyOf(m map[string]bool) map[string]bool {
	n := map[string]bool{}
	for k, v := range m {
		n[k] = v
	}
	return n
}

func (g *generator) text() string {
	var b strings.Builder
	event := func(week, hour, title int, people map[string]bool, extra string) {
		fmt.Fprintf(&b, "BEGIN:VEVENT\nDTSTART;TZID=Europe/Berlin:%s\nDURATION:PT1H\nSUMMARY:T%d\n%sORGANIZER:mailto:org@example.com\nATTENDEE;PARTSTAT=ACCEPTED:mailto:org@example.com\n", g.day(week, hour), title, extra)
		for _, n := range []string{"ann", "bob"} {
			if people[n] {
				fmt.Fprintf(&b, "ATTENDEE:mailto:%s@example.com\n", n)
			}
		}
		b.WriteString("END:VEVENT\n")
	}
	extra := fmt.Sprintf("RRULE:FREQ=WEEKLY;COUNT=%d\n", g.count)
	for week := range 10 {
		if g.out[week] {
			extra += "EXDATE;TZID=Europe/Berlin:" + g.day(week, g.start) + "\n"
		}
	}
	event(0, g.start, g.title, g.people, extra)
	for week := range g.count {
		if i := g.over[week]; i != nil {
			extra := "RECURRENCE-ID;TZID=Europe/Berlin:" + g.day(week, g.start) + "\n"
			if i.cancelled {
				extra += "STATUS:CANCELLED\n"
			}
			event(week, i.hour, i.title, i.people, extra)
		}
	}
	return b.String()
}

func (g *generator) day(week, hour int) string {
	return time.Date(2026, 3, 2+7*week, hour, 0, 0, 0, time.UTC).Format("20060102T150405")
}
