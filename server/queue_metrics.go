package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalends/kalends/storage"
)

// queueMetrics tells how full the queue of deliveries is. It asks the database
// when somebody asks for the metrics, and not more often than every few seconds
// whoever does.
type queueMetrics struct {
	depth func(context.Context) (storage.QueueDepth, error)
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex
	asked time.Time
	known bool // the answer was a good one
	last  storage.QueueDepth
}

const (
	queueEvery   = 10 * time.Second
	queuePatient = 3 * time.Second
)

var (
	queueDesc  = prometheus.NewDesc("kalends_delivery_queue", "Deliveries that are held for some seconds, queued, in flight, or failed for good and still kept.", []string{"state"}, nil)
	oldestDesc = prometheus.NewDesc("kalends_delivery_oldest_seconds", "Age of the oldest delivery that is neither done nor has failed; 0 when there is none.", nil, nil)
)

// Describe names the two gauges.
func (q *queueMetrics) Describe(c chan<- *prometheus.Desc) {
	c <- queueDesc
	c <- oldestDesc
}

// Collect tells their values, and nothing while the database does not answer.
func (q *queueMetrics) Collect(c chan<- prometheus.Metric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	if q.asked.IsZero() || now.Sub(q.asked) >= queueEvery || now.Before(q.asked) {
		ctx, cancel := context.WithTimeout(context.Background(), queuePatient)
		defer cancel()
		var err error
		if q.last, err = q.depth(ctx); err != nil {
			q.log.Warn("the queue of deliveries could not be counted for the metrics", "error", err)
		}
		q.asked, q.known = now, err == nil
	}
	if !q.known {
		return
	}
	for _, s := range []struct {
		name string
		n    int64
	}{{"held", q.last.Held}, {"queued", q.last.Queued}, {"in-flight", q.last.InFlight}, {"failed", q.last.Failed}} {
		c <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(s.n), s.name)
	}
	age := 0.0
	if !q.last.Oldest.IsZero() {
		age = max(now.Sub(q.last.Oldest).Seconds(), 0)
	}
	c <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age)
}
