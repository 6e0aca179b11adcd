package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/test/blackbox"
)

// fill gives a person's pages something to struggle with.
func fill(t *testing.T, w *world, name, other string) (pages []string) {
	t.Helper()
	u, o := w.alpha.User(name), w.alpha.User(other)
	long := strings.Repeat("Rindfleischetikettierung", 6)
	at := day(3, 0).Add(9 * time.Hour)
	for i := range 6 {
		put(t, u, fmt.Sprintf("crowd%d.ics", i), blackbox.Event{UID: fmt.Sprint(name, "-crowd-", i), Start: at.Add(time.Duration(i) * 10 * time.Minute), Summary: long}.String())
	}
	put(t, u, "own.ics", blackbox.Event{UID: name + "-own", Start: at.AddDate(0, 0, 2), Organizer: u.Address, Summary: "Own meeting",
		Attendees: []string{o.Address, "mailto:" + strings.Repeat("averylongaddress", 3) + "@nowhere.test"}}.String())
	put(t, o, name+"-asked.ics", blackbox.Event{UID: name + "-asked", Start: at.AddDate(0, 0, 1), Organizer: o.Address, Attendees: []string{u.Address}, Summary: long}.String())
	put(t, o, name+"-other.ics", blackbox.Event{UID: name + "-other", Start: at.AddDate(0, 0, 3), Organizer: o.Address, Attendees: []string{u.Address}, Summary: "Tasting"}.String())
	return []string{weekOf(at), "/", "/event/calendar/crowd0.ics", "/event/calendar/own.ics", "/invitations", "/held", "/settings", "/connect"}
}

// widths: nothing sticks out to the side, from a small phone to a wide screen
// (WCAG 2.2, 1.4.10), and every control has a name (4.1.2).
func widths(t *testing.T, w *world) {
	pages := fill(t, w, "lea", "ivo")
	b := w.user(t, "lea")
	look := func(b *tab, page string) {
		t.Helper()
		for _, width := range []int64{1280, 768, 390, 320} {
			b.size(width, 800)
			// What scrolls by itself may be wider than its window.
			out := script[string](b, `(() => {
				const root = document.documentElement;
				if (root.scrollWidth <= root.clientWidth) return "";
				const wide = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest(".scroll"));
				return root.scrollWidth + " px: " + wide.slice(0, 3).map(e => e.outerHTML.slice(0, 80)).join(" | ") })()`)
			if out != "" {
				t.Errorf("%s at %d px scrolls sideways, %s", page, width, out)
			}
		}
		b.size(1280, 800)
		if n := b.count("h1"); n != 1 {
			t.Errorf("%s has %d main headings", page, n)
		}
		if out := script[string](b, `[...document.querySelectorAll("input:not([type=hidden]), select, button, a")].filter(e =>
			!(e.ariaLabel || e.innerText.trim() || e.textContent.trim() || [...(e.labels ?? [])].some(l => l.innerText.trim()))).map(e => e.outerHTML).join(" | ")`); out != "" {
			t.Errorf("%s has controls without a name: %s", page, out)
		}
		if out := script[string](b, `(ids => ids.filter((id, i) => ids.indexOf(id) !== i).join())([...document.querySelectorAll("[id]")].map(e => e.id))`); out != "" {
			t.Errorf("%s has ids twice: %s", page, out)
		}
	}
	for _, p := range pages {
		if status := b.open(p); status != 200 {
			t.Errorf("%s: %d", p, status)
		}
		look(b, p)
	}
	b.expect("404")
	b.open("/nothing/here")
	look(b, "the error page")
	out := w.tab(t, secure(w.alpha))
	out.open("/")
	look(out, "the sign-in page")
	a := w.tab(t, secure(w.alpha))
	a.signIn("admin", "secret")
	for _, p := range []string{"/admin", "/admin/accounts", "/admin/queue", "/admin/queue?state=failed", "/admin/queue?state=done"} {
		a.open(p)
		look(a, p)
	}
}

// contrast lists texts that are too faint (WCAG 2.2, 1.4.3): 4.5:1, or 3:1 for
// large ones. Colours are read by painting them, whatever notation they are in.
const contrast = `(() => {
	const brush = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
	const rgb = c => { brush.clearRect(0, 0, 1, 1); brush.fillStyle = c; brush.fillRect(0, 0, 1, 1); return [...brush.getImageData(0, 0, 1, 1).data] };
	const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
	const over = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c } return [255, 255, 255] };
	const faint = new Set();
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement, s = getComputedStyle(e), text = walk.currentNode.data.trim();
		if (!text || !e.checkVisibility({visibilityProperty: true}) || e.getBoundingClientRect().width <= 1 || e.matches("option")) continue;
		const [a, b] = [light(rgb(s.color)), light(over(e))].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
		const large = parseFloat(s.fontSize) >= 24 || parseFloat(s.fontSize) >= 18.66 && s.fontWeight >= 700;
		if (ratio < (large ? 3 : 4.5)) faint.add(ratio.toFixed(1) + " " + text.slice(0, 40));
	}
	return [...faint].slice(0, 8).join(" | ") })()`

// colours: both sets differ, and can be read.
func colours(t *testing.T, w *world) {
	pages := fill(t, w, "max", "ivo")
	b := w.user(t, "max")
	at := day(3, 4).Add(9 * time.Hour)
	put(t, w.alpha.User("max"), "off.ics", strings.Replace(blackbox.Event{UID: "max-off", Start: at, Summary: "Called off"}.String(), "SUMMARY:", "STATUS:CANCELLED\r\nSUMMARY:", 1))
	seen := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.prefer("prefers-color-scheme", scheme)
		for _, p := range pages {
			b.open(p)
			if out := script[string](b, contrast); out != "" {
				t.Errorf("%s, %s: too faint: %s", p, scheme, out)
			}
			if p == pages[0] {
				seen[scheme] = script[string](b, `["html", "h1", ".button", ".ev:not(.pending) a"].map(s => document.querySelector(s)).map(e => getComputedStyle(e).backgroundColor + " " + getComputedStyle(e).color).join("; ")`)
			}
		}
	}
	light, dark := strings.Split(seen["light"], "; "), strings.Split(seen["dark"], "; ")
	for i := range light {
		if light[i] == dark[i] {
			t.Errorf("dark is as light: %s", light[i])
		}
	}
}
