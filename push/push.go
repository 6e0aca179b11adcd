// Package push tells subscribed programs that a collection has changed, by
// WebDAV-Push over Web Push (draft-bitfire-webdav-push, RFC 8030, 8291, 8292).
//
// It owns the server's key pair towards push services, the encrypted messages,
// and the worker that finds subscriptions with news and sends them. It never
// serves HTTP (package caldav takes registrations), never decides who may read
// a collection (Config.MayRead does), never opens a connection of its own (the
// HTTP client it is given does), and never logs an endpoint, whose URL is a
// secret.
//
// A push that fails is tried again with growing waits; a subscription that the
// push service does not know, or whose pushes fail for a day, is removed. What a
// subscriber missed he finds at his next synchronization: a push is a hint and
// never the only way.
package push

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kalends/kalends/storage"
)

// Config is what a Sender needs; the fields without a default are needed.
type Config struct {
	Identity *Identity
	// HTTP makes every connection; it refuses inner networks (abuse A42).
	HTTP *http.Client
	// AllowPlain tells whether http instead of https may be used for a host.
	AllowPlain func(host string) bool
	// MayRead tells whether a subscriber may still read a collection (A25).
	MayRead func(subscriber *storage.Account, f *storage.Found) bool
	Node    string // name of this process in leases
	Log     *slog.Logger
	Now     func() time.Time
	Observe func(event string) // "sent", "failed", "removed"; may be nil
}

// The pace of pushes. A change is collected with those that follow it at once;
// a subscription hears at most once a second, and after a burst at most once in
// ten, however much changes ("Rate Limiting").
const (
	collect   = 200 * time.Millisecond
	spacing   = time.Second
	burst     = 12
	refill    = 10 * time.Second
	sweepMin  = time.Second
	sweepPart = 50 // the fallback query takes at most this part of the time

	workers       = 64
	perSubscriber = 4 // in flight, so that nobody's slow push service delays others
	timeout       = 15 * time.Second
	lease         = 2 * time.Minute
	retryMin      = 20 * time.Second
	retryMax      = time.Hour
	giveUp        = 24 * time.Hour
	timeToLive    = 24 * time.Hour // how long a push service keeps a message
)

// Sender is the worker of one node.
type Sender struct {
	db   *storage.DB
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	changed map[storage.AccountID]bool // homes with news; nil when there are too many to name
	flight  map[storage.AccountID]int
	total   int
}

// New returns a Sender.
func New(db *storage.DB, cfg Config) *Sender {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string) {}
	}
	return &Sender{db: db, cfg: cfg, wake: make(chan struct{}, 1), changed: map[storage.AccountID]bool{}, flight: map[storage.AccountID]int{}}
}

// CheckEndpoint tells whether pushes may be sent to a URL, as far as the URL
// itself says. The addresses behind its name are checked at each connection.
func CheckEndpoint(endpoint string, allowPlain func(host string) bool) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(endpoint) > 2000:
		return errors.New("push-resource is no absolute https URL of at most 2000 octets")
	case u.Scheme == "https", u.Scheme == "http" && allowPlain != nil && allowPlain(u.Hostname()):
		return nil
	}
	return errors.New("push-resource is not https") // RFC 8030 §8
}

// Notify is for storage.DB.Watch: collections of an account have changed.
func (s *Sender) Notify(topic, key string) {
	if topic != storage.TopicCollection {
		return
	}
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	if s.changed != nil {
		if s.changed[storage.AccountID(id)] = true; len(s.changed) > 500 {
			s.changed = nil
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, then waits for what is in flight. What this process
// changes it hears of by Notify; what others change, and what is due again, a
// query finds.
func (s *Sender) Run(ctx context.Context) {
	var busy sync.WaitGroup
	defer busy.Wait()
	sweep := time.NewTimer(0)
	defer sweep.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(collect):
			}
		case <-sweep.C:
			all = true
		}
		began := time.Now()
		s.step(ctx, all, func(p storage.ClaimedPush) {
			busy.Add(1)
			go func() { defer busy.Done(); s.carry(ctx, p) }()
		})
		if all {
			sweep.Reset(max(sweepMin, sweepPart*time.Since(began)))
		}
	}
}

// step claims what has news and hands each push to spawn.
func (s *Sender) step(ctx context.Context, all bool, spawn func(storage.ClaimedPush)) {
	s.mu.Lock()
	homes := slices.Collect(maps.Keys(s.changed))
	all = all || s.changed == nil
	s.changed = map[storage.AccountID]bool{}
	var full []storage.AccountID
	for id, n := range s.flight {
		if n >= perSubscriber {
			full = append(full, id)
		}
	}
	room := workers - s.total
	s.mu.Unlock()
	if all {
		homes = nil
	} else if len(homes) == 0 {
		return
	}
	if room <= 0 {
		return // what waits is found by the next sweep
	}
	list, err := s.db.ClaimPush(ctx, s.cfg.Node, s.cfg.Now(), lease, homes, full, room)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Log.Error("subscriptions with news cannot be read; it will be tried again", "error", err)
		}
		return
	}
	if len(list) == 0 {
		return
	}
	allowed, err := s.allowed(ctx, list)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Log.Error("subscribers cannot be read; pushes wait", "error", err)
		}
		return // the leases end by themselves
	}
	var dead, back []storage.PushOutcome
	for i, p := range list {
		if !allowed[i] {
			dead = append(dead, storage.PushOutcome{ClaimedPush: p, Remove: true})
			continue
		}
		s.mu.Lock()
		ok := s.flight[p.Account] < perSubscriber
		if ok {
			s.flight[p.Account]++
			s.total++
		}
		s.mu.Unlock()
		if !ok { // more of one subscriber in one claim than may fly: soon again
			back = append(back, storage.PushOutcome{ClaimedPush: p, Later: true, Next: storage.Micros(s.cfg.Now().Add(spacing / 2))})
			continue
		}
		spawn(p)
	}
	for range dead {
		s.cfg.Observe("removed")
	}
	s.record(ctx, append(dead, back...))
}

// allowed tells for each push whether its subscriber still exists and may still
// read the collection: one statement for each that is about somebody else's (abuse A25).
func (s *Sender) allowed(ctx context.Context, list []storage.ClaimedPush) ([]bool, error) {
	ids := map[storage.AccountID]bool{}
	for _, p := range list {
		ids[p.Account], ids[p.Collection.Account] = true, true
	}
	accounts, err := s.db.AccountsByID(ctx, slices.Collect(maps.Keys(ids)))
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(list))
	for i, p := range list {
		who, ok := accounts[p.Account]
		if !ok || who.Disabled {
			continue
		}
		if p.Gone {
			out[i] = true
			continue
		}
		owner, ok := accounts[p.Collection.Account]
		if !ok {
			continue
		}
		if who.ID == owner.ID {
			out[i] = true
			continue
		}
		f, err := s.db.Find(ctx, storage.Query{Login: who.Handle, Home: owner.Handle, Collection: p.Of.Name})
		if err != nil {
			return nil, err
		}
		out[i] = (p.Of.Name == "" || f.Collection != nil) && s.cfg.MayRead(&who, &f)
	}
	return out, nil
}

// carry sends one push and records what came of it.
func (s *Sender) carry(ctx context.Context, p storage.ClaimedPush) {
	defer func() {
		s.mu.Lock()
		s.total--
		if s.flight[p.Account]--; s.flight[p.Account] <= 0 {
			delete(s.flight, p.Account)
		}
		s.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout) // what has begun ends, also when the server stops
	defer cancel()
	v := s.send(ctx, &p)
	now := s.cfg.Now()
	out := storage.PushOutcome{ClaimedPush: p}
	switch {
	case v.dead, p.Gone, v.err != nil && p.FailingSince != 0 && now.Sub(time.UnixMicro(p.FailingSince)) > giveUp:
		out.Remove = true
		s.cfg.Observe("removed")
		s.cfg.Log.Info("a push subscription ends", "host", v.host, "status", v.status, "collection_gone", p.Gone)
	case v.err != nil:
		wait := min(retryMin<<min(p.Failures, 10), retryMax)
		out.Failed, out.Next = true, storage.Micros(now.Add(min(max(wait, v.retryAfter), retryMax)))
		s.cfg.Observe("failed")
		s.cfg.Log.Info("a push was not taken; it will be tried again", "host", v.host, "status", v.status, "error", v.err)
	default:
		out.Budget = max(p.Budget, now.UnixMicro()) + refill.Microseconds()
		out.Next = max(now.Add(spacing).UnixMicro(), out.Budget-burst*refill.Microseconds())
		s.cfg.Observe("sent")
	}
	s.record(ctx, []storage.PushOutcome{out})
}

func (s *Sender) record(ctx context.Context, list []storage.PushOutcome) {
	if err := s.db.PushDone(context.WithoutCancel(ctx), s.cfg.Node, list); err != nil {
		s.cfg.Log.Error("the outcome of a push was not recorded; it may be sent again", "error", err)
	}
}

// verdict is what a push service said.
type verdict struct {
	host       string
	status     int
	dead       bool // it does not know the subscription
	retryAfter time.Duration
	err        error
}

// send makes one request (RFC 8030 §5).
func (s *Sender) send(ctx context.Context, p *storage.ClaimedPush) (v verdict) {
	u, err := url.Parse(p.Endpoint)
	if err == nil {
		v.host = u.Host
		err = CheckEndpoint(p.Endpoint, s.cfg.AllowPlain)
	}
	if err != nil {
		v.dead, v.err = true, errors.New("the endpoint may not be used")
		return v
	}
	text, err := message(p)
	if err != nil {
		v.err = err
		return v
	}
	body, err := encrypt(text, p.PublicKey, p.Auth, rand.Reader)
	if err != nil {
		v.dead, v.err = true, err
		return v
	}
	auth, err := s.cfg.Identity.authorization(u, s.cfg.Now())
	if err != nil {
		v.err = err
		return v
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Endpoint, bytes.NewReader(body))
	if err != nil {
		v.dead, v.err = true, errors.New("the endpoint may not be used")
		return v
	}
	h := req.Header
	h.Set("Authorization", auth)
	h.Set("Content-Encoding", "aes128gcm")
	h.Set("Content-Type", `application/xml; charset="UTF-8"`)
	h.Set("TTL", strconv.Itoa(int(timeToLive.Seconds())))
	h.Set("Urgency", "normal")
	h.Set("User-Agent", "Kalends")
	if key := replaceKey(p); key != "" {
		h.Set("Topic", key)
	}
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		v.err = hideURL(err)
		return v
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
	_ = resp.Body.Close()
	v.status = resp.StatusCode
	switch {
	case v.status >= 200 && v.status < 300:
	case v.status == http.StatusNotFound || v.status == http.StatusGone: // RFC 8030 §7.3
		v.dead = true
	default:
		v.err = errors.New("the push service answered " + strconv.Itoa(v.status))
		if sec, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && sec > 0 {
			v.retryAfter = time.Duration(min(sec, 3600)) * time.Second
		}
	}
	return v
}

// hideURL drops the URL that net/http puts into its errors: the path of an
// endpoint is a secret (abuse A53).
func hideURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
