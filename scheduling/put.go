package scheduling

import (
	"context"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Conditions of RFC 4791 §5.3.2.1 that the service itself finds.
const (
	CondUIDConflict Condition = "no-uid-conflict"
	CondComponent   Condition = "supported-calendar-component"
	CondCollection  Condition = "calendar-collection-location-ok"
	CondAttendee    Condition = "attendee-allowed"  // as CalendarServer names it
	CondOrganizer   Condition = "organizer-allowed" // as CalendarServer names it
)

// Put stores a calendar object. Together with it, in the same transaction,
// local people get their copies and inbox items, and messages for everybody
// else are queued. Errors: *Error, *calendar.Error, *itip.Error, or storage's.
func (s *Service) Put(ctx context.Context, p Put) (Result, error) {
	obj, err := calendar.Parse(p.Data, s.cfg.Limits)
	if err != nil {
		return Result{}, err
	}
	return s.PutObject(ctx, p, obj)
}

// PutObject is Put for an object that is parsed already; p.Data holds its
// octets.
func (s *Service) PutObject(ctx context.Context, p Put, obj *calendar.Object) (Result, error) {
	// RFC 5545 §3.1: lines may be folded inside of a character, and then the text
	// is no UTF-8 before it is unfolded. What is stored is folded between them.
	if !utf8.Valid(p.Data) {
		p.Data = obj.Bytes()
		res, err := s.putObject(ctx, p, obj)
		res.Rewritten = true
		return res, err
	}
	return s.putObject(ctx, p, obj)
}

func (s *Service) putObject(ctx context.Context, p Put, obj *calendar.Object) (Result, error) {
	if err := calendar.Validate(obj, s.cfg.Rules); err != nil {
		return Result{}, err
	}
	idx, err := obj.Index()
	if err != nil {
		return Result{}, err
	}
	if !idx.Scheduling {
		res, err := s.putPlain(ctx, p, idx)
		if !errors.Is(err, errScheduled) {
			return res, err
		}
	}
	may, err := s.mandateOf(ctx, p.Actor.Account, p.Actor.By)
	if err != nil {
		return Result{}, err
	}
	var res Result
	err = s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return withProperties(ctx, tx, p, func() (err error) {
			res, err = s.putScheduled(ctx, tx, p, may, obj, idx)
			return err
		})
	})
	if err != nil {
		return Result{}, err
	}
	s.Wake()
	return res, nil
}

// withProperties runs what stores the object, and stores the properties that it
// brings along. They count a change of the home, whose lock comes first.
func withProperties(ctx context.Context, tx *storage.Tx, p Put, store func() error) error {
	if len(p.Properties) == 0 {
		return store()
	}
	if err := tx.LockHome(ctx, p.Key.Account); err != nil {
		return err
	}
	if err := store(); err != nil {
		return err
	}
	return tx.SetProperties(ctx, p.Properties)
}

// errScheduled says that the stored object takes part in scheduling although
// the new one does not.
var errScheduled = errors.New("scheduling: the stored object is a scheduling object")

// putPlain stores an object that nobody else is told of.
func (s *Service) putPlain(ctx context.Context, p Put, idx calendar.Index) (Result, error) {
	o := s.plainObject(p, idx)
	res := Result{ETag: o.ETag}
	if fast, ok := plainPut(p, o, idx); ok && len(p.Properties) == 0 {
		done, err := s.db.PutPlain(ctx, fast)
		if err == nil {
			res.Created, res.Object = done.Created, &o
			return res, nil
		}
		if !refusedPlain(err) {
			return Result{}, err
		}
	}
	store := func(ctx context.Context, tx *storage.Tx) error {
		cols, err := tx.LockCollections(ctx, []storage.CollectionKey{p.Key.CollectionKey})
		if err != nil {
			return err
		}
		if err := takes(cols, p.Key.CollectionKey, idx.Component); err != nil {
			return err
		}
		slot, err := tx.Slot(ctx, p.Key, idx.UID)
		if err != nil {
			return err
		}
		if slot.Existing != nil && slot.Existing.Flags&storage.FlagScheduling != 0 {
			return errScheduled
		}
		if err := conditions(p, slot.Existing); err != nil {
			return err
		}
		if err := uidFree(slot, p.Key, idx, false); err != nil {
			return err
		}
		w := o
		res.Created = slot.Existing == nil
		if slot.Existing != nil {
			w.Created = slot.Existing.Created
		}
		_, err = tx.Apply(ctx, []storage.Write{{Object: w}})
		return err
	}
	err := s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return withProperties(ctx, tx, p, func() error { return store(ctx, tx) })
	})
	if err != nil {
		return Result{}, err
	}
	res.Object = &o
	return res, nil
}

// ErrUnseen says that PutSeen has stored nothing: Put does it, or tells why not.
var ErrUnseen = errors.New("scheduling: this takes more than one statement")

// PutSeen is Put for an object that concerns nobody but its owner, when the
// caller has read nothing and goes by what is remembered: the statement that
// stores compares it. ErrUnseen: nothing is stored, take the way by Put; any
// other error is final.
func (s *Service) PutSeen(ctx context.Context, p Put, seen storage.Seen) (Result, error) {
	obj, err := calendar.Parse(p.Data, s.cfg.Limits)
	if err != nil || !utf8.Valid(p.Data) || calendar.Validate(obj, s.cfg.Rules) != nil {
		return Result{}, ErrUnseen
	}
	idx, err := obj.Index()
	if err != nil || idx.Scheduling {
		return Result{}, ErrUnseen
	}
	o := s.plainObject(p, idx)
	fast, ok := plainPut(p, o, idx)
	if !ok {
		return Result{}, ErrUnseen
	}
	fast.Seen = &seen
	done, err := s.db.PutPlain(ctx, fast)
	switch {
	case err == nil:
		return Result{ETag: o.ETag, Created: done.Created, Object: &o}, nil
	case refusedPlain(err):
		return Result{}, ErrUnseen
	}
	return Result{}, err
}

// refusedPlain tells that storage.PutPlain has stored nothing because of what it
// met; the long way tells it in full.
func refusedPlain(err error) bool {
	return errors.Is(err, storage.ErrNotPlain) || errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrExists) || errors.Is(err, storage.ErrNotFound)
}

// plainObject is the resource of an object that nobody else is told of.
func (s *Service) plainObject(p Put, idx calendar.Index) storage.Object {
	now := s.cfg.Now().UnixMicro()
	data := string(p.Data)
	return fill(storage.Object{ObjectKey: p.Key, Data: data, ETag: ETag(data), Created: now, Modified: now}, idx, itip.RoleNone)
}

// plainPut is the request for storage's shortest way, when it can take it: the
// caller knows the collection, and at most one simple condition is asked.
func plainPut(p Put, o storage.Object, idx calendar.Index) (storage.PlainPut, bool) {
	fast := storage.PlainPut{Object: o}
	c := p.Collection
	if c == nil || c.CollectionKey != p.Key.CollectionKey || takes([]storage.Collection{*c}, p.Key.CollectionKey, idx.Component) != nil || p.IfScheduleTag != "" || o.Flags&storage.FlagEmailAlarm != 0 {
		return fast, false
	}
	switch {
	case p.IfMatch != nil && p.IfNoneMatch != nil || len(p.IfMatch) > 1 || len(p.IfNoneMatch) > 1:
		return fast, false
	case len(p.IfMatch) == 1:
		fast.IfMatch = p.IfMatch[0]
	case len(p.IfNoneMatch) == 1:
		if p.IfNoneMatch[0] != "*" {
			return fast, false
		}
		fast.IfNone = true
	case p.IfMatch != nil || p.IfNoneMatch != nil:
		return fast, false
	}
	return fast, true
}

// putScheduled is one attempt of a Put that concerns other people.
func (s *Service) putScheduled(ctx context.Context, tx *storage.Tx, p Put, may mandate, obj *calendar.Object, idx calendar.Index) (Result, error) {
	now := s.cfg.Now()
	d := s.newDelivery(tx, p.Actor.Account, p.RequestID, now)
	d.by = p.Actor
	if err := d.learn(ctx, partiesOf(obj)); err != nil {
		return Result{}, err
	}
	if err := tx.LockUIDs(ctx, []storage.UIDLock{{Owner: d.ownerOf(obj), UID: idx.UID}}); err != nil {
		return Result{}, err
	}
	slot, err := tx.Slot(ctx, p.Key, idx.UID)
	if err != nil {
		return Result{}, err
	}
	if err := conditions(p, slot.Existing); err != nil {
		return Result{}, err
	}
	if err := uidFree(slot, p.Key, idx, true); err != nil {
		return Result{}, err
	}
	c := itip.Change{New: obj, By: addressesOf(p.Actor.Account), SentBy: p.Actor.sentBy(), Now: now, Silent: p.Silent || p.NoScheduling,
		AllowReset: sawLatest(p), Unguarded: p.IfMatch == nil && p.IfScheduleTag == "", Automatic: d.automatic(obj), LocalOrganizer: d.ownerOf(obj) != 0, Force: p.whole, ProdID: s.cfg.ProdID}
	own := storage.Object{ObjectKey: p.Key, Created: now.UnixMicro(), Modified: now.UnixMicro()}
	var ex extra
	if slot.Existing != nil {
		if c.Old, err = calendar.Parse([]byte(slot.Existing.Data), s.cfg.Limits); err != nil {
			c.Old = nil // a corrupt stored copy is replaced, not kept for ever
		} else if err := d.learn(ctx, partiesOf(c.Old)); err != nil {
			return Result{}, err
		}
		own.Created, own.ScheduleTag = slot.Existing.Created, slot.Existing.ScheduleTag
		ex = readExtra(slot.Existing.Extra)
		d.told.since(p.Actor.Account.ID, ex.Told)
		// A program that did not hear the answer sends the same again. Read as a new
		// change it would take the TRANSP of before the answer for its owner's choice.
		if ex.Sent != "" && ex.Sent == sent(p.Data, slot.Existing.ScheduleTag) && !p.whole && len(p.items) == 0 {
			return Result{ETag: slot.Existing.ETag, ScheduleTag: slot.Existing.ScheduleTag, Rewritten: true, Object: slot.Existing}, nil
		}
		c.Marks = ex.Marks
		c.ServerTransp, c.OrganizerTransp, c.Thrown = slot.Existing.Flags&storage.FlagServerTransp != 0, ex.OrganizerTransp, ex.Thrown
	}
	if slot.Existing == nil && !p.NoScheduling {
		if err := d.invited(ctx, obj); err != nil {
			return Result{}, err
		}
		if err := mayInvite(p.Actor.Account, obj); err != nil {
			return Result{}, err
		}
	}
	if c.New, err = d.completePeople(ctx, c.Old, d.oneAddressEach(c.Old, obj)); err != nil {
		return Result{}, err
	}
	if c.New != obj {
		if err := d.learn(ctx, itip.Attendees(c.New)); err != nil {
			return Result{}, err
		}
	}
	if err := d.open(ctx, idx.UID); err != nil {
		return Result{}, err
	}
	plan, back, err := d.plan(ctx, c, p.Key.CollectionKey, slot.Existing == nil)
	if err != nil {
		return Result{}, err
	}
	if p.NoScheduling {
		plan.Messages = nil
	}
	if err := may.check(plan.Messages); err != nil {
		return Result{}, err
	}
	if back != nil {
		c.Old, ex.Replies = back.object, back.extra.Replies
	}
	d.marks, d.created = plan.Marks, slot.Existing == nil
	if err := d.send(ctx, plan.Messages, c.Old, plan.Store, false); err != nil {
		return Result{}, err
	}
	d.inbox = append(d.inbox, p.items...)
	cols, err := d.lock(ctx, &p.Key.CollectionKey)
	if err != nil {
		return Result{}, err
	}
	if err := takes(cols, p.Key.CollectionKey, idx.Component); err != nil {
		return Result{}, err
	}
	statused := itip.ApplyStatus(plan.Store, d.status)
	data := string(p.Data)
	if plan.Rewritten || statused || c.New != obj {
		data = string(plan.Store.Bytes())
	}
	if own.ScheduleTag == "" || plan.NewTag {
		own.ScheduleTag = s.newID()
	}
	if idx, err = plan.Store.Index(); err != nil {
		return Result{}, err
	}
	ex.OrganizerTransp, ex.Thrown, ex.Marks, ex.Sent, ex.Told = plan.OrganizerTransp, plan.Thrown, plan.Marks, "", d.told.latest(p.Actor.Account.ID)
	if plan.Role == itip.RoleAttendee && plan.Rewritten {
		ex.Sent = sent(p.Data, own.ScheduleTag)
	}
	own.Data, own.ETag, own.Extra = data, ETag(data), ex.String()
	own = fill(own, idx, plan.Role)
	if plan.ServerTransp {
		own.Flags |= storage.FlagServerTransp
	}
	if !idx.Scheduling {
		own.ScheduleTag = ""
	}
	d.writes = append(d.writes, storage.Write{Object: own})
	if err := d.flush(ctx); err != nil {
		return Result{}, err
	}
	return Result{ETag: own.ETag, ScheduleTag: own.ScheduleTag, Created: slot.Existing == nil, Rewritten: data != string(p.Data), Object: &own}, nil
}

// sent names a text for a version of an object.
func sent(data []byte, scheduleTag string) string { return ETag(string(data)) + " " + scheduleTag }

// sawLatest reports whether the client has certainly seen the latest answers:
// only then does PARTSTAT=NEEDS-ACTION in its PUT ask an attendee again instead
// of being a stale copy's.
func sawLatest(p Put) bool {
	return p.IfScheduleTag == "" && len(p.IfMatch) > 0 && !slices.Contains(p.IfMatch, "*")
}

// mayInvite refuses a new event by which a room or a resource would invite
// others: it is invited itself, and nobody reads the answers that come back to it.
func mayInvite(a storage.Account, obj *calendar.Object) error {
	by := calendar.NewAddressSet(addressesOf(a)...)
	org, ok := itip.Organizer(obj)
	if !ok || a.Kind != storage.KindRoom && a.Kind != storage.KindResource || !by.Has(org) ||
		!slices.ContainsFunc(itip.Attendees(obj), func(p calendar.Address) bool { return !by.Has(p) }) {
		return nil
	}
	return &Error{Condition: CondOrganizer, Msg: "a room or resource invites nobody; book it from a calendar of your own"}
}

// invited refuses a new attendee's object when its organizer is one of ours and
// his event of that UID does not invite the owner: nobody gets into an event
// by storing a copy (abuse A26). A copy that does not list him may be stored, so
// may an event that the organizer does not have: calendars that move in come in
// any order.
func (d *delivery) invited(ctx context.Context, obj *calendar.Object) error {
	org, ok := itip.Organizer(obj)
	by := calendar.NewAddressSet(addressesOf(d.sender)...)
	if !ok || by.Has(org) || itip.AgentOf(obj.Components()[0].Prop("ORGANIZER")) != itip.AgentServer || !slices.ContainsFunc(itip.Attendees(obj), by.Has) {
		return nil
	}
	r, ok := d.local(org)
	if !ok {
		return nil
	}
	rows, err := d.tx.ObjectsByUID(ctx, []storage.AccountID{r.Account.ID}, obj.UID(), storage.ColumnData)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.Flags&storage.FlagOrganizer == 0 {
			continue
		}
		theirs, err := calendar.Parse([]byte(row.Data), d.s.cfg.Limits)
		if err == nil && !slices.ContainsFunc(itip.Attendees(theirs), by.Has) {
			return &Error{Condition: CondAttendee, Msg: "the organizer of this event has not invited the owner of this calendar"}
		}
	}
	return nil
}

// fill copies index values into the columns of a stored object.
func fill(o storage.Object, idx calendar.Index, role itip.Role) storage.Object {
	o.UID, o.Component, o.Start, o.End = idx.UID, idx.Component, idx.Start, idx.End
	o.Sequence, o.Size = int64(idx.Sequence), int64(len(o.Data))
	set := func(on bool, f storage.Flags) {
		if on {
			o.Flags |= f
		}
	}
	set(idx.Exact, storage.FlagExact)
	set(idx.Recurring, storage.FlagRecurring)
	set(idx.HasAlarm, storage.FlagAlarm)
	set(idx.EmailAlarm, storage.FlagEmailAlarm)
	set(idx.HasFloating, storage.FlagFloating)
	set(idx.Scheduling, storage.FlagScheduling)
	set(idx.Transp == "TRANSPARENT", storage.FlagTransparent)
	set(idx.Class == "PRIVATE", storage.FlagPrivate)
	set(idx.Class == "CONFIDENTIAL", storage.FlagConfidential)
	set(role == itip.RoleOrganizer, storage.FlagOrganizer)
	set(role == itip.RoleAttendee, storage.FlagAttendee)
	set(indexSaysBusy(&o), storage.FlagBusy)
	return o
}

// conditions tests the If-headers of a request against the stored object
// (RFC 9110 §13.1, RFC 6638 §8.3).
func conditions(p Put, have *storage.Object) error {
	fail := func(msg string) error {
		e := &Error{Precond: true, Msg: msg}
		if have != nil {
			e.Href = &have.ObjectKey
		}
		return e
	}
	if p.IfNoneMatch != nil && have != nil && (slices.Contains(p.IfNoneMatch, "*") || slices.Contains(p.IfNoneMatch, have.ETag)) {
		return fail("If-None-Match: the resource exists already")
	}
	if p.IfMatch != nil && (have == nil || !slices.Contains(p.IfMatch, "*") && !slices.Contains(p.IfMatch, have.ETag)) {
		return fail("If-Match: the resource has changed since it was read; read it again")
	}
	if p.IfScheduleTag != "" && (have == nil || have.ScheduleTag != p.IfScheduleTag) {
		return fail("If-Schedule-Tag-Match: the scheduling object has changed since it was read; read it again")
	}
	return nil
}

// uidFree tests the UID rules: unique in a calendar (RFC 4791 §5.3.2.1), and
// for scheduling object resources unique in the home (RFC 6638 §3.2.4.1).
func uidFree(slot storage.Slot, key storage.ObjectKey, idx calendar.Index, scheduling bool) error {
	if slot.Existing != nil && slot.Existing.UID != idx.UID {
		return &Error{Condition: CondUIDConflict, Href: &slot.Existing.ObjectKey, Msg: "the resource holds another UID; a UID never changes"}
	}
	for _, o := range slot.SameUID {
		if o.ObjectKey == key {
			continue
		}
		if o.CollectionKey == key.CollectionKey {
			return &Error{Condition: CondUIDConflict, Href: &o.ObjectKey, Msg: "the UID exists in this calendar already"}
		}
		if scheduling || o.Flags&storage.FlagScheduling != 0 {
			return &Error{Condition: Condition(itip.CondUniqueObject), Href: &o.ObjectKey, Msg: "the UID exists in another calendar of this home already"}
		}
	}
	return nil
}

// componentBit is the bit of a component in supported-calendar-component-set.
func componentBit(name string) storage.Components {
	switch name {
	case "VEVENT":
		return storage.CompEvent
	case "VTODO":
		return storage.CompTodo
	case "VJOURNAL":
		return storage.CompJournal
	case "VFREEBUSY":
		return storage.CompFreeBusy
	case "VAVAILABILITY":
		return storage.CompAvailability
	case "VPOLL":
		return storage.CompPoll
	}
	return 0
}

// takes tests that the collection exists and accepts the component.
func takes(cols []storage.Collection, key storage.CollectionKey, component string) error {
	for _, c := range cols {
		if c.CollectionKey != key {
			continue
		}
		if c.Deleting {
			break
		}
		if c.Kind != storage.CollectionCalendar {
			return &Error{Condition: CondCollection, Msg: "calendar objects are stored in calendars only"}
		}
		if c.Components&componentBit(component) == 0 {
			return &Error{Condition: CondComponent, Msg: "this calendar does not take " + component}
		}
		return nil
	}
	return &Error{Err: storage.ErrNotFound, Msg: "the calendar does not exist"}
}

// partiesOf are the organizer and the attendees of an object.
func partiesOf(o *calendar.Object) []calendar.Address {
	out := itip.Attendees(o)
	if org, ok := itip.Organizer(o); ok {
		out = append(out, org)
	}
	return out
}

func micros(t time.Time) int64 { return t.UnixMicro() }
