package scheduling_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

var bg = context.Background()

// world is an installation for tests: a database, a Service with its own
// clock and randomness, and a network that a test commands.
type world struct {
	tb    testing.TB
	db    *storage.DB
	svc   *scheduling.Service
	clock *storagetest.Clock
	net   *network
	post  *post
}

// chance is randomness that is the same in every run.
type chance struct {
	mu  sync.Mutex
	n   uint64
	buf []byte
}

func (c *chance) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range p {
		if len(c.buf) == 0 {
			c.n++
			var b [8]byte
			binary.BigEndian.PutUint64(b[:], c.n)
			h := sha256.Sum256(b[:])
			c.buf = h[:]
		}
		p[i], c.buf = c.buf[0], c.buf[1:]
	}
	return len(p), nil
}

// newWorld has the users user01 to user06 of example.com and no others.
func newWorld(tb testing.TB, e storagetest.Engine, set func(*scheduling.Config)) *world {
	tb.Helper()
	w := &world{tb: tb, clock: storagetest.NewClock(), net: newNetwork()}
	rand := &chance{}
	w.db = storagetest.OpenWith(tb, e, storage.Options{Clock: w.clock.Now, Rand: rand})
	c := scheduling.Config{Node: "test", LinkSecret: bytes.Repeat([]byte("s"), 32), Now: w.clock.Now, Rand: rand, RetryExpiry: 24 * time.Hour, ProdID: "-//Kalends//Test//EN",
		Limits: calendar.DefaultLimits(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if set != nil {
		set(&c)
	}
	w.svc = scheduling.New(w.db, w.net, c)
	w.post = newPost(w)
	w.net.mail = &federation.Transport{Mail: w.post.out, Now: w.clock.Now}
	w.must(w.db.AddDomain(bg, "example.com"))
	w.accounts(6)
	return w
}

func (w *world) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

// accounts makes sure of user01 … userNN.
func (w *world) accounts(n int) {
	w.tb.Helper()
	var list []storage.AccountSpec
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("user%02d", i)
		list = append(list, storage.AccountSpec{Handle: name, Kind: storage.KindUser, DisplayName: fmt.Sprintf("User %02d", i), Emails: []string{name + "@example.com"}})
	}
	_, _, err := w.db.ImportAccounts(bg, list)
	w.must(err)
}

func (w *world) account(name string) storage.Account {
	w.tb.Helper()
	a, err := w.db.AccountByHandle(bg, name)
	if err != nil {
		w.tb.Fatalf("account %s: %v", name, err)
	}
	return a
}

func (w *world) actor(name string) scheduling.Actor {
	a := w.account(name)
	return scheduling.Actor{Account: a, By: a}
}

// key names "calendar/a.ics" of a user.
func (w *world) key(name, path string) storage.ObjectKey {
	w.tb.Helper()
	coll, file, _ := strings.Cut(path, "/")
	c, err := w.db.CollectionByName(bg, w.account(name).ID, coll)
	if err != nil {
		w.tb.Fatalf("%s of %s: %v", path, name, err)
	}
	return storage.ObjectKey{CollectionKey: c.CollectionKey, Name: file}
}

// rows are a user's objects of a UID, outside of the inbox.
func (w *world) rows(name, uid string) []storage.Object {
	w.tb.Helper()
	var out []storage.Object
	w.must(w.db.View(bg, func(ctx context.Context, tx *storage.Tx) (err error) {
		out, err = tx.ObjectsByUID(ctx, []storage.AccountID{w.account(name).ID}, uid, storage.ColumnData|storage.ColumnExtra)
		return err
	}))
	return out
}

// row is the one object of a UID, nil when there is none.
func (w *world) row(name, uid string) *storage.Object {
	w.tb.Helper()
	switch rows := w.rows(name, uid); len(rows) {
	case 0:
		return nil
	case 1:
		return &rows[0]
	default:
		w.tb.Fatalf("%s has %d objects of UID %s", name, len(rows), uid)
		return nil
	}
}

// parse reads stored text.
func (w *world) parse(data string) *calendar.Object {
	w.tb.Helper()
	o, err := calendar.Parse([]byte(data), calendar.DefaultLimits())
	if err != nil {
		w.tb.Fatalf("stored object: %v\n%s", err, data)
	}
	return o
}

// inbox are the items of a user's scheduling inbox, oldest first.
func (w *world) inbox(name string) []storage.Object {
	w.tb.Helper()
	c, err := w.db.CollectionByName(bg, w.account(name).ID, "inbox")
	w.must(err)
	var out []storage.Object
	for o, err := range w.db.List(bg, c.CollectionKey, storage.ColumnData) {
		w.must(err)
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b storage.Object) int { return int(a.Seq - b.Seq) })
	return out
}

// work runs the worker until nothing is due within the next three seconds;
// the clock goes on to what becomes due.
func (w *world) work() {
	w.tb.Helper()
	for range 400 {
		if w.svc.Step(bg, nil) {
			continue
		}
		due, err := w.db.NextDue(bg)
		w.must(err)
		wait := due.Sub(w.clock.Now())
		if due.IsZero() || wait > 3*time.Second {
			w.clock.Advance(2500 * time.Millisecond) // statuses are written back after two seconds
			if !w.svc.Step(bg, nil) {
				return
			}
			continue
		}
		w.clock.Advance(max(wait, time.Millisecond))
	}
	w.tb.Fatal("the worker does not come to rest")
}

// network is every other system. A domain or an address answers as it is
// told; by default everything is taken.
type network struct {
	mu    sync.Mutex
	mode  map[string]string // by domain or address
	got   []parcel
	wires []string // ids of everything that was put on the wire, repeats included
	busy  map[string]string
	mail  scheduling.Transport // writes letters
}

type parcel struct {
	scheduling.Parcel
	to calendar.Address
}

func newNetwork() *network { return &network{mode: map[string]string{}, busy: map[string]string{}} }

func (n *network) set(who, mode string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mode[strings.ToLower(who)] = mode
}

// Send implements scheduling.Transport. Modes:
//
//	up           the message arrives: 2.0
//	mail         its people have e-mail only: letters are written
//	down         no connection: an error for all, nothing arrives
//	lost-answer  it arrives, but the answer does not
//	busy         a temporary answer for all; the next attempt is a new message
//	CODE         this status, finally ("3.7"); for an address or a domain
//	missing      the answer says nothing about this recipient
func (n *network) Send(_ context.Context, p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	mode := n.mode[p.Domain]
	if mode == "down" {
		return nil, fmt.Errorf("connection refused by %s", p.Domain)
	}
	n.wires = append(n.wires, p.WireID)
	if mode == "mail" {
		return n.byMail(p)
	}
	var out []scheduling.RecipientResult
	for _, a := range p.Recipients {
		m := mode
		if own := n.mode[strings.TrimPrefix(a.Key(), "mailto:")]; own != "" {
			m = own
		}
		r := scheduling.RecipientResult{Recipient: a, Transport: "ischedule", Proof: "example.com"}
		switch m {
		case "", "up":
			r.Status = "2.0;Success"
		case "lost-answer", "missing":
		case "busy":
			r.Status, r.Retry, r.NewWire, r.Detail = "5.1;Busy", true, true, "come back later"
		default:
			r.Status = m + ";refused"
		}
		if m == "" || m == "up" || m == "lost-answer" {
			n.got = append(n.got, parcel{p, a})
		}
		if m != "missing" {
			out = append(out, r)
		}
	}
	if mode == "lost-answer" {
		return nil, fmt.Errorf("%s went away before it answered", p.Domain)
	}
	return out, nil
}

// byMail sends letters; what the mail server took has arrived.
func (n *network) byMail(p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	out, err := n.mail.Send(bg, p)
	for _, r := range out {
		if strings.HasPrefix(r.Status, "1") {
			n.got = append(n.got, parcel{p, r.Recipient})
		}
	}
	return out, err
}

// FreeBusy implements scheduling.Transport with the periods a test gave.
func (n *network) FreeBusy(ctx context.Context, q scheduling.Question) ([]scheduling.RecipientResult, error) {
	n.mu.Lock()
	mode := n.mode[q.Domain]
	n.mu.Unlock()
	switch mode {
	case "down":
		return nil, fmt.Errorf("connection refused by %s", q.Domain)
	case "silent":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var out []scheduling.RecipientResult
	for _, a := range q.Recipients {
		fb := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Peer//EN\r\nMETHOD:REPLY\r\nBEGIN:VFREEBUSY\r\nATTENDEE:" + string(a) + "\r\nFREEBUSY:" + n.busy[a.Key()] + "\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
		out = append(out, scheduling.RecipientResult{Recipient: a, Status: "2.0;Success", Calendar: []byte(fb), Transport: "ischedule"})
	}
	return out, nil
}

// take removes and returns what arrived for an address, oldest first.
func (n *network) take(to calendar.Address) []parcel {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out, rest []parcel
	for _, p := range n.got {
		if p.to.Equal(to) {
			out = append(out, p)
		} else {
			rest = append(rest, p)
		}
	}
	n.got = rest
	return out
}
