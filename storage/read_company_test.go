package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// One of several reads in a round trip that fails, or whose caller has gone, fails
// alone, and each counts its own statement.
func TestReadCompany(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t, storagetest.Postgres)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	queries := []string{"SELECT 1", "SELECT 1 / 0", "SELECT 3", "SELECT 4", "SELECT 'x'", "SELECT 6"}
	ctxs := make([]context.Context, len(queries))
	counts := make([]*storage.Counter, len(queries))
	for i := range ctxs {
		ctxs[i], counts[i] = storage.WithCounter(t.Context())
	}
	ctxs[3] = gone
	got := make([]int64, len(queries))
	errs := storage.ReadCompany(db, ctxs, queries, func(i int, n int64) { got[i] = n })
	if !slices.Equal(got, []int64{1, 0, 3, 0, 0, 6}) {
		t.Errorf("read %v", got)
	}
	for i, failed := range []bool{1: true, 3: true, 4: true, 5: false} {
		if (errs[i] != nil) != failed {
			t.Errorf("%s: %v", queries[i], errs[i])
		}
	}
	if !errors.Is(errs[3], context.Canceled) || counts[0].Statements() != 1 {
		t.Errorf("%v; the first counts %d statements", errs[3], counts[0].Statements())
	}
}

// Requests that meet are answered each with what is his.
func TestReadsThatMeet(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t, storagetest.Postgres)
	const people = 40
	handles := make([]string, people)
	for i := range handles {
		handles[i] = fmt.Sprint("reader", i)
		if _, err := db.CreateAccount(t.Context(), storage.Account{Handle: handles[i], Kind: storage.KindUser}); err != nil {
			t.Fatal(err)
		}
	}
	find := func(ctx context.Context, handle string) (storage.Found, error) {
		return db.Find(ctx, storage.Query{Login: handle, Home: handle, Columns: storage.ColumnContents})
	}
	for round, statements := range []int{1, 3, 1} { // the account, its home in full, and as it is kept
		waiting, leave := storage.HoldReads(db)
		var all sync.WaitGroup
		for i, handle := range handles {
			ctx, counter := storage.WithCounter(t.Context())
			if i%8 == 7 {
				left, cancel := context.WithCancel(ctx)
				cancel()
				ctx = left
			}
			all.Go(func() {
				f, err := find(ctx, handle)
				switch {
				case i%8 == 7:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("who has gone: %v", err)
					}
				case err != nil || f.Home == nil || f.Home.Handle != handle || round > 0 && (f.Contents == nil || f.Contents.Collections[0].Account != f.Home.ID):
					t.Errorf("%s: %v, %+v", handle, err, f)
				case counter.Statements() != statements:
					t.Errorf("round %d: %d statements", round, counter.Statements())
				}
			})
		}
		for began := time.Now(); waiting() < people && time.Since(began) < 20*time.Second; {
			time.Sleep(time.Millisecond)
		}
		if n := waiting(); n != people {
			t.Errorf("%d of %d wait", n, people)
		}
		leave()
		all.Wait()
	}
}
