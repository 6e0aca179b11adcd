package itip

import (
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// processRequest is a REQUEST in an attendee's hands (RFC 5546 §3.2.2).
func processRequest(m, current *calendar.Object, p Policy, self calendar.AddressSet) (Outcome, error) {
	if org, _ := Organizer(m); self.Has(org) {
		if p.Outside {
			return Outcome{Status: statusNoAuthority}, nil // nobody outside speaks for our user
		}
		return Outcome{Status: statusSuccess}, nil // his own words coming back
	}
	listed := func(c *calendar.Component) bool { return ownLine(c, self) != nil }
	all := read(m)
	mine := all.tailor(listed)
	if mine == nil {
		return Outcome{Status: statusNoAuthority}, nil
	}
	if !fromOrganizer(m, nil, p) {
		return Outcome{Status: statusNoAuthority}, nil
	}
	if current != nil && !fromOrganizer(m, current, p) || current != nil && organizerLine(current) == nil {
		if roleOf(current, self) != RoleNone {
			return Outcome{Status: statusNoAuthority}, nil // abuse A26: another organizer
		}
		// Abuse A27: an unrelated object sits under that UID. It is not
		// touched; the invitation waits in the inbox.
		return Outcome{Status: statusSuccess, Inbox: m, Kind: KindNew}, nil
	}
	if current != nil && roleOf(current, self) == RoleNone {
		// The same organizer's event, stored by a user who was not invited
		// then: the invitation takes its place.
		current, p.Forgotten = nil, nil
	}
	s := read(mine)
	out := Outcome{Status: statusSuccess, OrganizerTransp: mergeTransp(p.OrganizerTransp, s), ServerTransp: p.ServerTransp}
	if current == nil {
		if p.Forgotten != nil && forgotten(mine, p) {
			return Outcome{Status: statusSuccess}, nil // want 14: deleted is deleted
		}
		if p.Forgotten != nil {
			out.Messages = declinedBefore(s, p, self)
		}
		// What he declined and threw away stays away.
		kept := s.components()[:0:0]
		for _, c := range s.components() {
			if partstat(ownLine(c, self)) != "DECLINED" || c == s.master && len(s.order) > 0 || s.master != nil && isFuture(c) {
				kept = append(kept, c)
			} else if k := s.keyAt(c); k != "" && s.master != nil && recurs(s.master) {
				s.exclude(s.master, s.ids[k])
			}
		}
		if len(kept) == 0 || len(kept) == 1 && kept[0] == s.master && partstat(ownLine(s.master, self)) == "DECLINED" {
			return Outcome{Status: statusSuccess, Messages: out.Messages}, nil
		}
		setComponents(mine, kept)
		for i, c := range mine.Children {
			if c.Name != "VTIMEZONE" {
				n := stored(c)
				answered(n, self)
				pending(n, self, &out)
				mine.Children[i] = n
			}
		}
		mine.Remove("METHOD")
		out.Store, out.Changed, out.NewTag, out.Inbox, out.Kind = mine, true, true, m, KindNew
		return out, nil
	}

	store := current.Clone()
	g := &merge{s: s, cur: read(store), p: p, self: self, out: &out}
	any := g.run(store)
	// An update that does not know his answer may mean that the organizer asked
	// again and took the change back meanwhile: he is told once more.
	out.Messages = answerAgain(read(store), g.kept, p, self)
	if any {
		addZones(store, mine)
		dropZones(store)
	}
	if !any || !changedOctets(current, store) {
		return Outcome{Status: statusSuccess, ServerTransp: p.ServerTransp, OrganizerTransp: p.OrganizerTransp, Thrown: p.Thrown, Messages: out.Messages}, nil
	}
	out.Store, out.Changed = store, true
	for _, x := range p.Thrown {
		k, _, _ := strings.Cut(x, " ")
		if _, away := read(store).ex[k]; away {
			out.Thrown = append(out.Thrown, x)
		}
	}
	out.ServerTransp = out.ServerTransp && openTransp(read(store), self)
	out.Kind, out.Changes = g.kind(read(current), read(store))
	switch out.Kind {
	case KindRefreshed:
	default:
		out.Inbox, out.NewTag = m, true
	}
	return out, nil
}

// forgotten tells whether the message is no newer than the copy its recipient
// deleted.
func forgotten(o *calendar.Object, p Policy) bool {
	return p.Forgotten.covers(StampOf(capped(o, p)))
}

// covers tells whether what has the stamp st is no newer than the copy that was
// deleted with the stamp s.
func (s Stamp) covers(st Stamp) bool {
	if s.Sequence < 0 {
		return !st.DTStamp.After(s.DTStamp)
	}
	return st.Compare(s) <= 0
}

// capped is o when its stamps are past, else a copy whose DTSTAMPs are now.
func capped(o *calendar.Object, p Policy) *calendar.Object {
	if p.Now.IsZero() || !StampOf(o).DTStamp.After(p.Now) {
		return o
	}
	o = o.Clone()
	for _, c := range o.Components() {
		if stampOf(c, p.Now) != stampOf(c, p.Now.AddDate(1000, 0, 0)) {
			setStamp(c, p.Now)
		}
	}
	return o
}

// answered takes the question off the owner's line when it says his answer
// (RFC 5545 §3.2.17), as organizers' programs leave it there.
func answered(c *calendar.Component, self calendar.AddressSet) {
	if own := ownLine(c, self); own != nil && partstat(own) != "NEEDS-ACTION" {
		own.DelParam("RSVP")
	}
}

// pending makes a new component TRANSPARENT until its owner has answered.
func pending(c *calendar.Component, self calendar.AddressSet, out *Outcome) {
	if c.Name == "VEVENT" && partstat(ownLine(c, self)) == "NEEDS-ACTION" && transpOf(c) != "TRANSPARENT" {
		setTransp(c, "TRANSPARENT")
		out.ServerTransp = true
	}
}

// merge brings a REQUEST into an attendee's copy without losing what is his.
type merge struct {
	s, cur *series // the message as tailored; the copy
	p      Policy
	self   calendar.AddressSet
	out    *Outcome
	rule   *series  // the message's master without its EXDATEs
	kept   []answer // his answers that an update did not know

	revived bool // the copy was cancelled as a whole, the event begins again
}

// run edits store, which g.cur reads. False: nothing of the message is new.
func (g *merge) run(store *calendar.Object) bool {
	// A cancelled event may begin again with a lower SEQUENCE.
	g.revived = g.cur.dead() && !g.s.dead()
	stale := func(c, was *calendar.Component) bool {
		if was == nil {
			return false
		}
		if g.revived {
			return stampOf(c, g.p.Now).DTStamp.Before(stampOf(was, g.p.Now).DTStamp)
		}
		return older(c, was, g.p.Now)
	}
	if g.s.master != nil {
		top := g.cur.master
		if top == nil && len(g.cur.order) > 0 {
			top = g.cur.over[g.cur.order[0]]
		}
		if stale(g.s.master, top) {
			return false
		}
		setComponents(store, g.whole(stale))
		return true
	}
	any := false
	for _, k := range g.s.order {
		c := g.s.over[k]
		was := g.cur.over[k]
		if stale(c, was) {
			continue
		}
		_, excluded := g.cur.ex[k]
		if excluded && g.staysAway(c, k) {
			continue
		}
		if was == nil && (excluded || g.cur.master == nil && len(g.cur.order) > 0) && partstat(ownLine(c, g.self)) == "DECLINED" {
			continue // an instance he declined and threw away stays away
		}
		if was == nil && overtaken(c, g.cur.master, g.p.Now) {
			continue
		}
		if was == nil && g.cur.master == nil && g.p.Forgotten != nil && g.p.Forgotten.covers(stampOf(c, g.p.Now)) {
			continue // want 14: he deleted it with the rest
		}
		n := g.component(c, k, was)
		if excluded {
			g.cur.include(g.cur.master, k)
		}
		if was != nil {
			store.Children[slices.Index(store.Children, was)] = n
		} else {
			store.Children = append(store.Children, n)
		}
		any = true
	}
	return any
}

// whole is the new set of components for a message with the master: it
// replaces the set of instances, but not the attendee's own data in them.
func (g *merge) whole(stale func(c, was *calendar.Component) bool) []*calendar.Component {
	master := g.component(g.s.master, "", g.cur.master)
	comps := []*calendar.Component{master}
	for _, k := range g.s.order {
		c, was := g.s.over[k], g.cur.over[k]
		if stale(c, was) {
			comps = append(comps, was) // a newer message about this instance came first
			continue
		}
		if d, excluded := g.cur.ex[k]; was == nil && excluded && !isFuture(c) && (partstat(ownLine(c, g.self)) == "DECLINED" || g.staysAway(c, k)) {
			g.s.exclude(master, d)
			continue
		}
		comps = append(comps, g.component(c, k, was))
	}
	var shown []string // cancelled instances that stay visible as such
	for _, k := range g.cur.order {
		was := g.cur.over[k]
		if g.s.over[k] != nil || isFuture(was) {
			continue
		}
		id := g.cur.ids[k]
		_, excluded := g.s.ex[k]
		switch {
		case excluded && !isCancelled(was) && personKey(ownLine(was, g.self)) != personKey(ownLine(g.s.master, g.self)):
			// Want 19: to this one he is invited by another of his addresses, of which
			// the message does not speak.
			shown = append(shown, k)
			comps = append(comps, was)
		case overtaken(g.s.master, was, g.p.Now): // late: what came about this instance is newer
			shown = append(shown, k)
			comps = append(comps, was)
		case isCancelled(was) && (excluded || len(was.ChildrenNamed("VALARM")) == 0):
			if excluded && g.inRule(id) {
				shown = append(shown, k)
				comps = append(comps, was)
			}
		case excluded || !recurs(g.s.master) || !g.s.has(id):
		default: // the organizer knows nothing special about it; its owner may
			n := g.s.derive(id)
			if n == nil || sameAlarms(was, g.cur.master) && !g.keepsAnswer(n, was) && !g.apart(n, was, master) {
				continue
			}
			private(n, was)
			comps = append(comps, g.component(n, k, was))
		}
	}
	g.s.include(master, shown...)
	for _, x := range g.p.Thrown {
		k, _, _ := strings.Cut(x, " ")
		d, away := g.cur.ex[k]
		if _, excluded := g.s.ex[k]; !away || excluded || g.s.over[k] != nil || !g.s.hasRule(d) {
			continue
		}
		if c := g.s.derive(d); g.staysAway(c, k) {
			g.s.exclude(master, d)
		}
	}
	return comps
}

// inRule tells whether the instance would exist without the message's EXDATEs.
func (g *merge) inRule(id calendar.DateTime) bool {
	if g.rule == nil {
		c := g.s.master.Clone()
		c.Remove("EXDATE")
		g.rule = read(&calendar.Object{Component: &calendar.Component{Name: "VCALENDAR", Children: append(zonesOf(g.s.o), c)}})
	}
	return g.rule.has(id)
}

// component is one component of the message with the attendee's private data:
// of the same instance, or of the series when the instance is new to him.
func (g *merge) component(c *calendar.Component, key string, was *calendar.Component) *calendar.Component {
	n := stored(c)
	answered(n, g.self)
	from := was
	if from == nil {
		from = g.cur.master
	}
	if from == nil && len(g.cur.order) > 0 {
		from = g.cur.over[g.cur.order[0]]
		keepStatus(n, from)
		pending(n, g.self, g.out)
		return n
	}
	if from == nil {
		pending(n, g.self, g.out)
		return n
	}
	private(n, from)
	if !g.revived || partstat(ownLine(c, g.self)) != "NEEDS-ACTION" {
		keepStatus(n, from)
	}
	own, before := ownLine(n, g.self), ownLine(from, g.self)
	if own != nil && before != nil {
		if then := g.known(key, was); g.keepsAnswer(c, then) {
			before = ownLine(then, g.self)
			setPartstat(own, partstat(before))
			copyParams(own, before, "DELEGATED-TO")
			if sequenceOf(c) > sequenceOf(then) {
				g.kept = append(g.kept, answer{n, own, partstat(own)})
			}
		}
		for _, q := range before.Params() {
			if len(q.Name) > 2 && q.Name[:2] == "X-" {
				own.SetParam(q.Name, q.Values...)
			}
		}
	}
	if n.Name == "VEVENT" {
		g.transp(n, from, key)
	}
	return n
}

// known is what the copy said of an instance: its own component, or the
// series.
func (g *merge) known(key string, was *calendar.Component) *calendar.Component {
	if was != nil || key == "" {
		return was
	}
	if id, ok := g.s.ids[key]; ok && g.cur.hasRule(id) {
		return g.cur.derive(id)
	}
	return nil
}

// keepsAnswer tells whether the owner's answer in was holds against what c, of
// a message from another server, says of him. It does while the time stays the
// same: the message may have been sent before his answer arrived, and some
// servers always ask. (Between people of one server no message is under way.)
func (g *merge) keepsAnswer(c, was *calendar.Component) bool {
	own, before := ownLine(c, g.self), ownLine(was, g.self)
	return g.p.Outside && own != nil && before != nil && partstat(before) != "NEEDS-ACTION" && partstat(own) != partstat(before) &&
		!isCancelled(was) && !rescheduled(g.cur, was, g.s, c)
}

// apart tells whether the message agrees with the copy about the answer to an
// instance, while the series keeps another one that it does not know.
func (g *merge) apart(c, was, master *calendar.Component) bool {
	answer := partstat(ownLine(was, g.self))
	return answer == partstat(ownLine(c, g.self)) && answer != partstat(ownLine(master, g.self))
}

// staysAway tells whether an instance that its owner threw away, and so
// declined, stays away although the component c of a message lists him, also, in one
// from another server, with another answer. See keepsAnswer.
func (g *merge) staysAway(c *calendar.Component, key string) bool {
	d, away := g.cur.ex[key]
	own := ownLine(c, g.self)
	at, thrown := thrownOut(g.p.Thrown, key)
	if !away || own == nil || !thrown || g.cur.master == nil {
		return false
	}
	if partstat(own) == "DECLINED" || isCancelled(c) {
		return true
	}
	if at == "" {
		at = g.cur.timing(g.cur.derive(d))
	}
	if !g.p.Outside || at != g.s.timing(c) {
		return false
	}
	if sequenceOf(c) > sequenceOf(g.cur.master) {
		g.kept = append(g.kept, answer{c, own, "DECLINED"})
	}
	return true
}

// declinedBefore gives what the owner declined by deleting his copy his answer
// again, where the message does not know it and the time is the same. It
// returns the answer that is due, see answerAgain.
func declinedBefore(s *series, p Policy, self calendar.AddressSet) []Message {
	if !p.Outside || p.Left == nil {
		return nil
	}
	left := read(p.Left)
	var again []answer
	for _, c := range s.components() {
		k := s.keyAt(c)
		was := left.at(k)
		if was == nil && k != "" {
			was = left.effective(k, s.ids[k])
		}
		own := ownLine(c, self)
		if was == nil || partstat(ownLine(was, self)) != "DECLINED" || isCancelled(was) || partstat(own) == "DECLINED" || rescheduled(left, was, s, c) {
			continue
		}
		setPartstat(own, "DECLINED")
		if sequenceOf(c) > sequenceOf(was) {
			again = append(again, answer{c, own, "DECLINED"})
		}
	}
	return answerAgain(s, again, p, self)
}

// answerAgain is the REPLY with answers that an update did not know. That for
// the whole, or for an instance and all after it, lists all that he has in s, instance by instance.
func answerAgain(s *series, answers []answer, p Policy, self calendar.AddressSet) []Message {
	if AgentOf(organizerLine(s.o)) != AgentServer {
		return nil
	}
	if slices.ContainsFunc(answers, func(a answer) bool { return a.c.Prop("RECURRENCE-ID") == nil || isFuture(a.c) }) {
		for _, c := range s.components() {
			own := ownLine(c, self)
			if own != nil && !isCancelled(c) && !slices.ContainsFunc(answers, func(a answer) bool { return s.keyAt(a.c) == s.keyAt(c) }) {
				answers = append(answers, answer{c, own, partstat(own)})
			}
		}
	}
	return reply(s, answers, MessageOptions{By: p.Self, Now: p.Now, ProdID: p.ProdID})
}

// transp chooses TRANSP of an updated component.
func (g *merge) transp(n, from *calendar.Component, key string) {
	answer, before := partstat(ownLine(n, g.self)), partstat(ownLine(from, g.self))
	organizers := transpOf(n)
	switch {
	case answer == "NEEDS-ACTION":
		pending(n, g.self, g.out)
	case attends(answer) && !attends(before) && g.p.ServerTransp && transpOf(from) == "TRANSPARENT":
		setTransp(n, organizers) // he accepted elsewhere
	case transpOf(from) == transpFor(g.p.OrganizerTransp, key) && g.p.OrganizerTransp != "" && attends(answer):
		setTransp(n, organizers) // he never chose his own
	default:
		setTransp(n, transpOf(from))
	}
}

// private copies what belongs to the attendee from his old component.
func private(n, from *calendar.Component) {
	n.Children = slices.DeleteFunc(n.Children, func(k *calendar.Component) bool { return k.Name == "VALARM" })
	for _, k := range from.Children {
		if k.Name == "VALARM" {
			n.Children = append(n.Children, k.Clone())
		}
	}
	have := map[string]bool{}
	for _, p := range n.Props {
		have[p.Name()] = true
	}
	tags := map[string]bool{}
	for _, p := range n.All("CATEGORIES") {
		for _, t := range splitText(p.Value()) {
			tags[t] = true
		}
	}
	for _, p := range from.Props {
		name := p.Name()
		switch {
		case name == "CATEGORIES":
			for _, t := range splitText(p.Value()) {
				if !tags[t] {
					tags[t] = true
					n.Add(calendar.NewProperty(name, calendar.EscapeText(t), p.Params()...))
				}
			}
		case name == "TRANSP" || name == "SEQUENCE" || name == "DTSTAMP" || name == "EXDATE" || name == "RECURRENCE-ID":
		case name == "STATUS" && n.Name == "VTODO":
			if !isCancelled(n) && !isCancelled(from) {
				n.Set(p.Clone())
			}
		case name == "COMPLETED" || name == "PERCENT-COMPLETE" || name == "CLASS" && have[name] || name == "COLOR" && have[name]:
			n.Set(p.Clone())
		case ownedByAttendee(n.Name, name) && !have[name] && name != "ATTENDEE" && name != "ORGANIZER":
			n.Add(p.Clone())
		}
	}
}

// keepStatus keeps SCHEDULE-STATUS of the attendee's own replies.
func keepStatus(n, from *calendar.Component) {
	q, was := n.Prop("ORGANIZER"), from.Prop("ORGANIZER")
	if q != nil && was != nil && AgentOf(was) == AgentServer {
		if v := was.ParamValues("SCHEDULE-STATUS"); len(v) > 0 {
			q.SetParam("SCHEDULE-STATUS", v...)
		}
	}
}

func sameAlarms(a, b *calendar.Component) bool {
	if b == nil {
		return len(a.ChildrenNamed("VALARM")) == 0
	}
	x, y := a.ChildrenNamed("VALARM"), b.ChildrenNamed("VALARM")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if string(x[i].Append(nil)) != string(y[i].Append(nil)) {
			return false
		}
	}
	return true
}

// kind compares the copy before and after: when only other people's answers
// changed, nobody needs to be told. A SEQUENCE that rose by itself is news, but
// not one that comes along with answers: a refresh brings every component up
// to the organizer's state.
func (g *merge) kind(before, after *series) (Kind, []FieldChange) {
	quiet := (before.master == nil) == (after.master == nil) && len(before.ex) == len(after.ex)
	for k := range before.over {
		quiet = quiet && after.over[k] != nil
	}
	raised, answers := false, false
	var changes []FieldChange
	for _, c := range after.components() {
		k := after.keyAt(c)
		was := before.at(k)
		if was == nil {
			if was = before.effective(k, after.ids[k]); was == nil {
				quiet = false
				continue
			}
		}
		raised = raised || sequenceOf(c) != sequenceOf(was)
		if partstat(ownLine(c, g.self)) != partstat(ownLine(was, g.self)) {
			quiet = false
		}
		n := len(changes)
		changes = fieldChanges(c.Value("RECURRENCE-ID"), before, was, after, c, changes)
		if len(changes) > n {
			quiet = false
		}
		answers = answers || !slices.Equal(before.canon(was), after.canon(c))
	}
	for k := range after.ex {
		if _, ok := before.ex[k]; !ok {
			quiet = false
		}
	}
	if quiet && (!raised || answers) {
		return KindRefreshed, nil
	}
	if before.dead() && !after.dead() {
		return KindNew, changes
	}
	return KindChanged, changes
}
