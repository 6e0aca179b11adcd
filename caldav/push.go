package caldav

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/push"
	"github.com/kalends/kalends/storage"
)

// Push is what registrations for WebDAV-Push need
// (draft-bitfire-webdav-push); sending is the business of package push.
type Push struct {
	PublicKey  string                 // the server's, for push services (RFC 8292)
	AllowPlain func(host string) bool // push services that may be reached without TLS
	PerUser    int                    // subscriptions of one user; 0: 200
}

// How long a registration lasts: as long as the client wants, between an hour
// and two weeks, a week when it does not say ("Expiration").
const (
	pushDefault  = 7 * 24 * time.Hour
	pushShortest = time.Hour
	pushLongest  = 14 * 24 * time.Hour
)

// pushed are the kinds that can be subscribed to.
var pushed = collected

func init() {
	on := func(f func(q *request, r *resource, b *davxml.Builder)) *property {
		return &property{on: pushed, has: func(q *request, r *resource) bool { return q.h.cfg.Push != nil && r.col != nil }, write: f}
	}
	properties[davxml.PTransports] = on(func(q *request, _ *resource, b *davxml.Builder) {
		b.Start(davxml.PWebPush)
		b.Start(davxml.PVAPIDPublicKey)
		b.Attr("type", "p256ecdsa")
		b.Text(q.h.cfg.Push.PublicKey)
		b.End()
		b.End()
	})
	properties[davxml.PTopic] = on(func(_ *request, r *resource, b *davxml.Builder) { b.Text(push.Topic(r.col)) })
	// Content: what sync-collection with level 1 tells; properties: the
	// collection's own.
	properties[davxml.PSupportedTriggers] = on(func(_ *request, _ *resource, b *davxml.Builder) {
		b.Start(davxml.PContentUpdate)
		b.Element(davxml.DDepth, "1")
		b.End()
		b.Start(davxml.PPropertyUpdate)
		b.Element(davxml.DDepth, "0")
		b.End()
	})
}

// post answers POST to a collection: a registration for push messages is XML
// and everything else is not.
func (q *request) post() error {
	ct, _, _ := strings.Cut(strings.ToLower(q.r.Header.Get("Content-Type")), ";")
	if ct = strings.TrimSpace(ct); ct == "application/xml" || ct == "text/xml" {
		return q.registerPush()
	}
	switch q.path.Kind {
	case KindOutbox:
		return q.postOutbox()
	case KindCalendar:
		return q.postCalendar()
	}
	return &httpError{status: http.StatusUnsupportedMediaType, msg: "A POST to this collection is a registration for push messages, as application/xml."}
}

// registerPush registers a push subscription, or renews it.
func (q *request) registerPush() error {
	root, err := q.readXML()
	if err != nil {
		return err
	}
	reg, err := davxml.ParsePushRegister(root)
	if err != nil {
		return err
	}
	unavailable := func(msg string) error { return precondition(davxml.PPushNotAvailable, msg) }
	cfg := q.h.cfg.Push
	switch {
	case cfg == nil:
		return unavailable("this server sends no push messages")
	case !q.privs.Has(acl.Read):
		return unavailable("you may not read this collection")
	}
	if err := errors.Join(push.CheckEndpoint(reg.Endpoint, cfg.AllowPlain), push.CheckKeys(reg.PublicKey, reg.Auth)); err != nil {
		return precondition(davxml.PInvalidSubscription, err.Error())
	}
	col := q.found.Collection
	if col == nil {
		if col, err = q.homeCollection(); err != nil {
			return err
		}
	}
	now := q.now()
	expires := now.Add(pushDefault)
	if t, err := http.ParseTime(reg.Expires); err == nil {
		expires = now.Add(min(max(t.Sub(now), pushShortest), pushLongest))
	}
	expires = expires.Truncate(time.Second)
	most := cfg.PerUser
	if most == 0 {
		most = 200
	}
	sub, err := q.h.db.RegisterPush(q.ctx, storage.PushSubscription{Account: q.user.ID, Collection: col.CollectionKey, Endpoint: reg.Endpoint, PublicKey: reg.PublicKey, Auth: reg.Auth,
		Content: reg.Content, Properties: reg.Property, Expires: expires.UnixMicro()}, most)
	if errors.Is(err, storage.ErrTooMany) {
		return unavailable("you have as many push subscriptions as one user may have; remove some or let them expire")
	}
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Location", q.pushURL(sub.Token))
	h.Set("Expires", expires.UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", "no-store")
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// pushURL is the absolute registration URL.
func (q *request) pushURL(token string) string {
	base := ""
	if q.h.cfg.ExternalURL != nil {
		base = q.h.cfg.ExternalURL(q.r)
	} else {
		base = "http://" + q.r.Host
	}
	return base + Path{Kind: KindPush, Object: token}.String()
}

// unregisterPush ends a registration of the user; there are no others to find.
func (q *request) unregisterPush() error {
	if err := q.h.db.RemovePush(q.ctx, q.user.ID, q.path.Object); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// quietly serves a request that shall not wake its own sender
// (Push-Dont-Notify, "Suppressing Notifications"). The asterisk stands for all
// subscriptions of the user: he cannot keep from others what they subscribed to.
func (q *request) quietly(serve func(*request) error) error {
	lines := q.r.Header["Push-Dont-Notify"]
	if len(lines) == 0 || q.h.cfg.Push == nil || q.found.Collection == nil {
		return serve(q)
	}
	switch q.r.Method {
	case http.MethodPut, http.MethodDelete, http.MethodPost, "PROPPATCH", "MOVE", "COPY":
	default:
		return serve(q)
	}
	mute := &storage.PushMute{Account: q.user.ID, Collection: q.found.Collection.CollectionKey}
	var all bool
	if mute.Tokens, all = q.pushTokens(lines); !all && len(mute.Tokens) == 0 {
		return serve(q)
	} else if all {
		mute.Tokens = nil
	}
	if err := q.h.db.MutePush(q.ctx, mute); err != nil {
		return err
	}
	defer func() {
		// When this fails, the subscriptions are told after all.
		if err := q.h.db.UnmutePush(q.ctx, mute); err != nil && q.ctx.Err() == nil {
			q.h.cfg.Log.Warn("a client will hear of its own change", "error", err, "request", q.requestID())
		}
	}()
	return serve(q)
}

// pushTokens reads the registration URLs of a Push-Dont-Notify header. What is
// no such URL is ignored.
func (q *request) pushTokens(lines []string) (tokens []string, all bool) {
	prefix := q.pushURL("")
	for _, line := range lines {
		for v := range strings.SplitSeq(line, ",") {
			v = strings.TrimSpace(v)
			if v == "*" {
				return nil, true
			}
			if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
				continue
			}
			if t, ok := strings.CutPrefix(v[1:len(v)-1], prefix); ok && t != "" && len(tokens) < 100 && !slices.Contains(tokens, t) {
				tokens = append(tokens, t)
			}
		}
	}
	return tokens, false
}

// MayRead tells whether a user may read a collection: package push asks before
// it tells him anything.
func MayRead(user *storage.Account, f *storage.Found) bool {
	q := &request{user: user, found: *f}
	kind := KindHome
	if f.Collection != nil {
		kind = kindFor(f.Collection)
	}
	return f.Home != nil && looks(kind, q.privilegesIn(f, f.Collection))
}
