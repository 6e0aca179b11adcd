package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// settingsPage is what settings.html shows.
type settingsPage struct {
	Name, Handle string
	Emails       []string
	Calendars    []choice
	Zone         string
	Zones        []string
	BusyVisible  bool
	Reminders    bool // EMAIL alarms are sent
	NoMail       bool // invitations never go by mail
	MailIntake   string
	Intakes      []choice
	Asked        []askedBy // those that asked last first
	AppPasswords []appPassword
	NewPassword  string // shown once
	NewLabel     string
	NewLogin     string
	Problem      string
	ProblemIn    string // profile, password, app
}

type choice struct {
	Value, Text string
	Chosen      bool
}

type appPassword struct {
	ID                      int64
	Label, Created, LastUse string
}

// minPassword is how many characters a new password has at least.
const minPassword = 10

// askedBy is another domain that was told of the user's busy times.
type askedBy struct{ Domain, Times, Last, Asker string }

// maxAsked bounds how many are shown.
const maxAsked = 50

// maxAppPasswords bounds how many programs one account lists.
const maxAppPasswords = 50

// commonZones are offered; any other IANA name may be written.
var commonZones = strings.Fields(`Africa/Cairo Africa/Johannesburg Africa/Lagos Africa/Nairobi America/Anchorage America/Argentina/Buenos_Aires America/Bogota
	America/Chicago America/Denver America/Halifax America/Los_Angeles America/Mexico_City America/New_York America/Phoenix America/Santiago America/Sao_Paulo America/Toronto
	America/Vancouver Asia/Bangkok Asia/Dhaka Asia/Dubai Asia/Hong_Kong Asia/Jakarta Asia/Jerusalem Asia/Karachi Asia/Kolkata Asia/Manila Asia/Seoul Asia/Shanghai
	Asia/Singapore Asia/Taipei Asia/Tehran Asia/Tokyo Atlantic/Reykjavik Australia/Adelaide Australia/Brisbane Australia/Perth Australia/Sydney Europe/Amsterdam Europe/Athens
	Europe/Berlin Europe/Brussels Europe/Bucharest Europe/Dublin Europe/Helsinki Europe/Istanbul Europe/Kyiv Europe/Lisbon Europe/London Europe/Madrid Europe/Moscow Europe/Oslo Europe/Paris
	Europe/Prague Europe/Rome Europe/Stockholm Europe/Vienna Europe/Warsaw Europe/Zurich Pacific/Auckland Pacific/Honolulu UTC`)

func (q *request) settings() error { return q.showSettings(http.StatusOK, func(*settingsPage) {}) }

func (q *request) showSettings(status int, edit func(*settingsPage)) error {
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	p := settingsPage{Name: q.user.DisplayName, Handle: q.user.Handle, Emails: q.user.Emails, Zones: commonZones, BusyVisible: !q.user.Settings.HideFreeBusy,
		Reminders: q.user.Settings.EmailAlarms != scheduling.AlarmsNobody, NoMail: q.user.Settings.NoMail}
	if sh.zoneFrom != "" {
		p.Zone = sh.zone.String()
	}
	for _, c := range sh.events() {
		p.Calendars = append(p.Calendars, choice{c.Name, titleOf(c), c.Name == sh.main})
	}
	intake := q.user.Settings.MailIntake
	if intake == "" {
		intake = "everybody"
	}
	for _, c := range []choice{{Value: "everybody", Text: "from everybody whose mail is proven to be theirs"}, {Value: "known", Text: "from people I have met with; the rest is held back"}, {Value: "nobody", Text: "from nobody; all of it is held back"}} {
		c.Chosen = c.Value == intake
		p.Intakes = append(p.Intakes, c)
	}
	list, err := q.s.db.AppPasswords(q.ctx, q.user.ID)
	if err != nil {
		return err
	}
	for _, a := range list {
		ap := appPassword{ID: a.ID, Label: oneLine(a.Label, 100), Created: time.UnixMicro(a.Created).In(sh.zone).Format("2 January 2006"), LastUse: "never used"}
		if a.LastUse > 0 {
			ap.LastUse = "last used " + agoText(time.UnixMicro(a.LastUse), q.now())
		}
		p.AppPasswords = append(p.AppPasswords, ap)
	}
	asked, err := q.s.db.BusyQuestions(q.ctx, q.user.ID, maxAsked)
	if err != nil {
		return err
	}
	for _, a := range asked {
		times := "once"
		if a.Questions > 1 {
			times = fmt.Sprint(a.Questions, " times")
		}
		p.Asked = append(p.Asked, askedBy{Domain: a.Domain, Times: times, Last: agoText(time.UnixMicro(a.Last), q.now()), Asker: oneLine(a.Asker, 100)})
	}
	edit(&p)
	return q.render(status, "settings", "Settings", p)
}

// saveProfile stores name, zone, default calendar and what others may see.
func (q *request) saveProfile() error {
	wrong := func(text string) error {
		return q.showSettings(http.StatusUnprocessableEntity, func(p *settingsPage) { p.Problem, p.ProblemIn = text, "profile" })
	}
	name := oneLine(q.PostForm.Get("name"), 200)
	if !utf8.ValidString(q.PostForm.Get("name")) {
		return errBadForm
	}
	sh, err := q.shelf()
	if err != nil {
		return err
	}
	main, ok := sh.byName(q.PostForm.Get("calendar"))
	if !ok || main.Components&storage.CompEvent == 0 {
		return wrong("There is no such calendar.")
	}
	intake := q.PostForm.Get("intake")
	if !slices.Contains([]string{"everybody", "known", "nobody"}, intake) {
		return errBadForm
	}
	zone := strings.TrimSpace(q.PostForm.Get("zone"))
	if zone != "" {
		if zone = calendar.ZoneName(zone); zone == "" {
			return wrong("That time zone is unknown. Write it like Europe/Berlin.")
		}
	}
	set := q.user.Settings
	set.DefaultCalendar, set.MailIntake, set.HideFreeBusy = main.Name, intake, q.PostForm.Get("busy") == ""
	set.NoMail = q.PostForm.Get("no-mail") != ""
	// Whom else than the owner they may reach is the administrator's to say.
	if on := q.PostForm.Get("reminders") != ""; !on {
		set.EmailAlarms = scheduling.AlarmsNobody
	} else if set.EmailAlarms == scheduling.AlarmsNobody {
		set.EmailAlarms = scheduling.AlarmsOwner
	}
	if _, err := q.s.db.UpdateAccount(q.ctx, q.user.ID, storage.AccountChange{DisplayName: &name, Settings: &set}); err != nil {
		return err
	}
	if now, _ := zoneOf(main); zone != "" && (now == nil || now.String() != zone) {
		if err := q.setZone(main.Name, zone); err != nil {
			return err
		}
	}
	q.redirect("/settings?done=saved")
	return nil
}

// setZone gives a calendar a time zone, in both of the forms that programs
// read (RFC 4791 §5.2.2, RFC 7809 §5.2).
func (q *request) setZone(name, zone string) error {
	vtz, err := calendar.VTimezone(zone, q.now())
	if err != nil {
		return err
	}
	o := calendar.NewObject("-//Kalends//Kalends//EN")
	o.Children = append(o.Children, vtz)
	text := string(o.Bytes())
	return q.s.db.Tx(q.ctx, func(ctx context.Context, tx *storage.Tx) error {
		c, err := tx.CollectionByName(ctx, q.user.ID, name)
		if err != nil {
			return err
		}
		c.TimezoneID, c.Timezone = zone, text
		return tx.UpdateCollection(ctx, c)
	})
}

// changePassword asks for the present password first. It ends every other
// session, for the account's version rises.
func (q *request) changePassword() error {
	wrong := func(status int, text string) error {
		return q.showSettings(status, func(p *settingsPage) { p.Problem, p.ProblemIn = text, "password" })
	}
	old, fresh := q.PostForm.Get("old"), q.PostForm.Get("new")
	switch {
	case fresh != q.PostForm.Get("again"):
		return wrong(http.StatusUnprocessableEntity, "The two new passwords are not the same.")
	case utf8.RuneCountInString(fresh) < minPassword:
		return wrong(http.StatusUnprocessableEntity, "The new password needs at least "+strconv.Itoa(minPassword)+" characters.")
	case strings.EqualFold(fresh, q.user.Handle) || slices.ContainsFunc(q.user.Emails, func(e string) bool { return strings.EqualFold(e, fresh) }):
		return wrong(http.StatusUnprocessableEntity, "The new password must not be your name or address.")
	}
	if err := q.s.cfg.Auth.Check(q.ctx, q.user, q.user.Handle, old, q.s.cfg.RemoteAddr(q.Request)); err != nil {
		switch {
		case q.s.cfg.Refusals.Denied != nil && errors.Is(err, q.s.cfg.Refusals.Denied):
			return wrong(http.StatusForbidden, "The present password is wrong.")
		case q.s.cfg.Refusals.Slow != nil && errors.Is(err, q.s.cfg.Refusals.Slow):
			return wrong(http.StatusTooManyRequests, "There were too many wrong passwords. Wait a minute, then try again.")
		}
		return err
	}
	verifier, err := q.s.cfg.Hash(fresh)
	if err != nil {
		return wrong(http.StatusUnprocessableEntity, "That password cannot be used; choose a shorter one.")
	}
	a, err := q.s.db.UpdateAccount(q.ctx, q.user.ID, storage.AccountChange{Verifier: &verifier})
	if err != nil {
		return err
	}
	if err := q.s.db.Audit(q.ctx, q.user.Handle, "password changed", q.user.Handle, "web"); err != nil {
		return err
	}
	q.startSession(a)
	q.redirect("/settings?done=password")
	return nil
}

// addAppPassword makes a password for one program and shows it this once.
func (q *request) addAppPassword() error {
	wrong := func(text string) error {
		return q.showSettings(http.StatusUnprocessableEntity, func(p *settingsPage) { p.Problem, p.ProblemIn = text, "app" })
	}
	label := oneLine(q.PostForm.Get("label"), 100)
	if label == "" {
		return wrong("Say which program or device it is for, so that you can revoke it later.")
	}
	have, err := q.s.db.AppPasswords(q.ctx, q.user.ID)
	if err != nil {
		return err
	}
	if len(have) >= maxAppPasswords {
		return wrong("You have " + strconv.Itoa(maxAppPasswords) + " app passwords already; revoke one first.")
	}
	password, hash, err := q.s.cfg.NewAppPassword()
	if err != nil {
		return err
	}
	if _, err := q.s.db.AddAppPassword(q.ctx, storage.AppPassword{Account: q.user.ID, Hash: hash, Label: label}); err != nil {
		return err
	}
	if err := q.s.db.Audit(q.ctx, q.user.Handle, "app password created", q.user.Handle, label); err != nil {
		return err
	}
	return q.showSettings(http.StatusOK, func(p *settingsPage) { p.NewPassword, p.NewLabel, p.NewLogin = password, label, loginOf(q.user) })
}

// loginOf is the name that programs sign in with: the address where there is
// one, for most programs find the server by it.
func loginOf(a *storage.Account) string {
	if len(a.Emails) > 0 {
		return a.Emails[0]
	}
	return a.Handle
}

func (q *request) revokeAppPassword() error {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	if err := q.s.db.DeleteAppPassword(q.ctx, q.user.ID, id); err != nil {
		return err
	}
	if err := q.s.db.Audit(q.ctx, q.user.Handle, "app password revoked", q.user.Handle, ""); err != nil {
		return err
	}
	a, err := q.s.db.AccountByID(q.ctx, q.user.ID)
	if err != nil {
		return err
	}
	q.startSession(a) // the account's version rose; this browser stays
	q.redirect("/settings?done=revoked")
	return nil
}
