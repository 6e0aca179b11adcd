package simulation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// site is one installation: a database that survives and a service that does
// not.
type site struct {
	name, domain string
	db           *storage.DB
	dice         *dice // ids of this database and service
	world        *world
	skew         time.Duration // of its clock
	boots        int
	svc          *scheduling.Service
	fuse         *fuse           // of what runs now; nil between
	seen         map[string]bool // ids of messages it has taken
}

// person is somebody with a calendar account, or with a mail address only.
type person struct {
	w       *world
	name    string
	site    *site // nil: mail only
	addrs   []calendar.Address
	account storage.Account
	home    storage.CollectionKey // of events
	tasks   storage.CollectionKey

	cache  map[string]cached    // what his client read last, by UID
	alarms map[string]alarms    // what he was told is stored, by UID
	said   map[string]answer    // his last answers, by UID and instance
	left   map[string]time.Time // when he last deleted his copy, by UID
	mail   map[string]*mailCopy // mail only: his copies
	mailed time.Time            // mail only: when the last mail reaches him
	wrote  time.Time            // mail only: when he last sent one
}

// cached is an object as a client holds it.
type cached struct {
	key       storage.ObjectKey
	data      string
	etag, tag string
}

// event is one series or single event that somebody organizes.
type event struct {
	uid       string
	organizer *person
	key       storage.ObjectKey
	want      string // what the organizer was told is stored; "" : nothing
	unknown   string // what may be stored as well, after a connection that broke
	asked     int    // how often a change may have asked people again
	moved     int    // SEQUENCE with which the whole last got another time
	seq       map[string]int
	deleted   bool
}

// world is one seed's universe.
type world struct {
	seed   int64
	rnd    *rand.Rand
	now    time.Time
	sites  []*site
	people []*person
	events []*event
	net    *network
	calm   bool // the network is healed and nothing crashes any more
	story  []string
	stats  stats
	wrong  []string
	step   int
}

type stats struct {
	ops, refused, messages, delivered, crashes, duplicates, late, lost, mails, known int
}

func (s *stats) add(o stats) {
	s.ops += o.ops
	s.refused += o.refused
	s.messages += o.messages
	s.delivered += o.delivered
	s.crashes += o.crashes
	s.duplicates += o.duplicates
	s.late += o.late
	s.lost += o.lost
	s.mails += o.mails
	s.known += o.known
}

func (s stats) String() string {
	return fmt.Sprintf("%d operations (%d refused), %d messages sent (%d by mail), %d taken, %d lost, %d late, %d duplicates, %d crashes; %d copies with a known difference",
		s.ops, s.refused, s.messages, s.mails, s.delivered, s.lost, s.late, s.duplicates, s.crashes, s.known)
}

var bg = context.Background()

// domains of the three installations and of the people who have only mail.
var domains = []string{"alpha.test", "beta.test", "gamma.test"}

const mailDomain = "post.test"

// dice is a source of randomness that can be given a new beginning. It hands
// out single octets, so that no buffer of a reader keeps what a former seed
// left.
type dice struct{ src *rand.ChaCha8 }

func (d *dice) begin(seed int64, stream byte) {
	var k [32]byte
	binary.BigEndian.PutUint64(k[:], uint64(seed))
	k[31] = stream
	d.src = rand.NewChaCha8(k)
}

func (d *dice) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	b[0] = byte(d.src.Uint64())
	return 1, nil
}

// bench is a set of databases that serve one seed after another: each seed
// makes accounts of its own, and what a seed that went well leaves behind is
// final.
type bench struct {
	sites []*site
	used  int
}

func newBench() (*bench, error) {
	b := &bench{}
	for i, d := range domains {
		s := &site{name: strings.TrimSuffix(d, ".test"), domain: d, dice: &dice{}}
		s.dice.begin(0, byte(i))
		var err error
		s.db, err = storage.Open(bg, "sqlite::memory:", storage.Options{MaxConns: 3, Clock: func() time.Time { return s.now() }, Rand: s.dice, PeerID: s.name})
		if err == nil {
			err = s.db.Migrate(bg)
		}
		if err == nil {
			err = s.db.AddDomain(bg, d)
		}
		if err != nil {
			return nil, err
		}
		b.sites = append(b.sites, s)
	}
	return b, nil
}

func (b *bench) close() {
	for _, s := range b.sites {
		_ = s.db.Close()
	}
}

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// now is the time by this site's own clock.
func (s *site) now() time.Time {
	if s.world == nil {
		return epoch
	}
	return s.world.now.Add(s.skew)
}

// newWorld begins a seed.
func (b *bench) newWorld(seed int64) (*world, error) {
	w := &world{seed: seed, rnd: rand.New(rand.NewPCG(uint64(seed), 0x6b616c656e6473)), now: epoch, sites: b.sites}
	w.net = &network{w: w, flying: map[string]int{}}
	for i, s := range b.sites {
		s.world, s.boots, s.fuse, s.seen = w, 0, nil, map[string]bool{}
		s.dice.begin(seed, byte(i))
		s.skew = time.Duration(w.rnd.IntN(61)-30) * time.Second
		s.boot()
	}
	names := [][]string{{"ann", "abe"}, {"bea", "bob"}, {"gil"}}
	for i, s := range b.sites {
		var specs []storage.AccountSpec
		for _, n := range names[i] {
			p := newPerson(w, n, s)
			handle := fmt.Sprintf("%s-%d", n, seed)
			emails := []string{handle + "@" + s.domain}
			if n == "bea" { // an alias (want 19)
				emails = append(emails, fmt.Sprintf("b-%d@%s", seed, s.domain))
			}
			for _, e := range emails {
				p.addrs = append(p.addrs, calendar.Address("mailto:"+e))
			}
			specs = append(specs, storage.AccountSpec{Handle: handle, Kind: storage.KindUser, DisplayName: n, Emails: emails})
			w.people = append(w.people, p)
		}
		if _, _, err := s.db.ImportAccounts(bg, specs); err != nil {
			return nil, err
		}
	}
	max := newPerson(w, "max", nil)
	max.addrs = []calendar.Address{calendar.Address(fmt.Sprintf("mailto:max-%d@%s", seed, mailDomain))}
	w.people = append(w.people, max)
	for _, p := range w.people {
		if p.site == nil {
			continue
		}
		var err error
		if p.account, err = p.site.db.AccountByHandle(bg, fmt.Sprintf("%s-%d", p.name, seed)); err != nil {
			return nil, err
		}
		for name, key := range map[string]*storage.CollectionKey{"calendar": &p.home, "tasks": &p.tasks} {
			c, err := p.site.db.CollectionByName(bg, p.account.ID, name)
			if err != nil {
				return nil, err
			}
			*key = c.CollectionKey
		}
	}
	b.used++
	return w, nil
}

func newPerson(w *world, name string, s *site) *person {
	return &person{w: w, name: name, site: s, cache: map[string]cached{}, alarms: map[string]alarms{}, said: map[string]answer{},
		left: map[string]time.Time{}, mail: map[string]*mailCopy{}}
}

// boot starts the service of a site, as after a crash: it knows nothing but
// what the database holds, and leases are another node's.
func (s *site) boot() {
	s.boots++
	s.svc = scheduling.New(s.db, post{s}, scheduling.Config{ProdID: "-//Simulation//" + s.name + "//EN", Limits: calendar.DefaultLimits(),
		RetryMin: time.Minute, RetryMax: 20 * time.Minute, RetryExpiry: 12 * time.Hour, Lease: 2 * time.Minute, PerDomain: 4,
		Node: fmt.Sprintf("%s.%d", s.name, s.boots), Now: s.now, Rand: full{s.dice}, Log: slog.New(slog.DiscardHandler)})
}

// full fills the whole buffer, for callers that do not read on.
type full struct{ d *dice }

func (f full) Read(b []byte) (int, error) { return io.ReadFull(f.d, b) }

// errCrash is why a context of a crashed server ends.
var errCrash = errors.New("the server crashed")

// fuse is the life of a server process while it does something: it ends after
// so many looks at the context, which storage takes before each statement. So
// a server crashes between any two steps, inside of a transaction or between
// two of them.
type fuse struct {
	context.Context
	left int // -1: does not blow
	over chan struct{}
}

func newFuse(left int) *fuse { return &fuse{Context: bg, left: left, over: make(chan struct{})} }

func (f *fuse) Err() error {
	select {
	case <-f.over:
		return errors.Join(context.Canceled, errCrash)
	default:
	}
	if f.left == 0 {
		f.blow()
		return errors.Join(context.Canceled, errCrash)
	}
	if f.left > 0 {
		f.left--
	}
	return nil
}

func (f *fuse) Done() <-chan struct{} { return f.over }

func (f *fuse) blow() {
	if !f.blown() {
		close(f.over)
	}
}

func (f *fuse) blown() bool {
	select {
	case <-f.over:
		return true
	default:
		return false
	}
}

// run does something on a site that may crash in the middle with the given
// chance in a hundred. It reports whether it crashed.
func (s *site) run(chance, within int, what string, fn func(ctx context.Context)) bool {
	w := s.world
	left := -1
	if !w.calm && w.rnd.IntN(100) < chance {
		left = w.rnd.IntN(within)
	}
	before := s.fuse
	f := newFuse(left)
	s.fuse = f
	fn(f)
	s.fuse = before
	if f.blown() {
		w.stats.crashes++
		w.say("%s crashes while %s, and starts again", s.name, what)
		s.boot()
		return true
	}
	return false
}

// say adds a line to the story.
func (w *world) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s  ", w.now.Sub(epoch).Round(time.Second))+w.short(fmt.Sprintf(format, args...)))
}

// short takes the seed's number out of names.
func (w *world) short(s string) string {
	return strings.ReplaceAll(s, fmt.Sprintf("-%d", w.seed), "")
}

// violated notes a broken promise.
func (w *world) violated(format string, args ...any) {
	s := w.short(fmt.Sprintf(format, args...))
	w.wrong = append(w.wrong, s)
	w.story = append(w.story, "!! "+s)
}

// chance is true n times in a hundred.
func (w *world) chance(n int) bool { return w.rnd.IntN(100) < n }

// personOf finds who has an address.
func (w *world) personOf(a calendar.Address) *person {
	for _, p := range w.people {
		for _, x := range p.addrs {
			if x.Equal(a) {
				return p
			}
		}
	}
	return nil
}

func (w *world) siteOf(domain string) *site {
	for _, s := range w.sites {
		if s.domain == domain {
			return s
		}
	}
	return nil
}

// rows reads somebody's object of a UID as it is stored now.
func (p *person) row(uid string) *storage.Object {
	var rows []storage.Object
	err := p.site.db.View(bg, func(ctx context.Context, tx *storage.Tx) (err error) {
		rows, err = tx.ObjectsByUID(ctx, []storage.AccountID{p.account.ID}, uid, storage.ColumnData|storage.ColumnExtra)
		return err
	})
	if err != nil {
		panic(err)
	}
	switch len(rows) {
	case 0:
		return nil
	case 1:
		return &rows[0]
	}
	p.w.violated("%s has %d objects of %s", p.name, len(rows), uid)
	return &rows[0]
}

// object is somebody's copy of a UID, nil when he has none.
func (p *person) object(uid string) *calendar.Object {
	if p.site == nil {
		if c := p.mail[uid]; c != nil {
			return c.object
		}
		return nil
	}
	if r := p.row(uid); r != nil {
		return parse(r.Data)
	}
	return nil
}

func parse(data string) *calendar.Object {
	o, err := calendar.Parse([]byte(data), calendar.DefaultLimits())
	if err != nil {
		panic(fmt.Sprintf("stored text cannot be read: %v\n%s", err, data))
	}
	return o
}
