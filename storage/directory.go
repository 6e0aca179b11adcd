package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// ImportAccounts creates the accounts of specs, or changes those that exist,
// by a constant number of statements in one transaction. A second run changes
// nothing.
func (db *DB) ImportAccounts(ctx context.Context, specs []AccountSpec) (created, updated int, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		created, updated, err = tx.importAccounts(ctx, specs)
		return err
	})
	return created, updated, err
}

func (tx *Tx) importAccounts(ctx context.Context, specs []AccountSpec) (created, updated int, err error) {
	names := map[string]bool{}
	var handles []string
	for i := range specs {
		if names[specs[i].Handle] {
			return 0, 0, fmt.Errorf("%w: %s is there twice", ErrInvalid, specs[i].Handle)
		}
		names[specs[i].Handle] = true
		handles = append(handles, specs[i].Handle)
		handles = append(handles, specs[i].Members...)
	}
	text, err := jsonText(handles)
	if err != nil {
		return 0, 0, err
	}
	list, err := queryAll(ctx, tx.s, scanAccount, `SELECT `+accountColumns+` FROM account a
		WHERE a.handle IN (SELECT v.value FROM @list($1; v)) AND a.removed = 0`, text)
	if err != nil {
		return 0, 0, err
	}
	ids := map[string]AccountID{}
	have := map[string]*Account{}
	for i := range list {
		have[list[i].Handle] = &list[i]
		ids[list[i].Handle] = list[i].ID
	}
	var fresh, changed []Account
	var take []addressRow
	now := Micros(tx.Now())
	for i := range specs {
		s := &specs[i]
		old := have[s.Handle]
		if old == nil {
			a := Account{Handle: s.Handle, Kind: s.Kind, DisplayName: s.DisplayName, Emails: s.Emails, Verifier: s.Verifier, UUID: s.UUID}
			if s.Rights != nil {
				a.Rights = *s.Rights
			}
			fresh = append(fresh, a)
			continue
		}
		a := *old
		c := AccountChange{DisplayName: &s.DisplayName, Rights: s.Rights}
		if s.Kind != 0 {
			c.Kind = &s.Kind
		}
		if s.Verifier != "" {
			c.Verifier = &s.Verifier
		}
		if s.Emails != nil {
			c.Emails = &s.Emails
		}
		if err := c.apply(&a); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", s.Handle, err)
		}
		if s.UUID != "" && !strings.EqualFold(s.UUID, old.UUID) {
			return 0, 0, fmt.Errorf("%w: %s has another uuid, which never changes", ErrInvalid, s.Handle)
		}
		if a.DisplayName == old.DisplayName && a.Kind == old.Kind && a.Version == old.Version && slices.Equal(a.Emails, old.Emails) {
			continue
		}
		a.Modified = max(now, a.Modified+1)
		changed = append(changed, a)
		var gone []string
		for _, e := range old.Emails {
			if !slices.Contains(a.Emails, e) {
				gone = append(gone, e)
			}
		}
		if err := tx.holdAddresses(ctx, a.ID, gone); err != nil {
			return 0, 0, err
		}
		for _, e := range a.Emails {
			if !slices.Contains(old.Emails, e) {
				take = append(take, addressRow{e, int64(a.ID)})
			}
		}
	}
	if err := tx.updateAccounts(ctx, changed); err != nil {
		return 0, 0, err
	}
	if err := tx.takeAddresses(ctx, take); err != nil {
		return 0, 0, err
	}
	if len(fresh) > 0 {
		if err := tx.createAccounts(ctx, fresh); err != nil {
			return 0, 0, err
		}
	}
	for i := range fresh {
		ids[fresh[i].Handle] = fresh[i].ID
	}
	return len(fresh), len(changed), tx.importMembers(ctx, specs, ids)
}

type memberRow struct {
	Group   int64 `json:"group_id"`
	Account int64 `json:"account_id"`
}

// importMembers replaces the members of the groups whose specs name some.
func (tx *Tx) importMembers(ctx context.Context, specs []AccountSpec, ids map[string]AccountID) error {
	var groups []int64
	members := []memberRow{}
	for i := range specs {
		if specs[i].Members == nil {
			continue
		}
		group := int64(ids[specs[i].Handle])
		groups = append(groups, group)
		for _, m := range specs[i].Members {
			id, ok := ids[m]
			if !ok {
				return fmt.Errorf("%w: %s has the member %s, who does not exist", ErrInvalid, specs[i].Handle, m)
			}
			if row := (memberRow{group, int64(id)}); !slices.Contains(members, row) {
				members = append(members, row)
			}
		}
	}
	if len(groups) == 0 {
		return nil
	}
	g, err := jsonText(groups)
	if err != nil {
		return err
	}
	m, err := jsonText(members)
	if err != nil {
		return err
	}
	if err := tx.s.later(ctx, `DELETE FROM member WHERE group_id IN (SELECT CAST(v.value AS BIGINT) FROM @list($1; v))`, g); err != nil {
		return err
	}
	if err := tx.s.later(ctx, `INSERT INTO member (group_id, account_id) SELECT r.group_id, r.account_id FROM @rows($1; r; group_id bigint, account_id bigint)`, m); err != nil {
		return err
	}
	return tx.recomputeMembership(ctx)
}

// recomputeMembership brings the closure up to date with the direct members.
// Groups may contain each other; none is a member of itself by that.
func (tx *Tx) recomputeMembership(ctx context.Context) error {
	if _, err := queryOne(ctx, tx.s, scanText, `SELECT l.name FROM lease l WHERE l.name = 'membership' @forupdate(l)`); err != nil {
		return err
	}
	scan := func(r rows) (m memberRow, err error) {
		err = r.Scan(&m.Group, &m.Account)
		return
	}
	direct, err := queryAll(ctx, tx.s, scan, `SELECT group_id, account_id FROM member`)
	if err != nil {
		return err
	}
	have, err := queryAll(ctx, tx.s, scan, `SELECT group_id, account_id FROM membership`)
	if err != nil {
		return err
	}
	parents := map[int64][]int64{}
	for _, m := range direct {
		parents[m.Account] = append(parents[m.Account], m.Group)
	}
	want := map[memberRow]bool{}
	for account := range parents {
		seen := map[int64]bool{account: true}
		for todo := slices.Clone(parents[account]); len(todo) > 0; {
			g := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !seen[g] {
				seen[g] = true
				want[memberRow{g, account}] = true
				todo = append(todo, parents[g]...)
			}
		}
	}
	var gone, fresh []memberRow
	for _, m := range have {
		if !want[m] {
			gone = append(gone, m)
		}
		delete(want, m)
	}
	for m := range want {
		fresh = append(fresh, m)
	}
	if len(gone) > 0 {
		text, err := jsonText(gone)
		if err != nil {
			return err
		}
		if err := tx.s.later(ctx, `DELETE FROM membership WHERE (account_id, group_id) IN (SELECT r.account_id, r.group_id FROM @rows($1; r; account_id bigint, group_id bigint))`, text); err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		text, err := jsonText(fresh)
		if err != nil {
			return err
		}
		return tx.s.later(ctx, `INSERT INTO membership (account_id, group_id) SELECT r.account_id, r.group_id FROM @rows($1; r; account_id bigint, group_id bigint)`, text)
	}
	return nil
}

// AddMember makes an account (or group) a direct member of a group; it is no
// error when it is one.
func (db *DB) AddMember(ctx context.Context, group, member AccountID) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		accounts, err := tx.AccountsByID(ctx, []AccountID{group, member})
		if err != nil {
			return err
		}
		g, ok := accounts[group]
		if _, known := accounts[member]; !ok || !known {
			return ErrNotFound
		}
		if g.Kind != KindGroup {
			return fmt.Errorf("%w: %s is not a group", ErrInvalid, g.Handle)
		}
		if group == member {
			return fmt.Errorf("%w: a group is no member of itself", ErrInvalid)
		}
		if err := tx.s.later(ctx, `INSERT INTO member (group_id, account_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, int64(group), int64(member)); err != nil {
			return err
		}
		return tx.recomputeMembership(ctx)
	})
}

// RemoveMember takes a direct member out of a group; ErrNotFound when it is none.
func (db *DB) RemoveMember(ctx context.Context, group, member AccountID) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.s.exec(ctx, `DELETE FROM member WHERE group_id = $1 AND account_id = $2`, int64(group), int64(member))
		if err := affectedOne(n, err); err != nil {
			return err
		}
		return tx.recomputeMembership(ctx)
	})
}

// Members are the direct members of a group.
func (db *DB) Members(ctx context.Context, group AccountID) ([]Account, error) {
	return readAll(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM member m JOIN account a ON a.id = m.account_id
		WHERE m.group_id = $1 AND a.removed = 0 ORDER BY a.handle`, int64(group))
}

// AllMembers are the members of a group over any number of steps, groups
// among them included.
func (db *DB) AllMembers(ctx context.Context, group AccountID) ([]Account, error) {
	return readAll(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM membership m JOIN account a ON a.id = m.account_id
		WHERE m.group_id = $1 AND a.removed = 0 ORDER BY a.handle`, int64(group))
}

// MembersOf are the people, rooms and resources in each of several groups over
// any number of steps, in the order of their handles; one statement. Disabled
// accounts are left out.
func (tx *Tx) MembersOf(ctx context.Context, groups []AccountID) (map[AccountID][]Account, error) {
	text, err := jsonText(groups)
	if err != nil {
		return nil, err
	}
	type row struct {
		group AccountID
		Account
	}
	list, err := queryAll(ctx, tx.s, func(r rows) (m row, err error) {
		var a accountRow
		if err := r.Scan(a.dest(append(make([]any, 0, 14), (*int64)(&m.group)))...); err != nil {
			return m, err
		}
		return m, a.account(&m.Account)
	}, `SELECT m.group_id, `+accountColumns+` FROM membership m JOIN account a ON a.id = m.account_id
		WHERE m.group_id IN (SELECT CAST(v.value AS BIGINT) FROM @list($1; v)) AND a.removed = 0 AND a.disabled = 0 AND a.kind <> 2 ORDER BY a.handle`, text)
	if err != nil {
		return nil, err
	}
	out := map[AccountID][]Account{}
	for _, m := range list {
		out[m.group] = append(out[m.group], m.Account)
	}
	return out, nil
}

// GroupsOf are the groups an account is in over any number of steps.
func (db *DB) GroupsOf(ctx context.Context, account AccountID) ([]AccountID, error) {
	return readAll(ctx, db, func(r rows) (AccountID, error) {
		n, err := scanInt(r)
		return AccountID(n), err
	}, `SELECT group_id FROM membership WHERE account_id = $1 ORDER BY group_id`, int64(account))
}

// MemberOf are the groups an account is a direct member of.
func (db *DB) MemberOf(ctx context.Context, account AccountID) ([]Account, error) {
	return readAll(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM member m JOIN account a ON a.id = m.group_id
		WHERE m.account_id = $1 AND a.removed = 0 ORDER BY a.handle`, int64(account))
}

// Recipients finds the accounts behind comparison keys: "mailto:…" and
// "urn:uuid:…" as calendar.Address.Key gives them, "handle:NAME". Unknown keys
// are left out. One statement, whatever the number of keys.
func (db *DB) Recipients(ctx context.Context, keys []string) (out map[string]Recipient, err error) {
	err = db.read(ctx, func(s session) error {
		out, err = recipients(ctx, s, keys)
		return err
	})
	return out, err
}

// Recipients is DB.Recipients within a transaction.
func (tx *Tx) Recipients(ctx context.Context, keys []string) (map[string]Recipient, error) {
	return recipients(ctx, tx.s, keys)
}

var recipientPrefixes = [...]string{"mailto:", "urn:uuid:", "handle:"}

const recipientsText = `SELECT k.form, k.value, ` + accountColumns + `, COALESCE(i.id, 0),
	COALESCE(c.id, 0), COALESCE(c.name, ''), COALESCE(c.components, 0), COALESCE(c.transparent, 0), COALESCE(c.timezone, ''),
	COALESCE(t.id, 0), COALESCE(t.name, ''), COALESCE(t.components, 0), COALESCE(t.transparent, 0), COALESCE(t.timezone, '')
	FROM (
		SELECT 0 AS form, v.value, d.account_id FROM @list($1; v) JOIN address d ON d.address = v.value AND d.held_until = 0
		UNION ALL
		SELECT 1, v.value, u.id FROM @list($2; v) JOIN account u ON u.uuid = v.value
		UNION ALL
		SELECT 2, v.value, h.id FROM @list($3; v) JOIN account h ON h.handle = v.value
	) k
	JOIN account a ON a.id = k.account_id AND a.removed = 0
	LEFT JOIN collection i ON i.account_id = a.id AND i.name = 'inbox' AND i.kind = 3 AND i.deleting = 0
	LEFT JOIN collection c ON c.account_id = a.id AND c.name = a.default_calendar AND c.kind = 2 AND c.deleting = 0
	LEFT JOIN collection t ON t.account_id = a.id AND t.name = a.default_tasks AND t.kind = 2 AND t.deleting = 0`

func recipients(ctx context.Context, s session, keys []string) (map[string]Recipient, error) {
	var forms [len(recipientPrefixes)][]string
	for _, k := range keys {
		for i, prefix := range recipientPrefixes {
			if rest, ok := strings.CutPrefix(k, prefix); ok && plainText(rest) == nil {
				forms[i] = append(forms[i], rest)
			}
		}
	}
	out := make(map[string]Recipient, len(keys))
	args := make([]any, len(forms))
	n := 0
	for i, list := range forms {
		n += len(list)
		if list == nil {
			list = []string{}
		}
		text, err := jsonText(list)
		if err != nil {
			return nil, err
		}
		args[i] = text
	}
	if n == 0 {
		return out, nil
	}
	r, err := s.query(ctx, recipientsText, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for r.Next() {
		var form, inbox, transparentC, transparentT, componentsC, componentsT int64
		var key string
		var a accountRow
		var to Recipient
		dest := a.dest(append(make([]any, 0, 26), &form, &key))
		dest = append(dest, &inbox,
			(*int64)(&to.Calendar.ID), &to.Calendar.Name, &componentsC, &transparentC, &to.Calendar.Timezone,
			(*int64)(&to.Tasks.ID), &to.Tasks.Name, &componentsT, &transparentT, &to.Tasks.Timezone)
		if err := r.Scan(dest...); err != nil {
			return nil, err
		}
		if err := a.account(&to.Account); err != nil {
			return nil, err
		}
		id := to.Account.ID
		to.Inbox = CollectionKey{id, CollectionID(inbox)}
		to.Calendar.Account, to.Tasks.Account = id, id
		to.Calendar.Components, to.Calendar.Transparent = Components(componentsC), transparentC != 0
		to.Tasks.Components, to.Tasks.Transparent = Components(componentsT), transparentT != 0
		out[recipientPrefixes[form]+key] = to
	}
	return out, r.Err()
}
