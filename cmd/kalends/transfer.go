package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kalends/kalends/server"
)

type importCmd struct {
	Source        string `arg:"" help:"File, folder, web address of an .ics file, or with --login the address of an account on another CalDAV server; - for the standard input."`
	User          string `help:"Whose calendar it becomes." required:"" placeholder:"NAME"`
	Calendar      string `help:"Name of the calendar, made when it does not exist; left out: the default calendars, or the names that the other server has." placeholder:"NAME"`
	Login         string `help:"Name to sign in with at the other server; the password is asked for, or comes from KALENDS_IMPORT_PASSWORD." placeholder:"LOGIN"`
	PasswordStdin bool   `help:"Read the password of --login from the standard input."`
}

// Help is shown by --help.
func (importCmd) Help() string {
	return "Nobody is told of anything: importing sends no invitation and no answer. Running it again changes nothing. Many servers want an app password for --login. A folder may hold one folder per calendar, as `kalends export` writes them and as Radicale keeps them."
}

// Run imports.
func (c *importCmd) Run(a *app) error {
	isURL := false
	for _, p := range []string{"http://", "https://", "webcal://"} {
		isURL = isURL || strings.HasPrefix(strings.ToLower(c.Source), p)
	}
	if !isURL && (c.Login != "" || c.PasswordStdin) {
		return usageError("--login is for a web address")
	}
	if c.Login == "" && c.PasswordStdin {
		return usageError("--password-stdin needs --login")
	}
	o := server.ImportOptions{User: c.User, Calendar: c.Calendar}
	return a.admin(func(ad *server.Admin) error {
		if err := ad.CheckImport(a.ctx, o); err != nil {
			return err
		}
		var rep server.ImportReport
		var err error
		switch {
		case c.Login != "":
			var pw string
			if pw, err = c.password(a); err != nil {
				return err
			}
			rep, err = ad.ImportAccount(a.ctx, c.Source, server.Login{Name: c.Login, Password: pw}, o, func(s string) { a.printf("%s\n", s) })
		case isURL:
			rep, err = ad.ImportURL(a.ctx, c.Source, o)
		case c.Source == "-":
			var data []byte
			if data, err = io.ReadAll(io.LimitReader(a.in, 256<<20)); err != nil {
				return fmt.Errorf("the standard input cannot be read: %w", err)
			}
			rep, err = ad.ImportICS(a.ctx, data, o)
		default:
			rep, err = ad.ImportPath(a.ctx, c.Source, o)
		}
		if err != nil {
			return err
		}
		for _, p := range rep.Problems {
			fmt.Fprintf(a.err, "left out: %s\n", oneLine(errors.New(p)))
		}
		a.printf("%d created, %d changed, %d unchanged, %d left out\n", rep.Created, rep.Changed, rep.Unchanged, len(rep.Problems))
		if len(rep.Problems) > 0 {
			return fmt.Errorf("%s could not be imported; the reasons are above", plural(len(rep.Problems), "object"))
		}
		return nil
	})
}

func (c *importCmd) password(a *app) (string, error) {
	if !c.PasswordStdin {
		for _, kv := range a.environ {
			if pw, ok := strings.CutPrefix(kv, "KALENDS_IMPORT_PASSWORD="); ok && pw != "" {
				return pw, nil
			}
		}
	}
	pw, ok, err := a.password(c.PasswordStdin, "Password of "+c.Login+": ", false)
	if err == nil && !ok {
		err = usageError("no password was given; use --password-stdin or KALENDS_IMPORT_PASSWORD")
	}
	return pw, err
}

type exportCmd struct {
	User     string `help:"Whose calendars." placeholder:"NAME" xor:"who" required:""`
	All      bool   `help:"Everybody's calendars." xor:"who" required:""`
	Calendar string `help:"Only the calendar of this name." placeholder:"NAME"`
	Out      string `help:"Folder to write to; made when it does not exist." required:"" placeholder:"DIR"`
}

// Help is shown by --help.
func (exportCmd) Help() string {
	return "Writes DIR/USER/CALENDAR/OBJECT.ics with the very octets that clients stored, and calendar.json with the name and colour of each calendar. Files that are there are written over, none is deleted."
}

// Run exports.
func (c *exportCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		r, err := ad.Export(a.ctx, server.ExportOptions{User: c.User, Calendar: c.Calendar, Dir: c.Out})
		if err != nil {
			return err
		}
		a.printf("%s in %s of %s\n", plural(r.Objects, "object"), plural(r.Calendars, "calendar"), plural(r.Accounts, "account"))
		return nil
	})
}
