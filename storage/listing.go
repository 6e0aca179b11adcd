package storage

import (
	"context"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
)

// A calendar is listed again and again, by every program that looks at it, and
// little of it has changed meanwhile. What one listing has read is kept; the
// next one reads the changes since then, by the journal, or nothing when the
// calendar's number and tag say that there are none. Nobody has to tell
// anybody of a change, on any node.

// objectListed are the columns of a listing of one collection; a column less is
// a sixteenth of its time.
const (
	objectListed = `o.name, ` + objectGot
	objectGot    = `o.uid, o.component, o.etag, o.schedule_tag, o.size, o.flags, o.seq, o.created, o.modified`
)

// listedRow receives objectListed.
type listedRow struct {
	o     Object
	flags int64
}

func (r *listedRow) dest(d []any) []any {
	return append(d, &r.o.Name, &r.o.UID, &r.o.Component, &r.o.ETag, &r.o.ScheduleTag, &r.o.Size, &r.flags, &r.o.Seq, &r.o.Created, &r.o.Modified)
}

// object is the row as an object that is kept: what repeats is there once.
func (r *listedRow) object(k CollectionKey) *Object {
	o := &r.o
	o.ObjectKey.CollectionKey, o.Flags = k, Flags(r.flags)
	if strings.HasPrefix(o.Name, o.UID) { // as most clients name objects
		o.UID = o.Name[:len(o.UID)]
	}
	for _, known := range [...]string{"VEVENT", "VTODO", "VJOURNAL"} {
		if o.Component == known {
			o.Component = known
		}
	}
	return o
}

// listing is a calendar's objects by name. It holds every change up to seq, of
// which tag is the tag, and perhaps some later ones. Readers share it: nothing
// in it is ever written to.
type listing struct {
	seq     int64
	tag     string
	objects []*Object
	octets  int // about what it takes
	used    uint64
}

// A list of objects takes its pointers and its rows; strings as long as they are.
const listedOctets = 8 + 240 + 3*8

func listedSize(o *Object) int {
	return listedOctets + len(o.Name) + len(o.UID) + len(o.ETag) + len(o.ScheduleTag)
}

const (
	listingsOctets = 32 << 20             // all that is kept
	listingOctets  = listingsOctets / 4   // of one calendar; a larger one is read each time
	listingSteps   = listingsOctets >> 14 // more changes than this: read it anew
	listingLarge   = 1000                 // calendars that are known to be too large
)

// listings are the calendars that are kept, the least used going first.
type listings struct {
	mu     sync.Mutex
	kept   map[CollectionKey]*listing
	octets int
	turn   uint64
	most   int                        // octets of one calendar; 0: listingOctets
	large  map[CollectionKey]struct{} // known to take more: nothing of them is gathered
}

// tooLarge tells whether a calendar that takes so much is not kept.
func (l *listings) tooLarge(octets int) bool {
	if l.most > 0 {
		return octets > l.most
	}
	return octets > listingOctets
}

// gathers tells whether what is read of a calendar is worth gathering: not when it
// was too large the last time that it was read to its end.
func (l *listings) gathers(k CollectionKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, large := l.large[k]
	return !large
}

// note remembers whether a calendar is too large. Of more of them than listingLarge
// one is forgotten, and gathered in vain once more.
func (l *listings) note(k CollectionKey, large bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted(k, large)
}

func (l *listings) noted(k CollectionKey, large bool) {
	if !large {
		delete(l.large, k)
		return
	}
	if l.large == nil {
		l.large = map[CollectionKey]struct{}{}
	}
	if _, known := l.large[k]; !known && len(l.large) >= listingLarge {
		for other := range l.large {
			delete(l.large, other)
			break
		}
	}
	l.large[k] = struct{}{}
}

func (l *listings) get(k CollectionKey) *listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.kept[k]
	if known != nil {
		l.turn++
		known.used = l.turn
	}
	return known
}

// keep replaces what is kept of a calendar by something newer. One number that
// means two changes, as after a restore of the database, is no older.
func (l *listings) keep(k CollectionKey, n *listing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.kept[k]; old != nil {
		if old.seq > n.seq || old.seq == n.seq && old.tag == n.tag {
			return
		}
		l.octets -= old.octets
		delete(l.kept, k)
	}
	if l.tooLarge(n.octets) {
		l.noted(k, true)
		return
	}
	if l.kept == nil {
		l.kept = map[CollectionKey]*listing{}
	}
	for l.octets+n.octets > listingsOctets {
		var last CollectionKey
		least := uint64(math.MaxUint64)
		for key, have := range l.kept {
			if have.used < least {
				last, least = key, have.used
			}
		}
		l.octets -= l.kept[last].octets
		delete(l.kept, last)
	}
	l.turn++
	n.used = l.turn
	l.kept[k] = n
	l.octets += n.octets
}

// Listing yields the objects of a collection, with what objectListed names and
// no more: at least as they were when the caller read c. By one statement, or
// none when nothing has changed since the calendar was listed last. The objects
// must not be written to; a connection may be held while the caller ranges.
func (db *DB) Listing(ctx context.Context, c *Collection) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		known, err := db.known(ctx, c)
		switch {
		case err != nil:
			yield(nil, err)
		case known == nil:
			db.listFresh(ctx, c, yield)
		default:
			for _, o := range known.objects {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// known is what is kept of a calendar, brought up to c; nil when it must be read.
func (db *DB) known(ctx context.Context, c *Collection) (*listing, error) {
	known := db.listings.get(c.CollectionKey)
	switch {
	case known == nil || known.seq > c.Seq:
		return nil, nil // the latter: somebody else is faster, or the database was restored
	case known.seq == c.Seq && known.tag == c.Tag:
		return known, nil
	case known.seq == c.Seq:
		return nil, nil
	}
	steps, err := db.journalSteps(ctx, c.CollectionKey, known.seq, math.MaxInt64, listingSteps)
	if err != nil {
		return nil, err
	}
	if len(steps) < 2 || len(steps) == listingSteps || steps[0].seq != known.seq || steps[0].tag != known.tag {
		return nil, nil
	}
	last := steps[len(steps)-1]
	if last.seq < c.Seq || last.seq == c.Seq && last.tag != c.Tag {
		return nil, nil
	}
	next := known.with(steps[1:], c.CollectionKey)
	next.seq, next.tag = last.seq, last.tag
	db.listings.keep(c.CollectionKey, next)
	return next, nil
}

// with is the listing after some changes.
func (l *listing) with(steps []journalStep, k CollectionKey) *listing {
	next := &listing{octets: l.octets, objects: slices.Clone(l.objects)}
	for i := range steps {
		st := &steps[i]
		at, there := slices.BinarySearchFunc(next.objects, st.name, func(o *Object, name string) int { return strings.Compare(o.Name, name) })
		if there {
			next.octets -= listedSize(next.objects[at])
		}
		switch o := st.row.object(k); {
		case !st.gone && there:
			next.objects[at] = o
			next.octets += listedSize(o)
		case !st.gone:
			next.objects = slices.Insert(next.objects, at, o)
			next.octets += listedSize(o)
		case there:
			next.objects = slices.Delete(next.objects, at, at+1)
		}
	}
	return next
}

// listFresh reads a listing as it is yielded, and keeps it when it was read to
// its end and is not too large. One that was too large before is counted only: when
// it has become smaller, the next listing is kept again.
func (db *DB) listFresh(ctx context.Context, c *Collection, yield func(*Object, error) bool) {
	var kept *listing
	octets := 0
	// What an inbox says of an item may change without a number (see MarkRead).
	if c.Kind == CollectionCalendar && c.Tag != "" && db.listings.gathers(c.CollectionKey) {
		kept = &listing{seq: c.Seq, tag: c.Tag}
	}
	for o, err := range stream(ctx, db.read, listedScanner(c.CollectionKey), `SELECT `+objectListed+` FROM object o
		WHERE o.account_id = $1 AND o.collection_id = $2 ORDER BY o.name`, int64(c.Account), int64(c.ID)) {
		if err != nil {
			yield(nil, err)
			return
		}
		octets += listedSize(o)
		if kept != nil {
			kept.objects = append(kept.objects, o)
			if db.listings.tooLarge(octets) {
				kept = nil
				db.listings.note(c.CollectionKey, true)
			}
		}
		if !yield(o, nil) {
			return
		}
	}
	if kept == nil && !db.listings.tooLarge(octets) {
		db.listings.note(c.CollectionKey, false)
	}
	if kept != nil {
		kept.octets = octets
		// A database may order names by another collation than that of octets.
		slices.SortFunc(kept.objects, func(a, b *Object) int { return strings.Compare(a.Name, b.Name) })
		kept.objects = slices.Clip(kept.objects)
		db.listings.keep(c.CollectionKey, kept)
	}
}

func listedScanner(k CollectionKey) func(rows) (*Object, error) {
	dest := make([]any, 0, 10)
	return func(r rows) (*Object, error) {
		row := new(listedRow)
		if err := r.Scan(row.dest(dest)...); err != nil {
			return nil, err
		}
		return row.object(k), nil
	}
}

// journalStep is the last change of one name since some other change; the first
// of a list is that other change itself.
type journalStep struct {
	seq     int64
	tag     string
	name    string
	deleted bool // what the change did
	gone    bool // there is no such object (any more)
	row     listedRow
}

// journalSteps reads the changes since and including one, up to a number, in
// their order. A journal row is the last of its name when the object has its
// number, or when it tells of a deletion and there is no object.
func (db *DB) journalSteps(ctx context.Context, k CollectionKey, since, upTo, limit int64) ([]journalStep, error) {
	return readAll(ctx, db, func(r rows) (st journalStep, err error) {
		var deleted int64
		err = r.Scan(st.row.dest(append(make([]any, 0, 14), &st.seq, &st.tag, &st.name, &deleted))...)
		st.deleted, st.gone = deleted != 0, st.row.o.Name == ""
		return
	}, `SELECT j.seq, j.tag, j.name, j.deleted, `+orNothing(objectListed)+` FROM journal j
		LEFT JOIN object o ON o.account_id = j.account_id AND o.collection_id = j.collection_id AND o.name = j.name
		WHERE j.account_id = $1 AND j.collection_id = $2 AND j.seq >= $3 AND j.seq <= $4 AND (j.seq = $3 OR o.seq = j.seq OR (o.name IS NULL AND j.deleted = 1))
		ORDER BY j.seq LIMIT $5`, int64(k.Account), int64(k.ID), since, upTo, limit)
}
