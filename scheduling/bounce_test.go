package scheduling_test

import (
	"strings"
	"testing"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// Want 26: what came back is a failure everywhere: on the event, on the
// delivery with its trace; and the next change tells the attendee all of it.
func TestBouncedDelivery(t *testing.T) {
	engines(t, func(t *testing.T, w *linkWorld) {
		w.put(linkEvent("0", "20261123T100000Z", "Party", withDave+withCarl))
		find := func() storage.Delivery {
			t.Helper()
			list, err := w.db.Deliveries(bg, storage.DeliveryFilter{Account: w.account("user01").ID, UID: "party", Limit: 10})
			w.must(err)
			for _, d := range list {
				if d.RecipientKey == linkDave.Key() {
					return d
				}
			}
			t.Fatal("no delivery")
			return storage.Delivery{}
		}
		d := find()
		back := scheduling.Bounce{Account: d.Account, UID: "party", Attendee: linkDave, Delivery: d.ID, Detail: "came back: 5.1.1 no such mailbox"}
		for _, wrong := range []scheduling.Bounce{
			{Account: d.Account, UID: "party", Attendee: linkDave, Delivery: d.ID + 1},
			{Account: d.Account, UID: "other", Attendee: linkDave, Delivery: d.ID},
			{Account: d.Account, UID: "party", Attendee: "mailto:carl@mail.test", Delivery: d.ID},
		} {
			w.must(w.svc.Bounced(bg, wrong))
		}
		if got := w.partstat(string(linkDave)); got != "NEEDS-ACTION 1.2" {
			t.Errorf("a bounce of nothing made it %s", got)
		}
		w.must(w.svc.Bounced(bg, back))
		w.must(w.svc.Bounced(bg, back))
		w.work()
		if got := w.partstat(string(linkDave)); got != "NEEDS-ACTION 5.1" {
			t.Errorf("the event says %s", got)
		}
		if got := w.partstat("mailto:carl@mail.test"); got != "NEEDS-ACTION 1.2" {
			t.Errorf("carl: %s", got)
		}
		d = find()
		trace := scheduling.ReadTrace(d.Trace)
		if d.State != storage.DeliveryFailed || d.Status != "5.1" || !strings.Contains(d.Detail, "no such mailbox") || len(trace) != 2 || !strings.HasPrefix(trace[1].Status, "5.1") {
			t.Errorf("%+v", d)
		}
		w.net.take(linkDave)
		w.put(linkEvent("0", "20261123T100000Z", "Party with cake", withDave+withCarl))
		if got := w.net.take(linkDave); len(got) != 1 || got[0].Kind != "new" {
			t.Errorf("after the bounce: %+v", got)
		}
	})
}
