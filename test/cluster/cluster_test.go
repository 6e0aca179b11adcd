// Package cluster tests servers under parallel load: several `kalends serve`
// on one PostgreSQL, and SQLite beside it where one server is enough.
package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/storage/storagetest"
	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

const domain = "alpha.test"

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

// pair is two servers on one PostgreSQL.
func pair(t *testing.T, env ...string) [2]*blackbox.Node {
	t.Helper()
	w := blackbox.NewWorld(t)
	url := storagetest.PostgresURL(t)
	out := [2]*blackbox.Node{w.Node(domain, url, env...), w.Node(domain, url, env...)}
	// Both at once, on a database without a schema.
	var both sync.WaitGroup
	for _, n := range out {
		if err := n.Run(); err != nil {
			t.Fatal(err)
		}
		both.Add(1)
		go func() {
			defer both.Done()
			if err := n.Ready(30 * time.Second); err != nil {
				t.Errorf("a node does not start beside another: %v", err)
			}
		}()
	}
	both.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return out
}

// TestTwoNodes: what is written through one is seen through the other, also
// with a sync token of the other, and each delivery is worked once.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	mail := blackbox.NewCatcher(t)
	nodes := pair(t, "KALENDS_SMTP_URL="+mail.URL())
	nodes[0].People("alice", "bob")
	one, two := nodes[0].User("alice"), nodes[1].User("alice")

	first, err := one.Sync("")
	if err != nil {
		t.Fatal(err)
	}
	if err := two.MustPut(two.Path("seen.ics"), (blackbox.Event{UID: "seen", Start: noon}).String()); err != nil {
		t.Fatal(err)
	}
	for _, u := range []*blackbox.User{one, two} {
		c, err := u.Sync(first.Token)
		if err != nil || len(c.ETags) != 1 || c.ETags["seen.ics"] == "" {
			t.Errorf("the token of the first node at %s: %+v, %v", u.Base, c, err)
		}
	}
	// A new password acts at once on the other node, although it has seen the
	// old one.
	if _, err := nodes[0].Command("changed\n", "user", "passwd", "--password-stdin", "alice"); err != nil {
		t.Fatal(err)
	}
	if a, err := two.Do("PROPFIND", two.Home(), "", "Depth", "0"); err != nil || a.Status != http.StatusUnauthorized {
		t.Errorf("the old password still opens the other node: %v %v", a, err)
	}
	one.Password, two.Password = "changed", "changed"

	const meetings = 120
	var wg sync.WaitGroup
	var failed atomic.Int64
	for k := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			u := []*blackbox.User{one, two}[k%2]
			for i := k; i < meetings; i += 6 {
				uid := fmt.Sprintf("meeting-%d", i)
				e := blackbox.Event{UID: uid, Start: noon.Add(time.Duration(i) * time.Hour), Organizer: u.Address, Attendees: []string{"mailto:bob@alpha.test", "mailto:dave@mail.test"}}
				if err := u.MustPut(u.Path(uid+".ics"), e.String()); err != nil {
					t.Error(err)
					failed.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	if err := nodes[1].Drained(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	ids, uids := map[string]int{}, map[string]int{}
	for _, m := range mail.Mails() {
		ids[m.MessageID]++
		uids[m.Calendar.UID()]++
	}
	if len(ids) != meetings || len(uids) != meetings || len(mail.Mails()) != meetings {
		t.Errorf("%d meetings made %d mails with %d ids about %d meetings", meetings, len(mail.Mails()), len(ids), len(uids))
	}
	list, err := nodes[1].User("bob").List("calendar", "")
	if err != nil || len(list) != meetings {
		t.Errorf("bob has %d of %d meetings, %v", len(list), meetings, err)
	}
	by := [2]int{}
	for i, n := range nodes {
		by[i] = strings.Count(n.Log(), "msg=delivery ")
	}
	t.Logf("%d deliveries: %d by the first node, %d by the second", by[0]+by[1], by[0], by[1])
	if by[0]+by[1] != meetings {
		t.Errorf("%d deliveries were worked %d times", meetings, by[0]+by[1])
	}
}

// TestLoad: two people who invite each other, a room that both book, and a
// calendar that is deleted beside them, for KALENDS_LOAD_SECONDS (10). No
// conflict of transactions may reach a client.
func TestLoad(t *testing.T) {
	seconds := 10
	if v := os.Getenv("KALENDS_LOAD_SECONDS"); v != "" {
		var err error
		if seconds, err = strconv.Atoi(v); err != nil {
			t.Fatalf("KALENDS_LOAD_SECONDS: %v", err)
		}
	}
	nodes := pair(t)
	nodes[0].People("alice", "bob", "blue:room")
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	var mu sync.Mutex
	count := map[string]int{}
	note := func(what string, a blackbox.Answer, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		count[what+" "+strconv.Itoa(a.Status)]++
		if a.Status >= 500 {
			t.Errorf("%s: %s", what, a)
		}
	}
	const room = "mailto:blue@alpha.test"
	var wg sync.WaitGroup
	loop := func(f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; time.Now().Before(end); i++ {
				f(i)
			}
		}()
	}
	for k, n := range nodes {
		alice, bob := n.User("alice"), n.User("bob")
		for _, p := range [][2]*blackbox.User{{alice, bob}, {bob, alice}} {
			me, you := p[0], p[1]
			// Invitations with the room, changed again and again; few UIDs, so
			// that both nodes meet in the same objects.
			loop(func(i int) {
				uid := fmt.Sprintf("%s-%d", me.Name, i%5)
				e := blackbox.Event{UID: uid, Start: noon.Add(time.Duration(rand.IntN(40)) * 30 * time.Minute), Organizer: me.Address, Attendees: []string{you.Address, room}, Summary: fmt.Sprint(k, i)}
				a, err := me.Put(me.Path(uid+".ics"), e.String())
				note("invite", a, err)
				if i%7 == 6 {
					a, err := me.Do("DELETE", me.Path(uid+".ics"), "")
					note("cancel", a, err)
				}
			})
			// The other one answers what is there.
			loop(func(i int) {
				f, err := you.Copy(fmt.Sprintf("%s-%d", me.Name, i%5))
				if err != nil {
					note("read", blackbox.Answer{}, err)
					return
				}
				if f == nil {
					time.Sleep(5 * time.Millisecond)
					return
				}
				text := strings.ReplaceAll(string(f.Object.Bytes()), "NEEDS-ACTION", []string{"ACCEPTED", "DECLINED", "TENTATIVE"}[i%3])
				a, err := you.Put(f.Href, text, "If-Match", f.ETag)
				note("answer", a, err)
			})
		}
		// A calendar full of invitations comes and goes.
		loop(func(i int) {
			col := fmt.Sprintf("%stmp-%d-%d/", alice.Home(), k, i)
			a, err := alice.Do("MKCALENDAR", col, "")
			note("mkcalendar", a, err)
			for j := range 6 {
				uid := fmt.Sprintf("tmp-%d-%d-%d", k, i, j)
				a, err := alice.Put(col+uid+".ics", (blackbox.Event{UID: uid, Start: noon.Add(time.Duration(j) * time.Hour), Organizer: alice.Address, Attendees: []string{bob.Address, room}}).String())
				note("invite from it", a, err)
			}
			a, err = alice.Do("DELETE", col, "")
			note("delete calendar", a, err)
		})
	}
	wg.Wait()
	total := 0
	for _, what := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%6d %s", count[what], what)
		total += count[what]
	}
	t.Logf("%d requests in %d s", total, seconds)
	for _, what := range []string{"invite 201", "answer 204", "cancel 204", "delete calendar 204"} {
		if count[what] == 0 {
			t.Errorf("the load never had %q", what)
		}
	}
	if n := count["answer 403"]; n > 0 {
		t.Errorf("%d answers to what the reader had just seen were forbidden", n)
	}
	// In the end everybody agrees: the copies are those of the organizers.
	blackbox.Must(t, 20*time.Second, func() error {
		for _, p := range [][2]string{{"alice", "bob"}, {"bob", "alice"}} {
			for i := range 5 {
				uid := fmt.Sprintf("%s-%d", p[0], i)
				mine, err := nodes[0].User(p[0]).Copy(uid)
				if err != nil {
					return err
				}
				yours, err := nodes[1].User(p[1]).Copy(uid)
				if err != nil {
					return err
				}
				switch {
				case mine == nil && yours != nil && yours.Object.Master().Value("STATUS") != "CANCELLED":
					return fmt.Errorf("%s is gone at its organizer and not cancelled at %s", uid, p[1])
				case mine != nil && yours == nil:
					return fmt.Errorf("%s has no copy of %s", p[1], uid)
				case mine != nil && mine.Object.Master().Value("DTSTART") != yours.Object.Master().Value("DTSTART"):
					return fmt.Errorf("%s begins at %s and at %s", uid, mine.Object.Master().Value("DTSTART"), yours.Object.Master().Value("DTSTART"))
				}
			}
		}
		return nil
	})
}

// TestSync: a reader that follows sync tokens beside eight writers never misses
// a change and never sees one that nobody made.
func TestSync(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		n := blackbox.NewWorld(t).Node(domain, "")
		n.Start()
		n.People("alice")
		syncBeside(t, n, n)
	})
	t.Run("postgres, two nodes", func(t *testing.T) {
		nodes := pair(t)
		nodes[0].People("alice")
		syncBeside(t, nodes[0], nodes[1])
	})
}

func syncBeside(t *testing.T, one, two *blackbox.Node) {
	const writers, names, rounds = 8, 6, 60
	var mu sync.Mutex
	version := map[string]int{} // "name etag" -> which write of the name it was; a removal is "name "
	var writing sync.WaitGroup
	for w := range writers {
		u := []*blackbox.User{one.User("alice"), two.User("alice")}[w%2]
		writing.Add(1)
		go func() {
			defer writing.Done()
			exists := map[string]bool{}
			for i := range rounds {
				name := fmt.Sprintf("w%d-%d.ics", w, rand.IntN(names))
				if exists[name] && rand.IntN(3) == 0 {
					a, err := u.Do("DELETE", u.Path(name), "")
					if err != nil || !a.OK() {
						t.Errorf("DELETE: %v %v", a, err)
						return
					}
					mu.Lock()
					version[name+" "] = i
					mu.Unlock()
					delete(exists, name)
					continue
				}
				a, err := u.Put(u.Path(name), (blackbox.Event{UID: name, Start: noon, Summary: fmt.Sprintf("%d of %s", i, name)}).String())
				if err != nil || !a.OK() || a.Header.Get("ETag") == "" {
					t.Errorf("PUT: %v %v", a, err)
					return
				}
				mu.Lock()
				version[name+" "+a.Header.Get("ETag")] = i
				mu.Unlock()
				exists[name] = true
			}
		}()
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()

	// Two readers, one per node; each hands its token to the other node now
	// and then.
	type sighting struct{ name, etag string }
	var reading sync.WaitGroup
	for r, n := range []*blackbox.Node{one, two} {
		reading.Add(1)
		go func() {
			defer reading.Done()
			here, there := n.User("alice"), []*blackbox.Node{two, one}[r].User("alice")
			state, token := map[string]string{}, ""
			var seen []sighting
			asked := 0
			for last := false; ; {
				select {
				case <-done:
					last = true
				default:
				}
				u := here
				if asked++; asked%3 == 0 {
					u = there
				}
				c, err := u.Sync(token)
				if err != nil {
					t.Errorf("sync: %v", err)
					return
				}
				for name, etag := range c.ETags {
					if state[name] != etag {
						seen = append(seen, sighting{name, etag})
					}
					state[name] = etag
				}
				for name := range c.Removed {
					if _, ok := state[name]; ok {
						seen = append(seen, sighting{name, ""})
					}
					delete(state, name)
				}
				token = c.Token
				if last && !c.More {
					break
				}
			}
			truth, err := here.Sync("")
			if err != nil {
				t.Error(err)
				return
			}
			if !maps.Equal(state, truth.ETags) {
				t.Errorf("reader %d followed %d reports and has %d objects, the calendar has %d: %v", r, asked, len(state), len(truth.ETags), diff(state, truth.ETags))
			}
			mu.Lock()
			defer mu.Unlock()
			at := map[string]int{}
			for _, s := range seen {
				v, ok := version[s.name+" "+s.etag]
				if !ok {
					t.Errorf("reader %d saw %s with an ETag that nobody wrote: %q", r, s.name, s.etag)
				}
				if prev, ok := at[s.name]; ok && v < prev && s.etag != "" {
					t.Errorf("reader %d saw write %d of %s after write %d", r, v, s.name, prev)
				}
				if s.etag != "" {
					at[s.name] = v
				}
			}
			t.Logf("reader %d: %d reports, %d changes seen of %d made, %d objects in the end", r, asked, len(seen), writers*rounds, len(state))
		}()
	}
	reading.Wait()
}

func diff(a, b map[string]string) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if b[k] != a[k] {
			out = append(out, fmt.Sprintf("%s %q not %q", k, a[k], b[k]))
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k+" is missing")
		}
	}
	return out
}
