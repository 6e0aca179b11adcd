package imip

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

// wholeWay is alice's account behind an intake: what it takes is applied to a
// database.
type wholeWay struct {
	*world
	db    *storage.DB
	s     *scheduling.Service
	alice storage.Account
	key   storage.ObjectKey
}

func newWholeWay(t *testing.T, e storagetest.Engine) *wholeWay {
	t.Helper()
	w := &wholeWay{world: newWorld(t), db: storagetest.Open(t, e)}
	var err error
	if w.alice, err = w.db.CreateAccount(t.Context(), storage.Account{Handle: "alice", Kind: storage.KindUser, Emails: []string{"alice@alpha.test"}}); err != nil {
		t.Fatal(err)
	}
	w.s = scheduling.New(w.db, nil, scheduling.Config{Rand: rand.Reader, Now: func() time.Time { return testNow }})
	c, err := w.db.CollectionByName(t.Context(), w.alice.ID, "calendar")
	if err != nil {
		t.Fatal(err)
	}
	w.key = storage.ObjectKey{CollectionKey: c.CollectionKey, Name: "meeting.ics"}
	w.in.Receiver = w.s
	w.in.Directory, w.in.Quarantine, w.in.Policies = Accounts{DB: w.db}, w, Accounts{DB: w.db}
	return w
}

// meeting is the event that shapes of answers are about.
func (w *wholeWay) meeting() {
	w.t.Helper()
	text := ics("", event("DTSTART;TZID=Europe/Berlin:20261123T100000", "DTEND;TZID=Europe/Berlin:20261123T113000", "SUMMARY:Board meeting", "LOCATION:Room 5", "CLASS:CONFIDENTIAL",
		"ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test", attendeeDave, "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:carl@mail.test")...)
	if _, err := w.s.Put(w.t.Context(), scheduling.Put{Actor: scheduling.Actor{Account: w.alice, By: w.alice}, Key: w.key, Data: []byte(text)}); err != nil {
		w.t.Fatal(err)
	}
}

// stored is alice's copy of a UID, nil when there is none.
func (w *wholeWay) stored(uid string) *calendar.Object {
	w.t.Helper()
	var list []storage.Object
	if err := w.db.View(w.t.Context(), func(ctx context.Context, tx *storage.Tx) (err error) {
		list, err = tx.ObjectsByUID(ctx, []storage.AccountID{w.alice.ID}, uid, storage.ColumnData)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	if len(list) == 0 {
		return nil
	}
	o, err := calendar.Parse([]byte(list[0].Data), calendar.DefaultLimits())
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// The answer that each program writes ends in the organizer's event: it changes
// what is said of the one who answers and nothing else, whatever title, place
// and times the program repeats in words and zones of its own.
func TestAnswersReachTheEvent(t *testing.T) {
	t.Parallel()
	shapes := map[string]string{"exchange-reply.eml": "ACCEPTED", "google-reply.eml": "TENTATIVE", "apple-reply.eml": "DECLINED", "thunderbird-reply.eml": "ACCEPTED", "proton-reply-lf.eml": "ACCEPTED",
		"bare.eml": "ACCEPTED", "latin1.eml": "ACCEPTED", "octet-stream.eml": "ACCEPTED", "ics-only.eml": "ACCEPTED", "method-param-only.eml": "ACCEPTED", "unlabelled-1252.eml": "ACCEPTED"}
	for _, e := range storagetest.Engines(t) {
		for name, want := range shapes {
			t.Run(string(e)+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWholeWay(t, e)
				w.meeting()
				before := w.stored("meeting-1@alpha.test").Master()
				wantCodes(t, w.deliver(w.dave(shape(t, name)), "alice@alpha.test"), 250)
				if len(w.held) != 0 {
					t.Fatalf("held %+v", w.held)
				}
				c := w.stored("meeting-1@alpha.test").Master()
				for i, p := range c.All("ATTENDEE") {
					partstat := before.All("ATTENDEE")[i].Param("PARTSTAT")
					if calendar.Address(p.Value()).Email() == "dave@mail.test" {
						partstat = want
					}
					if got := p.Param("PARTSTAT"); got != partstat {
						t.Errorf("PARTSTAT of %s is %s, want %s", p.Value(), got, partstat)
					}
				}
				for _, prop := range []string{"SUMMARY", "LOCATION", "DTSTART", "DTEND", "CLASS", "SEQUENCE", "ORGANIZER", "COMMENT"} {
					if c.Value(prop) != before.Value(prop) {
						t.Errorf("%s became %q, was %q", prop, c.Value(prop), before.Value(prop))
					}
				}
			})
		}
	}
}

// What each program invites to, changes and cancels ends in the recipient's
// calendar.
func TestInvitationsReachTheCalendar(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		for request, cancel := range map[string]string{"google-request.eml": "google-cancel.eml", "exchange-request.eml": "exchange-cancel.eml", "proton-request-lf.eml": "proton-cancel-lf.eml", "apple-request.eml": "", "thunderbird-request.eml": ""} {
			t.Run(string(e)+" "+request, func(t *testing.T) {
				t.Parallel()
				w := newWholeWay(t, e)
				m, err := Parse(shape(t, request), Limits{})
				if err != nil || m.Fault != nil {
					t.Fatal(err, m.Fault)
				}
				uid := m.Object.UID()
				for range 2 { // the second is a repeat
					wantCodes(t, w.deliver(w.dave(shape(t, request)), "alice@alpha.test"), 250)
				}
				o := w.stored(uid)
				if o == nil || len(w.held) != 0 {
					t.Fatalf("no copy; held %+v", w.held)
				}
				if c := o.Master(); o.Method() != "" || calendar.Address(c.Value("ORGANIZER")).Email() != "dave@mail.test" || c.Text("SUMMARY") != m.Object.Master().Text("SUMMARY") || c.Value("DTSTART") != m.Object.Master().Value("DTSTART") {
					t.Errorf("stored %s", o.Bytes())
				}
				for _, p := range o.Master().All("ATTENDEE") {
					if calendar.Address(p.Value()).Email() == "alice@alpha.test" && p.Param("PARTSTAT") != "NEEDS-ACTION" {
						t.Errorf("somebody answered for her: %s", p.Param("PARTSTAT"))
					}
				}
				if cancel == "" {
					return
				}
				// A cancellation that nothing vouches for changes nothing (A31).
				wantCodes(t, w.deliver(shape(t, cancel), "alice@alpha.test"), 250)
				if o := w.stored(uid); o == nil || strings.EqualFold(o.Master().Value("STATUS"), "CANCELLED") || len(w.held) != 1 {
					t.Errorf("an unsigned cancellation was applied; %d held", len(w.held))
				}
				wantCodes(t, w.deliver(w.dave(shape(t, cancel)), "alice@alpha.test"), 250)
				if o := w.stored(uid); o != nil && !strings.EqualFold(o.Master().Value("STATUS"), "CANCELLED") {
					t.Errorf("not cancelled: %s", o.Bytes())
				}
			})
		}
	}
}
