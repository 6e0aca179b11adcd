package storage_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// The depth of the queue is counted without a look at what is done.
func TestQueueDepth(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			clock := storagetest.NewClock()
			db := storagetest.OpenWith(t, e, storage.Options{Clock: clock.Now})
			if d, err := db.QueueDepth(bg); err != nil || d != (storage.QueueDepth{}) {
				t.Fatalf("an empty queue: %+v %v", d, err)
			}
			began := clock.Now()
			add := func(state storage.DeliveryState, n int) {
				t.Helper()
				ms := []storage.Message{{Account: 1, ID: db.NewID(), UID: "u", Method: "REQUEST"}}
				var ds []storage.Delivery
				for range n {
					ds = append(ds, storage.Delivery{Account: 1, MessageID: ms[0].ID, UID: "u", RecipientKey: fmt.Sprint(db.NewID()), State: state})
				}
				if err := db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, ms, ds) }); err != nil {
					t.Fatal(err)
				}
				clock.Advance(time.Minute)
			}
			add(storage.DeliveryDone, 3000)
			add(storage.DeliverySuperseded, 3)
			add(storage.DeliveryFailed, 6)
			want := storage.QueueDepth{Failed: 6}
			if d, err := db.QueueDepth(bg); err != nil || d != want {
				t.Errorf("nothing waits: %+v %v; want %+v", d, err, want)
			}
			add(storage.DeliveryQueued, 2)
			add(storage.DeliveryHeld, 1)
			add(storage.DeliveryInFlight, 4)
			add(storage.DeliveryQueued, 3)
			want = storage.QueueDepth{Held: 1, Queued: 5, InFlight: 4, Failed: 6, Oldest: began.Add(3 * time.Minute)}
			d, err := db.QueueDepth(bg)
			if d.Oldest = d.Oldest.UTC(); err != nil || d != want {
				t.Errorf("%+v %v; want %+v", d, err, want)
			}
			ctx, counter := storage.WithCounter(bg)
			if _, err := db.QueueDepth(ctx); err != nil || counter.Statements() != 1 {
				t.Errorf("%d statements, %v", counter.Statements(), err)
			}
			plan, err := storage.Explain(db, storage.QueueDepthText)
			if err != nil {
				t.Fatal(err)
			}
			open := strings.Contains(plan, "delivery_due") || strings.Contains(plan, "delivery_wire") // both hold nothing that is final
			if !open || !strings.Contains(plan, "delivery_failed") || strings.Contains(plan, "Seq Scan") {
				t.Errorf("the whole table is read:\n%s", plan)
			}
		})
	}
}
