package scheduling_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// TestTogether: two people who invite each other to the same events, a room
// both book, answers, and a calendar that is deleted beside them, for some
// seconds on two nodes. Nobody sees an error that is not his own doing, the
// room is never booked twice, and in the end everybody's copy says what the
// organizer's object says.
func TestTogether(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e, func(c *scheduling.Config) { c.Now = nil; c.HoldDelete = -1 })
			w.db = storagetest.Second(t, w.db) // with the real clock
			other := storagetest.Second(t, w.db)
			w.svc = scheduling.New(w.db, w.net, scheduling.Config{Node: "one", HoldDelete: -1, RefreshDelay: time.Millisecond, Rand: &chance{}})
			second := scheduling.New(other, w.net, scheduling.Config{Node: "two", HoldDelete: -1, RefreshDelay: time.Millisecond, Rand: &chance{n: 1 << 32}})
			_, _, err := w.db.ImportAccounts(bg, []storage.AccountSpec{{Handle: "room", Kind: storage.KindRoom, Emails: []string{"room@example.com"}}})
			w.must(err)
			_, err = w.db.UpdateAccount(bg, w.account("room").ID, storage.AccountChange{Settings: &storage.Settings{AutoAccept: scheduling.AutoAutomatic}})
			w.must(err)

			ctx, stop := context.WithTimeout(bg, 4*time.Second)
			defer stop()
			working, rest := context.WithCancel(bg)
			var workers, people sync.WaitGroup
			for _, s := range []*scheduling.Service{w.svc, second} {
				workers.Go(func() { s.Run(working) })
			}
			var changes, answers, deleted atomic.Int64
			person := func(n uint64, fn func(s *scheduling.Service, r *rand.Rand) error) {
				people.Go(func() {
					r := rand.New(rand.NewPCG(n, 7))
					s := []*scheduling.Service{w.svc, second}[n%2]
					for ctx.Err() == nil {
						if err := fn(s, r); err != nil && !expected(err) {
							t.Errorf("person %d: %v", n, err)
							return
						}
					}
				})
			}
			for i, pair := range [][2]string{{"user01", "user02"}, {"user02", "user01"}} {
				me, friend := w.actor(pair[0]), pair[1]
				key := w.key(pair[0], "calendar/x")
				person(uint64(i), func(s *scheduling.Service, r *rand.Rand) error {
					n := r.IntN(5)
					key.Name = fmt.Sprint(n, ".ics")
					uid := fmt.Sprint(pair[0], "-", n)
					changes.Add(1)
					if r.IntN(10) == 0 {
						return s.Delete(bg, scheduling.Delete{Actor: me, Key: key})
					}
					_, err := s.Put(bg, scheduling.Put{Actor: me, Key: key, Data: meeting(uid, pair[0], r.IntN(6), friend, "user03", "room")})
					return err
				})
				person(uint64(i+2), func(s *scheduling.Service, r *rand.Rand) error { // answers
					answers.Add(1)
					return answerOne(s, w, pair[0], fmt.Sprint(friend, "-", r.IntN(5)), r)
				})
			}
			third := w.actor("user03")
			person(9, func(s *scheduling.Service, r *rand.Rand) error { // moves what he gets into a calendar and deletes that
				name := fmt.Sprint("temp", deleted.Add(1))
				c, err := w.db.CreateCollection(bg, storage.Collection{CollectionKey: storage.CollectionKey{Account: third.Account.ID}, Kind: storage.CollectionCalendar, Name: name, Components: storage.CompEvent}, nil)
				if err != nil {
					return err
				}
				for n := range 5 {
					for _, from := range []string{"user01", "user02"} {
						if row := w.row("user03", fmt.Sprint(from, "-", n)); row != nil {
							_, err := s.Move(bg, scheduling.Move{Actor: third, From: row.ObjectKey, To: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: row.Name}})
							if err != nil && !expected(err) {
								return err
							}
						}
					}
				}
				time.Sleep(20 * time.Millisecond)
				return s.DeleteCollection(bg, third, c.CollectionKey, false, "test")
			})
			people.Wait()
			settle(t, w)
			rest()
			workers.Wait()
			agree(t, w)
			t.Logf("%d changes, %d answers, %d calendars deleted", changes.Load(), answers.Load(), deleted.Load())
			if changes.Load() < 10 || answers.Load() < 10 {
				t.Error("too little happened to say anything")
			}
		})
	}
}

// expected are refusals that a person's own timing causes.
func expected(err error) bool {
	var e *scheduling.Error
	var i *itip.Error
	return errors.As(err, &e) || errors.As(err, &i)
}

func meeting(uid, organizer string, slot int, people ...string) []byte {
	text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Client//EN\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20261121T120000Z\r\n" +
		fmt.Sprintf("DTSTART:20300301T%02d0000Z\r\nDURATION:PT1H\r\nSUMMARY:%s\r\n", 8+slot, uid) +
		"ORGANIZER:mailto:" + organizer + "@example.com\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:" + organizer + "@example.com\r\n"
	for _, p := range people {
		text += "ATTENDEE;RSVP=TRUE;PARTSTAT=NEEDS-ACTION:mailto:" + p + "@example.com\r\n"
	}
	return []byte(text + "END:VEVENT\r\nEND:VCALENDAR\r\n")
}

func answerOne(s *scheduling.Service, w *world, who, uid string, r *rand.Rand) error {
	row := w.row(who, uid)
	if row == nil {
		time.Sleep(time.Millisecond)
		return nil
	}
	next, err := itip.Respond(w.parse(row.Data), scheduling.AddressesOf(w.account(who)), []string{"ACCEPTED", "DECLINED", "TENTATIVE"}[r.IntN(3)], nil, itip.RespondOptions{})
	if err != nil {
		return err
	}
	_, err = s.Put(bg, scheduling.Put{Actor: w.actor(who), Key: row.ObjectKey, Data: next.Bytes(), IfMatch: []string{row.ETag}})
	return err
}

// settle waits until the queues are empty.
func settle(t *testing.T, w *world) {
	t.Helper()
	for range 600 {
		due, err := w.db.NextDue(bg)
		w.must(err)
		if due.IsZero() {
			return
		}
		w.svc.Wake()
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the queues do not become empty")
}

// agree compares every attendee's copy with the organizer's object, and looks
// for two accepted events of the room at one time.
func agree(t *testing.T, w *world) {
	t.Helper()
	booked := map[string]string{}
	for _, organizer := range []string{"user01", "user02"} {
		for n := range 5 {
			uid := fmt.Sprint(organizer, "-", n)
			mine := w.row(organizer, uid)
			for _, p := range []string{"user01", "user02", "user03", "room"} {
				if p == organizer {
					continue
				}
				theirs := w.row(p, uid)
				switch {
				case mine == nil && theirs != nil:
					if st := w.parse(theirs.Data).Master().Value("STATUS"); st != "CANCELLED" {
						t.Errorf("%s of %s is gone and not cancelled for %s", uid, organizer, p)
					}
				case mine != nil && theirs != nil:
					a, b := w.parse(mine.Data).Master(), w.parse(theirs.Data).Master()
					for _, name := range []string{"DTSTART", "SUMMARY", "STATUS"} {
						if a.Value(name) != b.Value(name) {
							t.Errorf("%s: %s is %q for %s and %q for %s", uid, name, a.Value(name), organizer, b.Value(name), p)
						}
					}
					sa, sb := partstats(a), partstats(b)
					for who, st := range sa {
						if sb[who] != st {
							t.Errorf("%s: %s is %s for %s and %s for %s", uid, who, st, organizer, sb[who], p)
						}
					}
				case mine != nil && p == "room":
					t.Errorf("the room does not have %s", uid)
				}
				if p == "room" && theirs != nil {
					c := w.parse(theirs.Data).Master()
					if partstats(c)["mailto:room@example.com"] == "ACCEPTED" && c.Value("STATUS") != "CANCELLED" {
						if was := booked[c.Value("DTSTART")]; was != "" {
							t.Errorf("the room is booked at %s by %s and %s", c.Value("DTSTART"), was, uid)
						}
						booked[c.Value("DTSTART")] = uid
					}
				}
			}
		}
	}
	if len(booked) == 0 {
		t.Error("the room was never booked")
	}
}

func partstats(c *calendar.Component) map[string]string {
	out := map[string]string{}
	for _, p := range c.All("ATTENDEE") {
		out[calendar.Address(p.Value()).Key()] = cmp.Or(p.Param("PARTSTAT"), "NEEDS-ACTION")
	}
	return out
}
