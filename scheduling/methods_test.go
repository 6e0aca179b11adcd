package scheduling_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage/storagetest"
)

// TestMethods holds what each iTIP method does (RFC 5546 §3.2, §3.4; RFC 6047), by
// component and by the side that it comes from, to the table in
// testdata/methods.txt: the status for the sender, what the recipient's calendar
// says before and after, his inbox, and what goes back. With
// KALENDS_SCENARIO_UPDATE=1 the table is written anew, to be read over.
func TestMethods(t *testing.T) {
	t.Parallel()
	const file = "testdata/methods.txt"
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			b.WriteString("component method side | status | before -> after | inbox | sent back\n")
			for _, component := range []string{"VEVENT", "VTODO"} {
				for _, method := range []string{"PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"} {
					for _, side := range []string{"local", "ischedule", "mail"} {
						b.WriteString(methodRow(t, e, component, method, side) + "\n")
					}
				}
			}
			got := b.String()
			if os.Getenv("KALENDS_SCENARIO_UPDATE") != "" {
				if err := os.WriteFile(filepath.FromSlash(file), []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// methodRow lets user02 get one message from somebody: as an attendee of his event,
// or as the organizer of one that the other attends.
func methodRow(t *testing.T, e storagetest.Engine, component, method, side string) string {
	t.Helper()
	w := newWorld(t, e, func(c *scheduling.Config) { c.HoldDelete = -1 })
	other := calendar.Address("mailto:carol@other.test")
	if side == "local" {
		other = "mailto:user03@example.com"
	}
	const me = calendar.Address("mailto:user02@example.com")
	organizer, attendee, home := other, me, "calendar/a.ics"
	answers := method == "REPLY" || method == "REFRESH" || method == "COUNTER"
	if answers {
		organizer, attendee = me, other
	}
	end := "DTEND"
	if component == "VTODO" {
		end, home = "DUE", "tasks/a.ics"
	}
	// text is an object of one component: more stands before the people's lines.
	text := func(method, start, till, partstat string, more ...string) *calendar.Object {
		t.Helper()
		head := ""
		if method != "" {
			head = "METHOD:" + method + "\n"
		}
		lines := append([]string{"BEGIN:" + component, "SUMMARY:Talk", "DTSTART:" + start, end + ":" + till}, more...)
		lines = append(lines, "ORGANIZER:"+string(organizer))
		if !answers || method == "" {
			lines = append(lines, "ATTENDEE;PARTSTAT=ACCEPTED:"+string(organizer))
		}
		if method != "PUBLISH" {
			lines = append(lines, "ATTENDEE;PARTSTAT="+partstat+":"+string(attendee))
		}
		o, err := short(head+strings.Join(append(lines, "END:"+component), "\n"), w.clock.Now())
		w.must(err)
		return o
	}
	const rule = "RRULE:FREQ=DAILY;COUNT=2"
	state := func() string {
		row := w.row("user02", "1")
		if row == nil {
			return "nothing"
		}
		var out []string
		for _, c := range w.parse(row.Data).Components() {
			s := strings.TrimSuffix(strings.TrimPrefix(c.Value("DTSTART"), "202703"), "0000Z")
			if c.Prop("RECURRENCE-ID") != nil {
				s = "instance " + s
			}
			for _, p := range c.All("ATTENDEE") {
				if calendar.Address(p.Value()).Equal(attendee) {
					if v := p.Param("PARTSTAT"); v != "" {
						s += " " + v
					} else {
						s += " NEEDS-ACTION"
					}
				}
			}
			if v := c.Value("STATUS"); v != "" {
				s += " STATUS:" + v
			}
			out = append(out, s)
		}
		return strings.Join(out, ", ")
	}
	receive := func(m *calendar.Object) string {
		t.Helper()
		from := organizer
		if answers {
			from = attendee
		}
		in := scheduling.Inbound{Via: side, Originator: from, Recipients: []calendar.Address{me}, Message: m, RequestID: "test"}
		if side != "local" {
			in.Proof.Domain = from.Domain()
		}
		res, err := w.svc.Receive(bg, in)
		if err != nil {
			return "refused: " + err.Error()
		}
		return res[0].Status
	}
	// What is there before: an event of his own, or an invitation.
	switch {
	case answers:
		_, err := w.svc.Put(bg, scheduling.Put{Actor: w.actor("user02"), Key: w.key("user02", home), Data: text("", "20270301T100000Z", "20270301T110000Z", "NEEDS-ACTION", rule).Bytes()})
		w.must(err)
	case method != "PUBLISH" && method != "REQUEST":
		if st := receive(text("REQUEST", "20270301T100000Z", "20270301T110000Z", "NEEDS-ACTION", rule)); st != "2.0;Success" {
			t.Fatalf("%s %s %s: the invitation: %s", component, method, side, st)
		}
	}
	w.work()
	w.net.take(other)
	items, theirs := len(w.inbox("user02")), 0
	if side == "local" {
		theirs = len(w.inbox("user03"))
	}
	before := state()
	var m *calendar.Object
	switch method {
	case "ADD":
		m = text(method, "20270309T100000Z", "20270309T110000Z", "NEEDS-ACTION", "SEQUENCE:1")
	case "CANCEL":
		m = text(method, "20270301T100000Z", "20270301T110000Z", "NEEDS-ACTION", "SEQUENCE:1", "STATUS:CANCELLED")
	case "COUNTER":
		m = text(method, "20270301T120000Z", "20270301T130000Z", "TENTATIVE", rule)
	case "REPLY":
		m = text(method, "20270301T100000Z", "20270301T110000Z", "ACCEPTED")
	default:
		m = text(method, "20270301T100000Z", "20270301T110000Z", "NEEDS-ACTION", rule)
	}
	status := receive(m)
	w.work()
	var inbox, back []string
	for _, o := range w.inbox("user02")[items:] {
		inbox = append(inbox, w.parse(o.Data).Method())
	}
	for _, p := range w.net.take(other) {
		back = append(back, p.Method)
	}
	if side == "local" {
		for _, o := range w.inbox("user03")[theirs:] {
			back = append(back, w.parse(o.Data).Method())
		}
	}
	list := func(s []string) string {
		if len(s) == 0 {
			return "-"
		}
		return strings.Join(s, " ")
	}
	return fmt.Sprintf("%s %s %s | %s | %s -> %s | %s | %s", component, method, side, status, before, state(), list(inbox), list(back))
}
