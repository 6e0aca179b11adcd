package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kalends/kalends/cmd/kalends/demo"
)

func init() {
	more = append(more, &struct {
		Demo demoCmd `cmd:"" help:"See it work: two installations, a mail site and the DNS between them on this machine invite each other."`
	}{})
}

// demoCmd plays the story on this machine.
type demoCmd struct {
	Exit     bool   `help:"End after the story instead of staying up."`
	Verbose  bool   `help:"Show the logs of the servers."`
	Events   int    `help:"Generated events in each calendar." default:"300"`
	Break    string `hidden:"" enum:"none,dns,key,cert" default:"none" help:"Spoil beta's DNS record, key or certificate."`
	MailSite string `hidden:"" help:"Be the mail site, with this DNS resolver."`
}

// Run plays it.
func (d *demoCmd) Run() error {
	if d.MailSite != "" {
		return demo.MailSite(d.MailSite, os.Stdin, os.Stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var logs io.Writer
	if d.Verbose {
		logs = os.Stderr
	}
	return demo.Run(ctx, demo.Options{Exit: d.Exit, Break: strings.TrimPrefix(d.Break, "none"), Verbose: logs, Events: d.Events, Out: os.Stdout})
}
