// Kalends is a calendar server (CalDAV) that schedules with other
// organizations by iSchedule and mail.
//
// This package is its command line and nothing else: flags, prompts and
// tables. What a command does is in the server package. The exit code is 0
// for success, 1 for a failure and 2 for wrong usage; a failure is one line on
// the standard error that says what to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/kalends/kalends/server"
)

// commands is the whole grammar.
type commands struct {
	Config string `help:"Configuration file (TOML). Every key is also an environment variable, see \"kalends config show\"." placeholder:"FILE" env:"KALENDS_CONFIG"`

	Serve       serveCmd       `cmd:"" help:"Run the server. Without any configuration it listens on 127.0.0.1:8080 and keeps its data in ./kalends-data/."`
	Demo        demoCmd        `cmd:"" help:"See it work: two organizations and a mail site on this machine play a story of invitations."`
	User        userCmd        `cmd:"" help:"Accounts of people, rooms, resources and groups."`
	Group       groupCmd       `cmd:"" help:"Members of groups."`
	Domain      domainCmd      `cmd:"" help:"Mail domains that this installation is responsible for."`
	Key         keyCmd         `cmd:"" help:"Keys that sign invitations for a domain."`
	Peer        peerCmd        `cmd:"" help:"How other organizations' domains are treated: policy, blocks, trust, quotas."`
	Doctor      doctorCmd      `cmd:"" help:"Check DNS, keys, TLS, redirects, mail and the database; one line with a fix for each finding."`
	Import      importCmd      `cmd:"" help:"Bring calendars in: from an .ics file, a folder, a web address or an account on another CalDAV server."`
	Export      exportCmd      `cmd:"" help:"Write calendars as plain .ics files."`
	Deliveries  deliveriesCmd  `cmd:"" help:"Invitations and answers on their way to other systems."`
	Migrate     migrateCmd     `cmd:"" help:"The schema of the database."`
	Settings    configCmd      `cmd:"" name:"config" help:"Check and show the configuration."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask the running server on its management listener whether it is well (for containers)."`
	Version     versionCmd     `cmd:"" help:"Show the version of this binary."`

	More kong.Plugins `embed:""`
}

// more holds commands of other files of this package: pointers to structs
// with one command each, added by their init functions.
var more kong.Plugins

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(args, environ []string, in *os.File, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { <-ctx.Done(); stop() }() // a second signal ends at once
	var cli commands
	exit := -1
	k, err := kong.New(&cli, kong.Name("kalends"),
		kong.Description("Calendar server (CalDAV) that schedules with other organizations by iSchedule and mail. Administration commands work on the database directly, whether the server runs or not."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exit = code; panic(exited{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}))
	if err != nil {
		fmt.Fprintln(errOut, "kalends:", err)
		return 1
	}
	var parsed *kong.Context
	func() { // --help prints and leaves from deep inside
		defer func() {
			if p := recover(); p != nil {
				if _, ok := p.(exited); !ok {
					panic(p)
				}
			}
		}()
		parsed, err = k.Parse(args)
	}()
	if exit >= 0 {
		return exit
	}
	if err != nil {
		var bad *kong.ParseError
		help := "kalends --help"
		if errors.As(err, &bad) && bad.Context != nil {
			if node := bad.Context.Selected(); node != nil {
				help = "kalends " + node.Path() + " --help"
			}
		}
		fmt.Fprintf(errOut, "kalends: %s; see `%s`\n", oneLine(err), help)
		return 2
	}
	a := &app{ctx: ctx, in: in, out: out, err: errOut, environ: environ, file: cli.Config}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(a)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return 1
	}
	fmt.Fprintln(errOut, "kalends:", oneLine(err))
	if errors.Is(err, server.ErrUsage) {
		return 2
	}
	return 1
}

// exited unwinds the parser after --help.
type exited struct{}

// errSilent is a failure that has been told already.
var errSilent = errors.New("failed")

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
