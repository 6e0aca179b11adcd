package storage

import (
	lru "container/list"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
)

// What one device has just fetched the others fetch soon, and whoever shares
// the calendar too. So the data that Named has read are kept, by name, number
// and entity tag; the listing says which those are now (see listing.go), and
// nobody has to tell anybody of a change.

const (
	bodiesOctets = 12 << 20           // all that is kept
	bodyOctets   = bodiesOctets / 192 // of one object; a larger one is read each time
	bodyOverhead = 256                // about what the rest of an entry takes
)

// bodies are the data of objects, the least used going first.
type bodies struct {
	mu     sync.Mutex
	kept   map[ObjectKey]*lru.Element // of *body
	order  lru.List
	octets int
}

type body struct {
	key        ObjectKey
	seq        int64
	etag, data string
}

func (b *body) size() int { return bodyOverhead + len(b.key.Name) + len(b.etag) + len(b.data) }

// fill gives objects their data; an object whose data are not kept is named in
// the answer by its place.
func (b *bodies) fill(objects []Object) (lacking []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range objects {
		o := &objects[i]
		if o.Missing() {
			continue
		}
		if e := b.kept[o.ObjectKey]; e != nil {
			if have := e.Value.(*body); have.seq == o.Seq && have.etag == o.ETag {
				o.Data = have.data
				b.order.MoveToFront(e)
				continue
			}
		}
		lacking = append(lacking, i)
	}
	return lacking
}

// keep replaces what is kept of an object.
func (b *bodies) keep(o *Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.kept[o.ObjectKey]; e != nil {
		b.drop(e)
	}
	n := &body{o.ObjectKey, o.Seq, o.ETag, o.Data}
	if n.size() > bodyOctets {
		return
	}
	for b.octets+n.size() > bodiesOctets {
		b.drop(b.order.Back())
	}
	if b.kept == nil {
		b.kept = map[ObjectKey]*lru.Element{}
	}
	b.kept[n.key] = b.order.PushFront(n)
	b.octets += n.size()
}

func (b *bodies) drop(e *lru.Element) {
	old := b.order.Remove(e).(*body)
	delete(b.kept, old.key)
	b.octets -= old.size()
}

// Named is Get for a collection that the caller has just read: each object at
// least as it was then. It asks the database for no more than what is not kept.
func (db *DB) Named(ctx context.Context, c *Collection, names []string, cols Columns) iter.Seq2[Object, error] {
	if cols&^ColumnData != 0 {
		return db.Get(ctx, c.CollectionKey, names, cols)
	}
	return func(yield func(Object, error) bool) {
		known, err := db.known(ctx, c)
		if err != nil {
			yield(Object{}, err)
			return
		}
		if known == nil {
			db.Get(ctx, c.CollectionKey, names, cols)(yield)
			return
		}
		for batch := range slices.Chunk(names, getBatch) {
			objects := known.named(c.CollectionKey, batch)
			var lacking []int
			if cols&ColumnData != 0 {
				lacking = db.bodies.fill(objects)
			}
			if !db.complete(ctx, c.CollectionKey, objects, lacking, yield) {
				return
			}
		}
	}
}

// named are the objects of the names, in their order; of an absent one the key.
func (l *listing) named(k CollectionKey, names []string) []Object {
	objects := make([]Object, len(names))
	for i, name := range names {
		at, there := slices.BinarySearchFunc(l.objects, name, func(o *Object, name string) int { return strings.Compare(o.Name, name) })
		if objects[i].ObjectKey = (ObjectKey{k, name}); there {
			objects[i] = *l.objects[at]
		}
	}
	return objects
}

// complete yields the objects, those at the places in lacking as the database
// has them now. False: somebody has had enough.
func (db *DB) complete(ctx context.Context, k CollectionKey, objects []Object, lacking []int, yield func(Object, error) bool) bool {
	names := make([]string, len(lacking))
	for i, at := range lacking {
		names[i] = objects[at].Name
	}
	next, read := 0, 0
	for o, err := range db.Get(ctx, k, names, ColumnData) {
		if err != nil {
			yield(Object{}, err)
			return false
		}
		for ; next < lacking[read]; next++ {
			if !yield(objects[next], nil) {
				return false
			}
		}
		read, next = read+1, next+1
		if !o.Missing() {
			db.bodies.keep(&o)
		}
		if !yield(o, nil) {
			return false
		}
	}
	for ; next < len(objects); next++ {
		if !yield(objects[next], nil) {
			return false
		}
	}
	return true
}
