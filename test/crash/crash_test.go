// Package crash kills the real binary, and its database, at any moment of a
// load of invitations, and then counts: nothing acknowledged is lost, no event
// is without its invitations nor an invitation without its event, and nothing
// is told twice but a message of the same id.
package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kalends/kalends/storage/storagetest"
	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

const (
	writers   = 4
	kills     = 5
	perDomain = 4 // messages that a server sends to one domain at a time
)

var noon = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 7).Add(12 * time.Hour)

// meeting is what a writer knows about one event. Its version is told by its
// start, so many minutes after noon.
type meeting struct {
	uid          string
	by           *blackbox.User
	acked, tried int // newest version that was acknowledged, and asked for; 0: none
}

// scene is a server that gets killed, another organization, and a mail server.
type scene struct {
	t           *testing.T
	alpha, beta *blackbox.Node
	mail        *blackbox.Catcher
	acks        atomic.Int64
}

func newScene(t *testing.T, database string) *scene {
	t.Helper()
	w := blackbox.NewWorld(t)
	s := &scene{t: t, mail: blackbox.NewCatcher(t)}
	env := []string{"KALENDS_SMTP_URL=" + s.mail.URL(), "KALENDS_DELIVERY_LEASE=6s", "KALENDS_LOG_LEVEL=warn"}
	s.mail.Slow(20 * time.Millisecond) // so that crashes find mails on their way
	s.alpha = w.Node("alpha.test", database, env...)
	s.beta = w.Node("beta.test", "", env...)
	for _, n := range []*blackbox.Node{s.alpha, s.beta} {
		n.Start()
		n.Publish()
	}
	names := []string{"bob"}
	for i := range writers {
		names = append(names, fmt.Sprintf("org%d", i))
	}
	s.alpha.People(names...)
	s.beta.People("carol")
	return s
}

// load writes meetings until stop is closed.
func (s *scene) load(stop chan struct{}) (wait func() []*meeting) {
	var mu sync.Mutex
	var all []*meeting
	var wg sync.WaitGroup
	for k := range writers {
		u := s.alpha.User(fmt.Sprintf("org%d", k))
		wg.Add(1)
		go func() {
			defer wg.Done()
			var mine []*meeting
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				var m *meeting
				if rand.IntN(3) == 0 && len(mine) > 0 { // the last one, not yet delivered, or one that everybody knows
					m = mine[max(0, len(mine)-1-rand.IntN(2)*rand.IntN(len(mine)))]
				} else {
					m = &meeting{uid: fmt.Sprintf("m%d-%d", k, i), by: u}
					mine = append(mine, m)
					mu.Lock()
					all = append(all, m)
					mu.Unlock()
				}
				m.tried++
				e := blackbox.Event{UID: m.uid, Start: noon.Add(time.Duration(m.tried) * time.Minute), Organizer: u.Address,
					Attendees: []string{"mailto:bob@alpha.test", "mailto:carol@beta.test", "mailto:dave@mail.test"}}
				a, err := u.Put(u.Path(m.uid+".ics"), e.String())
				switch {
				case err == nil && a.OK():
					m.acked = m.tried
					s.acks.Add(1)
				case err == nil && a.Status != 503:
					s.t.Errorf("PUT %s: %s", m.uid, a)
				default: // nobody knows what became of it
					time.Sleep(50 * time.Millisecond)
				}
			}
		}()
	}
	return func() []*meeting { wg.Wait(); return all }
}

// crash runs the load, lets kill do its work some times, waits until all is
// quiet, and counts.
func (s *scene) crash(kill func(round int) error) {
	t := s.t
	stop := make(chan struct{})
	wait := s.load(stop)
	for i := range kills {
		time.Sleep(time.Duration(300+rand.IntN(900)) * time.Millisecond)
		before := s.acks.Load() // however slow the machine is, it works when it is killed
		blackbox.Must(t, 60*time.Second, func() error {
			if s.acks.Load() < before+10 {
				return errors.New("the load does not go on")
			}
			return nil
		})
		if err := kill(i); err != nil {
			t.Error(err)
			break
		}
	}
	time.Sleep(500 * time.Millisecond)
	close(stop)
	all := wait()
	for _, n := range []*blackbox.Node{s.alpha, s.beta} {
		if err := n.Ready(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := n.Drained(90 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	s.count(all)
}

// starts reads the copies of a person: UID -> version.
func starts(u *blackbox.User, collection string) (map[string]int, map[string]int, error) {
	list, err := u.List(collection, "")
	if err != nil {
		return nil, nil, err
	}
	version, items := map[string]int{}, map[string]int{}
	for _, f := range list {
		uid := f.Object.UID()
		items[uid]++
		at, err := versionOf(f.Object.Master().Value("DTSTART"))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", uid, err)
		}
		version[uid] = max(version[uid], at)
	}
	return version, items, nil
}

func versionOf(dtstart string) (int, error) {
	at, err := time.Parse("20060102T150405Z", dtstart)
	return int(at.Sub(noon) / time.Minute), err
}

func (s *scene) count(all []*meeting) {
	t := s.t
	must := func(u *blackbox.User, collection string) (map[string]int, map[string]int) {
		t.Helper()
		v, n, err := starts(u, collection)
		if err != nil {
			t.Fatal(err)
		}
		return v, n
	}
	bob, bobCopies := must(s.alpha.User("bob"), "calendar")
	_, bobInbox := must(s.alpha.User("bob"), "inbox")
	carol, carolCopies := must(s.beta.User("carol"), "calendar")
	_, carolInbox := must(s.beta.User("carol"), "inbox")

	type told struct {
		uid     string
		version int
	}
	dave := map[string]int{}          // newest version by UID
	sent := map[string]int{}          // by id: how often
	bodies := map[string]string{}     // by id
	ids := map[told]map[string]bool{} // a version is told by one message
	for _, m := range s.mail.Mails() {
		v, err := versionOf(m.Calendar.Master().Value("DTSTART"))
		if err != nil {
			t.Fatal(err)
		}
		uid, body := m.Calendar.UID(), string(m.Calendar.Bytes())
		dave[uid] = max(dave[uid], v)
		sent[m.MessageID]++
		if b, ok := bodies[m.MessageID]; ok && b != body {
			t.Errorf("the message %s was sent with two different bodies", m.MessageID)
		}
		bodies[m.MessageID] = body
		if ids[told{uid, v}] == nil {
			ids[told{uid, v}] = map[string]bool{}
		}
		ids[told{uid, v}][m.MessageID] = true
	}
	repeats := 0
	for id, n := range sent {
		repeats += n - 1
		if n > 1+kills {
			t.Errorf("the message %s was sent %d times in %d crashes", id, n, kills)
		}
	}
	if most := kills * perDomain; repeats > most {
		t.Errorf("%d repeats in %d crashes; at most %d messages were in flight at each", repeats, kills, perDomain)
	}
	for k, set := range ids {
		if len(set) > 1 {
			t.Errorf("version %d of %s was told by %d messages of different ids", k.version, k.uid, len(set))
		}
	}

	own := map[*blackbox.User]map[string]int{}
	acked, unknown, updated := 0, 0, 0
	for _, m := range all {
		if own[m.by] == nil {
			own[m.by], _ = must(m.by, "calendar")
		}
		at, there := own[m.by][m.uid]
		if m.acked > 0 {
			acked++
		}
		if m.tried > m.acked {
			unknown++
		}
		if m.tried > 1 {
			updated++
		}
		switch {
		case !there && m.acked > 0:
			t.Errorf("%s was acknowledged and is lost", m.uid)
			continue
		case !there:
			if bobCopies[m.uid]+bobInbox[m.uid]+carolCopies[m.uid]+carolInbox[m.uid]+dave[m.uid] > 0 {
				t.Errorf("there is no event %s, but invitations to it", m.uid)
			}
			continue
		case at < m.acked || at > m.tried:
			t.Errorf("%s is at version %d; %d was acknowledged, %d asked for", m.uid, at, m.acked, m.tried)
		}
		for who, v := range map[string]int{"bob": bob[m.uid], "carol": carol[m.uid], "dave": dave[m.uid]} {
			if v != at {
				t.Errorf("%s is at version %d, and %s was told version %d (0: nothing)", m.uid, at, who, v)
			}
		}
		for what, n := range map[string]int{"bob's calendar": bobCopies[m.uid], "carol's calendar": carolCopies[m.uid]} {
			if n != 1 {
				t.Errorf("%s is %d times in %s", m.uid, n, what)
			}
		}
		for who, n := range map[string]int{"bob": bobInbox[m.uid], "carol": carolInbox[m.uid]} {
			if n == 0 || m.tried == 1 && n > 1 {
				t.Errorf("%s is %d times in %s's inbox", m.uid, n, who)
			}
		}
	}
	t.Logf("%d kills, %d meetings, %d acknowledged, %d with an unknown outcome, %d changed; %d mails, of them %d repeats with the same id", kills, len(all), acked, unknown, updated, len(s.mail.Mails()), repeats)
	if acked < 20 {
		t.Errorf("only %d meetings: the load was no load", acked)
	}
}

// TestServer kills the server.
func TestServer(t *testing.T) {
	for _, engine := range storagetest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			database := ""
			if engine == storagetest.Postgres {
				c := storagetest.NewCluster(t, storagetest.ClusterOptions{Durable: true})
				database = c.URL("postgres")
			}
			s := newScene(t, database)
			s.crash(func(int) error {
				s.alpha.Kill()
				if err := s.alpha.Run(); err != nil {
					return err
				}
				return s.alpha.Ready(30 * time.Second)
			})
		})
	}
}

// TestReceiver kills the server that receives.
func TestReceiver(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.crash(func(int) error {
		s.beta.Kill()
		if err := s.beta.Run(); err != nil {
			return err
		}
		return s.beta.Ready(30 * time.Second)
	})
}

// TestPostgreSQL kills every process of the database server, under a server
// that keeps running and recovers by itself.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	c := storagetest.NewCluster(t, storagetest.ClusterOptions{Durable: true})
	s := newScene(t, c.URL("postgres"))
	s.crash(func(int) error {
		if err := killCluster(c); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		if err := c.Start(); err != nil {
			return err
		}
		return s.alpha.Ready(30 * time.Second)
	})
}

// killCluster kills PostgreSQL's main process and all its children by -9 and
// waits until they are gone.
func killCluster(c *storagetest.Cluster) error {
	u, err := url.Parse(c.URL("postgres"))
	if err != nil {
		return err
	}
	dir := u.Query().Get("host")
	b, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	main, err := strconv.Atoi(line)
	if err != nil {
		return err
	}
	victims := append([]int{main}, children(main)...)
	for _, pid := range victims {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	err = blackbox.Wait(20*time.Second, func() error {
		for _, pid := range victims {
			if alive(pid) {
				return errors.New("PostgreSQL survives kill -9")
			}
		}
		return nil
	})
	// Where nobody has reaped the dead process yet PostgreSQL takes it for a
	// living one; all are dead, so the files that say so may go.
	return errors.Join(err, os.Remove(filepath.Join(dir, "data", "postmaster.pid")), os.Remove(filepath.Join(dir, ".s.PGSQL.5432.lock")))
}

// stat is the state and the parent of a process; "" when it is gone.
func stat(pid int) (state string, parent int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(f[1])
	return f[0], parent
}

func alive(pid int) bool {
	state, _ := stat(pid)
	return state != "" && state != "Z"
}

func children(pid int) (out []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		n, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if _, parent := stat(n); parent == pid {
			out = append(out, n)
		}
	}
	return out
}
