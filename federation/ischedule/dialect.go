package ischedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kalends/kalends/federation/discover"
)

// DialectOf tells which dialect a domain's own endpoint speaks, by its
// capabilities: what is cached counts, else it is asked. A domain that offers
// nothing, or nothing that can be understood, speaks the final dialect as far
// as we know. The error says that it cannot be told now.
func (c *Client) DialectOf(ctx context.Context, domain string) (Dialect, error) {
	if c.cfg.Dialect != nil {
		if d, ok := c.cfg.Dialect(domain); ok {
			return d, nil
		}
	}
	j := &job{c: c, domain: domain}
	if s := j.find(ctx); s != nil {
		if s.disposition == Retry {
			return DialectFinal, fmt.Errorf("%s: %s", s.text, s.detail)
		}
		return DialectFinal, nil
	}
	return j.peer.dialect, nil
}

// How often the endpoint of a domain whose signature has the form of draft -01
// is asked for its dialect (ischedule §11).
const (
	dialectAsk      = 10 * time.Minute // at most once
	dialectNegative = time.Hour        // that it does not speak it
	dialectPatience = 5 * time.Second  // how long a request waits for the answer
	dialectTimeout  = 20 * time.Second // of one question
	dialectParallel = 8                // questions at a time, of all domains
)

var errDialectUnknown = errors.New("the dialect of the peer is not known yet")

// dialectMemory remembers which domains speak draft -01 and asks them, so that
// the requests of strangers cause no more than the allowed number of
// questions. It is asked only about domains whose signature has passed.
type dialectMemory struct {
	ask   func(context.Context, string) (Dialect, error)
	now   func() time.Time
	slots chan struct{}

	mu      sync.Mutex
	domains map[string]*dialectEntry
}

type dialectEntry struct {
	asked   time.Time
	until   time.Time // the dialect is known until then
	dialect Dialect
	done    chan struct{} // closed when the question under way has an outcome; nil: none
}

func newDialectMemory(ask func(context.Context, string) (Dialect, error), now func() time.Time) *dialectMemory {
	return &dialectMemory{ask: ask, now: now, slots: make(chan struct{}, dialectParallel), domains: make(map[string]*dialectEntry)}
}

// of gives the dialect of a domain, or errDialectUnknown with the time after
// which it may be known.
func (m *dialectMemory) of(ctx context.Context, domain string) (Dialect, time.Duration, error) {
	now := m.now()
	m.mu.Lock()
	e := m.domains[domain]
	if e == nil {
		if len(m.domains) >= maxPeers {
			for k, old := range m.domains { // any one without a question under way
				if old.done == nil {
					delete(m.domains, k)
					break
				}
			}
		}
		e = &dialectEntry{}
		m.domains[domain] = e
	}
	if now.Before(e.until) {
		defer m.mu.Unlock()
		return e.dialect, 0, nil
	}
	if e.done == nil {
		if next := e.asked.Add(dialectAsk); !e.asked.IsZero() && now.Before(next) {
			defer m.mu.Unlock()
			return 0, next.Sub(now), errDialectUnknown
		}
		select {
		case m.slots <- struct{}{}:
		default:
			defer m.mu.Unlock()
			return 0, time.Minute, errDialectUnknown
		}
		e.asked, e.done = now, make(chan struct{})
		go m.question(context.WithoutCancel(ctx), domain, e)
	}
	done := e.done
	m.mu.Unlock()

	patience := time.NewTimer(dialectPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
		return 0, time.Minute, errDialectUnknown
	case <-ctx.Done():
		return 0, time.Minute, errDialectUnknown
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.until.IsZero() || !m.now().Before(e.until) {
		return 0, dialectAsk, errDialectUnknown
	}
	return e.dialect, 0, nil
}

// question asks a domain once. It outlives the request that caused it: the
// next one finds the answer.
func (m *dialectMemory) question(ctx context.Context, domain string, e *dialectEntry) {
	defer func() { <-m.slots }()
	ctx, cancel := context.WithTimeout(ctx, dialectTimeout)
	defer cancel()
	d, err := m.ask(ctx, domain)
	m.mu.Lock()
	defer m.mu.Unlock()
	close(e.done)
	e.done = nil
	switch now := m.now(); {
	case err != nil:
		e.until = time.Time{}
	case d == DialectDraft01:
		e.dialect, e.until = d, now.Add(dialectAsk)
	default:
		e.dialect, e.until = d, now.Add(dialectNegative)
	}
}

// http1 is the context of a request in this dialect: signatures of draft -01
// cover the spelling of header names, which only HTTP/1.1 keeps.
func (d Dialect) http1(ctx context.Context) context.Context {
	if d == DialectDraft01 {
		return discover.WithHTTP1(ctx)
	}
	return ctx
}

// ParseDialect reads the name of a dialect.
func ParseDialect(s string) (Dialect, error) {
	for _, d := range []Dialect{DialectFinal, DialectDraft01} {
		if d.String() == s {
			return d, nil
		}
	}
	return 0, fmt.Errorf("the dialect is %s or %s, not %q", DialectFinal, DialectDraft01, s)
}
