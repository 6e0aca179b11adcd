package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/server/auth"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// engine is what the tests run on: all of them on one after the other.
var engine storagetest.Engine

func TestMain(m *testing.M) {
	for _, engine = range storagetest.Engines(nil) {
		if m.Run() != 0 {
			fmt.Println("with", engine)
			os.Exit(1)
		}
	}
}

// fixedClock is a clock that tests set.
type fixedClock struct{ t time.Time }

func (c *fixedClock) now() time.Time { return c.t }

// newAdmin is an Admin over a fresh database.
func newAdmin(t *testing.T, change func(*Config)) *Admin {
	t.Helper()
	return adminOver(t, storagetest.Open(t, engine), change)
}

func adminOver(t *testing.T, db *storage.DB, change func(*Config)) *Admin {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	if change != nil {
		change(&cfg)
	}
	return NewAdmin(db, cfg, "test", slog.New(slog.DiscardHandler))
}

func TestParseUsersCSV(t *testing.T) {
	t.Parallel()
	rows, err := ParseUsersCSV(strings.NewReader("\ufeffEmails, name ,password,rights,uuid\n" +
		"A@Example.ORG; b@example.org ,alice, pass word ,admin;read-all,urn:uuid:10000000-0000-0000-0000-00000000000A\n" +
		"\n,bob,\"x,\"\"y\",,\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2", len(rows))
	}
	a, b := rows[0], rows[1]
	if a.Line != 2 || a.Name != "alice" || strings.Join(a.Emails, " ") != "a@example.org b@example.org" || a.UUID != "10000000-0000-0000-0000-00000000000a" || len(a.Rights) != 2 {
		t.Errorf("row of alice: %+v", a)
	}
	if b.Line != 4 || b.Password != `x,"y` || b.Emails != nil || b.Rights != nil {
		t.Errorf("row of bob: %+v", b)
	}
	for text, want := range map[string]string{
		"":                                "empty",
		"kind\nuser\n":                    "column name is missing",
		"name,name\na,a\n":                "twice",
		"name,x\na,b\n":                   `unknown column "x"`,
		"name\na\nb\na\n":                 "line 4: the name a is on line 2 already",
		"name,members\na,b\n":             "only a group has members",
		"name,uuid\na,12\n":               "no UUID",
		"name,rights\na,root\n":           "rights are admin and read-all",
		"name,kind\na\n":                  "wrong number of fields",
		"name\n\"a\n":                     "nothing was imported",
		"name,emails\na,x@y.z\nb,X@Y.Z\n": "the address x@y.z is on line 2 already",
	} {
		if _, err := ParseUsersCSV(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseUsersCSV(f *testing.F) {
	f.Add("name,kind,emails,display_name,password,rights,members,uuid\na,user,a@b.c,A,x,admin,,\n")
	f.Add("name\n\"")
	f.Add("\xef\xbb\xbfname;emails\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ParseUsersCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range rows {
			if !storage.ValidHandle(r.Name) || r.Line < 2 {
				t.Errorf("row %+v", r)
			}
		}
	})
}

// A password that did not change keeps its verifier, so that cached logins and
// running programs go on; one that did change is replaced.
func TestImportKeepsVerifiers(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, nil)
	ctx := t.Context()
	const file = "name,password\nalice,one\nbob,two\n"
	if r, err := a.ImportUsers(ctx, strings.NewReader(file)); err != nil || r.Created != 2 {
		t.Fatal(r, err)
	}
	before, err := a.db.AccountByHandle(ctx, "alice")
	if err != nil || !auth.Matches(before.Verifier, "one") {
		t.Fatal(err, "the password is not set")
	}
	if r, err := a.ImportUsers(ctx, strings.NewReader(strings.Replace(file, "two", "three", 1))); err != nil || r != (ImportResult{Changed: 1, Unchanged: 1}) {
		t.Fatal(r, err)
	}
	after, _ := a.db.AccountByHandle(ctx, "alice")
	if after.Verifier != before.Verifier || after.Version != before.Version {
		t.Error("alice's verifier changed with the same password")
	}
	if bob, _ := a.db.AccountByHandle(ctx, "bob"); !auth.Matches(bob.Verifier, "three") {
		t.Error("bob's password did not change")
	}
	trail, err := a.db.AuditTrail(ctx, 10)
	if err != nil || len(trail) != 2 || trail[0].Action != "user.import" || trail[0].Subject != "2 accounts" || trail[0].Actor != "test" {
		t.Errorf("audit trail %+v, %v", trail, err)
	}
}

// The text of `domain dns` is a zone file, and its keys are ours.
func TestZoneText(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, func(c *Config) { c.ExternalURL = "https://cal.example.org" })
	ctx := t.Context()
	if _, err := a.AddDomain(ctx, "example.org"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RotateKey(ctx, "example.org", PurposeMail); err != nil {
		t.Fatal(err)
	}
	text, err := a.ZoneText(ctx, "Example.org")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	zp := dns.NewZoneParser(strings.NewReader(text), "", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		switch r := rr.(type) {
		case *dns.SRV:
			types["SRV"]++
			if r.Target != "cal.example.org." || r.Port != 443 {
				t.Errorf("%s", r)
			}
		case *dns.TXT:
			types["TXT"]++
			if !strings.Contains(r.Hdr.Name, "_domainkey.") {
				continue
			}
			types["key"]++
			for _, s := range r.Txt {
				if len(s) > 255 {
					t.Errorf("%s: a string of %d octets", r.Hdr.Name, len(s))
				}
			}
			if k, err := dkim.ParseKeyRecord(strings.Join(r.Txt, "")); err != nil || k.Key.N.BitLen() != 2048 {
				t.Errorf("%s: %v", r.Hdr.Name, err)
			}
		}
	}
	if err := zp.Err(); err != nil {
		t.Fatalf("no zone file: %v\n%s", err, text)
	}
	if types["SRV"] != 3 || types["TXT"] != 5 || types["key"] != 3 {
		t.Errorf("records %v in\n%s", types, text)
	}
	if strings.Contains(text, "PRIVATE") {
		t.Error("a private key is in the text")
	}
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	var have []storage.Key
	seen := map[string]bool{}
	for i := range 60 {
		s, err := nextSelector(PurposeCalendar, have, at)
		if err != nil || seen[s] {
			t.Fatalf("selector %d: %q, %v", i, s, err)
		}
		seen[s] = true
		have = append(have, storage.Key{Selector: s})
	}
	for _, s := range []string{"cal2026a", "cal2026z", "cal2026aa", "cal2026bh"} {
		if !seen[s] {
			t.Errorf("%s is missing", s)
		}
	}
}

// A next key signs only after the DNS has shown it for twice the TTL; a
// retired one is revoked after two weeks.
func TestKeyLife(t *testing.T) {
	t.Parallel()
	clock := &fixedClock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	db := storagetest.OpenWith(t, engine, storage.Options{Clock: clock.now})
	a := adminOver(t, db, nil)
	ctx := t.Context()
	if _, err := a.AddDomain(ctx, "a.test"); err != nil {
		t.Fatal(err)
	}
	next, err := a.RotateKey(ctx, "a.test", PurposeCalendar)
	if err != nil {
		t.Fatal(err)
	}
	zone := map[string]string{}
	lookup := func(_ context.Context, domain, selector string) ([]string, error) {
		if r, ok := zone[selector+"._domainkey."+domain+"."]; ok {
			return []string{r}, nil
		}
		return nil, errors.New("NXDOMAIN")
	}
	step := func(after time.Duration, published Published, want string) {
		t.Helper()
		clock.t = clock.t.Add(after)
		if err := AdvanceKeys(ctx, db, clock.t, published); err != nil {
			t.Fatal(err)
		}
		keys, err := a.Keys(ctx, "a.test")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range keys {
			if k.Purpose == PurposeCalendar {
				got = append(got, k.Selector+"="+k.State)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("after %s: %v, want %s", after, got, want)
		}
	}
	step(5*time.Hour, lookup, "cal2026a=active cal2026b=next") // never published
	zone[next.Name] = "v=DKIM1; k=rsa; p=AAAA"
	step(5*time.Hour, lookup, "cal2026a=active cal2026b=next") // something else is
	zone[next.Name] = next.Record
	step(time.Minute, lookup, "cal2026a=active cal2026b=next") // first seen
	step(time.Hour, lookup, "cal2026a=active cal2026b=next")
	step(5*time.Hour, nil, "cal2026a=active cal2026b=next") // nobody looks
	step(time.Minute, lookup, "cal2026a=retired cal2026b=active")
	step(13*24*time.Hour, nil, "cal2026a=retired cal2026b=active")
	if err := RetireKeys(ctx, db, clock.t.Add(2*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	step(0, nil, "cal2026a=revoked cal2026b=active")
	keys, _ := a.Keys(ctx, "a.test")
	if keys[0].Record != dkim.RevokedKeyRecord {
		t.Errorf("record of the revoked key: %s", keys[0].Record)
	}
}

// An account that is kept for some days goes when they are over, unless it was
// enabled again.
func TestRemoveDue(t *testing.T) {
	t.Parallel()
	clock := &fixedClock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	db := storagetest.OpenWith(t, engine, storage.Options{Clock: clock.now})
	a := adminOver(t, db, nil)
	ctx := t.Context()
	for _, name := range []string{"alice", "bob", "carol"} {
		if _, _, err := a.AddUser(ctx, UserSpec{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for name, days := range map[string]int{"alice": 2, "bob": 2, "carol": 30} {
		if rep, err := a.RemoveUser(ctx, name, Removal{KeepDays: days}); err != nil || rep.Due == "" {
			t.Fatal(rep, err)
		}
	}
	if err := a.EnableUser(ctx, "bob", true); err != nil {
		t.Fatal(err)
	}
	left := func() string {
		t.Helper()
		if err := a.RemoveDue(ctx, clock.t); err != nil {
			t.Fatal(err)
		}
		list, err := a.Users(ctx, "", "")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, u := range list {
			names = append(names, u.Name)
		}
		return strings.Join(names, " ")
	}
	if got := left(); got != "alice bob carol" {
		t.Errorf("at once: %s", got)
	}
	clock.t = clock.t.AddDate(0, 0, 3)
	if got := left(); got != "bob carol" {
		t.Errorf("after three days: %s", got)
	}
	clock.t = clock.t.AddDate(0, 0, 30)
	if got := left(); got != "bob" {
		t.Errorf("after a month: %s", got)
	}
}
