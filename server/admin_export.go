package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

// ExportOptions say what is written where.
type ExportOptions struct {
	User     string // "": every account
	Calendar string // collection name; "": all
	Dir      string
}

// ExportReport counts what was written.
type ExportReport struct{ Accounts, Calendars, Objects int }

// calendarFile describes an exported calendar beside its objects.
const calendarFile = "calendar.json"

// calendarMeta is the content of calendarFile.
type calendarMeta struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Color       string   `json:"color,omitempty"`
	Order       string   `json:"order,omitempty"`
	Components  []string `json:"components"`
	Timezone    string   `json:"timezone,omitempty"`
}

var componentNames = []struct {
	bit  storage.Components
	name string
}{{storage.CompEvent, "VEVENT"}, {storage.CompTodo, "VTODO"}, {storage.CompJournal, "VJOURNAL"}, {storage.CompFreeBusy, "VFREEBUSY"},
	{storage.CompAvailability, "VAVAILABILITY"}, {storage.CompPoll, "VPOLL"}}

// Export writes calendars as plain files: DIR/USER/CALENDAR/OBJECT.ics with
// the octets as stored, and calendar.json with the calendar's name and colour.
// What is there already is written over; nothing is deleted.
func (a *Admin) Export(ctx context.Context, o ExportOptions) (ExportReport, error) {
	var rep ExportReport
	if o.Dir == "" {
		return rep, usage("say where to write with --out DIR")
	}
	one := func(acc storage.Account) error {
		n, err := a.exportAccount(ctx, acc, o, &rep)
		if err == nil && n > 0 {
			rep.Accounts++
		}
		return err
	}
	if o.User != "" {
		acc, err := a.calendarOwner(ctx, o.User)
		if err != nil {
			return rep, err
		}
		if err := one(acc); err != nil {
			return rep, err
		}
		if rep.Calendars == 0 {
			return rep, explained(storage.ErrNotFound, "%s has no calendar %q", o.User, o.Calendar)
		}
	} else if err := a.eachAccount(ctx, one); err != nil {
		return rep, err
	}
	who := o.User
	if who == "" {
		who = "everybody"
	}
	return rep, a.audit(ctx, "export", who, fmt.Sprintf("calendar %q: %d objects", o.Calendar, rep.Objects))
}

func (a *Admin) exportAccount(ctx context.Context, acc storage.Account, o ExportOptions, rep *ExportReport) (calendars int, err error) {
	cols, err := a.db.Collections(ctx, acc.ID)
	if err != nil {
		return 0, err
	}
	for _, c := range cols {
		if c.Kind != storage.CollectionCalendar || o.Calendar != "" && c.Name != o.Calendar {
			continue
		}
		dir := filepath.Join(o.Dir, fileName(acc.Handle), fileName(c.Name))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return calendars, explained(err, "the folder cannot be made: %v", err)
		}
		meta := calendarMeta{Name: c.DisplayName, Description: c.Description, Color: c.Color, Order: c.Order, Components: []string{}, Timezone: c.TimezoneID}
		for _, n := range componentNames {
			if c.Components&n.bit != 0 {
				meta.Components = append(meta.Components, n.name)
			}
		}
		b, err := json.MarshalIndent(meta, "", "  ")
		if err != nil {
			return calendars, err
		}
		if err := os.WriteFile(filepath.Join(dir, calendarFile), append(b, '\n'), 0o600); err != nil {
			return calendars, explained(err, "the export cannot be written: %v", err)
		}
		for obj, err := range a.db.List(ctx, c.CollectionKey, storage.ColumnData) {
			if err != nil {
				return calendars, err
			}
			name := fileName(obj.Name)
			if !strings.HasSuffix(strings.ToLower(name), ".ics") {
				name += ".ics"
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(obj.Data), 0o600); err != nil {
				return calendars, explained(err, "the export cannot be written: %v", err)
			}
			rep.Objects++
		}
		calendars++
		rep.Calendars++
	}
	return calendars, nil
}

// fileName makes a name of a resource one that stays inside its folder on any
// file system.
func fileName(s string) string {
	out := strings.NewReplacer(":", "%3A", "*", "%2A", "@", "@").Replace(url.PathEscape(s))
	if strings.HasPrefix(out, ".") {
		out = "%2E" + out[1:]
	}
	if len(out) > 200 || out == calendarFile || out == "" {
		out = objectName("\x00" + s)
	}
	return out
}

// ImportDir stores the .ics files of a folder as ImportICS does. Each folder
// inside is a calendar of its own, named by it, as Export writes them for one
// account; files beside them go where o says.
func (a *Admin) ImportDir(ctx context.Context, dir string, o ImportOptions) (ImportReport, error) {
	var rep ImportReport
	acc, err := a.calendarOwner(ctx, o.User)
	if err != nil {
		return rep, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return rep, explained(err, "the folder cannot be read: %v", err)
	}
	files := 0
	one := func(path, name string, look storage.Collection) error {
		objects, problems, n, err := a.readFolder(path)
		if err != nil || n == 0 {
			return err
		}
		files += n
		got, err := a.store(ctx, acc, name, look, objects)
		got.Problems = append(problems, got.Problems...)
		rep.add(got)
		return err
	}
	if err := one(dir, o.Calendar, readMeta(dir)); err != nil {
		return rep, err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name, err := url.PathUnescape(e.Name())
		if err != nil {
			name = e.Name()
		}
		sub := filepath.Join(dir, e.Name())
		if err := one(sub, name, readMeta(sub)); err != nil {
			return rep, err
		}
	}
	if files == 0 {
		return rep, explained(fs.ErrNotExist, "there is no .ics file in %s", dir)
	}
	return rep, a.audit(ctx, "import", o.User, fmt.Sprintf("folder: %d created, %d changed, %d unchanged, %d refused", rep.Created, rep.Changed, rep.Unchanged, len(rep.Problems)))
}

// readFolder reads the .ics files of one folder; files that are none are
// problems, not failures.
func (a *Admin) readFolder(dir string) (objects []*calendar.Object, problems []string, files int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, 0, explained(err, "the folder cannot be read: %v", err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !strings.EqualFold(filepath.Ext(e.Name()), ".ics") {
			continue
		}
		files++
		path := filepath.Join(dir, e.Name())
		b, err := readBounded(path)
		if err != nil {
			return nil, nil, files, err
		}
		parts, err := calendar.ParseAll(b, a.importLimits())
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s", path, plain(err)))
			continue
		}
		for _, p := range parts {
			objects = append(objects, calendar.Split(p)...)
		}
	}
	return objects, problems, files, nil
}

// readBounded reads a file that is to be imported.
func readBounded(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, explained(err, "the file cannot be read: %v", err)
	}
	if st.Size() > maxImport {
		return nil, explained(nil, "%s is larger than %d MiB; import it in parts", path, maxImport>>20)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, explained(err, "the file cannot be read: %v", err)
	}
	return b, nil
}

// ImportPath stores a file or a folder of files.
func (a *Admin) ImportPath(ctx context.Context, path string, o ImportOptions) (ImportReport, error) {
	st, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return ImportReport{}, explained(err, "there is no file %s", path)
		}
		return ImportReport{}, explained(err, "the file cannot be read: %v", err)
	}
	if st.IsDir() {
		return a.ImportDir(ctx, path, o)
	}
	b, err := readBounded(path)
	if err != nil {
		return ImportReport{}, err
	}
	return a.ImportICS(ctx, b, o)
}

// readMeta reads the description of a calendar that stands beside its objects:
// our calendar.json, or the .Radicale.props of a Radicale file tree.
func readMeta(dir string) (c storage.Collection) {
	var m calendarMeta
	if b, err := os.ReadFile(filepath.Join(dir, calendarFile)); err == nil && json.Unmarshal(b, &m) == nil {
		c.DisplayName, c.Description, c.Color, c.Order, c.TimezoneID = m.Name, m.Description, m.Color, m.Order, m.Timezone
		c.Components = componentsOf(m.Components)
		return c
	}
	var r map[string]string
	if b, err := os.ReadFile(filepath.Join(dir, ".Radicale.props")); err == nil && json.Unmarshal(b, &r) == nil {
		c.DisplayName, c.Description, c.Color, c.Order = r["D:displayname"], r["C:calendar-description"], r["ICAL:calendar-color"], r["ICAL:calendar-order"]
		c.Components = componentsOf(strings.Split(r["C:supported-calendar-component-set"], ","))
	}
	return c
}

func componentsOf(names []string) (c storage.Components) {
	for _, n := range componentNames {
		if slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), n.name) }) {
			c |= n.bit
		}
	}
	return c
}
