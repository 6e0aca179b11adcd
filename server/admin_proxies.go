package server

import (
	"context"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/storage"
)

// Proxy is a delegate of an account: who reads its calendars, or acts for it.
type Proxy struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	DisplayName string `json:"display_name"`
	Mode        string `json:"mode"` // read or write
}

// Proxies lists the delegates of an account.
func (a *Admin) Proxies(ctx context.Context, name string) ([]Proxy, error) {
	acc, err := a.account(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := a.db.Delegates(ctx, acc.ID)
	out := []Proxy{}
	for _, d := range list {
		mode := "read"
		if d.Mode == acl.WriteProxy {
			mode = "write"
		}
		out = append(out, Proxy{Name: d.Account.Handle, Kind: kindNames[d.Account.Kind], DisplayName: d.Account.DisplayName, Mode: mode})
	}
	return out, err
}

// proxyLists are lists of delegates; what is not among them stays as it is.
type proxyLists map[acl.Proxy][]storage.AccountID

// proxiesOf reads the lists of delegates that c names, and changes nothing.
func (a *Admin) proxiesOf(ctx context.Context, acc storage.Account, c UserChange) (proxyLists, error) {
	lists := proxyLists{}
	for mode, names := range map[acl.Proxy]*[]string{acl.ReadProxy: c.ReadProxies, acl.WriteProxy: c.WriteProxies} {
		if names == nil {
			continue
		}
		if acc.Kind == storage.KindGroup {
			return nil, usage("a group has no calendars that somebody could look after")
		}
		lists[mode] = []storage.AccountID{}
		for _, n := range *names {
			if n = strings.TrimSpace(n); n == "" || n == "none" {
				continue
			}
			if n == acc.Handle {
				return nil, usage("%s needs no proxy rights for itself", n)
			}
			who, err := a.account(ctx, n)
			if err != nil {
				return nil, err
			}
			lists[mode] = append(lists[mode], who.ID)
		}
		if len(lists[mode]) > storage.MaxDelegates {
			return nil, usage("an account has at most %d proxies; name a group instead", storage.MaxDelegates)
		}
	}
	return lists, nil
}

// setProxies makes lists the whole of an account's delegates.
func (a *Admin) setProxies(ctx context.Context, acc storage.Account, lists proxyLists) error {
	if len(lists) == 0 {
		return nil
	}
	return a.db.Tx(ctx, func(ctx context.Context, tx *storage.Tx) error {
		for _, mode := range []acl.Proxy{acl.ReadProxy, acl.WriteProxy} {
			if ids, ok := lists[mode]; ok {
				if err := tx.SetDelegates(ctx, acc.ID, mode, ids); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
