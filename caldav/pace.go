package caldav

import (
	"net/http"
	"sync"
	"time"

	"github.com/kalends/kalends/storage"
)

// A user may search the directory searchBurst times at once, and then once every
// searchEvery (abuse A22): enough for names that are completed while one types, too
// little to read out a directory word by word. Each node counts for itself.
const (
	searchBurst = 120
	searchEvery = time.Second
	paceMost    = 10000 // users that are remembered
)

// pace counts what users have spent of an allowance that fills up again.
type pace struct {
	mu    sync.Mutex
	spent map[storage.AccountID]spending
}

type spending struct {
	units int
	at    time.Time // when units was right
}

// take spends units of a user's allowance; false: there is not so much left, and
// nothing is taken.
func (p *pace) take(user storage.AccountID, units int, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spent[user]
	if back := int(now.Sub(s.at) / searchEvery); back > 0 {
		s.units, s.at = max(0, s.units-back), s.at.Add(time.Duration(back)*searchEvery)
	}
	if s.units == 0 {
		s.at = now
	}
	if s.units+units > searchBurst {
		return false
	}
	s.units += units
	if p.spent == nil {
		p.spent = map[storage.AccountID]spending{}
	}
	if _, ok := p.spent[user]; !ok && len(p.spent) >= paceMost {
		for id := range p.spent {
			if len(p.spent) < paceMost/2 {
				break
			}
			delete(p.spent, id)
		}
	}
	p.spent[user] = s
	return true
}

// search counts a look into the directory; too many are refused for a while.
func (q *request) search(units int) error {
	if q.h.searches.take(q.user.ID, min(units, searchBurst), q.now()) {
		return nil
	}
	return &httpError{status: http.StatusTooManyRequests, msg: "Too many searches. Wait a minute.", header: map[string]string{"Retry-After": "60"}}
}
