package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// processReply is a REPLY in the organizer's hands (RFC 5546 §3.2.3): the
// line of the one who answers changes, and nothing else.
func processReply(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	if current == nil || roleOf(current, self) != RoleOrganizer {
		return Outcome{Status: statusNoAuthority}, nil
	}
	// Want 18: Exchange leaves the ORGANIZER out; the UID and the stored
	// organizer decide then.
	if org := organizerLine(m); org != nil && personKey(org) != personKey(organizerLine(current)) && !self.Has(calendar.Address(org.Value())) {
		return Outcome{Status: statusNoAuthority}, nil
	}
	who := replier(m, current, p)
	if who == nil || self.Has(calendar.Address(who.Value())) || p.Sender != "" && !p.Sender.Equal(calendar.Address(who.Value())) {
		return Outcome{Status: statusNoAuthority}, nil
	}
	key := personKey(who)
	store := current.Clone()
	r := &replying{s: read(fromTail(m, store, key)), cur: read(store), store: store, key: key, p: p, stamps: map[string]Stamp{}}
	if !r.invited(key) && !r.delegate(who) {
		return Outcome{Status: statusNoAuthority}, nil // a party crasher
	}
	if r.s.master != nil {
		r.whole()
	}
	for _, k := range r.s.order {
		r.single(k)
	}
	if r.crowd {
		return Outcome{Status: statusNoAuthority}, nil
	}
	out := Outcome{Status: statusSuccess, Replier: calendar.Address(who.Value())}
	if l := r.anyLine(key); l != nil {
		out.Replier = calendar.Address(l.Value())
	}
	if len(r.stamps) > 0 {
		out.ReplyStamps = r.stamps
	}
	if changedOctets(current, store) {
		addZones(store, m)
		dropZones(store)
		out.Store, out.Changed = store, true
	}
	if r.news {
		out.Refresh, out.Inbox, out.Kind = true, m, KindReply
		out.Messages = r.inviteDelegates()
	}
	return out, nil
}

// replier is the ATTENDEE line that speaks: that of the sender when there are
// two (delegator and delegate, RFC 5546 §4.2.5), else the only person.
func replier(m, current *calendar.Object, p Policy) *calendar.Property {
	var found *calendar.Property
	for _, c := range m.Components() {
		for _, l := range c.All("ATTENDEE") {
			if calendar.Address(l.Value()).Key() == "" {
				continue
			}
			switch {
			case p.Sender != "" && p.Sender.Equal(calendar.Address(l.Value())):
				return l
			case found == nil:
				found = l
			case personKey(found) != personKey(l):
				// Two people without a proven speaker: only a pair tied by
				// delegation is acceptable, and the delegator is the one
				// who hands over.
				if p.Sender != "" {
					continue
				}
				if slices.Contains(paramKeys(l, "DELEGATED-TO"), personKey(found)) {
					found = l
				} else if !slices.Contains(paramKeys(found, "DELEGATED-TO"), personKey(l)) {
					return nil
				}
			}
		}
	}
	return found
}

// replying applies one REPLY.
type replying struct {
	s, cur *series
	store  *calendar.Object
	key    string
	p      Policy
	stamps map[string]Stamp
	news   bool
	added  []calendar.Address // delegates to be invited
	crowd  bool               // he hands over to more people than one may
}

// Whom an attendee names is written to in the organizer's name, so one answer must
// not become mail for many (abuse A34): he may name a few, and each of them one.
const maxDelegates = 5

func (r *replying) invited(key string) bool { return r.anyLine(key) != nil }

func (r *replying) anyLine(key string) *calendar.Property {
	for _, c := range r.cur.components() {
		if l := line(c, key); l != nil {
			return l
		}
	}
	return nil
}

// delegate lets somebody in whom an attendee has named: on the stored line of
// the delegator, by DELEGATED-TO. His line is added beside the delegator's.
func (r *replying) delegate(who *calendar.Property) bool {
	ok := false
	for _, c := range r.cur.components() {
		for _, l := range c.All("ATTENDEE") {
			if slices.Contains(paramKeys(l, "DELEGATED-TO"), r.key) {
				r.addDelegate(c, calendar.Address(who.Value()), l)
				ok = true
			}
		}
	}
	return ok
}

func (r *replying) addDelegate(c *calendar.Component, a calendar.Address, by *calendar.Property) {
	if line(c, a.Key()) != nil {
		return
	}
	most := maxDelegates
	if len(by.ParamValues("DELEGATED-FROM")) > 0 {
		most = 1
	}
	for _, l := range c.All("ATTENDEE") {
		if slices.Contains(paramKeys(l, "DELEGATED-FROM"), personKey(by)) {
			most--
		}
	}
	if most <= 0 {
		r.crowd = true
		return
	}
	l := calendar.NewProperty("ATTENDEE", string(a), calendar.NewParam("PARTSTAT", "NEEDS-ACTION"),
		calendar.NewParam("RSVP", "TRUE"), calendar.NewParam("DELEGATED-FROM", by.Value()))
	i := slices.Index(c.Props, by)
	c.Props = slices.Insert(c.Props, i+1, l)
	if !slices.ContainsFunc(r.added, a.Equal) {
		r.added = append(r.added, a)
	}
}

// fresh tells whether the answer in c is not older than the last one for that
// instance (RFC 5546 §2.1.5), and remembers it. DTSTAMP counts whole seconds, so
// of two answers with one stamp the one that arrives later counts: who accepts
// and declines within a second is believed, and a repeat changes nothing. But
// nobody takes an answer back within a second: that he has not answered yet was
// said before. Nor does he take back for an instance what he said of the whole
// since.
func (r *replying) fresh(c *calendar.Component, k string) bool {
	st := stampOf(c, r.p.Now)
	id := r.key + " " + k
	none := partstat(line(c, r.key)) == "NEEDS-ACTION"
	if last, ok := r.p.LastReply[id]; ok {
		order := st.Compare(last.upTo(r.p.Now))
		if order < 0 || order == 0 && none {
			return false
		}
	}
	if whole, ok := r.p.LastReply[r.key+" "]; ok && none && st.Compare(whole.upTo(r.p.Now)) < 0 {
		return false
	}
	r.stamps[id] = st
	return true
}

// passed tells whether the answer c is to a time of target, the instance k, that
// no longer holds as the organizer has moved the event since, or to an event that
// was called off before this one began under its UID, or to an invitation that
// was taken back before he was invited again (RFC 5546 §2.1.5). Who was taken out
// and invited again before he heard of either is not told, so that answer must be
// older by both marks.
func (r *replying) passed(c, target *calendar.Component, k string) bool {
	if r.earlier(c, r.p.Marks.Begun) || r.earlier(c, r.p.Marks.moved(k)) || stampOf(c, r.p.Now).before(r.p.Marks.invited(r.key, k)) {
		return true
	}
	return sequenceOf(c) < sequenceOf(target) && c.Prop("DTSTART") != nil && target.Prop("DTSTART") != nil &&
		r.s.keyOf(c.Prop("DTSTART")) != r.cur.keyOf(target.Prop("DTSTART"))
}

// former tells whether the answer c was given before the whole was last
// rescheduled, which asked everybody again (RFC 5546 §2.1.4).
func (r *replying) former(c *calendar.Component) bool {
	return r.earlier(c, Stamp{Sequence: r.p.Marks.Asked, DTStamp: r.p.Marks.AskedAt})
}

// earlier tells whether the answer c is to something older than m, of which
// everybody is told (RFC 5546 §2.1.5). Absent SEQUENCE would mean 0 (§3.2.3), but
// some programs never write it, and would never be heard again: then DTSTAMP
// decides.
func (r *replying) earlier(c *calendar.Component, m Stamp) bool {
	if c.Prop("SEQUENCE") == nil {
		return stampOf(c, r.p.Now).DTStamp.Before(m.upTo(r.p.Now).DTStamp)
	}
	return sequenceOf(c) < m.Sequence
}

// askedAgain is former for an answer to one instance, now t, which takes place
// when the series says. One that has a time of its own need not have been asked
// when the series was moved: then passed decides.
func (r *replying) askedAgain(c, t *calendar.Component, k string) bool {
	id := r.s.ids[k]
	if !r.former(c) || !recurs(r.cur.master) {
		return false
	}
	if isFuture(t) { // was asked with the series: its later instances are the series'
		return true
	}
	return r.cur.has(id) && line(r.cur.derive(id), r.key) != nil && !rescheduled(r.cur, r.cur.derive(id), r.cur, t)
}

// unseen tells whether the instance has got another time since the answer c to
// the series was given: he cannot have meant that. Of an answer without SEQUENCE
// nobody knows.
func (r *replying) unseen(c *calendar.Component, k string) bool {
	m := r.p.Marks.moved(k)
	return m != (Stamp{}) && (c.Prop("SEQUENCE") == nil || sequenceOf(c) < m.Sequence)
}

// whole applies the answer for the master. It moves the instances that were
// never answered separately; the others keep their answer (want 9).
func (r *replying) whole() {
	c := r.s.master
	l := line(c, r.key)
	if l == nil || !r.fresh(c, "") {
		return
	}
	master := r.cur.master
	if master == nil { // everything he has are single instances
		for _, k := range r.cur.order {
			if t := r.cur.over[k]; r.s.over[k] == nil && line(t, r.key) != nil && !isCancelled(t) && !r.passed(c, t, k) {
				r.apply(t, c, l)
			}
		}
		return
	}
	before := ""
	if t := line(master, r.key); t != nil {
		if r.passed(c, master, "") || r.former(c) {
			return
		}
		before = partstat(t)
		r.apply(master, c, l)
	}
	r.follow(c, l, before, "")
}

// follow applies the answer l, given in component c, to the overrides of what it
// is about, the series or (base) what a THISANDFUTURE override describes.
func (r *replying) follow(c *calendar.Component, l *calendar.Property, before, base string) {
	for _, k := range r.cur.order {
		t := line(r.cur.over[k], r.key)
		if t == nil || r.base(k) != base || r.s.over[k] != nil || isCancelled(r.cur.over[k]) || r.unseen(c, k) || stampOf(c, r.p.Now).before(r.p.Marks.invited(r.key, k)) {
			continue
		}
		last, seen := r.p.LastReply[r.key+" "+k]
		separately := seen && last != r.p.LastReply[r.key+" "+base]
		if ps := partstat(t); ps == "NEEDS-ACTION" || ps == before && !separately {
			r.apply(r.cur.over[k], c, l)
		}
	}
}

// base is the key of the THISANDFUTURE override that describes the instance k
// and that the message answers; "": the series does.
func (r *replying) base(k string) (base string) {
	at := r.cur.instant(r.cur.ids[k])
	for _, f := range r.cur.future {
		if f != k && line(r.s.over[f], r.key) != nil && !r.cur.instant(r.cur.ids[f]).After(at) {
			base = f
		}
	}
	return base
}

// single applies the answer for one instance; an instance of the series gets
// an override of its own for it.
func (r *replying) single(k string) {
	c := r.s.over[k]
	l := line(c, r.key)
	if l == nil {
		return
	}
	t := r.cur.over[k]
	if t == nil {
		if isFuture(c) || r.cur.master == nil || !recurs(r.cur.master) || !r.cur.has(r.s.ids[k]) {
			return // the instance is gone by now
		}
		if t = r.cur.derive(r.s.ids[k]); t == nil || line(t, r.key) == nil {
			return
		}
		if partstat(line(t, r.key)) == partstat(l) && !r.askedAgain(c, t, k) {
			r.fresh(c, k)
			return
		}
	}
	if line(t, r.key) == nil || r.passed(c, t, k) || r.askedAgain(c, t, k) || !r.fresh(c, k) {
		return
	}
	if r.cur.over[k] == nil {
		r.store.Children = append(r.store.Children, t)
	}
	before := partstat(line(t, r.key))
	r.apply(t, c, l)
	if isFuture(t) {
		r.follow(c, l, before, k)
	}
}

// apply writes the answer l, given in component c, into the organizer's t.
func (r *replying) apply(t, c *calendar.Component, l *calendar.Property) {
	for _, q := range t.All("ATTENDEE") { // two lines with one address are one person
		if personKey(q) != r.key {
			continue
		}
		was := partstat(q)
		answer := partstat(l)
		setPartstat(q, answer)
		copyParams(q, l, "DELEGATED-TO")
		q.SetParam("SENT-BY", l.ParamValues("SENT-BY")...) // none: he answers himself
		if AgentOf(q) == AgentServer {
			q.SetParam("SCHEDULE-STATUS", "2.0")
		}
		if was != answer || c.Text("COMMENT") != "" {
			r.news = true
		}
	}
	if t.Name == "VTODO" && (c.Prop("PERCENT-COMPLETE") != nil || c.Prop("COMPLETED") != nil) {
		r.news = true // RFC 5546 §3.4.3: progress of one attendee, shown in the inbox item
	}
	if strings.EqualFold(l.Param("PARTSTAT"), "DELEGATED") {
		mine := line(t, r.key)
		for _, v := range l.ParamValues("DELEGATED-TO") {
			if a := calendar.Address(v); a.Key() != "" && a.Key() != r.key {
				r.addDelegate(t, a, mine)
			}
		}
	}
}

// inviteDelegates is the REQUEST to whom an attendee delegated (RFC 5546
// §4.2.5): over iSchedule the organizer's server sends it.
func (r *replying) inviteDelegates() []Message {
	if len(r.added) == 0 {
		return nil
	}
	msgs, err := fullRequests(r.store, r.added, KindNew, MessageOptions{By: r.p.Self, Now: r.p.Now, ProdID: r.p.ProdID})
	if err != nil {
		return nil
	}
	return msgs
}
