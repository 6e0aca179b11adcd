package scheduling

import (
	"context"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// queue enqueues messages for people of other systems. Where an earlier
// message to a recipient has certainly not left yet, it is not sent after all:
// the recipient's message is planned again from the last state that he
// acknowledged to the present one. So it is for somebody whose last message
// failed. What may have arrived, and a CANCEL of the whole that is not merely
// held back, stays and is what the new plan begins at; order per recipient
// holds. An answer takes the place of earlier ones about the same instances.
func (d *delivery) queue(ctx context.Context, msgs []itip.Message, before, after *calendar.Object, hold bool) error {
	at := d.now
	if hold && d.s.cfg.HoldDelete > 0 {
		at = at.Add(d.s.cfg.HoldDelete)
	}
	var told []itip.Message // what the organizer tells
	for _, m := range msgs {
		switch {
		case m.Redundant: // the CANCEL beside it says the same to people
		case stateful(m.Method):
			told = append(told, m)
		default:
			d.supersedeAnswers(m)
			d.enqueue(d.sender.ID, m, m.Recipients, "", "", at)
		}
	}
	base := map[string]*string{} // recipients to plan anew; the digest of where to begin, nil: as acknowledged
	var keys []string
	again := map[string]calendar.Address{}
	for _, o := range d.opens { // in the order of each recipient
		if o.Delivery.Transport == transportLocal {
			continue
		}
		if !stateful(o.Message.Method) {
			if o.Delivery.State == storage.DeliveryHeld && after != nil && d.created { // he moved his copy by DELETE and PUT
				d.replaced = append(d.replaced, d.taken(o.Delivery))
			}
			continue
		}
		k := o.RecipientKey
		if !replaceable(o) {
			digest := o.Message.Snapshot
			base[k] = &digest
			continue
		}
		old := o.Delivery
		d.replaced = append(d.replaced, d.taken(old))
		if _, ok := again[k]; !ok {
			again[k] = calendar.Address(old.Recipient)
			keys = append(keys, k)
		}
	}
	if len(told) > 0 && before != nil {
		failed, err := d.tx.FailedRecipients(ctx, d.sender.ID, told[0].UID)
		if err != nil {
			return err
		}
		for _, m := range told {
			for _, a := range m.Recipients {
				k := a.Key()
				if _, ok := again[k]; !ok && failed[k] {
					again[k] = a
					keys = append(keys, k)
				}
			}
		}
	}
	if len(told) == 0 && len(keys) == 0 {
		return nil
	}
	state := "" // digest of what the messages bring their recipients to
	uid := ""
	if len(told) > 0 {
		uid = told[0].UID
	} else {
		uid = d.opens[0].Message.UID
	}
	if after != nil {
		data := string(after.Bytes())
		state = ETag(data)
		d.snapshots = append(d.snapshots, storage.Snapshot{Account: d.sender.ID, UID: uid, Digest: state, Data: data})
	}
	for _, m := range told {
		var to []calendar.Address
		for _, a := range m.Recipients {
			if _, ok := again[a.Key()]; !ok {
				to = append(to, a)
			}
		}
		if len(to) > 0 {
			d.enqueue(d.sender.ID, m, to, "", d.stateAfter(m, uid, state), at)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	states, err := d.tx.PeerStates(ctx, d.sender.ID, uid)
	if err != nil {
		return err
	}
	known := map[string]*calendar.Object{"": nil} // by digest
	opt := itip.MessageOptions{By: addressesOf(d.sender), Now: d.now, ProdID: d.s.cfg.ProdID, Marks: d.marks}
	has := map[string]bool{} // who needs no message
	for _, k := range keys {
		digest := states[k].Digest
		if b := base[k]; b != nil {
			digest = *b
		}
		if _, ok := known[digest]; !ok {
			data, err := d.tx.Snapshot(ctx, d.sender.ID, uid, digest)
			if err != nil && !IsNotFound(err) {
				return err
			}
			if known[digest], err = calendar.Parse([]byte(data), d.s.cfg.Limits); err != nil {
				known[digest] = nil // nothing certain is known: plan from the beginning
			}
		}
		plan, err := itip.PlanRecipient(sameAnswers(known[digest], after), after, again[k], opt)
		if err != nil {
			return err
		}
		sent := false
		for _, m := range plan {
			if !m.Redundant {
				d.enqueue(d.sender.ID, m, []calendar.Address{again[k]}, "", d.stateAfter(m, uid, state), at)
				sent = true
			}
		}
		switch {
		case sent:
		case base[k] != nil:
			d.status[k] = "1.0" // once what is under way has arrived
		default:
			has[k] = true
		}
	}
	return d.restoreStatus(ctx, uid, has)
}

// restoreStatus gives recipients who have what the object says now the status
// of the delivery that brought it: 1.1 by mail, 1.2 by iSchedule (RFC 6638
// §3.2.9).
func (d *delivery) restoreStatus(ctx context.Context, uid string, has map[string]bool) error {
	if len(has) == 0 {
		return nil
	}
	for k := range has {
		d.status[k] = "1.2"
	}
	arrived, err := d.tx.LastArrived(ctx, d.sender.ID, uid)
	if err != nil {
		return err
	}
	for k, status := range arrived {
		if has[k] {
			d.status[k] = status
		}
	}
	return nil
}

// stateAfter is the digest of what recipients know when a message has arrived:
// the new state, or, of the first of two, what is between them. So each can be
// taken back or planned again without the other.
func (d *delivery) stateAfter(m itip.Message, uid, state string) string {
	if m.Before == nil {
		return state
	}
	if len(m.Before.Components()) == 0 {
		return ""
	}
	data := string(m.Before.Bytes())
	d.snapshots = append(d.snapshots, storage.Snapshot{Account: d.sender.ID, UID: uid, Digest: ETag(data), Data: data})
	return ETag(data)
}

// sameAnswers is the earlier state with the answers that have come since: they
// are no reason for a message (want 1). Somebody who is asked again is one.
func sameAnswers(known, after *calendar.Object) *calendar.Object {
	if known == nil || after == nil {
		return known
	}
	type place struct{ id, key string }
	now := map[place]string{}
	for _, c := range after.Components() {
		for _, p := range c.All("ATTENDEE") {
			now[place{c.Value("RECURRENCE-ID"), calendar.Address(p.Value()).Key()}] = p.Param("PARTSTAT")
		}
	}
	known = known.Clone()
	for _, c := range known.Components() {
		for _, p := range c.All("ATTENDEE") {
			if st := now[place{c.Value("RECURRENCE-ID"), calendar.Address(p.Value()).Key()}]; st != "" && st != statusNeedsAction {
				p.SetParam("PARTSTAT", st)
			}
		}
	}
	return known
}

// taken takes a delivery back: withdrawn when it was held, else superseded.
func (d *delivery) taken(x storage.Delivery) storage.Delivery {
	if x.State == storage.DeliveryHeld {
		x.State = storage.DeliveryWithdrawn
	} else {
		x.State = storage.DeliverySuperseded
	}
	x.Updated, x.Written = micros(d.now), true
	return x
}

// stateful tells whether a message brings its recipient to a state of the
// organizer's object; the others are answers and questions.
func stateful(method string) bool {
	return method == "REQUEST" || method == "CANCEL" || method == "ADD"
}

// replaceable reports whether a queued message has certainly not left.
func replaceable(c storage.Claimed) bool {
	switch c.Delivery.State {
	case storage.DeliveryHeld:
		return true
	case storage.DeliveryQueued:
		return c.Delivery.WireID == "" && c.Message.Kind != string(itip.KindCancelled)
	}
	return false
}

// supersedeAnswers takes back REPLYs that have certainly not left and speak of
// no other instances than the new one.
func (d *delivery) supersedeAnswers(m itip.Message) {
	if m.Method != "REPLY" {
		return
	}
	about := map[string]bool{}
	for _, c := range m.Object.Components() {
		about[c.Value("RECURRENCE-ID")] = true
	}
	for _, o := range d.opens {
		if o.Delivery.Transport == transportLocal || o.Message.Method != "REPLY" || o.Delivery.State == storage.DeliveryHeld || !replaceable(o) || !m.Recipients[0].Equal(calendar.Address(o.Recipient)) {
			continue
		}
		old, err := calendar.Parse([]byte(o.Message.Body), d.s.cfg.Limits)
		if err != nil {
			continue
		}
		covered := true
		for _, c := range old.Components() {
			covered = covered && about[c.Value("RECURRENCE-ID")]
		}
		if covered {
			d.replaced = append(d.replaced, d.taken(o.Delivery))
		}
	}
}

// backoff is the wait before attempt n+1: doubling, capped, with up to a
// quarter of jitter so that a peer that returns is not stormed.
func (s *Service) backoff(attempts int) time.Duration {
	d := s.cfg.RetryMin
	for i := 1; i < attempts && d < s.cfg.RetryMax; i++ {
		d *= 2
	}
	d = min(d, s.cfg.RetryMax)
	var b [1]byte
	_, _ = s.cfg.Rand.Read(b[:])
	return d - d/8 + d/4*time.Duration(b[0])/256
}
