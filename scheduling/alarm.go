package scheduling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// KindAlarm marks a Parcel that is an EMAIL alarm's mail, not an iTIP message:
// Method is "", Body holds one component, the instance, with the one VALARM.
const KindAlarm itip.Kind = "alarm"

// Whom EMAIL alarms may reach, by storage.Settings.EmailAlarms.
const (
	AlarmsOwner     = ""          // the owner of the calendar
	AlarmsEverybody = "everybody" // whomever the alarm names
	AlarmsNobody    = "nobody"
)

// alarmKey begins the recipient keys of alarms' deliveries, so that they and
// messages to the same person do not wait for each other.
const alarmKey = "alarm "

const (
	alarmRound   = 15 * time.Second    // how often what is due is looked for, by one statement
	alarmBatch   = 100                 // objects of a round
	alarmLate    = 24 * time.Hour      // an alarm that is later than this is not sent any more
	alarmHorizon = 4 * 366 * 24        // hours that are looked ahead; then again
	alarmPeople  = 10                  // attendees of one alarm
	alarmBurst   = 5                   // mails about one object in a round, the newest
	alarmPause   = time.Minute         // between two rounds that send about one object
	alarmKeep    = 24 * time.Hour      // how long a mail server may be away
	alarmAgain   = 30 * 24 * time.Hour // when an object whose alarms cannot be computed is tried again
)

// RunAlarms sends EMAIL alarms until ctx ends. Of several processes on one
// database that one works which holds the lease (want 44). An alarm's mail is
// queued by the transaction that notes the alarm as dealt with, so neither a
// restart nor a second process sends it twice.
func (s *Service) RunAlarms(ctx context.Context) {
	for ctx.Err() == nil {
		mine, err := s.db.Lease(ctx, "alarms", s.cfg.Node, 4*alarmRound)
		for more := mine; more && err == nil && ctx.Err() == nil; {
			more, err = s.StepAlarms(ctx)
		}
		if err != nil {
			s.complain(ctx, "alarms could not be sent; it will be tried again", err)
		}
		t := time.NewTimer(alarmRound)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// StepAlarms deals with one batch of objects whose alarms are due. It reports
// whether there may be more.
func (s *Service) StepAlarms(ctx context.Context) (more bool, err error) {
	due, err := s.db.DueAlarms(ctx, micros(s.cfg.Now()), alarmBatch)
	if err != nil {
		return false, err
	}
	for _, a := range due {
		if err := s.ring(ctx, a); err != nil {
			return false, err
		}
	}
	if len(due) > 0 {
		s.Wake()
	}
	return len(due) == alarmBatch, nil
}

// ring sends what has gone off of one object and notes when to look again.
func (s *Service) ring(ctx context.Context, a storage.Alarm) error {
	account, err := s.db.AccountByID(ctx, a.Account)
	if err != nil && !IsNotFound(err) {
		return err
	}
	gone := err != nil
	return s.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		now := s.cfg.Now()
		next := storage.Alarm{Account: a.Account, UID: a.UID, Done: micros(now)}
		var rung []calendar.EmailAlarm
		var obj *calendar.Object
		if !gone {
			rows, err := tx.ObjectsByUID(ctx, []storage.AccountID{a.Account}, a.UID, storage.ColumnData)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if row.Flags&storage.FlagEmailAlarm == 0 {
					continue
				}
				o, err := calendar.Parse([]byte(row.Data), s.cfg.Limits)
				if err != nil {
					continue
				}
				loc, err := s.zoneOf(ctx, tx, row.CollectionKey)
				if err != nil {
					return err
				}
				obj = o
				rung, next.Due = alarmsOf(o, loc, time.UnixMicro(a.Done), now)
				break // of loose copies in several calendars one rings
			}
		}
		if len(rung) > 0 && next.Due > 0 { // a rule of every second is not a mail of every second
			next.Due = max(next.Due, micros(now.Add(alarmPause)))
		}
		ours, err := tx.MoveAlarm(ctx, a, next)
		if err != nil || !ours {
			return err
		}
		d := s.newDelivery(tx, account, "", now)
		for _, r := range rung[max(0, len(rung)-alarmBurst):] {
			if !now.After(r.At.Add(alarmLate)) {
				d.remind(obj, r)
			}
		}
		return d.flush(ctx)
	})
}

// zoneOf is the zone in which a calendar's floating times and dates are read
// (RFC 4791 §5.2.2).
func (s *Service) zoneOf(ctx context.Context, tx *storage.Tx, key storage.CollectionKey) (*time.Location, error) {
	cols, err := tx.Collections(ctx, key.Account)
	if err != nil {
		return nil, err
	}
	for _, c := range cols {
		if c.CollectionKey == key {
			return s.location(map[string]*time.Location{}, c.Timezone), nil
		}
	}
	return time.UTC, nil
}

// alarmsOf is what has gone off between done and now, and when to look again: 0
// for never. Times of the database have microseconds, those of alarms seconds.
func alarmsOf(o *calendar.Object, loc *time.Location, done, now time.Time) (rung []calendar.EmailAlarm, due int64) {
	z, b := calendar.NewZones(o, loc), calendar.NewBudget()
	from := done.Truncate(time.Second).Add(time.Second)
	to := now.Truncate(time.Second).Add(time.Second)
	var err error
	if from.Before(to) {
		if rung, err = o.EmailAlarms(z, from, to, b); err != nil {
			return nil, micros(now.Add(alarmAgain))
		}
	}
	for hours := 24; ; hours = min(hours*30, alarmHorizon) {
		end := to.Add(time.Duration(hours) * time.Hour)
		coming, err := o.EmailAlarms(z, to, end, b)
		if err != nil {
			return rung, micros(now.Add(alarmAgain))
		}
		if len(coming) > 0 {
			return rung, micros(coming[0].At)
		}
		if hours == alarmHorizon {
			if _, last, _, err := calendar.Bounds(o); err == nil && !last.IsZero() && last.Before(end.Add(-366*24*time.Hour)) {
				return rung, 0
			}
			return rung, micros(end)
		}
	}
}

// remind queues the mails of one alarm. Whom the alarm names counts for nothing
// unless the owner's account allows it: reminders are no way to send mail to
// strangers.
func (d *delivery) remind(o *calendar.Object, r calendar.EmailAlarm) {
	owner := d.sender
	if owner.Disabled || owner.Kind != storage.KindUser || len(owner.Emails) == 0 || owner.Settings.EmailAlarms == AlarmsNobody {
		return
	}
	own := calendar.NewAddressSet(addressesOf(owner)...)
	to := []calendar.Address{calendar.Address("mailto:" + owner.Emails[0])}
	if named := r.Alarm.All("ATTENDEE"); owner.Settings.EmailAlarms == AlarmsEverybody && len(named) > 0 {
		to = nil
		seen := calendar.NewAddressSet()
		for _, p := range named {
			if a := calendar.Address(p.Value()); reachable(a) && !seen.Has(a) && len(to) < alarmPeople {
				seen[a.Key()] = struct{}{}
				to = append(to, a)
			}
		}
	} else if i := slices.IndexFunc(named, func(p *calendar.Property) bool { return own.Has(calendar.Address(p.Value())) }); i >= 0 { // the address of his that the alarm names
		if a := calendar.Address(named[i].Value()); a.IsMailto() {
			to[0] = a
		}
	}
	body := alarmBody(o, r, d.s.cfg.ProdID)
	msg := storage.Message{Account: owner.ID, ID: d.tx.NewID(), UID: o.UID(), Component: r.Owner.Name, Originator: "mailto:" + owner.Emails[0],
		Kind: string(KindAlarm), Body: string(body.Bytes()), RequestID: fmt.Sprintf("alarm-%d", r.At.Unix()), Created: micros(d.now)}
	d.messages = append(d.messages, msg)
	for _, a := range to {
		d.queued = append(d.queued, storage.Delivery{Account: owner.ID, ID: d.tx.NewID(), MessageID: msg.ID, UID: msg.UID,
			Recipient: string(a), RecipientKey: alarmKey + a.Key(), Domain: a.Domain(), State: storage.DeliveryQueued, NotBefore: micros(d.now),
			Expires: micros(d.now.Add(alarmKeep)), Status: "1.0", Written: true, Created: micros(d.now), Updated: micros(d.now)})
	}
}

// alarmBody is the instance that an alarm is about, with the alarm.
func alarmBody(o *calendar.Object, r calendar.EmailAlarm, prodID string) *calendar.Object {
	out := calendar.NewObject(prodID)
	for _, c := range o.Children {
		if c.Name == "VTIMEZONE" {
			out.Children = append(out.Children, c.Clone())
		}
	}
	c := calendar.NewComponent(r.Owner.Name)
	for _, name := range []string{"UID", "DTSTAMP", "SUMMARY", "LOCATION", "DUE"} {
		if p := r.Owner.Prop(name); p != nil && (name != "DUE" || r.Owner.Prop("RRULE") == nil) {
			c.Add(p.Clone())
		}
	}
	if !r.Start.IsZero() {
		c.Add(r.Start.Property("DTSTART"))
	}
	a := calendar.NewComponent("VALARM")
	for _, name := range []string{"ACTION", "SUMMARY", "DESCRIPTION"} {
		if p := r.Alarm.Prop(name); p != nil {
			a.Add(p.Clone())
		}
	}
	c.Children = append(c.Children, a)
	out.Children = append(out.Children, c)
	return out
}
