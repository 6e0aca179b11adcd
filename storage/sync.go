package storage

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// TokenPrefix begins each sync token of a collection (RFC 6578 §3.2). A token
// names a change: the nonce that the collection was born with, the number of the
// change, and the random tag of its journal row, by which the token of a database
// that was restored or cloned is recognized. The token of an initial
// synchronization that goes on also has the name that it has come to.
//
//	urn:kalends:sync:NONCE-SEQ-TAG[-NAME in base64url]
const TokenPrefix = "urn:kalends:sync:"

type syncToken struct {
	nonce, tag string
	seq        int64
	after      string // initial synchronization goes on after this name
	initial    bool
}

func (t *syncToken) String() string {
	b := make([]byte, 0, len(TokenPrefix)+len(t.nonce)+len(t.tag)+24)
	b = append(append(append(b, TokenPrefix...), t.nonce...), '-')
	b = append(append(strconv.AppendInt(b, t.seq, 10), '-'), t.tag...)
	if t.initial {
		b = base64.RawURLEncoding.AppendEncode(append(b, '-'), []byte(t.after))
	}
	return string(b)
}

// parseToken reads a token; everything it does not like is ErrBadToken.
func parseToken(s string) (t syncToken, err error) {
	bad := fmt.Errorf("%w: malformed", ErrBadToken)
	rest, ok := strings.CutPrefix(s, TokenPrefix)
	if !ok || len(rest) > 4096 {
		return t, bad
	}
	parts := strings.SplitN(rest, "-", 4)
	if len(parts) < 3 || parts[0] == "" || parts[2] == "" {
		return t, bad
	}
	t.nonce, t.tag = parts[0], parts[2]
	if t.seq, err = strconv.ParseInt(parts[1], 10, 64); err != nil || t.seq < 0 || strconv.FormatInt(t.seq, 10) != parts[1] {
		return t, bad
	}
	if len(parts) == 4 {
		name, err := base64.RawURLEncoding.DecodeString(parts[3])
		if err != nil || len(name) == 0 || plainText(string(name)) != nil || base64.RawURLEncoding.EncodeToString(name) != parts[3] {
			return t, bad
		}
		t.after, t.initial = string(name), true
	}
	return t, plainToken(t)
}

// plainToken refuses octets that no token of ours has.
func plainToken(t syncToken) error {
	for _, c := range []byte(t.nonce + t.tag) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%w: malformed", ErrBadToken)
		}
	}
	return nil
}

// Token is the sync token of the collection's state, also its CTag.
func (c *Collection) Token() string {
	return (&syncToken{nonce: c.Nonce, seq: c.Seq, tag: c.Tag}).String()
}

// IsToken tells whether s is written as the token of a collection.
func IsToken(s string) bool {
	_, err := parseToken(s)
	return err == nil
}

// Knows tells whether a token is of this collection, not of another one that had
// its name.
func (c *Collection) Knows(token string) bool {
	t, err := parseToken(token)
	return err == nil && t.nonce == c.Nonce
}

// Changes tells what has changed in a collection since token; "" asks for
// everything there is. At most limit changes (0: all) are given; Truncated
// says that more is to be had with the new token. Each name is there once,
// with its last state. A token that is not of this collection, from another
// life of the database, or older than the journal reaches is ErrBadToken.
func (db *DB) Changes(ctx context.Context, k CollectionKey, token string, limit int) (ChangeSet, error) {
	c := Collection{CollectionKey: k}
	_, err := readOne(ctx, db, func(r rows) (struct{}, error) {
		return struct{}{}, r.Scan(&c.Nonce, &c.Seq, &c.Tag, (*uint8)(&c.Kind))
	}, `SELECT c.nonce, c.seq, c.tag, c.kind FROM collection c WHERE c.account_id = $1 AND c.id = $2 AND c.deleting = 0`, int64(k.Account), int64(k.ID))
	if err != nil {
		return ChangeSet{}, err
	}
	return db.ChangesTo(ctx, &c, token, limit)
}

// ChangesTo is Changes up to the state of the collection that the caller has
// read, by one statement more. c.Seq is the number N that the new token stands
// for; an object that changes after it has a higher number and is told by the
// next call, even when the statement here does not show it any more.
func (db *DB) ChangesTo(ctx context.Context, c *Collection, token string, limit int) (set ChangeSet, err error) {
	since := syncToken{nonce: c.Nonce, seq: c.Seq, tag: c.Tag, initial: true}
	if token != "" {
		if since, err = parseToken(token); err != nil {
			return set, err
		}
	}
	if since.nonce != c.Nonce || since.seq > c.Seq || since.seq == c.Seq && since.tag != c.Tag {
		return set, ErrBadToken
	}
	if since.initial {
		return db.initialChanges(ctx, c, since, limit)
	}
	end := syncToken{nonce: c.Nonce, seq: c.Seq, tag: c.Tag}
	if since.seq == c.Seq {
		return ChangeSet{Token: end.String()}, nil
	}
	fetch := int64(math.MaxInt64)
	if limit > 0 {
		fetch = int64(limit) + 2
	}
	// The row of the token itself comes first: its tag tells whether it is of this
	// life of the database.
	steps, err := db.journalSteps(ctx, c.CollectionKey, since.seq, c.Seq, fetch)
	if err != nil {
		return set, err
	}
	if len(steps) == 0 || steps[0].seq != since.seq || steps[0].tag != since.tag {
		return set, ErrBadToken
	}
	steps = steps[1:]
	if limit > 0 && len(steps) > limit {
		steps = steps[:limit]
		set.Truncated = true
		end.seq, end.tag = steps[limit-1].seq, steps[limit-1].tag
	}
	// A name deleted more than once is told of once, the last time.
	last := make(map[string]int64, len(steps))
	for _, st := range steps {
		last[st.name] = st.seq
	}
	set.Changes = make([]Change, 0, len(steps))
	for i := range steps {
		st := &steps[i]
		switch {
		case last[st.name] != st.seq:
		case st.deleted:
			set.Changes = append(set.Changes, Change{Object: &Object{ObjectKey: ObjectKey{c.CollectionKey, st.name}, Seq: st.seq}, Deleted: true})
		default:
			set.Changes = append(set.Changes, Change{Object: st.row.object(c.CollectionKey)})
		}
	}
	set.Token = end.String()
	return set, nil
}

// initialChanges lists everything, or goes on after since.after. Pages go on
// from the state of the first one, which the journal must still have.
func (db *DB) initialChanges(ctx context.Context, c *Collection, since syncToken, limit int) (set ChangeSet, err error) {
	if since.seq != c.Seq {
		tag, err := readOne(ctx, db, scanText, `SELECT tag FROM journal WHERE account_id = $1 AND collection_id = $2 AND seq = $3`, int64(c.Account), int64(c.ID), since.seq)
		if errors.Is(err, ErrNotFound) || err == nil && tag != since.tag {
			return set, ErrBadToken
		}
		if err != nil {
			return set, err
		}
	}
	members := db.Listing(ctx, c)
	if limit > 0 || since.after != "" {
		fetch := int64(math.MaxInt64)
		if limit > 0 {
			fetch = int64(limit) + 1
		}
		members = stream(ctx, db.read, listedScanner(c.CollectionKey), `SELECT `+objectListed+` FROM object o
			WHERE o.account_id = $1 AND o.collection_id = $2 AND o.name > $3 ORDER BY o.name LIMIT $4`, int64(c.Account), int64(c.ID), since.after, fetch)
	}
	var list []Change
	for o, err := range members {
		if err != nil {
			return set, err
		}
		list = append(list, Change{Object: o})
	}
	end := syncToken{nonce: since.nonce, seq: since.seq, tag: since.tag}
	if limit > 0 && len(list) > limit {
		list = list[:limit]
		set.Truncated = true
		end.initial, end.after = true, list[limit-1].Name
	}
	set.Changes, set.Token = list, end.String()
	return set, nil
}

// HomeChanges tells which collections of a home came, went, or changed their
// properties since token, of which home.Token gives the present one. What is
// in them is told by Changes for each. "" gives ErrBadToken: who knows
// nothing lists Collections.
func (db *DB) HomeChanges(ctx context.Context, account AccountID, token string) (set HomeChangeSet, err error) {
	since, err := parseToken(token)
	if err != nil {
		return set, err
	}
	home, err := db.CollectionByName(ctx, account, "")
	if err != nil {
		return set, err
	}
	type row struct {
		seq, deleted int64
		name, tag    string
	}
	list, err := readAll(ctx, db, func(r rows) (w row, err error) {
		err = r.Scan(&w.seq, &w.name, &w.deleted, &w.tag)
		return
	}, `SELECT seq, name, deleted, tag FROM journal WHERE account_id = $1 AND collection_id = $2 AND seq >= $3 AND seq <= $4 ORDER BY seq`,
		int64(account), int64(home.ID), since.seq, home.Seq)
	if err != nil {
		return set, err
	}
	if since.initial || since.nonce != home.Nonce || len(list) == 0 || list[0].seq != since.seq || list[0].tag != since.tag {
		return set, ErrBadToken
	}
	last := map[string]int64{}
	for _, w := range list[1:] {
		last[w.name] = w.seq
	}
	for _, w := range list[1:] {
		switch {
		case last[w.name] != w.seq:
		case w.deleted != 0:
			set.Deleted = append(set.Deleted, w.name)
		default:
			set.Changed = append(set.Changed, w.name)
		}
	}
	set.Token = home.Token()
	return set, nil
}
