package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kalends/kalends/federation/discover"
)

// mailRecords are the two records that a domain should have when mail is sent
// in its name, as an administrator may begin with them.
func mailRecords(domain string) (spf, dmarc DNSRecord) {
	return DNSRecord{Name: domain + ".", Type: "TXT", Data: []string{"v=spf1 mx ~all"}},
		DNSRecord{Name: "_dmarc." + domain + ".", Type: "TXT", Data: []string{"v=DMARC1; p=none; rua=mailto:postmaster@" + domain}}
}

// policyRecord finds the one record of a kind among the TXT records of a name:
// receivers take none of several (RFC 7208 §4.5, RFC 7489 §6.6.3).
func (d *doctor) policyRecord(ctx context.Context, kind, version string, want DNSRecord) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	check, name := "mail "+strings.TrimPrefix(strings.TrimSuffix(want.Name, "."), "_dmarc."), strings.TrimSuffix(want.Name, ".")
	texts, _, err := d.out.Resolver.LookupTXT(ctx, name)
	if err != nil && !errors.Is(err, discover.ErrNotFound) {
		d.warn(check, "check dns_resolver and the name servers of the domain", "%s of %s cannot be looked up: %s", kind, name, plain(err))
		return "", false
	}
	var found []string
	for _, t := range texts {
		text := strings.Join(t, "")
		if first, _, _ := strings.Cut(strings.ReplaceAll(text, " ", ";"), ";"); strings.EqualFold(first, version) {
			found = append(found, text)
		}
	}
	switch len(found) {
	case 1:
		return found[0], true
	case 0:
		d.warn(check, publish(want)+" (or stricter)", "%s has no %s record, so receivers may take our mail for junk", name, kind)
	default:
		d.broken(check, "leave one of them", "%s has %d %s records, and receivers take none then", name, len(found), kind)
	}
	return "", false
}

// mailPath looks at what receivers of our mail look at: where answers and bounces
// go, SPF and DMARC of the From domain. The DKIM key is looked at with the other
// keys.
func (d *doctor) mailPath(ctx context.Context, domain string) {
	if d.a.cfg.SMTPURL == "" {
		return // a warning of the configuration
	}
	check := "mail " + domain
	d.exchangers(ctx, check, domain)
	wantSPF, wantDMARC := mailRecords(domain)
	if text, ok := d.policyRecord(ctx, "SPF", "v=spf1", wantSPF); ok {
		// RFC 7208 §5.1: the last mechanism decides about everybody else.
		terms := strings.Fields(strings.ToLower(text))
		switch {
		case len(terms) == 2 && terms[1] == "-all":
			d.broken(check, "let the record name the host that sends our mail, such as \"v=spf1 mx -all\"", "SPF allows nobody to send mail of %s", domain)
		case terms[len(terms)-1] == "+all" || terms[len(terms)-1] == "all":
			d.warn(check, "end the record with ~all or -all", "SPF allows everybody to send mail of %s", domain)
		default:
			d.ok(check, "SPF is %q; the host that sends our mail must be among them", text)
		}
	}
	if text, ok := d.policyRecord(ctx, "DMARC", "v=DMARC1", wantDMARC); ok {
		tags := map[string]string{}
		for t := range strings.SplitSeq(text, ";") {
			k, v, _ := strings.Cut(t, "=")
			tags[strings.ToLower(strings.TrimSpace(k))] = strings.ToLower(strings.TrimSpace(v))
		}
		switch tags["p"] {
		case "none", "quarantine", "reject":
			d.ok(check, "DMARC asks for %s; our signatures (DKIM) carry the domain itself and pass it", tags["p"])
		default:
			d.broken(check, publish(wantDMARC), "DMARC of %s has no policy that receivers know: %q", domain, text)
		}
	}
}

// exchangers looks whether mail to the people of a domain arrives anywhere: who
// is invited by mail answers by mail (RFC 5321 §5.1).
func (d *doctor) exchangers(ctx context.Context, check, domain string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	fix := "publish the host that takes the domain's mail, such as: " + domain + ". 3600 IN MX 10 mail." + domain + "."
	list, _, err := d.out.Resolver.LookupMX(ctx, domain)
	if err != nil && !errors.Is(err, discover.ErrNotFound) {
		d.warn(check, "check dns_resolver and the name servers of the domain", "its MX record cannot be looked up: %s", plain(err))
		return
	}
	slices.SortStableFunc(list, func(a, b discover.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	var hosts, away []string
	for _, m := range list {
		if m.Host == "." { // RFC 7505
			d.broken(check, fix, "its MX record says that the domain takes no mail, so answers and bounces cannot come back")
			return
		}
		hosts = append(hosts, m.Host)
	}
	if len(hosts) == 0 {
		hosts = []string{domain} // the host of that name, where there is no MX record
	}
	for _, h := range hosts {
		if _, _, err := d.out.Resolver.LookupAddrs(ctx, h); errors.Is(err, discover.ErrNotFound) {
			away = append(away, h)
		}
	}
	switch {
	case len(away) < len(hosts):
		d.ok(check, "answers and bounces go to %s", strings.Join(hosts, ", "))
	case len(list) == 0:
		d.warn(check, fix, "%s has no MX record, so answers and bounces by mail cannot come back", domain)
	default:
		d.broken(check, "give the host an address, or publish another", "the host of its MX record has no address: %s", strings.Join(away, ", "))
	}
}
