package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kalends/kalends/storage"
)

// metrics has labels from closed sets only: no user, path or domain (A53).
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	events   *prometheus.CounterVec
	inbound  *prometheus.CounterVec
	pushes   *prometheus.CounterVec
}

var knownMethods = map[string]bool{"GET": true, "HEAD": true, "PUT": true, "POST": true, "DELETE": true, "OPTIONS": true, "PROPFIND": true, "PROPPATCH": true, "REPORT": true, "MKCALENDAR": true, "MKCOL": true, "COPY": true, "MOVE": true, "ACL": true}

func newMetrics(db *storage.DB, log *slog.Logger) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kalends_http_request_seconds", Help: "Time to answer a request.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"method", "status"})
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kalends_delivery_total", Help: "Outcomes of delivery attempts."}, []string{"event"})
	m.inbound = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kalends_ischedule_requests_total", Help: "iSchedule requests received."}, []string{"outcome"})
	m.pushes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kalends_push_total", Help: "Push messages to subscribed programs: sent, failed; removed counts subscriptions."}, []string{"outcome"})
	queue := &queueMetrics{depth: db.QueueDepth, now: time.Now, log: log}
	m.registry.MustRegister(m.requests, m.events, m.inbound, m.pushes, queue, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(method string, status int, took time.Duration) {
	if !knownMethods[method] {
		method = "other"
	}
	m.requests.WithLabelValues(method, strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

func (m *metrics) event(event string, n int) { m.events.WithLabelValues(event).Add(float64(n)) }

// management serves health, metrics and profiling on a listener of its own.
func (s *server) management() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := s.db.Ping(ctx); err != nil {
			http.Error(w, "the database cannot be reached", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
