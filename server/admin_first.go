package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kalends/kalends/server/auth"
	"github.com/kalends/kalends/storage"
)

const (
	adminHandle   = "admin"
	adminDone     = "first.admin"    // setting: the account has been made once
	adminFile     = "admin-password" // in the data folder
	passwordChars = "abcdefghijkmnpqrstuvwxyz23456789"
)

// Prepare does what every start finds done or does: domains of the
// configuration, a key for each domain and purpose, the secrets that all nodes
// share, and at the first start the account admin. What people must know goes
// to out. It may run on several nodes at once and changes nothing that is
// there; the schema must be there already.
func Prepare(ctx context.Context, db *storage.DB, cfg Config, out io.Writer) error {
	if cfg.DataDir != "" {
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			return fmt.Errorf("data_dir %s cannot be made: %w; set data_dir to a folder that the server may write", cfg.DataDir, err)
		}
	}
	for _, d := range cfg.Domains {
		if err := db.AddDomain(ctx, d); err != nil {
			return fmt.Errorf("domain %s: %w", d, err)
		}
	}
	for _, name := range []string{"web.session", "mail.token"} {
		if _, err := secretOf(ctx, db, name); err != nil {
			return fmt.Errorf("the server's secrets: %w", err)
		}
	}
	if err := firstAdmin(ctx, db, &cfg, out); err != nil {
		return fmt.Errorf("the account %s: %w", adminHandle, err)
	}
	if n, err := sealKeys(ctx, db, &cfg); err != nil {
		return fmt.Errorf("encrypting private keys: %w", err)
	} else if n > 0 {
		fmt.Fprintf(out, "%d private keys were encrypted with key_secret.\n", n)
	}
	domains, err := db.ListDomains(ctx)
	if err != nil {
		return err
	}
	for _, d := range domains {
		made, err := ensureKeys(ctx, db, d.Name, db.Now())
		if err != nil {
			return err
		}
		if !made {
			continue
		}
		text, err := zoneText(ctx, db, &cfg, d.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "Publish these DNS records, so that others find %s and trust its invitations (`kalends domain dns %s` prints them again, `kalends doctor %s` checks them):\n\n%s\n", d.Name, d.Name, d.Name, text)
	}
	return nil
}

// firstAdmin makes the account admin, once in the life of a database.
func firstAdmin(ctx context.Context, db *storage.DB, cfg *Config, out io.Writer) error {
	if _, done, err := db.Setting(ctx, adminDone); err != nil || done {
		return err
	}
	if _, err := db.AccountByHandle(ctx, adminHandle); err == nil {
		return db.SetSetting(ctx, adminDone, "found")
	} else if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	password, path, ours := cfg.AdminPass, "", false
	if password == "" {
		var err error
		path = filepath.Join(cfg.DataDir, adminFile)
		if password, ours, err = passwordFile(path); err != nil {
			return err
		}
	}
	verifier, err := auth.Hash(password)
	if err != nil {
		return fmt.Errorf("admin_password: %w", err)
	}
	_, err = db.CreateAccount(ctx, storage.Account{Handle: adminHandle, Kind: storage.KindUser, DisplayName: "Administrator", Rights: storage.RightAdmin, Verifier: verifier})
	var held *storage.HeldError
	switch {
	case errors.As(err, &held):
		fmt.Fprintf(out, "The account %s was removed and is not made again; `kalends user set NAME --rights admin` makes another administrator.\n", adminHandle)
		if ours {
			err = os.Remove(path)
		} else {
			err = nil
		}
	case errors.Is(err, storage.ErrExists):
		// Another node was faster. Its password counts; ours is no password
		// unless both share the data folder.
		err = nil
		if ours {
			if acc, e := db.AccountByHandle(ctx, adminHandle); e == nil && !auth.Matches(acc.Verifier, password) {
				err = os.Remove(path)
			}
		}
	case err == nil:
		err = db.Audit(ctx, "server", "user.add", adminHandle, "first start")
		tell(out, password, path)
	}
	if err != nil {
		return err
	}
	return db.SetSetting(ctx, adminDone, "made")
}

func tell(out io.Writer, password, path string) {
	if path == "" {
		fmt.Fprintf(out, "The account %s has the password of the configuration.\n", adminHandle)
		return
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	fmt.Fprintf(out, "The account %s was made. Its password is in the file %s; change it with `kalends user passwd %s` and delete the file.\n", adminHandle, path, adminHandle)
	if onTerminal(out) {
		fmt.Fprintf(out, "The password is: %s\n", password)
	}
}

// passwordFile makes a password and keeps it in a file that only its owner may
// read. A file that is there already, from a start that was cut short or by
// another node, is used as it is. It appears whole or not at all.
func passwordFile(path string) (password string, made bool, err error) {
	read := func() (string, error) {
		b, err := os.ReadFile(path)
		text := strings.TrimSpace(string(b))
		if err == nil && text == "" {
			err = fmt.Errorf("the file %s is empty; delete it and start again", path)
		}
		return text, err
	}
	if password, err = read(); !errors.Is(err, fs.ErrNotExist) {
		return password, false, err
	}
	if password, err = newPassword(); err != nil {
		return "", false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".admin-password-*") // mode 0600
	if err != nil {
		return "", false, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(password + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", false, err
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		password, err = read()
		return password, false, err
	} else if err != nil { // a file system without links
		if err := os.Rename(f.Name(), path); err != nil {
			return "", false, err
		}
	}
	return password, true, nil
}

// newPassword is 100 random bits that are easy to read and type.
func newPassword() (string, error) {
	var b [20]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	var out strings.Builder
	for i, c := range b {
		if i > 0 && i%5 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(passwordChars[int(c)%len(passwordChars)])
	}
	return out.String(), nil
}

// onTerminal tells whether a person looks at w right now, so that nothing
// written to it ends in a log.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && !os.SameFile(st, null)
}
