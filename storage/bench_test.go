package storage_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// The benchmarks compare with the least that a program could do on the same
// database at the same concurrency: one INSERT with its COMMIT, one SELECT by
// primary key. They print operations per second; nothing is asserted.
//
//	go test ./storage -run xxx -bench . -cpu 2

const benchData = 1200 // octets of an object

// bare is the engine without the package.
type bare struct {
	insert func(n int64) error
	find   func() error
}

func bareOf(b *testing.B, u string) bare {
	text := strings.Repeat("x", benchData)
	if path, ok := strings.CutPrefix(u, "sqlite:"); ok {
		source := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)&_pragma=journal_mode(WAL)&_txlock=immediate"
		writer, err := sql.Open("sqlite", source)
		if err != nil {
			b.Fatal(err)
		}
		writer.SetMaxOpenConns(1)
		reader, err := sql.Open("sqlite", source)
		if err != nil {
			b.Fatal(err)
		}
		reader.SetMaxIdleConns(8)
		b.Cleanup(func() { _ = writer.Close(); _ = reader.Close() })
		if _, err := writer.Exec("CREATE TABLE bare (id INTEGER PRIMARY KEY, data TEXT NOT NULL)"); err != nil {
			b.Fatal(err)
		}
		if _, err := writer.Exec("INSERT INTO bare VALUES (-1, ?)", text); err != nil {
			b.Fatal(err)
		}
		ins, err := writer.Prepare("INSERT INTO bare VALUES (?, ?)")
		if err != nil {
			b.Fatal(err)
		}
		sel, err := reader.Prepare("SELECT data FROM bare WHERE id = ?")
		if err != nil {
			b.Fatal(err)
		}
		return bare{
			func(n int64) error { _, err := ins.Exec(n, text); return err },
			func() error { var s string; return sel.QueryRow(-1).Scan(&s) },
		}
	}
	pool, err := pgxpool.New(bg, u)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	if _, err := pool.Exec(bg, "CREATE TABLE bare (id BIGINT PRIMARY KEY, data TEXT NOT NULL)"); err != nil {
		b.Fatal(err)
	}
	if _, err := pool.Exec(bg, "INSERT INTO bare VALUES (-1, $1)", text); err != nil {
		b.Fatal(err)
	}
	return bare{
		func(n int64) error { _, err := pool.Exec(bg, "INSERT INTO bare VALUES ($1, $2)", n, text); return err },
		func() error {
			var s string
			return pool.QueryRow(bg, "SELECT data FROM bare WHERE id = $1", int64(-1)).Scan(&s)
		},
	}
}

// run measures fn at four goroutines.
func run(b *testing.B, name string, fn func(n int64) error) {
	b.Run(name, func(b *testing.B) {
		var serial atomic.Int64
		b.SetParallelism(2) // times two CPUs
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := fn(serial.Add(1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}

func BenchmarkStorage(b *testing.B) {
	for _, e := range storagetest.Engines(b) {
		b.Run(string(e), func(b *testing.B) {
			u := ""
			if e == storagetest.Postgres {
				cluster := storagetest.NewCluster(b, storagetest.ClusterOptions{Durable: true})
				if err := cluster.Create(bg, "kalends", ""); err != nil {
					b.Fatal(err)
				}
				u = cluster.URL("kalends")
			} else {
				u = storagetest.URL(b, e)
			}
			db := storagetest.OpenURL(b, u, storage.Options{})
			least := bareOf(b, u)
			var keys []storage.CollectionKey
			for i := range 16 {
				a, err := db.CreateAccount(bg, storage.Account{Handle: fmt.Sprintf("user%02d", i), Emails: []string{fmt.Sprintf("user%02d@example.test", i)}, Verifier: strings.Repeat("v", 97)})
				if err != nil {
					b.Fatal(err)
				}
				c, err := db.CollectionByName(bg, a.ID, "calendar")
				if err != nil {
					b.Fatal(err)
				}
				keys = append(keys, c.CollectionKey)
			}
			var names atomic.Int64
			data := strings.Repeat("x", benchData)
			fresh := func(n int64) storage.Object {
				name := fmt.Sprintf("object-%d.ics", names.Add(1))
				return storage.Object{ObjectKey: storage.ObjectKey{CollectionKey: keys[int(n)%len(keys)], Name: name}, UID: name, Component: "VEVENT",
					ETag: "0123456789abcdef", Data: data, Start: n, End: n + 1}
			}
			var bareIDs atomic.Int64
			run(b, "bare/insert", func(int64) error { return least.insert(bareIDs.Add(1)) })
			run(b, "PutPlain", func(n int64) error {
				_, err := db.PutPlain(bg, storage.PlainPut{Object: fresh(n), IfNone: true})
				return err
			})
			run(b, "PutTx", func(n int64) error {
				return db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
					o := fresh(n)
					if _, err := tx.LockCollections(ctx, []storage.CollectionKey{o.CollectionKey}); err != nil {
						return err
					}
					if _, err := tx.Slot(ctx, o.ObjectKey, o.UID); err != nil {
						return err
					}
					_, err := tx.Apply(ctx, []storage.Write{{Object: o}})
					return err
				})
			})
			target := fresh(0)
			if _, err := db.PutPlain(bg, storage.PlainPut{Object: target}); err != nil {
				b.Fatal(err)
			}
			run(b, "bare/select", func(int64) error { return least.find() })
			run(b, "Find/brief", func(int64) error {
				f, err := db.Find(bg, storage.Query{Login: "user00", Home: "user00", Collection: "calendar", Object: target.Name, Columns: storage.ColumnData | storage.ColumnBrief})
				if err == nil && f.Object == nil {
					err = storage.ErrNotFound
				}
				return err
			})
			for _, login := range []string{"user00", "user00@example.test", "user01"} {
				run(b, "Find/"+login, func(int64) error {
					f, err := db.Find(bg, storage.Query{Login: login, Home: "user00", Collection: "calendar", Object: target.Name, Columns: storage.ColumnData})
					if err == nil && f.Object == nil {
						err = storage.ErrNotFound
					}
					return err
				})
			}
		})
	}
}
