package scheduling

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Config sets what a Service may do; the zero value of a field takes the
// default named beside it.
type Config struct {
	ProdID         string                    // of messages the server writes
	Limits         calendar.Limits           // of text that is parsed
	Rules          calendar.Rules            // of calendar objects
	Quota          int64                     // octets that messages may fill an account to: no limit
	LocalThreshold int                       // local attendees served inside of the PUT: 250
	HoldDelete     time.Duration             // how long messages caused by DELETE wait for the UID to return: 5 s; negative: off
	RetryMin       time.Duration             // first wait after a temporary failure: 1 min
	RetryMax       time.Duration             // longest wait: 1 h
	RetryExpiry    time.Duration             // then the delivery has failed: 48 h
	RefreshDelay   time.Duration             // how long refreshes of other attendees are collected: 300 ms
	WriteBackDelay time.Duration             // how long final statuses are collected: 2 s
	FreeBusyWait   time.Duration             // deadline of a question to peers: 10 s
	FreeBusyTypes  bool                      // other domains see tentative and absent times as such: no
	FreeBusyAlike  bool                      // who shows no busy time is answered like an unknown person: no
	Burst          int                       // messages that somebody elsewhere gets at once about one event within BurstWindow: 10
	BurstWindow    time.Duration             // 1 min
	PerHour        int                       // messages to other systems of one account an hour; the rest goes later: 2000
	PerDomain      int                       // deliveries in flight per domain: 4
	Workers        int                       // deliveries in flight: 64; at most half of them to domains that did not answer of late
	Lease          time.Duration             // how long a worker may hold a delivery before another one takes over: 2 min
	Grace          time.Duration             // how long deliveries in flight may take when Run is to end: 10 s
	LinkSecret     []byte                    // signs the links of Link, at least 32 octets; none: no links
	Node           string                    // name of this process in leases
	Now            func() time.Time          // time.Now
	Rand           io.Reader                 // crypto/rand.Reader
	Log            *slog.Logger              // slog.Default()
	Observe        func(event string, n int) // metrics hook, may be nil
}

// Service implements the use cases. It is safe for concurrent use and holds
// no state another process would need.
type Service struct {
	db        *storage.DB
	transport Transport
	cfg       Config
	wake      chan struct{}
	health    *health
	parsed    calendar.Parsed // for busy times

	domains struct {
		sync.Mutex
		at  time.Time
		set map[string]bool
	}
}

// New returns a Service over db. Without a transport every remote recipient
// gets status 5.2.
func New(db *storage.DB, t Transport, cfg Config) *Service {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if cfg.ProdID == "" {
		cfg.ProdID = "-//Kalends//Kalends//EN"
	}
	if cfg.LocalThreshold == 0 {
		cfg.LocalThreshold = 250
	}
	if cfg.Burst == 0 {
		cfg.Burst = 10
	}
	if cfg.PerHour == 0 {
		cfg.PerHour = 2000
	}
	if cfg.PerDomain == 0 {
		cfg.PerDomain = 4
	}
	if cfg.Workers == 0 {
		cfg.Workers = 64
	}
	def(&cfg.HoldDelete, 5*time.Second)
	def(&cfg.RetryMin, time.Minute)
	def(&cfg.RetryMax, time.Hour)
	def(&cfg.RetryExpiry, 48*time.Hour)
	def(&cfg.RefreshDelay, 300*time.Millisecond)
	def(&cfg.WriteBackDelay, 2*time.Second)
	def(&cfg.FreeBusyWait, 10*time.Second)
	def(&cfg.BurstWindow, time.Minute)
	def(&cfg.Lease, 2*time.Minute)
	def(&cfg.Grace, 10*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, int) {}
	}
	return &Service{db: db, transport: t, cfg: cfg, wake: make(chan struct{}, 1), health: newHealth(cfg.PerDomain, cfg.Workers/2, cfg.Now)}
}

// SetTransport is for wiring: federation needs the Service and the Service
// needs federation. It must be called before Run.
func (s *Service) SetTransport(t Transport) { s.transport = t }

// Wake makes the worker look at the queue now.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ETag is the strong entity tag of stored octets.
func ETag(data string) string {
	h := sha256.Sum256([]byte(data))
	return hex.EncodeToString(h[:16])
}

// newID returns a random name of 26 lower-case characters.
func (s *Service) newID() string {
	var b [16]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		panic(fmt.Sprintf("scheduling: no randomness: %v", err)) // crypto/rand never fails on supported systems
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// localDomain reports whether this installation is responsible for a domain.
// The list is read again every few seconds, so that a domain added by another
// process is known soon.
func (s *Service) localDomain(ctx context.Context, domain string) (bool, error) {
	d := &s.domains
	d.Lock()
	defer d.Unlock()
	if now := s.cfg.Now(); d.set == nil || now.Sub(d.at) > 5*time.Second || now.Before(d.at) {
		list, err := s.db.ListDomains(ctx)
		if err != nil {
			return false, err
		}
		set := make(map[string]bool, len(list))
		for _, x := range list {
			set[x.Name] = x.Role != storage.RoleGateway // those have their people elsewhere
		}
		d.set, d.at = set, now
	}
	return d.set[domain], nil
}

// addressesOf are all calendar user addresses of an account (RFC 6638 §2.4.1).
func addressesOf(a storage.Account) []calendar.Address {
	out := make([]calendar.Address, 0, len(a.Emails)+2)
	for _, e := range a.Emails {
		out = append(out, calendar.Address("mailto:"+e))
	}
	if a.UUID != "" {
		out = append(out, calendar.Address("urn:uuid:"+a.UUID))
	}
	return append(out, calendar.Address(PrincipalPath(a)))
}

// AddressesOf are all calendar user addresses of an account, the primary mail
// address first (RFC 6638 §2.4.1).
func AddressesOf(a storage.Account) []calendar.Address { return addressesOf(a) }

// PrincipalPath is the path of an account's principal resource, which is also
// one of its calendar user addresses.
func PrincipalPath(a storage.Account) string {
	folder := "users"
	switch a.Kind {
	case storage.KindGroup:
		folder = "groups"
	case storage.KindRoom:
		folder = "locations"
	case storage.KindResource:
		folder = "resources"
	}
	return "/dav/principals/" + folder + "/" + a.Handle + "/"
}

// directoryKey is the key under which the directory knows an address: its
// comparison form, or "handle:NAME" for a principal path.
func directoryKey(a calendar.Address) string {
	k := a.Key()
	if !strings.HasPrefix(k, "/dav/principals/") {
		return k
	}
	parts := strings.Split(strings.Trim(k, "/"), "/")
	if len(parts) != 4 {
		return k
	}
	return "handle:" + parts[3]
}

func storedStatus(status string) string {
	code, _, _ := strings.Cut(status, ";")
	return strings.TrimSpace(code)
}

func (s *Service) policy(a storage.Account, now time.Time) itip.Policy {
	return itip.Policy{Self: addressesOf(a), Now: now, ProdID: s.cfg.ProdID, DropCancelled: a.Kind == storage.KindRoom || a.Kind == storage.KindResource}
}

// NewName returns a new name for an object resource.
func (s *Service) NewName() string { return s.newID() + ".ics" }
