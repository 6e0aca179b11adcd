package scheduling_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// ischedule.md §5, abuse A45: another domain sees busy time from now to 62 days
// ahead, whatever it asks for; nothing of the past and nothing later. Who is asked
// about can see who asked; a question that was not answered is not told.
func TestOtherDomainsSeeAWindow(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
			db := storagetest.Open(t, e)
			s := scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader, Now: func() time.Time { return now }, Node: "test"})
			a, err := db.CreateAccount(ctx, storage.Account{Handle: "bob", Kind: storage.KindUser, Emails: []string{"bob@example.com"}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := db.CollectionByName(ctx, a.ID, "calendar")
			if err != nil {
				t.Fatal(err)
			}
			for name, day := range map[string]string{"past": "20261101", "soon": "20261201", "late": "20270301"} {
				text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nBEGIN:VEVENT\r\nUID:" + name + "\r\nDTSTAMP:20261101T000000Z\r\nDTSTART:" + day + "T100000Z\r\nDURATION:PT1H\r\nSTATUS:TENTATIVE\r\nSUMMARY:Secret\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
				if _, err := s.Put(ctx, scheduling.Put{Actor: scheduling.Actor{Account: a, By: a}, Key: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: name + ".ics"}, Data: []byte(text)}); err != nil {
					t.Fatal(err)
				}
			}
			q, err := calendar.Parse([]byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:q\r\nDTSTAMP:20261121T120000Z\r\nDTSTART:20261025T000000Z\r\nDTEND:20270401T000000Z\r\nORGANIZER:mailto:x@other.test\r\nATTENDEE:mailto:bob@example.com\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"), calendar.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			res, err := s.AnswerFreeBusy(ctx, scheduling.Inbound{Via: "ischedule", Originator: "mailto:x@other.test", Recipients: []calendar.Address{"mailto:bob@example.com"}, Message: q})
			if err != nil || len(res) != 1 {
				t.Fatalf("%v, %v", res, err)
			}
			if list, err := db.BusyQuestions(ctx, a.ID, 10); err != nil || len(list) != 1 || list[0].Domain != "other.test" || list[0].Asker != "x@other.test" || list[0].Questions != 1 {
				t.Errorf("bob may see who asked: %+v, %v", list, err)
			}
			text := string(res[0].Calendar)
			for part, want := range map[string]bool{"20261201T100000Z/": true, "20261101T100000Z/": false, "20270301T100000Z/": false, "Secret": false, "TENTATIVE": false, "DTEND:20270401T000000Z": true} {
				if strings.Contains(text, part) != want {
					t.Errorf("the answer has %q: %v\n%s", part, !want, text)
				}
			}
			hide := a.Settings
			hide.HideFreeBusy = true
			if _, err := db.UpdateAccount(ctx, a.ID, storage.AccountChange{Settings: &hide}); err != nil {
				t.Fatal(err)
			}
			if res, err = s.AnswerFreeBusy(ctx, scheduling.Inbound{Via: "ischedule", Originator: "mailto:y@third.test", Recipients: []calendar.Address{"mailto:bob@example.com"}, Message: q}); err != nil || res[0].Calendar != nil {
				t.Errorf("%+v, %v", res, err)
			}
			if list, err := db.BusyQuestions(ctx, a.ID, 10); err != nil || len(list) != 1 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// An answer does not wait until a database that cannot write takes the note of who
// asked. (On SQLite one transaction keeps all others from writing.)
func TestAnswersWithoutNote(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := storagetest.OpenWith(t, storagetest.SQLite, storage.Options{PoolWait: time.Hour})
	s := scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader, Now: time.Now, Node: "test"})
	a, err := db.CreateAccount(ctx, storage.Account{Handle: "bob", Kind: storage.KindUser, Emails: []string{"bob@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now().UTC().Add(time.Hour)
	q, err := calendar.Parse([]byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:q\r\nDTSTAMP:20261121T120000Z\r\nDTSTART:"+from.Format("20060102T150405Z")+"\r\nDTEND:"+from.Add(24*time.Hour).Format("20060102T150405Z")+"\r\nORGANIZER:mailto:x@other.test\r\nATTENDEE:mailto:bob@example.com\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"), calendar.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	held, release, done := make(chan bool), make(chan bool), make(chan error)
	go func() {
		done <- db.Tx(ctx, func(context.Context, *storage.Tx) error {
			close(held)
			<-release
			return nil
		})
	}()
	<-held
	answered := make(chan string, 1)
	go func() {
		res, err := s.AnswerFreeBusy(ctx, scheduling.Inbound{Via: "ischedule", Originator: "mailto:x@other.test", Recipients: []calendar.Address{"mailto:bob@example.com"}, Message: q})
		if err != nil || len(res) != 1 {
			answered <- err.Error()
			return
		}
		answered <- string(res[0].Calendar)
	}()
	select {
	case text := <-answered:
		if !strings.Contains(text, "METHOD:REPLY") {
			t.Errorf("answered %q", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("no answer while another transaction writes")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if list, err := db.BusyQuestions(ctx, a.ID, 10); err != nil || len(list) != 0 {
		t.Errorf("noted: %+v, %v", list, err)
	}
}
