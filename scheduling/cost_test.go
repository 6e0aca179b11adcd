package scheduling_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// invitation is a daily series with n local attendees, user02 and on; override
// moves one of its instances.
func invitation(uid string, n int, title string, override bool) []byte {
	var b bytes.Buffer
	people := func() {
		b.WriteString("ORGANIZER;CN=User 01:mailto:user01@example.com\r\nATTENDEE;CN=User 01;PARTSTAT=ACCEPTED:mailto:user01@example.com\r\n")
		for i := 2; i < n+2; i++ {
			fmt.Fprintf(&b, "ATTENDEE;CN=User %02d;RSVP=TRUE;PARTSTAT=NEEDS-ACTION:mailto:user%02d@example.com\r\n", i, i)
		}
	}
	b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Client//EN\r\n")
	fmt.Fprintf(&b, "BEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:20261121T120000Z\r\nDTSTART:20270301T100000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=20\r\nSUMMARY:%s\r\n", uid, title)
	people()
	b.WriteString("END:VEVENT\r\n")
	if override {
		fmt.Fprintf(&b, "BEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:20261121T120000Z\r\nRECURRENCE-ID:20270303T100000Z\r\nDTSTART:20270303T140000Z\r\nDURATION:PT1H\r\nSUMMARY:%s\r\n", uid, title)
		people()
		b.WriteString("END:VEVENT\r\n")
	}
	b.WriteString("END:VCALENDAR\r\n")
	return b.Bytes()
}

// TestStatements: the number of SQL statements does not depend on the number
// of attendees (design: one transaction per change, constant statements).
func TestStatements(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			type cost struct{ invite, instance, answer, refresh, cancel int }
			measure := func(n int) (c cost) {
				w := newWorld(t, e, func(c *scheduling.Config) { c.Quota = 1 << 30 })
				w.accounts(n + 1)
				count := func(what func(ctx context.Context) error) int {
					ctx, counter := storage.WithCounter(bg)
					if err := what(ctx); err != nil {
						t.Fatal(err)
					}
					return counter.Statements()
				}
				put := func(override bool) int {
					p := scheduling.Put{Actor: w.actor("user01"), Key: w.key("user01", "calendar/a.ics"), Data: invitation("1", n, "Talk", override)}
					return count(func(ctx context.Context) error { _, err := w.svc.Put(ctx, p); return err })
				}
				c.invite = put(false)
				c.instance = put(true)
				row := w.row("user05", "1")
				next, err := itip.Respond(w.parse(row.Data), scheduling.AddressesOf(w.account("user05")), "ACCEPTED", nil, itip.RespondOptions{})
				w.must(err)
				c.answer = count(func(ctx context.Context) error {
					_, err := w.svc.Put(ctx, scheduling.Put{Actor: w.actor("user05"), Key: row.ObjectKey, Data: next.Bytes()})
					return err
				})
				w.clock.Advance(1e9)
				c.refresh = count(func(ctx context.Context) error { w.svc.Step(ctx, nil); return nil })
				if o := w.parse(w.row("user03", "1").Data); len(o.Components()) != 2 {
					t.Fatalf("user03 has\n%s", normal(o))
				}
				w.clock.Advance(1e9)
				c.cancel = count(func(ctx context.Context) error {
					return w.svc.Delete(ctx, scheduling.Delete{Actor: w.actor("user01"), Key: w.key("user01", "calendar/a.ics")})
				})
				return c
			}
			few, many := measure(10), measure(200)
			t.Logf("statements: %+v", many)
			if few != many {
				t.Errorf("with 10 attendees %+v, with 200 %+v", few, many)
			}
		})
	}
}

func benchmarkInvite(b *testing.B, n int) {
	for _, e := range storagetest.Engines(b) {
		b.Run(string(e), func(b *testing.B) {
			w := newWorld(b, e, func(c *scheduling.Config) { c.Now = nil })
			w.accounts(n + 1)
			actor, key := w.actor("user01"), w.key("user01", "calendar/a.ics")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key.Name = fmt.Sprintf("%d.ics", i)
				if _, err := w.svc.Put(bg, scheduling.Put{Actor: actor, Key: key, Data: invitation(fmt.Sprint("bench-", i), n, "Talk", false)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInvite10(b *testing.B)  { benchmarkInvite(b, 10) }
func BenchmarkInvite50(b *testing.B)  { benchmarkInvite(b, 50) }
func BenchmarkInvite200(b *testing.B) { benchmarkInvite(b, 200) }

// BenchmarkChange50 moves the title of an event with 50 attendees to and fro.
func BenchmarkChange50(b *testing.B) {
	for _, e := range storagetest.Engines(b) {
		b.Run(string(e), func(b *testing.B) {
			w := newWorld(b, e, func(c *scheduling.Config) { c.Now = nil })
			w.accounts(51)
			actor, key := w.actor("user01"), w.key("user01", "calendar/a.ics")
			for i := 0; b.Loop(); i++ {
				if _, err := w.svc.Put(bg, scheduling.Put{Actor: actor, Key: key, Data: invitation("1", 50, fmt.Sprint("Talk ", i), false)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
