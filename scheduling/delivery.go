package scheduling

import (
	"context"
	"encoding/json"
	"slices"
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
	by        Actor // who acts for the sender; the zero Actor when nobody does
	requestID string
	now       time.Time
	told      told       // DTSTAMP of what is queued
	outside   bool       // the messages come from another system
	created   bool       // the sender stores what was not there
	marks     itip.Marks // of the sender's object, for whom a message is planned anew

	room    map[storage.AccountID]int64 // octets that an account may still take; nil: no limit
	counted map[storage.AccountID]bool  // room is by adding up, not by the running count

	dir    map[string]storage.Recipient // by directory key
	asked  map[string]bool
	status map[string]string // by address key: what SCHEDULE-STATUS shall say
	result map[string]string // by address key: the full iTIP request status

	copies    map[storage.AccountID]*copyOf
	views     map[string]*view // by text
	tags      map[*view]int
	prepared  map[*calendar.Object]*prepared
	inbox     []storage.Write
	writes    []storage.Write
	forget    []storage.Forgotten
	refresh   []storage.Refresh
	messages  []storage.Message
	queued    []storage.Delivery
	opens     []storage.Claimed
	replaced  []storage.Delivery
	snapshots []storage.Snapshot
}

func (s *Service) newDelivery(tx *storage.Tx, sender storage.Account, requestID string, now time.Time) *delivery {
	return &delivery{s: s, tx: tx, sender: sender, requestID: requestID, now: now,
		told: told{}, dir: map[string]storage.Recipient{}, asked: map[string]bool{}, status: map[string]string{}, result: map[string]string{},
		copies: map[storage.AccountID]*copyOf{}, views: map[string]*view{}, tags: map[*view]int{}, prepared: map[*calendar.Object]*prepared{}}
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
// they are very many or an earlier message still waits for them; the others
// are queued. before and after are the sender's
// object around the change (nil: none); hold delays what leaves the house.
func (d *delivery) send(ctx context.Context, msgs []itip.Message, before, after *calendar.Object, hold bool) error {
	if len(msgs) == 0 && len(d.opens) == 0 {
		return nil
	}
	waits := map[string]bool{} // local recipients whom an earlier message has not reached yet
	for _, o := range d.opens {
		if o.Delivery.Transport == transportLocal {
			waits[o.RecipientKey] = true
		}
	}
	var inside, behind, outside []itip.Message
	n := 0
	for _, m := range msgs {
		in, late, out := m, m, m
		in.Recipients, late.Recipients, out.Recipients = nil, nil, nil
		for _, a := range m.Recipients {
			if r, ok := d.local(a); ok {
				switch st := unreachable(r); {
				case r.Account.Kind == storage.KindGroup && !r.Account.Disabled: // its members were told
					d.status[a.Key()], d.result[a.Key()] = "1.2", "2.0;Success"
				case st != "":
					d.fail(a, st)
				case waits[a.Key()]:
					late.Recipients = append(late.Recipients, a)
				default:
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
			n += len(in.Recipients)
		}
		if len(late.Recipients) > 0 {
			behind = append(behind, late)
		}
		if len(out.Recipients) > 0 {
			outside = append(outside, out)
		}
	}
	if n > d.s.cfg.LocalThreshold {
		behind, inside = append(behind, inside...), nil
	}
	for _, m := range behind {
		d.enqueue(d.sender.ID, m, m.Recipients, transportLocal, "", d.now)
	}
	if err := d.sendLocal(ctx, inside); err != nil {
		return err
	}
	return d.queue(ctx, outside, before, after, hold)
}

// transportLocal marks deliveries that the worker applies in this database.
const transportLocal = "local"

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
	if !reachable(a) {
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

// maxEmail is the longest mailbox there can be (RFC 5321 §4.5.3.1): a local part,
// "@" and a domain.
const maxEmail = 64 + 1 + 255

// reachable tells whether something may be sent to an address at all.
func reachable(a calendar.Address) bool {
	return a.IsMailto() && a.Domain() != "" && len(a.Email()) <= maxEmail
}

func (d *delivery) fail(a calendar.Address, status string) {
	d.status[a.Key()], d.result[a.Key()] = storedStatus(status), status
}

// answer queues a message of a recipient that a received one demands, whoever
// gets it.
func (d *delivery) answer(ctx context.Context, from storage.Account, m itip.Message) error {
	if err := d.learn(ctx, m.Recipients); err != nil {
		return err
	}
	for _, a := range m.Recipients {
		transport := ""
		if _, ok := d.local(a); ok {
			transport = transportLocal
		} else if st, err := d.s.route(ctx, a); err != nil {
			return err
		} else if st != "" {
			continue
		}
		d.enqueue(from.ID, m, []calendar.Address{a}, transport, "", d.now)
	}
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
	if err := d.tx.QueueRefreshes(ctx, d.refresh); err != nil {
		return err
	}
	if len(d.replaced) > 0 {
		if err := d.tx.UpdateDeliveries(ctx, d.replaced); err != nil {
			return err
		}
	}
	for _, x := range d.snapshots {
		if err := d.tx.SaveSnapshot(ctx, x); err != nil {
			return err
		}
	}
	if len(d.messages) > 0 {
		if err := d.pace(ctx); err != nil {
			return err
		}
		return d.tx.Enqueue(ctx, d.messages, d.queued)
	}
	return nil
}

// enqueue freezes a message of an account and queues it for recipients.
func (d *delivery) enqueue(from storage.AccountID, m itip.Message, to []calendar.Address, transport, snapshot string, notBefore time.Time) {
	state := storage.DeliveryQueued
	if notBefore.After(d.now) {
		state = storage.DeliveryHeld
	}
	changes := ""
	if len(m.Changes) > 0 {
		b, _ := json.Marshal(m.Changes)
		changes = string(b)
	}
	msg := storage.Message{Account: from, ID: d.tx.NewID(), UID: m.UID, Method: m.Method, Component: m.Component, Originator: string(m.Originator),
		Kind: string(m.Kind), Changes: changes, Snapshot: snapshot, RequestID: d.requestID, Created: micros(d.now)}
	if by := d.by.By; from == d.sender.ID && by.ID != from {
		msg.By = by.ID
		itip.SpeakFor(m.Object, m.Method, m.Originator, d.by.sentBy())
	}
	body := m.Object
	if at := d.told.stamp(from, d.now); !at.Equal(second(d.now)) {
		body = itip.Stamped(body, at)
	}
	msg.Body = string(body.Bytes())
	d.messages = append(d.messages, msg)
	for _, a := range to {
		domain := a.Domain()
		if transport == transportLocal {
			domain = ""
		}
		d.queued = append(d.queued, storage.Delivery{Account: from, ID: d.tx.NewID(), MessageID: msg.ID, UID: m.UID,
			Recipient: string(a), RecipientKey: a.Key(), Domain: domain, State: state, NotBefore: micros(notBefore),
			Expires: micros(d.now.Add(d.s.cfg.RetryExpiry)), Transport: transport, Status: "1.0", Created: micros(d.now), Updated: micros(d.now)})
		d.status[a.Key()], d.result[a.Key()] = "1.0", "1.0;Pending"
	}
}
