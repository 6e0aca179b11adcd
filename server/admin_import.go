package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// ImportOptions say where calendar objects go.
type ImportOptions struct {
	User     string
	Calendar string // collection name; "": the user's default calendars, by component
}

// ImportReport counts what an import of calendar objects did. Problems are
// objects that were left out, one line each; the others are in.
type ImportReport struct {
	Created, Changed, Unchanged int
	Problems                    []string
}

func (r *ImportReport) add(o ImportReport) {
	r.Created += o.Created
	r.Changed += o.Changed
	r.Unchanged += o.Unchanged
	r.Problems = append(r.Problems, o.Problems...)
}

// maxImport bounds a file that is imported, in octets.
const maxImport = 256 << 20

// importLimits are wider than those of a PUT: a file holds a whole calendar.
func (a *Admin) importLimits() calendar.Limits {
	l := CalendarLimits(&a.cfg)
	l.Bytes, l.Components, l.Properties = maxImport, 1_000_000, 10_000_000
	return l
}

// CheckImport tests the user of an import before anything is fetched.
func (a *Admin) CheckImport(ctx context.Context, o ImportOptions) error {
	_, err := a.calendarOwner(ctx, o.User)
	return err
}

func (a *Admin) calendarOwner(ctx context.Context, name string) (storage.Account, error) {
	acc, err := a.account(ctx, name)
	if err == nil && acc.Kind == storage.KindGroup {
		err = explained(storage.ErrInvalid, "%s is a group and has no calendars", name)
	}
	return acc, err
}

// ImportICS stores the calendar objects of an iCalendar file, any number of
// them. Nobody is told of anything: no invitation, no answer. Running it again
// changes nothing.
func (a *Admin) ImportICS(ctx context.Context, data []byte, o ImportOptions) (ImportReport, error) {
	var rep ImportReport
	acc, err := a.calendarOwner(ctx, o.User)
	if err != nil {
		return rep, err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	parts, err := calendar.ParseAll(data, a.importLimits())
	if err != nil {
		return rep, explained(err, "this is no iCalendar file: %s", plain(err))
	}
	look := calendarLook(parts)
	var objects []*calendar.Object
	for _, p := range parts {
		objects = append(objects, calendar.Split(p)...)
	}
	if rep, err = a.store(ctx, acc, o.Calendar, look, objects); err != nil {
		return rep, err
	}
	return rep, a.audit(ctx, "import", o.User, fmt.Sprintf("calendar %q: %d created, %d changed, %d unchanged, %d refused", o.Calendar, rep.Created, rep.Changed, rep.Unchanged, len(rep.Problems)))
}

// calendarLook takes the name and colour of a calendar from the head of its
// file (RFC 7986, and what programs wrote before it).
func calendarLook(parts []*calendar.Object) (c storage.Collection) {
	for _, p := range parts {
		for _, name := range []string{"NAME", "X-WR-CALNAME"} {
			if c.DisplayName == "" {
				c.DisplayName = p.Text(name)
			}
		}
		for _, name := range []string{"COLOR", "X-APPLE-CALENDAR-COLOR"} {
			if c.Color == "" {
				c.Color = p.Text(name)
			}
		}
		for _, name := range []string{"DESCRIPTION", "X-WR-CALDESC"} {
			if c.Description == "" {
				c.Description = p.Text(name)
			}
		}
	}
	return c
}

// store puts objects into a calendar, which is made when it does not exist.
func (a *Admin) store(ctx context.Context, acc storage.Account, name string, look storage.Collection, objects []*calendar.Object) (ImportReport, error) {
	var rep ImportReport
	target, err := a.targets(ctx, acc, name, look)
	if err != nil {
		return rep, err
	}
	svc := a.service()
	for _, o := range objects {
		if err := ctx.Err(); err != nil {
			return rep, err
		}
		where, ok := target[o.Kind()]
		if !ok {
			rep.Problems = append(rep.Problems, fmt.Sprintf("%s %s: no calendar takes it; name one with --calendar", o.Kind(), o.UID()))
			continue
		}
		created, changed, err := a.storeOne(ctx, svc, acc, where, o)
		switch {
		case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrFull):
			return rep, err
		case err != nil:
			rep.Problems = append(rep.Problems, fmt.Sprintf("%s %s: %s", o.Kind(), o.UID(), plain(err)))
		case created:
			rep.Created++
		case changed:
			rep.Changed++
		default:
			rep.Unchanged++
		}
	}
	return rep, nil
}

// targets are the collections by component: the named calendar for all of
// them, or the user's defaults.
func (a *Admin) targets(ctx context.Context, acc storage.Account, name string, look storage.Collection) (map[string]storage.CollectionKey, error) {
	out := map[string]storage.CollectionKey{}
	if name == "" {
		found, err := a.db.Recipients(ctx, []string{"handle:" + acc.Handle})
		if err != nil {
			return nil, err
		}
		r := found["handle:"+acc.Handle]
		if r.Calendar.ID != 0 {
			out["VEVENT"] = r.Calendar.CollectionKey
		}
		if r.Tasks.ID != 0 {
			out["VTODO"] = r.Tasks.CollectionKey
		}
		return out, nil
	}
	if err := calendarName(name); err != nil {
		return nil, err
	}
	c, err := a.db.CollectionByName(ctx, acc.ID, name)
	if errors.Is(err, storage.ErrNotFound) {
		look.Account, look.Name, look.Kind = acc.ID, name, storage.CollectionCalendar
		if look.DisplayName == "" {
			look.DisplayName = name
		}
		if look.Components == 0 {
			look.Components = storage.CompEvent | storage.CompTodo | storage.CompJournal
		}
		c, err = a.db.CreateCollection(ctx, look, nil)
	}
	if err != nil {
		return nil, err
	}
	if c.Kind != storage.CollectionCalendar {
		return nil, usage("%s of %s is no calendar; choose another --calendar", name, acc.Handle)
	}
	for _, component := range []string{"VEVENT", "VTODO", "VJOURNAL", "VAVAILABILITY", "VFREEBUSY", "VPOLL"} {
		out[component] = c.CollectionKey
	}
	return out, nil
}

func calendarName(s string) error {
	if s == "" || len(s) > 200 || strings.ContainsAny(s, "/\\\x00") || strings.Trim(s, ".") == "" || strings.HasPrefix(s, "~") {
		return usage("%q cannot be the name of a calendar; it is the last part of its address, such as work", s)
	}
	return nil
}

// storeOne stores one object under the name it has there already, or one made
// of its UID.
func (a *Admin) storeOne(ctx context.Context, svc *scheduling.Service, acc storage.Account, where storage.CollectionKey, o *calendar.Object) (created, changed bool, err error) {
	data := o.Bytes()
	uid := o.UID()
	if uid == "" { // RFC 5545 §3.8.4.7 asks for one; the same text gets the same
		sum := sha256.Sum256(data)
		uid = hex.EncodeToString(sum[:16])
		for _, c := range o.Components() {
			c.SetText("UID", uid)
		}
		data = o.Bytes()
	}
	key, before := storage.ObjectKey{CollectionKey: where, Name: objectName(uid)}, ""
	for old, err := range a.db.Select(ctx, where, storage.ObjectQuery{UID: uid}) {
		if err != nil {
			return false, false, err
		}
		if old.ETag == scheduling.ETag(string(data)) {
			return false, false, nil
		}
		key, before = old.ObjectKey, old.ETag
	}
	// Silent lets the answers of the attendees be what the file says.
	res, err := svc.Put(ctx, scheduling.Put{Actor: scheduling.Actor{Account: acc, By: acc}, Key: key, Data: data, Silent: true, NoScheduling: true, RequestID: "import"})
	if err != nil {
		return false, false, err
	}
	return res.Created, res.ETag != before, nil // scheduling may store other octets than the file's
}

// objectName makes the name of an object resource of a UID: the UID itself
// where every client and file system can take it, else a digest.
func objectName(uid string) string {
	simple := len(uid) <= 150 && uid[0] != '.'
	for _, c := range []byte(uid) {
		simple = simple && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_@.", c) >= 0)
	}
	if !simple {
		sum := sha256.Sum256([]byte(uid))
		uid = hex.EncodeToString(sum[:16])
	}
	return uid + ".ics"
}
