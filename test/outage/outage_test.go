// Package outage takes the database away from a running server in several
// ways: what clients get is 503 or 507 with a clear text, and when the database
// is back the server goes on by itself.
package outage

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kalends/kalends/storage/storagetest"
	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

func event(uid string) string { return (blackbox.Event{UID: uid, Start: noon}).String() }

func invitation(uid string) string {
	return (blackbox.Event{UID: uid, Start: noon, Organizer: "mailto:alice@alpha.test", Attendees: []string{"mailto:bob@alpha.test"}}).String()
}

// ask sends one request of each kind at once: reading, listing, a plain PUT, a
// PUT with an invitation.
func ask(u *blackbox.User, n int) (map[string]blackbox.Answer, error) {
	return askFirst(u, n, "")
}

// askFirst is ask with a head start for one kind.
func askFirst(u *blackbox.User, n int, first string) (map[string]blackbox.Answer, error) {
	out := map[string]blackbox.Answer{}
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for what, do := range map[string]func() (blackbox.Answer, error){
		"GET":      func() (blackbox.Answer, error) { return u.Do("GET", u.Path("before.ics"), "") },
		"PROPFIND": func() (blackbox.Answer, error) { return u.Do("PROPFIND", u.Home(), "", "Depth", "1") },
		"PUT": func() (blackbox.Answer, error) {
			return u.Put(u.Path(fmt.Sprintf("plain-%d.ics", n)), event(fmt.Sprintf("plain-%d", n)))
		},
		"invite": func() (blackbox.Answer, error) {
			return u.Put(u.Path(fmt.Sprintf("invite-%d.ics", n)), invitation(fmt.Sprintf("invite-%d", n)))
		},
	} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if first != "" && what != first {
				time.Sleep(200 * time.Millisecond)
			}
			a, err := do()
			mu.Lock()
			defer mu.Unlock()
			out[what] = a
			if err != nil {
				failed = fmt.Errorf("%s: %w", what, err)
			}
		}()
	}
	wg.Wait()
	return out, failed
}

// away tells what is wrong with an answer while the database cannot be reached.
func away(a blackbox.Answer) string {
	switch {
	case a.Status != http.StatusServiceUnavailable:
		return "the status is not 503"
	case a.Header.Get("Retry-After") == "":
		return "no Retry-After"
	case !strings.Contains(string(a.Body), "database cannot be reached"):
		return "the text does not say what is wrong"
	}
	return ""
}

func manage(n *blackbox.Node, path string) int {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", n.Admin, path))
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// back waits until everything works again.
func back(t *testing.T, u *blackbox.User, n int) {
	t.Helper()
	blackbox.Must(t, 20*time.Second, func() error {
		answers, err := ask(u, n)
		for what, a := range answers {
			if !a.OK() {
				return fmt.Errorf("%s: %s", what, a)
			}
		}
		return err
	})
}

// TestAway stops PostgreSQL for ten seconds.
func TestAway(t *testing.T) {
	t.Parallel()
	c := storagetest.NewCluster(t, storagetest.ClusterOptions{Durable: true})
	n := blackbox.NewWorld(t).Node("alpha.test", c.URL("postgres"))
	n.Start()
	n.People("alice", "bob")
	u := n.User("alice")
	if err := u.MustPut(u.Path("before.ics"), event("before")); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); asked++ {
		answers, err := ask(u, asked)
		if err != nil {
			t.Fatal(err)
		}
		for what, a := range answers {
			if bad := away(a); bad != "" {
				t.Errorf("%s: %s: %s", what, bad, a)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	if r, h := manage(n, "/readyz"), manage(n, "/healthz"); r != 503 || h != 200 {
		t.Errorf("readyz %d, healthz %d; want 503 and 200", r, h)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	back(t, u, asked)
	if f, err := n.User("bob").Copy(fmt.Sprintf("invite-%d", asked)); err != nil || f == nil {
		t.Errorf("bob has no copy: %v", err)
	}
	t.Logf("%d rounds of 4 requests answered 503", asked)
}

// TestNoConnection: the only connection is held by a request that waits for a
// lock, of each kind that needs it in its turn: it gives up soon enough for its client to be
// told.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	url := storagetest.PostgresURL(t)
	n := blackbox.NewWorld(t).Node("alpha.test", url, "KALENDS_DATABASE_CONNECTIONS=1")
	n.Start()
	n.People("alice", "bob")
	u := n.User("alice")
	if err := u.MustPut(u.Path("before.ics"), event("before")); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `LOCK TABLE object IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	for i, first := range []string{"GET", "PUT", "invite"} {
		began := time.Now()
		answers, err := askFirst(u, i, first)
		if err != nil {
			t.Fatalf("%s first: %v", first, err)
		}
		for what, a := range answers {
			// A listing of the calendars needs no object; it may find the connection free.
			if bad := away(a); bad != "" && !(what == "PROPFIND" && a.OK()) {
				t.Errorf("%s first, %s: %s: %s", first, what, bad, a)
			}
		}
		took := time.Since(began).Round(time.Second)
		if took > 30*time.Second {
			t.Errorf("%s first: answered after %s; clients give up earlier", first, took)
		}
		t.Logf("%s first: all are answered after %s", first, took)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	back(t, u, 3)
}

// TestTooMany: PostgreSQL itself has no free connection.
func TestTooMany(t *testing.T) {
	t.Parallel()
	c := storagetest.NewCluster(t, storagetest.ClusterOptions{Durable: true})
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	do := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	do("CREATE ROLE kalends LOGIN")
	do("CREATE DATABASE kalends OWNER kalends")
	n := blackbox.NewWorld(t).Node("alpha.test", strings.Replace(c.URL("kalends"), "postgres@", "kalends@", 1))
	n.Start()
	n.People("alice", "bob")
	u := n.User("alice")
	if err := u.MustPut(u.Path("before.ics"), event("before")); err != nil {
		t.Fatal(err)
	}
	do("ALTER ROLE kalends CONNECTION LIMIT 0")
	do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kalends'")
	for i := range 3 {
		answers, err := ask(u, i)
		if err != nil {
			t.Fatal(err)
		}
		for what, a := range answers {
			if bad := away(a); bad != "" {
				t.Errorf("%s: %s: %s", what, bad, a)
			}
		}
	}
	do("ALTER ROLE kalends CONNECTION LIMIT -1")
	back(t, u, 3)
}
