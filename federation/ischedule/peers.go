package ischedule

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/federation/discover"
)

const (
	maxFresh    = 24 * time.Hour   // what is known of a peer, at most
	unusableFor = 10 * time.Minute // that a peer has no capabilities
	maxPeers    = 10_000           // remembered
)

// peerState is what is known of one server of one domain. Values are not
// changed once they are in the cache.
type peerState struct {
	endpoint string // for POST: after redirects, without query
	caps     *Capabilities
	dialect  Dialect
	question string // the query that got an answer
	etag     string
	serial   string
	until    time.Time // fresh until then
	unusable *stop     // why there is nothing to send to; caps is nil then
}

// capabilityCache keeps peers by domain and discovered URL: the domain decides
// which certificates count.
type capabilityCache struct {
	mu    sync.Mutex
	peers map[[2]string]*peerState
}

func newCapabilityCache() *capabilityCache {
	return &capabilityCache{peers: make(map[[2]string]*peerState)}
}

func (c *capabilityCache) get(domain, url string) *peerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peers[[2]string{domain, url}]
}

func (c *capabilityCache) put(domain, url string, p *peerState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{domain, url}
	if _, ok := c.peers[key]; !ok && len(c.peers) >= maxPeers {
		for k := range c.peers { // any one: it is fetched again when needed
			delete(c.peers, k)
			break
		}
	}
	c.peers[key] = p
}

// expire makes the next user ask again, with a conditional request.
func (c *capabilityCache) expire(domain, url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{domain, url}
	if p := c.peers[key]; p != nil {
		q := *p
		q.until = time.Time{}
		c.peers[key] = &q
	}
}

// capabilities gives what is known of a server, asking it when the cache has
// nothing fresh. Without capabilities there is no POST.
func (c *Client) capabilities(ctx context.Context, j *job, ep discover.Endpoint) (*peerState, *stop) {
	start, url := c.cfg.Now(), ep.URL
	old := c.cache.get(j.domain, url)
	if old != nil && start.Before(old.until) {
		if old.unusable != nil {
			j.step(start, "capabilities", "%s: known: %s", url, old.unusable.text)
			return nil, old.unusable
		}
		j.step(start, "capabilities", "%s: known, serial %s", old.endpoint, orDefault(old.serial, "none"))
		return old, nil
	}

	// WD asks with ?action=, -01 with ?query=; a server that fails on the
	// first may know the second.
	questions := []string{"action=capabilities", "query=capabilities"}
	if old != nil && old.question == questions[1] {
		questions[0], questions[1] = questions[1], questions[0]
	}
	final := byMail(StatusNoRoute, "%s has no iSchedule service that can be used", j.domain)
	for _, question := range questions {
		var known *peerState
		if old != nil && old.caps != nil && old.question == question {
			known = old
		}
		p, s := c.ask(ctx, j, ep, question, known)
		if s == nil {
			c.cache.put(j.domain, url, p)
			return p, nil
		}
		if s.busy {
			return nil, s
		}
		if s.disposition == Retry {
			final = s
		}
	}
	if final.disposition == Mail {
		c.cache.put(j.domain, url, &peerState{unusable: final, until: c.cfg.Now().Add(unusableFor)})
	}
	return nil, final
}

// ask puts one question, following redirects.
func (c *Client) ask(ctx context.Context, j *job, ep discover.Endpoint, question string, known *peerState) (*peerState, *stop) {
	start := c.cfg.Now()
	target := withQuery(ep.URL, question)
	var r reply
	var err error
	for hop := 0; ; hop++ {
		header := http.Header{"Accept": {"application/xml, text/xml"}, "User-Agent": {c.cfg.UserAgent}, headerVersion: {Version}}
		if known != nil && known.etag != "" && withQuery(target, "") == known.endpoint {
			header.Set("If-None-Match", known.etag)
		}
		asked := c.cfg.Now()
		if r, err = c.exchange(ctx, j.domain, ep.Identity, http.MethodGet, target, header, nil, MaxCapabilitiesSize); err != nil {
			j.step(start, "capabilities", "%s: %v", target, err)
			return nil, j.failed(err)
		}
		j.seen.Date, j.seen.Asked, j.seen.Answered = r.header.Get("Date"), asked, c.cfg.Now()
		next, err := redirected(http.MethodGet, target, r, hop)
		if err != nil {
			j.step(start, "capabilities", "%s: HTTP %d: %v", target, r.status, err)
			return nil, byMail(StatusNoRoute, "%s redirects to a place that is not followed", j.domain)
		}
		if next == "" {
			break
		}
		target = next
	}

	now := c.cfg.Now()
	endpoint := withQuery(target, "")
	if r.status == http.StatusNotModified && known != nil {
		q := *known
		q.until, q.endpoint = now.Add(freshness(r.header, now)), endpoint
		if s := r.header.Get(headerCapabilities); s != "" && q.caps.Serial == "" {
			q.serial = clip(s)
		}
		j.step(start, "capabilities", "%s: not modified, serial %s, %s", endpoint, orDefault(q.serial, "none"), r.tls)
		return &q, nil
	}
	if r.status != http.StatusOK {
		j.step(start, "capabilities", "%s: HTTP %d", target, r.status)
		if HTTPDisposition(r.status, "") == Retry && r.status >= 300 {
			s := retry("%s answers HTTP %d", j.domain, r.status)
			// Some answer 500 to a question they do not know.
			s.busy = r.status != http.StatusInternalServerError
			return nil, s
		}
		return nil, byMail(StatusNoRoute, "%s answers HTTP %d", j.domain, r.status)
	}
	caps, err := ParseCapabilities(r.body)
	if err != nil {
		j.step(start, "capabilities", "%s: %v", target, err)
		return nil, byMail(StatusNoRoute, "%s has no capabilities document", j.domain)
	}
	p := &peerState{
		endpoint: endpoint, caps: caps, dialect: caps.Dialect, question: question, etag: r.header.Get("ETag"),
		serial: orDefault(caps.Serial, clip(strings.TrimSpace(r.header.Get(headerCapabilities)))),
		until:  now.Add(freshness(r.header, now)),
	}
	j.step(start, "capabilities", "%s: %s, serial %s, %s", endpoint, caps.Dialect, orDefault(p.serial, "none"), r.tls)
	return p, nil
}

// freshness is how long an answer may be used: what Cache-Control or Expires
// say, at most a day (-02 §5).
func freshness(h http.Header, now time.Time) time.Duration {
	for _, list := range h.Values("Cache-Control") {
		for d := range strings.SplitSeq(strings.ToLower(list), ",") {
			d = strings.TrimSpace(d)
			if d == "no-store" || d == "no-cache" {
				return 0
			}
			if v, ok := strings.CutPrefix(d, "max-age="); ok {
				n, err := strconv.ParseUint(strings.Trim(v, `"`), 10, 31)
				if err != nil {
					return 0
				}
				return min(time.Duration(n)*time.Second, maxFresh)
			}
		}
	}
	if v := h.Get("Expires"); v != "" {
		t, err := http.ParseTime(v)
		if err != nil {
			return 0
		}
		return max(0, min(t.Sub(now), maxFresh))
	}
	return maxFresh
}
