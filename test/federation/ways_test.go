package federation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/test/blackbox"
)

// TestThreeWays is clients.md 6 step 6: somebody here, somebody of another
// organization and somebody who has mail only are invited together, the meeting moves and
// one instance is called off. Whoever it is, by whichever way, gets one message for each.
// On the organizer's own server the CANCEL of an instance has the series without it
// beside it in the inbox, as calendar programs know it from other servers.
func TestThreeWays(t *testing.T) {
	s := newScene(t)
	s.alpha.People("bob")
	bob := s.alpha.User("bob")
	const uid, dave = "ways", "mailto:dave@mail.test"
	path := s.alice.Path(uid + ".ics")
	e := blackbox.Event{UID: uid, Start: monday, Rule: "FREQ=WEEKLY;COUNT=4", Organizer: s.alice.Address, Attendees: []string{bob.Address, s.carol.Address, dave}}
	if err := s.alice.MustPut(path, e.String()); err != nil {
		t.Fatal(err)
	}
	// heard waits until each of the three has had what is said, in any order, and
	// then for a message too many.
	heard := func(bobs, others string) {
		t.Helper()
		wants := map[string]string{"bob": bobs, "carol": others, "dave": others}
		var got map[string]string
		read := func() error {
			all := map[string][]string{}
			for _, u := range []*blackbox.User{bob, s.carol} {
				items, err := u.List("inbox", uid)
				if err != nil {
					return err
				}
				for _, f := range items {
					all[u.Name] = append(all[u.Name], f.Object.Method())
				}
			}
			for _, m := range s.mail.Mails() {
				if m.Calendar == nil || len(m.To) != 1 || "mailto:"+m.To[0] != dave {
					t.Fatalf("a mail to %v", m.To)
				}
				all["dave"] = append(all["dave"], m.Calendar.Method())
			}
			got = map[string]string{}
			for name, list := range all {
				slices.Sort(list)
				got[name] = strings.Join(list, " ")
			}
			if !maps.Equal(got, wants) {
				return fmt.Errorf("messages %v, want %v", got, wants)
			}
			return nil
		}
		blackbox.Must(t, patience, read)
		if err := s.alpha.Drained(patience); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		if err := read(); err != nil {
			t.Error(err)
		}
	}
	heard("REQUEST", "REQUEST")
	for _, u := range []*blackbox.User{bob, s.carol} {
		if err := u.Answer(uid, "ACCEPTED"); err != nil {
			t.Fatal(err)
		}
	}
	s.has(s.alice, uid, func(o *calendar.Object) error {
		for _, a := range []string{bob.Address, s.carol.Address} {
			if p, st := blackbox.Attendee(o, a); p != "ACCEPTED" || !strings.HasPrefix(st, "2.0") {
				return fmt.Errorf("%s: %s %s", a, p, st)
			}
		}
		return nil
	})
	heard("REQUEST", "REQUEST") // others' answers are no message

	change := func(f func(o *calendar.Object)) {
		t.Helper()
		found, err := s.alice.Copy(uid)
		if err != nil || found == nil {
			t.Fatal(found, err)
		}
		f(found.Object)
		if err := s.alice.MustPut(found.Href, string(found.Object.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	const utc = "20060102T150405Z"
	change(func(o *calendar.Object) {
		o.Master().SetValue("DTSTART", monday.Add(time.Hour).Format(utc))
		o.Master().SetValue("DTEND", monday.Add(2*time.Hour).Format(utc))
	})
	heard("REQUEST REQUEST", "REQUEST REQUEST")
	change(func(o *calendar.Object) {
		o.Master().Add(calendar.NewProperty("EXDATE", monday.AddDate(0, 0, 7).Add(time.Hour).Format(utc)))
	})
	heard("CANCEL REQUEST REQUEST REQUEST", "CANCEL REQUEST REQUEST")
	for _, u := range []*blackbox.User{bob, s.carol} {
		s.has(u, uid, func(o *calendar.Object) error {
			n := 0
			for in, err := range o.Instances(calendar.NewZones(o, time.UTC), monday.AddDate(0, 0, -1), monday.AddDate(0, 0, 60), calendar.NewBudget()) {
				if err != nil {
					return err
				}
				if in.Component.Value("STATUS") != "CANCELLED" {
					n++
				}
			}
			if n != 3 {
				return errors.New(u.Name + " does not have three meetings")
			}
			return nil
		})
	}
}
