package server

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/server/auth"
	"github.com/kalends/kalends/storage"
)

// UserInfo describes an account to administrators.
type UserInfo struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`
	Emails      []string `json:"emails"`
	DisplayName string   `json:"display_name"`
	Rights      []string `json:"rights"`
	UUID        string   `json:"uuid"`
	Disabled    bool     `json:"disabled"`
	Password    bool     `json:"password"` // whether there is one
	AutoAccept  string   `json:"auto_accept,omitempty"`
	BookBy      []string `json:"book_by,omitempty"`
	BookDays    int      `json:"book_days,omitempty"`
	Capacity    int      `json:"capacity,omitempty"`
	Created     string   `json:"created"`
}

// UserSpec is what a new account should be.
type UserSpec struct {
	Name        string
	Kind        string // user, group, room, resource; "" is user
	Emails      []string
	DisplayName string // "" is the name
	Password    string // "": nobody can sign in
	Rights      []string
	UUID        string // also urn:uuid:…; "": made up
	AutoAccept  string // "": none for people, automatic for rooms and resources
}

// UserChange is what SetUser changes; nil stays.
type UserChange struct {
	DisplayName  *string
	Kind         *string
	Rights       *[]string
	AutoAccept   *string
	BookBy       *[]string // who is booked by itself; nobody named: everybody
	BookDays     *int      // 0: no limit
	Capacity     *int      // 0: not said
	EmailAlarms  *string   // owner, everybody, nobody
	ReadProxies  *[]string // who reads its calendars, people and groups; "none": nobody
	WriteProxies *[]string // who acts for it
	Emails       *[]string
	AddEmails    []string
	RemoveEmails []string
}

var kindNames = map[storage.AccountKind]string{storage.KindUser: "user", storage.KindGroup: "group", storage.KindRoom: "room", storage.KindResource: "resource"}

func parseKind(s string) (storage.AccountKind, error) {
	for k, name := range kindNames {
		if s == name {
			return k, nil
		}
	}
	return 0, usage("the kind is user, group, room or resource, not %q", s)
}

// parseRights reads names of rights; "none" stands for none at all.
func parseRights(list []string) (r storage.Rights, err error) {
	for _, s := range list {
		switch strings.TrimSpace(s) {
		case "admin":
			r |= storage.RightAdmin
		case "read-all":
			r |= storage.RightReadAll
		case "none", "":
		default:
			return 0, usage("the rights are admin and read-all (or none), not %q", s)
		}
	}
	return r, nil
}

func rightNames(r storage.Rights) []string {
	out := []string{}
	if r&storage.RightAdmin != 0 {
		out = append(out, "admin")
	}
	if r&storage.RightReadAll != 0 {
		out = append(out, "read-all")
	}
	return out
}

var autoModes = []string{scheduling.AutoNone, scheduling.AutoAcceptAlways, scheduling.AutoDeclineAlways, scheduling.AutoAcceptIfFree, scheduling.AutoDeclineIfBusy, scheduling.AutoAutomatic}

func checkAuto(s string) error {
	if s != "" && !slices.Contains(autoModes, s) {
		return usage("--auto-accept is one of %s, not %q", strings.Join(autoModes, ", "), s)
	}
	return nil
}

// defaultAuto is how a new account answers invitations when nothing is said:
// rooms and resources by themselves.
func defaultAuto(k storage.AccountKind) string {
	if k == storage.KindRoom || k == storage.KindResource {
		return scheduling.AutoAutomatic
	}
	return ""
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// parseUUID takes a UUID in any case, with or without urn:uuid: in front.
func parseUUID(s string) (string, error) {
	u := strings.ToLower(strings.TrimSpace(s))
	u = strings.TrimPrefix(u, "urn:uuid:")
	if u != "" && !uuidForm.MatchString(u) {
		return "", usage("%q is no UUID such as 10000000-0000-0000-0000-000000000001", s)
	}
	return u, nil
}

func checkEmails(list []string) error {
	for _, e := range list {
		if storage.NormalEmail(e) == "" || strings.ContainsAny(e, " \t") {
			return usage("%q is no mail address; write it as alice@example.org", e)
		}
	}
	return nil
}

func checkName(s string) error {
	if storage.ValidHandle(s) {
		return nil
	}
	if lower := strings.ToLower(s); storage.ValidHandle(lower) {
		return usage("the name %q has capital letters; call it %s", s, lower)
	}
	return usage("the name %q cannot be used; it has 1 to 64 of a-z 0-9 . _ -", s)
}

func userInfo(a storage.Account) UserInfo {
	emails := a.Emails
	if emails == nil {
		emails = []string{}
	}
	return UserInfo{Name: a.Handle, Kind: kindNames[a.Kind], Emails: emails, DisplayName: a.DisplayName, Rights: rightNames(a.Rights), UUID: a.UUID,
		Disabled: a.Disabled, Password: a.Verifier != "", AutoAccept: a.Settings.AutoAccept,
		BookBy: a.Settings.BookBy, BookDays: a.Settings.BookDays, Capacity: a.Settings.Capacity, Created: stamp(a.Created)}
}

// account finds an account by its name.
func (a *Admin) account(ctx context.Context, name string) (storage.Account, error) {
	acc, err := a.db.AccountByHandle(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return acc, explained(err, "there is no account %q; `kalends user list` shows all", name)
	}
	return acc, err
}

// eachAccount visits all accounts in the order of their names.
func (a *Admin) eachAccount(ctx context.Context, visit func(storage.Account) error) error {
	page := storage.Page{Limit: 500}
	for {
		list, err := a.db.ListAccounts(ctx, page)
		if err != nil {
			return err
		}
		for _, acc := range list {
			if err := visit(acc); err != nil {
				return err
			}
		}
		if len(list) < page.Limit {
			return nil
		}
		page.After = list[len(list)-1].Handle
	}
}

// Users lists accounts, of one kind ("" all) and with text in name, display
// name or address ("" all).
func (a *Admin) Users(ctx context.Context, kind, text string) ([]UserInfo, error) {
	var k storage.AccountKind
	if kind != "" {
		var err error
		if k, err = parseKind(kind); err != nil {
			return nil, err
		}
	}
	text = strings.ToLower(text)
	out := []UserInfo{}
	err := a.eachAccount(ctx, func(acc storage.Account) error {
		if k != 0 && acc.Kind != k {
			return nil
		}
		if text != "" && !strings.Contains(strings.ToLower(acc.Handle+"\n"+acc.DisplayName+"\n"+strings.Join(acc.Emails, "\n")), text) {
			return nil
		}
		out = append(out, userInfo(acc))
		return nil
	})
	return out, err
}

// AddUser creates an account with its calendars. An account that is already
// what was asked for is left alone, so that a script may run twice; made says
// whether there is a new one. A different account of the name is an error.
func (a *Admin) AddUser(ctx context.Context, s UserSpec) (u UserInfo, made bool, err error) {
	acc, err := specified(s)
	if err != nil {
		return UserInfo{}, false, err
	}
	old, err := a.db.AccountByHandle(ctx, s.Name)
	switch {
	case err == nil:
		if other := differences(old, acc, s); len(other) > 0 {
			return UserInfo{}, false, explained(storage.ErrExists, "account %s exists already, with another %s; change it with `kalends user set`, a password with `kalends user passwd`, or choose another name", s.Name, strings.Join(other, " and "))
		}
		return userInfo(old), false, nil
	case !errors.Is(err, storage.ErrNotFound):
		return UserInfo{}, false, err
	}
	if s.Password != "" {
		if acc.Verifier, err = auth.Hash(s.Password); err != nil {
			return UserInfo{}, false, explained(errors.Join(ErrUsage, err), "%v", err)
		}
	}
	if acc, err = a.db.CreateAccount(ctx, acc); err != nil {
		return UserInfo{}, false, taken(err)
	}
	return userInfo(acc), true, a.audit(ctx, "user.add", acc.Handle, kindNames[acc.Kind])
}

// differences names what an account has otherwise than asked for. A password
// and a UUID that were not said may be any.
func differences(have, want storage.Account, s UserSpec) (out []string) {
	normal := func(list []string) []string {
		list = slices.Clone(list)
		for i, e := range list {
			list[i] = storage.NormalEmail(e)
		}
		slices.Sort(list)
		return list
	}
	for _, d := range []struct {
		what string
		is   bool
	}{
		{"kind", have.Kind != want.Kind},
		{"address", !slices.Equal(normal(have.Emails), normal(want.Emails))},
		{"display name", have.DisplayName != want.DisplayName},
		{"right", have.Rights != want.Rights},
		{"UUID", want.UUID != "" && have.UUID != want.UUID},
		{"way to answer invitations", have.Settings.AutoAccept != want.Settings.AutoAccept},
		{"password", s.Password != "" && !auth.Matches(have.Verifier, s.Password)},
	} {
		if d.is {
			out = append(out, d.what)
		}
	}
	return out
}

// specified is the account that s asks for, still without a password.
func specified(s UserSpec) (storage.Account, error) {
	acc := storage.Account{Handle: s.Name, DisplayName: s.DisplayName, Kind: storage.KindUser, Emails: s.Emails}
	var err error
	if err = checkName(s.Name); err != nil {
		return storage.Account{}, err
	}
	if s.Kind != "" {
		if acc.Kind, err = parseKind(s.Kind); err != nil {
			return storage.Account{}, err
		}
	}
	if acc.Rights, err = parseRights(s.Rights); err != nil {
		return storage.Account{}, err
	}
	if acc.UUID, err = parseUUID(s.UUID); err != nil {
		return storage.Account{}, err
	}
	if err = checkEmails(s.Emails); err != nil {
		return storage.Account{}, err
	}
	if err = checkAuto(s.AutoAccept); err != nil {
		return storage.Account{}, err
	}
	if acc.DisplayName == "" {
		acc.DisplayName = s.Name
	}
	acc.Settings.AutoAccept = s.AutoAccept
	if s.AutoAccept == "" {
		acc.Settings.AutoAccept = defaultAuto(acc.Kind)
	}
	if s.Password != "" && acc.Kind == storage.KindGroup {
		return storage.Account{}, usage("nobody signs in as a group; leave the password out")
	}
	return acc, nil
}

// taken says what to do when a name, an address or a UUID cannot be had.
func taken(err error) error {
	var held *storage.HeldError
	switch {
	case errors.As(err, &held):
		return explained(err, "%s belonged to a removed account and is held back until %s, so that nobody inherits its invitations; choose another", held.What, stamp(held.Until)[:10])
	case errors.Is(err, storage.ErrExists):
		text := strings.TrimPrefix(plain(err), "exists already: ")
		return explained(err, "%s; choose another, or change the account with `kalends user set`", text)
	}
	return err
}

// SetUser changes an account.
func (a *Admin) SetUser(ctx context.Context, name string, c UserChange) (UserInfo, error) {
	acc, err := a.account(ctx, name)
	if err != nil {
		return UserInfo{}, err
	}
	change := storage.AccountChange{DisplayName: c.DisplayName, Emails: c.Emails, AddEmails: c.AddEmails, RemoveEmails: c.RemoveEmails}
	if c.Kind != nil {
		k, err := parseKind(*c.Kind)
		if err != nil {
			return UserInfo{}, err
		}
		if (k == storage.KindGroup) != (acc.Kind == storage.KindGroup) {
			return UserInfo{}, usage("an account cannot become a group, nor a group an account; make a new one with `kalends user add --kind %s`", *c.Kind)
		}
		change.Kind = &k
	}
	if c.Rights != nil {
		r, err := parseRights(*c.Rights)
		if err != nil {
			return UserInfo{}, err
		}
		change.Rights = &r
	}
	if c.AutoAccept != nil {
		if err := checkAuto(*c.AutoAccept); err != nil {
			return UserInfo{}, err
		}
		acc.Settings.AutoAccept = *c.AutoAccept
		change.Settings = &acc.Settings
	}
	if c.BookBy != nil || c.BookDays != nil || c.Capacity != nil {
		if err := a.setBooking(ctx, &acc, c); err != nil {
			return UserInfo{}, err
		}
		change.Settings = &acc.Settings
	}
	if c.EmailAlarms != nil {
		whom, ok := map[string]string{"owner": scheduling.AlarmsOwner, "everybody": scheduling.AlarmsEverybody, "nobody": scheduling.AlarmsNobody}[*c.EmailAlarms]
		if !ok {
			return UserInfo{}, usage("--email-alarms is owner, everybody or nobody, not %q", *c.EmailAlarms)
		}
		acc.Settings.EmailAlarms = whom
		change.Settings = &acc.Settings
	}
	if c.Emails != nil {
		if err := checkEmails(*c.Emails); err != nil {
			return UserInfo{}, err
		}
	}
	if err := checkEmails(append(slices.Clone(c.AddEmails), c.RemoveEmails...)); err != nil {
		return UserInfo{}, err
	}
	proxies, err := a.proxiesOf(ctx, acc, c)
	if err != nil {
		return UserInfo{}, err
	}
	out, err := a.db.UpdateAccount(ctx, acc.ID, change)
	if err != nil {
		return UserInfo{}, taken(err)
	}
	if err := a.setProxies(ctx, acc, proxies); err != nil {
		return UserInfo{}, err
	}
	return userInfo(out), a.audit(ctx, "user.set", name, describeChange(c))
}

func describeChange(c UserChange) string {
	var d changes
	said(&d, "name", c.DisplayName)
	said(&d, "kind", c.Kind)
	said(&d, "rights", c.Rights)
	said(&d, "auto-accept", c.AutoAccept)
	said(&d, "book-by", c.BookBy)
	said(&d, "book-days", c.BookDays)
	said(&d, "capacity", c.Capacity)
	said(&d, "email-alarms", c.EmailAlarms)
	said(&d, "read-proxies", c.ReadProxies)
	said(&d, "write-proxies", c.WriteProxies)
	said(&d, "emails", c.Emails)
	if len(c.AddEmails) > 0 {
		said(&d, "+emails", &c.AddEmails)
	}
	if len(c.RemoveEmails) > 0 {
		said(&d, "-emails", &c.RemoveEmails)
	}
	return strings.Join(d, " ")
}

// changes are the words of an audit entry.
type changes []string

// said adds what was given; nil was not.
func said[T any](d *changes, what string, v *T) {
	if v != nil {
		*d = append(*d, fmt.Sprintf("%s=%v", what, *v))
	}
}

// SetPassword gives an account a password; "" takes it away.
func (a *Admin) SetPassword(ctx context.Context, name, password string) error {
	acc, err := a.account(ctx, name)
	if err != nil {
		return err
	}
	if acc.Kind == storage.KindGroup {
		return usage("nobody signs in as a group; %s needs no password", name)
	}
	verifier := ""
	if password != "" {
		if verifier, err = auth.Hash(password); err != nil {
			return explained(errors.Join(ErrUsage, err), "%v", err)
		}
	}
	if _, err := a.db.UpdateAccount(ctx, acc.ID, storage.AccountChange{Verifier: &verifier}); err != nil {
		return err
	}
	return a.audit(ctx, "user.passwd", name, "")
}

// EnableUser lets an account sign in and act again, or not. A removal that was
// put off ends with the enabling.
func (a *Admin) EnableUser(ctx context.Context, name string, enable bool) error {
	acc, err := a.account(ctx, name)
	if err != nil {
		return err
	}
	disabled := !enable
	if _, err := a.db.UpdateAccount(ctx, acc.ID, storage.AccountChange{Disabled: &disabled}); err != nil {
		return err
	}
	if enable {
		if err := a.putOff(ctx, acc.Handle, 0); err != nil {
			return err
		}
		return a.audit(ctx, "user.enable", name, "")
	}
	return a.audit(ctx, "user.disable", name, "")
}

// group finds a group by its name.
func (a *Admin) group(ctx context.Context, name string) (storage.Account, error) {
	g, err := a.account(ctx, name)
	if err == nil && g.Kind != storage.KindGroup {
		err = explained(storage.ErrInvalid, "%s is a %s, not a group; make a group with `kalends user add NAME --kind group`", name, kindNames[g.Kind])
	}
	return g, err
}

// AddMembers makes accounts or groups direct members of a group.
func (a *Admin) AddMembers(ctx context.Context, group string, members []string) error {
	g, err := a.group(ctx, group)
	if err != nil {
		return err
	}
	for _, m := range members {
		acc, err := a.account(ctx, m)
		if err != nil {
			return err
		}
		if acc.ID == g.ID {
			return usage("a group is no member of itself")
		}
		if err := a.db.AddMember(ctx, g.ID, acc.ID); err != nil {
			return err
		}
	}
	return a.audit(ctx, "group.add-member", group, strings.Join(members, " "))
}

// RemoveMembers takes direct members out of a group.
func (a *Admin) RemoveMembers(ctx context.Context, group string, members []string) error {
	g, err := a.group(ctx, group)
	if err != nil {
		return err
	}
	for _, m := range members {
		acc, err := a.account(ctx, m)
		if err != nil {
			return err
		}
		if err := a.db.RemoveMember(ctx, g.ID, acc.ID); errors.Is(err, storage.ErrNotFound) {
			return explained(err, "%s is no direct member of %s; `kalends group members %s` shows who is", m, group, group)
		} else if err != nil {
			return err
		}
	}
	return a.audit(ctx, "group.remove-member", group, strings.Join(members, " "))
}

// Members lists the direct members of a group, or with all those over any
// number of groups.
func (a *Admin) Members(ctx context.Context, group string, all bool) ([]UserInfo, error) {
	g, err := a.group(ctx, group)
	if err != nil {
		return nil, err
	}
	read := a.db.Members
	if all {
		read = a.db.AllMembers
	}
	list, err := read(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	out := []UserInfo{}
	for _, m := range list {
		out = append(out, userInfo(m))
	}
	return out, nil
}
