package imip

import (
	"io"
	"mime"
	"slices"
	"strings"

	"github.com/emersion/go-message/charset"
	"github.com/kalends/kalends/caldav/calendar"
)

var wordDecoder = &mime.WordDecoder{
	CharsetReader: func(label string, r io.Reader) (io.Reader, error) { return charset.Reader(label, r) },
}

// sameMeaning reports whether two parts carry the same message. Order, folding,
// quoting, the writer's name and a METHOD that only one of them has do not
// count; neither do zone definitions and alarms, which many programs leave out
// of one of the two.
func sameMeaning(a, b *calendar.Object) bool {
	return slices.Equal(meaning(a), meaning(b))
}

func meaning(o *calendar.Object) []string {
	var out []string
	for _, c := range o.Components() {
		lines := make([]string, 0, len(c.Props))
		for _, p := range c.Props {
			lines = append(lines, propertyMeaning(p))
		}
		slices.Sort(lines)
		out = append(out, c.Name+"\n"+strings.Join(lines, "\n"))
	}
	slices.Sort(out)
	return out
}

func propertyMeaning(p *calendar.Property) string {
	var params []string
	for _, q := range p.Params() {
		params = append(params, q.Name+"="+strings.Join(q.Values, "\x00"))
	}
	slices.Sort(params)
	return p.Name() + ";" + strings.Join(params, ";") + ":" + p.Value()
}
