package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// accountColumns are read by accountRow; %s is the alias of the table.
const accountColumns = `a.id, a.handle, a.uuid, a.kind, a.display_name, a.emails, a.rights, a.verifier, a.version, a.disabled, a.settings, a.created, a.modified`

// accountRow receives accountColumns.
type accountRow struct {
	id, kind, rights, version, disabled, created, modified int64
	handle, uuid, name, emails, verifier, settings         string
}

func (r *accountRow) dest(d []any) []any {
	return append(d, &r.id, &r.handle, &r.uuid, &r.kind, &r.name, &r.emails, &r.rights, &r.verifier, &r.version, &r.disabled, &r.settings, &r.created, &r.modified)
}

func (r *accountRow) account(a *Account) error {
	*a = Account{
		ID: AccountID(r.id), Handle: r.handle, Kind: AccountKind(r.kind), DisplayName: r.name, UUID: r.uuid,
		Rights: Rights(r.rights), Verifier: r.verifier, Version: r.version, Disabled: r.disabled != 0,
		Created: r.created, Modified: r.modified,
	}
	if r.emails != "" {
		a.Emails = strings.Split(r.emails, " ")
	}
	if r.settings != "" {
		if err := json.Unmarshal([]byte(r.settings), &a.Settings); err != nil {
			return fmt.Errorf("storage: settings of account %s: %w", r.handle, err)
		}
	}
	return nil
}

func scanAccount(r rows) (a Account, err error) {
	var row accountRow
	if err := r.Scan(row.dest(make([]any, 0, 13))...); err != nil {
		return a, err
	}
	return a, row.account(&a)
}

// settingsText is what the column holds, and the default collections' names.
func settingsText(s Settings) (text, events, tasks string, err error) {
	events, tasks = cmp.Or(s.DefaultCalendar, "calendar"), cmp.Or(s.DefaultTasks, "tasks")
	if reflect.DeepEqual(s, Settings{}) {
		return "", events, tasks, nil
	}
	text, err = jsonText(s)
	return text, events, tasks, err
}

// ValidHandle tells whether s may name an account: 1 to 64 of a-z 0-9 . _ -
// and not only dots.
func ValidHandle(s string) bool {
	if len(s) == 0 || len(s) > 64 || strings.Trim(s, ".") == "" {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// SignsInAs tells that a login names the account: its handle or one of its
// addresses.
func (a *Account) SignsInAs(login string) bool {
	if strings.IndexByte(login, '@') < 0 {
		return strings.EqualFold(login, a.Handle)
	}
	return slices.Contains(a.Emails, NormalEmail(login))
}

// NormalEmail is the form in which the database knows a mail address: lower
// case, domain in A-labels; "" when it is none. A mailto: in front is allowed.
func NormalEmail(s string) string {
	key := calendar.Address(s).Key()
	email, ok := strings.CutPrefix(key, "mailto:")
	if !ok {
		return ""
	}
	return email
}

func normalEmails(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, e := range list {
		n := NormalEmail(e)
		if n == "" || strings.Contains(n, " ") {
			return nil, fmt.Errorf("%w: %q is no mail address", ErrInvalid, e)
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

// plainText refuses what neither engine can store.
func plainText(values ...string) error {
	for _, v := range values {
		if strings.IndexByte(v, 0) >= 0 || !validUTF8(v) {
			return fmt.Errorf("%w: text with NUL or broken UTF-8", ErrInvalid)
		}
	}
	return nil
}

// CreateAccount creates an account with its home, calendar/, tasks/, inbox/,
// outbox/ and notification/ (groups get none of them). ID, UUID and times are
// set when they are empty. ErrExists when the handle, an address or the UUID
// is taken, with a HeldError when a removed account had it.
func (db *DB) CreateAccount(ctx context.Context, a Account) (out Account, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		out, err = tx.CreateAccount(ctx, a)
		return err
	})
	return out, err
}

// CreateAccount is DB.CreateAccount within a transaction.
func (tx *Tx) CreateAccount(ctx context.Context, a Account) (Account, error) {
	list := []Account{a}
	if err := tx.createAccounts(ctx, list); err != nil {
		return Account{}, err
	}
	return list[0], nil
}

// newAccountRow and newCollectionRow are rows of bulk statements.
type newAccountRow struct {
	ID       int64  `json:"id"`
	Handle   string `json:"handle"`
	UUID     string `json:"uuid"`
	Kind     int64  `json:"kind"`
	Name     string `json:"display_name"`
	Emails   string `json:"emails"`
	Rights   int64  `json:"rights"`
	Verifier string `json:"verifier"`
	Version  int64  `json:"version"`
	Disabled int64  `json:"disabled"`
	Settings string `json:"settings"`
	Events   string `json:"default_calendar"`
	Tasks    string `json:"default_tasks"`
	Created  int64  `json:"created"`
	Modified int64  `json:"modified"`
}

const newAccountTypes = `id bigint, handle text, uuid text, kind bigint, display_name text, emails text, rights bigint, verifier text, version bigint, disabled bigint, settings text, default_calendar text, default_tasks text, created bigint, modified bigint`
const newAccountNames = `id, handle, uuid, kind, display_name, emails, rights, verifier, version, disabled, settings, default_calendar, default_tasks, created, modified`

type addressRow struct {
	Address string `json:"address"`
	Account int64  `json:"account_id"`
}

func (tx *Tx) accountRowOf(a *Account) (newAccountRow, error) {
	text, events, tasks, err := settingsText(a.Settings)
	if err != nil {
		return newAccountRow{}, err
	}
	return newAccountRow{
		ID: int64(a.ID), Handle: a.Handle, UUID: a.UUID, Kind: int64(a.Kind), Name: a.DisplayName,
		Emails: strings.Join(a.Emails, " "), Rights: int64(a.Rights), Verifier: a.Verifier, Version: a.Version,
		Disabled: bit(a.Disabled), Settings: text, Events: events, Tasks: tasks, Created: a.Created, Modified: a.Modified,
	}, plainText(a.DisplayName, a.UUID, a.Verifier, text)
}

// createAccounts fills in and inserts accounts by a constant number of
// statements.
func (tx *Tx) createAccounts(ctx context.Context, list []Account) error {
	now := Micros(tx.Now())
	var accounts []newAccountRow
	var emails []addressRow
	var collections []Collection
	var handles, uuids []string
	for i := range list {
		a := &list[i]
		if !ValidHandle(a.Handle) {
			return fmt.Errorf("%w: handle %q (1 to 64 of a-z 0-9 . _ -)", ErrInvalid, a.Handle)
		}
		var err error
		if a.Emails, err = normalEmails(a.Emails); err != nil {
			return err
		}
		if a.ID == 0 {
			a.ID = AccountID(tx.NewID())
		}
		a.UUID = strings.ToLower(a.UUID)
		if a.UUID == "" {
			a.UUID = tx.db.newUUID()
		}
		a.Kind = cmp.Or(a.Kind, KindUser)
		a.Version = max(a.Version, 1)
		a.Created = cmp.Or(a.Created, now)
		a.Modified = now
		row, err := tx.accountRowOf(a)
		if err != nil {
			return err
		}
		accounts = append(accounts, row)
		handles, uuids = append(handles, a.Handle), append(uuids, a.UUID)
		for _, e := range a.Emails {
			emails = append(emails, addressRow{e, int64(a.ID)})
		}
		if a.Kind != KindGroup {
			collections = append(collections, tx.firstCollections(a, now)...)
		}
	}
	if err := tx.freeNames(ctx, handles, uuids); err != nil {
		return err
	}
	if err := tx.takeAddresses(ctx, emails); err != nil {
		return err
	}
	text, err := jsonText(accounts)
	if err != nil {
		return err
	}
	if err := tx.s.later(ctx, `INSERT INTO account (`+newAccountNames+`) SELECT `+newAccountNames+` FROM @rows($1; r; `+newAccountTypes+`)`, text); err != nil {
		return err
	}
	return tx.insertCollections(ctx, collections)
}

// firstCollections are what every account but a group begins with.
func (tx *Tx) firstCollections(a *Account, now int64) []Collection {
	list := []Collection{
		{Kind: CollectionHome, DisplayName: a.DisplayName},
		{Kind: CollectionCalendar, Name: "calendar", DisplayName: "Calendar", Components: CompEvent},
		{Kind: CollectionCalendar, Name: "tasks", DisplayName: "Tasks", Components: CompTodo},
		{Kind: CollectionInbox, Name: "inbox", DisplayName: "Inbox", Components: CompEvent | CompTodo | CompFreeBusy},
		{Kind: CollectionOutbox, Name: "outbox", DisplayName: "Outbox", Components: CompFreeBusy},
		{Kind: CollectionNotification, Name: "notification", DisplayName: "Notifications"},
	}
	for i := range list {
		list[i].Account = a.ID
		tx.newCollection(&list[i], now)
	}
	return list
}

// freeNames sees to it that handles and UUIDs may be taken: what a removed
// account had long ago is given free, what it had lately is a HeldError.
func (tx *Tx) freeNames(ctx context.Context, handles, uuids []string) error {
	h, err := jsonText(handles)
	if err != nil {
		return err
	}
	u, err := jsonText(uuids)
	if err != nil {
		return err
	}
	type taken struct {
		id, removed  int64
		handle, uuid string
	}
	list, err := queryAll(ctx, tx.s, func(r rows) (t taken, err error) {
		err = r.Scan(&t.id, &t.handle, &t.uuid, &t.removed)
		return
	}, `SELECT id, handle, uuid, removed FROM account
		WHERE handle IN (SELECT v.value FROM @list($1; v)) OR uuid IN (SELECT v.value FROM @list($2; v))`, h, u)
	if err != nil {
		return err
	}
	now := Micros(tx.Now())
	for _, t := range list {
		until := t.removed + HoldBack.Microseconds()
		name := t.handle
		if !slices.Contains(handles, t.handle) {
			name = "urn:uuid:" + t.uuid
		}
		switch {
		case t.removed == 0:
			return fmt.Errorf("%w: %s is taken", ErrExists, name)
		case until > now:
			return &HeldError{What: name, Until: until}
		}
		if err := tx.s.later(ctx, `UPDATE account SET handle = '~' || CAST(id AS TEXT), uuid = '~' || CAST(id AS TEXT) WHERE id = $1`, t.id); err != nil {
			return err
		}
	}
	return nil
}

// takeAddresses gives addresses to accounts; an account may take back what is
// held back for itself.
func (tx *Tx) takeAddresses(ctx context.Context, list []addressRow) error {
	if len(list) == 0 {
		return nil
	}
	owner := make(map[string]int64, len(list))
	for _, r := range list {
		if other, ok := owner[r.Address]; ok && other != r.Account {
			return fmt.Errorf("%w: address %s is given twice", ErrExists, r.Address)
		}
		owner[r.Address] = r.Account
	}
	text, err := jsonText(list)
	if err != nil {
		return err
	}
	type taken struct {
		address     string
		id, heldFor int64
	}
	have, err := queryAll(ctx, tx.s, func(r rows) (t taken, err error) {
		err = r.Scan(&t.address, &t.id, &t.heldFor)
		return
	}, `SELECT d.address, d.account_id, d.held_until FROM @rows($1; r; address text) JOIN address d ON d.address = r.address`, text)
	if err != nil {
		return err
	}
	now := Micros(tx.Now())
	for _, t := range have {
		switch {
		case t.id == owner[t.address], t.heldFor != 0 && t.heldFor <= now:
		case t.heldFor == 0:
			return fmt.Errorf("%w: address %s belongs to another account", ErrExists, t.address)
		default:
			return &HeldError{What: t.address, Until: t.heldFor}
		}
	}
	if len(have) > 0 {
		if err := tx.s.later(ctx, `DELETE FROM address WHERE address IN (SELECT r.address FROM @rows($1; r; address text))`, text); err != nil {
			return err
		}
	}
	return tx.s.later(ctx, `INSERT INTO address (address, account_id, held_until)
		SELECT DISTINCT r.address, CAST(r.account_id AS BIGINT), 0 FROM @rows($1; r; address text, account_id bigint)`, text)
}

// holdAddresses takes addresses out of use and keeps them from others.
func (tx *Tx) holdAddresses(ctx context.Context, id AccountID, list []string) error {
	if len(list) == 0 {
		return nil
	}
	text, err := jsonText(list)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `UPDATE address SET held_until = $1 WHERE account_id = $2 AND address IN (SELECT v.value FROM @list($3; v))`,
		Micros(tx.Now().Add(HoldBack)), int64(id), text)
}

// UpdateAccount changes what c names and gives the account as it is then. Its
// version rises when the verifier, the rights or the disabling change; its
// modification time always rises, for the cache of accounts tells rows by both.
func (db *DB) UpdateAccount(ctx context.Context, id AccountID, c AccountChange) (out Account, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		a, err := queryOne(ctx, tx.s, scanAccount, `SELECT `+accountColumns+` FROM account a WHERE a.id = $1 AND a.removed = 0 @forupdate(a)`, int64(id))
		if err != nil {
			return err
		}
		emails := slices.Clone(a.Emails)
		if err := c.apply(&a); err != nil {
			return err
		}
		a.Modified = max(Micros(tx.Now()), a.Modified+1)
		if err := tx.changeEmails(ctx, &a, emails); err != nil {
			return err
		}
		out = a
		return tx.updateAccounts(ctx, []Account{a})
	})
	return out, err
}

// apply changes a as c says, in memory.
func (c *AccountChange) apply(a *Account) error {
	before := *a
	if c.DisplayName != nil {
		a.DisplayName = *c.DisplayName
	}
	if c.Kind != nil {
		if (*c.Kind == KindGroup) != (a.Kind == KindGroup) {
			return fmt.Errorf("%w: an account cannot become a group, nor a group an account", ErrInvalid)
		}
		a.Kind = *c.Kind
	}
	if c.Rights != nil {
		a.Rights = *c.Rights
	}
	if c.Disabled != nil {
		a.Disabled = *c.Disabled
	}
	if c.Verifier != nil {
		a.Verifier = *c.Verifier
	}
	if c.Settings != nil {
		a.Settings = *c.Settings
	}
	var err error
	emails := slices.Clone(a.Emails)
	if c.Emails != nil {
		if emails, err = normalEmails(*c.Emails); err != nil {
			return err
		}
	}
	add, err := normalEmails(c.AddEmails)
	if err != nil {
		return err
	}
	remove, err := normalEmails(c.RemoveEmails)
	if err != nil {
		return err
	}
	emails = slices.DeleteFunc(append(emails, add...), func(e string) bool { return slices.Contains(remove, e) })
	if a.Emails, err = normalEmails(emails); err != nil {
		return err
	}
	if a.Verifier != before.Verifier || a.Rights != before.Rights || a.Disabled != before.Disabled {
		a.Version++
	}
	return nil
}

// changeEmails brings the address table from old to a.Emails.
func (tx *Tx) changeEmails(ctx context.Context, a *Account, old []string) error {
	var gone []string
	var fresh []addressRow
	for _, e := range old {
		if !slices.Contains(a.Emails, e) {
			gone = append(gone, e)
		}
	}
	for _, e := range a.Emails {
		if !slices.Contains(old, e) {
			fresh = append(fresh, addressRow{e, int64(a.ID)})
		}
	}
	if err := tx.holdAddresses(ctx, a.ID, gone); err != nil {
		return err
	}
	return tx.takeAddresses(ctx, fresh)
}

// updateAccounts writes whole rows of existing accounts in one statement.
func (tx *Tx) updateAccounts(ctx context.Context, list []Account) error {
	if len(list) == 0 {
		return nil
	}
	updates := make([]newAccountRow, len(list))
	for i := range list {
		var err error
		if updates[i], err = tx.accountRowOf(&list[i]); err != nil {
			return err
		}
	}
	text, err := jsonText(updates)
	if err != nil {
		return err
	}
	return tx.s.later(ctx, `UPDATE account SET kind = r.kind, display_name = r.display_name, emails = r.emails, rights = r.rights,
		verifier = r.verifier, version = r.version, disabled = r.disabled, settings = r.settings,
		default_calendar = r.default_calendar, default_tasks = r.default_tasks, modified = r.modified
		FROM @rows($1; r; `+newAccountTypes+`) WHERE account.id = r.id AND account.removed = 0`, text)
}

// RemoveAccount ends an account: nobody finds it any more, its handle, UUID
// and addresses are held back for HoldBack, its collections are marked and
// removed in batches by the janitor.
func (db *DB) RemoveAccount(ctx context.Context, id AccountID) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		now := tx.Now()
		n, err := tx.s.exec(ctx, `UPDATE account SET removed = $1, modified = $1, verifier = '', disabled = 1, version = version + 1, emails = '', rights = 0
			WHERE id = $2 AND removed = 0`, Micros(now), int64(id))
		if err := affectedOne(n, err); err != nil {
			return err
		}
		for _, q := range []string{
			`UPDATE collection SET deleting = 1 WHERE account_id = $1`,
			`DELETE FROM app_password WHERE account_id = $1`,
			`DELETE FROM link WHERE account_id = $1`,
			`DELETE FROM mail_token WHERE account_id = $1`,
			`DELETE FROM quarantine WHERE account_id = $1`,
			`DELETE FROM blocked_sender WHERE account_id = $1`,
			`DELETE FROM busy_question WHERE account_id = $1`,
			`DELETE FROM push_subscription WHERE account_id = $1`,
			`DELETE FROM grantee WHERE principal_id = $1`,
			`DELETE FROM member WHERE account_id = $1 OR group_id = $1`,
			`DELETE FROM delegate WHERE account_id = $1 OR delegate_id = $1`,
		} {
			if err := tx.s.later(ctx, q, int64(id)); err != nil {
				return err
			}
		}
		if err := tx.s.later(ctx, `UPDATE address SET held_until = $1 WHERE account_id = $2`, Micros(now.Add(HoldBack)), int64(id)); err != nil {
			return err
		}
		return tx.recomputeMembership(ctx)
	})
}

// AccountByHandle finds an account; ErrNotFound.
func (db *DB) AccountByHandle(ctx context.Context, handle string) (Account, error) {
	return readOne(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM account a WHERE a.handle = $1 AND a.removed = 0`, handle)
}

// AccountByID finds an account; ErrNotFound.
func (db *DB) AccountByID(ctx context.Context, id AccountID) (Account, error) {
	return readOne(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM account a WHERE a.id = $1 AND a.removed = 0`, int64(id))
}

// AccountByLogin finds an account by its handle or any of its addresses.
func (db *DB) AccountByLogin(ctx context.Context, login string) (Account, error) {
	f, err := db.Find(ctx, Query{Login: login})
	if err != nil {
		return Account{}, err
	}
	if f.Login == nil {
		return Account{}, ErrNotFound
	}
	return *f.Login, nil
}

// AccountsByHandle finds accounts; unknown handles are left out.
func (db *DB) AccountsByHandle(ctx context.Context, handles []string) (map[string]Account, error) {
	if len(handles) == 0 {
		return nil, nil
	}
	if err := plainText(handles...); err != nil {
		return nil, err
	}
	text, err := jsonText(handles)
	if err != nil {
		return nil, err
	}
	list, err := readAll(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM account a
		WHERE a.handle IN (SELECT v.value FROM @list($1; v)) AND a.removed = 0`, text)
	out := make(map[string]Account, len(list))
	for _, a := range list {
		out[a.Handle] = a
	}
	return out, err
}

// AccountsByID finds accounts; unknown ids are left out.
func (db *DB) AccountsByID(ctx context.Context, ids []AccountID) (out map[AccountID]Account, err error) {
	err = db.read(ctx, func(s session) error {
		out, err = accountsByID(ctx, s, ids)
		return err
	})
	return out, err
}

// AccountsByID is DB.AccountsByID within a transaction.
func (tx *Tx) AccountsByID(ctx context.Context, ids []AccountID) (map[AccountID]Account, error) {
	return accountsByID(ctx, tx.s, ids)
}

func accountsByID(ctx context.Context, s session, ids []AccountID) (map[AccountID]Account, error) {
	text, err := jsonText(ids)
	if err != nil {
		return nil, err
	}
	list, err := queryAll(ctx, s, scanAccount, `SELECT `+accountColumns+` FROM account a
		WHERE a.id IN (SELECT CAST(v.value AS BIGINT) FROM @list($1; v)) AND a.removed = 0`, text)
	if err != nil {
		return nil, err
	}
	out := make(map[AccountID]Account, len(list))
	for _, a := range list {
		out[a.ID] = a
	}
	return out, nil
}

// ListAccounts lists accounts in the order of their handles.
func (db *DB) ListAccounts(ctx context.Context, p Page) ([]Account, error) {
	return readAll(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM account a
		WHERE a.handle > $1 AND a.removed = 0 ORDER BY a.handle LIMIT $2`, p.After, int64(cmp.Or(max(p.Limit, 0), 500)))
}

// SearchAccounts finds accounts that have text in their handle, name or an
// address, without regard to ASCII case; disabled ones are left out.
func (db *DB) SearchAccounts(ctx context.Context, text string, limit int) ([]Account, error) {
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text)) + "%"
	return readAll(ctx, db, scanAccount, `SELECT `+accountColumns+` FROM account a
		WHERE a.removed = 0 AND a.disabled = 0 AND (a.handle LIKE $1 ESCAPE '\' OR lower(a.display_name) LIKE $1 ESCAPE '\' OR a.emails LIKE $1 ESCAPE '\')
		ORDER BY a.handle LIMIT $2`, pattern, int64(cmp.Or(max(limit, 0), 50)))
}
