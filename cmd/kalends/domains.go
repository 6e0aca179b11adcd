package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/kalends/kalends/server"
)

type domainCmd struct {
	Add    domainAddCmd    `cmd:"" help:"Make a domain ours and give it signing keys."`
	List   domainListCmd   `cmd:"" help:"List our domains."`
	Remove domainRemoveCmd `cmd:"" help:"Give up a domain and its keys."`
	DNS    domainDNSCmd    `cmd:"" name:"dns" help:"Show the DNS records to publish for a domain."`
}

type domainAddCmd struct {
	Domain  string `arg:"" help:"Mail domain, such as example.org."`
	Role    string `help:"local: its people have accounts here. gateway: their calendars are in a backend." enum:"local,gateway," default:""`
	Backend string `help:"Of a gateway: https://host/path, or lmtp://host:port." placeholder:"URL"`
	JSON    bool   `name:"json" help:"For programs."`
}

// Help is shown by --help.
func (domainAddCmd) Help() string {
	return "A domain that is ours already may get another role. For a gateway the secret that we show to the backend and the token that it shows to us are printed once; run the command again to get new ones. docs/gateway.md says what they are for."
}

// Run adds the domain.
func (c *domainAddCmd) Run(a *app) error {
	if (c.Role == "gateway") != (c.Backend != "") {
		return usageError("--role gateway and --backend belong together")
	}
	return a.admin(func(ad *server.Admin) error {
		d, err := ad.AddDomain(a.ctx, c.Domain)
		if err != nil {
			return err
		}
		switch c.Role {
		case "gateway":
			b, err := ad.SetGateway(a.ctx, d.Name, c.Backend)
			if err != nil {
				return err
			}
			if c.JSON {
				return a.json(b)
			}
			a.printf("%s is a gateway to %s. Shown once:\n  the backend gets   Authorization: Bearer %s\n  the backend posts to %s with   Authorization: Bearer %s\n", d.Name, b.URL, b.Secret, b.Submit, b.Token)
			return nil
		case "local":
			if err := ad.SetLocal(a.ctx, d.Name); err != nil {
				return err
			}
		}
		a.printf("%s is ours; `kalends domain dns %s` shows the records to publish\n", d.Name, d.Name)
		return nil
	})
}

type domainListCmd struct {
	JSON bool `name:"json" help:"For programs."`
}

// Run lists our domains.
func (c *domainListCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Domains(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(list)
		}
		var rows [][]string
		for _, d := range list {
			rows = append(rows, []string{d.Name, d.Role, d.Calendar, d.Mail, d.Created})
		}
		return a.table("DOMAIN|ROLE|CALENDAR KEY|MAIL KEY|ADDED", rows)
	})
}

type domainRemoveCmd struct {
	Domain string `arg:"" help:"Mail domain."`
	Force  bool   `help:"Also while accounts have addresses in it."`
}

// Run gives the domain up.
func (c *domainRemoveCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		if err := ad.RemoveDomain(a.ctx, c.Domain, c.Force); err != nil {
			return err
		}
		a.printf("%s removed; take its records out of the DNS, and out of KALENDS_DOMAINS if it is there\n", c.Domain)
		return nil
	})
}

type domainDNSCmd struct {
	Domain string `arg:"" help:"One of our domains."`
	JSON   bool   `name:"json" help:"For programs."`
}

// Help is shown by --help.
func (domainDNSCmd) Help() string {
	return "The output is text for a zone file; lines that begin with ; are comments. Where the server is comes from external_url. Nothing is looked up: `kalends doctor` compares with the DNS."
}

// Run shows the records.
func (c *domainDNSCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		if c.JSON {
			list, err := ad.DNSRecords(a.ctx, c.Domain)
			if err != nil {
				return err
			}
			return a.json(list)
		}
		text, err := ad.ZoneText(a.ctx, c.Domain)
		if err != nil {
			return err
		}
		a.printf("%s", text)
		return nil
	})
}

type keyCmd struct {
	Rotate keyRotateCmd `cmd:"" help:"Make the next keys of a domain, or let them sign."`
	List   keyListCmd   `cmd:"" help:"List keys."`
	Import keyImportCmd `cmd:"" help:"Take over an existing key."`
	Revoke keyRevokeCmd `cmd:"" help:"Let nobody believe a key any more that signs no longer, such as one that leaked."`

	Encrypt keyEncryptCmd `cmd:"" help:"Encrypt the private keys in the database with key_secret. The server does it at its start too."`
	Decrypt keyDecryptCmd `cmd:"" help:"Write the private keys in the clear, before key_secret changes or goes."`
}

type keyEncryptCmd struct{}

// Run encrypts.
func (keyEncryptCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		n, err := ad.EncryptKeys(a.ctx)
		if err != nil {
			return err
		}
		a.printf("%s encrypted; without key_secret they cannot be used, so keep it safe, apart from the database\n", plural(n, "private key"))
		return nil
	})
}

type keyDecryptCmd struct{}

// Run decrypts.
func (keyDecryptCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		n, err := ad.DecryptKeys(a.ctx)
		if err != nil {
			return err
		}
		a.printf("%s written in the clear; start the server with the new key_secret, or without one\n", plural(n, "private key"))
		return nil
	})
}

type keyRotateCmd struct {
	Domain   string `arg:"" help:"One of our domains."`
	Purpose  string `help:"Only calendar (between servers) or mail (DKIM of mails); both when left out." placeholder:"PURPOSE"`
	Activate bool   `help:"Let the next key sign from now on, as soon as the DNS shows it."`
	Force    bool   `help:"With --activate: also while the DNS does not show it; others refuse then what it signs."`
}

// Help is shown by --help.
func (keyRotateCmd) Help() string {
	return "A next key is made and its record shown; run again, the same record is shown. Publish it beside the present one. A running server sees it in the DNS, lets it sign two hours later, when no cache holds an older answer, and revokes the key that signed until then after two weeks more; `kalends key list` shows where they stand. --activate does not wait."
}

// Run rotates keys.
func (c *keyRotateCmd) Run(a *app) error {
	purposes := []string{server.PurposeCalendar, server.PurposeMail}
	if c.Purpose != "" {
		purposes = []string{c.Purpose}
	}
	if c.Force && !c.Activate {
		return usageError("--force belongs to --activate")
	}
	return a.admin(func(ad *server.Admin) error {
		active := 0
		for _, p := range purposes {
			if c.Activate {
				k, err := ad.ActivateKey(a.ctx, c.Domain, p, c.Force)
				if errors.Is(err, server.ErrNoNextKey) && (active > 0 || p != purposes[len(purposes)-1]) {
					continue // only one of them was rotated
				}
				if err != nil {
					return err
				}
				active++
				a.printf("the %s key %s of %s signs from now on; leave the record of the key before in the DNS for two weeks\n", p, k.Selector, k.Domain)
				continue
			}
			k, err := ad.RotateKey(a.ctx, c.Domain, p)
			if err != nil {
				return err
			}
			a.printf("the next %s key of %s is %s; publish its record:\n%s\n", p, k.Domain, k.Selector, k.Line())
		}
		if !c.Activate {
			a.printf("Leave the present record where it is. The running server uses the new key two hours after it has seen it in the DNS; `kalends key list %s` shows when.\n", c.Domain)
		}
		return nil
	})
}

type keyRevokeCmd struct {
	Domain   string `arg:"" help:"One of our domains."`
	Selector string `arg:"" help:"As kalends key list shows it."`
}

// Help is shown by --help.
func (keyRevokeCmd) Help() string {
	return "A key that was rotated away is revoked by the server two weeks later; this does it at once. Mail that it signed and that is still on its way is not believed then."
}

// Run revokes the key.
func (c *keyRevokeCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		k, err := ad.RevokeKey(a.ctx, c.Domain, c.Selector)
		if err != nil {
			return err
		}
		a.printf("the key %s of %s is revoked; take its record out of the DNS, or put this one in its place:\n%s\n", k.Selector, k.Domain, k.Line())
		return nil
	})
}

type keyListCmd struct {
	Domain string `arg:"" optional:"" help:"One of our domains; all when left out."`
	JSON   bool   `name:"json" help:"For programs."`
}

// Run lists keys.
func (c *keyListCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Keys(a.ctx, c.Domain)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(list)
		}
		var rows [][]string
		for _, k := range list {
			bits := strconv.Itoa(k.Bits)
			if k.Bits == 0 { // revoked
				bits = "-"
			}
			rows = append(rows, []string{k.Domain, k.Purpose, k.Selector, k.State, bits, k.Created, k.Changed})
		}
		return a.table("DOMAIN|PURPOSE|SELECTOR|STATE|BITS|CREATED|CHANGED", rows)
	})
}

type keyImportCmd struct {
	Domain   string `arg:"" help:"One of our domains."`
	Purpose  string `help:"calendar (between servers) or mail (DKIM of mails)." required:"" placeholder:"PURPOSE"`
	Selector string `help:"Selector that the key is published under." required:"" placeholder:"S"`
	File     string `help:"RSA private key in PEM." required:"" placeholder:"PEM"`
}

// Run imports the key.
func (c *keyImportCmd) Run(a *app) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("the key file cannot be read: %w", err)
	}
	return a.admin(func(ad *server.Admin) error {
		k, err := ad.ImportKey(a.ctx, c.Domain, c.Purpose, c.Selector, b)
		if err != nil {
			return err
		}
		a.printf("the %s key %s of %s signs from now on; its record must be published:\n%s\n", k.Purpose, k.Selector, k.Domain, k.Line())
		return nil
	})
}
