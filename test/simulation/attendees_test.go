package simulation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// react is one random act of somebody who has a copy.
func (w *world) react(p *person, e *event) {
	if p.site == nil {
		w.reactByMail(p, e)
		return
	}
	c, cond, fresh, ok := p.copyFor(e.uid)
	if !ok {
		return
	}
	o := parse(c.data)
	roll := w.rnd.IntN(100)
	switch {
	case roll < 58:
		w.answer(p, e, o, &c, cond, fresh)
	case roll < 62:
		w.counter(p, e, o) // with a program that mails proposals
	case roll < 80:
		w.setAlarm(p, e, o, &c, cond, fresh)
	case roll < 84:
		w.say("%s stores %s again (%s)", p.name, e.uid, cond)
		p.attend(e, o, &c, cond, fresh)
	case roll < 88:
		w.throwAway(p, e, o, &c, cond, fresh)
	default:
		w.leave(p, e, &c, cond)
	}
}

var partstats = []string{"ACCEPTED", "DECLINED", "TENTATIVE"}

func (w *world) answer(p *person, e *event, o *calendar.Object, c *cached, cond string, fresh bool) {
	partstat := partstats[w.rnd.IntN(3)]
	var id *calendar.DateTime
	what := "the whole of"
	if all := mine(o, p); len(all) > 0 && w.chance(45) && (o.Master() == nil || o.Master().Prop("RRULE") != nil) {
		in := all[w.rnd.IntN(len(all))]
		id, what = &in.ID, in.ID.Value()+" of"
	}
	next, err := itip.Respond(o, p.addrs, partstat, id, itip.RespondOptions{})
	if err != nil {
		return // nothing left to answer
	}
	w.say("%s answers %s %s: %s (%s)", p.name, what, e.uid, partstat, cond)
	p.attend(e, next, c, cond, fresh)
}

// attend stores an attendee's copy and keeps the books.
func (p *person) attend(e *event, o *calendar.Object, c *cached, cond string, fresh bool) {
	w := p.w
	data, lost, err := p.put(c.key, o.Bytes(), c, cond)
	if lost {
		w.say("  %s gets no answer", p.name)
		row := p.row(e.uid)
		if row == nil || row.ETag == c.etag || row.Data == c.data {
			return // not stored, or nothing to learn
		}
		data = row.Data
	}
	if err != nil {
		w.say("  refused: %v", err)
		var f *scheduling.Error
		if fresh && !(errors.As(err, &f) && f.Precond) {
			w.violated("%s may not store his copy of %s, which he read a moment ago: %v", p.name, e.uid, err)
		}
		return
	}
	now := parse(data)
	if !lost && fresh {
		for k, want := range said(o, p) {
			if got := said(now, p)[k]; got != want {
				w.violated("%s said %s about %s %s, and %s was stored", p.name, want, e.uid, k, got)
			}
		}
	}
	p.noteAlarms(e, now)
	p.noteAnswers(e, now)
}

// noteAlarms remembers which alarms were stored.
func (p *person) noteAlarms(e *event, o *calendar.Object) {
	a := alarms{}
	for _, c := range o.Components() {
		if k := c.ChildrenNamed("VALARM"); len(k) > 0 && !cancelled(c) && !ranged(c) {
			a[recurrenceKey(o, c)] = k[0].Value("DESCRIPTION")
		}
	}
	p.alarms[e.uid] = a
}

// noteAnswers remembers what he said, if his copy says the same as the
// organizer's object, and not because that was changed and changed back, which
// he has yet to hear: then nothing under way can ask him again.
func (p *person) noteAnswers(e *event, o *calendar.Object) {
	for k := range p.said {
		if strings.HasPrefix(k, e.uid+" ") {
			delete(p.said, k)
		}
	}
	if e.want == "" || plain(instances(o, p, false)) != plain(instances(parse(e.want), p, true)) || o.Master() != nil && sequence(o.Master()) < e.moved {
		return
	}
	for k, in := range instances(o, p, false) {
		if in.partstat != "NEEDS-ACTION" {
			p.said[e.uid+" "+k] = answer{in.partstat, e.asked, p.w.now}
		}
	}
}

func (w *world) setAlarm(p *person, e *event, o *calendar.Object, c *cached, cond string, fresh bool) {
	text := fmt.Sprintf("alarm %d of %s", w.rnd.IntN(1000), p.name)
	target := o.Master()
	if all := mine(o, p); target == nil || target.Prop("RRULE") != nil && len(all) > 0 && w.chance(40) {
		if len(all) == 0 {
			return
		}
		target = override(o, all[w.rnd.IntN(len(all))])
	}
	if cancelled(target) {
		return
	}
	alarm(target, text)
	w.say("%s sets an alarm in %s %s (%s)", p.name, e.uid, target.Value("RECURRENCE-ID"), cond)
	p.attend(e, o, c, cond, fresh)
}

// throwAway takes one instance out of an attendee's copy.
func (w *world) throwAway(p *person, e *event, o *calendar.Object, c *cached, cond string, fresh bool) {
	all := mine(o, p)
	if o.Master() == nil || o.Master().Prop("RRULE") == nil || len(all) < 2 {
		return
	}
	in := all[w.rnd.IntN(len(all))]
	if k := overrideOf(o, in); k != nil {
		o.RemoveComponent(k)
	}
	o.Master().Add(in.ID.Property("EXDATE"))
	w.say("%s throws %s of %s away (%s)", p.name, in.ID.Value(), e.uid, cond)
	p.attend(e, o, c, cond, fresh)
	p.left[e.uid] = w.now
}

// leave deletes an attendee's copy.
func (w *world) leave(p *person, e *event, c *cached, cond string) {
	w.say("%s deletes his copy of %s (%s)", p.name, e.uid, cond)
	w.stats.ops++
	crashed, err := p.remove(c.key, c, cond)
	if err != nil && !crashed {
		w.stats.refused++
		w.say("  refused: %v", err)
		return
	}
	if p.row(e.uid) != nil {
		return
	}
	p.left[e.uid] = w.now
	delete(p.alarms, e.uid)
	p.noteNothing(e)
}

func (p *person) noteNothing(e *event) {
	for k := range p.said {
		if strings.HasPrefix(k, e.uid+" ") {
			delete(p.said, k)
		}
	}
}

// reactByMail is somebody's calendar program that knows nothing but mail. What
// its owner does comes at least a second after what it sends by itself: mails
// overtake each other, and only DTSTAMP, which counts seconds, orders two answers
// to one SEQUENCE (RFC 5546 §2.1.5).
func (w *world) reactByMail(p *person, e *event) {
	if p.wrote.Add(time.Second).After(w.now) {
		w.now = p.wrote.Add(time.Second)
	}
	c := p.mail[e.uid]
	if c == nil || c.object == nil {
		return
	}
	if w.chance(15) {
		w.counter(p, e, c.object)
		return
	}
	var next *calendar.Object
	verb := "deletes"
	if w.chance(88) {
		partstat := partstats[w.rnd.IntN(3)]
		var id *calendar.DateTime
		if all := mine(c.object, p); len(all) > 0 && w.chance(40) && (c.object.Master() == nil || c.object.Master().Prop("RRULE") != nil) {
			id = &all[w.rnd.IntN(len(all))].ID
		}
		var err error
		if next, err = itip.Respond(c.object, p.addrs, partstat, id, itip.RespondOptions{}); err != nil {
			return
		}
		verb = "answers " + partstat
		if id != nil {
			verb += " " + id.Value()
		}
	}
	plan, err := itip.PlanChange(itip.Change{Old: c.object, New: next, By: p.addrs, Now: w.now, ServerTransp: c.server, OrganizerTransp: c.transp, Thrown: c.thrown, ProdID: "-//Mail//EN"})
	if err != nil {
		return
	}
	w.stats.ops++
	w.say("%s %s %s", p.name, verb, e.uid)
	c.object, c.server, c.transp, c.thrown = plan.Store, plan.ServerTransp, plan.OrganizerTransp, plan.Thrown
	if next == nil {
		c.object, c.forgotten, c.left = nil, plan.Forget, plan.Left
		p.left[e.uid] = w.now
		p.noteNothing(e)
	} else {
		p.noteAnswers(e, plan.Store)
	}
	for _, m := range plan.Messages {
		p.send(m.Object, m.Recipients[0])
	}
}

// send mails a message of a person without an account; nothing is lost, but
// it takes its time and may overtake another.
func (p *person) send(m *calendar.Object, to calendar.Address) {
	w := p.w
	p.wrote = w.now
	w.stats.messages++
	w.stats.mails++
	site := w.siteOf(to.Domain())
	w.net.n++
	id := fmt.Sprintf("mail-%d-%d", w.seed, w.net.n)
	domain := p.addrs[0].Domain()
	in := scheduling.Inbound{Via: "mail", Proof: scheduling.Proof{Domain: domain}, Originator: p.addrs[0], Recipients: []calendar.Address{to}, Message: m,
		Once: &storage.Once{Domain: domain, MessageID: id, BodyHash: scheduling.ETag(string(m.Bytes())), Recipients: to.Key()}}
	line := fmt.Sprintf("%s mails %s %s", p.name, m.Method(), brief(m))
	var take func()
	take = func() {
		w.say("%s reaches %s", line, site.name)
		res, ok := site.receive(in)
		if !ok { // the mail server in front tries again
			w.net.later(w.span(5*time.Minute, time.Hour), line, take)
			return
		}
		if !site.seen[id] && strings.HasPrefix(res[0].Status, "2.") {
			w.net.tell(to, id, m)
		}
		site.seen[id] = true
	}
	w.net.later(w.span(10*time.Minute, 2*time.Hour), line, take)
	if w.chance(10) && !w.calm {
		w.stats.duplicates++
		w.net.later(w.span(time.Hour, 5*time.Hour), line, take)
	}
}

// counter proposes another time by mail (RFC 5546 §3.2.7).
func (w *world) counter(p *person, e *event, o *calendar.Object) {
	m := o.Master()
	if m == nil || cancelled(m) || !listed(m, p) {
		return
	}
	c := m.Clone()
	c.Children = nil
	shift(c, time.Duration(w.rnd.IntN(4)+1)*30*time.Minute)
	c.Remove("RRULE", "RDATE", "EXDATE", "TRANSP")
	if r := m.Value("RRULE"); r != "" {
		c.Add(calendar.NewProperty("RRULE", r))
	}
	c.Set(calendar.NewProperty("DTSTAMP", calendar.UTCDateTime(w.now).Value()))
	n := &calendar.Object{Component: calendar.NewComponent("VCALENDAR")}
	n.Add(calendar.NewProperty("VERSION", "2.0"))
	n.Add(calendar.NewProperty("PRODID", "-//Mail//EN"))
	n.Add(calendar.NewProperty("METHOD", "COUNTER"))
	for _, z := range o.Children {
		if z.Name == "VTIMEZONE" {
			n.Children = append(n.Children, z)
		}
	}
	n.Children = append(n.Children, c)
	org, ok := itip.Organizer(o)
	if !ok {
		return
	}
	w.stats.ops++
	w.say("%s proposes %s", p.name, brief(n))
	p.send(n, org)
}

// decide answers the newest proposal in an organizer's inbox.
func (w *world) decide(e *event) {
	p := e.organizer
	var found *storage.Object
	err := p.site.db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
		rows, err := tx.InboxByUID(ctx, p.account.ID, e.uid, storage.ColumnData)
		for i := range rows {
			if strings.Contains(rows[i].Data, "METHOD:COUNTER") {
				found = &rows[i]
			}
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	if found == nil {
		return
	}
	counter := parse(found.Data)
	if w.chance(50) {
		w.stats.ops++
		w.say("%s declines the proposal %s", p.name, brief(counter))
		var err error
		p.site.run(4, 16, "it declines a proposal", func(ctx context.Context) {
			err = p.site.svc.DeclineCounter(ctx, scheduling.CounterAnswer{Actor: scheduling.Actor{Account: p.account, By: p.account}, Counter: counter, RequestID: "sim"})
		})
		if err != nil {
			w.say("  refused: %v", err)
		}
		return
	}
	c, ok := p.fetch(e.uid)
	if !ok {
		return
	}
	next, err := itip.AcceptCounter(parse(c.data), counter)
	if err != nil {
		w.say("%s cannot accept the proposal: %v", p.name, err)
		return
	}
	w.organize(e, next, &c, "if-match", "accepts a proposal for")
}
