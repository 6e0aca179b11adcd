package scheduling

import (
	"time"

	"github.com/kalends/kalends/storage"
)

// told are the DTSTAMPs of what accounts tell of one object. RFC 5546 §2.1.5:
// of two messages with one SEQUENCE the one with the newer DTSTAMP counts, so each
// must be newer than the one before (want 25): within the same second, and when
// our clock was ahead and has been set back.
type told map[storage.AccountID]*telling

type telling struct {
	last time.Time // by earlier changes
	now  time.Time // by this one; zero: nothing was told
}

// second is a time as DTSTAMP has it.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// since says what an account told last.
func (t told) since(a storage.AccountID, last time.Time) {
	if x := t[a]; x == nil {
		t[a] = &telling{last: last}
	} else if last.After(x.last) {
		x.last = last
	}
}

// stamp is the DTSTAMP of what an account tells now, the same for all of it.
func (t told) stamp(a storage.AccountID, now time.Time) time.Time {
	x := t[a]
	if x == nil {
		x = new(telling)
		t[a] = x
	}
	if x.now.IsZero() {
		x.now = second(now)
		if next := x.last.Add(time.Second); next.After(x.now) && next.Year() < 9999 {
			x.now = second(next)
		}
	}
	return x.now
}

// latest is what is to be remembered of an account.
func (t told) latest(a storage.AccountID) time.Time {
	switch x := t[a]; {
	case x == nil:
		return time.Time{}
	case !x.now.IsZero():
		return x.now
	default:
		return x.last
	}
}
