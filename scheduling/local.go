package scheduling

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// copyOf is a local recipient's working copy while messages are applied.
type copyOf struct {
	row     storage.Object // as stored; Name "" when there is none yet
	view    *view          // of the copy; nil: none
	extra   extra
	touched bool
	removed bool

	forgotten *itip.Stamp // of the copy that its owner deleted
	left      string      // that copy, when he declined by that
}

// view is a parsed object and what it says of each attendee: people with equal
// copies share one.
type view struct {
	object *calendar.Object // nil: the text cannot be read
	lines  map[string]string
}

// linesOf tells by address key what an object says of each attendee: PARTSTAT
// in every component, and what else an itip.Outcome can depend on.
func linesOf(o *calendar.Object) map[string]string {
	lines := map[string]string{}
	for i, c := range o.Components() {
		for _, p := range c.Props {
			if p.Name() != "ATTENDEE" {
				continue
			}
			k := calendar.Address(p.Value()).Key()
			s := lines[k] + strconv.Itoa(i) + p.Param("PARTSTAT") + ";"
			for _, q := range p.Params() {
				switch {
				case strings.HasPrefix(q.Name, "X-"), strings.HasPrefix(q.Name, "DELEGATED"), strings.HasPrefix(q.Name, "SCHEDULE-"):
					s += k + q.Name + ";" // his alone
				}
			}
			lines[k] = s
		}
	}
	return lines
}

// processed is an outcome that several people share.
type processed struct {
	out  itip.Outcome
	view *view // of out.Store
	err  error
}

// sendLocal applies messages to local recipients' copies.
func (d *delivery) sendLocal(ctx context.Context, msgs []itip.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if err := d.load(ctx, msgs); err != nil {
		return err
	}
	for _, m := range msgs {
		seen := map[storage.AccountID]calendar.Address{}
		lines := linesOf(m.Object)
		memo := map[string]*processed{}
		for _, a := range m.Recipients {
			r, _ := d.local(a)
			if first, ok := seen[r.Account.ID]; ok { // two addresses of one person (want 11)
				d.status[a.Key()], d.result[a.Key()] = d.status[first.Key()], d.result[first.Key()]
				continue
			}
			seen[r.Account.ID] = a
			if err := d.apply(ctx, m, r, a, lines, memo); err != nil {
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
		if err := d.measure(ctx, msgs, accounts); err != nil {
			return err
		}
		rows, err := d.tx.ObjectsByUID(ctx, accounts, uid, storage.ColumnData|storage.ColumnExtra)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if c := d.copies[row.Account]; c != nil && c.row.Flags&storage.FlagScheduling != 0 {
				continue // the scheduling object, not a loose copy, is the one
			}
			d.copies[row.Account] = &copyOf{row: row, extra: readExtra(row.Extra), view: d.viewOf(row.Data)}
		}
		var missing []storage.AccountID
		for _, id := range accounts {
			c := d.copies[id]
			if c == nil {
				c = &copyOf{}
				d.copies[id] = c
			}
			if c.view == nil || c.view.object != nil && c.view.object.Master() == nil {
				missing = append(missing, id) // what he deleted may be more than what has come since
			}
		}
		if len(missing) == 0 || !d.outside {
			continue
		}
		forgotten, err := d.tx.Forgotten(ctx, missing, uid)
		if err != nil {
			return err
		}
		for _, f := range forgotten {
			c := d.copies[f.Account]
			c.forgotten, c.left = &itip.Stamp{Sequence: int(f.Sequence), DTStamp: time.UnixMicro(f.DTStamp).UTC()}, f.Data
		}
	}
	return nil
}

// viewOf parses stored text, equal texts once.
func (d *delivery) viewOf(data string) *view {
	v := d.views[data]
	if v == nil {
		v = &view{}
		if o, err := calendar.Parse([]byte(data), d.s.cfg.Limits); err == nil {
			v.object, v.lines = o, linesOf(o)
		}
		d.views[data] = v
	}
	return v
}

// process hands a message to itip for one recipient. People of whom the
// message and their equal copies say the same share the outcome.
func (d *delivery) process(m itip.Message, c *copyOf, r storage.Recipient, lines map[string]string, memo map[string]*processed) *processed {
	p := d.s.policy(r.Account, d.now)
	p.Sender, p.Outside = m.Originator, d.outside
	p.ServerTransp = c.row.Flags&storage.FlagServerTransp != 0
	p.Marks = c.extra.Marks
	p.OrganizerTransp, p.LastReply, p.Thrown = c.extra.OrganizerTransp, c.extra.Replies, c.extra.Thrown
	var current *calendar.Object
	if c.view != nil {
		current = c.view.object
	}
	if d.outside { // messages between local people are never late
		p.Forgotten = c.forgotten
		if c.left != "" && current == nil {
			p.Left = d.viewOf(c.left).object
		}
	}
	key := ""
	if (m.Method == "REQUEST" || m.Method == "CANCEL" || m.Method == "ADD") && p.Forgotten == nil && len(p.LastReply) == 0 && len(p.Thrown) == 0 {
		var b strings.Builder
		known := false
		for _, a := range p.Self {
			k := a.Key()
			b.WriteString(lines[k])
			known = known || lines[k] != ""
			b.WriteByte('|')
			if c.view != nil {
				b.WriteString(c.view.lines[k])
			}
			b.WriteByte('|')
		}
		if c.view != nil {
			b.WriteString(d.tagOf(c.view))
		}
		if p.ServerTransp {
			b.WriteByte('S')
		}
		if p.DropCancelled {
			b.WriteByte('D')
		}
		b.WriteString(p.OrganizerTransp)
		if known {
			key = b.String()
		}
		if done := memo[key]; done != nil {
			return done
		}
	}
	done := &processed{}
	done.out, done.err = itip.Process(m.Object, current, p)
	if done.err == nil && done.out.Store != nil {
		done.view = &view{object: done.out.Store, lines: linesOf(done.out.Store)}
	}
	if key != "" && len(done.out.Messages) == 0 { // a message speaks for one person
		memo[key] = done
	}
	return done
}

// tagOf names a view within this delivery.
func (d *delivery) tagOf(v *view) string {
	n, ok := d.tags[v]
	if !ok {
		n = len(d.tags) + 1
		d.tags[v] = n
	}
	return strconv.Itoa(n) + "="
}

// apply hands one message to one local recipient. What stands in his way is
// his outcome and nobody else's.
func (d *delivery) apply(ctx context.Context, m itip.Message, r storage.Recipient, a calendar.Address, lines map[string]string, memo map[string]*processed) error {
	c := d.copies[r.Account.ID]
	if c.view != nil && c.view.object == nil {
		d.fail(a, "5.1;The stored copy cannot be read")
		return nil
	}
	if m.Kind == itip.KindRefreshed && c.view == nil { // what he deleted stays deleted (want 14)
		d.status[a.Key()], d.result[a.Key()] = "1.2", "2.0;Success"
		return nil
	}
	done := d.process(m, c, r, lines, memo)
	if done.err != nil {
		d.s.cfg.Log.Error("a message could not be applied", "uid", m.UID, "method", m.Method, "account", r.Account.Handle, "error", done.err, "request", d.requestID)
		d.fail(a, "5.1;The message could not be applied")
		return nil
	}
	out := done.out
	if out.Store != nil && c.row.Name == "" {
		cal := r.Calendar
		if comp := out.Store.Kind(); comp == "VTODO" {
			cal = r.Tasks
		}
		// RFC 6638 §4.2, want 15: only a calendar that takes the component.
		if cal.ID == 0 || cal.Components&componentBit(out.Store.Kind()) == 0 {
			d.fail(a, "5.3;No calendar for "+out.Store.Kind())
			return nil
		}
		c.row.ObjectKey = storage.ObjectKey{CollectionKey: cal.CollectionKey, Name: d.s.newID() + ".ics"}
		c.row.Created = micros(d.now)
	}
	if out.Store != nil {
		p, err := d.prepare(out.Store)
		if err != nil {
			d.s.cfg.Log.Error("a copy cannot be indexed", "uid", m.UID, "account", r.Account.Handle, "error", err, "request", d.requestID)
			d.fail(a, "5.1;The message could not be applied")
			return nil
		}
		if d.outside {
			if st := d.outgrown(out.Store, c.view); st != "" {
				d.fail(a, st)
				return nil
			}
		}
		more := len(p.data) - len(c.row.Data)
		if c.row.Data == "" && filling(m) {
			if full, err := d.full(ctx, r.Account.ID, more); err != nil || full {
				d.fail(a, noRoom)
				return err
			}
		}
		d.fill(r.Account.ID, more)
	}
	d.result[a.Key()], d.status[a.Key()] = out.Status, delivered(out.Status)
	switch {
	case out.Remove:
		c.view, c.removed, c.touched = nil, true, true
	case out.Store != nil:
		c.view, c.removed, c.touched = done.view, false, true
		c.row.Flags &^= storage.FlagServerTransp
		if out.ServerTransp {
			c.row.Flags |= storage.FlagServerTransp
		}
		c.extra.OrganizerTransp, c.extra.Thrown = out.OrganizerTransp, out.Thrown
		if c.row.ScheduleTag == "" || out.NewTag {
			c.row.ScheduleTag = d.s.newID()
		}
	}
	for k, st := range out.ReplyStamps {
		if c.extra.Replies == nil {
			c.extra.Replies = map[string]itip.Stamp{}
		}
		// Also of an answer that says what is there already: an older one may come yet.
		c.touched = c.touched || c.extra.Replies[k] != st
		c.extra.Replies[k] = st
	}
	if m.Forced && out.Inbox == nil && c.view != nil && delivered(out.Status) == "1.2" { // RFC 6638 §7.2: it shows there alone
		out.Inbox = m.Object
	}
	// A refresh tells of other people's answers; what else it brings along was
	// told before (a SEQUENCE that rose with the change of one instance).
	if out.Inbox != nil && r.Inbox.ID != 0 && !automatic(r.Account) && m.Kind != itip.KindRefreshed {
		key := storage.ObjectKey{CollectionKey: r.Inbox, Name: d.s.newID() + ".ics"}
		w, err := d.row(storage.Object{ObjectKey: key, Created: micros(d.now)}, out.Inbox, itip.RoleNone)
		if err != nil {
			return err
		}
		full := false
		if filling(m) {
			if full, err = d.full(ctx, r.Account.ID, len(w.Object.Data)); err != nil {
				return err
			}
		}
		switch {
		case !full:
			d.inbox = append(d.inbox, w)
			d.fill(r.Account.ID, len(w.Object.Data))
		case out.Store == nil: // it would be nowhere
			d.fail(a, noRoom)
		}
	}
	if out.Refresh {
		d.refresh = append(d.refresh, storage.Refresh{Account: r.Account.ID, UID: m.UID, NotBefore: micros(d.now.Add(d.s.cfg.RefreshDelay))})
	}
	if out.Store != nil && out.Changed && m.Kind != itip.KindRefreshed && automatic(r.Account) && (m.Method == "REQUEST" || m.Method == "ADD") {
		d.refresh = append(d.refresh, storage.Refresh{Account: r.Account.ID, UID: m.UID, NotBefore: micros(d.now)})
	}
	for _, n := range out.Messages { // an answer that the message itself demands
		d.told.since(r.Account.ID, c.extra.Told)
		if err := d.answer(ctx, r.Account, n); err != nil {
			return err
		}
		c.extra.Told = d.told.latest(r.Account.ID)
	}
	return nil
}

const noRoom = "5.1;No room left"

// delivered turns a recipient's request status into what SCHEDULE-STATUS says:
// 1.2 when a message reached him (RFC 6638 §3.2.9), else the code itself.
func delivered(status string) string {
	code := storedStatus(status)
	if strings.HasPrefix(code, "2.0") || strings.HasPrefix(code, "1.2") {
		return "1.2"
	}
	return code
}

// prepared is what a stored object needs besides its octets.
type prepared struct {
	data string
	etag string
	idx  calendar.Index
}

// prepare encodes and indexes an object, the same object once.
func (d *delivery) prepare(o *calendar.Object) (*prepared, error) {
	if p := d.prepared[o]; p != nil {
		return p, nil
	}
	idx, err := o.Index()
	if err != nil {
		return nil, err
	}
	data := string(o.Bytes())
	p := &prepared{data: data, etag: ETag(data), idx: idx}
	d.prepared[o] = p
	return p, nil
}

// row makes a write of an object.
func (d *delivery) row(o storage.Object, obj *calendar.Object, role itip.Role) (storage.Write, error) {
	p, err := d.prepare(obj)
	if err != nil {
		return storage.Write{}, err
	}
	o.Flags &= storage.FlagServerTransp
	o.Data, o.ETag, o.Modified = p.data, p.etag, micros(d.now)
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
			if c.row.Data != "" { // it is in the database
				d.writes = append(d.writes, storage.Write{Object: c.row, Delete: true})
			}
			continue
		}
		role := itip.RoleAttendee
		if c.extra.Replies != nil || c.row.Flags&storage.FlagOrganizer != 0 {
			role = itip.RoleOrganizer
		}
		row := c.row
		row.Extra = c.extra.String()
		w, err := d.row(row, c.view.object, role)
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
