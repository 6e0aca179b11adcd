package storage

import (
	"sync"
	"time"
)

// Whether there is room for what a plain PUT stores is a sum over the account's
// calendars, which takes a tenth of the statement's time. An account that is
// found to be far from its limit may take some octets without being looked at
// again. So a small limit is kept exactly, and a large one to within what the
// other nodes had taken for granted at the time.
const (
	roomFar   = 64 << 20         // so much room is far from the limit
	roomTaken = roomFar / 4      // taken for granted then, by each node
	roomFor   = 10 * time.Second // and for so long; as long an account that was near counts as near
)

// rooms are the accounts that were looked at.
type rooms struct {
	mu   sync.Mutex
	seen map[AccountID]room
}

type room struct {
	limit int64
	left  int64 // octets that may still be taken for granted; 0: near its limit
	until int64 // unix µs
}

// roomCheck is what a plain PUT does about the limit.
type roomCheck int

const (
	roomExact   roomCheck = iota // looks whether there is room
	roomAsked                    // looks whether there is much room; when not, exactly
	roomGranted                  // does not look
)

// check says what to do for an account with a limit, now, and takes the octets.
func (r *rooms) check(account AccountID, limit, octets, now int64) roomCheck {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.seen[account]
	switch {
	case !ok || known.until <= now || known.limit != limit:
		if limit <= roomFar {
			return roomExact
		}
		return roomAsked
	case known.left == 0:
		return roomExact
	case known.left <= octets:
		return roomAsked
	}
	known.left -= octets
	r.seen[account] = known
	return roomGranted
}

// found remembers what a PUT that asked has found.
func (r *rooms) found(account AccountID, limit int64, far bool, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[AccountID]room{}
	}
	for other := range r.seen {
		if len(r.seen) < accountCacheSize {
			break
		}
		delete(r.seen, other)
	}
	n := room{limit: limit, until: now + roomFor.Microseconds()}
	if far {
		n.left = roomTaken
	}
	r.seen[account] = n
}
