package server

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

const (
	maxBookBy   = 200
	maxBookDays = 3660
	maxCapacity = 1_000_000
)

// setBooking changes what a room or resource books by itself.
func (a *Admin) setBooking(ctx context.Context, acc *storage.Account, c UserChange) error {
	if acc.Kind == storage.KindGroup {
		return usage("a group is not booked; set this for a room or a resource")
	}
	if err := checkBooking(c); err != nil {
		return err
	}
	if c.BookDays != nil {
		acc.Settings.BookDays = *c.BookDays
	}
	if c.Capacity != nil {
		acc.Settings.Capacity = *c.Capacity
	}
	if c.BookBy == nil {
		return nil
	}
	acc.Settings.BookBy = nil
	for _, who := range *c.BookBy {
		if who = strings.TrimSpace(who); who == "" || who == "everybody" {
			continue
		}
		if isHandle(who) {
			if _, err := a.account(ctx, who); err != nil {
				return err
			}
		}
		if !slices.Contains(acc.Settings.BookBy, who) {
			acc.Settings.BookBy = append(acc.Settings.BookBy, who)
		}
	}
	return nil
}

// isHandle tells a name in book-by from an address, a domain and "everybody".
func isHandle(who string) bool {
	return who != "" && who != "everybody" && !strings.Contains(who, "@")
}

// checkBooking tests what can be told without the database.
func checkBooking(c UserChange) error {
	if c.BookDays != nil && (*c.BookDays < 0 || *c.BookDays > maxBookDays) {
		return usage("book-days is 0 (no limit) to %d", maxBookDays)
	}
	if c.Capacity != nil && (*c.Capacity < 0 || *c.Capacity > maxCapacity) {
		return usage("capacity is 0 (not said) to %d", maxCapacity)
	}
	if c.BookBy == nil {
		return nil
	}
	if len(*c.BookBy) > maxBookBy {
		return usage("book-by takes at most %d entries; name a group instead", maxBookBy)
	}
	for _, who := range *c.BookBy {
		who = strings.TrimSpace(who)
		switch domain, isDomain := strings.CutPrefix(who, "@"); {
		case isDomain && (domain == "" || strings.ContainsAny(domain, "@ \t")):
			return usage("book-by %q: a domain is written @example.org", who)
		case !isDomain && strings.Contains(who, "@") && calendar.Address("mailto:"+who).Key() == "":
			return usage("book-by %q is no mail address", who)
		}
	}
	return nil
}

// booking reads moreColumns.
func (r *CSVRow) booking(get func(string) string) error {
	if v := get("auto_accept"); v != "" {
		if err := checkAuto(v); err != nil {
			return err
		}
		r.More.AutoAccept = &v
	}
	if by := cells(get("book_by")); by != nil {
		r.More.BookBy = &by
	}
	for name, to := range map[string]**[]string{"read_proxies": &r.More.ReadProxies, "write_proxies": &r.More.WriteProxies} {
		if list := cells(get(name)); list != nil {
			*to = &list
		}
	}
	for name, to := range map[string]**int{"book_days": &r.More.BookDays, "capacity": &r.More.Capacity} {
		v := get(name)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return usage("%s %q is no number", name, v)
		}
		*to = &n
	}
	if r.Kind == "group" && (r.More.ReadProxies != nil || r.More.WriteProxies != nil) {
		return usage("a group has no calendars that somebody could look after; read_proxies and write_proxies are for the others")
	}
	if r.Kind == "group" && (r.More.AutoAccept != nil || r.More.BookBy != nil || r.More.BookDays != nil || r.More.Capacity != nil) {
		return usage("a group is not booked; auto_accept, book_by, book_days and capacity are for rooms and resources")
	}
	return checkBooking(r.More)
}

// named are the proxies that a row names.
func (r *CSVRow) named() (out []string) {
	for _, list := range []*[]string{r.More.ReadProxies, r.More.WriteProxies} {
		if list != nil {
			out = append(out, *list...)
		}
	}
	return slices.DeleteFunc(out, func(n string) bool { return n == "none" })
}

// bookingOfRows brings the accounts of a file to what it says about booking and
// proxies.
func (a *Admin) bookingOfRows(ctx context.Context, rows []CSVRow) error {
	for _, r := range rows {
		if reflect.DeepEqual(r.More, UserChange{}) {
			continue
		}
		acc, err := a.db.AccountByHandle(ctx, r.Name)
		if err != nil {
			return err
		}
		proxies, err := a.proxiesOf(ctx, acc, r.More)
		if err != nil {
			return err
		}
		if err := a.setProxies(ctx, acc, proxies); err != nil {
			return err
		}
		if r.More.AutoAccept == nil && r.More.BookBy == nil && r.More.BookDays == nil && r.More.Capacity == nil {
			continue
		}
		before := acc.Settings
		if r.More.AutoAccept != nil {
			acc.Settings.AutoAccept = *r.More.AutoAccept
		}
		if err := a.setBooking(ctx, &acc, r.More); err != nil {
			return err
		}
		if reflect.DeepEqual(before, acc.Settings) {
			continue
		}
		if _, err := a.db.UpdateAccount(ctx, acc.ID, storage.AccountChange{Settings: &acc.Settings}); err != nil {
			return err
		}
	}
	return nil
}
