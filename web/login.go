package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/kalends/kalends/storage"
)

// signInPage is what signin.html shows.
type signInPage struct {
	Login, Next, Problem string
	Server               string // address for programs
}

// home is the week of who is signed in, else the sign-in form.
func (q *request) home() error {
	if q.user != nil {
		return q.week()
	}
	return q.signInForm(http.StatusOK, "", here(q.URL.Query().Get("next")), "")
}

func (q *request) signInForm(status int, login, next, trouble string) error {
	return q.render(status, "signin", "Sign in", signInPage{Login: login, Next: next, Problem: trouble, Server: q.external() + "/dav/"})
}

// signIn checks name and password. The answer never tells a wrong name from a
// wrong password (A23).
func (q *request) signIn() error {
	login, password := strings.TrimSpace(q.PostForm.Get("login")), q.PostForm.Get("password")
	next := here(q.PostForm.Get("next"))
	if login == "" || password == "" || len(login) > 320 {
		return q.signInForm(http.StatusUnprocessableEntity, "", next, "Write your name or e-mail address, and your password.")
	}
	var account *storage.Account
	a, err := q.s.db.AccountByLogin(q.ctx, login)
	switch {
	case err == nil:
		account = &a
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := q.s.cfg.Auth.Check(q.ctx, account, login, password, q.s.cfg.RemoteAddr(q.Request)); err != nil {
		switch {
		case q.s.cfg.Refusals.Denied != nil && errors.Is(err, q.s.cfg.Refusals.Denied):
			return q.signInForm(http.StatusUnauthorized, login, next, "The name or the password is wrong.")
		case q.s.cfg.Refusals.Slow != nil && errors.Is(err, q.s.cfg.Refusals.Slow):
			q.w.Header().Set("Retry-After", "60")
			return q.signInForm(http.StatusTooManyRequests, login, next, "There were too many wrong passwords. Wait a minute, then try again.")
		}
		return err
	}
	if account == nil || account.Disabled { // an Authenticator refuses them; a mistake there opens nothing here
		return q.signInForm(http.StatusUnauthorized, login, next, "The name or the password is wrong.")
	}
	q.startSession(*account)
	q.redirect(next)
	return nil
}

func (q *request) signOut() error {
	q.endSession()
	q.redirect("/?done=signedout")
	return nil
}

// withDone adds the confirmation that the next page shows.
func withDone(path, done string) string {
	u, err := url.Parse(here(path))
	if err != nil {
		return "/"
	}
	v := u.Query()
	v.Set("done", done)
	u.RawQuery = v.Encode()
	return u.String()
}
