package imip

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

// Rules say in whose name mail leaves.
type Rules struct {
	// From is KALENDS_MAIL_FROM: envelope and From when we may not sign for
	// the user.
	From Mailbox
	// Intake is KALENDS_MAIL_INTAKE, local@domain; sub-addresses of it come to
	// our listener.
	Intake string
	// Domain gives the policy of a domain (A-labels); nil: none is ours.
	Domain func(domain string) DomainRules
}

// DomainRules are the policy of one domain.
type DomainRules struct {
	Local    bool // one of our domains
	FromUser bool // From may be the user although we hold no mail key: the mail server signs
	Gateway  bool // answers come home to the intake address
	Bounces  bool // so do bounces: the envelope is a sub-address of it
}

// Sender is in whose name one mail leaves.
type Sender struct {
	From      Mailbox
	ReplyTo   Mailbox // Email "" : none
	Envelope  string  // MAIL FROM
	Organizer Mailbox // stands in for ORGANIZER when Email is not ""
}

// Choose decides From, Reply-To and envelope of a mail that user causes.
// keyed says that we hold the mail key of his domain. token is "" unless the
// mail needs an answer that comes home by gateway mode.
//
// With a token the sender is the intake's sub-address under the organizer's
// name, so that From, ORGANIZER and Reply-To agree and the bounces come home
// as well. Else From is the user when his domain is ours and signed for, and
// otherwise our own address with Reply-To the user, since a From we cannot
// sign for fails DMARC (want 22).
func (r Rules) Choose(user Mailbox, keyed bool, token string) (Sender, error) {
	user.Name = cleanLine(user.Name, 100)
	if token != "" {
		sub, err := subAddress(r.Intake, token)
		if err != nil {
			return Sender{}, err
		}
		name := user.Name
		if name == "" {
			name = user.Email
		}
		box := Mailbox{Name: name, Email: sub}
		return Sender{From: box, ReplyTo: box, Envelope: sub, Organizer: box}, nil
	}
	domain := calendar.Address("mailto:" + user.Email).Domain()
	if p := r.rules(domain); p.Local && (keyed || p.FromUser) {
		return Sender{From: user, Envelope: user.Email}, nil
	}
	if r.From.Email == "" {
		return Sender{}, fmt.Errorf("%w: no From address is set", ErrConfig)
	}
	name := user.Name
	if name == "" {
		name = user.Email
	}
	return Sender{From: Mailbox{Name: name + " via Kalends", Email: r.From.Email}, ReplyTo: user, Envelope: r.From.Email}, nil
}

func (r Rules) rules(domain string) DomainRules {
	if r.Domain == nil || domain == "" {
		return DomainRules{}
	}
	return r.Domain(domain)
}

// subAddress is local+token@domain of the intake address (RFC 5233).
func subAddress(intake, token string) (string, error) {
	local, domain, ok := cutLast(intake, "@")
	if !ok || local == "" || domain == "" {
		return "", fmt.Errorf("%w: no intake address is set", ErrConfig)
	}
	return local + "+" + token + "@" + domain, nil
}

// token splits an address of the intake. ok is false when the address is not
// the intake's; token is "" for the plain address.
func (r Rules) token(a calendar.Address) (token string, ok bool) {
	if r.Intake == "" {
		return "", false
	}
	want := strings.TrimPrefix(calendar.Address("mailto:"+r.Intake).Key(), "mailto:")
	got := strings.TrimPrefix(a.Key(), "mailto:")
	wl, wd, _ := cutLast(want, "@")
	gl, gd, _ := cutLast(got, "@")
	if want == "" || gd != wd {
		return "", false
	}
	base, tag, _ := strings.Cut(gl, "+")
	if base != wl {
		return "", false
	}
	return tag, true
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Binding is what a token stands for: an answer that comes to its sub-address
// is about this UID of this user and was asked of this attendee.
type Binding struct {
	Purpose   string // storage.TokenReply or storage.TokenBounce
	Account   storage.AccountID
	UID       string
	Organizer calendar.Address
	Attendee  calendar.Address
}

// TokenHash is how a token is stored: the SHA-256 of its text.
type TokenHash [32]byte

// TokenStore keeps bindings by the hash of their token. Both methods must be
// safe for concurrent use; Save of a known hash changes nothing.
type TokenStore interface {
	SaveToken(ctx context.Context, hash TokenHash, b Binding) error
	// FindToken answers ErrNoToken for a hash that was never saved.
	FindToken(ctx context.Context, hash TokenHash) (Binding, error)
}

// Tokens makes and resolves gateway tokens. A token has 128 bits and is the
// keyed hash of its binding: an attendee's program identifies the organizer by
// his address, so every mail of one meeting to one attendee must carry the
// same one, and still only its hash is stored.
type Tokens struct {
	Store  TokenStore
	Secret []byte // at least 32 random octets; a new secret breaks open meetings
}

var tokenText = base32.StdEncoding.WithPadding(base32.NoPadding)

// Issue returns the token of a binding, 26 characters of base32 in lower case,
// and stores its hash.
func (t *Tokens) Issue(ctx context.Context, b Binding) (string, error) {
	if len(t.Secret) < 32 {
		return "", fmt.Errorf("%w: the token secret is too short", ErrConfig)
	}
	mac := hmac.New(sha256.New, t.Secret)
	if b.Purpose != storage.TokenReply {
		fmt.Fprintf(mac, "kalends-mail-%s\x00", b.Purpose)
	}
	fmt.Fprintf(mac, "kalends-mail-token\x00%d\x00%q\x00%q\x00%q", b.Account, b.UID, b.Organizer.Key(), b.Attendee.Key())
	token := strings.ToLower(tokenText.EncodeToString(mac.Sum(nil)[:16]))
	if err := t.Store.SaveToken(ctx, HashToken(token), b); err != nil {
		return "", fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return token, nil
}

// Resolve finds the binding of a token as it came in an address; case does not
// matter, since mail servers change it. ErrNoToken when there is none.
func (t *Tokens) Resolve(ctx context.Context, token string) (Binding, error) {
	if len(token) != 26 {
		return Binding{}, ErrNoToken
	}
	b, err := t.Store.FindToken(ctx, HashToken(token))
	if err != nil && !errors.Is(err, ErrNoToken) {
		return b, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	return b, err
}

// HashToken is the stored form of a token.
func HashToken(token string) TokenHash { return sha256.Sum256([]byte(strings.ToLower(token))) }
