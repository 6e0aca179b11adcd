package imip

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// Want 24: everybody who is proven, people one has met with, nobody; a blocked
// sender is dropped in each, also when nothing proves him.
func TestAdmit(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			db := storagetest.Open(t, e)
			p := Accounts{DB: db}
			a, err := db.CreateAccount(t.Context(), storage.Account{Handle: "alice", Emails: []string{"alice@alpha.test"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.CreateAccount(t.Context(), storage.Account{Handle: "bob", Emails: []string{"bob@alpha.test"}}); err != nil {
				t.Fatal(err)
			}
			s := scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader})
			c, err := db.CollectionByName(t.Context(), a.ID, "calendar")
			if err != nil {
				t.Fatal(err)
			}
			// Sam's address stands across a folded line; "sam@far.test" is also the
			// end of another address that she never met.
			text := strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//t//EN\nBEGIN:VEVENT\nUID:u\nDTSTAMP:20261101T000000Z\nDTSTART:20261124T180000Z\nSUMMARY:x\nORGANIZER:mailto:alice@alpha.test\nATTENDEE:mailto:alice@alpha.test\nATTENDEE:MAILTO:Sa\n m@Far.test\nATTENDEE:mailto:not-carl@far.test\nEND:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")
			if _, err := s.Put(t.Context(), scheduling.Put{Actor: scheduling.Actor{Account: a, By: a}, Key: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: "u.ics"}, Data: []byte(text), NoScheduling: true}); err != nil {
				t.Fatal(err)
			}
			if err := db.BlockSender(t.Context(), a.ID, "mailto:spam@far.test"); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				intake, from, method string
				proven               bool
				want                 Admission
			}{
				{"", "mailto:stranger@far.test", "REQUEST", true, Admit},
				{"everybody", "mailto:stranger@far.test", "REQUEST", true, Admit},
				{"known", "mailto:stranger@far.test", "REQUEST", true, Hold},
				{"known", "mailto:stranger@far.test", "REPLY", true, Admit},
				{"known", "mailto:sam@far.test", "REQUEST", true, Admit},
				{"known", "mailto:carl@far.test", "REQUEST", true, Hold},
				{"known", "mailto:bob@alpha.test", "REQUEST", true, Admit},
				{"nobody", "mailto:sam@far.test", "REQUEST", true, Hold},
				{"nobody", "mailto:sam@far.test", "REPLY", true, Admit},
				{"nobody", "mailto:spam@far.test", "REPLY", true, Drop},
				{"everybody", "mailto:Spam@Far.test", "REQUEST", false, Drop},
				{"nobody", "mailto:sam@far.test", "REQUEST", false, Admit}, // held as unproven
			} {
				set := a.Settings
				set.MailIntake = c.intake
				if a, err = db.UpdateAccount(t.Context(), a.ID, storage.AccountChange{Settings: &set}); err != nil {
					t.Fatal(err)
				}
				got, err := p.Admit(t.Context(), "mailto:alice@alpha.test", calendar.Address(c.from), c.method, c.proven)
				if err != nil || got != c.want {
					t.Errorf("%+v: %d %v", c, got, err)
				}
			}
			// The same mail twice is held once; bytes that are no text do no harm.
			h := Held{Recipient: "mailto:alice@alpha.test", From: "mailto:x@far.test", Reason: ReasonText, Subject: "s", Text: "t", MessageID: "1@far.test", At: time.Now()}
			for range 2 {
				if err := p.Keep(t.Context(), h); err != nil {
					t.Fatal(err)
				}
			}
			h.MessageID, h.Text = "2@far.test", "a\x00b\xff"
			if err := p.Keep(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			if list, err := db.ListQuarantine(t.Context(), a.ID, 10); err != nil || len(list) != 2 {
				t.Errorf("%d held: %v", len(list), err)
			}
		})
	}
}

// A bounce that comes before it is noted that the mail was sent waits for that,
// and is recorded then.
func TestEarlyBounce(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			db := storagetest.Open(t, e)
			a, err := db.CreateAccount(t.Context(), storage.Account{Handle: "alice", Kind: storage.KindUser, Emails: []string{"alice@alpha.test"}})
			if err != nil {
				t.Fatal(err)
			}
			s := scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader})
			m := []storage.Message{{Account: a.ID, ID: db.NewID(), UID: "u", Method: "REQUEST", Component: "VEVENT", Originator: "mailto:alice@alpha.test", Body: "x"}}
			mails := []storage.Delivery{{Account: a.ID, MessageID: m[0].ID, UID: "u", Recipient: "mailto:nobody@far.test", RecipientKey: "mailto:nobody@far.test", Domain: "far.test", Status: "1.0"}}
			if err := db.Tx(t.Context(), func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, m, mails) }); err != nil {
				t.Fatal(err)
			}
			claimed, err := db.Claim(t.Context(), "node", time.Now(), time.Minute, 10, 0)
			if err != nil || len(claimed) != 1 {
				t.Fatalf("claimed %d, %v", len(claimed), err)
			}
			d := claimed[0].Delivery
			bind := Binding{Account: a.ID, UID: "u", Attendee: "mailto:nobody@far.test"}
			id := DeliveryID(d.WireID, calendar.Address(d.Recipient), "alpha.test")
			b := Returns{db, s}
			if err := b.record(t.Context(), bind, id, BounceStatus{Status: "5.1.1"}); err != errStillSent {
				t.Fatalf("while it is being sent: %v", err)
			}
			// What others were sent since, however many they are, hides nothing.
			var others []storage.Delivery
			for i := range 1200 {
				x := mails[0]
				x.ID, x.Recipient = 0, fmt.Sprintf("mailto:p%d@far.test", i)
				x.RecipientKey = x.Recipient
				others = append(others, x)
			}
			if err := db.Tx(t.Context(), func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, nil, others) }); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- b.Bounced(t.Context(), bind, id, BounceStatus{Status: "5.1.1"}) }()
			time.Sleep(2 * bouncePause)
			d.State, d.Transport, d.Status = storage.DeliveryDone, "mail", "1.1"
			if n, err := db.Finish(t.Context(), []storage.Delivery{d}); err != nil || n != 1 {
				t.Fatalf("finished %d, %v", n, err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			list, err := db.DeliveriesTo(t.Context(), a.ID, "u", d.RecipientKey)
			if err != nil || len(list) != 1 || list[0].State != storage.DeliveryFailed || list[0].Status != "5.1" {
				t.Errorf("the delivery is %+v, %v", list, err)
			}
		})
	}
}
