package scheduling

import (
	"sync"
	"time"
)

// health knows which domains answered of late, so that those which do not are
// never many of the deliveries in flight: a peer that hangs costs a worker the
// whole time limit, and the others must not wait for that (abuse cases A43,
// A46). It is a memory of this process; at worst it is learned again.
type health struct {
	perDomain int // in flight to a domain that answers
	unproven  int // domains in flight that have not answered of late; each has one message at most
	now       func() time.Time

	mu      sync.Mutex
	domains map[string]*domainHealth
}

type domainHealth struct {
	flying   int
	answered time.Time // last answer, when nothing failed since
}

const (
	provenFor        = time.Hour
	maxHealthDomains = 20_000
)

func newHealth(perDomain, unproven int, now func() time.Time) *health {
	return &health{perDomain: perDomain, unproven: max(unproven, 1), now: now, domains: map[string]*domainHealth{}}
}

func (h *health) proven(d *domainHealth, now time.Time) bool {
	return d != nil && !d.answered.IsZero() && now.Sub(d.answered) < provenFor
}

// rule tells storage.ClaimFor how many messages may be in flight to a domain.
// The empty domain stands for deliveries in this database.
func (h *health) rule() func(domain string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	left := h.unproven
	given := map[string]bool{}
	for name, d := range h.domains {
		if d.flying > 0 && name != "" && !h.proven(d, now) {
			given[name] = true
			left--
		}
	}
	return func(domain string) int {
		h.mu.Lock()
		defer h.mu.Unlock()
		switch {
		case domain == "" || h.proven(h.domains[domain], now):
			return h.perDomain
		case given[domain]:
			return 1
		case left <= 0:
			return 0
		}
		given[domain] = true
		left--
		return 1
	}
}

// begin notes a message in flight; the function it returns, that it ended and
// whether the domain answered.
func (h *health) begin(domain string) (end func(answered bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.domains[domain]
	if d == nil {
		if len(h.domains) >= maxHealthDomains {
			for name, old := range h.domains { // any one at rest
				if old.flying == 0 {
					delete(h.domains, name)
					break
				}
			}
		}
		d = &domainHealth{}
		h.domains[domain] = d
	}
	d.flying++
	return func(answered bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		d.flying--
		d.answered = time.Time{}
		if answered {
			d.answered = h.now()
		}
	}
}
