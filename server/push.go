package server

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/push"
)

// newPush makes the sender of push messages, and what the DAV side needs to take
// registrations; nil when it is switched off.
func (s *server) newPush(ctx context.Context) (*caldav.Push, error) {
	if !s.cfg.Push {
		return nil, nil
	}
	secret, err := secretOf(ctx, s.db, "push.vapid")
	if err != nil {
		return nil, err
	}
	// RFC 8292 §2.1: whom the push service may ask.
	contact := ""
	if names := s.fed.domains.names(); len(names) > 0 {
		contact = "mailto:postmaster@" + names[0]
	} else if strings.HasPrefix(s.cfg.ExternalURL, "https://") {
		contact = s.cfg.ExternalURL
	}
	id, err := push.NewIdentity(secret, contact)
	if err != nil {
		return nil, err
	}
	client := discover.NewHTTPClient(discover.HTTPConfig{Dialer: s.fed.out.Dialer, RootCAs: s.fed.out.Roots, Timeout: 15 * time.Second, MaxConnsPerHost: 16, AllowHTTP: true})
	s.push = push.New(s.db, push.Config{
		Identity: id, HTTP: client, AllowPlain: s.cfg.plainPush, MayRead: caldav.MayRead, Node: s.node, Log: s.log, Now: time.Now,
		Observe: func(outcome string) { s.metrics.pushes.WithLabelValues(outcome).Inc() },
	})
	return &caldav.Push{PublicKey: id.PublicKey(), AllowPlain: s.cfg.plainPush}, nil
}

// plainPush allows push services without TLS at addresses that dial_allow names:
// a laboratory's, or one in the house. Everybody else's has TLS (RFC 8030 §8).
func (c *Config) plainPush(host string) bool {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, n := range c.DialAllow {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
