package scheduling_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// Want 44: several processes that look at the same due alarms at the same time
// send each of them once, also when none of them holds the lease alone.
func TestAlarmsOfSeveralNodes(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e, nil)
			const events = 20
			for i := range events {
				data := fmt.Sprintf("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:%d\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20261121T130000Z\r\nSUMMARY:Tea\r\n"+
					"BEGIN:VALARM\r\nACTION:EMAIL\r\nTRIGGER:-PT15M\r\nSUMMARY:Tea\r\nDESCRIPTION:x\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", i)
				_, err := w.svc.Put(bg, scheduling.Put{Actor: w.actor("user01"), Key: w.key("user01", fmt.Sprintf("calendar/%d.ics", i)), Data: []byte(data)})
				w.must(err)
			}
			w.clock.Advance(time.Hour)
			var nodes sync.WaitGroup
			for range 4 {
				nodes.Go(func() {
					if _, err := w.svc.StepAlarms(bg); err != nil {
						t.Error(err)
					}
				})
			}
			nodes.Wait()
			w.work()
			got := w.net.take(address("user01"))
			seen := map[string]bool{}
			for _, p := range got {
				seen[p.UID] = true
			}
			if len(got) != events || len(seen) != events {
				t.Errorf("%d mails about %d events", len(got), len(seen))
			}
			left, err := w.db.DueAlarms(bg, 1<<62, 10)
			w.must(err)
			if len(left) != 0 {
				t.Errorf("left: %+v", left)
			}
			list, err := w.db.Deliveries(bg, storage.DeliveryFilter{Account: w.account("user01").ID})
			w.must(err)
			for _, d := range list {
				if d.State != storage.DeliveryDone || !d.Written {
					t.Errorf("delivery: %+v", d)
				}
			}
		})
	}
}
