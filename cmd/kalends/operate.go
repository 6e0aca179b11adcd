package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/server"
)

type doctorCmd struct {
	Domain string `arg:"" optional:"" help:"One of our domains (all when left out), or the domain of another organization: then the way to it is checked."`
	JSON   bool   `name:"json" help:"For programs."`
}

// Run checks; a broken finding is exit code 1.
func (c *doctorCmd) Run(a *app) error {
	return a.adminBy(server.OpenForMigration, func(ad *server.Admin) error {
		list, err := ad.Doctor(a.ctx, c.Domain)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := a.json(list); err != nil {
				return err
			}
		} else {
			for _, f := range list {
				a.printf("%s\n", f)
			}
		}
		if server.Broken(list) {
			return errSilent
		}
		return nil
	})
}

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Bring the schema to the version of this binary. The server does it at its start too."`
	Status migrateStatusCmd `cmd:"" help:"Show where the schema stands; exit code 1 unless it is up to date."`
	Force  migrateForceCmd  `cmd:"" help:"Note that the schema is at a version, after you have put it right by hand."`
	Down   migrateDownCmd   `cmd:"" help:"Take back the newest steps, with the data in them."`
}

func (a *app) schema(ad *server.Admin) error {
	st, err := ad.SchemaStatus(a.ctx)
	if err != nil {
		return err
	}
	a.printf("%s, schema version %d of %d\n", st.Engine, st.Version, st.Latest)
	return nil
}

type migrateUpCmd struct{}

// Run migrates.
func (migrateUpCmd) Run(a *app) error {
	return a.adminBy(server.OpenForMigration, func(ad *server.Admin) error {
		if err := ad.MigrateUp(a.ctx); err != nil {
			return err
		}
		return a.schema(ad)
	})
}

type migrateStatusCmd struct {
	JSON bool `name:"json" help:"For programs."`
}

// Run shows the state of the schema.
func (c *migrateStatusCmd) Run(a *app) error {
	return a.adminBy(server.OpenForMigration, func(ad *server.Admin) error {
		st, err := ad.SchemaStatus(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := a.json(st); err != nil {
				return err
			}
		} else if err := a.schema(ad); err != nil {
			return err
		}
		switch {
		case st.Dirty:
			return fmt.Errorf("a migration stopped half way; put the schema right, then run `kalends migrate force %d`", st.Version)
		case st.Version > st.Latest:
			return fmt.Errorf("the schema is newer than this binary; use the newer binary")
		case st.Version < st.Latest:
			return fmt.Errorf("the schema is older than this binary; run `kalends migrate up`")
		}
		return nil
	})
}

type migrateForceCmd struct {
	Version int `arg:"" help:"Version that the schema has; 0 for an empty database."`
}

// Run notes the version.
func (c *migrateForceCmd) Run(a *app) error {
	return a.adminBy(server.OpenForMigration, func(ad *server.Admin) error {
		if err := ad.MigrateForce(a.ctx, c.Version); err != nil {
			return err
		}
		return a.schema(ad)
	})
}

type migrateDownCmd struct {
	Steps int  `arg:"" help:"How many steps."`
	Yes   bool `help:"Yes, the data in them may go."`
}

// Run takes steps back.
func (c *migrateDownCmd) Run(a *app) error {
	if !c.Yes {
		return usageError("the data of the steps is lost; stop the server, make a backup and add --yes")
	}
	return a.adminBy(server.OpenForMigration, func(ad *server.Admin) error {
		if err := ad.MigrateDown(a.ctx, c.Steps); err != nil {
			return err
		}
		return a.schema(ad)
	})
}

type deliveriesCmd struct {
	List   deliveriesListCmd   `cmd:"" help:"List deliveries, newest first."`
	Show   deliveriesShowCmd   `cmd:"" help:"Show one delivery and what was tried."`
	Retry  deliveriesRetryCmd  `cmd:"" help:"Try deliveries again now."`
	Cancel deliveriesCancelCmd `cmd:"" help:"Give up deliveries that wait; their senders see that they failed."`
}

type deliveriesListCmd struct {
	State  string `help:"held, queued, in-flight, done, failed, superseded or withdrawn." placeholder:"STATE"`
	Domain string `help:"Of the recipients." placeholder:"DOMAIN"`
	User   string `help:"Whose invitations and answers." placeholder:"NAME"`
	UID    string `name:"uid" help:"Of the event." placeholder:"UID"`
	Limit  int    `help:"At most so many." default:"100"`
	JSON   bool   `name:"json" help:"For programs."`
}

func (c *deliveriesListCmd) query() (server.DeliveryQuery, error) {
	if c.Limit < 1 || c.Limit > 10_000 {
		return server.DeliveryQuery{}, usageError("--limit is between 1 and 10000")
	}
	return server.DeliveryQuery{State: c.State, Domain: c.Domain, User: c.User, UID: c.UID, Limit: c.Limit}, nil
}

// Run lists deliveries.
func (c *deliveriesListCmd) Run(a *app) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Deliveries(a.ctx, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(list)
		}
		var rows [][]string
		for _, d := range list {
			rows = append(rows, []string{d.Ref, d.State, d.Recipient, d.Status, d.Transport, strconv.Itoa(d.Attempts), d.Updated, d.UID})
		}
		return a.table("DELIVERY|STATE|RECIPIENT|STATUS|BY|ATTEMPTS|UPDATED|UID", rows)
	})
}

type deliveriesShowCmd struct {
	Delivery string `arg:"" help:"As in the first column of the list, such as alice/4711."`
	Body     bool   `help:"With the message itself; this is noted in the audit trail."`
	JSON     bool   `name:"json" help:"For programs."`
}

// Run shows a delivery.
func (c *deliveriesShowCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		d, err := ad.Delivery(a.ctx, c.Delivery, c.Body)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(d)
		}
		for _, l := range [][2]string{{"delivery", d.Ref}, {"state", d.State}, {"message", d.Method + " " + d.Component}, {"from", d.From}, {"to", d.Recipient},
			{"uid", d.UID}, {"status", d.Status}, {"detail", d.Detail}, {"by", d.Transport}, {"proof", d.Proof}, {"attempts", strconv.Itoa(d.Attempts)},
			{"next", d.NotBefore}, {"until", d.Expires}, {"created", d.Created}, {"updated", d.Updated}, {"wire id", d.WireID}, {"request", d.RequestID}} {
			if l[1] != "" {
				a.printf("%-9s %s\n", l[0]+":", l[1])
			}
		}
		for i, t := range d.Trace {
			a.printf("attempt %d at %s: %s\n", i+1, t.At.UTC().Format("2006-01-02 15:04:05"), strings.TrimSpace(t.Transport+" "+t.Status))
			for _, s := range t.Steps {
				a.printf("  %-12s %s (%s)\n", s.What, s.Text, s.Took.Round(time.Millisecond))
			}
		}
		if d.Body != "" {
			a.printf("\n%s", d.Body)
		}
		return nil
	})
}

type deliveriesRetryCmd struct {
	Delivery []string `arg:"" optional:"" help:"As in the first column of the list."`
	State    string   `help:"Without names: all that are queued or failed." placeholder:"STATE"`
	Domain   string   `help:"Only to this domain." placeholder:"DOMAIN"`
	User     string   `help:"Only of this account." placeholder:"NAME"`
}

// Run makes deliveries due now.
func (c *deliveriesRetryCmd) Run(a *app) error {
	if (len(c.Delivery) == 0) == (c.State == "" && c.Domain == "" && c.User == "") {
		return usageError("name deliveries, or select them by --state, --domain or --user")
	}
	return a.admin(func(ad *server.Admin) error {
		n := len(c.Delivery)
		for _, ref := range c.Delivery {
			if err := ad.RetryDelivery(a.ctx, ref); err != nil {
				return err
			}
		}
		if n == 0 {
			var err error
			if n, err = ad.RetryAll(a.ctx, server.DeliveryQuery{State: c.State, Domain: c.Domain, User: c.User}); err != nil {
				return err
			}
		}
		a.printf("%s tried again now by the running server\n", plural(n, "delivery"))
		return nil
	})
}

type deliveriesCancelCmd struct {
	Delivery []string `arg:"" help:"As in the first column of the list."`
}

// Run gives deliveries up.
func (c *deliveriesCancelCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		for _, ref := range c.Delivery {
			if err := ad.CancelDelivery(a.ctx, ref); err != nil {
				return err
			}
		}
		a.printf("%s given up\n", plural(len(c.Delivery), "delivery"))
		return nil
	})
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Test the configuration without starting anything."`
	Show  configShowCmd  `cmd:"" help:"Show every key with its value, its environment variable and its meaning. Secrets are hidden."`
}

type configCheckCmd struct{}

// Run tests the configuration.
func (configCheckCmd) Run(a *app) error {
	cfg, err := server.LoadConfig(a.file, a.environ)
	if err != nil {
		return err
	}
	if err := server.CheckFiles(cfg); err != nil {
		return err
	}
	for _, w := range cfg.Warnings() {
		a.printf("%s\n", w)
	}
	a.printf("the configuration is good\n")
	return nil
}

type configShowCmd struct{}

// Run shows the configuration.
func (configShowCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	a.printf("%s", cfg.Show())
	return nil
}
