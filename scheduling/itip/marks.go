package itip

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// maxMarks bounds the maps of Marks: who takes in and out thousands of people
// loses the oldest marks.
const maxMarks = 2000

// marks are those of the state b, after those of the state a.
func (d *diff) marks(ch Change) Marks {
	m := ch.Marks
	now := ch.Now.UTC().Truncate(time.Second)
	if first := d.b.minSequence(); d.a.o == nil && first > 0 && !ch.Silent {
		m.Begun = Stamp{Sequence: first, DTStamp: now}
	}
	if d.a.o == nil || d.b.o == nil {
		return m
	}
	if rescheduled(d.a, d.a.master, d.b, d.b.master) {
		m.Asked, m.AskedAt = sequenceOf(d.b.master), now
	}
	m.Moved = maps.Clone(m.Moved)
	moved := func(key string, was, n *calendar.Component) {
		if isCancelled(n) || !rescheduled(d.a, was, d.b, n) {
			return
		}
		if m.Moved == nil {
			m.Moved = map[string]Stamp{}
		}
		m.Moved[key] = Stamp{Sequence: sequenceOf(n), DTStamp: now}
	}
	for _, i := range d.instances {
		moved(i.key, i.old, i.new)
	}
	for _, k := range d.b.future {
		if d.a.over[k] == nil { // it goes on from what moved the instances up to now
			if st := ch.Marks.moved(strings.TrimSuffix(k, "+")); st != (Stamp{}) {
				m.Moved[k] = st // not nil: st is of it
			}
		}
		moved(k, d.a.effective(k, d.b.ids[k]), d.b.over[k])
	}
	oldest(m.Moved, maxMarks)
	m.Invited = maps.Clone(m.Invited)
	mark := func(key string, st Stamp) {
		if m.Invited == nil {
			m.Invited = map[string]Stamp{}
		}
		m.Invited[key] = st
	}
	places := []instance{{old: d.a.master, new: d.b.master}}
	again := map[string]bool{} // people who are in the whole again
	for i, at := range append(places, d.instances...) {
		before, after := takesPart(at.old), takesPart(at.new)
		st := Stamp{Sequence: sequenceOf(at.new), DTStamp: now}
		for _, k := range slices.Sorted(maps.Keys(before)) {
			switch {
			case after[k] == nil:
				if at.new == nil {
					st.Sequence = d.b.maxSequence()
				}
				mark(k+" "+at.key, st)
			case i > 0 && again[k] && m.Invited[k+" "+at.key] == (Stamp{}):
				mark(k+" "+at.key, Stamp{}) // the single invitation never ended
			}
		}
		for _, k := range slices.Sorted(maps.Keys(after)) {
			if _, was := m.Invited[k+" "+at.key]; was && before[k] == nil {
				mark(k+" "+at.key, st)
				if i == 0 {
					again[k] = true
				}
			}
		}
	}
	oldest(m.Invited, maxMarks)
	return m
}

// oldest takes the oldest marks away where there are more than max.
func oldest(m map[string]Stamp, max int) {
	over := len(m) - max
	if over <= 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(m), func(x, y string) int {
		return cmp.Or(m[x].DTStamp.Compare(m[y].DTStamp), cmp.Compare(x, y))
	})
	for _, k := range keys[:over] {
		delete(m, k)
	}
}

// askAgain makes news of what everybody was asked about after the state a, also
// when a says the same: it began again, or was moved and moved back, before this
// person heard of it, and the answers to what was are no answers to it.
func (d *diff) askAgain(m Marks) {
	if d.a.o == nil || d.b.o == nil {
		return
	}
	top := d.a.maxSequence()
	if max(m.Asked, m.Begun.Sequence) > top {
		d.masterSame = false
	}
	for _, k := range slices.Sorted(maps.Keys(m.Moved)) {
		switch at := slices.IndexFunc(d.instances, func(i instance) bool { return i.key == k }); {
		case m.Moved[k].Sequence <= top:
		case at >= 0 && d.b.over[k] != nil:
			d.instances[at].same = false
		default:
			d.masterSame = false
		}
	}
}

// takesPart are the ATTENDEEs of what takes place.
func takesPart(c *calendar.Component) map[string]*calendar.Property {
	if isCancelled(c) {
		return nil
	}
	return lines(c)
}

// invited is the mark for the answer of a person about an instance ("" the
// whole): his own invitation to it, else that to the whole.
func (m Marks) invited(person, instance string) Stamp {
	if st, ok := m.Invited[person+" "+instance]; ok {
		return st
	}
	return m.Invited[person+" "]
}

// moved is the mark of the instance k: its own, or the newest of those that
// THISANDFUTURE moved up to it. Keys of one kind are in the order of time.
func (m Marks) moved(k string) Stamp {
	st := m.Moved[k]
	for f, x := range m.Moved {
		if at, on := strings.CutSuffix(f, "+"); on && k != "" && !strings.HasSuffix(k, "+") && at[0] == k[0] && len(at) == len(k) && at <= k && x.Compare(st) > 0 {
			st = x
		}
	}
	return st
}

// before tells whether an answer with the stamp s was given before the mark m,
// by SEQUENCE and by time.
func (s Stamp) before(m Stamp) bool { return s.Sequence < m.Sequence && s.DTStamp.Before(m.DTStamp) }
