package discover

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// memo is a bounded cache with expiry that runs one fetch per key at a time.
// The least recently used entry goes first.
type memo[K comparable, V any] struct {
	now     func() time.Time
	max     int
	timeout time.Duration // of one fetch

	mu      sync.Mutex
	entries map[K]*list.Element // of *entry
	recent  *list.List
	flights map[K]*flight[V]
}

type entry[K comparable, V any] struct {
	key              K
	value            V
	fetched, expires time.Time
}

type flight[V any] struct {
	done    chan struct{}
	value   V
	fetched time.Time
}

func newMemo[K comparable, V any](now func() time.Time, size int, timeout time.Duration) *memo[K, V] {
	return &memo[K, V]{
		now: now, max: size, timeout: timeout,
		entries: map[K]*list.Element{}, recent: list.New(), flights: map[K]*flight[V]{},
	}
}

// get returns the cached value of key unless it expired or was fetched before
// notBefore; else it fetches. fetch says how long its value may be kept; 0
// keeps it for nobody but those who wait for it now. It runs under its own time
// limit, so that a caller who gives up spoils nothing for the others. The error
// is that of ctx.
func (m *memo[K, V]) get(ctx context.Context, key K, notBefore time.Time,
	fetch func(context.Context) (V, time.Duration)) (value V, fetched time.Time, cached bool, err error) {
	m.mu.Lock()
	if el, ok := m.entries[key]; ok {
		e := el.Value.(*entry[K, V])
		if m.now().Before(e.expires) && !e.fetched.Before(notBefore) {
			m.recent.MoveToFront(el)
			m.mu.Unlock()
			return e.value, e.fetched, true, nil
		}
	}
	f, ok := m.flights[key]
	if !ok {
		f = &flight[V]{done: make(chan struct{})}
		m.flights[key] = f
		go m.run(context.WithoutCancel(ctx), key, f, fetch)
	}
	m.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.fetched, false, nil
	case <-ctx.Done():
		return value, fetched, false, ctx.Err()
	}
}

func (m *memo[K, V]) run(ctx context.Context, key K, f *flight[V], fetch func(context.Context) (V, time.Duration)) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	var ttl time.Duration
	f.value, ttl = fetch(ctx)
	m.mu.Lock()
	f.fetched = m.now()
	delete(m.flights, key)
	if ttl > 0 {
		m.store(&entry[K, V]{key, f.value, f.fetched, f.fetched.Add(ttl)})
	}
	m.mu.Unlock()
	close(f.done)
}

func (m *memo[K, V]) store(e *entry[K, V]) {
	if el, ok := m.entries[e.key]; ok {
		el.Value = e
		m.recent.MoveToFront(el)
		return
	}
	m.entries[e.key] = m.recent.PushFront(e)
	for m.recent.Len() > m.max {
		oldest := m.recent.Back()
		m.recent.Remove(oldest)
		delete(m.entries, oldest.Value.(*entry[K, V]).key)
	}
}

// len is the number of cached values.
func (m *memo[K, V]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.Len()
}
