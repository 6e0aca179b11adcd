package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/kalends/kalends/server/auth"
	"github.com/kalends/kalends/storage"
)

// CSVHeader is the header of the files that ImportUsers reads. Columns may
// stand in any order and all but name may be missing.
var CSVHeader = []string{"name", "kind", "emails", "display_name", "password", "rights", "members", "uuid"}

// moreColumns may follow: how a room or resource is booked, and who looks after
// an account.
var moreColumns = []string{"auto_accept", "book_by", "book_days", "capacity", "read_proxies", "write_proxies"}

const (
	maxCSV     = 64 << 20 // octets
	maxCSVRows = 200_000
)

// CSVRow is one account of a file. What the file leaves empty stays as it is
// when the account exists.
type CSVRow struct {
	Line        int
	Name        string
	Kind        string
	Emails      []string
	DisplayName string
	Password    string
	Rights      []string
	Members     []string
	UUID        string
	More        UserChange // what moreColumns say, where they do
}

// RowError is what is wrong with one line of a file.
type RowError struct {
	Line int
	Text string
}

// RowErrors are all that is wrong with a file; nothing of it was imported.
type RowErrors []RowError

// Error counts them and shows the first.
func (e RowErrors) Error() string {
	if len(e) == 1 {
		return fmt.Sprintf("line %d: %s; nothing was imported", e[0].Line, e[0].Text)
	}
	return fmt.Sprintf("%d lines are wrong (the first is line %d: %s); nothing was imported", len(e), e[0].Line, e[0].Text)
}

// ParseUsersCSV reads a file of accounts and tests everything that can be told
// from the file alone. It returns RowErrors, or an error about the whole file.
func ParseUsersCSV(r io.Reader) ([]CSVRow, error) {
	br := bufio.NewReader(io.LimitReader(r, maxCSV+1))
	if b, _ := br.Peek(3); bytes.Equal(b, []byte("\xef\xbb\xbf")) { // what spreadsheets put in front
		_, _ = br.Discard(3)
	}
	cr := csv.NewReader(br)
	cr.TrimLeadingSpace = true
	head, err := cr.Read()
	if errors.Is(err, io.EOF) {
		return nil, explained(ErrUsage, "the file is empty; its first line is %s", strings.Join(CSVHeader, ","))
	}
	if err != nil {
		return nil, explained(err, "the file is no CSV: %v", err)
	}
	at := map[string]int{}
	for i, h := range head {
		h = strings.ToLower(strings.TrimSpace(h))
		if !slices.Contains(CSVHeader, h) && !slices.Contains(moreColumns, h) {
			return nil, explained(ErrUsage, "unknown column %q in the first line; the columns are %s, and %s", h, strings.Join(CSVHeader, ","), strings.Join(moreColumns, ","))
		}
		if _, twice := at[h]; twice {
			return nil, explained(ErrUsage, "the column %s is there twice", h)
		}
		at[h] = i
	}
	if _, ok := at["name"]; !ok {
		return nil, explained(ErrUsage, "the column name is missing; the first line is %s", strings.Join(CSVHeader, ","))
	}
	var rows []CSVRow
	var bad RowErrors
	for {
		rec, err := cr.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			bad = append(bad, RowError{syntax.StartLine, syntax.Err.Error()})
			if !errors.Is(err, csv.ErrFieldCount) {
				return nil, bad // where the next row begins is not known
			}
			continue
		}
		if err != nil {
			return nil, explained(err, "the file cannot be read: %v", err)
		}
		if cr.InputOffset() > maxCSV || len(rows) >= maxCSVRows {
			return nil, explained(ErrUsage, "the file is too long; import at most %d accounts at once", maxCSVRows)
		}
		line, _ := cr.FieldPos(0)
		get := func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(rec[i])
			}
			return ""
		}
		row := CSVRow{Line: line, Name: get("name"), Kind: get("kind"), Emails: cells(get("emails")), DisplayName: get("display_name"),
			Rights: cells(get("rights")), Members: cells(get("members")), UUID: get("uuid")}
		if i, ok := at["password"]; ok {
			row.Password = rec[i] // blanks may belong to it
		}
		err = row.booking(get)
		if err == nil {
			err = row.check()
		}
		if err != nil {
			bad = append(bad, RowError{line, err.Error()})
			continue
		}
		rows = append(rows, row)
	}
	bad = append(bad, checkTogether(rows)...)
	if len(bad) > 0 {
		slices.SortStableFunc(bad, func(a, b RowError) int { return a.Line - b.Line })
		return nil, bad
	}
	return rows, nil
}

// cells splits a cell with several values.
func cells(s string) []string {
	var out []string
	for _, v := range strings.Split(s, ";") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// check tests a row by itself and normalizes it.
func (r *CSVRow) check() error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	kind := storage.AccountKind(0)
	if r.Kind != "" {
		var err error
		if kind, err = parseKind(r.Kind); err != nil {
			return err
		}
	}
	if err := checkEmails(r.Emails); err != nil {
		return err
	}
	for i, e := range r.Emails {
		r.Emails[i] = storage.NormalEmail(e)
	}
	if _, err := parseRights(r.Rights); err != nil {
		return err
	}
	var err error
	if r.UUID, err = parseUUID(r.UUID); err != nil {
		return err
	}
	if len(r.Members) > 0 && kind != storage.KindGroup {
		return usage("only a group has members; set its kind to group")
	}
	if kind == storage.KindGroup {
		r.Password = "" // nobody signs in as a group
	}
	return nil
}

// checkTogether finds what two rows both claim.
func checkTogether(rows []CSVRow) (bad RowErrors) {
	seen := map[string]int{}
	claim := func(line int, what, v string) {
		if v == "" {
			return
		}
		if first, ok := seen[what+v]; ok && first != line {
			bad = append(bad, RowError{line, fmt.Sprintf("%s%s is on line %d already", what, v, first)})
			return
		}
		seen[what+v] = line
	}
	for _, r := range rows {
		claim(r.Line, "the name ", r.Name)
		claim(r.Line, "the uuid ", r.UUID)
		for _, e := range r.Emails {
			claim(r.Line, "the address ", e)
		}
	}
	return bad
}

// ImportResult counts what an import of accounts did.
type ImportResult struct {
	Created, Changed, Unchanged int
}

// ImportUsers creates or changes the accounts of a CSV file, all or none.
// Running it again changes nothing: a password that is the same keeps its
// verifier, so that nobody has to sign in again.
func (a *Admin) ImportUsers(ctx context.Context, r io.Reader) (ImportResult, error) {
	rows, err := ParseUsersCSV(r)
	if err != nil || len(rows) == 0 {
		return ImportResult{}, err
	}
	keys := make([]string, 0, 3*len(rows))
	for _, r := range rows {
		keys = append(keys, "handle:"+r.Name)
		for _, m := range r.Members {
			keys = append(keys, "handle:"+m)
		}
		for _, who := range r.named() {
			keys = append(keys, "handle:"+who)
		}
		if by := r.More.BookBy; by != nil {
			for _, who := range *by {
				if isHandle(who) {
					keys = append(keys, "handle:"+who)
				}
			}
		}
		for _, e := range r.Emails {
			keys = append(keys, "mailto:"+e)
		}
		if r.UUID != "" {
			keys = append(keys, "urn:uuid:"+r.UUID)
		}
	}
	have, err := a.db.Recipients(ctx, keys)
	if err != nil {
		return ImportResult{}, err
	}
	if bad := checkAgainst(rows, have); len(bad) > 0 {
		return ImportResult{}, bad
	}
	verifiers, err := verifiersFor(rows, have)
	if err != nil {
		return ImportResult{}, err
	}
	specs := make([]storage.AccountSpec, len(rows))
	for i, r := range rows {
		s := storage.AccountSpec{Handle: r.Name, DisplayName: r.DisplayName, Emails: r.Emails, Verifier: verifiers[i], Members: r.Members, UUID: r.UUID}
		old, known := have["handle:"+r.Name]
		if r.Kind != "" {
			s.Kind, _ = parseKind(r.Kind) // checked with the row
		}
		if r.DisplayName == "" {
			s.DisplayName = r.Name
			if known {
				s.DisplayName = old.Account.DisplayName
			}
		}
		if r.Rights != nil {
			rights, _ := parseRights(r.Rights)
			s.Rights = &rights
		}
		specs[i] = s
	}
	created, changed, err := a.db.ImportAccounts(ctx, specs)
	if err != nil {
		return ImportResult{}, taken(err)
	}
	if err := a.autoAcceptNew(ctx, specs, have); err != nil {
		return ImportResult{}, err
	}
	if err := a.bookingOfRows(ctx, rows); err != nil {
		return ImportResult{}, err
	}
	res := ImportResult{Created: created, Changed: changed, Unchanged: len(rows) - created - changed}
	of := "1 account"
	if len(rows) != 1 {
		of = fmt.Sprintf("%d accounts", len(rows))
	}
	return res, a.audit(ctx, "user.import", of, fmt.Sprintf("%d created, %d changed", created, changed))
}

// checkAgainst finds what is taken by accounts that the row is not about.
func checkAgainst(rows []CSVRow, have map[string]storage.Recipient) (bad RowErrors) {
	inFile := map[string]bool{}
	for _, r := range rows {
		inFile[r.Name] = true
	}
	for _, r := range rows {
		wrong := func(format string, args ...any) {
			bad = append(bad, RowError{r.Line, fmt.Sprintf(format, args...)})
		}
		if old, ok := have["handle:"+r.Name]; ok {
			if r.Kind != "" && (r.Kind == "group") != (old.Account.Kind == storage.KindGroup) {
				wrong("%s is a %s and cannot become a %s", r.Name, kindNames[old.Account.Kind], r.Kind)
			}
			if r.UUID != "" && r.UUID != old.Account.UUID {
				wrong("%s has the uuid %s, and that never changes", r.Name, old.Account.UUID)
			}
		}
		for _, e := range r.Emails {
			if o, ok := have["mailto:"+e]; ok && o.Account.Handle != r.Name {
				wrong("the address %s belongs to %s", e, o.Account.Handle)
			}
		}
		if o, ok := have["urn:uuid:"+r.UUID]; ok && r.UUID != "" && o.Account.Handle != r.Name {
			wrong("the uuid %s belongs to %s", r.UUID, o.Account.Handle)
		}
		for _, who := range r.named() {
			if _, ok := have["handle:"+who]; !ok && !inFile[who] {
				wrong("the proxy %s does not exist and is not in the file", who)
			}
		}
		if by := r.More.BookBy; by != nil {
			for _, who := range *by {
				if _, ok := have["handle:"+who]; !ok && !inFile[who] && isHandle(who) {
					wrong("%s, who may book it, does not exist and is not in the file", who)
				}
			}
		}
		for _, m := range r.Members {
			if _, ok := have["handle:"+m]; !ok && !inFile[m] {
				wrong("the member %s does not exist and is not in the file", m)
			}
		}
	}
	return bad
}

// verifiersFor makes a verifier per row on all processors: "" where the
// account has that password already, or the row has none.
func verifiersFor(rows []CSVRow, have map[string]storage.Recipient) ([]string, error) {
	passwords := make([]string, len(rows))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, r := range rows {
		passwords[i] = r.Password
		old, ok := have["handle:"+r.Name]
		if r.Password == "" || !ok || old.Account.Verifier == "" {
			continue
		}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			if auth.Matches(old.Account.Verifier, r.Password) {
				passwords[i] = ""
			}
		}()
	}
	wg.Wait()
	out, err := auth.HashMany(passwords)
	if err != nil {
		return nil, explained(err, "a password cannot be used: %s", plain(err))
	}
	return out, nil
}

// autoAcceptNew lets new rooms and resources answer invitations by themselves.
func (a *Admin) autoAcceptNew(ctx context.Context, specs []storage.AccountSpec, have map[string]storage.Recipient) error {
	for _, s := range specs {
		mode := defaultAuto(s.Kind)
		if _, known := have["handle:"+s.Handle]; known || mode == "" {
			continue
		}
		acc, err := a.db.AccountByHandle(ctx, s.Handle)
		if err != nil {
			return err
		}
		acc.Settings.AutoAccept = mode
		if _, err := a.db.UpdateAccount(ctx, acc.ID, storage.AccountChange{Settings: &acc.Settings}); err != nil {
			return err
		}
	}
	return nil
}
