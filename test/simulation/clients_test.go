package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// alarms are the descriptions of somebody's alarms by instance ("" the whole).
type alarms map[string]string

// answer is what somebody said about an instance, when nothing was under way
// that could have asked him again.
type answer struct {
	partstat string
	asked    int // event.asked then
	at       time.Time
}

// fetch reads an object as a GET does.
func (p *person) fetch(uid string) (cached, bool) {
	r := p.row(uid)
	if r == nil {
		delete(p.cache, uid)
		return cached{}, false
	}
	c := cached{r.ObjectKey, r.Data, r.ETag, r.ScheduleTag}
	p.cache[uid] = c
	return c, true
}

// copyFor is what a client edits: mostly what is stored now, sometimes what it
// read long ago. cond is how it guards its PUT.
func (p *person) copyFor(uid string) (c cached, cond string, fresh, ok bool) {
	old, had := p.cache[uid]
	if had && p.w.chance(20) {
		now := p.row(uid)
		return old, []string{"if-match", "if-schedule-tag", "blind"}[p.w.rnd.IntN(3)], now != nil && now.ETag == old.etag, true
	}
	c, ok = p.fetch(uid)
	return c, []string{"if-match", "if-schedule-tag", "blind"}[p.w.rnd.IntN(3)], true, ok
}

// put stores an object and tells what became of it: the data that is stored
// now, or why not. lost: the connection broke, nobody knows.
func (p *person) put(key storage.ObjectKey, data []byte, c *cached, cond string) (stored string, lost bool, err error) {
	w := p.w
	w.stats.ops++
	put := scheduling.Put{Actor: scheduling.Actor{Account: p.account, By: p.account}, Key: key, Data: data, RequestID: "sim"}
	if c != nil {
		switch cond {
		case "if-match":
			put.IfMatch = []string{c.etag}
		case "if-schedule-tag":
			put.IfScheduleTag = c.tag
		}
	}
	var res scheduling.Result
	crashed := p.site.run(4, 24, "it stores a PUT", func(ctx context.Context) { res, err = p.site.svc.Put(ctx, put) })
	if crashed || err == nil && !w.calm && w.chance(2) {
		return "", true, nil
	}
	if err != nil {
		w.stats.refused++
		return "", false, err
	}
	p.cache[res.Object.UID] = cached{key, res.Object.Data, res.ETag, res.ScheduleTag}
	return res.Object.Data, false, nil
}

// rule of a new series: all end, so that both sides can be listed.
var rules = []string{"", "", "", "FREQ=DAILY;COUNT=5", "FREQ=WEEKLY;COUNT=4", "FREQ=WEEKLY;BYDAY=MO,WE;COUNT=6", "FREQ=DAILY;UNTIL=20270305T200000Z"}

var places = []string{"Room 1", "Room 2", "Garden", "Roof"}

// create makes a new event with some of the others.
func (w *world) create(p *person) {
	uid := fmt.Sprintf("e%d-%d", len(w.events)+1, w.seed)
	kind, home, end := "VEVENT", p.home, "DTEND"
	if w.chance(20) {
		kind, home, end = "VTODO", p.tasks, "DUE"
	}
	e := &event{uid: uid, organizer: p, key: storage.ObjectKey{CollectionKey: home, Name: uid + ".ics"}, seq: map[string]int{}}
	c := calendar.NewComponent(kind)
	c.Add(calendar.NewProperty("UID", uid))
	c.Add(calendar.NewProperty("DTSTAMP", calendar.UTCDateTime(w.now).Value()))
	start := time.Date(2027, 3, 1+w.rnd.IntN(3), 8+w.rnd.IntN(8), 0, 0, 0, time.UTC)
	var at calendar.DateTime
	switch w.rnd.IntN(6) {
	case 0:
		at = calendar.UTCDateTime(start)
	case 1:
		at = calendar.DateTime{Wall: start.Truncate(24 * time.Hour), Kind: calendar.Date}
	default:
		at = calendar.DateTime{Wall: start, Kind: calendar.Zoned, TZID: "Europe/Berlin"}
	}
	till := at
	till.Wall = at.Wall.Add(time.Hour)
	if at.Kind == calendar.Date {
		till.Wall = at.Wall.AddDate(0, 0, 1)
	}
	c.Add(at.Property("DTSTART"))
	c.Add(till.Property(end))
	if r := rules[w.rnd.IntN(len(rules))]; r != "" {
		if at.Kind == calendar.Date && strings.Contains(r, "UNTIL") {
			r = "FREQ=DAILY;UNTIL=20270305"
		}
		c.Add(calendar.NewProperty("RRULE", r))
	}
	c.Add(calendar.NewProperty("SUMMARY", w.title()))
	c.Add(calendar.NewProperty("ORGANIZER", string(p.addrs[0])))
	c.Add(calendar.NewProperty("ATTENDEE", string(p.addrs[0]), calendar.NewParam("PARTSTAT", "ACCEPTED")))
	for _, q := range w.people {
		if q != p && w.chance(60) {
			c.Add(w.guest(q))
		}
	}
	if w.chance(30) {
		alarm(c, "of "+p.name)
		c.Add(calendar.NewProperty("X-PRIVATE", p.name))
	}
	o := calendar.NewObject("-//Client//EN")
	o.Children = []*calendar.Component{c}
	w.events = append(w.events, e)
	w.organize(e, o, nil, "blind", "makes")
}

func (w *world) title() string { return fmt.Sprintf("Title %d", w.rnd.IntN(1000)) }

// guest is an invitation of somebody; another system cannot know which
// addresses are one person, so an organizer's client sticks to one.
func (w *world) guest(q *person) *calendar.Property {
	return calendar.NewProperty("ATTENDEE", string(q.addrs[int(w.seed)%len(q.addrs)]), calendar.NewParam("RSVP", "TRUE"), calendar.NewParam("PARTSTAT", "NEEDS-ACTION"))
}

func alarm(c *calendar.Component, text string) {
	c.Children = slices.DeleteFunc(c.Children, func(k *calendar.Component) bool { return k.Name == "VALARM" })
	a := calendar.NewComponent("VALARM")
	a.Add(calendar.NewProperty("ACTION", "DISPLAY"))
	a.Add(calendar.NewProperty("TRIGGER", "-PT10M"))
	a.Add(calendar.NewProperty("DESCRIPTION", text))
	c.Children = append(c.Children, a)
}

// organize stores the organizer's object (nil: deletes it) and keeps the books.
func (w *world) organize(e *event, o *calendar.Object, c *cached, cond, verb string) {
	p := e.organizer
	w.settle(e)
	before := e.want
	if o == nil {
		w.deleteEvent(e, c, cond)
		return
	}
	sent := meaning(o, w)
	w.say("%s %s %s (%s)", p.name, verb, brief(o), cond)
	data, lost, err := p.put(e.key, o.Bytes(), c, cond)
	switch {
	case lost:
		w.say("  %s gets no answer", p.name)
		e.unknown, e.asked = string(o.Bytes()), e.asked+1
		w.settle(e)
		return
	case err != nil:
		w.say("  refused: %v", err)
		var f *scheduling.Error
		if !errors.As(err, &f) || !f.Precond {
			w.violated("%s may not store his own event: %v", p.name, err)
		}
		return
	}
	if got := meaning(parse(data), w); got != sent {
		w.violated("%s stored something else than he was told:\nsent   %s\nstored %s", p.name, sent, got)
	}
	e.want, e.deleted = data, false
	w.organized(e, before)
}

// organized keeps the books after a change of the organizer's object.
func (w *world) organized(e *event, before string) {
	moves := before == "" || e.want == "" || rule(parse(before)) != rule(parse(e.want))
	if moves && e.want != "" {
		e.moved = sequence(parse(e.want).Master())
	}
	if moves || schedule(parse(before)) != schedule(parse(e.want)) {
		e.asked++
	}
	w.sequences(e)
	if e.want == "" {
		return
	}
	o := parse(e.want)
	for _, q := range w.people { // alarms of instances that somebody lost are gone with them
		if q == e.organizer || q.alarms[e.uid] == nil {
			continue
		}
		mine := instances(o, q, true)
		for k := range q.alarms[e.uid] {
			if len(mine) == 0 || k != "" && mine[k] == nil {
				delete(q.alarms[e.uid], k)
			}
		}
	}
}

// rule is when an object takes place as a whole.
func rule(o *calendar.Object) (s string) {
	for _, n := range []string{"DTSTART", "DTEND", "DUE", "RRULE", "RDATE"} {
		for _, p := range o.Master().All(n) {
			s += p.Value() + " "
		}
	}
	return s
}

func sequence(c *calendar.Component) (n int) {
	if c != nil {
		_, _ = fmt.Sscan(c.Value("SEQUENCE"), &n)
	}
	return n
}

// sequences tests that SEQUENCE never falls.
func (w *world) sequences(e *event) {
	if e.want == "" {
		return
	}
	for _, c := range parse(e.want).Components() {
		k := c.Value("RECURRENCE-ID")
		n := sequence(c)
		if n < e.seq[k] {
			w.violated("SEQUENCE of %s %s falls from %d to %d", e.uid, k, e.seq[k], n)
		}
		e.seq[k] = n
	}
}

// settle finds out what is stored after a connection broke.
func (w *world) settle(e *event) {
	row := e.organizer.row(e.uid)
	have := ""
	if row != nil {
		have = row.Data
	}
	if e.unknown != "" {
		was := e.want
		switch {
		case e.unknown == "deleted" && have == "":
			e.want, e.deleted = "", true
		case have != "" && e.unknown != "deleted" && meaning(parse(have), w) == meaning(parse(e.unknown), w):
			e.want = have
			w.organized(e, was)
		}
		e.unknown = ""
	}
	switch {
	case (have == "") != (e.want == ""):
		w.violated("%s of %s: stored is %q, acknowledged was %q", e.uid, e.organizer.name, have, e.want)
	case have != "" && meaning(parse(have), w) != meaning(parse(e.want), w):
		w.violated("%s of %s is not what was acknowledged:\nstored       %s\nacknowledged %s", e.uid, e.organizer.name, meaning(parse(have), w), meaning(parse(e.want), w))
	}
	if have != "" {
		e.want = have
		w.sequences(e)
	}
}

func (w *world) deleteEvent(e *event, c *cached, cond string) {
	p := e.organizer
	w.say("%s deletes %s (%s)", p.name, e.uid, cond)
	w.stats.ops++
	crashed, err := p.remove(e.key, c, cond)
	switch {
	case crashed:
		e.unknown, e.asked = "deleted", e.asked+1
		w.settle(e)
	case err != nil:
		w.stats.refused++
		w.say("  refused: %v", err)
	default:
		before := e.want
		e.want, e.deleted = "", true
		w.organized(e, before)
	}
}

// change is one random change of an event by its organizer.
func (w *world) change(e *event) {
	p := e.organizer
	c, cond, _, ok := p.copyFor(e.uid)
	if !ok {
		if e.deleted && w.chance(30) && p.cache[e.uid].data == "" { // he begins it again
			return
		}
		return
	}
	o := parse(c.data)
	verb := w.edit(e, o)
	if verb == "" {
		return
	}
	if verb == "deletes" {
		w.organize(e, nil, &c, cond, verb)
		return
	}
	for _, k := range o.Components() {
		k.Set(calendar.NewProperty("DTSTAMP", calendar.UTCDateTime(w.now).Value()))
	}
	if w.chance(40) { // a client that counts by itself
		top := 0
		for _, k := range o.Components() {
			top = max(top, sequence(k))
		}
		for _, k := range o.Components() {
			k.SetValue("SEQUENCE", fmt.Sprint(top+1))
		}
	}
	w.organize(e, o, &c, cond, verb)
	if verb == "cuts" {
		w.splitRest(e, parse(c.data))
	}
}

// edit changes o as an organizer's client does and names it.
func (w *world) edit(e *event, o *calendar.Object) string {
	master := o.Master()
	if master == nil {
		return ""
	}
	recurring := master.Prop("RRULE") != nil
	all := list(o)
	roll := w.rnd.IntN(100)
	switch {
	case roll < 10:
		master.Set(calendar.NewProperty("SUMMARY", w.title()))
		return "renames"
	case roll < 16:
		master.Set(calendar.NewProperty("LOCATION", places[w.rnd.IntN(len(places))]))
		return "relocates"
	case roll < 27:
		shift(master, time.Duration(w.rnd.IntN(6)+1)*30*time.Minute)
		for _, c := range slices.Clone(o.Components()) { // the client forgets what it knew of instances
			if c != master {
				o.RemoveComponent(c)
			}
		}
		master.Remove("EXDATE", "RDATE")
		return "moves"
	case roll < 31:
		return "deletes"
	case roll < 38:
		q := w.people[w.rnd.IntN(len(w.people))]
		if q == e.organizer || listed(master, q) {
			return ""
		}
		g := w.guest(q)
		for _, c := range o.Components() {
			if !listed(c, q) {
				c.Add(g.Clone())
			}
		}
		return "invites " + q.name + " to"
	case roll < 45:
		q := w.people[w.rnd.IntN(len(w.people))]
		if q == e.organizer {
			return ""
		}
		did := false
		for _, c := range o.Components() {
			did = drop(c, q) || did
		}
		if !did {
			return ""
		}
		return "takes " + q.name + " out of"
	case roll < 47:
		return "stores again"
	}
	if !recurring || len(all) == 0 {
		if roll < 75 {
			master.Set(calendar.NewProperty("SUMMARY", w.title()))
			return "renames"
		}
		shift(master, time.Duration(w.rnd.IntN(6)+1)*30*time.Minute)
		return "moves"
	}
	in := all[w.rnd.IntN(len(all))]
	switch {
	case roll < 52:
		return w.onwards(o, in)
	case roll < 59:
		shift(override(o, in), time.Duration(w.rnd.IntN(4)+1)*20*time.Minute)
		return "moves " + in.ID.Value() + " of"
	case roll < 66:
		override(o, in).Set(calendar.NewProperty("SUMMARY", w.title()))
		return "renames " + in.ID.Value() + " of"
	case roll < 75:
		if len(all) < 2 {
			return ""
		}
		if c := overrideOf(o, in); c != nil {
			o.RemoveComponent(c)
		}
		master.Add(in.ID.Property("EXDATE"))
		return "cancels " + in.ID.Value() + " of"
	case roll < 78:
		override(o, in).Set(calendar.NewProperty("STATUS", "CANCELLED"))
		return "calls off " + in.ID.Value() + " of"
	case roll < 84:
		q := w.people[w.rnd.IntN(len(w.people))]
		c := override(o, in)
		if q == e.organizer || listed(c, q) {
			return ""
		}
		c.Add(w.guest(q))
		return "invites " + q.name + " to " + in.ID.Value() + " of"
	case roll < 90:
		q := w.people[w.rnd.IntN(len(w.people))]
		if q == e.organizer || !drop(override(o, in), q) {
			return ""
		}
		return "takes " + q.name + " out of " + in.ID.Value() + " of"
	case roll < 92:
		c := overrideOf(o, in)
		if c == nil {
			return ""
		}
		o.RemoveComponent(c)
		return "puts back " + in.ID.Value() + " of"
	case roll < 94:
		r := master.Value("RRULE")
		if i := strings.Index(r, "COUNT="); i >= 0 {
			var n int
			_, _ = fmt.Sscan(r[i+6:], &n)
			master.SetValue("RRULE", r[:i]+fmt.Sprintf("COUNT=%d", n+1))
			return "lengthens"
		}
		return ""
	}
	if roll < 96 {
		return extra(w, o)
	}
	return cut(o, all)
}

// extra adds an instance outside of the rule (RDATE), sometimes with a length of
// its own.
func extra(w *world, o *calendar.Object) string {
	m := o.Master()
	at, err := calendar.ParseDateTime(m.Prop("DTSTART"))
	if err != nil {
		panic(err)
	}
	at.Wall = at.Wall.AddDate(0, 0, 30+w.rnd.IntN(20))
	d := at.Property("RDATE")
	if at.Kind != calendar.Date && m.Name == "VEVENT" && w.chance(40) {
		d.SetValue(at.Value() + "/PT2H")
		d.SetParam("VALUE", "PERIOD")
	}
	m.Add(d)
	return "adds a date to"
}

// onwards changes an instance and all after it by one override with
// RANGE=THISANDFUTURE (RFC 5545 §3.8.4.4); what the client knew of single ones
// after it goes. Sometimes it invites somebody whom the series does not.
func (w *world) onwards(o *calendar.Object, in calendar.Instance) string {
	if guests(in.Component) != guests(o.Master()) {
		return ""
	}
	for _, c := range slices.Clone(o.Components()) {
		if p := c.Prop("RECURRENCE-ID"); p != nil {
			if d, err := calendar.ParseDateTime(p); err == nil && !instant(o, d).Before(instant(o, in.ID)) {
				o.RemoveComponent(c)
			}
		}
	}
	c := override(o, in)
	c.Prop("RECURRENCE-ID").SetParam("RANGE", "THISANDFUTURE")
	if q := w.people[w.rnd.IntN(len(w.people))]; w.chance(40) && !listed(c, q) && o.Master().Prop("RDATE") == nil {
		c.Add(w.guest(q)) // has that instance and all after it, and not the series
		return "invites " + q.name + " from " + in.ID.Value() + " on to"
	}
	if w.chance(50) {
		c.Set(calendar.NewProperty("SUMMARY", w.title()))
		return "renames from " + in.ID.Value() + " on"
	}
	shift(c, time.Duration(w.rnd.IntN(4)+1)*20*time.Minute)
	return "moves from " + in.ID.Value() + " on"
}

func guests(c *calendar.Component) string {
	var out []string
	for _, p := range c.All("ATTENDEE") {
		out = append(out, calendar.Address(p.Value()).Key())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func ranged(c *calendar.Component) bool {
	p := c.Prop("RECURRENCE-ID")
	return p != nil && p.Param("RANGE") != ""
}

// cut ends the series before one of its later instances (THISANDFUTURE as most
// clients do it: the rest becomes another series).
func cut(o *calendar.Object, all []calendar.Instance) string {
	if len(all) < 3 {
		return ""
	}
	in := all[len(all)/2]
	master := o.Master()
	var until calendar.DateTime
	if in.ID.Kind == calendar.Date {
		until = calendar.DateTime{Wall: in.ID.Wall.AddDate(0, 0, -1), Kind: calendar.Date}
	} else {
		until = calendar.UTCDateTime(instant(o, in.ID).Add(-time.Second))
	}
	r := master.Value("RRULE")
	var parts []string
	for _, s := range strings.Split(r, ";") {
		if !strings.HasPrefix(s, "COUNT=") && !strings.HasPrefix(s, "UNTIL=") {
			parts = append(parts, s)
		}
	}
	master.SetValue("RRULE", strings.Join(append(parts, "UNTIL="+until.Value()), ";"))
	for _, c := range slices.Clone(o.Components()) {
		if p := c.Prop("RECURRENCE-ID"); p != nil {
			if d, err := calendar.ParseDateTime(p); err == nil && !instant(o, d).Before(instant(o, in.ID)) {
				o.RemoveComponent(c)
			}
		}
	}
	return "cuts"
}

// splitRest makes the second series of a split.
func (w *world) splitRest(old *event, was *calendar.Object) {
	all := list(was)
	if len(all) < 3 || len(w.events) > 6 {
		return
	}
	in := all[len(all)/2]
	uid := fmt.Sprintf("e%d-%d", len(w.events)+1, w.seed)
	e := &event{uid: uid, organizer: old.organizer, key: storage.ObjectKey{CollectionKey: old.key.CollectionKey, Name: uid + ".ics"}, seq: map[string]int{}}
	c := was.Master().Clone()
	length := endOf(c).Sub(startOf(c))
	c.Remove("EXDATE", "RDATE", "SEQUENCE")
	c.Set(calendar.NewProperty("UID", uid))
	c.Set(in.ID.Property("DTSTART"))
	end := in.ID
	end.Wall = end.Wall.Add(length)
	c.Set(end.Property(endName(c)))
	c.Set(calendar.NewProperty("RRULE", fmt.Sprintf("FREQ=DAILY;COUNT=%d", len(all)-len(all)/2)))
	o := calendar.NewObject("-//Client//EN")
	o.Children = []*calendar.Component{c}
	w.events = append(w.events, e)
	w.organize(e, o, nil, "blind", "goes on with")
}

func startOf(c *calendar.Component) time.Time {
	d, _ := calendar.ParseDateTime(c.Prop("DTSTART"))
	return d.Wall
}

func endOf(c *calendar.Component) time.Time {
	d, _ := calendar.ParseDateTime(c.Prop(endName(c)))
	return d.Wall
}

// endName is the property that says when a component ends.
func endName(c *calendar.Component) string {
	if c.Name == "VTODO" {
		return "DUE"
	}
	return "DTEND"
}

func shift(c *calendar.Component, by time.Duration) {
	for _, n := range []string{"DTSTART", endName(c)} {
		d, err := calendar.ParseDateTime(c.Prop(n))
		if err != nil {
			panic(err)
		}
		if d.Kind == calendar.Date {
			d.Wall = d.Wall.AddDate(0, 0, 1)
		} else {
			d.Wall = d.Wall.Add(by)
		}
		c.Set(d.Property(n))
	}
}

func listed(c *calendar.Component, p *person) bool { return lineOf(c, p) != nil }

func lineOf(c *calendar.Component, p *person) *calendar.Property {
	for _, q := range c.All("ATTENDEE") {
		for _, a := range p.addrs {
			if a.Equal(calendar.Address(q.Value())) {
				return q
			}
		}
	}
	return nil
}

func drop(c *calendar.Component, p *person) bool {
	n := len(c.Props)
	c.Props = slices.DeleteFunc(c.Props, func(q *calendar.Property) bool {
		return q.Name() == "ATTENDEE" && slices.ContainsFunc(p.addrs, calendar.Address(q.Value()).Equal)
	})
	return len(c.Props) < n
}

// overrideOf is the override of an instance alone, nil when the series describes it.
func overrideOf(o *calendar.Object, in calendar.Instance) *calendar.Component {
	for _, c := range o.Components() {
		if p := c.Prop("RECURRENCE-ID"); p != nil && !ranged(c) {
			if d, err := calendar.ParseDateTime(p); err == nil && instant(o, d).Equal(instant(o, in.ID)) {
				return c
			}
		}
	}
	return nil
}

// override is overrideOf, made when there is none.
func override(o *calendar.Object, in calendar.Instance) *calendar.Component {
	if c := overrideOf(o, in); c != nil {
		return c
	}
	c := in.Component.Clone()
	c.Remove("RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
	c.Add(in.ID.Property("RECURRENCE-ID"))
	end := in.StartValue
	end.Wall = end.Wall.Add(in.End.Sub(in.Start)) // a period has a length of its own
	c.Set(in.StartValue.Property("DTSTART"))
	c.Set(end.Property(endName(c)))
	o.Children = append(o.Children, c)
	return c
}

// remove sends a DELETE under the condition that the program makes of what it
// has read.
func (p *person) remove(key storage.ObjectKey, c *cached, cond string) (crashed bool, err error) {
	d := scheduling.Delete{Actor: scheduling.Actor{Account: p.account, By: p.account}, Key: key, RequestID: "sim"}
	switch cond {
	case "if-match":
		d.IfMatch = []string{c.etag}
	case "if-schedule-tag":
		d.IfScheduleTag = c.tag
	}
	crashed = p.site.run(4, 20, "it deletes", func(ctx context.Context) { err = p.site.svc.Delete(ctx, d) })
	return crashed, err
}
