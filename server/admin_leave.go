package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Removal says what becomes of the meetings of an account that is removed. At
// most one field is set.
type Removal struct {
	TransferTo     string // account that organizes them from now on
	CancelMeetings bool
	KeepDays       int // disabled now, removed with its meetings cancelled later
}

// RemovalReport tells what a removal did.
type RemovalReport struct {
	Transferred int
	Cancelled   int
	Declined    int
	Due         string // RFC 3339, when the removal was put off
}

// RemoveUser ends an account. Meetings that it organizes and that are not over
// are cancelled or handed over, invitations that it has are declined, so that
// nobody waits for it. While there are such meetings one of the choices must
// be made. A transfer gives each meeting a new UID: the attendees get a CANCEL
// of the old one and an invitation from the new organizer, which they answer
// anew (RFC 5546 knows no change of the organizer).
func (a *Admin) RemoveUser(ctx context.Context, name string, r Removal) (RemovalReport, error) {
	var rep RemovalReport
	acc, err := a.account(ctx, name)
	if err != nil {
		return rep, err
	}
	if r.KeepDays > 0 {
		disabled := true
		if _, err := a.db.UpdateAccount(ctx, acc.ID, storage.AccountChange{Disabled: &disabled}); err != nil {
			return rep, err
		}
		due := a.db.Now().AddDate(0, 0, r.KeepDays)
		if err := a.putOff(ctx, acc.Handle, due.UnixMicro()); err != nil {
			return rep, err
		}
		rep.Due = stamp(due.UnixMicro())
		return rep, a.audit(ctx, "user.remove", name, "due "+rep.Due)
	}
	var heir storage.Account
	if r.TransferTo != "" {
		if heir, err = a.account(ctx, r.TransferTo); err != nil {
			return rep, err
		}
		if heir.ID == acc.ID || heir.Kind == storage.KindGroup || heir.Disabled || len(heir.Emails) == 0 {
			return rep, usage("%s cannot take over meetings; name another account that is enabled and has a mail address", r.TransferTo)
		}
	}
	objects, err := futureMeetings(ctx, a.db, acc)
	if err != nil {
		return rep, err
	}
	organized := 0
	for _, o := range objects {
		if o.Flags&storage.FlagOrganizer != 0 {
			organized++
		}
	}
	if organized > 0 && r == (Removal{}) {
		return rep, explained(nil, "%s organizes %d meetings that are not over; say --transfer-to NAME, --cancel-meetings or --keep-days N", name, organized)
	}
	svc := a.service()
	for _, o := range objects {
		if r.TransferTo != "" && o.Flags&storage.FlagOrganizer != 0 {
			if err := transfer(ctx, a.db, svc, acc, heir, o); err != nil {
				return rep, explained(err, "the meeting %s of %s could not be handed over: %s; %d are, run the command again to go on", o.UID, name, plain(err), rep.Transferred)
			}
			rep.Transferred++
			continue
		}
		if err := leaveMeeting(ctx, svc, acc, o); err != nil {
			return rep, explained(err, "the meeting %s of %s could not be ended: %s; run the command again to go on", o.UID, name, plain(err))
		}
		if o.Flags&storage.FlagOrganizer != 0 {
			rep.Cancelled++
		} else {
			rep.Declined++
		}
	}
	if err := a.db.RemoveAccount(ctx, acc.ID); err != nil {
		return rep, err
	}
	if err := a.putOff(ctx, acc.Handle, 0); err != nil {
		return rep, err
	}
	return rep, a.audit(ctx, "user.remove", name, fmt.Sprintf("transferred %d to %q, cancelled %d, declined %d", rep.Transferred, r.TransferTo, rep.Cancelled, rep.Declined))
}

// futureMeetings are the scheduling objects of an account that are not over.
func futureMeetings(ctx context.Context, db *storage.DB, acc storage.Account) ([]storage.Object, error) {
	cols, err := db.Collections(ctx, acc.ID)
	if err != nil {
		return nil, err
	}
	var out []storage.Object
	for _, c := range cols {
		if c.Kind != storage.CollectionCalendar {
			continue
		}
		q := storage.ObjectQuery{From: db.Now().UnixMicro(), To: math.MaxInt64, Columns: storage.ColumnData}
		for o, err := range db.Select(ctx, c.CollectionKey, q) {
			if err != nil {
				return nil, err
			}
			if o.Flags&(storage.FlagOrganizer|storage.FlagAttendee) != 0 {
				out = append(out, o)
			}
		}
	}
	return out, nil
}

// leaveMeeting deletes a meeting as its owner would: CANCEL from an organizer,
// a declining REPLY from an attendee.
func leaveMeeting(ctx context.Context, svc *scheduling.Service, acc storage.Account, o storage.Object) error {
	err := svc.Delete(ctx, scheduling.Delete{Actor: scheduling.Actor{Account: acc, By: acc}, Key: o.ObjectKey, RequestID: "user-remove"})
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// transfer invites to a meeting under its new organizer and then cancels it
// under the old one. A second run after a crash between the two goes on there.
func transfer(ctx context.Context, db *storage.DB, svc *scheduling.Service, from, to storage.Account, o storage.Object) error {
	obj, err := calendar.Parse([]byte(o.Data), calendar.Limits{})
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(o.UID + "\n" + to.UUID))
	uid := hex.EncodeToString(sum[:16])
	next := reorganize(obj, from, to, uid)
	found, err := db.Recipients(ctx, []string{"handle:" + to.Handle})
	if err != nil {
		return err
	}
	target := found["handle:"+to.Handle].Calendar
	if obj.Kind() == "VTODO" {
		target = found["handle:"+to.Handle].Tasks
	}
	if target.ID == 0 {
		return fmt.Errorf("%s has no default calendar for it: %w", to.Handle, storage.ErrNotFound)
	}
	have := false
	for _, err := range db.Select(ctx, target.CollectionKey, storage.ObjectQuery{UID: uid}) {
		if err != nil {
			return err
		}
		have = true
	}
	if !have {
		key := storage.ObjectKey{CollectionKey: target.CollectionKey, Name: uid + ".ics"}
		_, err := svc.Put(ctx, scheduling.Put{Actor: scheduling.Actor{Account: to, By: to}, Key: key, Data: next.Bytes(), IfNoneMatch: []string{"*"}, RequestID: "user-remove"})
		if err != nil {
			return err
		}
	}
	return leaveMeeting(ctx, svc, from, o)
}

// reorganize is a meeting as its new organizer would have written it: the one
// who leaves is no attendee any more, the new organizer comes.
func reorganize(o *calendar.Object, from, to storage.Account, uid string) *calendar.Object {
	n := o.Clone()
	leaver, heir := calendar.NewAddressSet(scheduling.AddressesOf(from)...), calendar.NewAddressSet(scheduling.AddressesOf(to)...)
	address := "mailto:" + to.Emails[0]
	for _, c := range n.Components() {
		c.SetText("UID", uid)
		c.Remove("SEQUENCE")
		org := calendar.NewProperty("ORGANIZER", address)
		if to.DisplayName != "" {
			org.SetParam("CN", to.DisplayName)
		}
		c.Set(org)
		// Chairs and clerks need not be attendees; who was stays one.
		props := c.Props[:0:0]
		for _, p := range c.Props {
			if p.Name() == "ATTENDEE" {
				who := calendar.Address(p.Value())
				if leaver.Has(who) {
					continue
				}
				p.DelParam("SCHEDULE-STATUS")
				if heir.Has(who) {
					p.SetParam("PARTSTAT", "ACCEPTED")
					p.DelParam("RSVP")
				}
			}
			props = append(props, p)
		}
		c.Props = props
	}
	if len(itip.Attendees(n)) == 0 { // it was a meeting with nobody else
		for _, c := range n.Components() {
			c.Remove("ORGANIZER")
		}
	}
	return n
}

const removalsDue = "removals.due" // setting: JSON, name -> time in µs

// putOff notes when an account is to be removed, 0 for never. Several
// processes may do it at once.
func (a *Admin) putOff(ctx context.Context, name string, at int64) error {
	return withRemovals(ctx, a.db, func(due map[string]int64) bool {
		if at == 0 {
			if _, ok := due[name]; !ok {
				return false
			}
			delete(due, name)
			return true
		}
		due[name] = at
		return true
	})
}

// withRemovals changes the list of removals under a lease.
func withRemovals(ctx context.Context, db *storage.DB, change func(map[string]int64) bool) error {
	holder := fmt.Sprintf("command-%x", db.NewID())
	for try := 0; ; try++ {
		mine, err := db.Lease(ctx, removalsDue, holder, 10*time.Second)
		if err != nil {
			return err
		}
		if mine {
			break
		}
		if try == 120 {
			return explained(storage.ErrUnavailable, "another process changes the list of removals; try again in a minute")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	defer func() { _, _ = db.Lease(ctx, removalsDue, holder, 0) }() // gives it free at once
	due, err := readRemovals(ctx, db)
	if err != nil || !change(due) {
		return err
	}
	b, err := json.Marshal(due)
	if err != nil {
		return err
	}
	return db.SetSetting(ctx, removalsDue, string(b))
}

func readRemovals(ctx context.Context, db *storage.DB) (map[string]int64, error) {
	due := map[string]int64{}
	text, ok, err := db.Setting(ctx, removalsDue)
	if err != nil || !ok || strings.TrimSpace(text) == "" {
		return due, err
	}
	if err := json.Unmarshal([]byte(text), &due); err != nil {
		return nil, fmt.Errorf("setting %s: %w", removalsDue, err)
	}
	return due, nil
}

// RemoveDue removes the accounts whose time has come and cancels what they
// organize; the server's janitor calls it. An account that was enabled again
// is no longer on the list.
func (a *Admin) RemoveDue(ctx context.Context, now time.Time) error {
	due, err := readRemovals(ctx, a.db)
	if err != nil {
		return err
	}
	var failed []error
	for name, at := range due {
		if at > now.UnixMicro() {
			continue
		}
		_, err := a.RemoveUser(ctx, name, Removal{CancelMeetings: true})
		if errors.Is(err, storage.ErrNotFound) {
			err = a.putOff(ctx, name, 0)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
