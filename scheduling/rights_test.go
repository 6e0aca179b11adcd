package scheduling_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// A25: what is queued is decided again when its turn comes. Who has been disabled
// meanwhile gets no copy of a meeting and no reminder, and the organizer learns it.
func TestRightsAtExecution(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e, func(c *scheduling.Config) { c.LocalThreshold = 1 }) // two attendees wait for the worker
			disable := func(name string) {
				t.Helper()
				off := true
				_, err := w.db.UpdateAccount(bg, w.account(name).ID, storage.AccountChange{Disabled: &off})
				w.must(err)
			}
			put := func(name, uid, more string) {
				t.Helper()
				data := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20261121T130000Z\r\nSUMMARY:Tea\r\n" + more + "END:VEVENT\r\nEND:VCALENDAR\r\n"
				_, err := w.svc.Put(bg, scheduling.Put{Actor: w.actor(name), Key: w.key(name, "calendar/"+uid+".ics"), Data: []byte(data)})
				w.must(err)
			}
			people := "ORGANIZER:mailto:user01@example.com\r\n"
			for i := 1; i <= 3; i++ {
				people += fmt.Sprintf("ATTENDEE:mailto:user%02d@example.com\r\n", i)
			}
			put("user01", "meeting", people)
			if w.row("user02", "meeting") != nil || w.row("user03", "meeting") != nil {
				t.Fatal("the copies are there before the worker ran")
			}
			disable("user02")
			w.work()
			if w.row("user02", "meeting") != nil || len(w.inbox("user02")) != 0 {
				t.Error("a disabled account was served")
			}
			if w.row("user03", "meeting") == nil {
				t.Error("the other one was not")
			}
			status := map[string]string{}
			for _, p := range w.parse(w.row("user01", "meeting").Data).Master().All("ATTENDEE") {
				status[strings.TrimPrefix(p.Value(), "mailto:")] = p.Param("SCHEDULE-STATUS")
			}
			if status["user02@example.com"] != "5.3" || status["user03@example.com"] != "1.2" {
				t.Errorf("the organizer sees %v", status)
			}

			const alarm = "BEGIN:VALARM\r\nACTION:EMAIL\r\nTRIGGER:-PT15M\r\nSUMMARY:Tea\r\nDESCRIPTION:x\r\nEND:VALARM\r\n"
			put("user04", "reminder4", alarm)
			put("user05", "reminder5", alarm)
			disable("user04")
			w.clock.Advance(2 * time.Hour)
			_, err := w.svc.StepAlarms(bg)
			w.must(err)
			w.work()
			if got := w.net.take(address("user04")); len(got) != 0 {
				t.Errorf("a disabled account is reminded: %d mails", len(got))
			}
			if got := w.net.take(address("user05")); len(got) != 1 {
				t.Errorf("the other one gets %d mails", len(got))
			}
		})
	}
}
