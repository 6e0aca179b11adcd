package scheduling

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// delivery collects what one transaction does for other people: copies and
// inbox items of local recipients, queued messages for everybody else, and a
// status per recipient. The number of statements it causes does not depend on
// the number of recipients.
type delivery struct {
	s         *Service
	tx        *storage.Tx
	sender    storage.Account
	requestID string
	now       time.Time
	outside   bool // the messages come from another system

	dir    map[string]storage.Recipient // by directory key
	asked  map[string]bool
	status map[string]string // by address key: what SCHEDULE-STATUS shall say
	result map[string]string // by address key: the full iTIP request status

	copies    map[storage.AccountID]*copyOf
	inbox     []storage.Write
	writes    []storage.Write
	forget    []storage.Forgotten
	refresh   []storage.Refresh
	messages  []storage.Message
	queued    []storage.Delivery
	opens     []storage.Claimed
	replaced  []storage.Delivery
	snapshots map[string]string // digest -> data
	prepared  map[string]prepared
}

// copyOf is a local recipient's working copy while messages are applied.
type copyOf struct {
	row     storage.Object // as stored; Name "" when there is none yet
	object  *calendar.Object
	extra   extra
	touched bool
	removed bool
	corrupt bool

	forgotten *itip.Stamp // of the copy that its owner deleted
}

type prepared struct {
	etag string
	idx  calendar.Index
}

func (s *Service) newDelivery(tx *storage.Tx, sender storage.Account, requestID string, now time.Time) *delivery {
	return &delivery{s: s, tx: tx, sender: sender, requestID: requestID, now: now,
		dir: map[string]storage.Recipient{}, asked: map[string]bool{}, status: map[string]string{}, result: map[string]string{},
		copies: map[storage.AccountID]*copyOf{}, snapshots: map[string]string{}, prepared: map[string]prepared{}}
}

// learn looks up addresses in the directory, in one statement for those not
// asked before.
func (d *delivery) learn(ctx context.Context, as []calendar.Address) error {
	var keys []string
	for _, a := range as {
		if k := directoryKey(a); k != "" && !d.asked[k] {
			d.asked[k] = true
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := d.tx.Recipients(ctx, keys)
	if err != nil {
		return err
	}
	for k, r := range found {
		d.dir[k] = r
	}
	return nil
}

// local finds the account behind an address.
func (d *delivery) local(a calendar.Address) (storage.Recipient, bool) {
	r, ok := d.dir[directoryKey(a)]
	return r, ok
}

// ownerOf is the account whose UID row is locked: the organizer's, or 0 when
// he is not one of ours.
func (d *delivery) ownerOf(o *calendar.Object) storage.AccountID {
	if org, ok := itip.Organizer(o); ok {
		if r, ok := d.local(org); ok {
			return r.Account.ID
		}
	}
	return 0
}

// open reads what is still on its way for this UID of the sender.
func (d *delivery) open(ctx context.Context, uid string) (err error) {
	d.opens, err = d.tx.OpenDeliveries(ctx, d.sender.ID, uid)
	return err
}

// send routes messages: local recipients are served now, or by the worker when
// they are very many; the others are queued. before and after are the sender's
// object around the change (nil: none); hold delays what leaves the house.
func (d *delivery) send(ctx context.Context, msgs []itip.Message, before, after *calendar.Object, hold bool) error {
	if len(msgs) == 0 && len(d.opens) == 0 {
		return nil
	}
	var inside, outside []itip.Message
	for _, m := range msgs {
		in, out := m, m
		in.Recipients, out.Recipients = nil, nil
		for _, a := range m.Recipients {
			if r, ok := d.local(a); ok {
				if st := unreachable(r); st != "" {
					d.fail(a, st)
				} else {
					in.Recipients = append(in.Recipients, a)
				}
				continue
			}
			st, err := d.s.route(ctx, a)
			if err != nil {
				return err
			}
			if st != "" {
				d.fail(a, st)
				continue
			}
			out.Recipients = append(out.Recipients, a)
		}
		if len(in.Recipients) > 0 {
			inside = append(inside, in)
		}
		if len(out.Recipients) > 0 {
			outside = append(outside, out)
		}
	}
	if err := d.sendLocal(ctx, inside); err != nil {
		return err
	}
	return d.queue(ctx, outside, after, hold)
}

// unreachable is the status of a local recipient who takes part in no
// scheduling, "" when he does.
func unreachable(r storage.Recipient) string {
	switch {
	case r.Account.Disabled:
		return "5.3;No scheduling support for user"
	case r.Account.Kind == storage.KindGroup:
		return "5.3;Groups are not invited as such"
	}
	return ""
}

// route decides about an address that is no local account: "" when a message
// may leave for it, else its final status (ischedule.md §2.1).
func (s *Service) route(ctx context.Context, a calendar.Address) (string, error) {
	if !a.IsMailto() || a.Domain() == "" {
		return "3.7;Invalid calendar user", nil
	}
	own, err := s.localDomain(ctx, a.Domain())
	if err != nil {
		return "", err
	}
	if own {
		return "3.7;Invalid calendar user", nil
	}
	if s.transport == nil {
		return "5.2;No way to deliver", nil
	}
	return "", nil
}

func (d *delivery) fail(a calendar.Address, status string) {
	d.status[a.Key()], d.result[a.Key()] = storedStatus(status), status
}

// sendLocal applies messages to local recipients' copies.
func (d *delivery) sendLocal(ctx context.Context, msgs []itip.Message) error {
	n := 0
	for _, m := range msgs {
		n += len(m.Recipients)
	}
	if n == 0 {
		return nil
	}
	if n > d.s.cfg.LocalThreshold {
		for _, m := range msgs {
			d.enqueue(m, m.Recipients, "local", "", d.now)
		}
		return nil
	}
	if err := d.load(ctx, msgs); err != nil {
		return err
	}
	for _, m := range msgs {
		seen := map[storage.AccountID]calendar.Address{}
		for _, a := range m.Recipients {
			r, _ := d.local(a)
			if first, ok := seen[r.Account.ID]; ok { // two addresses of one person (want 11)
				d.status[a.Key()], d.result[a.Key()] = d.status[first.Key()], d.result[first.Key()]
				continue
			}
			seen[r.Account.ID] = a
			if err := d.apply(ctx, m.Object, m.Method, m.Kind, m.Originator, r, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads the present copies of all local recipients in one statement.
func (d *delivery) load(ctx context.Context, msgs []itip.Message) error {
	byUID := map[string][]storage.AccountID{}
	for _, m := range msgs {
		for _, a := range m.Recipients {
			if r, ok := d.local(a); ok && d.copies[r.Account.ID] == nil {
				byUID[m.UID] = append(byUID[m.UID], r.Account.ID)
			}
		}
	}
	for uid, accounts := range byUID { // one UID per change
		slices.Sort(accounts)
		accounts = slices.Compact(accounts)
		rows, err := d.tx.ObjectsByUID(ctx, accounts, uid, storage.ColumnData|storage.ColumnExtra)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if c := d.copies[row.Account]; c != nil && c.row.Flags&storage.FlagScheduling != 0 {
				continue // the scheduling object, not a loose copy, is the one
			}
			d.copies[row.Account] = &copyOf{row: row, extra: readExtra(row.Extra)}
		}
		var missing []storage.AccountID
		for _, id := range accounts {
			if d.copies[id] == nil {
				d.copies[id] = &copyOf{}
				missing = append(missing, id)
			}
		}
		if len(missing) == 0 {
			continue
		}
		forgotten, err := d.tx.Forgotten(ctx, missing, uid)
		if err != nil {
			return err
		}
		for _, f := range forgotten {
			d.copies[f.Account].forgotten = &itip.Stamp{Sequence: int(f.Sequence), DTStamp: time.UnixMicro(f.DTStamp).UTC()}
		}
	}
	return nil
}

// apply hands one message to one local recipient.
func (d *delivery) apply(ctx context.Context, msg *calendar.Object, method string, kind itip.Kind, from calendar.Address, r storage.Recipient, a calendar.Address) error {
	c := d.copies[r.Account.ID]
	if c.object == nil && c.row.Data != "" && !c.removed && !c.corrupt {
		o, err := calendar.Parse([]byte(c.row.Data), d.s.cfg.Limits)
		if err != nil {
			c.corrupt = true
		} else {
			c.object = o
		}
	}
	if c.corrupt {
		d.fail(a, "5.1;The stored copy cannot be read")
		return nil
	}
	p := d.s.policy(r.Account, d.now)
	p.Sender, p.Outside = from, d.outside
	p.ServerTransp = c.row.Flags&storage.FlagServerTransp != 0
	p.OrganizerTransp, p.LastReply = c.extra.OrganizerTransp, c.extra.Replies
	if c.object == nil {
		p.Forgotten = c.forgotten
	}
	out, err := itip.Process(msg, c.object, p)
	if err != nil {
		return err
	}
	if out.Store != nil && c.row.Name == "" {
		cal := r.Calendar.CollectionKey
		comp := out.Store.Kind()
		if comp == "VTODO" {
			cal = r.Tasks.CollectionKey
		}
		if cal.ID == 0 { // RFC 6638 §4.2: no calendar takes this component
			d.fail(a, "5.3;No calendar for "+comp)
			return nil
		}
		c.row.ObjectKey = storage.ObjectKey{CollectionKey: cal, Name: d.s.newID() + ".ics"}
		c.row.Created = micros(d.now)
	}
	d.result[a.Key()] = out.Status
	d.status[a.Key()] = delivered(out.Status)
	switch {
	case out.Remove:
		c.object, c.removed, c.touched = nil, true, true
	case out.Store != nil:
		c.object, c.removed, c.touched = out.Store, false, true
		c.row.Flags &^= storage.FlagServerTransp
		if out.ServerTransp {
			c.row.Flags |= storage.FlagServerTransp
		}
		c.extra.OrganizerTransp = out.OrganizerTransp
		if c.row.ScheduleTag == "" || out.NewTag {
			c.row.ScheduleTag = d.s.newID()
		}
	}
	for k, st := range out.ReplyStamps {
		if c.extra.Replies == nil {
			c.extra.Replies = map[string]itip.Stamp{}
		}
		c.extra.Replies[k] = st
	}
	if out.Inbox != nil && r.Inbox.ID != 0 {
		key := storage.ObjectKey{CollectionKey: r.Inbox, Name: d.s.newID() + ".ics"}
		w, err := d.row(storage.Object{ObjectKey: key, Created: micros(d.now)}, out.Inbox, itip.RoleNone)
		if err != nil {
			return err
		}
		d.inbox = append(d.inbox, w)
	}
	if out.Refresh {
		d.refresh = append(d.refresh, storage.Refresh{Account: r.Account.ID, UID: msg.UID(), NotBefore: micros(d.now.Add(d.s.cfg.RefreshDelay))})
	}
	if out.Store != nil && out.Changed && kind != itip.KindRefreshed && automatic(r.Account) && (method == "REQUEST" || method == "ADD") {
		d.refresh = append(d.refresh, storage.Refresh{Account: r.Account.ID, UID: msg.UID(), NotBefore: micros(d.now)})
	}
	for _, m := range out.Messages { // an answer that the message itself demands
		if err := d.answer(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// answer queues a message that a received one demands, whoever gets it.
func (d *delivery) answer(ctx context.Context, m itip.Message) error {
	if err := d.learn(ctx, m.Recipients); err != nil {
		return err
	}
	for _, a := range m.Recipients {
		transport := ""
		if _, ok := d.local(a); ok {
			transport = "local"
		} else if st, err := d.s.route(ctx, a); err != nil || st != "" {
			return err
		}
		d.enqueue(m, []calendar.Address{a}, transport, "", d.now)
	}
	return nil
}

// delivered turns a recipient's request status into what SCHEDULE-STATUS says:
// 1.2 when a message reached him (RFC 6638 §3.2.9), else the code itself.
func delivered(status string) string {
	code := storedStatus(status)
	if strings.HasPrefix(code, "2.0") || strings.HasPrefix(code, "1.2") {
		return "1.2"
	}
	return code
}

// row makes a write of an object; equal octets are indexed once.
func (d *delivery) row(o storage.Object, obj *calendar.Object, role itip.Role) (storage.Write, error) {
	data := string(obj.Bytes())
	p, ok := d.prepared[data]
	if !ok {
		idx, err := obj.Index()
		if err != nil {
			return storage.Write{}, err
		}
		p = prepared{etag: ETag(data), idx: idx}
		d.prepared[data] = p
	}
	keep := o.Flags & storage.FlagServerTransp
	o.Flags = keep
	o.Data, o.ETag, o.Modified = data, p.etag, micros(d.now)
	return storage.Write{Object: fill(o, p.idx, role)}, nil
}

// finish turns the working copies into writes.
func (d *delivery) finish() error {
	for _, id := range slices.Sorted(maps.Keys(d.copies)) {
		c := d.copies[id]
		if !c.touched || c.row.Name == "" {
			continue
		}
		if c.removed {
			d.writes = append(d.writes, storage.Write{Object: c.row, Delete: true})
			continue
		}
		role := itip.RoleAttendee
		if c.extra.Replies != nil || c.row.Flags&storage.FlagOrganizer != 0 {
			role = itip.RoleOrganizer
		}
		row := c.row
		row.Extra = c.extra.String()
		w, err := d.row(row, c.object, role)
		if err != nil {
			return err
		}
		d.writes = append(d.writes, w)
	}
	d.copies = map[storage.AccountID]*copyOf{}
	d.writes = append(d.writes, d.inbox...)
	d.inbox = nil
	return nil
}

// lock takes the row locks of every collection that will be written, in order,
// and drops writes into collections that went away meanwhile.
func (d *delivery) lock(ctx context.Context, own *storage.CollectionKey) ([]storage.Collection, error) {
	if err := d.finish(); err != nil {
		return nil, err
	}
	keys := make([]storage.CollectionKey, 0, len(d.writes)+1)
	if own != nil {
		keys = append(keys, *own)
	}
	for _, w := range d.writes {
		keys = append(keys, w.Object.CollectionKey)
	}
	cols, err := d.tx.LockExisting(ctx, keys)
	if err != nil {
		return nil, err
	}
	alive := map[storage.CollectionKey]bool{}
	for _, c := range cols {
		alive[c.CollectionKey] = !c.Deleting
	}
	d.writes = slices.DeleteFunc(d.writes, func(w storage.Write) bool { return !alive[w.Object.CollectionKey] })
	return cols, nil
}

// flush writes everything; the caller's transaction commits it.
func (d *delivery) flush(ctx context.Context) error {
	if len(d.writes) > 0 {
		if _, err := d.tx.Apply(ctx, d.writes); err != nil {
			return err
		}
	}
	if len(d.forget) > 0 {
		if err := d.tx.Forget(ctx, d.forget); err != nil {
			return err
		}
	}
	for _, r := range d.refresh {
		if err := d.tx.QueueRefresh(ctx, r.Account, r.UID, time.UnixMicro(r.NotBefore)); err != nil {
			return err
		}
	}
	if len(d.replaced) > 0 {
		if err := d.tx.UpdateDeliveries(ctx, d.replaced); err != nil {
			return err
		}
	}
	if len(d.snapshots) > 0 && len(d.messages) > 0 {
		for digest, data := range d.snapshots {
			if err := d.tx.SaveSnapshot(ctx, storage.Snapshot{Account: d.sender.ID, UID: d.messages[0].UID, Digest: digest, Data: data}); err != nil {
				return err
			}
		}
	}
	if len(d.messages) > 0 {
		return d.tx.Enqueue(ctx, d.messages, d.queued)
	}
	return nil
}

// enqueue freezes a message and queues it for recipients.
func (d *delivery) enqueue(m itip.Message, to []calendar.Address, transport, snapshot string, notBefore time.Time) {
	state := storage.DeliveryQueued
	if notBefore.After(d.now) {
		state = storage.DeliveryHeld
	}
	changes := ""
	if len(m.Changes) > 0 {
		b, _ := json.Marshal(m.Changes)
		changes = string(b)
	}
	msg := storage.Message{Account: d.sender.ID, ID: d.tx.NewID(), UID: m.UID, Method: m.Method, Component: m.Component, Originator: string(m.Originator),
		Kind: string(m.Kind), Changes: changes, Body: string(m.Object.Bytes()), Snapshot: snapshot, RequestID: d.requestID, Created: micros(d.now)}
	d.messages = append(d.messages, msg)
	for _, a := range to {
		domain := a.Domain()
		if transport == "local" {
			domain = ""
		}
		d.queued = append(d.queued, storage.Delivery{Account: d.sender.ID, ID: d.tx.NewID(), MessageID: msg.ID, UID: m.UID,
			Recipient: string(a), RecipientKey: a.Key(), Domain: domain, State: state, NotBefore: micros(notBefore),
			Expires: micros(d.now.Add(d.s.cfg.RetryExpiry)), Transport: transport, Status: "1.0", Created: micros(d.now), Updated: micros(d.now)})
		d.status[a.Key()], d.result[a.Key()] = "1.0", "1.0;Pending"
	}
}
