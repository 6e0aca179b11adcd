package scheduling_test

import (
	"errors"
	"testing"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// RFC 4918 §9.8.2: what a copy brings along is stored with it or not at all, and
// nobody is invited to what was not stored.
func TestPutWithProperties(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, e, nil)
			for _, c := range []struct{ uid, people string }{
				{"alone", ""},
				{"meeting", "ORGANIZER:mailto:user01@example.com\r\nATTENDEE:mailto:user01@example.com\r\nATTENDEE:mailto:user02@example.com\r\n"},
			} {
				key := w.key("user01", "calendar/"+c.uid+".ics")
				at := storage.PropertyKey{CollectionKey: key.CollectionKey, Object: key.Name}
				put := scheduling.Put{Actor: w.actor("user01"), Key: key, Data: []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:" + c.uid +
					"\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20261121T130000Z\r\nSUMMARY:Tea\r\n" + c.people + "END:VEVENT\r\nEND:VCALENDAR\r\n")}
				put.Properties = []storage.Property{{PropertyKey: at, Space: "urn:x", XML: "<x/>"}} // without a name
				if _, err := w.svc.Put(bg, put); !errors.Is(err, storage.ErrInvalid) {
					t.Errorf("%s: %v", c.uid, err)
				}
				w.work()
				if w.row("user01", c.uid) != nil || w.row("user02", c.uid) != nil {
					t.Errorf("%s: something was stored", c.uid)
				}
				put.Properties = []storage.Property{{PropertyKey: at, Space: "urn:x", Local: "x", XML: "<x xmlns='urn:x'>1</x>"}}
				_, err := w.svc.Put(bg, put)
				w.must(err)
				w.work()
				got, err := w.db.Properties(bg, at)
				w.must(err)
				if w.row("user01", c.uid) == nil || (w.row("user02", c.uid) != nil) != (c.people != "") || len(got) != 1 || got[0].XML != put.Properties[0].XML {
					t.Errorf("%s: stored with %v", c.uid, got)
				}
			}
		})
	}
}
