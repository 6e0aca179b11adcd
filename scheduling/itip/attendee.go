package itip

import (
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// planAttendee is an attendee's PUT (RFC 6638 §3.2.2.1): his own answer, his
// alarms and other private data are his; times and people are not, and what
// clients reformat is put back.
func planAttendee(c Change, by calendar.AddressSet, next *calendar.Object) (Plan, error) {
	p := Plan{Role: RoleAttendee, NewTag: true, ServerTransp: c.ServerTransp, OrganizerTransp: c.OrganizerTransp}
	store := next.Clone()
	b := read(store)
	opt := MessageOptions{By: c.By, Now: c.Now, ProdID: c.ProdID}
	if roleOf(c.Old, by) != RoleAttendee || !c.LocalOrganizer && takesOver(c.Old, store) {
		// A copy from elsewhere, for example an invitation that came by mail, or
		// one that his program kept up to date until now.
		force := b.forceReply()
		if AgentOf(organizerLine(store)) == AgentServer && !c.Silent {
			var answers []answer
			for _, n := range b.components() {
				if own := ownLine(n, by); own != nil && !isCancelled(n) && (force || c.Force || partstat(own) != "NEEDS-ACTION") {
					answers = append(answers, answer{n, own, partstat(own)})
				}
			}
			p.Messages = reply(b, answers, opt)
		}
		p.ServerTransp, p.OrganizerTransp = false, organizerTransp(b)
		p.Store, p.Rewritten = store, rewritten(store, c.New)
		return p, nil
	}

	a := read(c.Old)
	was, now := organizerLine(c.Old), organizerLine(store)
	if now == nil || personKey(was) != personKey(now) {
		return Plan{}, refuse("an attendee cannot change the ORGANIZER")
	}
	if now.Param("SCHEDULE-AGENT") != "" && AgentOf(now) != AgentOf(was) && c.LocalOrganizer {
		return Plan{}, refuse("an attendee cannot change who schedules for an ORGANIZER of this server")
	}
	// RFC 6638 §7.1: with CLIENT or NONE his program answers and keeps the copy up
	// to date. A program that leaves the parameter out changes nothing.
	if AgentOf(was) != AgentServer || AgentOf(now) != AgentServer {
		for _, n := range b.components() {
			if q := n.Prop("ORGANIZER"); q != nil && q.Param("SCHEDULE-AGENT") == "" {
				copyParams(q, was, "SCHEDULE-AGENT")
			}
		}
		p.Store, p.Rewritten = store, rewritten(store, c.New)
		return p, nil
	}

	if b = restoreInstanceID(a, b); (a.master == nil) != (b.master == nil) {
		return Plan{}, refuse("an attendee cannot turn single instances into a series or back")
	}
	force := b.forceReply() || c.Force
	var answers []answer
	wholeChanged := force
	dead := a.dead()
	for _, n := range b.components() {
		key := b.keyAt(n)
		base := a.at(key)
		if base == nil {
			if base = a.newInstance(n, key, b.ids[key]); base == nil {
				return Plan{}, refuse("an attendee cannot add an instance that the organizer did not plan")
			}
		}
		if err := mergeOwn(a, base, b, n, by, c.Now); err != nil {
			return Plan{}, err
		}
		own, before := ownLine(n, by), ownLine(base, by)
		if own == nil {
			continue
		}
		changed := partstat(own) != partstat(before) || !slices.Equal(paramKeys(own, "DELEGATED-TO"), paramKeys(before, "DELEGATED-TO")) ||
			n.Name == "VTODO" && (n.Value("COMPLETED") != base.Value("COMPLETED") || n.Value("PERCENT-COMPLETE") != base.Value("PERCENT-COMPLETE"))
		if c.ServerTransp && !attends(partstat(before)) && attends(partstat(own)) && transpOf(base) == "TRANSPARENT" && transpOf(n) == "TRANSPARENT" {
			setTransp(n, transpFor(c.OrganizerTransp, key))
		}
		if changed && own.Param("SENT-BY") == before.Param("SENT-BY") { // of the answer before
			own.DelParam("SENT-BY")
		}
		if changed && (key == "" || isFuture(n)) && !isCancelled(base) {
			wholeChanged = true
		}
		if changed && key != "" && !isCancelled(base) {
			answers = append(answers, answer{n, own, partstat(own)})
		}
	}
	gone, err := b.removals(a, by)
	if err != nil {
		return Plan{}, err
	}
	p.Thrown = b.thrown(a, c.Thrown)
	if wholeChanged { // then the organizer gets the whole state, instance by instance
		b = read(store)
		answers = nil
		for _, n := range b.components() {
			if own := ownLine(n, by); own != nil && (!isCancelled(n) || b.master != nil) {
				answers = append(answers, answer{n, own, partstat(own)})
			}
		}
		gone = a.declined(p.Thrown, gone, b, by)
	}
	answers = append(answers, gone...)
	addZones(store, c.Old)
	if !c.Silent && !dead {
		p.Messages = reply(read(store), answers, opt)
	}
	p.Store, p.Rewritten = store, rewritten(store, c.New)
	p.NewTag = !answerOnly(c.Old, store, by, c.ServerTransp)
	p.ServerTransp = c.ServerTransp && openTransp(read(store), by)
	return p, nil
}

// takesOver tells whether an attendee hands an event of which his program took
// care to the server (RFC 6638 §7.1).
func takesOver(old, new *calendar.Object) bool {
	was, now := organizerLine(old), organizerLine(new)
	return AgentOf(was) != AgentServer && now != nil && personKey(was) == personKey(now) && now.Param("SCHEDULE-AGENT") != "" && AgentOf(now) == AgentServer
}

func refuse(msg string) error { return &Error{CondAttendeeChange, msg} }

// planLeave is an attendee's DELETE (RFC 6638 §3.2.2.3): he declines, unless
// he never answered (want 12), has declined or nothing takes place any more.
func planLeave(c Change, by calendar.AddressSet) (Plan, error) {
	st := StampOf(c.Old).upTo(c.Now)
	if read(c.Old).dead() {
		st.Sequence = -1 - st.Sequence
	}
	p := Plan{Role: RoleAttendee, Forget: &st}
	if c.Silent || AgentOf(organizerLine(c.Old)) != AgentServer {
		return p, nil
	}
	a := read(c.Old)
	if a.dead() {
		return p, nil
	}
	var answers []answer
	answered, declined := false, false
	for _, n := range a.components() {
		own := ownLine(n, by)
		if own == nil || isCancelled(n) {
			continue
		}
		switch partstat(own) {
		case "DECLINED":
			declined = true
			continue
		case "NEEDS-ACTION":
		default:
			answered = true
		}
		answers = append(answers, answer{n, himself(own), "DECLINED"})
	}
	if answered || c.Force && len(answers) > 0 {
		p.Messages = reply(a, answers, MessageOptions{By: c.By, Now: c.Now, ProdID: c.ProdID})
		p.Left = c.Old.Clone()
		for _, n := range p.Left.Components() {
			if own := ownLine(n, by); own != nil && !isCancelled(n) {
				setPartstat(own, "DECLINED")
			}
		}
	} else if declined {
		p.Left = c.Old
	}
	return p, nil
}

// forceReply takes SCHEDULE-FORCE-SEND off the ORGANIZER lines and tells
// whether one asked for a REPLY (RFC 6638 §7.2).
func (s *series) forceReply() bool {
	force := false
	for _, c := range s.components() {
		if q := c.Prop("ORGANIZER"); q != nil {
			force = force || strings.EqualFold(q.Param("SCHEDULE-FORCE-SEND"), "REPLY")
			q.DelParam("SCHEDULE-FORCE-SEND")
		}
	}
	return force
}

// restoreInstanceID gives the RECURRENCE-ID back to a client that edits the
// single instance its user is invited to as if it were a whole event.
func restoreInstanceID(a, b *series) *series {
	if a.master != nil || b.master == nil || recurs(b.master) {
		return b
	}
	for _, k := range a.order {
		if b.over[k] == nil && a.timing(a.over[k]) == b.timing(b.master) {
			b.master.Add(a.over[k].Prop("RECURRENCE-ID").Clone())
			return read(b.o)
		}
	}
	return b
}

// newInstance is what an override the attendee adds must be like: an existing
// instance of the series. Nil when there is none.
func (s *series) newInstance(n *calendar.Component, key string, id calendar.DateTime) *calendar.Component {
	if key == "" || s.master == nil || isFuture(n) || !recurs(s.master) || !s.has(id) {
		return nil
	}
	return s.derive(id)
}

// attendeeOwned are properties an attendee may change in his copy (RFC 6638
// §3.2.2.1); the rest is the organizer's.
var attendeeOwned = map[string]bool{
	"TRANSP": true, "CATEGORIES": true, "COMMENT": true, "REQUEST-STATUS": true, "CLASS": true, "COLOR": true,
	"CREATED": true, "LAST-MODIFIED": true, "UID": true, "RECURRENCE-ID": true, "PRIORITY": true,
	"DTSTAMP": true, "SEQUENCE": true, "EXDATE": true, "ATTENDEE": true, "ORGANIZER": true,
}

func ownedByAttendee(component, name string) bool {
	switch name {
	case "STATUS", "COMPLETED", "PERCENT-COMPLETE":
		return component == "VTODO"
	}
	return attendeeOwned[name] || strings.HasPrefix(name, "X-") && !publicX[name]
}

// mergeOwn makes n, what the attendee sent, into what may be stored: base with
// his own data. It refuses another time, recurrence or set of people.
func mergeOwn(a *series, base *calendar.Component, b *series, n *calendar.Component, by calendar.AddressSet, now time.Time) error {
	if a.timing(base) != b.timing(n) {
		return refuse("an attendee cannot change the time of an event")
	}
	if !sameRules(a, base, b, n, "RRULE") || !sameRules(a, base, b, n, "EXRULE") || !slices.Equal(extraDates(a, base), extraDates(b, n)) {
		return refuse("an attendee cannot change how an event recurs")
	}
	if err := mergePeople(base, n, by); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, c := range []*calendar.Component{base, n} {
		for _, p := range c.Props {
			if !ownedByAttendee(n.Name, p.Name()) {
				names[p.Name()] = true
			}
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		if !slices.Equal(texts(base, name), texts(n, name)) {
			replaceAll(n, base, name)
		}
	}
	if q := base.Prop("SEQUENCE"); sequenceOf(base) != sequenceOf(n) {
		if q == nil {
			n.Remove("SEQUENCE")
		} else {
			n.Set(q.Clone())
		}
	}
	// The stamp orders the organizer's next messages: it must not run ahead.
	if st, old := stampOf(n, time.Time{}), stampOf(base, time.Time{}); st.DTStamp.Before(old.DTStamp) || st.DTStamp.After(now) {
		if q := base.Prop("DTSTAMP"); q != nil {
			n.Set(q.Clone())
		}
	}
	// RFC 5546 §3.4.5: STATUS of a to-do is his own, but whether it takes place is
	// the organizer's word: his program may not know of a CANCEL yet.
	if n.Name == "VTODO" && isCancelled(n) != isCancelled(base) {
		replaceAll(n, base, "STATUS")
	}
	completeTodo(base, n, by)
	return nil
}

// completeTodo keeps PARTSTAT in step with COMPLETED for clients that know
// only one of them (RFC 5545 §3.2.12).
func completeTodo(base, n *calendar.Component, by calendar.AddressSet) {
	own, before := ownLine(n, by), ownLine(base, by)
	if n.Name != "VTODO" || own == nil || partstat(own) != partstat(before) {
		return
	}
	done := func(c *calendar.Component) bool {
		return c.Prop("COMPLETED") != nil || strings.EqualFold(c.Value("STATUS"), "COMPLETED")
	}
	switch {
	case done(n) && !done(base) && partstat(own) != "COMPLETED":
		own.SetParam("PARTSTAT", "COMPLETED")
	case !done(n) && done(base) && partstat(own) == "COMPLETED":
		own.SetParam("PARTSTAT", "IN-PROCESS")
	}
}

// extraDates are those of RDATE.
func extraDates(s *series, c *calendar.Component) []string {
	var out []string
	for _, p := range c.All("RDATE") {
		out = append(out, s.dates(p)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// texts are the values of a property without the spellings that mean nothing.
func texts(c *calendar.Component, name string) []string {
	var out []string
	for _, p := range c.All(name) {
		v := strings.TrimSpace(p.Text())
		if timeNames[name] {
			v += " " + p.Param("TZID")
		}
		if d, ok := defaults[name]; ok {
			if v = strings.ToUpper(v); v == d {
				continue
			}
		}
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// replaceAll puts the properties of that name of base in the place of n's.
func replaceAll(n, base *calendar.Component, name string) {
	i := slices.IndexFunc(n.Props, func(p *calendar.Property) bool { return p.Name() == name })
	n.Remove(name)
	if i < 0 || i > len(n.Props) {
		i = len(n.Props)
	}
	var add []*calendar.Property
	for _, p := range base.All(name) {
		add = append(add, p.Clone())
	}
	n.Props = slices.Insert(n.Props, i, add...)
}

// mergePeople puts back ORGANIZER and everybody else's ATTENDEE line and
// keeps what the attendee says about himself. People cannot be added or
// removed, except those he delegates to (RFC 5546 §3.2.2.3).
func mergePeople(base, n *calendar.Component, by calendar.AddressSet) error {
	for i, p := range n.Props {
		if p.Name() == "ORGANIZER" {
			n.Props[i] = orEmptyOf(base.Prop("ORGANIZER"), p)
		}
	}
	mine := ownLine(base, by)
	if mine != nil && line(n, personKey(mine)) == nil {
		own := ownLine(n, by)
		if own == nil {
			return refuse("an attendee cannot remove himself from an event; delete it instead")
		}
		own.SetValue(mine.Value()) // want 19: the invited alias answers
	}
	before, after := lines(base), lines(n)
	delegates := map[string]bool{}
	if mine != nil {
		for _, k := range paramKeys(after[personKey(mine)], "DELEGATED-TO") {
			delegates[k] = true
		}
	}
	for k := range after {
		if before[k] == nil && !delegates[k] {
			return refuse("an attendee cannot invite others")
		}
	}
	for k := range before {
		if after[k] == nil {
			return refuse("an attendee cannot remove others from an event")
		}
	}
	for i, p := range n.Props {
		if p.Name() != "ATTENDEE" {
			continue
		}
		k := personKey(p)
		switch {
		case mine != nil && k == personKey(mine):
			copyParams(p, mine, "ROLE", "CUTYPE")
			p.DelParam("SCHEDULE-STATUS")
			p.DelParam("SCHEDULE-FORCE-SEND")
		case before[k] != nil:
			if !sameLine(p, before[k]) {
				n.Props[i] = before[k].Clone()
			}
		}
	}
	return nil
}

func orEmptyOf(p, other *calendar.Property) *calendar.Property {
	if p == nil || sameLine(p, other) {
		return other
	}
	return p.Clone()
}

// sameLine compares two properties by value and parameters in any order.
func sameLine(p, q *calendar.Property) bool {
	if p.Value() != q.Value() || len(p.Params()) != len(q.Params()) {
		return false
	}
	for _, a := range p.Params() {
		if !slices.Equal(a.Values, q.ParamValues(a.Name)) {
			return false
		}
	}
	return true
}

// removals finds what the attendee threw out of his copy: instances with an
// EXDATE, or single instances that are gone. Those are declined. Overrides
// that a client merely dropped come back, and so do the organizer's EXDATEs.
func (s *series) removals(a *series, by calendar.AddressSet) ([]answer, error) {
	var out []answer
	decline := func(c *calendar.Component) {
		if own := ownLine(c, by); own != nil && !isCancelled(c) && partstat(own) != "DECLINED" {
			out = append(out, answer{c, himself(own), "DECLINED"})
		}
	}
	for _, k := range a.order {
		if s.over[k] != nil {
			continue
		}
		_, excluded := s.ex[k]
		if (excluded || a.master == nil) && !isFuture(a.over[k]) {
			decline(a.over[k])
			continue
		}
		back := a.over[k].Clone()
		s.o.Children = append(s.o.Children, back)
		s.follow(a, back, k, by)
	}
	if s.master == nil || a.master == nil {
		return out, nil
	}
	for _, k := range sortedKeys(a.ex) {
		if _, ok := s.ex[k]; ok {
			continue
		}
		if s.over[k] != nil {
			return nil, refuse("an attendee cannot bring back an instance")
		}
		s.exclude(s.master, a.ex[k])
	}
	for _, k := range sortedKeys(s.ex) {
		if _, ok := a.ex[k]; ok || a.over[k] != nil {
			continue
		}
		if a.has(s.ex[k]) {
			decline(a.derive(s.ex[k]))
		}
	}
	return out, nil
}

// follow lets an override that the client did not send take part in the answer
// for the series: when it differs from the series in nothing but what people
// answered, the client may not even know it, and its owner meant it too.
func (s *series) follow(a *series, back *calendar.Component, k string, by calendar.AddressSet) {
	was, now := ownLine(a.master, by), ownLine(s.master, by)
	own := ownLine(back, by)
	if was == nil || now == nil || own == nil || partstat(own) != partstat(was) || partstat(now) == partstat(was) || isCancelled(back) || !a.hasRule(a.ids[k]) {
		return
	}
	if plain := a.derive(a.ids[k]); slices.Equal(withoutAnswers(a.canon(plain)), withoutAnswers(a.canon(back))) {
		i := slices.Index(back.Props, own)
		back.Props[i] = now.Clone()
		setTransp(back, transpOf(s.master))
	}
}

func sortedKeys(m map[string]calendar.DateTime) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// answer is one component of a REPLY.
type answer struct {
	c        *calendar.Component
	own      *calendar.Property
	partstat string
}

// reply builds the REPLY (RFC 5546 §3.2.3): each component with exactly the
// one ATTENDEE, and no more about the event than is needed to recognize it.
func reply(s *series, answers []answer, opt MessageOptions) []Message {
	org, ok := Organizer(s.o)
	if len(answers) == 0 || !ok {
		return nil
	}
	var comps []*calendar.Component
	for _, a := range answers {
		comps = append(comps, replyComponent(a))
	}
	o := s.wrap(comps)
	dropZones(o)
	envelope(o, "REPLY", opt)
	return []Message{newMessage(o, "REPLY", calendar.Address(answers[0].own.Value()), []calendar.Address{org}, KindReply)}
}

// replied are the properties of the event that a REPLY repeats.
var replied = []string{"UID", "RECURRENCE-ID", "SEQUENCE", "DTSTART", "DTEND", "DURATION", "DUE", "SUMMARY", "COMMENT"}

func replyComponent(a answer) *calendar.Component {
	c := calendar.NewComponent(a.c.Name)
	c.Add(calendar.NewProperty("DTSTAMP", ""))
	names := replied
	if c.Name == "VTODO" { // RFC 5546 §3.4.3
		names = append(slices.Clone(names), "STATUS", "COMPLETED", "PERCENT-COMPLETE")
	}
	for _, n := range names {
		for _, p := range a.c.All(n) {
			c.Add(p.Clone())
		}
	}
	if c.Prop("SEQUENCE") == nil { // so that it is not taken for one that names none
		setSequence(c, 0)
	}
	if p := a.c.Prop("ORGANIZER"); p != nil {
		p = p.Clone()
		cleanLine(p)
		c.Add(p)
	}
	p := a.own.Clone()
	cleanLine(p)
	p.SetParam("PARTSTAT", a.partstat)
	if a.partstat != "NEEDS-ACTION" {
		p.DelParam("RSVP")
	}
	c.Add(p)
	c.Add(calendar.NewProperty("REQUEST-STATUS", "2.0;Success"))
	return c
}
