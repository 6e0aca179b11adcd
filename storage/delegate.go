package storage

import (
	"context"
	"fmt"
	"slices"

	"github.com/kalends/kalends/caldav/acl"
)

// Delegate is one edge of delegation: an account, or the other end of it, and
// what it may do.
type Delegate struct {
	Account Account
	Mode    acl.Proxy
}

// MaxDelegates is how many delegates of a mode an account may have.
const MaxDelegates = 500

// SetDelegates replaces the members of calendar-proxy-read or -write of an
// account. ErrInvalid: a member that does not exist, the account itself, an
// account that owns no calendars, or too many.
func (db *DB) SetDelegates(ctx context.Context, account AccountID, mode acl.Proxy, members []AccountID) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error { return tx.SetDelegates(ctx, account, mode, members) })
}

// SetDelegates is DB.SetDelegates within a transaction.
func (tx *Tx) SetDelegates(ctx context.Context, account AccountID, mode acl.Proxy, members []AccountID) error {
	if mode != acl.ReadProxy && mode != acl.WriteProxy {
		return fmt.Errorf("%w: delegates read or write", ErrInvalid)
	}
	members = slices.Clone(members)
	slices.Sort(members)
	members = slices.Compact(members)
	if len(members) > MaxDelegates {
		return fmt.Errorf("%w: at most %d delegates", ErrInvalid, MaxDelegates)
	}
	// The home's row lock keeps two changes of the same list apart.
	if err := tx.LockHome(ctx, account); err != nil {
		return err
	}
	if slices.Contains(members, account) {
		return fmt.Errorf("%w: nobody is his own delegate", ErrInvalid)
	}
	known, err := tx.AccountsByID(ctx, members)
	if err != nil {
		return err
	}
	if len(known) != len(members) {
		return fmt.Errorf("%w: a delegate who does not exist", ErrInvalid)
	}
	if err := tx.s.later(ctx, `DELETE FROM delegate WHERE account_id = $1 AND mode = $2`, int64(account), int64(mode)); err != nil {
		return err
	}
	if len(members) == 0 {
		return nil
	}
	text, err := jsonText(members)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO delegate (account_id, delegate_id, mode)
		SELECT CAST($1 AS BIGINT), CAST(v.value AS BIGINT), CAST($2 AS BIGINT) FROM @list($3; v)`, int64(account), int64(mode), text)
}

func scanDelegate(r rows) (d Delegate, err error) {
	var row accountRow
	var mode int64
	if err := r.Scan(append(row.dest(make([]any, 0, 14)), &mode)...); err != nil {
		return d, err
	}
	d.Mode = acl.Proxy(mode)
	return d, row.account(&d.Account)
}

// Delegates are the direct delegates of an account, groups among them as groups.
func (db *DB) Delegates(ctx context.Context, account AccountID) ([]Delegate, error) {
	return readAll(ctx, db, scanDelegate, `SELECT `+accountColumns+`, g.mode FROM delegate g JOIN account a ON a.id = g.delegate_id
		WHERE g.account_id = $1 AND a.removed = 0 ORDER BY a.handle, g.mode`, int64(account))
}

// DelegatorsOf are the accounts that an account is a direct delegate of.
func (db *DB) DelegatorsOf(ctx context.Context, account AccountID) ([]Delegate, error) {
	return readAll(ctx, db, scanDelegate, `SELECT `+accountColumns+`, g.mode FROM delegate g JOIN account a ON a.id = g.account_id
		WHERE g.delegate_id = $1 AND a.removed = 0 ORDER BY a.handle, g.mode`, int64(account))
}

// AllDelegatorsOf are the accounts that an account is a delegate of, itself or as
// a member of a group; each once, with the greatest mode.
func (db *DB) AllDelegatorsOf(ctx context.Context, account AccountID) ([]Delegate, error) {
	return readAll(ctx, db, scanDelegate, `SELECT `+accountColumns+`, g.mode FROM account a JOIN (
			SELECT d.account_id, MAX(d.mode) AS mode FROM delegate d WHERE d.delegate_id = $1
				OR d.delegate_id IN (SELECT m.group_id FROM membership m WHERE m.account_id = $1) GROUP BY d.account_id
		) g ON g.account_id = a.id WHERE a.removed = 0 AND a.id <> $1 ORDER BY a.handle`, int64(account))
}
