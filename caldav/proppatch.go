package caldav

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

const (
	maxDeadProperty = 64 << 10 // octets of one dead property
	maxDeadName     = 1000     // of its name with the namespace, which is part of a key
)

// change is what a PROPPATCH or MKCALENDAR asks for, checked but not stored.
type change struct {
	col       storage.Collection
	edits     []func(*storage.Collection) // what became of col, to be done again on the row as it is at the commit
	dead      []storage.Property
	home      *storage.Settings    // settings of the account that properties stand for
	delegates *[]storage.AccountID // members of the proxy principal
	failed    map[davxml.Name]failure
	names     []davxml.Name
}

// set changes the collection, now and in the transaction.
func (ch *change) set(edit func(*storage.Collection)) failure {
	edit(&ch.col)
	ch.edits = append(ch.edits, edit)
	return failure{}
}

// write says what became of each property: one refusal refuses all.
func (ch *change) write(resp *davxml.Response) {
	for _, n := range ch.names {
		switch f, bad := ch.failed[n]; {
		case bad:
			resp.Fail(n, f.status, f.cond, f.msg)
		case len(ch.failed) > 0:
			resp.Fail(n, http.StatusFailedDependency, davxml.Name{}, "")
		default:
			resp.Prop(n)
		}
	}
}

type failure struct {
	status int
	cond   davxml.Name
	msg    string
}

// personal are the properties that each user sees his own value of.
var personal = map[davxml.Name]bool{davxml.ICalendarColor: true, davxml.ICalendarOrder: true}

// plan applies property changes to a copy, in document order (RFC 4918 §9.2).
// creating says that a collection is being made, when some properties may be
// set that are protected afterwards.
func (q *request) plan(c storage.Collection, kind Kind, ops []davxml.PropOp, creating bool) *change {
	ch := &change{col: c, failed: map[davxml.Name]failure{}}
	for _, op := range ops {
		if !slices.Contains(ch.names, op.Name) {
			ch.names = append(ch.names, op.Name)
		}
		if f := q.planOne(ch, kind, op, creating); f.status != 0 {
			ch.failed[op.Name] = f
		}
	}
	return ch
}

func (q *request) planOne(ch *change, kind Kind, op davxml.PropOp, creating bool) failure {
	value := ""
	if op.Value != nil {
		value = op.Value.Value()
	}
	protected := failure{http.StatusForbidden, davxml.DCannotModifyProtectedProperty, ""}
	bad := func(cond davxml.Name, msg string) failure { return failure{http.StatusForbidden, cond, msg} }
	other, shared := q.found.Home != nil && q.user.ID != q.found.Home.ID, q.ownView()
	cal := kind == KindCalendar
	if _, live := properties[op.Name]; live && !creating && !personal[op.Name] && !q.privs.Has(acl.WriteProperties) {
		return failure{http.StatusForbidden, davxml.Name{}, "this is everybody's property, which takes the privilege write-properties"}
	}
	switch op.Name {
	case davxml.DDisplayName:
		if cal && !shared {
			if len(value) > maxNameOctets*4 {
				return bad(davxml.Name{}, "the name is too long")
			}
			q.planLang(ch, op, creating)
			return ch.set(func(c *storage.Collection) { c.DisplayName = value })
		}
		if kind == KindPrincipal || kind == KindProxy || kind == KindInbox || kind == KindOutbox {
			return protected
		}
	case davxml.DGroupMemberSet:
		if kind == KindProxy {
			return q.planDelegates(ch, op)
		}
		return protected
	case davxml.CCalendarDescription:
		if cal && !shared {
			q.planLang(ch, op, creating)
			return ch.set(func(c *storage.Collection) { c.Description = value })
		}
	case davxml.ICalendarColor:
		if cal && !other && (op.Value == nil || len(op.Value.Attrs) == 0) {
			ch.set(func(c *storage.Collection) { c.Color = value })
			ch.dead = append(ch.dead, q.deadProp(davxml.PropOp{Remove: true, Name: op.Name}, ch.col, ""))
			return failure{}
		}
		if cal && !other {
			ch.set(func(c *storage.Collection) { c.Color = "" })
		}
	case davxml.ICalendarOrder:
		if cal && !other {
			return ch.set(func(c *storage.Collection) { c.Order = value })
		}
	case davxml.CCalendarTimezone:
		if !cal {
			return protected
		}
		if op.Remove {
			return ch.set(func(c *storage.Collection) { c.Timezone, c.TimezoneID = "", "" })
		}
		text, err := q.zoneText(op.Value)
		if err != nil {
			return bad(davxml.CSupportedCalendarData, "calendar-timezone is text/calendar, application/calendar+json or application/calendar+xml")
		}
		if _, err := calendar.ParseTimezone(text); err != nil || len(strings.TrimSpace(text)) < 40 {
			return bad(davxml.CValidCalendarData, "calendar-timezone is an iCalendar object with one VTIMEZONE")
		}
		// RFC 7809 §5.2: the id follows the definition, unless the request has both.
		if id := zoneIDOf(text); id != "" || !slices.Contains(ch.names, davxml.CCalendarTimezoneID) {
			ch.set(func(c *storage.Collection) { c.TimezoneID = id })
		}
		return ch.set(func(c *storage.Collection) { c.Timezone = text })
	case davxml.CCalendarTimezoneID:
		if !cal {
			return protected
		}
		if op.Remove {
			return ch.set(func(c *storage.Collection) { c.TimezoneID = "" })
		}
		if !calendar.KnownZone(value) {
			return bad(davxml.CValidTimezone, "no time zone "+value)
		}
		if !slices.Contains(ch.names, davxml.CCalendarTimezone) { // RFC 7809 §5.2: the definition follows the id
			ch.set(func(c *storage.Collection) { c.Timezone = "" })
		}
		return ch.set(func(c *storage.Collection) { c.TimezoneID = value })
	case davxml.CScheduleCalendarTransp:
		if !cal {
			return protected
		}
		if op.Remove {
			return ch.set(func(c *storage.Collection) { c.Transparent = false })
		}
		t, err := davxml.Transparent(op.Value)
		if err != nil {
			return bad(davxml.Name{}, err.Error())
		}
		return ch.set(func(c *storage.Collection) { c.Transparent = t })
	case davxml.CSupportedCalendarComponentSet:
		if !cal || !creating {
			return protected
		}
		names, err := davxml.ComponentSet(op.Value)
		if err != nil {
			return bad(davxml.CSupportedCalendarComponent, err.Error())
		}
		var set storage.Components
		for _, n := range names {
			bit := componentBit(n)
			if bit == 0 {
				return bad(davxml.CSupportedCalendarComponent, "no calendar takes "+n)
			}
			set |= bit
		}
		return ch.set(func(c *storage.Collection) { c.Components = set })
	case davxml.CSSource:
		if !op.Remove && !validSource(op.Value) {
			return bad(davxml.Name{}, "source holds one href, with a http, https, webcal or webcals URL")
		}
	case davxml.DResourceType:
		if creating {
			return failure{}
		}
		return protected
	case davxml.CScheduleDefaultCalendarURL:
		if kind != KindInbox {
			return protected
		}
		return q.planDefault(ch, op)
	case davxml.CCalendarAvailability, davxml.CSCalendarAvailability:
		if !cal && kind != KindInbox || shared {
			return protected
		}
		return q.planAvailability(ch, op)
	case davxml.CCalendarFreeBusySet:
		if kind == KindInbox { // obsolete (RFC 6638 §9.1 replaces it): accepted and without effect, for old clients
			return failure{}
		}
		return protected
	}
	if kind == KindProxy {
		return protected // nothing else is stored there
	}
	if _, live := properties[op.Name]; live && !personal[op.Name] || op.Name == davxml.CCalendarData {
		return protected
	}
	if len(op.Name.Space)+len(op.Name.Local) > maxDeadName {
		return failure{http.StatusInsufficientStorage, davxml.Name{}, "the name of a property has at most 1000 octets"}
	}
	xml := ""
	if op.Value != nil {
		xml = op.Value.Fragment()
		if len(xml) > maxDeadProperty {
			return failure{http.StatusInsufficientStorage, davxml.Name{}, "a property has at most 64 KiB"}
		}
	}
	ch.dead = append(ch.dead, q.deadProp(op, ch.col, xml))
	return failure{}
}

// planLang keeps the language of a text that people read (RFC 4918 §4.3): the property
// as it was sent is stored beside its text.
func (q *request) planLang(ch *change, op davxml.PropOp, creating bool) {
	xml := ""
	if op.Value != nil && op.Value.Lang() != "" {
		if xml = op.Value.Fragment(); len(xml) > maxDeadProperty {
			xml = ""
		}
	}
	if xml != "" || !creating {
		ch.dead = append(ch.dead, q.deadProp(op, ch.col, xml))
	}
}

// ownView tells whether what the user sets is seen by him alone: the owner and who
// acts for him set the properties that everybody sees, sharees their own.
func (q *request) ownView() bool {
	return q.found.Home != nil && (collected.has(q.path.Kind) || items.has(q.path.Kind) || q.path.Kind == KindUnmapped) && !q.confidant()
}

// deadProp is a row of the property table; personal properties of all but the
// owner, and all that a sharee sets, are that user's own.
func (q *request) deadProp(op davxml.PropOp, c storage.Collection, xml string) storage.Property {
	p := storage.Property{PropertyKey: storage.PropertyKey{CollectionKey: c.CollectionKey}, Space: op.Name.Space, Local: op.Name.Local, XML: xml}
	if q.found.Object != nil {
		p.Object = q.found.Object.Name
	}
	if q.ownView() || personal[op.Name] && q.found.Home != nil && q.user.ID != q.found.Home.ID {
		p.Principal = q.user.ID
	}
	return p
}

// planAvailability is RFC 7953 §7.2.4: one VAVAILABILITY, which counts in the
// owner's free/busy time whoever asks.
func (q *request) planAvailability(ch *change, op davxml.PropOp) failure {
	stored := ""
	if !op.Remove {
		text := op.Value.Content()
		if _, err := calendar.ParseAvailability(strings.TrimSpace(text)+"\r\n", q.h.cfg.Limits); err != nil {
			return failure{http.StatusForbidden, davxml.Name{Space: davxml.NSCalDAV, Local: string(calendar.CodeOf(err))}, err.Error()}
		}
		if stored = scheduling.AvailabilityProperty(text); len(stored) > maxDeadProperty {
			return failure{http.StatusInsufficientStorage, davxml.Name{}, "a property has at most 64 KiB"}
		}
	}
	p := q.deadProp(davxml.PropOp{Name: davxml.CCalendarAvailability}, ch.col, stored)
	p.Principal = 0
	ch.dead = append(ch.dead, p)
	return failure{}
}

// planDefault is RFC 6638 §9.2: the default calendar is an existing calendar of
// the home that takes events.
func (q *request) planDefault(ch *change, op davxml.PropOp) failure {
	bad := failure{http.StatusForbidden, davxml.CValidScheduleDefaultCalendarURL, "the default calendar is one of your own calendars that takes events"}
	if op.Remove {
		return failure{http.StatusForbidden, davxml.CDefaultCalendarNeeded, "there is always a default calendar"}
	}
	p, ok := parseHref(op.Value.Href(), q.sameHost)
	if !ok || p.Kind != KindCalendar || p.Handle != q.found.Home.Handle {
		return bad
	}
	c, err := q.h.db.CollectionByName(q.ctx, q.found.Home.ID, p.Collection)
	if err != nil || c.Kind != storage.CollectionCalendar || c.Components&storage.CompEvent == 0 {
		return bad
	}
	set := q.found.Home.Settings
	set.DefaultCalendar = p.Collection
	ch.home = &set
	return failure{}
}

func componentBit(name string) storage.Components {
	for _, c := range componentBits {
		if c.name == name {
			return c.bit
		}
	}
	return 0
}

// proppatch answers PROPPATCH: all changes or none.
func (q *request) proppatch() error {
	root, err := q.readXML()
	if err != nil {
		return err
	}
	pp, err := davxml.ParseProppatch(root)
	if err != nil {
		return err
	}
	// Who may read has properties of his own; those of everybody need the privilege
	// (RFC 3744 §3.3).
	if !q.privs.Has(acl.WriteProperties) && !(q.ownView() && looks(q.path.Kind, q.privs)) {
		return q.forbidden(acl.WriteProperties)
	}
	var col storage.Collection
	switch {
	case q.path.Kind == KindPrincipal, q.path.Kind == KindProxy:
	case q.path.Kind == KindHome:
		c, err := q.homeCollection()
		if err != nil {
			return err
		}
		col = *c
	default:
		col = *q.found.Collection
	}
	ch := q.plan(col, q.path.Kind, pp.Ops, false)
	if len(ch.failed) == 0 {
		if q.path.Kind == KindPrincipal && len(ch.dead) > 0 {
			c, err := q.homeCollection()
			if err != nil {
				return err
			}
			for i := range ch.dead {
				ch.dead[i].CollectionKey = c.CollectionKey
				ch.dead[i].Object = "."
			}
		}
		if err := q.apply(ch, q.path.Kind); err != nil {
			return err
		}
	}
	if len(ch.failed) == 0 && q.prefers("return=minimal") { // RFC 8144 §2.2
		q.w.Header().Set("Preference-Applied", "return=minimal")
		q.w.Header().Add("Vary", "Prefer, Brief")
		q.w.WriteHeader(http.StatusOK)
		return nil
	}
	m := q.multistatus()
	resp := m.Response(q.path.String())
	ch.write(resp)
	resp.End()
	return q.end(m)
}

func (q *request) homeCollection() (*storage.Collection, error) {
	cols, err := q.h.db.Collections(q.ctx, q.found.Home.ID)
	if err != nil {
		return nil, err
	}
	for i := range cols {
		if cols[i].Kind == storage.CollectionHome {
			return &cols[i], nil
		}
	}
	return nil, errNotFound
}

// apply stores a checked change. A change of a collection's properties counts in
// the home's sync sequence, so that a client that polls the home learns of it.
func (q *request) apply(ch *change, kind Kind) error {
	if ch.home != nil {
		if _, err := q.h.db.UpdateAccount(q.ctx, q.found.Home.ID, storage.AccountChange{Settings: ch.home}); err != nil {
			return err
		}
	}
	if ch.delegates != nil {
		if err := q.setDelegates(*ch.delegates); err != nil {
			return err
		}
	}
	if kind == KindPrincipal || kind == KindProxy || items.has(kind) {
		if len(ch.dead) == 0 {
			return nil
		}
		return q.h.db.Tx(q.ctx, func(ctx context.Context, tx *storage.Tx) error { return tx.SetProperties(ctx, ch.dead) })
	}
	return q.updateCollection(ch.col.Name, ch.dead, func(c *storage.Collection) {
		for _, edit := range ch.edits {
			edit(c)
		}
	})
}

// zoneText is the text/calendar of a calendar-timezone, in whichever notation it came.
func (q *request) zoneText(n *davxml.Node) (string, error) {
	text := n.Content()
	t, ok := n.Attr("content-type")
	if !ok {
		return text, nil
	}
	f, known := formatOf(t)
	if !known {
		return "", errors.New("no such notation")
	}
	b, err := q.read(f, []byte(text))
	return string(b), err
}

// zoneIDOf is the IANA name of the time zone in a calendar-timezone, "" when it
// has none.
func zoneIDOf(text string) string {
	o, err := calendar.Parse([]byte(text), calendar.Limits{})
	if err != nil {
		return ""
	}
	for _, z := range o.ChildrenNamed("VTIMEZONE") {
		return calendar.ZoneName(strings.Trim(z.Text("TZID"), "\" \t"))
	}
	return ""
}

// updateCollection changes a collection of the home and dead properties in one
// transaction, on the row as it is then.
func (q *request) updateCollection(name string, dead []storage.Property, edit func(*storage.Collection)) error {
	return q.h.db.Tx(q.ctx, func(ctx context.Context, tx *storage.Tx) error {
		// The home's row lock, which every change of properties takes first,
		// keeps two of them apart.
		home, err := tx.CollectionByName(ctx, q.found.Home.ID, "")
		if err != nil {
			return err
		}
		if _, err := tx.LockCollections(ctx, []storage.CollectionKey{home.CollectionKey}); err != nil {
			return err
		}
		c, err := tx.CollectionByName(ctx, q.found.Home.ID, name)
		if err != nil {
			return err
		}
		edit(&c)
		if err := tx.UpdateCollection(ctx, c); err != nil {
			return err
		}
		if len(dead) == 0 {
			return nil
		}
		return tx.SetProperties(ctx, dead)
	})
}
