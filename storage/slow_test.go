package storage_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// logged are the lines of a log.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

// take returns the lines so far and forgets them.
func (l *logged) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.lines
	l.lines = nil
	return out
}

type requestID struct{}

// What the database took long for is in the log: which statement and for which
// request, but no value.
func TestSlowStatements(t *testing.T) {
	t.Parallel()
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			var l logged
			options := storage.Options{SlowStatement: 1, Log: slog.New(slog.NewJSONHandler(&l, nil)),
				RequestID: func(ctx context.Context) string { s, _ := ctx.Value(requestID{}).(string); return s }}
			db := storagetest.OpenWith(t, e, options)
			a, err := db.CreateAccount(bg, storage.Account{Handle: "secretive", Emails: []string{"secretive@example.test"}, Verifier: "hush"})
			if err != nil {
				t.Fatal(err)
			}
			c, err := db.CollectionByName(bg, a.ID, "calendar")
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.WithValue(bg, requestID{}, "the-request")
			o := storage.Object{ObjectKey: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: "secret.ics"}, UID: "secret-uid", Component: "VEVENT", ETag: "secret-etag", Data: "secret data", Flags: storage.FlagExact}
			for what, x := range map[string]struct {
				do    func() error
				names string // a part of the statement
			}{
				"PUT": {func() error { _, err := db.PutPlain(ctx, storage.PlainPut{Object: o}); return err }, "INSERT INTO object"},
				"transaction": {func() error {
					return db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
						return tx.Enqueue(ctx, []storage.Message{{Account: a.ID, ID: 7, UID: "secret-uid", Method: "REQUEST", Body: "secret data"}},
							[]storage.Delivery{{Account: a.ID, MessageID: 7, UID: "secret-uid", RecipientKey: "mailto:secret@example.test"}})
					})
				}, "INSERT INTO delivery"},
				"statement": {func() error { return db.SetSetting(ctx, "secret", "secret data") }, "INTO setting"},
				"list": {func() error {
					for _, err := range db.List(ctx, c.CollectionKey, storage.ColumnData) {
						return err
					}
					return nil
				}, "ORDER BY o.name"},
				"view": {func() error {
					return db.View(ctx, func(ctx context.Context, tx *storage.Tx) error {
						_, err := tx.PeerStates(ctx, a.ID, "secret-uid")
						return err
					})
				}, "FROM peer_state"},
			} {
				l.take()
				if err := x.do(); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				lines := l.take()
				found := false
				for _, line := range lines {
					var entry struct {
						Level, Msg, Statement, Request string
						MS                             *int64
					}
					if err := json.Unmarshal([]byte(line), &entry); err != nil {
						t.Fatal(err)
					}
					if entry.Level != "WARN" || entry.Statement == "" || entry.MS == nil || entry.Request != "the-request" || strings.Contains(line, "secret") || len(line) > 2300 {
						t.Errorf("%s: the line %s", what, line)
					}
					found = found || strings.Contains(entry.Statement, x.names)
				}
				if !found {
					t.Errorf("%s: no line names %q: %q", what, x.names, lines)
				}
			}
			options.SlowStatement = 0
			if err := storagetest.SecondWith(t, db, options).Ping(ctx); err != nil || len(l.take()) > 0 {
				t.Errorf("switched off, it writes all the same: %v", err)
			}
			// Who takes his time for what he reads makes no statement slow.
			options.SlowStatement = 3 * time.Second
			second := storagetest.SecondWith(t, db, options)
			for _, err := range second.List(ctx, c.CollectionKey, storage.ColumnData) {
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(3100 * time.Millisecond)
			}
			if lines := l.take(); len(lines) > 0 {
				t.Errorf("a slow reader: %q", lines)
			}
		})
	}
}
