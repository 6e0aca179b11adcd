package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kalends/kalends/storage"
)

// sessionLife is how long a sign-in lasts.
const sessionLife = 12 * time.Hour

// sessionCookie is the cookie over plain HTTP (loopback); over TLS it has the
// prefix that keeps other hosts and plain connections from setting it.
const (
	sessionCookie       = "kalends"
	sessionCookieSecure = "__Host-kalends"
)

// session is what the cookie says: which account, as of which version of its
// password and rights, and until when.
type session struct {
	account storage.AccountID
	version int64
	issued  time.Time
	expires time.Time
}

// Layout of the signed text: form, account, version, issued, expires (seconds)
// and 16 random octets; all numbers big-endian.
const (
	sessionForm  = 1
	sessionBytes = 1 + 4*8 + 16
	maxCookie    = 256
)

// sessionKey derives the key of session cookies, so that nothing else signed
// with the installation's secret can be taken for one.
func sessionKey(secret []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("kalends web session v1"))
	return h.Sum(nil)
}

// seal makes the cookie's value.
func (s *site) seal(t session) string {
	b := make([]byte, sessionBytes, sessionBytes+sha256.Size)
	b[0] = sessionForm
	binary.BigEndian.PutUint64(b[1:], uint64(t.account))
	binary.BigEndian.PutUint64(b[9:], uint64(t.version))
	binary.BigEndian.PutUint64(b[17:], uint64(t.issued.Unix()))
	binary.BigEndian.PutUint64(b[25:], uint64(t.expires.Unix()))
	_, _ = rand.Read(b[33:]) // never fails on supported systems
	h := hmac.New(sha256.New, s.key)
	h.Write(b)
	return base64.RawURLEncoding.EncodeToString(h.Sum(b))
}

// unseal reads a cookie's value; false when it is not ours or has run out.
func (s *site) unseal(value string, now time.Time) (session, bool) {
	if len(value) > maxCookie {
		return session{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(b) != sessionBytes+sha256.Size {
		return session{}, false
	}
	h := hmac.New(sha256.New, s.key)
	h.Write(b[:sessionBytes])
	if !hmac.Equal(h.Sum(nil), b[sessionBytes:]) || b[0] != sessionForm {
		return session{}, false
	}
	t := session{
		account: storage.AccountID(binary.BigEndian.Uint64(b[1:])),
		version: int64(binary.BigEndian.Uint64(b[9:])),
		issued:  time.Unix(int64(binary.BigEndian.Uint64(b[17:])), 0),
		expires: time.Unix(int64(binary.BigEndian.Uint64(b[25:])), 0),
	}
	return t, now.Before(t.expires) && now.After(t.issued.Add(-time.Minute))
}

func (q *request) secure() bool { return strings.HasPrefix(q.external(), "https://") }

func (q *request) cookieName() string {
	if q.secure() {
		return sessionCookieSecure
	}
	return sessionCookie
}

// startSession signs the browser in as a.
func (q *request) startSession(a storage.Account) {
	now := q.now()
	t := session{account: a.ID, version: a.Version, issued: now, expires: now.Add(sessionLife)}
	http.SetCookie(q.w, &http.Cookie{Name: q.cookieName(), Value: q.s.seal(t), Path: "/", MaxAge: int(sessionLife / time.Second), HttpOnly: true, Secure: q.secure(), SameSite: http.SameSiteLaxMode})
}

func (q *request) endSession() {
	http.SetCookie(q.w, &http.Cookie{Name: q.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: q.secure(), SameSite: http.SameSiteLaxMode})
}

// identify finds out who is signed in: the cookie must be ours, and the
// account must still be what it was when the cookie was given.
func (q *request) identify() error {
	c, err := q.Cookie(q.cookieName())
	if err != nil {
		return nil
	}
	t, ok := q.s.unseal(c.Value, q.now())
	if !ok {
		return nil
	}
	a, err := q.s.db.AccountByID(q.ctx, t.account)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if a.Version == t.version && !a.Disabled && a.Verifier != "" {
		q.user = &a
	}
	return nil
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails on supported systems
	return base64.RawURLEncoding.EncodeToString(b[:])
}
