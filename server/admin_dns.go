package server

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/storage"
)

// DNSRecord is one record to publish for a domain.
type DNSRecord struct {
	Name  string   `json:"name"` // with the final dot
	Type  string   `json:"type"` // SRV or TXT
	Data  []string `json:"data"` // SRV: one text; TXT: its strings
	About string   `json:"about"`
}

// Line is the record as a zone file has it.
func (r DNSRecord) Line() string {
	data := strings.Join(r.Data, " ")
	if r.Type == "TXT" {
		quoted := make([]string, len(r.Data))
		for i, s := range r.Data {
			quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
		}
		data = strings.Join(quoted, " ")
		if len(quoted) > 1 {
			data = "( " + data + " )"
		}
	}
	return fmt.Sprintf("%s %d IN %s %s", r.Name, int(keyTTL/time.Second), r.Type, data)
}

// endpoint is where the configuration says that the world reaches us; ok is
// false unless that is by https.
func endpoint(cfg *Config) (host string, port int, ok bool) {
	u, err := url.Parse(cfg.ExternalURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", 0, false
	}
	port = 443
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return "", 0, false
		}
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), port, true
}

// dnsRecords are the records that a domain should have. Those that say where
// the server is need external_url.
func dnsRecords(ctx context.Context, db *storage.DB, cfg *Config, domain string) ([]DNSRecord, error) {
	row, _, err := domainRow(ctx, db, domain)
	if err != nil {
		return nil, err
	}
	var out []DNSRecord
	if host, port, ok := endpoint(cfg); ok {
		srv := []string{fmt.Sprintf("0 1 %d %s.", port, host)}
		if row.Role != storage.RoleGateway { // the calendars of a gateway's people are elsewhere
			out = append(out,
				DNSRecord{"_caldavs._tcp." + domain + ".", "SRV", srv, "calendar programs find the server by the mail address (RFC 6764)"},
				DNSRecord{"_caldavs._tcp." + domain + ".", "TXT", []string{"path=/dav/"}, ""})
		}
		if cfg.ISchedule {
			out = append(out,
				DNSRecord{"_ischedules._tcp." + domain + ".", "SRV", srv, "other organizations send invitations and free/busy questions here (iSchedule)"},
				DNSRecord{"_ischedules._tcp." + domain + ".", "TXT", []string{"path=/ischedule"}, ""})
			if cfg.KeyLookup {
				out = append(out, DNSRecord{"_domainkey_lookup._tcp." + domain + ".", "SRV", srv, "our signing keys by https, for servers that look there"})
			}
		}
	}
	keys, err := db.Keys(ctx, domain)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, k := range keys {
		info, err := keyInfo(k)
		if err != nil {
			return nil, err
		}
		if seen[info.Name] { // one key for both purposes
			continue
		}
		seen[info.Name] = true
		about := map[string]string{PurposeCalendar: "key that signs invitations between servers", PurposeMail: "key that signs invitations by mail (DKIM)"}[k.Purpose]
		switch k.State {
		case storage.KeyNext:
			about += "; it will sign when this is published"
		case storage.KeyRetired:
			about += "; it signs no more, keep it for two weeks"
		case storage.KeyRevoked:
			about += "; revoked, may be removed"
		}
		out = append(out, DNSRecord{info.Name, "TXT", dkim.TXTStrings(info.Record), about})
	}
	return out, nil
}

// DNSRecords are the records to publish for a domain.
func (a *Admin) DNSRecords(ctx context.Context, domain string) ([]DNSRecord, error) {
	d, err := a.domainOf(ctx, domain)
	if err != nil {
		return nil, err
	}
	return dnsRecords(ctx, a.db, &a.cfg, d)
}

// ZoneText is what to publish for a domain, as lines of a zone file with
// comments for people.
func (a *Admin) ZoneText(ctx context.Context, domain string) (string, error) {
	d, err := a.domainOf(ctx, domain)
	if err != nil {
		return "", err
	}
	return zoneText(ctx, a.db, &a.cfg, d)
}

func zoneText(ctx context.Context, db *storage.DB, cfg *Config, domain string) (string, error) {
	records, err := dnsRecords(ctx, db, cfg, domain)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "; Records of %s for Kalends. Each line works in a zone file; a long TXT is several strings that belong together.\n", domain)
	if _, _, ok := endpoint(cfg); !ok {
		b.WriteString("; The records that say where the server is are missing: set external_url (KALENDS_EXTERNAL_URL) to its https address and run this again.\n")
	}
	for _, r := range records {
		if r.About != "" {
			fmt.Fprintf(&b, "\n; %s\n", r.About)
		}
		b.WriteString(r.Line() + "\n")
	}
	fmt.Fprintf(&b, "\n; Mail: the host that sends our mail must be allowed by SPF, and DMARC tells receivers to check. If %s has no such records yet, for example:\n", domain)
	spf, dmarc := mailRecords(domain)
	fmt.Fprintf(&b, ";   %s\n;   %s\n", spf.Line(), dmarc.Line())
	return b.String(), nil
}

// DomainInfo describes one of our domains.
type DomainInfo struct {
	Name     string `json:"name"`
	Created  string `json:"created"`
	Calendar string `json:"calendar_selector"` // of the active key, "" for none
	Mail     string `json:"mail_selector"`
	Role     string `json:"role"`              // local or gateway
	Backend  string `json:"backend,omitempty"` // of a gateway
}

// Domains lists our domains.
func (a *Admin) Domains(ctx context.Context) ([]DomainInfo, error) {
	list, err := a.db.ListDomains(ctx)
	if err != nil {
		return nil, err
	}
	out := []DomainInfo{}
	for _, d := range list {
		info := DomainInfo{Name: d.Name, Created: stamp(d.Created), Role: cmp.Or(d.Role, "local"), Backend: d.Backend}
		keys, err := a.db.Keys(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if k.State != storage.KeyActive {
				continue
			}
			if k.Purpose == PurposeMail {
				info.Mail = k.Selector
			} else {
				info.Calendar = k.Selector
			}
		}
		out = append(out, info)
	}
	return out, nil
}

// AddDomain makes a domain ours and gives it keys; it is no error when it is
// ours already.
func (a *Admin) AddDomain(ctx context.Context, name string) (DomainInfo, error) {
	d := storage.NormalEmail("x@" + name)
	if d == "" || !strings.Contains(d, ".") || strings.ContainsAny(name, "@/: ") {
		return DomainInfo{}, usage("%q is no domain name; write it as example.org", name)
	}
	d = d[2:]
	if err := a.db.AddDomain(ctx, d); err != nil {
		return DomainInfo{}, err
	}
	if _, err := ensureKeys(ctx, a.db, d, a.db.Now()); err != nil {
		return DomainInfo{}, err
	}
	list, err := a.Domains(ctx)
	if err != nil {
		return DomainInfo{}, err
	}
	for _, info := range list {
		if info.Name == d {
			return info, a.audit(ctx, "domain.add", d, "")
		}
	}
	return DomainInfo{}, explained(storage.ErrNotFound, "%s was removed by somebody else meanwhile; run the command again", d)
}

// RemoveDomain forgets a domain and its keys. While accounts have addresses in
// it, it is refused unless force.
func (a *Admin) RemoveDomain(ctx context.Context, name string, force bool) error {
	d, err := a.domainOf(ctx, name)
	if err != nil {
		return err
	}
	if !force {
		used, first := 0, ""
		err := a.eachAccount(ctx, func(acc storage.Account) error {
			for _, e := range acc.Emails {
				if strings.HasSuffix(e, "@"+d) {
					if used == 0 {
						first = acc.Handle
					}
					used++
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if used > 0 {
			return explained(nil, "%d addresses are in %s (the first is of %s); change them, or remove the domain all the same with --force", used, d, first)
		}
	}
	if err := a.db.RemoveDomain(ctx, d); err != nil {
		return err
	}
	return a.audit(ctx, "domain.remove", d, "")
}

// Line is the key's record as a zone file has it.
func (k KeyInfo) Line() string {
	return DNSRecord{Name: k.Name, Type: "TXT", Data: dkim.TXTStrings(k.Record)}.Line()
}
