package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kalends/kalends/server"
)

type userCmd struct {
	Import  userImportCmd  `cmd:"" help:"Create or update accounts from a CSV file."`
	Add     userAddCmd     `cmd:"" help:"Create an account with its calendars."`
	List    userListCmd    `cmd:"" help:"List accounts."`
	Set     userSetCmd     `cmd:"" help:"Change an account."`
	Proxies userProxiesCmd `cmd:"" help:"List who reads the calendars of an account or acts for it."`
	Passwd  userPasswdCmd  `cmd:"" help:"Set a password."`
	Disable userDisableCmd `cmd:"" help:"Keep an account from signing in; it acts at once."`
	Enable  userEnableCmd  `cmd:"" help:"Let a disabled account sign in again; a removal that was put off is called off."`
	Remove  userRemoveCmd  `cmd:"" help:"Remove an account and decide what becomes of its meetings."`
}

type userImportCmd struct {
	File string `arg:"" help:"CSV file; - for the standard input."`
}

// Help is shown by --help.
func (userImportCmd) Help() string {
	return `The first line is ` + strings.Join(server.CSVHeader, ",") + `; columns may be left out.
kind is user, group, room or resource. emails, rights (admin, read-all, none) and members (names) are separated by ";".
Rooms and resources may have auto_accept, book_by (separated by ";"), book_days and capacity, and all but groups
read_proxies and write_proxies (names, separated by ";"; none: nobody); see "kalends user set --help".
What is empty stays as it is. Rows that are wrong are shown with their lines, and then nothing is imported.
Importing the same file again changes nothing.`
}

// Run imports the file.
func (c *userImportCmd) Run(a *app) error {
	var r io.Reader = a.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("the file cannot be read: %w", err)
		}
		defer f.Close()
		r = f
	}
	return a.admin(func(ad *server.Admin) error {
		res, err := ad.ImportUsers(a.ctx, r)
		var bad server.RowErrors
		if errors.As(err, &bad) && len(bad) > 1 {
			for _, b := range bad {
				fmt.Fprintf(a.err, "%s:%d: %s\n", c.File, b.Line, b.Text)
			}
			return fmt.Errorf("%d lines of %s are wrong; nothing was imported", len(bad), c.File)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		a.printf("%d created, %d changed, %d unchanged\n", res.Created, res.Changed, res.Unchanged)
		return nil
	})
}

type userAddCmd struct {
	Name          string   `arg:"" help:"Name to sign in with and to address the account's calendars by, 1 to 64 of a-z 0-9 . _ - ; it never changes."`
	Email         []string `help:"Mail address, several times for several; the first one is the sender of invitations." placeholder:"ADDR"`
	DisplayName   string   `name:"name" help:"Name that people see." placeholder:"TEXT"`
	PasswordStdin bool     `help:"Read the password from the standard input; otherwise it is asked for."`
	Kind          string   `help:"user, room, resource or group." default:"user"`
	Rights        []string `help:"admin (accounts, domains, queues; opens no calendar), read-all (everything, audited)." placeholder:"RIGHT"`
	UUID          string   `name:"uuid" help:"Keep a UUID from another system, also as urn:uuid:..." placeholder:"UUID"`
	AutoAccept    string   `help:"How invitations are answered: none, automatic, accept-always, decline-always, accept-if-free, decline-if-busy. Rooms and resources: automatic." placeholder:"MODE"`
}

// Help is shown by --help.
func (userAddCmd) Help() string {
	return `The same command again changes nothing and succeeds. An account of this name that
is not what the command says is an error; "kalends user set" changes it.`
}

// Run creates the account.
func (c *userAddCmd) Run(a *app) error {
	s := server.UserSpec{Name: c.Name, Kind: c.Kind, Emails: c.Email, DisplayName: c.DisplayName, Rights: c.Rights, UUID: c.UUID, AutoAccept: c.AutoAccept}
	if c.Kind == "user" || c.PasswordStdin {
		var err error
		if s.Password, _, err = a.password(c.PasswordStdin, "Password of "+c.Name+" (empty: none yet): ", true); err != nil {
			return err
		}
	}
	return a.admin(func(ad *server.Admin) error {
		u, made, err := ad.AddUser(a.ctx, s)
		if err != nil {
			return err
		}
		if made {
			a.printf("%s %s added\n", u.Kind, u.Name)
		} else {
			a.printf("%s %s exists already; nothing was changed\n", u.Kind, u.Name)
		}
		if u.Kind == "user" && !u.Password {
			a.printf("It has no password yet: kalends user passwd %s\n", u.Name)
		}
		return nil
	})
}

type userListCmd struct {
	Search string `arg:"" optional:"" help:"Text in the name, the display name or an address."`
	Kind   string `help:"Only user, room, resource or group." placeholder:"KIND"`
	JSON   bool   `name:"json" help:"For programs."`
}

// Run lists accounts.
func (c *userListCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Users(a.ctx, c.Kind, c.Search)
		if err != nil {
			return err
		}
		return a.users(list, c.JSON)
	})
}

func (a *app) users(list []server.UserInfo, asJSON bool) error {
	if asJSON {
		return a.json(list)
	}
	var rows [][]string
	for _, u := range list {
		state := "active"
		switch {
		case u.Disabled:
			state = "disabled"
		case u.Kind == "user" && !u.Password:
			state = "no password"
		}
		rows = append(rows, []string{u.Name, u.Kind, strings.Join(u.Emails, ","), u.DisplayName, strings.Join(u.Rights, ","), state})
	}
	return a.table("NAME|KIND|EMAILS|DISPLAY NAME|RIGHTS|STATE", rows)
}

type userSetCmd struct {
	Name        string   `arg:"" help:"Name of the account."`
	Email       []string `help:"All mail addresses from now on; others are given up and held back for 180 days." placeholder:"ADDR" xor:"emails"`
	AddEmail    []string `help:"Add a mail address." placeholder:"ADDR" xor:"emails"`
	RemoveEmail []string `help:"Give up a mail address." placeholder:"ADDR"`
	DisplayName *string  `name:"name" help:"Name that people see." placeholder:"TEXT"`
	Kind        *string  `help:"user, room or resource." placeholder:"KIND"`
	Rights      []string `help:"Rights from now on: admin, read-all, none." placeholder:"RIGHT"`
	AutoAccept  *string  `help:"How invitations are answered: none, automatic, accept-always, decline-always, accept-if-free, decline-if-busy." placeholder:"MODE"`
	BookBy      []string `help:"Who may book a room or resource: people and groups by name, others by address or @domain; everybody takes the limit away. Whoever is not named is declined." placeholder:"WHO"`
	BookDays    *int     `help:"How many days ahead it may be booked; 0: no limit." placeholder:"N"`
	Capacity    *int     `help:"How many people it holds; an event with more is treated like one that conflicts; 0: not said." placeholder:"N"`
	WriteProxy  []string `name:"write-proxies" help:"Who acts for the account: reads and writes its calendars, invites and answers in its name; people and groups, all from now on. none: nobody." placeholder:"NAME"`
	ReadProxy   []string `name:"read-proxies" help:"Who reads its calendars; people and groups, all from now on. none: nobody." placeholder:"NAME"`
	EmailAlarms *string  `help:"Whom reminders by mail may reach: owner, everybody (whom they name), nobody." placeholder:"WHOM"`
}

// Run changes the account.
func (c *userSetCmd) Run(a *app) error {
	ch := server.UserChange{DisplayName: c.DisplayName, Kind: c.Kind, AutoAccept: c.AutoAccept, EmailAlarms: c.EmailAlarms, AddEmails: c.AddEmail, RemoveEmails: c.RemoveEmail}
	if len(c.Email) > 0 {
		ch.Emails = &c.Email
	}
	if len(c.Rights) > 0 {
		ch.Rights = &c.Rights
	}
	ch.BookDays, ch.Capacity = c.BookDays, c.Capacity
	if len(c.BookBy) > 0 {
		ch.BookBy = &c.BookBy
	}
	if len(c.WriteProxy) > 0 {
		ch.WriteProxies = &c.WriteProxy
	}
	if len(c.ReadProxy) > 0 {
		ch.ReadProxies = &c.ReadProxy
	}
	if ch.WriteProxies == nil && ch.ReadProxies == nil && ch.BookBy == nil && ch.BookDays == nil && ch.Capacity == nil && ch.DisplayName == nil && ch.Kind == nil && ch.AutoAccept == nil && ch.EmailAlarms == nil && ch.Emails == nil && ch.Rights == nil && len(ch.AddEmails)+len(ch.RemoveEmails) == 0 {
		return usageError("nothing to change; see `kalends user set --help`")
	}
	return a.admin(func(ad *server.Admin) error {
		u, err := ad.SetUser(a.ctx, c.Name, ch)
		if err != nil {
			return err
		}
		return a.users([]server.UserInfo{u}, false)
	})
}

type userProxiesCmd struct {
	Name string `arg:"" help:"Name of the account."`
	JSON bool   `name:"json" help:"For programs."`
}

// Run lists the proxies of an account.
func (c *userProxiesCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Proxies(a.ctx, c.Name)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(list)
		}
		var rows [][]string
		for _, p := range list {
			rows = append(rows, []string{p.Mode, p.Name, p.Kind, p.DisplayName})
		}
		return a.table("MODE|NAME|KIND|DISPLAY NAME", rows)
	})
}

type userPasswdCmd struct {
	Name          string `arg:"" help:"Name of the account."`
	PasswordStdin bool   `help:"Read the password from the standard input; otherwise it is asked for." xor:"how"`
	None          bool   `help:"Take the password away: nobody signs in, app passwords excepted." xor:"how"`
}

// Run sets the password.
func (c *userPasswdCmd) Run(a *app) error {
	pw := ""
	if !c.None {
		var ok bool
		var err error
		if pw, ok, err = a.password(c.PasswordStdin, "New password of "+c.Name+": ", true); err != nil {
			return err
		}
		if !ok || pw == "" {
			return usageError("no password was given; type it at the prompt, or use --password-stdin")
		}
	}
	return a.admin(func(ad *server.Admin) error {
		if err := ad.SetPassword(a.ctx, c.Name, pw); err != nil {
			return err
		}
		a.printf("the password of %s is changed\n", c.Name)
		return nil
	})
}

type userDisableCmd struct {
	Name string `arg:"" help:"Name of the account."`
}

// Run disables the account.
func (c *userDisableCmd) Run(a *app) error { return a.enable(c.Name, false) }

type userEnableCmd struct {
	Name string `arg:"" help:"Name of the account."`
}

// Run enables the account.
func (c *userEnableCmd) Run(a *app) error { return a.enable(c.Name, true) }

func (a *app) enable(name string, on bool) error {
	return a.admin(func(ad *server.Admin) error {
		if err := ad.EnableUser(a.ctx, name, on); err != nil {
			return err
		}
		a.printf("%s is %s\n", name, map[bool]string{true: "enabled", false: "disabled"}[on])
		return nil
	})
}

type userRemoveCmd struct {
	Name           string `arg:"" help:"Name of the account."`
	TransferTo     string `help:"Another account organizes its meetings from now on: attendees get a cancellation of the old and an invitation to the new one, which they answer again." placeholder:"NAME" xor:"meetings"`
	CancelMeetings bool   `help:"Cancel the meetings that it organizes." xor:"meetings"`
	KeepDays       int    `help:"Disable it now; remove it and cancel its meetings in N days." placeholder:"N" xor:"meetings"`
}

// Help is shown by --help.
func (userRemoveCmd) Help() string {
	return "Meetings that are not over: those it organizes are cancelled or handed over, invitations it has are declined. Its other calendar data goes with it; `kalends export --user NAME --out DIR` keeps a copy. The name and the addresses are held back for 180 days, so that nobody inherits invitations."
}

// Run removes the account.
func (c *userRemoveCmd) Run(a *app) error {
	if c.KeepDays < 0 || c.KeepDays > 3650 {
		return usageError("--keep-days is between 1 and 3650")
	}
	return a.admin(func(ad *server.Admin) error {
		r, err := ad.RemoveUser(a.ctx, c.Name, server.Removal{TransferTo: c.TransferTo, CancelMeetings: c.CancelMeetings, KeepDays: c.KeepDays})
		if err != nil {
			return err
		}
		if r.Due != "" {
			a.printf("%s is disabled and will be removed after %s; `kalends user enable %s` calls it off\n", c.Name, r.Due, c.Name)
			return nil
		}
		a.printf("%s removed; meetings: %d handed over, %d cancelled, %d declined\n", c.Name, r.Transferred, r.Cancelled, r.Declined)
		return nil
	})
}

type groupCmd struct {
	AddMember    groupAddCmd     `cmd:"" help:"Add accounts or groups to a group."`
	RemoveMember groupRemoveCmd  `cmd:"" help:"Take accounts or groups out of a group."`
	Members      groupMembersCmd `cmd:"" help:"List the members of a group."`
}

type groupAddCmd struct {
	Group  string   `arg:"" help:"Name of the group; make one with \"kalends user add NAME --kind group\"."`
	Member []string `arg:"" help:"Names of accounts or groups."`
}

// Run adds members.
func (c *groupAddCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		if err := ad.AddMembers(a.ctx, c.Group, c.Member); err != nil {
			return err
		}
		a.printf("%s: %s added\n", c.Group, strings.Join(c.Member, ", "))
		return nil
	})
}

type groupRemoveCmd struct {
	Group  string   `arg:"" help:"Name of the group."`
	Member []string `arg:"" help:"Names of direct members."`
}

// Run removes members.
func (c *groupRemoveCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		if err := ad.RemoveMembers(a.ctx, c.Group, c.Member); err != nil {
			return err
		}
		a.printf("%s: %s removed\n", c.Group, strings.Join(c.Member, ", "))
		return nil
	})
}

type groupMembersCmd struct {
	Group string `arg:"" help:"Name of the group."`
	All   bool   `help:"Also members of groups in the group."`
	JSON  bool   `name:"json" help:"For programs."`
}

// Run lists members.
func (c *groupMembersCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Members(a.ctx, c.Group, c.All)
		if err != nil {
			return err
		}
		return a.users(list, c.JSON)
	})
}
