package itip

import (
	"slices"

	"github.com/kalends/kalends/caldav/calendar"
)

// instance is one changed instance of a series: what described it before and
// what does now (nil: it does not take place, or not yet).
type instance struct {
	key      string
	old, new *calendar.Component
	same     bool // equal meaning
}

// step is what one group of people has to be told.
type step struct {
	people    []calendar.Address
	kind      Kind
	cancelAll bool     // CANCEL of everything they had
	cancel    []string // CANCEL of these instances
	full      bool     // REQUEST with all they have now
	overrides []string // REQUEST with these overrides alone
	redundant bool
	forced    bool   // nothing changed, but somebody wants it sent
	again     bool   // the CANCEL repeats an earlier one
	key       string // of a member, to look up what they see
	inMaster  bool
}

// diff compares two states of an organizer's object. Work that does not
// depend on the attendee is done once; people who are listed in the same
// components before and after form one group.
type diff struct {
	a, b        *series
	by          calendar.AddressSet
	only        string // plan for this person alone
	top         int    // the highest SEQUENCE of b
	forceMaster bool

	instances  []instance
	masterSame bool
	exAdded    bool // EXDATE differs in a way that is not a mere removal of overrides
	steps      []step
	tails      []tails
	update     bool // somebody who was invited before hears something
}

// tails are people who have, before or after, the same tail of the series. They are
// told by a diff of what they see.
type tails struct {
	people []calendar.Address
	key    string // of one of them
	force  bool
}

// tail is the diff for people who have a tail; nil when this person has none.
func (d *diff) tail(k string) *diff {
	ta, tb := d.a.tailOf(k), d.b.tailOf(k)
	if ta == nil && tb == nil {
		return nil
	}
	a, b := d.a, d.b
	if ta != nil {
		a = read(ta.view)
	}
	if tb != nil {
		b = read(tb.view)
	}
	return newDiff(a, b, d.by, k)
}

func newDiff(a, b *series, by calendar.AddressSet, only string) *diff {
	d := &diff{a: a, b: b, by: by, only: only}
	if a.master != nil && b.master != nil {
		d.masterSame = sameMeaning(a, a.master, b, b.master)
	} else {
		d.masterSame = a.master == nil && b.master == nil
	}
	if d.masterSame && !sameExcluded(a, b, only) {
		d.masterSame, d.exAdded = false, true
	}
	d.instances = d.changed()
	return d
}

// excluded are the keys of the EXDATEs; for one person also the instances that
// do not list him, which Tailor turns into EXDATEs.
func (s *series) excluded(person string) map[string]bool {
	out := make(map[string]bool, len(s.ex))
	for k := range s.ex {
		out[k] = true
	}
	if person != "" {
		for _, k := range s.order {
			if c := s.over[k]; served(c, person) == nil && !isFuture(c) {
				out[k] = true
			}
		}
	}
	return out
}

// sameExcluded tells whether the same instances are out of both, for everybody or
// for one person. It is the same to have one cancelled and to have it excluded.
func sameExcluded(a, b *series, person string) bool {
	ax, bx := a.excluded(person), b.excluded(person)
	for k := range ax {
		if !bx[k] && !isCancelled(b.over[k]) {
			return false
		}
	}
	for k := range bx {
		if !ax[k] && !isCancelled(a.over[k]) {
			return false
		}
	}
	return true
}

// changed lists the instances that either object describes apart from the
// master, or excludes, when they may differ.
func (d *diff) changed() []instance {
	var keys []string
	seen := map[string]bool{}
	add := func(k string) {
		if !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	for _, k := range d.a.order {
		add(k)
	}
	for _, k := range d.b.order {
		add(k)
	}
	var ex []string
	for k := range d.a.ex {
		if _, ok := d.b.ex[k]; !ok {
			ex = append(ex, k)
		}
	}
	for k := range d.b.ex {
		if _, ok := d.a.ex[k]; !ok {
			ex = append(ex, k)
		}
	}
	slices.Sort(ex)
	for _, k := range ex {
		add(k)
	}
	var out []instance
	for _, k := range keys {
		i := instance{key: k}
		ac, bc := d.a.over[k], d.b.over[k]
		if ac != nil && isFuture(ac) || bc != nil && isFuture(bc) {
			if ac == nil || bc == nil || !sameMeaning(d.a, ac, d.b, bc) {
				d.forceMaster = true // it changes many instances: the whole goes out
			}
			continue
		}
		id, ok := d.a.ids[k]
		if !ok {
			id = d.b.ids[k]
		}
		if d.a.o != nil {
			i.old = d.a.effective(k, id)
		}
		if d.b.o != nil {
			i.new = d.b.effective(k, id)
		}
		if i.old == nil && i.new == nil {
			continue
		}
		i.same = i.old != nil && i.new != nil && sameMeaning(d.a, i.old, d.b, i.new)
		out = append(out, i)
	}
	return out
}

// find works out who has to be told what.
func (d *diff) find(force bool, forced map[string]bool) {
	inA, inB := d.a.members(), d.b.members()
	at, tailAt := map[string]int{}, map[string]int{}
	people := Attendees(d.a.o)
	before := calendar.NewAddressSet(people...)
	for _, p := range Attendees(d.b.o) {
		if !before.Has(p) {
			people = append(people, p)
		}
	}
	own := calendar.NewAddressSet()
	for _, o := range []*calendar.Object{d.a.o, d.b.o} {
		if a, ok := Organizer(o); ok {
			own.Add(a)
		}
	}
	for _, p := range people {
		k := p.Key()
		if d.only != "" && k != d.only || d.by.Has(p) || own.Has(p) {
			continue
		}
		sa, sb := inA[k], inB[k]
		f := force || forced[k]
		sig := sa + "|" + sb
		if f {
			sig += "!"
		}
		if i, ok := tailAt[sig]; ok {
			d.tails[i].people = append(d.tails[i].people, p)
			continue
		}
		if i, ok := at[sig]; ok {
			if i >= 0 {
				d.steps[i].people = append(d.steps[i].people, p)
			}
			continue
		}
		if sub := d.tail(k); sub != nil {
			tailAt[sig] = len(d.tails)
			d.tails = append(d.tails, tails{[]calendar.Address{p}, k, f})
			sub.find(f, nil)
			d.update = d.update || sub.update
			continue
		}
		st, tell := d.step(k, sa != "", sb != "", f)
		if !tell {
			at[sig] = -1
			continue
		}
		st.people, st.key = []calendar.Address{p}, k
		st.forced = f && d.quiet(k, sa != "", sb != "")
		d.update = d.update || st.kind != KindNew && !st.forced
		at[sig] = len(d.steps)
		d.steps = append(d.steps, st)
	}
}

// quiet tells whether a person would hear nothing if nobody forced it.
func (d *diff) quiet(k string, had, has bool) bool {
	_, tell := d.step(k, had, has, false)
	return !tell
}

// step decides for one person (and all who are listed alike).
func (d *diff) step(k string, had, has, force bool) (step, bool) {
	st := step{kind: KindChanged}
	oldMaster, newMaster := had && served(d.a.master, k) != nil, has && served(d.b.master, k) != nil
	st.inMaster = newMaster
	switch {
	case !had && !has:
		return st, false
	case !had:
		st.kind, st.full = KindNew, true
		return st, true
	case !has:
		// Deleting what was called off before: RFC 6638 §3.2.1.4 has a CANCEL
		// for it, but people have been told.
		if st.again = d.a.cancelledWhole(); st.again && d.b.o != nil {
			return st, false
		}
		st.kind, st.cancelAll = KindCancelled, true
		return st, true
	}
	over, was := d.b.cancelledWhole(), d.a.cancelledWhole()
	switch {
	case over && was && !force:
		return st, false
	case over && !was:
		st.kind, st.cancelAll = KindCancelled, true
		// What else changed concerns only copies that are kept.
		st.full = newMaster && !slices.Equal(withoutStatus(d.a.canon(d.a.master)), withoutStatus(d.b.canon(d.b.master)))
		st.redundant = st.full
		return st, true
	case was && !over:
		st.full = true
		return st, true
	case oldMaster && !newMaster: // only single instances are left for him
		st.cancelAll, st.full = true, true
		return st, true
	}
	for _, i := range d.instances {
		before := i.old != nil && served(i.old, k) != nil && !isCancelled(i.old)
		after := i.new != nil && served(i.new, k) != nil && !isCancelled(i.new)
		switch {
		case before && !after:
			// An instance that vanished because the series moved or ended
			// earlier is gone with the master that tells so.
			_, out := d.b.ex[i.key]
			if i.new == nil && !out && newMaster {
				continue
			}
			st.cancel = append(st.cancel, i.key)
		case after && (!before || !i.same):
			if d.b.over[i.key] != nil {
				st.overrides = append(st.overrides, i.key)
			} else if newMaster {
				st.full = true
			}
		}
	}
	// Want 5: an EXDATE for what he is not in, or knows to be cancelled, is no news.
	same := d.masterSame || d.exAdded && sameExcluded(d.a, d.b, k)
	master := newMaster && (!oldMaster || !same || d.forceMaster)
	if force || master || st.full || newMaster != oldMaster {
		st.full = true
	}
	if st.full {
		st.overrides = nil
	}
	if len(st.cancel) > 0 && d.exAdded && !newMaster && !st.full && len(st.overrides) == 0 {
		// An EXDATE took it out. He knows single instances: he is shown what is
		// left, as somebody in the series is shown the master.
		for _, i := range d.instances {
			if d.b.over[i.key] != nil && served(i.new, k) != nil && !isCancelled(i.new) {
				st.overrides = append(st.overrides, i.key)
			}
		}
		st.redundant = len(st.overrides) > 0
		st.kind = KindCancelled
		return st, true
	}
	if len(st.cancel) > 0 {
		st.redundant = st.full && oldMaster && newMaster && d.exAdded && !force && !d.forceMaster && d.onlyExcluded(st.cancel)
		if !st.full && len(st.overrides) == 0 {
			st.kind = KindCancelled
		}
	}
	return st, len(st.cancel) > 0 || st.full || len(st.overrides) > 0
}

func withoutStatus(fs []field) []field {
	return slices.DeleteFunc(fs, func(f field) bool { return f.name == "STATUS" })
}

// onlyExcluded tells whether the cancelled instances are all that changed.
func (d *diff) onlyExcluded(cancelled []string) bool {
	for k := range d.b.ex {
		if _, ok := d.a.ex[k]; !ok && !slices.Contains(cancelled, k) {
			return false
		}
	}
	for k := range d.a.ex {
		if _, ok := d.b.ex[k]; !ok {
			return false
		}
	}
	for _, i := range d.instances {
		if !i.same && !slices.Contains(cancelled, i.key) {
			return false
		}
	}
	return true
}

// messages writes what find found, in the order in which it must arrive: what
// ends before what begins.
func (d *diff) messages(opt MessageOptions) []Message {
	var out []Message
	d.top = d.b.maxSequence()
	from, ok := Organizer(d.b.o)
	if !ok {
		from, _ = Organizer(d.a.o)
	}
	for _, st := range d.steps {
		k := st.key
		switch {
		case st.cancelAll:
			if o := d.cancelAll(k, opt); o != nil {
				m := newMessage(o, "CANCEL", from, st.people, KindCancelled)
				m.Redundant = st.again
				out = append(out, m)
			}
		case len(st.cancel) > 0:
			if o := d.cancelSome(k, st.cancel, opt); o != nil {
				out = append(out, newMessage(o, "CANCEL", from, st.people, KindCancelled))
			}
		}
		var o *calendar.Object
		switch {
		case st.full:
			o = d.b.tailor(func(c *calendar.Component) bool { return served(c, k) != nil })
		case len(st.overrides) > 0:
			var comps []*calendar.Component
			for _, key := range st.overrides {
				comps = append(comps, clean(d.b.over[key]))
			}
			o = d.b.wrap(comps)
		}
		if o == nil {
			continue
		}
		envelope(o, "REQUEST", opt)
		kind := st.kind
		if kind == KindCancelled {
			kind = KindChanged
		}
		m := newMessage(o, "REQUEST", from, st.people, kind)
		m.Redundant, m.Forced = st.redundant, st.forced
		if n := len(out); (st.cancelAll || len(st.cancel) > 0) && n > 0 && out[n-1].Method == "CANCEL" && !m.Redundant {
			out[n-1].Before = d.between(st)
		}
		if kind == KindChanged {
			m.Changes = d.describe(k, st)
		}
		out = append(out, m)
	}
	for _, t := range d.tails {
		sub := d.tail(t.key) // again: SEQUENCE may have been raised since find
		sub.find(t.force, nil)
		for i := range sub.steps {
			sub.steps[i].people = t.people
		}
		out = append(out, sub.messages(opt)...)
	}
	return out
}

// between is what people know when the CANCEL of their step has arrived and
// the REQUEST after it has not: what was before, with the new state of the
// cancelled instances.
func (d *diff) between(st step) *calendar.Object {
	if st.cancelAll {
		return &calendar.Object{Component: calendar.NewComponent("VCALENDAR")}
	}
	o := d.a.o.Clone()
	s := read(o)
	for _, k := range st.cancel {
		if was := s.over[k]; was != nil {
			o.RemoveComponent(was)
		}
		if now := d.b.over[k]; now != nil {
			o.Children = append(o.Children, now.Clone())
		} else if _, out := s.ex[k]; !out && s.master != nil && recurs(s.master) {
			id, ok := s.ids[k]
			if !ok {
				id = d.b.ids[k]
				if x, ok := d.b.ex[k]; ok {
					id = x
				}
			}
			s.exclude(s.master, id)
		}
	}
	addZones(o, d.b.o)
	return o
}

// describe lists the changed fields of what one person sees.
func (d *diff) describe(k string, st step) []FieldChange {
	var out []FieldChange
	if st.full && served(d.a.master, k) != nil && served(d.b.master, k) != nil {
		out = fieldChanges("", d.a, d.a.master, d.b, d.b.master, out)
	}
	for _, i := range d.instances {
		if i.same || served(i.new, k) == nil || !st.full && !slices.Contains(st.overrides, i.key) {
			continue
		}
		out = fieldChanges(i.new.Value("RECURRENCE-ID"), d.a, i.old, d.b, i.new, out)
	}
	return out
}

// cancelAll is the CANCEL of everything a person had (RFC 5546 §3.2.5): the
// master alone stands for the whole, and so does, without its RECURRENCE-ID,
// the instance of somebody who knows no master when the event is deleted.
// Where the event goes on, single instances are named one by one.
func (d *diff) cancelAll(k string, opt MessageOptions) *calendar.Object {
	gone := d.b.o == nil || d.b.cancelledWhole() || len(d.b.components()) == 0
	var comps []*calendar.Component
	if served(d.a.master, k) != nil {
		c := d.a.master
		if d.b.master != nil && isCancelled(d.b.master) && served(d.b.master, k) != nil {
			c = d.b.master
		}
		comps = append(comps, d.cancelled(c, d.b.master, gone))
	} else {
		for _, key := range d.a.order {
			c := d.a.over[key]
			if served(c, k) == nil || isCancelled(c) && d.b.o != nil {
				continue
			}
			if d.b.o == nil { // the event is no more: no reference to an instance
				c = c.Clone()
				c.Remove("RECURRENCE-ID")
				comps = append(comps, d.cancelled(c, nil, true))
				break
			}
			now := d.b.over[key]
			out := gone
			if now == nil && d.b.o != nil {
				_, ex := d.b.ex[key]
				out = out || ex || !d.b.has(d.a.ids[key])
			}
			comps = append(comps, d.cancelled(c, now, out || isCancelled(now)))
		}
	}
	if len(comps) == 0 {
		return nil
	}
	o := d.a.wrap(comps)
	envelope(o, "CANCEL", opt)
	return o
}

// cancelSome is the CANCEL of single instances.
func (d *diff) cancelSome(k string, keys []string, opt MessageOptions) *calendar.Object {
	var comps []*calendar.Component
	wanted := map[string]bool{}
	for _, key := range keys {
		wanted[key] = true
	}
	for _, i := range d.instances {
		if !wanted[i.key] || i.old == nil {
			continue
		}
		c := i.old
		if isCancelled(i.new) && served(i.new, k) != nil {
			c = i.new
		}
		comps = append(comps, d.cancelled(c, i.new, i.new == nil || isCancelled(i.new)))
	}
	if len(comps) == 0 {
		return nil
	}
	o := d.a.wrap(comps)
	envelope(o, "CANCEL", opt)
	return o
}

// cancelled is one component of a CANCEL. When the event or instance goes on
// without this person, only those taken out are listed and STATUS is left out
// (RFC 5546 §3.2.5).
func (d *diff) cancelled(c, now *calendar.Component, forAll bool) *calendar.Component {
	out := clean(c)
	if forAll {
		out.Set(calendar.NewProperty("STATUS", "CANCELLED"))
	} else {
		left := lines(now)
		was, is := agents(c), agents(now)
		out.Props = slices.DeleteFunc(out.Props, func(p *calendar.Property) bool {
			k := personKey(p)
			return p.Name() == "ATTENDEE" && left[k] != nil && (is[k] == "" || was[k] != "")
		})
		out.Remove("STATUS")
	}
	if d.top > sequenceOf(out) {
		setSequence(out, d.top)
	}
	return out
}
