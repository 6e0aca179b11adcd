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
// acknowledged to the present one. What may have arrived, and a CANCEL of the
// whole that is not merely held back, stays; order per recipient holds.
func (d *delivery) queue(ctx context.Context, msgs []itip.Message, after *calendar.Object, hold bool) error {
	state := "" // digest of what the messages bring their recipients to
	if after != nil && (len(msgs) > 0 || len(d.opens) > 0) {
		data := string(after.Bytes())
		state = ETag(data)
		d.snapshots[state] = data
	}
	at := d.now
	if hold && d.s.cfg.HoldDelete > 0 {
		at = at.Add(d.s.cfg.HoldDelete)
	}
	again := map[string]calendar.Address{} // recipients to plan anew
	var keys []string
	for _, o := range d.opens {
		if o.Delivery.Transport == "local" || !replaceable(o) {
			continue
		}
		old := o.Delivery
		old.State = storage.DeliverySuperseded
		if o.Delivery.State == storage.DeliveryHeld {
			old.State = storage.DeliveryWithdrawn
		}
		old.Updated, old.Written = micros(d.now), true
		d.replaced = append(d.replaced, old)
		if _, ok := again[old.RecipientKey]; !ok {
			again[old.RecipientKey] = calendar.Address(old.Recipient)
			keys = append(keys, old.RecipientKey)
		}
	}
	for _, m := range msgs {
		if m.Redundant { // the CANCEL beside it says the same to people
			continue
		}
		var to []calendar.Address
		for _, a := range m.Recipients {
			if _, ok := again[a.Key()]; !ok {
				to = append(to, a)
			}
		}
		if len(to) > 0 {
			d.enqueue(m, to, "", state, at)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	uid := d.opens[0].Message.UID
	states, err := d.tx.PeerStates(ctx, d.sender.ID, uid)
	if err != nil {
		return err
	}
	known := map[string]*calendar.Object{"": nil} // by digest
	opt := itip.MessageOptions{By: addressesOf(d.sender), Now: d.now, ProdID: d.s.cfg.ProdID}
	for _, k := range keys {
		digest := states[k].Digest
		if _, ok := known[digest]; !ok {
			data, err := d.tx.Snapshot(ctx, d.sender.ID, uid, digest)
			if err != nil && !IsNotFound(err) {
				return err
			}
			if known[digest], err = calendar.Parse([]byte(data), d.s.cfg.Limits); err != nil {
				known[digest] = nil // nothing certain is known: plan from the beginning
			}
		}
		plan, err := itip.PlanRecipient(known[digest], after, again[k], opt)
		if err != nil {
			return err
		}
		if len(plan) == 0 {
			d.status[k] = "1.2" // what he has is what it says now
		}
		for _, m := range plan {
			d.enqueue(m, []calendar.Address{again[k]}, "", state, at)
		}
	}
	return nil
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
