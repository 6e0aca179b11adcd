package web

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The held mails for programs: what the page shows and does, as JSON, by the
// same session. Refusals are {"error": …, "text": …} with the page's status; see
// request.fail.

// heldAnswer is the body of GET /api/held.
type heldAnswer struct {
	Held    []heldItem      `json:"held"`
	Blocked []blockedSender `json:"blocked"`
	More    bool            `json:"more"`
}

func (q *request) heldJSON() error {
	p, err := q.heldPage()
	if err != nil {
		return err
	}
	a := heldAnswer{Held: p.Items, Blocked: p.Blocked, More: p.More}
	if a.Held == nil {
		a.Held = []heldItem{}
	}
	if a.Blocked == nil {
		a.Blocked = []blockedSender{}
	}
	return q.json(http.StatusOK, a)
}

// decideJSON takes {"do": "apply"|"ignore"|"block"} for one held mail.
func (q *request) decideJSON() error {
	var in struct {
		Do string `json:"do"`
	}
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	if err := q.readJSON(&in); err != nil {
		return err
	}
	done, err := q.decide(id, in.Do)
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, map[string]string{"done": done})
}

func (q *request) readJSON(into any) error {
	b, err := io.ReadAll(q.Body)
	if err != nil || json.Unmarshal(b, into) != nil {
		return errBadForm
	}
	return nil
}

func (q *request) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(status)
	_, _ = q.w.Write(append(b, '\n'))
	return nil
}

// program tells whether the answer is for a program.
func (q *request) program() bool { return strings.HasPrefix(q.URL.Path, "/api/") }
