package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kalends/kalends/server"
)

type peerCmd struct {
	List    peerListCmd    `cmd:"" help:"List what is set for other domains."`
	Set     peerSetCmd     `cmd:"" help:"Say how to treat another domain: policy, dialect, address, trust, quotas."`
	Block   peerBlockCmd   `cmd:"" help:"Take nothing from a domain any more."`
	Unblock peerUnblockCmd `cmd:"" help:"Take messages from a domain again."`
	Remove  peerRemoveCmd  `cmd:"" help:"Forget what is set for a domain."`
}

type peerListCmd struct {
	JSON bool `name:"json" help:"For programs."`
}

// Run lists the settings.
func (c *peerListCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		list, err := ad.Peers(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(list)
		}
		var rows [][]string
		for _, p := range list {
			rows = append(rows, []string{p.Name, peerWords(p), p.Changed})
		}
		return a.table("DOMAIN|SETTINGS|CHANGED", rows)
	})
}

// peerWords are the settings of a domain on one line.
func peerWords(p server.PeerInfo) string {
	var out []string
	add := func(name, value string) {
		if value != "" && value != "0" {
			out = append(out, name+"="+value)
		}
	}
	if p.Blocked {
		out = append(out, "blocked")
	}
	add("policy", p.Policy)
	add("dialect", p.Dialect)
	add("endpoint", p.Endpoint)
	add("signers", strings.Join(p.Signers, ","))
	add("keys", strings.Join(slices.Sorted(maps.Keys(p.Keys)), ","))
	add("private-exchange", p.HasOurs)
	add("freebusy", p.FreeBusy)
	add("messages", strconv.Itoa(p.Messages))
	add("questions", strconv.Itoa(p.Questions))
	add("questions-per-day", strconv.Itoa(p.QuestionsPerDay))
	add("networks", strings.Join(p.NetworkList, ","))
	add("certificates", strconv.Itoa(len(p.Certificates)))
	if p.HasPassword {
		out = append(out, "password")
	}
	if len(out) == 0 {
		return "(nothing)"
	}
	return strings.Join(out, " ")
}

type peerSetCmd struct {
	Domain          string            `arg:"" help:"Another organization's domain, or * for all without settings of their own (policy and quotas only)."`
	Policy          *string           `help:"How messages reach it: prefer (iSchedule where it is offered, else mail), ischedule-only, mail-only, or both (iSchedule and a copy by mail, for peers whose people cannot answer by iSchedule)." placeholder:"POLICY"`
	Dialect         *string           `help:"final or draft-01; empty: its capabilities tell." placeholder:"DIALECT"`
	Endpoint        *string           `help:"https address of its iSchedule service, in place of the DNS; empty: the DNS." placeholder:"URL"`
	Signer          *[]string         `help:"Further signing domain that may speak for it." placeholder:"DOMAIN"`
	Key             map[string]string `help:"A key of its signatures that its administrators gave you, by selector (PEM or the text of the record): it counts whatever the DNS says." placeholder:"SELECTOR=FILE"`
	NoKey           []string          `help:"Forget the key of that selector." placeholder:"SELECTOR"`
	PrivateExchange *string           `help:"yes: its administrators have our keys, and our signatures say so; empty: they are looked up." placeholder:"YES"`
	FreeBusy        *string           `name:"freebusy" help:"yes: may ask for busy times whatever ischedule_freebusy says (except nobody); no: never." placeholder:"YES/NO"`
	Messages        *int              `help:"Messages a minute that are taken from it; 0: the default." placeholder:"N"`
	Questions       *int              `help:"Busy-time questions a minute; 0: the default." placeholder:"N"`
	QuestionsPerDay *int              `help:"People asked about a day; 0: the default." placeholder:"N"`
	Network         *[]string         `help:"Networks (CIDR) that its server sends from, for peers that cannot sign." placeholder:"CIDR"`
	NewPassword     bool              `help:"Make a shared password and show it: a peer that cannot sign sends it by Basic authentication, with its domain as user, from its networks."`
	NoPassword      bool              `help:"Drop the shared password."`
	Certificate     []string          `help:"PEM file of the client certificate that a peer presents which cannot sign." placeholder:"FILE"`
	NoCertificates  bool              `help:"Drop all client certificates."`
}

// Help is shown by --help.
func (peerSetCmd) Help() string {
	return "What is set acts within seconds on every node. A request without a signature is believed from a peer with a certificate or a password only; the domain it may speak for is its own."
}

// Run changes the settings.
func (c *peerSetCmd) Run(a *app) error {
	change := server.PeerChange{Policy: c.Policy, Dialect: c.Dialect, Endpoint: c.Endpoint, FreeBusy: c.FreeBusy, Signers: c.Signer, Messages: c.Messages, Questions: c.Questions,
		QuestionsPerDay: c.QuestionsPerDay, Networks: c.Network, NewPassword: c.NewPassword, DropPassword: c.NoPassword, DropCertificates: c.NoCertificates, HasOurs: c.PrivateExchange, Keys: map[string][]byte{}}
	for _, s := range c.NoKey {
		change.Keys[s] = nil
	}
	for s, f := range c.Key {
		b, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("the key cannot be read: %w", err)
		}
		change.Keys[s] = append(b, '\n') // an empty file is no removal
	}
	for _, f := range c.Certificate {
		b, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("the certificate cannot be read: %w", err)
		}
		change.Certificates = append(change.Certificates, b)
	}
	return a.setPeer(c.Domain, change)
}

func (a *app) setPeer(domain string, change server.PeerChange) error {
	return a.admin(func(ad *server.Admin) error {
		p, secret, err := ad.SetPeer(a.ctx, domain, change)
		if err != nil {
			return err
		}
		a.printf("%s: %s\n", p.Name, peerWords(p))
		if secret != "" {
			a.printf("user %s, password %s (shown only now)\n", p.Name, secret)
		}
		return nil
	})
}

type peerBlockCmd struct {
	Domain string `arg:"" help:"Another organization's domain."`
}

// Run blocks the domain.
func (c *peerBlockCmd) Run(a *app) error {
	yes := true
	return a.setPeer(c.Domain, server.PeerChange{Blocked: &yes})
}

type peerUnblockCmd struct {
	Domain string `arg:"" help:"Another organization's domain."`
}

// Run ends the block.
func (c *peerUnblockCmd) Run(a *app) error {
	no := false
	return a.setPeer(c.Domain, server.PeerChange{Blocked: &no})
}

type peerRemoveCmd struct {
	Domain string `arg:"" help:"Another organization's domain."`
}

// Run forgets the settings.
func (c *peerRemoveCmd) Run(a *app) error {
	return a.admin(func(ad *server.Admin) error {
		if err := ad.RemovePeer(a.ctx, c.Domain); err != nil {
			return err
		}
		a.printf("nothing is set for %s any more\n", c.Domain)
		return nil
	})
}
