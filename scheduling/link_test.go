package scheduling_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage/storagetest"
)

const linkDave = calendar.Address("mailto:dave@mail.test")

func linkEvent(sequence, start, summary, extra string) string {
	return strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//t//EN\nBEGIN:VEVENT\nUID:party\nDTSTAMP:20260101T000000Z\nSEQUENCE:"+sequence+"\nDTSTART:"+start+"\nDURATION:PT1H\nSUMMARY:"+summary+
		"\nORGANIZER:mailto:user01@example.com\nATTENDEE;PARTSTAT=ACCEPTED:mailto:user01@example.com\n"+extra+"END:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")
}

const (
	withDave = "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:dave@mail.test\n"
	withCarl = "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:carl@mail.test\n"
)

// linkWorld has user01 with an event that dave was mailed about.
type linkWorld struct {
	*world
	t *testing.T
}

func newLinkWorld(t *testing.T, e storagetest.Engine) *linkWorld {
	w := newWorld(t, e, func(c *scheduling.Config) { c.LinkSecret = []byte(strings.Repeat("s", 32)); c.HoldDelete = -1 })
	return &linkWorld{w, t}
}

func (w *linkWorld) put(text string) {
	w.t.Helper()
	_, err := w.svc.Put(bg, scheduling.Put{Actor: w.actor("user01"), Key: w.key("user01", "calendar/party.ics"), Data: []byte(text)})
	w.must(err)
	w.work()
}

// link is the token in the last mail to somebody.
func (w *linkWorld) link(to calendar.Address) string {
	w.t.Helper()
	for i := len(w.net.got) - 1; i >= 0; i-- {
		if p := w.net.got[i]; p.to.Equal(to) && p.Method == "REQUEST" {
			token, err := w.svc.Link(bg, p.Parcel, to)
			w.must(err)
			return token
		}
	}
	w.t.Fatalf("no mail to %s", to)
	return ""
}

func (w *linkWorld) partstat(of string) string {
	w.t.Helper()
	o, err := calendar.Parse([]byte(w.rows("user01", "party")[0].Data), calendar.DefaultLimits())
	w.must(err)
	for _, p := range o.Components()[0].All("ATTENDEE") {
		if calendar.Address(p.Value()).Equal(calendar.Address(of)) {
			return p.Param("PARTSTAT") + " " + p.Param("SCHEDULE-STATUS")
		}
	}
	return "not there"
}

func (w *linkWorld) state(token string, want scheduling.LinkState) scheduling.LinkView {
	w.t.Helper()
	v, err := w.svc.ShowLink(bg, token)
	w.must(err)
	if v.State != want {
		w.t.Errorf("the link is in state %d, want %d", v.State, want)
	}
	return v
}

func engines(t *testing.T, test func(*testing.T, *linkWorld)) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			test(t, newLinkWorld(t, e))
		})
	}
}

// A29, A36, want 23: a token of 160 bits is guessed by nobody; showing changes nothing however often; answering works once, for
// the attendee, the event and the sequence that it was made for.
func TestLinkAnswersOnce(t *testing.T) {
	engines(t, func(t *testing.T, w *linkWorld) {
		w.put(linkEvent("0", "20261123T100000Z", "Party", withDave+withCarl))
		token := w.link(linkDave)
		if len(token) != 32 || token != w.link(linkDave) || token == w.link("mailto:carl@mail.test") {
			t.Errorf("token %q: the same mail has the same link, another person another", token)
		}
		for range 3 { // a scanner follows it
			v := w.state(strings.ToUpper(token), scheduling.LinkOpen)
			if v.Attendee != linkDave || v.Partstat != "NEEDS-ACTION" || v.Object.Master().Text("SUMMARY") != "Party" {
				t.Errorf("%+v", v)
			}
		}
		if got := w.partstat(string(linkDave)); got != "NEEDS-ACTION 1.2" {
			t.Errorf("looking made it %s", got)
		}
		// Pressed twice at the same time.
		var wg sync.WaitGroup
		var mu sync.Mutex
		nexts := map[string]int{}
		for _, answer := range []string{"ACCEPTED", "DECLINED", "ACCEPTED", "DECLINED"} {
			wg.Go(func() {
				_, next, err := w.svc.AnswerLink(bg, token, answer, "see you", "r")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				nexts[next]++
			})
		}
		wg.Wait()
		if nexts[""] != 3 || len(nexts) != 2 {
			t.Errorf("of four answers these went through: %v", nexts)
		}
		before := w.partstat(string(linkDave))
		if !strings.HasPrefix(before, "ACCEPTED 2.0") && !strings.HasPrefix(before, "DECLINED 2.0") {
			t.Errorf("the event says %s", before)
		}
		if got := w.partstat("mailto:carl@mail.test"); got != "NEEDS-ACTION 1.2" {
			t.Errorf("carl: %s", got)
		}
		w.state(token, scheduling.LinkUsed)
		// Who answered may change it, by the link of his answer's page.
		for next := range nexts {
			if next == "" {
				continue
			}
			w.state(next, scheduling.LinkOpen)
			_, third, err := w.svc.AnswerLink(bg, next, "TENTATIVE", "", "r")
			w.must(err)
			if got := w.partstat(string(linkDave)); got != "TENTATIVE 2.0" || third == "" {
				t.Errorf("changed to %s", got)
			}
			w.state(next, scheduling.LinkUsed)
		}
		// Nobody guesses, and what is not signed by us is no link.
		for _, bad := range []string{"", "x", token[:31], token[:31] + "!", strings.Repeat("a", 32), token + "a"} {
			if _, err := w.svc.ShowLink(bg, bad); !errors.Is(err, scheduling.ErrNoLink) {
				t.Errorf("%q: %v", bad, err)
			}
			if _, _, err := w.svc.AnswerLink(bg, bad, "ACCEPTED", "", "r"); !errors.Is(err, scheduling.ErrNoLink) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		other := scheduling.New(w.db, w.net, scheduling.Config{LinkSecret: []byte(strings.Repeat("o", 32))})
		if _, err := other.ShowLink(bg, token); !errors.Is(err, scheduling.ErrNoLink) {
			t.Errorf("a link signed by another secret: %v", err)
		}
	})
}

// A36: old links show what the event is now, and change nothing.
func TestOldLinks(t *testing.T) {
	engines(t, func(t *testing.T, w *linkWorld) {
		w.put(linkEvent("0", "20261123T100000Z", "Party", withDave))
		first := w.link(linkDave)
		w.put(linkEvent("0", "20261123T100000Z", "Party with cake", withDave)) // no reschedule
		w.put(linkEvent("1", "20261124T100000Z", "Party with cake", withDave))
		second := w.link(linkDave)
		v := w.state(first, scheduling.LinkStale)
		if v.Object.Master().Value("DTSTART") != "20261124T100000Z" {
			t.Errorf("an old link shows %s", v.Object.Master().Value("DTSTART"))
		}
		if v, next, err := w.svc.AnswerLink(bg, first, "ACCEPTED", "", "r"); err != nil || next != "" || v.State != scheduling.LinkStale {
			t.Errorf("answered by an old link: %v %v", v.State, err)
		}
		if got := w.partstat(string(linkDave)); !strings.HasPrefix(got, "NEEDS-ACTION") {
			t.Errorf("an old link made it %s", got)
		}
		w.state(second, scheduling.LinkOpen)
		// Not invited any more.
		w.put(linkEvent("2", "20261124T100000Z", "Party with cake", withCarl))
		w.state(second, scheduling.LinkGone)
		carl := w.link("mailto:carl@mail.test")
		w.state(carl, scheduling.LinkOpen)
		w.put(strings.Replace(linkEvent("3", "20261124T100000Z", "Party with cake", withCarl), "SUMMARY", "STATUS:CANCELLED\r\nSUMMARY", 1))
		w.state(carl, scheduling.LinkCancelled)
		// The event is over; a week later nothing is known of the link.
		w.put(linkEvent("4", "20261124T100000Z", "Party again", withCarl))
		carl = w.link("mailto:carl@mail.test")
		w.clock.Advance(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).Sub(w.clock.Now()))
		w.state(carl, scheduling.LinkOver)
		if _, next, err := w.svc.AnswerLink(bg, carl, "ACCEPTED", "", "r"); err != nil || next != "" {
			t.Errorf("answered after the end: %q %v", next, err)
		}
		w.clock.Advance(366 * 24 * time.Hour)
		if _, err := w.svc.ShowLink(bg, carl); !errors.Is(err, scheduling.ErrNoLink) {
			t.Errorf("after a year: %v", err)
		}
	})
}

// Want 5: who is invited to one date answers for that date, also when another
// date moves meanwhile and he is told nothing of it.
func TestLinkForOneDate(t *testing.T) {
	engines(t, func(t *testing.T, w *linkWorld) {
		series := func(sequence, moved, answer string) string {
			return strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//t//EN\nBEGIN:VEVENT\nUID:party\nDTSTAMP:20260101T000000Z\nSEQUENCE:"+sequence+"\nDTSTART:20261123T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=5\nSUMMARY:S\nORGANIZER:mailto:user01@example.com\n"+withCarl+"END:VEVENT\n"+
				"BEGIN:VEVENT\nUID:party\nDTSTAMP:20260101T000000Z\nSEQUENCE:"+sequence+"\nRECURRENCE-ID:20261124T100000Z\nDTSTART:20261124T100000Z\nDURATION:PT1H\nSUMMARY:S\nORGANIZER:mailto:user01@example.com\n"+withCarl+strings.Replace(withDave, "NEEDS-ACTION", answer, 1)+"END:VEVENT\n"+
				"BEGIN:VEVENT\nUID:party\nDTSTAMP:20260101T000000Z\nSEQUENCE:"+sequence+"\nRECURRENCE-ID:20261126T100000Z\nDTSTART:"+moved+"\nDURATION:PT1H\nSUMMARY:S\nORGANIZER:mailto:user01@example.com\n"+withCarl+"END:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")
		}
		w.put(series("0", "20261126T100000Z", "NEEDS-ACTION"))
		token := w.link(linkDave)
		mails := len(w.net.got)
		w.put(series("1", "20261126T150000Z", "NEEDS-ACTION"))
		for _, p := range w.net.got[mails:] {
			if p.to.Equal(linkDave) {
				t.Error("dave was told of a date that is not his")
			}
		}
		v := w.state(token, scheduling.LinkOpen)
		if len(v.Instances) != 1 || v.Object.Master() != nil {
			t.Errorf("%+v", v)
		}
		_, _, err := w.svc.AnswerLink(bg, token, "DECLINED", "", "r")
		w.must(err)
		o, err := calendar.Parse([]byte(w.rows("user01", "party")[0].Data), calendar.DefaultLimits())
		w.must(err)
		for _, c := range o.Components() {
			for _, p := range c.All("ATTENDEE") {
				want := "NEEDS-ACTION"
				if calendar.Address(p.Value()).Equal(linkDave) {
					want = "DECLINED"
				}
				if got := p.Param("PARTSTAT"); got != want {
					t.Errorf("%s of %s: %s", p.Value(), c.Value("RECURRENCE-ID"), got)
				}
			}
		}
	})
}
