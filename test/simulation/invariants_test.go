package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

// list are the instances of an object that take place.
func list(o *calendar.Object) (out []calendar.Instance) {
	for in, err := range o.Instances(calendar.NewZones(o, time.UTC), time.Time{}, time.Time{}, calendar.NewBudget()) {
		if err != nil {
			panic(fmt.Sprintf("%v\n%s", err, o.Bytes()))
		}
		if !cancelled(in.Component) {
			out = append(out, in)
		}
	}
	return out
}

// mine are the instances that list somebody.
func mine(o *calendar.Object, p *person) (out []calendar.Instance) {
	for _, in := range list(o) {
		if listed(in.Component, p) {
			out = append(out, in)
		}
	}
	return out
}

func cancelled(c *calendar.Component) bool { return c.Value("STATUS") == "CANCELLED" }

func instant(o *calendar.Object, d calendar.DateTime) time.Time {
	t, err := calendar.NewZones(o, time.UTC).Instant(d)
	if err != nil {
		panic(err)
	}
	return t
}

func recurrenceKey(o *calendar.Object, c *calendar.Component) string {
	p := c.Prop("RECURRENCE-ID")
	if p == nil {
		return ""
	}
	d, err := calendar.ParseDateTime(p)
	if err != nil {
		panic(err)
	}
	return instant(o, d).UTC().Format("0102T1504")
}

// seen is one instance as its owner sees it.
type seen struct {
	start, end     string
	summary, place string
	partstat       string
	others, transp string
	component      *calendar.Component
	single         bool
}

// instances are what somebody has of an object, by recurrence id. The
// organizer's object is looked at with his eyes: without what does not list him.
func instances(o *calendar.Object, p *person, organizers bool) map[string]*seen {
	out := map[string]*seen{}
	if o == nil {
		return out
	}
	single := o.Master() != nil && o.Master().Prop("RRULE") == nil && o.Master().Prop("RDATE") == nil && len(o.Components()) == 1
	for _, in := range list(o) {
		l := lineOf(in.Component, p)
		if l == nil && organizers {
			continue
		}
		s := &seen{start: in.Start.UTC().Format("0102T1504"), end: in.End.UTC().Format("0102T1504"), summary: in.Component.Value("SUMMARY"), place: in.Component.Value("LOCATION"),
			transp: in.Component.Value("TRANSP"), component: in.Component, single: single}
		s.partstat = "(not listed)"
		if l != nil {
			s.partstat = partstat(l)
		}
		var others []string
		for _, q := range in.Component.All("ATTENDEE") {
			others = append(others, calendar.Address(q.Value()).Key()+"="+partstat(q))
		}
		slices.Sort(others)
		s.others = strings.Join(others, " ")
		k := instant(o, in.ID).UTC().Format("0102T1504")
		if organizers {
			k = nameFor(o, p, in)
		}
		if single {
			k = ""
		}
		out[k] = s
	}
	return out
}

// nameFor is the recurrence id of an organizer's instance in somebody's copy. Who is
// invited to an instance and all after it, and not to the series, has a series that
// begins there: its instances are named by when they take place in it.
func nameFor(o *calendar.Object, p *person, in calendar.Instance) string {
	id := in.ID
	if m := o.Master(); m != nil && !listed(m, p) {
		if c, planned := firstOnward(o, p); planned {
			from, _ := calendar.ParseDateTime(c.Prop("RECURRENCE-ID"))
			start, _ := calendar.ParseDateTime(c.Prop("DTSTART"))
			if !instant(o, in.ID).Before(instant(o, from)) {
				id.Wall = id.Wall.Add(start.Wall.Sub(from.Wall))
			}
		}
	}
	return instant(o, id).UTC().Format("0102T1504")
}

// firstOnward is the first THISANDFUTURE override that invites somebody, and whether
// it is of an instance of the rule.
func firstOnward(o *calendar.Object, p *person) (first *calendar.Component, planned bool) {
	at := func(c *calendar.Component) time.Time {
		d, err := calendar.ParseDateTime(c.Prop("RECURRENCE-ID"))
		if err != nil {
			panic(err)
		}
		return instant(o, d)
	}
	for _, c := range o.Components() {
		if ranged(c) && listed(c, p) && (first == nil || at(c).Before(at(first))) {
			first = c
		}
	}
	if first == nil {
		return nil, false
	}
	alone := o.Clone()
	for _, c := range slices.Clone(alone.Components()) {
		if c.Prop("RECURRENCE-ID") != nil {
			alone.RemoveComponent(c)
		}
	}
	alone.Master().Remove("EXDATE", "RDATE")
	for _, in := range list(alone) {
		if instant(o, in.ID).Equal(at(first)) {
			return first, true
		}
	}
	return first, false
}

func partstat(p *calendar.Property) string {
	if v := p.Param("PARTSTAT"); v != "" {
		return v
	}
	return "NEEDS-ACTION"
}

func sorted[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// plain writes instances without answers.
func plain(m map[string]*seen) string {
	var b strings.Builder
	for _, k := range sorted(m) {
		s := m[k]
		fmt.Fprintf(&b, "[%s: %s-%s '%s' at '%s'] ", k, s.start, s.end, s.summary, s.place)
	}
	return b.String()
}

// answered writes instances with the owner's answers.
func answered(m map[string]*seen) string {
	var b strings.Builder
	for _, k := range sorted(m) {
		s := m[k]
		fmt.Fprintf(&b, "[%s: %s-%s '%s' at '%s' %s] ", k, s.start, s.end, s.summary, s.place, s.partstat)
	}
	return b.String()
}

// everybody writes instances with all answers.
func everybody(m map[string]*seen) string {
	var b strings.Builder
	for _, k := range sorted(m) {
		fmt.Fprintf(&b, "[%s: %s] ", k, m[k].others)
	}
	return b.String()
}

// said are somebody's answers by instance.
func said(o *calendar.Object, p *person) map[string]string {
	out := map[string]string{}
	for k, s := range instances(o, p, true) {
		out[k] = s.partstat
	}
	return out
}

// meaning is what an organizer's object says, without answers.
func meaning(o *calendar.Object, w *world) string {
	var b strings.Builder
	for _, in := range list(o) {
		var people []string
		for _, q := range in.Component.All("ATTENDEE") {
			people = append(people, calendar.Address(q.Value()).Key())
		}
		slices.Sort(people)
		fmt.Fprintf(&b, "[%s %s-%s '%s' at '%s' %s", instant(o, in.ID).UTC().Format("0102T1504"), in.Start.UTC().Format("0102T1504"), in.End.UTC().Format("0102T1504"),
			in.Component.Value("SUMMARY"), in.Component.Value("LOCATION"), strings.Join(people, " "))
		for _, a := range in.Component.ChildrenNamed("VALARM") {
			fmt.Fprintf(&b, " alarm '%s'", a.Value("DESCRIPTION"))
		}
		b.WriteString("]")
	}
	return b.String()
}

// schedule is what people are asked about: when it takes place and who comes.
func schedule(o *calendar.Object) string {
	var b strings.Builder
	for _, in := range list(o) {
		var people []string
		for _, q := range in.Component.All("ATTENDEE") {
			people = append(people, calendar.Address(q.Value()).Key())
		}
		slices.Sort(people)
		fmt.Fprintf(&b, "%s %s-%s %s;", instant(o, in.ID), in.Start, in.End, strings.Join(people, " "))
	}
	return b.String()
}

// queues tests that nothing is left to do.
func (w *world) queues() {
	for _, s := range w.sites {
		due, err := s.db.NextDue(bg)
		if err != nil {
			panic(err)
		}
		if !due.IsZero() {
			w.violated("the queue of %s is not empty", s.name)
		}
	}
	if len(w.net.pending) > 0 {
		w.violated("%d messages are still under way", len(w.net.pending))
	}
}

// deliveries of a person's object, oldest first per recipient.
func (p *person) deliveries(uid string) (out []storage.Claimed) {
	list, err := p.site.db.Deliveries(bg, storage.DeliveryFilter{Account: p.account.ID, UID: uid, Limit: 1000})
	if err != nil {
		panic(err)
	}
	for _, d := range list {
		c, err := p.site.db.Delivery(bg, p.account.ID, d.ID)
		if err != nil {
			panic(err)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b storage.Claimed) int {
		if a.RecipientKey != b.RecipientKey {
			return strings.Compare(a.RecipientKey, b.RecipientKey)
		}
		return int(a.Turn - b.Turn)
	})
	return out
}

// last are the newest deliveries that count, by recipient.
func (p *person) last(uid string) map[string]storage.Claimed {
	out := map[string]storage.Claimed{}
	for _, d := range p.deliveries(uid) {
		if d.State != storage.DeliverySuperseded && d.State != storage.DeliveryWithdrawn {
			out[d.RecipientKey] = d
		}
	}
	return out
}

// check compares everybody's copy with the organizer's object.
func (w *world) check() {
	w.queues()
	for _, e := range w.events {
		w.settle(e)
		var o *calendar.Object
		if e.want != "" {
			o = parse(e.want)
		}
		last := e.organizer.last(e.uid)
		for _, p := range w.people {
			if p != e.organizer {
				w.compare(e, o, p, last)
			}
		}
		w.statuses(e, o, last)
	}
	w.repeats()
	w.inboxes()
}

// compare tests one attendee's copy.
func (w *world) compare(e *event, o *calendar.Object, p *person, last map[string]storage.Claimed) {
	for _, a := range p.addrs {
		if d, ok := last[a.Key()]; ok && d.State == storage.DeliveryFailed {
			w.violated("%s: a delivery to %s has failed: %s %s", e.uid, p.name, d.Status, d.Detail)
			return
		}
	}
	have := p.object(e.uid)
	if o != nil && o.Master() != nil && !listed(o.Master(), p) {
		if c, planned := firstOnward(o, p); c != nil && !planned {
			// Known: he is invited to an instance and all after it, and the series was
			// moved away from under it. Of that he is sent the override alone.
			w.stats.known++
			return
		}
	}
	theirs, his := instances(o, p, true), instances(have, p, false)
	if one := his[""]; one != nil && o != nil && o.Master() != nil && !listed(o.Master(), p) {
		// A rest of one instance, moved to a day that its rule does not know, is no
		// series in his copy, and has no name there.
		for k, s := range theirs {
			if k != "" && s.start == one.start {
				delete(theirs, k)
				theirs[""] = s
				break
			}
		}
	}
	if _, gone := p.left[e.uid]; gone {
		// Who threw something away has declined it, or never answered; it may
		// stay away.
		for k, s := range theirs {
			if his[k] == nil && (s.partstat == "DECLINED" || s.partstat == "NEEDS-ACTION") {
				delete(theirs, k)
			}
		}
	}
	if _, gone := p.left[e.uid]; gone && len(theirs) == 0 && toldOver(have) {
		// He deleted his copy, and stored it again from what his program still had
		// when the event was over: his answer came back with 3.8, which it shows.
		w.stats.known++
		return
	}
	if _, gone := p.left[e.uid]; gone && answered(theirs) != answered(his) && plain(theirs) == plain(his) && onlyDeclined(theirs, his) {
		// Known: he deleted his copy, which declined it, and an update brought
		// back a part of it before the organizer knew. He sees the question
		// again, and the organizer has his DECLINED.
		w.stats.known++
		return
	}
	if a, b := answered(theirs), answered(his); a != b {
		w.violated("%s's copy of %s differs from %s's object:\n  organizer's: %s\n  copy:        %s\n  object: %s\n  copy:   %s", p.name, e.uid, e.organizer.name, a, b, brief(o), brief(have))
		return
	}
	if p.site == e.organizer.site && have != nil && len(his) > 0 {
		if a, b := everybody(theirs), everybody(his); a != b {
			w.violated("%s sees other answers in %s than %s:\n  organizer's: %s\n  copy:        %s", p.name, e.uid, e.organizer.name, a, b)
		}
	}
	for _, k := range sorted(p.said) {
		uid, id, _ := strings.Cut(k, " ")
		a := p.said[k]
		if uid != e.uid || a.asked != e.asked || theirs[id] == nil {
			continue
		}
		if got := theirs[id].partstat; got != a.partstat {
			w.violated("%s said %s about %s %s, and %s has %s", p.name, a.partstat, e.uid, id, e.organizer.name, got)
		}
	}
	_, gone := p.left[e.uid]
	for _, k := range sorted(his) {
		s := his[k]
		if gone { // a client that stores again what its owner deleted brings its own TRANSP
			break
		}
		if s.component.Name == "VTODO" { // has no TRANSP
			break
		}
		if (s.partstat == "NEEDS-ACTION") != (s.transp == "TRANSPARENT") && s.partstat != "DECLINED" {
			w.violated("%s's copy of %s %s is %s and TRANSP is %q", p.name, e.uid, k, s.partstat, s.transp)
		}
	}
	w.keptAlarms(e, p, have, his)
}

// toldOver tells whether a copy says that its organizer knows no such attendee.
func toldOver(o *calendar.Object) bool {
	if o == nil {
		return false
	}
	for _, c := range o.Components() {
		if l := c.Prop("ORGANIZER"); l != nil && strings.HasPrefix(l.Param("SCHEDULE-STATUS"), "3.") {
			return true
		}
	}
	return false
}

// onlyDeclined tells whether the answers differ in nothing but what somebody
// has declined.
func onlyDeclined(theirs, his map[string]*seen) bool {
	for k, s := range theirs {
		if his[k].partstat != s.partstat && s.partstat != "DECLINED" {
			return false
		}
	}
	return true
}

// keptAlarms tests that an attendee's alarms are where he left them.
func (w *world) keptAlarms(e *event, p *person, have *calendar.Object, his map[string]*seen) {
	for _, k := range sorted(p.alarms[e.uid]) {
		text := p.alarms[e.uid][k]
		var c *calendar.Component
		switch {
		case have == nil || len(his) == 0:
			continue
		case k == "":
			c = have.Master()
		case his[k] != nil:
			c = his[k].component
		}
		if c == nil {
			continue
		}
		if a := c.ChildrenNamed("VALARM"); len(a) == 0 || a[0].Value("DESCRIPTION") != text {
			w.violated("%s's alarm %q in %s %s is gone", p.name, text, e.uid, k)
		}
	}
	if have != nil {
		for _, c := range have.Components() {
			for _, a := range c.ChildrenNamed("VALARM") {
				if !strings.HasSuffix(a.Value("DESCRIPTION"), "of "+p.name) {
					w.violated("%s has somebody else's alarm in %s: %s", p.name, e.uid, a.Value("DESCRIPTION"))
				}
			}
		}
	}
}

// statuses tests that SCHEDULE-STATUS says what the deliveries say.
func (w *world) statuses(e *event, o *calendar.Object, last map[string]storage.Claimed) {
	for _, d := range e.organizer.deliveries(e.uid) {
		if d.State.Final() && !d.Written && d.State != storage.DeliverySuperseded && d.State != storage.DeliveryWithdrawn {
			w.violated("the status of %s for %s was never written back", d.Message.Method, d.Recipient)
		}
	}
	if o == nil {
		return
	}
	for _, c := range o.Components() {
		for _, l := range c.All("ATTENDEE") {
			p := w.personOf(calendar.Address(l.Value()))
			if p == e.organizer {
				continue
			}
			got := l.Param("SCHEDULE-STATUS")
			d, sent := last[calendar.Address(l.Value()).Key()]
			want := "1.2"
			if sent && p.site != e.organizer.site {
				want = d.Status
			}
			if got != want && got != "2.0" {
				w.violated("SCHEDULE-STATUS of %s in %s is %q, the delivery says %q (%s)", p.name, e.uid, got, want, brief(o))
				return
			}
		}
	}
	for _, p := range w.people {
		if p.site == nil || p.site == e.organizer.site || p == e.organizer {
			continue
		}
		have := p.object(e.uid)
		if have == nil {
			continue
		}
		for k, d := range p.last(e.uid) {
			if k != e.organizer.addrs[0].Key() {
				continue
			}
			for _, c := range have.Components() {
				if l := c.Prop("ORGANIZER"); l != nil {
					if got := l.Param("SCHEDULE-STATUS"); got != d.Status && got != "" {
						w.violated("SCHEDULE-STATUS of the organizer in %s's %s is %q, the delivery says %q", p.name, e.uid, got, d.Status)
					}
				}
			}
		}
	}
}

// repeats tests that who drops repeated message ids was told nothing twice.
func (w *world) repeats() {
	first := map[string]told{}
	for _, t := range w.net.told {
		if strings.HasPrefix(t.wire, "mail-") { // of a calendar program that takes a mail as often as it comes
			continue
		}
		k := t.to + "\n" + t.body
		if t.method == "REPLY" || t.method == "COUNTER" || t.method == "DECLINECOUNTER" { // somebody may say the same again later
			k = t.to + "\n" + t.exact
		}
		if f, ok := first[k]; ok && f.wire != t.wire {
			w.violated("%s was told twice (%s, %s): %s", t.to, f.wire[:4], t.wire[:4], brief(parse(t.exact)))
		}
		first[k] = t
	}
}

// inboxes tests that no inbox holds an item twice.
func (w *world) inboxes() {
	for _, p := range w.people {
		if p.site == nil {
			continue
		}
		seen := map[string]bool{}
		err := p.site.db.View(bg, func(ctx context.Context, tx *storage.Tx) error {
			for _, e := range w.events {
				rows, err := tx.InboxByUID(ctx, p.account.ID, e.uid, storage.ColumnData)
				if err != nil {
					return err
				}
				for _, r := range rows {
					if seen[r.Data] {
						w.violated("an item is twice in %s's inbox: %s", p.name, brief(parse(r.Data)))
					}
					seen[r.Data] = true
				}
			}
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
}
