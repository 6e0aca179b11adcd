package ischedule

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// Rates are the defaults of what one peer may ask of us.
type Rates struct {
	Messages        int // requests a minute and signing domain, free-busy apart; 0: 3000
	Questions       int // free-busy questions a minute and signing domain; 0: 60
	QuestionsPerDay int // recipients asked about a day and signing domain; 0: 1000
	AboutPerDay     int // free-busy questions a day about one recipient, whoever asks; 0: 500
	FailuresByNet   int // failed verifications a minute and source network; 0: 600
	RememberAtMost  int // domains and networks remembered; 0: 20000
}

func (r Rates) withDefaults() Rates {
	for _, d := range []struct {
		v *int
		n int
	}{{&r.Messages, 3000}, {&r.Questions, 60}, {&r.QuestionsPerDay, 1000}, {&r.AboutPerDay, 500}, {&r.FailuresByNet, 600}, {&r.RememberAtMost, 20_000}} {
		if *d.v <= 0 {
			*d.v = d.n
		}
	}
	return r
}

// limiter holds token buckets by name. It guards this process; several nodes
// multiply the limits, which are there to stop floods, not to bill.
type limiter struct {
	rates   Rates
	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket refills evenly to size within period.
type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(r Rates) *limiter {
	return &limiter{rates: r.withDefaults(), buckets: make(map[string]*bucket)}
}

// take charges cost to the bucket of name, when that many tokens are there.
// With cost 0 it only asks whether at least one is left. wait says when it may
// work again, 0 when it worked.
func (l *limiter) take(name string, size int, period time.Duration, cost int, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[name]
	if b == nil {
		if len(l.buckets) >= l.rates.RememberAtMost {
			l.sweep(now)
		}
		b = &bucket{tokens: float64(size), at: now}
		l.buckets[name] = b
	}
	perSecond := float64(size) / period.Seconds()
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(float64(size), b.tokens+d.Seconds()*perSecond)
		b.at = now
	}
	need := float64(max(cost, 1))
	if b.tokens < need {
		return max(time.Second, time.Duration((need-b.tokens)/perSecond*float64(time.Second)))
	}
	b.tokens -= float64(cost)
	return 0
}

// sweep forgets buckets not used for a day, and when that frees nothing, an
// arbitrary tenth: memory stays bounded, a flood of names costs the flooders'
// own neighbours a fresh bucket.
func (l *limiter) sweep(now time.Time) {
	for name, b := range l.buckets {
		if now.Sub(b.at) > 24*time.Hour {
			delete(l.buckets, name)
		}
	}
	if over := len(l.buckets) - l.rates.RememberAtMost*9/10; over > 0 {
		for name := range l.buckets {
			delete(l.buckets, name)
			if over--; over <= 0 {
				break
			}
		}
	}
}

// message charges an accepted request of a domain, by the quota that
// configuration gives it where it does.
func (l *limiter) message(domain string, own Rates, freeBusy bool, recipients int, now time.Time) time.Duration {
	limit := func(own, all int) int {
		if own > 0 {
			return own
		}
		return all
	}
	if !freeBusy {
		return l.take("m "+domain, limit(own.Messages, l.rates.Messages), time.Minute, 1, now)
	}
	if wait := l.take("q "+domain, limit(own.Questions, l.rates.Questions), time.Minute, 1, now); wait > 0 {
		return wait
	}
	return l.take("d "+domain, limit(own.QuestionsPerDay, l.rates.QuestionsPerDay), 24*time.Hour, recipients, now)
}

// about charges a question to each recipient, and gives those who have not been
// asked about too often today. Whether there is such a person makes no difference.
func (l *limiter) about(recipients []calendar.Address, now time.Time) []calendar.Address {
	var out []calendar.Address
	for _, a := range recipients {
		if l.take("a "+a.Key(), l.rates.AboutPerDay, 24*time.Hour, 1, now) == 0 {
			out = append(out, a)
		}
	}
	return out
}

// begin charges a verification to a network as if it failed, so that those
// under way count too; passed gives it back.
func (l *limiter) begin(network string, now time.Time) time.Duration {
	return l.take("n "+network, l.rates.FailuresByNet, time.Minute, 1, now)
}

func (l *limiter) passed(network string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets["n "+network]; b != nil {
		b.tokens = min(float64(l.rates.FailuresByNet), b.tokens+1)
	}
}

// network is the source network of a request: /24 of IPv4, /48 of IPv6.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return host
	}
	return p.String()
}
