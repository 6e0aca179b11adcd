package auth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

func account(t *testing.T, password string) *storage.Account {
	t.Helper()
	v, err := Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return &storage.Account{ID: 7, Handle: "alice", Verifier: v, Version: 1}
}

var here = netip.MustParseAddr("192.0.2.7")

func TestHashAndMatch(t *testing.T) {
	t.Parallel()
	v, err := Hash("correct horse")
	if err != nil || !strings.HasPrefix(v, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("Hash = %q, %v", v, err)
	}
	if !Matches(v, "correct horse") || Matches(v, "correct horsE") {
		t.Error("Matches tells right from wrong the wrong way")
	}
	for _, bad := range []string{"", "$argon2id$v=19$m=1,t=1,p=1$AA$AA", "$argon2id$v=19$m=99999999,t=2,p=1$AAAA$AAAA", "$2a$10$xyz", "$argon2id$v=19$m=x$a$b"} {
		if Matches(bad, "") || Matches(bad, "x") {
			t.Errorf("verifier %q matches", bad)
		}
	}
	if _, err := Hash(strings.Repeat("x", 2000)); err == nil {
		t.Error("a password of 2000 octets was hashed")
	}
}

// A cached verification must not outlive the verifier version it was made with.
func TestVersionEndsCachedVerification(t *testing.T) {
	t.Parallel()
	c, err := NewChecker(nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, a := context.Background(), account(t, "old")
	for range 2 {
		if err := c.Check(ctx, a, "alice", "old", here); err != nil {
			t.Fatal(err)
		}
	}
	changed := *account(t, "new")
	changed.Version = 2
	if err := c.Check(ctx, &changed, "alice", "old", here); !errors.Is(err, ErrDenied) {
		t.Errorf("the old password after a change: %v", err)
	}
	if err := c.Check(ctx, &changed, "alice", "new", here); err != nil {
		t.Errorf("the new password: %v", err)
	}
	off := *a
	off.Disabled, off.Version = true, 3
	if err := c.Check(ctx, &off, "alice", "old", here); !errors.Is(err, ErrDenied) {
		t.Errorf("disabled account: %v", err)
	}
	if err := c.Check(ctx, nil, "nobody", "old", here); !errors.Is(err, ErrDenied) {
		t.Errorf("unknown account: %v", err)
	}
}

// A23: guessing is slowed down by account and by network, the right password
// included, and the window ends.
func TestGuessingIsSlowed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c, err := NewChecker(nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	ctx, a := context.Background(), account(t, "right")
	for range failUser {
		c.fail("u:alice")
	}
	if err := c.Check(ctx, a, "alice", "right", here); !errors.Is(err, ErrSlow) {
		t.Errorf("after %d wrong passwords: %v", failUser, err)
	}
	now = now.Add(failWindow + time.Second)
	if err := c.Check(ctx, a, "alice", "right", here); err != nil {
		t.Errorf("after the window: %v", err)
	}
	for range failNet {
		c.fail("n:" + network(here))
	}
	if err := c.Check(ctx, nil, "bob", "x", netip.MustParseAddr("192.0.2.200")); !errors.Is(err, ErrSlow) {
		t.Errorf("another guess from the same network: %v", err)
	}
	if err := c.Check(ctx, nil, "bob", "x", netip.MustParseAddr("198.51.100.1")); !errors.Is(err, ErrDenied) {
		t.Errorf("a guess from elsewhere: %v", err)
	}
}

type apps map[string]storage.AppPassword

func (m apps) AppPasswordByHash(_ context.Context, id storage.AccountID, hash string) (storage.AppPassword, error) {
	if p, ok := m[hash]; ok && p.Account == id {
		return p, nil
	}
	return storage.AppPassword{}, storage.ErrNotFound
}
func (m apps) TouchAppPassword(context.Context, storage.AccountID, int64) error { return nil }

func TestAppPassword(t *testing.T) {
	t.Parallel()
	pw, hash, err := NewAppPassword()
	if err != nil || len(pw) != 40 {
		t.Fatalf("NewAppPassword = %q, %v", pw, err)
	}
	m := apps{hash: {Account: 7, ID: 1, Hash: hash}}
	c, err := NewChecker(m, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	a := account(t, "main")
	if err := c.Check(context.Background(), a, "alice", pw, here); err != nil {
		t.Fatal(err)
	}
	other := *a
	other.ID = 8
	if err := c.Check(context.Background(), &other, "bob", pw, here); !errors.Is(err, ErrDenied) {
		t.Errorf("alice's app password for bob: %v", err)
	}
	delete(m, hash)
	if err := c.Check(context.Background(), a, "alice", pw, here); !errors.Is(err, ErrDenied) {
		t.Errorf("a revoked app password: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c, err := NewChecker(nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range cacheSize {
		c.cache[[32]byte{byte(i), byte(i >> 8), byte(i >> 16)}] = time.Now().Add(time.Hour)
	}
	if err := c.Check(context.Background(), account(t, "x"), "alice", "x", here); err != nil {
		t.Fatal(err)
	}
	if len(c.cache) > cacheSize/2+1 {
		t.Errorf("the cache holds %d tickets", len(c.cache))
	}
	for i := range failSize + 10 {
		c.fail(string(rune(i)))
	}
	if len(c.failed) > failSize {
		t.Errorf("%d counters are kept", len(c.failed))
	}
}

// A23: a name that nobody has costs what a wrong password costs: the same slow hash,
// under the same bound on hashing at a time.
func TestUnknownNamesCostTheSame(t *testing.T) {
	t.Parallel()
	c, err := NewChecker(nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	known := account(t, "right")
	cost := func(verifier string) string {
		return verifier[:strings.LastIndex(verifier[:strings.LastIndexByte(verifier, '$')], "$")]
	}
	if cost(c.dummy) != cost(known.Verifier) || len(c.dummy) != len(known.Verifier) {
		t.Errorf("an unknown name is checked against %s, others against %s", cost(c.dummy), cost(known.Verifier))
	}
	for range cap(c.slots) { // nothing can be hashed
		c.slots <- struct{}{}
	}
	off := *known
	off.Disabled = true
	for what, a := range map[string]*storage.Account{"a wrong password": known, "an unknown name": nil, "a disabled account": &off} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if err := c.Check(ctx, a, "alice", "wrong", here); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s is answered without a hash: %v", what, err)
		}
		cancel()
	}
	for range cap(c.slots) {
		<-c.slots
	}
	for what, a := range map[string]*storage.Account{"a wrong password": known, "an unknown name": nil, "a disabled account": &off} {
		if err := c.Check(context.Background(), a, "alice", "wrong", here); err != ErrDenied {
			t.Errorf("%s: %v", what, err)
		}
	}
}
