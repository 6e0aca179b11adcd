package imip

import (
	"strings"
	"sync"
	"time"
)

// Buckets is a Limiter in memory: so many mails an hour from one sender, from
// one sender's domain, and to one recipient (A32). What does not fit is
// refused for now, and the sender's mail server tries again later. It forgets
// the least recently used when it holds too many. It guards this process;
// several nodes multiply the limits, which are there to stop floods.
type Buckets struct {
	Sender, Domain, Recipient int // mails an hour: 200, 2000, 500

	mu   sync.Mutex
	seen map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

const maxBuckets = 20000

// Allow takes one mail from the allowance of sender (local@domain, with
// "unproven " before it when nothing vouches for it) and recipient.
func (b *Buckets) Allow(sender, recipient string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil || len(b.seen) > maxBuckets {
		b.forget(now)
	}
	who, domain, _ := cutLast(sender, "@")
	if strings.HasPrefix(who, "unproven ") {
		domain = "unproven " + domain
	}
	keys := [3]string{"s:" + sender, "d:" + domain, "r:" + recipient}
	rates := [3]float64{rate(b.Sender, 200), rate(b.Domain, 2000), rate(b.Recipient, 500)}
	var next [3]bucket
	for i, k := range keys {
		c, ok := b.seen[k]
		if !ok {
			c = bucket{left: rates[i], at: now}
		}
		if gone := now.Sub(c.at); gone > 0 {
			c.left = min(rates[i], c.left+rates[i]*gone.Hours())
			c.at = now
		}
		if c.left < 1 {
			return false
		}
		c.left--
		next[i] = c
	}
	for i, k := range keys {
		b.seen[k] = next[i]
	}
	return true
}

func rate(n, def int) float64 {
	if n <= 0 {
		n = def
	}
	return float64(n)
}

// forget drops what is full again by now, and everything when that does not
// help: a flood of new senders must not cost memory without bound.
func (b *Buckets) forget(now time.Time) {
	if b.seen == nil {
		b.seen = map[string]bucket{}
		return
	}
	for k, c := range b.seen {
		if now.Sub(c.at) >= time.Hour {
			delete(b.seen, k)
		}
	}
	if len(b.seen) > maxBuckets/2 {
		clear(b.seen)
	}
}
