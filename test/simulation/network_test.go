package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// network is everything between the installations: it delays, duplicates,
// reorders and loses requests and their answers, and parts sites from each
// other. Mail keeps its order per mailbox but takes its time and comes twice.
type network struct {
	w       *world
	pending []*arrival
	n       int
	parted  map[[2]string]time.Time // until when two domains cannot talk
	flying  map[string]int          // late requests by message id
	told    []told                  // what receivers took, without repeats
}

// arrival is a request or mail that is on its way.
type arrival struct {
	at   time.Time
	n    int
	what string
	run  func()
}

// told is a message that was taken for the first time.
type told struct {
	to     string // recipient's key
	wire   string
	method string
	uid    string
	body   string // without DTSTAMP: what it says
	exact  string // with it
}

func (n *network) later(d time.Duration, what string, run func()) {
	n.n++
	n.pending = append(n.pending, &arrival{n.w.now.Add(d), n.n, what, run})
}

// due lets arrive whose time has come.
func (n *network) due() bool {
	did := false
	for {
		var first *arrival
		for _, a := range n.pending {
			if !a.at.After(n.w.now) && (first == nil || a.at.Before(first.at) || a.at.Equal(first.at) && a.n < first.n) {
				first = a
			}
		}
		if first == nil {
			return did
		}
		n.pending = slices.DeleteFunc(n.pending, func(a *arrival) bool { return a == first })
		first.run()
		did = true
	}
}

// next is when the next request or mail arrives.
func (n *network) next() (at time.Time) {
	for _, a := range n.pending {
		if at.IsZero() || a.at.Before(at) {
			at = a.at
		}
	}
	return at
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// part cuts the line between two domains for a while.
func (n *network) part(a, b string, d time.Duration) {
	if n.parted == nil {
		n.parted = map[[2]string]time.Time{}
	}
	n.parted[pair(a, b)] = n.w.now.Add(d)
}

// post is the transport of one installation.
type post struct{ from *site }

var errNoAnswer = errors.New("no answer")

// Send implements scheduling.Transport.
func (t post) Send(ctx context.Context, p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	w := t.from.world
	w.stats.messages++
	w.clean(p)
	if p.Domain == mailDomain {
		return t.mail(p)
	}
	to := w.siteOf(p.Domain)
	line := fmt.Sprintf("%s sends %s to %s", t.from.name, label(p), names(w, p.Recipients))
	if w.net.parted[pair(t.from.domain, p.Domain)].After(w.now) && !w.calm {
		w.stats.lost++
		w.say("%s: no connection", line)
		return nil, errNoAnswer
	}
	roll := w.rnd.IntN(100)
	if w.calm {
		roll = 99
	}
	switch {
	case roll < 8:
		w.stats.lost++
		w.say("%s: lost", line)
		return nil, errNoAnswer
	case roll < 18:
		w.say("%s: it arrives, the answer is lost", line)
		to.arrive(t.from, p)
		return nil, errNoAnswer
	case roll < 26:
		d := w.span(30*time.Minute, 3*time.Hour)
		w.stats.late++
		w.say("%s: under way for %v, the sender does not wait", line, d)
		w.net.flying[p.WireID]++
		w.net.later(d, line, func() {
			w.net.flying[p.WireID]--
			w.say("%s's %s for %s arrives late", t.from.name, label(p), names(w, p.Recipients))
			to.arrive(t.from, p)
		})
		return nil, errNoAnswer
	case roll < 31:
		if to.seen[p.WireID] || w.net.flying[p.WireID] > 0 { // who has taken it, or is about to, gives no such answer
			w.say("%s: 503", line)
			return nil, errNoAnswer
		}
		w.say("%s: the peer is busy", line)
		return same(p.Recipients, "5.1;Busy", true), nil
	case roll < 35:
		w.say("%s: it arrives", line)
		to.arrive(t.from, p)
		w.say("%s crashes before it can store the answer", t.from.name)
		t.from.fuse.blow()
		return nil, errNoAnswer
	case roll < 37:
		w.say("%s: never, it crashes", t.from.name)
		t.from.fuse.blow()
		return nil, errNoAnswer
	case roll < 47:
		d := w.span(10*time.Minute, 6*time.Hour)
		w.stats.duplicates++
		w.net.flying[p.WireID]++
		w.net.later(d, line, func() {
			w.net.flying[p.WireID]--
			w.say("%s's %s for %s arrives once more", t.from.name, label(p), names(w, p.Recipients))
			to.arrive(t.from, p)
		})
	}
	w.say("%s", line)
	return to.arrive(t.from, p)
}

// FreeBusy implements scheduling.Transport; nobody asks.
func (t post) FreeBusy(context.Context, scheduling.Question) ([]scheduling.RecipientResult, error) {
	return nil, errNoAnswer
}

func same(to []calendar.Address, status string, retry bool) (out []scheduling.RecipientResult) {
	for _, a := range to {
		out = append(out, scheduling.RecipientResult{Recipient: a, Status: status, Retry: retry, NewWire: retry, Transport: "ischedule"})
	}
	return out
}

// span is a time between a second and short, seldom up to long.
func (w *world) span(short, long time.Duration) time.Duration {
	if w.chance(20) {
		short = long
	}
	return time.Second + time.Duration(w.rnd.Int64N(int64(short/time.Second)))*time.Second
}

// arrive is a request at the door of an installation.
func (s *site) arrive(from *site, p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	w := s.world
	sum := sha256.Sum256(p.Body)
	once := &storage.Once{Domain: from.domain, Selector: "s", SignatureHash: fmt.Sprint(p.WireID, " ", w.now.UnixMicro()), MessageID: p.WireID,
		BodyHash: hex.EncodeToString(sum[:]), Recipients: keys(p.Recipients)}
	in := scheduling.Inbound{Via: "ischedule", Proof: scheduling.Proof{Domain: from.domain}, Originator: p.Originator, Recipients: p.Recipients,
		Message: parse(string(p.Body)), Once: once}
	res, ok := s.receive(in)
	if !ok {
		return nil, errNoAnswer
	}
	fresh := !s.seen[p.WireID]
	out := make([]scheduling.RecipientResult, len(res))
	for i, r := range res {
		out[i] = scheduling.RecipientResult{Recipient: r.Recipient, Status: r.Status, Transport: "ischedule", Proof: from.domain}
		switch code, _, _ := strings.Cut(r.Status, ";"); {
		case code == "1.0" || code == "5.1":
			out[i].Retry, out[i].NewWire = true, true
			w.violated("%s cannot take %s for %s: %s", s.name, label(p), r.Recipient, r.Status)
			return out, nil
		case fresh && strings.HasPrefix(code, "2."):
			w.net.tell(r.Recipient, p.WireID, in.Message)
		}
	}
	s.seen[p.WireID] = true
	if w.chance(4) && !w.calm {
		w.say("%s crashes before it can answer", s.name)
		w.stats.crashes++
		s.boot()
		return nil, errNoAnswer
	}
	return out, nil
}

// receive hands a message to the service; false: nobody knows what came of it.
func (s *site) receive(in scheduling.Inbound) (res []scheduling.RecipientResult, ok bool) {
	var err error
	if s.run(4, 20, "it takes a message", func(ctx context.Context) { res, err = s.svc.Receive(ctx, in) }) {
		return nil, false
	}
	if err != nil {
		s.world.violated("%s refuses %s %s: %v", s.name, in.Message.Method(), in.Message.UID(), err)
		return nil, false
	}
	return res, true
}

// tell notes what a recipient was told for the first time under that id.
func (n *network) tell(to calendar.Address, wire string, m *calendar.Object) {
	n.w.stats.delivered++
	t := told{to: to.Key(), wire: wire, method: m.Method(), uid: m.UID(), exact: string(m.Bytes())}
	t.body = stamps.ReplaceAllString(t.exact, "")
	n.told = append(n.told, t)
}

var stamps = regexp.MustCompile(`(?m)^DTSTAMP:.*\r\n`)

func keys(as []calendar.Address) string {
	var out []string
	for _, a := range as {
		out = append(out, a.Key())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func names(w *world, as []calendar.Address) string {
	var out []string
	for _, a := range as {
		if p := w.personOf(a); p != nil {
			out = append(out, p.name)
		} else {
			out = append(out, string(a))
		}
	}
	return strings.Join(out, ", ")
}

// label names a message in the story.
func label(p scheduling.Parcel) string {
	return p.Method + " " + brief(parse(string(p.Body))) + " [" + p.WireID[:4] + "]"
}

// brief tells what an object says, in a line.
func brief(o *calendar.Object) string {
	if o == nil {
		return "nothing"
	}
	var out []string
	for _, c := range o.Components() {
		t := "whole"
		if id := c.Value("RECURRENCE-ID"); id != "" {
			t = id
			if c.Prop("RECURRENCE-ID").Param("RANGE") != "" {
				t += "+"
			}
		}
		if v := c.Value("SEQUENCE"); v != "" {
			t += " seq " + v
		}
		if v := c.Value("DTSTART"); v != "" {
			t += " " + v
		}
		if v := c.Value("RRULE"); v != "" {
			t += " " + v
		}
		for _, p := range c.All("EXDATE") {
			t += " -" + p.Value()
		}
		if v := c.Value("SUMMARY"); v != "" {
			t += " '" + v + "'"
		}
		if v := c.Value("LOCATION"); v != "" {
			t += " at " + v
		}
		if v := c.Value("STATUS"); v != "" {
			t += " " + v
		}
		for _, p := range c.All("ATTENDEE") {
			name, _, _ := strings.Cut(calendar.Address(p.Value()).Email(), "-")
			t += " " + name
			switch p.Param("PARTSTAT") {
			case "ACCEPTED":
				t += "+"
			case "DECLINED":
				t += "-"
			case "TENTATIVE":
				t += "~"
			default:
				t += "?"
			}
		}
		if len(c.ChildrenNamed("VALARM")) > 0 {
			t += " (alarm)"
		}
		out = append(out, t)
	}
	return o.UID() + " {" + strings.Join(out, "; ") + "}"
}

// clean tests that a message carries nothing private.
func (w *world) clean(p scheduling.Parcel) {
	for _, s := range []string{"VALARM", "X-PRIVATE", "SCHEDULE-STATUS", "SCHEDULE-AGENT"} {
		if strings.Contains(string(p.Body), s) {
			w.violated("%s travels in %s", s, label(p))
		}
	}
}

// mailCopy is a copy in the calendar program of a person who has only mail.
type mailCopy struct {
	object    *calendar.Object
	server    bool
	transp    string
	forgotten *itip.Stamp
	left      *calendar.Object
	thrown    []string
}

// mail sends by SMTP: what the mail server took arrives, in order, some time
// later, and now and then once more.
func (t post) mail(p scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	w := t.from.world
	w.stats.mails++
	line := fmt.Sprintf("%s mails %s to %s", t.from.name, label(p), names(w, p.Recipients))
	roll := w.rnd.IntN(100)
	if w.calm {
		roll = 99
	}
	if roll < 10 {
		w.stats.lost++
		w.say("%s: the mail server is away", line)
		return nil, errNoAnswer
	}
	for _, a := range p.Recipients {
		who := w.personOf(a)
		m := parse(string(p.Body))
		take := func() {
			w.say("the mail with %s reaches %s", label(p), who.name)
			who.read(m, p.Originator)
		}
		w.net.tellOnce(a, p.WireID, m)
		at := w.now.Add(w.span(10*time.Minute, 2*time.Hour))
		if at.Before(who.mailed) {
			at = who.mailed
		}
		who.mailed = at
		w.net.later(at.Sub(w.now), line, take)
		if roll >= 10 && roll < 20 {
			w.stats.duplicates++
			w.net.later(at.Sub(w.now)+w.span(time.Hour, 5*time.Hour), line, take)
		}
	}
	switch {
	case roll >= 20 && roll < 28:
		w.say("%s: taken, but the answer is lost", line)
		return nil, errNoAnswer
	case roll >= 28 && roll < 32:
		w.say("%s: taken, and %s crashes", line, t.from.name)
		t.from.fuse.blow()
		return nil, errNoAnswer
	}
	w.say("%s", line)
	out := same(p.Recipients, "1.1;Sent", false)
	for i := range out {
		out[i].Transport = "mail"
	}
	return out, nil
}

// tellOnce is tell unless the id was seen: mail programs show a Message-ID once.
func (n *network) tellOnce(to calendar.Address, wire string, m *calendar.Object) {
	for _, t := range n.told {
		if t.wire == wire && t.to == to.Key() {
			return
		}
	}
	n.tell(to, wire, m)
}

// read is a calendar program that takes an invitation out of a mail.
func (p *person) read(m *calendar.Object, from calendar.Address) {
	c := p.mail[m.UID()]
	if c == nil {
		c = &mailCopy{}
		p.mail[m.UID()] = c
	}
	out, err := itip.Process(m, c.object, itip.Policy{Self: p.addrs, Now: p.w.now, Sender: from, Outside: true,
		ServerTransp: c.server, OrganizerTransp: c.transp, Forgotten: c.forgotten, Left: c.left, Thrown: c.thrown, ProdID: "-//Mail//EN"})
	if err != nil {
		p.w.violated("%s cannot read the mail with %s: %v", p.name, brief(m), err)
		return
	}
	switch {
	case out.Remove:
		c.object = nil
	case out.Store != nil:
		c.object, c.server, c.transp, c.thrown = out.Store, out.ServerTransp, out.OrganizerTransp, out.Thrown
	}
	for _, n := range out.Messages {
		p.send(n.Object, n.Recipients[0])
	}
}
