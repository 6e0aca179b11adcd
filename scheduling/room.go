package scheduling

import (
	"context"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// within tests a message from another system. What makes copies is held to the
// limits that a PUT has (RFC 4791 §5.2.5 to §5.2.9): a copy that its owner could not
// store himself he could not answer either.
func (s *Service) within(o *calendar.Object) error {
	var limits calendar.Rules
	switch o.Method() {
	case "REQUEST", "ADD", "COUNTER":
		limits = s.cfg.Rules
	}
	return calendar.ValidateMessageWithin(o, limits)
}

// outgrown is the status of a recipient whose copy would go beyond a limit, by one
// message or by the last of many (abuse A46); "" when it does not. A copy that is
// beyond it already, since the limit was lowered, may change.
func (d *delivery) outgrown(next *calendar.Object, now *view) string {
	err := calendar.Exceeds(next, d.s.cfg.Rules)
	if err == nil || now != nil && calendar.Exceeds(now.object, d.s.cfg.Rules) != nil {
		return ""
	}
	switch calendar.CodeOf(err) { // RFC 5546 §3.6
	case calendar.CodeMinDate, calendar.CodeMaxDate:
		return "3.5;Invalid date or time"
	case calendar.CodeMaxInstances:
		return "3.6;Invalid rule"
	}
	return "3.14;Unsupported capability"
}

// measure reads how much the accounts may still take, when messages may fill them.
func (d *delivery) measure(ctx context.Context, msgs []itip.Message, accounts []storage.AccountID) error {
	if d.s.cfg.Quota <= 0 {
		return nil
	}
	fills := false
	for _, m := range msgs {
		fills = fills || filling(m)
	}
	if !fills {
		return nil
	}
	used, err := d.tx.UsedBy(ctx, accounts)
	if err != nil {
		return err
	}
	if d.room == nil {
		d.room, d.counted = map[storage.AccountID]int64{}, map[storage.AccountID]bool{}
	}
	for _, id := range accounts {
		d.room[id] = d.s.cfg.Quota - used[id]
	}
	return nil
}

// filling tells of messages that somebody could fill an account with. Answers and
// cancellations are not refused for want of space.
func filling(m itip.Message) bool {
	switch m.Method {
	case "REQUEST", "ADD", "COUNTER":
		return m.Kind != itip.KindRefreshed
	}
	return false
}

// full tells that an account has no room for so many octets more. The running count
// is asked first; before anything is refused it is counted anew (RFC 4331 §6).
func (d *delivery) full(ctx context.Context, id storage.AccountID, octets int) (bool, error) {
	left, limited := d.room[id]
	if !limited || int64(octets) <= left || octets <= 0 {
		return false, nil
	}
	if !d.counted[id] {
		d.counted[id] = true
		used, err := d.tx.CountedBy(ctx, []storage.AccountID{id})
		if err != nil {
			return false, err
		}
		d.room[id] = d.s.cfg.Quota - used[id]
	}
	return int64(octets) > d.room[id], nil
}

// fill counts what was taken in.
func (d *delivery) fill(id storage.AccountID, octets int) {
	if _, limited := d.room[id]; limited {
		d.room[id] -= int64(octets)
	}
}
