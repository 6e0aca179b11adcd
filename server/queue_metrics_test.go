package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// The metrics say how full the queue of deliveries is.
func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t, engine)
	ds := make([]storage.Delivery, 5)
	for i := range ds {
		ds[i] = storage.Delivery{Account: 1, MessageID: 1, UID: "u", RecipientKey: fmt.Sprint(i), Domain: "private.test", State: storage.DeliveryQueued}
	}
	ds[0].State, ds[1].State = storage.DeliveryFailed, storage.DeliveryDone
	err := db.Tx(context.Background(), func(ctx context.Context, tx *storage.Tx) error {
		return tx.Enqueue(ctx, []storage.Message{{Account: 1, ID: 1, UID: "u", Method: "REQUEST"}}, ds)
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := &server{db: db, log: log, metrics: newMetrics(db, log)}
	w := httptest.NewRecorder()
	s.management().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{`kalends_delivery_queue{state="held"} 0`, `kalends_delivery_queue{state="queued"} 3`, `kalends_delivery_queue{state="in-flight"} 0`,
		`kalends_delivery_queue{state="failed"} 1`, "kalends_delivery_oldest_seconds 0."} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if strings.Contains(text, "private") {
		t.Error("the metrics name a domain")
	}
}

// However often somebody asks, the database is asked once in a while; what it does
// not answer is left out, and all else is there.
func TestQueueMetricsRarely(t *testing.T) {
	t.Parallel()
	clock := &fixedClock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	asked, down := 0, false
	var lines bytes.Buffer
	q := &queueMetrics{now: clock.now, log: slog.New(slog.NewTextHandler(&lines, nil)), depth: func(context.Context) (storage.QueueDepth, error) {
		asked++
		if down {
			return storage.QueueDepth{}, errors.New("away")
		}
		return storage.QueueDepth{Queued: int64(asked), Oldest: clock.t.Add(-time.Hour)}, nil
	}}
	m := newMetrics(nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	m.registry.Unregister(q)
	if err := m.registry.Register(q); err != nil {
		t.Fatal(err)
	}
	s := &server{metrics: m}
	get := func(queued string, age string, n int) {
		t.Helper()
		w := httptest.NewRecorder()
		s.management().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		text := w.Body.String()
		if w.Code != 200 || !strings.Contains(text, "go_goroutines") {
			t.Errorf("%d without the other metrics", w.Code)
		}
		if there := strings.Contains(text, "\nkalends_delivery_queue"); there != (queued != "") || !strings.Contains(text, queued) || !strings.Contains(text, age) || asked != n {
			t.Errorf("asked %d times, want %d; want %q and %q", asked, n, queued, age)
		}
	}
	get(`state="queued"} 1`, "oldest_seconds 3600", 1)
	clock.t = clock.t.Add(9 * time.Second)
	get(`state="queued"} 1`, "oldest_seconds 3609", 1)
	clock.t = clock.t.Add(time.Second)
	get(`state="queued"} 2`, "oldest_seconds 3600", 2)
	down = true
	clock.t = clock.t.Add(time.Minute)
	get("", "", 3)
	get("", "", 3)
	down = false
	clock.t = clock.t.Add(-time.Hour) // set back
	get(`state="queued"} 4`, "", 4)
	if strings.Count(lines.String(), "could not be counted") != 1 {
		t.Errorf("the log: %s", lines.String())
	}
}
