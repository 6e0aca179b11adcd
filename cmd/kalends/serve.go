package main

import (
	"runtime"
	"runtime/debug"

	"github.com/kalends/kalends/server"
)

type serveCmd struct{}

// Help is shown by --help.
func (serveCmd) Help() string {
	return "The first start makes the database schema, the account admin and the signing keys, and prints the DNS records to publish. SIGINT or SIGTERM ends the server when running requests are done."
}

// Run serves until a signal comes.
func (serveCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	return server.Run(a.ctx, cfg, a.out)
}

type healthcheckCmd struct{}

// Run asks the running server.
func (healthcheckCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := server.Healthcheck(a.ctx, cfg); err != nil {
		return err
	}
	a.printf("ok\n")
	return nil
}

type versionCmd struct{}

// Run shows what the binary was built from.
func (versionCmd) Run(a *app) error {
	version, revision, when := "unknown", "", ""
	if bi, ok := debug.ReadBuildInfo(); ok {
		version = bi.Main.Version
		for _, s := range bi.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = " " + s.Value
			case s.Key == "vcs.time":
				when = " of " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				when += ", with changes"
			}
		}
	}
	a.printf("kalends %s%s%s (%s, %s/%s)\n", version, revision, when, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
