package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

// Private keys in the database say nothing without the secret, and a missing or
// wrong secret is told with what to do (A53: never with the key).
func TestSealedKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.DatabaseURL = "sqlite:" + cfg.DataDir + "/k.db"
	open := func(secret string) *Admin {
		t.Helper()
		c := cfg
		c.KeySecret = secret
		a, err := OpenAdmin(ctx, c, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		return a
	}
	stored := func() string {
		raw, err := storage.Open(ctx, cfg.DatabaseURL, storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		keys, err := raw.Keys(ctx, "alpha.test")
		if err != nil || len(keys) < 2 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		return keys[0].PEM + keys[1].PEM
	}
	one, two := strings.Repeat("a1", 16), strings.Repeat("b2", 16)
	a := open("")
	if _, err := a.AddDomain(ctx, "alpha.test"); err != nil {
		t.Fatal(err)
	}
	want, err := a.Keys(ctx, "alpha.test")
	if err != nil || !strings.Contains(stored(), "PRIVATE KEY") {
		t.Fatalf("%v", err)
	}
	if _, err := a.EncryptKeys(ctx); err == nil || !strings.Contains(err.Error(), "KALENDS_KEY_SECRET") {
		t.Errorf("encrypted with no secret: %v", err)
	}
	a = open(one)
	var out bytes.Buffer
	if err := Prepare(ctx, a.db, a.cfg, &out); err != nil || !strings.Contains(out.String(), "2 private keys were encrypted") {
		t.Fatalf("%v: %s", err, &out)
	}
	if text := stored(); strings.Contains(text, "PRIVATE KEY") || strings.Count(text, sealedPrefix) != 2 {
		t.Errorf("stored: %.80s", text)
	}
	if n, err := a.EncryptKeys(ctx); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	got, err := a.Keys(ctx, "alpha.test")
	if err != nil || got[0].Record != want[0].Record || got[1].Record != want[1].Record {
		t.Errorf("the keys changed: %v", err)
	}
	if k, err := a.RotateKey(ctx, "alpha.test", PurposeCalendar); err != nil || k.State != string(storage.KeyNext) {
		t.Errorf("rotate: %+v, %v", k, err)
	}
	if _, err := newKeyring(a.db, true).Signer(ctx, "alpha.test", ""); err != nil {
		t.Error(err)
	}
	for secret, says := range map[string]string{"": "key_secret is not set", two: "not the secret it was encrypted with"} {
		_, err := open(secret).Keys(ctx, "alpha.test")
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), one) {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
	found, err := open(two).Doctor(ctx, "alpha.test")
	if err != nil {
		t.Fatal(err)
	}
	finds(t, "wrong secret", found, FindingBroken, "not the secret it was encrypted with", "KALENDS_KEY_SECRET")
	// A key that was moved to another row does not open.
	s := sealer{one}
	text, err := s.Seal(storage.Key{Domain: "alpha.test", Purpose: "mail", Selector: "s", PEM: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(storage.Key{Domain: "beta.test", Purpose: "mail", Selector: "s", PEM: text}); err == nil {
		t.Error("a key of one domain opens as another's")
	}
	if n, err := a.DecryptKeys(ctx); err != nil || n != 3 {
		t.Errorf("decrypt: %d, %v", n, err)
	}
	if _, err := open("").Keys(ctx, "alpha.test"); err != nil {
		t.Error(err)
	}
	short := cfg
	short.KeySecret = "short"
	if err := short.check(); err == nil || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("%v", err)
	}
}
