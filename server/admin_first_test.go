package server

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kalends/kalends/server/auth"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

func firstConfig(t *testing.T) Config {
	cfg := DefaultConfig()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	return cfg
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t, engine)
	ctx := t.Context()
	cfg := firstConfig(t)
	cfg.Domains = List{"a.test", "b.test"}
	cfg.ExternalURL = "https://cal.a.test"
	var out bytes.Buffer
	if err := Prepare(ctx, db, cfg, &out); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.DataDir, "admin-password")
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("password file: %v, %v", st, err)
	}
	b, _ := os.ReadFile(path)
	password := strings.TrimSpace(string(b))
	if len(password) < 20 {
		t.Fatalf("password of %d characters", len(password))
	}
	if text := out.String(); !strings.Contains(text, path) || strings.Contains(text, password) {
		t.Errorf("the path is not told, or the password is, to what is no terminal:\n%s", text)
	}
	admin, err := db.AccountByHandle(ctx, "admin")
	if err != nil || admin.Rights != storage.RightAdmin || !auth.Matches(admin.Verifier, password) {
		t.Errorf("account admin: rights %v, %v", admin.Rights, err)
	}
	for _, want := range []string{"_ischedules._tcp.a.test.", "_ischedules._tcp.b.test.", "a._domainkey.b.test."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the records to publish lack %s", want)
		}
	}
	for _, d := range []string{"a.test", "b.test"} {
		keys, err := db.Keys(ctx, d)
		if err != nil || len(keys) != 2 || keys[0].State != storage.KeyActive || keys[1].State != storage.KeyActive {
			t.Errorf("keys of %s: %d, %v", d, len(keys), err)
		}
	}
	if _, ok, err := db.Setting(ctx, "secret.web.session"); !ok || err != nil {
		t.Error("there is no secret for sessions", err)
	}

	// The second start finds all done and says nothing; a removed
	// admin stays removed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveAccount(ctx, admin.ID); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := Prepare(ctx, db, cfg, &out); err != nil || out.Len() != 0 {
		t.Errorf("second start: %v, %q", err, out.String())
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the second start made a password again")
	}
	if keys, _ := db.Keys(ctx, "a.test"); len(keys) != 2 {
		t.Errorf("%d keys after the second start", len(keys))
	}
}

func TestFirstStartWithPassword(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t, engine)
	cfg := firstConfig(t)
	cfg.AdminPass = "from the configuration"
	var out bytes.Buffer
	if err := Prepare(t.Context(), db, cfg, &out); err != nil {
		t.Fatal(err)
	}
	admin, err := db.AccountByHandle(t.Context(), "admin")
	if err != nil || !auth.Matches(admin.Verifier, cfg.AdminPass) {
		t.Error("the configured password does not work", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "admin-password")); err == nil {
		t.Error("a password file was written")
	}
	if strings.Contains(out.String(), cfg.AdminPass) {
		t.Error("the password is printed")
	}
}

// An imported admin is left as it is.
func TestFirstStartAfterImport(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, nil)
	ctx := t.Context()
	if _, err := a.ImportUsers(ctx, strings.NewReader("name,password,rights\nadmin,admin,admin;read-all\n")); err != nil {
		t.Fatal(err)
	}
	cfg := firstConfig(t)
	cfg.AdminPass = "other"
	if err := Prepare(ctx, a.db, cfg, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	if admin, err := a.db.AccountByHandle(ctx, "admin"); err != nil || !auth.Matches(admin.Verifier, "admin") {
		t.Error("the imported password was replaced", err)
	}
}

// Nodes that start together on one database agree: one admin, whose password
// lies in exactly the data folders that made or share it, one key per purpose,
// one secret.
func TestFirstStartTogether(t *testing.T) {
	t.Parallel()
	first := storagetest.Open(t, engine)
	dbs := []*storage.DB{first, storagetest.Second(t, first), storagetest.Second(t, first), storagetest.Second(t, first)}
	shared := firstConfig(t)
	var wg sync.WaitGroup
	dirs := make([]string, len(dbs))
	for i, db := range dbs {
		cfg := shared
		if i > 1 {
			cfg = firstConfig(t)
		}
		cfg.Domains = List{"a.test"}
		dirs[i] = cfg.DataDir
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := Prepare(t.Context(), db, cfg, &bytes.Buffer{}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	admin, err := first.AccountByHandle(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for i, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "admin-password"))
		if err != nil {
			continue
		}
		files++
		if !auth.Matches(admin.Verifier, strings.TrimSpace(string(b))) {
			t.Errorf("node %d has a file with a wrong password", i)
		}
	}
	if files == 0 {
		t.Error("nobody knows the password")
	}
	keys, err := first.Keys(t.Context(), "a.test")
	if err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	for _, dir := range dirs { // no half-written files stay behind
		entries, _ := os.ReadDir(dir)
		for _, f := range entries {
			if strings.HasPrefix(f.Name(), ".") {
				t.Errorf("%s is left in %s", f.Name(), dir)
			}
		}
	}
}

func TestOnTerminal(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.CreateTemp(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if onTerminal(null) || onTerminal(file) || onTerminal(&bytes.Buffer{}) {
		t.Error("what is no terminal is taken for one")
	}
}

// A start that was cut short after the file was written goes on with it.
func TestPasswordFileIsUsedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin-password")
	one, made, err := passwordFile(path)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	two, made, err := passwordFile(path)
	if err != nil || made || two != one {
		t.Errorf("%v %v: the second password differs", made, err)
	}
	if err := os.WriteFile(path, nil, fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := passwordFile(path); err == nil {
		t.Error("an empty file is taken for a password")
	}
}
