package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"

	"github.com/kalends/kalends/storage"
)

//go:embed templates assets
var files embed.FS

// pages are the parsed templates by name, and the assets' version.
type pages struct {
	byName  map[string]*template.Template
	version string // of the assets: part of their address, so that they may be cached for ever
	assets  map[string][]byte
}

// assetTypes are the kinds of files we serve; there are no others.
var assetTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func loadPages() (pages, error) {
	p := pages{byName: map[string]*template.Template{}, assets: map[string][]byte{}}
	list, err := files.ReadDir("assets")
	if err != nil {
		return p, fmt.Errorf("web: %w", err)
	}
	h := sha256.New()
	for _, f := range list {
		b, err := files.ReadFile("assets/" + f.Name())
		if err != nil {
			return p, fmt.Errorf("web: %w", err)
		}
		p.assets[f.Name()] = b
		fmt.Fprintf(h, "%s %d\n", f.Name(), len(b))
		h.Write(b)
	}
	p.version = hex.EncodeToString(h.Sum(nil)[:8])
	if list, err = files.ReadDir("templates"); err != nil {
		return p, fmt.Errorf("web: %w", err)
	}
	for _, f := range list {
		name := strings.TrimSuffix(f.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := template.ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+f.Name())
		if err != nil {
			return p, fmt.Errorf("web: %w", err)
		}
		p.byName[name] = t
	}
	return p, nil
}

// frame is what layout.html shows around a page.
type frame struct {
	Title   string
	Page    string // name of the template, marks where we are
	User    *userName
	Version string // of the assets
	Nonce   string
	Notice  string
	Main    any
}

// userName is the signed-in person in the head of the page.
type userName struct {
	Name, Handle string
	Admin        bool
}

// nameOf is how a person is shown: by name, else by handle.
func nameOf(a *storage.Account) string {
	if a.DisplayName != "" {
		return a.DisplayName
	}
	return a.Handle
}

// notices are the confirmations that a redirect may ask the next page to show.
// Only keys travel in the address, never text.
var notices = map[string]string{
	"answered":  "Your answer is stored and on its way to the organizer.",
	"saved":     "Saved.",
	"password":  "Your password is changed. Other browsers are signed out.",
	"revoked":   "The app password does not work any more.",
	"applied":   "The message was applied to your calendar.",
	"ignored":   "The message was thrown away. The sender was told nothing.",
	"blocked":   "The sender is blocked: what came from there is thrown away, and so is what comes.",
	"unblocked": "Mail of that sender is taken again.",
	"dismissed": "Done.",
	"countered": "The proposal was taken over; everybody is being told.",
	"declined":  "The proposal was declined.",
	"retry":     "The delivery is due now.",
	"cancelled": "The delivery was given up.",
	"signedout": "You are signed out.",
}

// render answers with a page.
func (q *request) render(status int, name, title string, main any) error {
	f := frame{Title: title, Page: name, Version: q.s.pages.version, Nonce: q.nonce, Notice: notices[q.URL.Query().Get("done")], Main: main}
	if q.user != nil {
		f.User = &userName{Name: nameOf(q.user), Handle: q.user.Handle, Admin: q.user.Rights&storage.RightAdmin != 0}
	}
	var b bytes.Buffer
	if err := q.s.pages.byName[name].ExecuteTemplate(&b, "layout", f); err != nil {
		q.s.cfg.Log.ErrorContext(q.ctx, "a page could not be rendered", "page", name, "error", err, "request", q.requestID())
		http.Error(q.w, "The server failed; the request id is "+q.requestID()+".", http.StatusInternalServerError)
		return nil
	}
	q.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	q.w.WriteHeader(status)
	_, _ = q.w.Write(b.Bytes())
	return nil
}

// asset serves an embedded file. Its address holds the hash of all of them.
func (s *site) asset(w http.ResponseWriter, r *http.Request) {
	b, ok := s.pages.assets[r.PathValue("name")]
	kind := assetTypes[path.Ext(r.PathValue("name"))]
	if !ok || kind == "" {
		s.run(w, r, anybody, func(*request) error { return errNoPage })
		return
	}
	q := &request{Request: r, s: s, w: w, ctx: r.Context(), nonce: newNonce()}
	q.headers()
	w.Header().Set("Content-Type", kind)
	if r.PathValue("version") == s.pages.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(b)
}
