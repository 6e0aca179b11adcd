package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/storage"
)

// The administrator's page looks which records are missing each time that it is
// opened, but does not wait long for the DNS.
const (
	hintTime  = 2 * time.Second
	hintLanes = 8 // questions at a time
)

// DNSHints are the records of all our domains that the DNS lacks or has
// otherwise than they should be, as lines of a zone file. An error says that not all of them
// could be looked up; what is missing for sure is returned beside it.
func DNSHints(ctx context.Context, db *storage.DB, cfg *Config, resolver *discover.Resolver) ([]string, error) {
	domains, err := db.ListDomains(ctx)
	if err != nil {
		return nil, err
	}
	var want []DNSRecord
	for _, d := range domains {
		records, err := dnsRecords(ctx, db, cfg, d.Name)
		if err != nil {
			return nil, err
		}
		want = append(want, records...)
	}
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	there, failed := make([]bool, len(want)), make([]error, len(want))
	lanes := make(chan struct{}, hintLanes)
	var all sync.WaitGroup
	for i, r := range want {
		all.Go(func() {
			lanes <- struct{}{}
			defer func() { <-lanes }()
			there[i], failed[i] = isThere(ctx, cfg, resolver, r)
		})
	}
	all.Wait()
	var missing []string
	for i, r := range want {
		switch {
		case failed[i] != nil:
			err = fmt.Errorf("%s %s cannot be looked up: %w", strings.TrimSuffix(r.Name, "."), r.Type, failed[i])
		case !there[i]:
			missing = append(missing, r.Line())
		}
	}
	return missing, err
}

// isThere tells whether the DNS has a record as it should be.
func isThere(ctx context.Context, cfg *Config, resolver *discover.Resolver, want DNSRecord) (there bool, err error) {
	name := strings.TrimSuffix(want.Name, ".")
	selector, domain, isKey := strings.Cut(name, "._domainkey.")
	switch {
	case want.Type == "SRV":
		var got []discover.SRV
		got, _, err = resolver.LookupSRV(ctx, name)
		host, port, _ := endpoint(cfg)
		there = slices.ContainsFunc(got, func(r discover.SRV) bool { return r.Target == host && int(r.Port) == port })
	case isKey:
		key, e := dkim.ParseKeyRecord(strings.Join(want.Data, ""))
		if e != nil {
			return true, nil // revoked: it may be there or not
		}
		var texts []string
		texts, err = publishedBy(resolver)(ctx, domain, selector)
		there = showsKey(texts, key.Key)
	default:
		var got [][]string
		got, _, err = resolver.LookupTXT(ctx, name)
		there = "path="+discover.TXTPath(got) == want.Data[0]
	}
	if errors.Is(err, discover.ErrNotFound) {
		return false, nil
	}
	return there, err
}
