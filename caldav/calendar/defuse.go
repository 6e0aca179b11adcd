package calendar

import (
	"slices"
	"strings"
)

// Defuse takes out of o what acts in the program that shows it: alarms that
// start programs or send mail, links to files and network shares, HTML, links
// that no browser opens harmlessly, control characters (abuse case A55). It is
// meant for objects that come from outside; a user's own data is left alone.
// It returns how many properties, parameters and alarms were removed or
// changed. Texts stay as they are.
func Defuse(o *Object) int { return o.Component.defuse() }

func (c *Component) defuse() (n int) {
	before := len(c.Children) + len(c.Props)
	c.Children = slices.DeleteFunc(c.Children, func(k *Component) bool {
		return k.Name == "VALARM" && !harmlessAlarm(k)
	})
	c.Props = slices.DeleteFunc(c.Props, func(p *Property) bool { return !harmless(p) })
	n = before - len(c.Children) - len(c.Props)
	for _, p := range c.Props {
		n += p.defuse()
	}
	for _, k := range c.Children {
		n += k.defuse()
	}
	return n
}

// harmlessAlarm leaves DISPLAY and AUDIO: PROCEDURE (RFC 2445 §4.8.6.1) runs a
// program, EMAIL writes to addresses of the sender's choice, and of other
// actions nobody knows what they do.
func harmlessAlarm(c *Component) bool {
	switch strings.ToUpper(strings.TrimSpace(c.Value("ACTION"))) {
	case "DISPLAY", "AUDIO":
		return true
	}
	return false
}

// harmless tells whether a property may stay.
func harmless(p *Property) bool {
	switch p.name {
	case "ATTACH", "IMAGE", "URL", "CONFERENCE", "SOURCE", "TZURL", "LINK", "STRUCTURED-DATA":
		if strings.EqualFold(p.Param("VALUE"), "BINARY") || strings.EqualFold(p.Param("VALUE"), "TEXT") {
			return !isHTML(p)
		}
		return p.value == "" || harmlessURI(p.value)
	case "STYLED-DESCRIPTION": // RFC 9073 §6.5
		return !isHTML(p)
	case "X-ALT-DESC":
		return false
	case "SUMMARY", "DESCRIPTION", "LOCATION", "COMMENT", "CONTACT", "CATEGORIES", "RESOURCES":
		return true
	}
	v := strings.Trim(UnescapeText(p.value), "\" \t")
	for _, s := range []string{"file:", "smb:", "javascript:", "vbscript:", "data:", `\\`} {
		if hasPrefixFold(v, s) {
			return false
		}
	}
	return true
}

func isHTML(p *Property) bool {
	t := strings.ToLower(p.Param("FMTTYPE"))
	return strings.Contains(t, "html") || strings.Contains(t, "script") || strings.Contains(t, "svg")
}

// harmlessURI tells of an absolute URI with a scheme that at most opens a
// page, a call or a letter for the user to look at.
func harmlessURI(s string) bool {
	scheme, rest, ok := strings.Cut(strings.Trim(s, "\" \t"), ":")
	if !ok || rest == "" {
		return false
	}
	switch strings.ToLower(scheme) {
	case "http", "https":
		return strings.HasPrefix(rest, "//") && printable(rest)
	case "mailto", "tel", "sip", "sips", "xmpp", "geo", "cid", "urn":
		return printable(rest)
	}
	return false
}

// defuse cleans parameters that are links, and control characters.
func (p *Property) defuse() (n int) {
	for _, name := range [...]string{"ALTREP", "DIR", "SCHEMA"} { // RFC 5545 §3.2.1, §3.2.6, RFC 9073 §5.3
		if values := p.ParamValues(name); values != nil && slices.ContainsFunc(values, func(v string) bool { return !harmlessURI(v) }) {
			p.DelParam(name)
			n++
		}
	}
	dirty := false
	for i := range p.params {
		dirty = dirty || slices.ContainsFunc(p.params[i].Values, hasControl)
	}
	if dirty {
		params := slices.Clone(p.params)
		for i := range params {
			params[i].Values = slices.Clone(params[i].Values)
			for j, v := range params[i].Values {
				params[i].Values[j] = dropControls(v)
			}
		}
		p.params, p.raw = params, ""
	}
	if hasControl(p.value) {
		p.SetValue(dropControls(p.value))
		dirty = true
	}
	if dirty {
		n++
	}
	return n
}

func dropControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
