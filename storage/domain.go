package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

func domainName(name string) (string, error) {
	d := NormalEmail("x@" + name)
	if d == "" || strings.HasPrefix(d, "x@[") {
		return "", fmt.Errorf("%w: %q is no domain", ErrInvalid, name)
	}
	return d[2:], nil
}

// AddDomain makes a mail domain ours; no error when it is already.
func (db *DB) AddDomain(ctx context.Context, name string) error {
	name, err := domainName(name)
	if err != nil {
		return err
	}
	_, err = db.write(ctx, `INSERT INTO domain (name, created) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, Micros(db.clock()))
	return err
}

// ListDomains lists our domains in the order of their names.
func (db *DB) ListDomains(ctx context.Context) ([]Domain, error) {
	return readAll(ctx, db, func(r rows) (d Domain, err error) {
		err = r.Scan(&d.Name, &d.Created, &d.Role, &d.Backend, &d.Nonce, &d.Token)
		return
	}, `SELECT name, created, role, backend, nonce, token_hash FROM domain ORDER BY name`)
}

// SetBackend makes a domain of ours a gateway to a backend, or with another
// role local again; ErrNotFound.
func (db *DB) SetBackend(ctx context.Context, d Domain) error {
	name, err := domainName(d.Name)
	if err != nil {
		return err
	}
	if err := plainText(d.Role, d.Backend, d.Nonce, d.Token); err != nil {
		return err
	}
	return affectedOne(db.write(ctx, `UPDATE domain SET role = $2, backend = $3, nonce = $4, token_hash = $5 WHERE name = $1`, name, d.Role, d.Backend, d.Nonce, d.Token))
}

// RemoveDomain forgets a domain and its keys; ErrNotFound.
func (db *DB) RemoveDomain(ctx context.Context, name string) error {
	name, err := domainName(name)
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := affectedOne(tx.s.exec(ctx, `DELETE FROM domain WHERE name = $1`, name)); err != nil {
			return err
		}
		return tx.s.later(ctx, `DELETE FROM domain_key WHERE domain = $1`, name)
	})
}

const keyColumns = `domain, purpose, selector, pem, state, created, changed`

func scanKey(r rows) (k Key, err error) {
	err = r.Scan(&k.Domain, &k.Purpose, &k.Selector, &k.PEM, (*string)(&k.State), &k.Created, &k.Changed)
	return
}

// AddKey stores a key of one of our domains. An active one retires the key
// that was active before.
func (db *DB) AddKey(ctx context.Context, k Key) error {
	name, err := domainName(k.Domain)
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := queryOne(ctx, tx.s, scanText, `SELECT name FROM domain WHERE name = $1`, name); err != nil {
			return err
		}
		now := Micros(tx.Now())
		if k.State == KeyActive {
			if err := tx.retire(ctx, name, k.Purpose, now); err != nil {
				return err
			}
		}
		k.Domain = name
		text, err := db.sealKey(k)
		if err != nil {
			return err
		}
		_, err = tx.s.exec(ctx, `INSERT INTO domain_key (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $6)`, name, k.Purpose, k.Selector, text, string(k.State), now)
		return err
	})
}

func (tx *Tx) retire(ctx context.Context, domain, purpose string, now int64) error {
	return tx.s.later(ctx, `UPDATE domain_key SET state = 'retired', changed = $3 WHERE domain = $1 AND purpose = $2 AND state = 'active'`, domain, purpose, now)
}

// ActiveKey is the key that signs; ErrNotFound.
func (db *DB) ActiveKey(ctx context.Context, domain, purpose string) (Key, error) {
	k, err := readOne(ctx, db, scanKey, `SELECT `+keyColumns+` FROM domain_key WHERE domain = $1 AND purpose = $2 AND state = 'active'`, strings.ToLower(domain), purpose)
	if err != nil {
		return k, err
	}
	return k, db.openKey(&k)
}

func (db *DB) sealKey(k Key) (string, error) {
	if db.keys == nil {
		return k.PEM, nil
	}
	return db.keys.Seal(k)
}

func (db *DB) openKey(k *Key) (err error) {
	if db.keys != nil {
		k.PEM, err = db.keys.Open(*k)
	}
	return err
}

// ResealKeys writes the private keys of all domains as the codec writes them
// now, and tells how many it changed. It runs beside others.
func (db *DB) ResealKeys(ctx context.Context, stale func(stored string) bool) (n int, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		n = 0
		list, err := queryAll(ctx, tx.s, scanKey, `SELECT `+keyColumns+` FROM domain_key ORDER BY domain, purpose, selector`)
		if err != nil {
			return err
		}
		for _, k := range list {
			stored := k.PEM
			if !stale(stored) {
				continue
			}
			if err := db.openKey(&k); err != nil {
				return err
			}
			text, err := db.sealKey(k)
			if err != nil {
				return err
			}
			if err := tx.s.later(ctx, `UPDATE domain_key SET pem = $4 WHERE domain = $1 AND purpose = $2 AND selector = $3 AND pem = $5`, k.Domain, k.Purpose, k.Selector, text, stored); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// Keys lists the keys of a domain, oldest first.
func (db *DB) Keys(ctx context.Context, domain string) ([]Key, error) {
	list, err := readAll(ctx, db, scanKey, `SELECT `+keyColumns+` FROM domain_key WHERE domain = $1 ORDER BY purpose, created, selector`, strings.ToLower(domain))
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := db.openKey(&list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// SetKeyState moves a key on in its life; ErrNotFound.
func (db *DB) SetKeyState(ctx context.Context, domain, purpose, selector string, s KeyState) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		now := Micros(tx.Now())
		if s == KeyActive {
			if err := tx.retire(ctx, strings.ToLower(domain), purpose, now); err != nil {
				return err
			}
		}
		return affectedOne(tx.s.exec(ctx, `UPDATE domain_key SET state = $4, changed = $5 WHERE domain = $1 AND purpose = $2 AND selector = $3`,
			strings.ToLower(domain), purpose, selector, string(s), now))
	})
}

// Setting reads a setting of the installation.
func (db *DB) Setting(ctx context.Context, name string) (value string, ok bool, err error) {
	value, err = readOne(ctx, db, scanText, `SELECT value FROM setting WHERE name = $1`, name)
	if errors.Is(err, ErrNotFound) {
		return "", false, nil
	}
	return value, err == nil, err
}

// SetSetting writes a setting.
func (db *DB) SetSetting(ctx context.Context, name, value string) error {
	if err := plainText(name, value); err != nil {
		return err
	}
	_, err := db.write(ctx, `INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// SettingOrSet writes a setting that nobody has written yet, and gives what
// it is then: nodes that start together agree on a secret.
func (db *DB) SettingOrSet(ctx context.Context, name, value string) (out string, err error) {
	if err := plainText(name, value); err != nil {
		return "", err
	}
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.s.later(ctx, `INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, value); err != nil {
			return err
		}
		out, err = queryOne(ctx, tx.s, scanText, `SELECT value FROM setting WHERE name = $1`, name)
		return err
	})
	return out, err
}

// NextCounter counts: 1, 2, 3… by name.
func (db *DB) NextCounter(ctx context.Context, name string) (n int64, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		n, err = queryOne(ctx, tx.s, scanInt, `INSERT INTO counter (name, value) VALUES ($1, 1)
			ON CONFLICT (name) DO UPDATE SET value = counter.value + 1 RETURNING value`, name)
		return err
	})
	return n, err
}

// Lease tells whether holder has the named task until ttl from now: because
// it had it, or nobody did.
func (db *DB) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now := db.clock()
	n, err := db.write(ctx, `INSERT INTO lease (name, holder, expires) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires WHERE lease.holder = excluded.holder OR lease.expires <= $4`,
		"task:"+name, holder, Micros(now.Add(ttl)), Micros(now))
	return n == 1, err
}

// AddAppPassword stores the hash of an app password; id and time are set.
func (db *DB) AddAppPassword(ctx context.Context, p AppPassword) (AppPassword, error) {
	if err := plainText(p.Hash, p.Label); err != nil {
		return p, err
	}
	p.ID, p.Created, p.LastUse = db.NewID(), Micros(db.clock()), 0
	_, err := db.write(ctx, `INSERT INTO app_password (account_id, id, hash, label, created, last_use) VALUES ($1, $2, $3, $4, $5, 0)`, int64(p.Account), p.ID, p.Hash, p.Label, p.Created)
	return p, err
}

const appPasswordColumns = `account_id, id, hash, label, created, last_use`

func scanAppPassword(r rows) (p AppPassword, err error) {
	err = r.Scan((*int64)(&p.Account), &p.ID, &p.Hash, &p.Label, &p.Created, &p.LastUse)
	return
}

// AppPasswords lists the app passwords of an account.
func (db *DB) AppPasswords(ctx context.Context, account AccountID) ([]AppPassword, error) {
	return readAll(ctx, db, scanAppPassword, `SELECT `+appPasswordColumns+` FROM app_password WHERE account_id = $1 ORDER BY created, id`, int64(account))
}

// AppPasswordByHash finds an app password; ErrNotFound.
func (db *DB) AppPasswordByHash(ctx context.Context, account AccountID, hash string) (AppPassword, error) {
	return readOne(ctx, db, scanAppPassword, `SELECT `+appPasswordColumns+` FROM app_password WHERE account_id = $1 AND hash = $2`, int64(account), hash)
}

// TouchAppPassword notes a use now.
func (db *DB) TouchAppPassword(ctx context.Context, account AccountID, id int64) error {
	_, err := db.write(ctx, `UPDATE app_password SET last_use = $3 WHERE account_id = $1 AND id = $2`, int64(account), id, Micros(db.clock()))
	return err
}

// DeleteAppPassword revokes an app password; ErrNotFound. The account's
// version rises, so that cached verifications end.
func (db *DB) DeleteAppPassword(ctx context.Context, account AccountID, id int64) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := affectedOne(tx.s.exec(ctx, `DELETE FROM app_password WHERE account_id = $1 AND id = $2`, int64(account), id)); err != nil {
			return err
		}
		return tx.s.later(ctx, `UPDATE account SET version = version + 1 WHERE id = $1`, int64(account))
	})
}

// Audit adds a line to the audit trail.
func (db *DB) Audit(ctx context.Context, actor, action, subject, detail string) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error { return tx.Audit(ctx, actor, action, subject, detail) })
}

// Audit adds a line to the audit trail with the transaction.
func (tx *Tx) Audit(ctx context.Context, actor, action, subject, detail string) error {
	if err := plainText(actor, action, subject, detail); err != nil {
		return err
	}
	return tx.s.later(ctx, `INSERT INTO audit (id, at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)`, tx.NewID(), Micros(tx.Now()), actor, action, subject, detail)
}

// AuditTrail lists the newest lines first.
func (db *DB) AuditTrail(ctx context.Context, limit int) ([]AuditEntry, error) {
	return readAll(ctx, db, func(r rows) (e AuditEntry, err error) {
		err = r.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Subject, &e.Detail)
		return
	}, `SELECT id, at, actor, action, subject, detail FROM audit ORDER BY at DESC, id LIMIT $1`, int64(max(limit, 1)))
}
