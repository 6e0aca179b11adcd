package ischedule

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A peer that hangs costs a worker the whole time limit with every try. After
// slowTries such failures in a row it is left alone for a while (abuse case
// A43). Failures that come quickly cost nothing and are left to the queue's own
// back-off.
const (
	slowFailure = 2 * time.Second
	slowTries   = 3
	firstPause  = 30 * time.Second
	longPause   = 5 * time.Minute
)

var errPaused = errors.New("left alone after several slow failures")

// breaker counts slow failures by domain.
type breaker struct {
	mu    sync.Mutex
	peers map[string]*slowPeer
}

type slowPeer struct {
	failures int
	until    time.Time
}

func newBreaker() *breaker { return &breaker{peers: make(map[string]*slowPeer)} }

// allow tells whether a domain may be asked. When a pause is over, one request
// goes through and the others wait for its outcome.
func (b *breaker) allow(domain string, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[domain]
	if p == nil || p.failures < slowTries {
		return nil
	}
	if now.Before(p.until) {
		return fmt.Errorf("%w; the next try is in %s", errPaused, p.until.Sub(now).Round(time.Second))
	}
	p.until = now.Add(firstPause)
	return nil
}

// report records how an exchange that began at start ended.
func (b *breaker) report(domain string, start, now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[domain]
	switch {
	case err == nil:
		delete(b.peers, domain)
		return
	case now.Sub(start) < slowFailure:
		return
	case p == nil:
		if len(b.peers) >= maxPeers {
			clear(b.peers) // a rare loss of memory in place of a growing one
		}
		p = &slowPeer{}
		b.peers[domain] = p
	}
	if p.failures++; p.failures >= slowTries {
		pause := firstPause << min(p.failures-slowTries, 8)
		p.until = now.Add(min(pause, longPause))
	}
}
