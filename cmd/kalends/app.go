package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/kalends/kalends/server"
)

// app is what a command works with.
type app struct {
	ctx      context.Context
	in       *os.File
	out, err io.Writer
	environ  []string
	file     string // of the configuration
}

// config reads the configuration.
func (a *app) config() (server.Config, error) {
	cfg, err := server.LoadConfig(a.file, a.environ)
	if err != nil {
		return cfg, fmt.Errorf("%w; `kalends config check` tests the configuration", err)
	}
	return cfg, nil
}

// logger complains on the standard error; commands tell their results
// themselves, so only what is wrong is logged.
func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// admin runs fn on the configured database.
func (a *app) admin(fn func(*server.Admin) error) error {
	return a.adminBy(server.OpenAdmin, fn)
}

func (a *app) adminBy(open func(context.Context, server.Config, string, *slog.Logger) (*server.Admin, error), fn func(*server.Admin) error) (err error) {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	ad, err := open(a.ctx, cfg, actor(), a.logger())
	if err != nil {
		return err
	}
	defer func() {
		if e := ad.Close(); err == nil {
			err = e
		}
	}()
	return fn(ad)
}

// actor is who the audit trail says it was.
func actor() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "command line, " + u.Username
	}
	return "command line, uid " + strconv.Itoa(os.Getuid())
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// json writes v for programs.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table writes rows in columns.
func (a *app) table(head string, rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, "|", "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// usageError is wrong usage that the grammar cannot tell.
type usageError string

func (e usageError) Error() string   { return string(e) }
func (e usageError) Is(t error) bool { return t == server.ErrUsage }

const maxPassword = 1024

// password gets a password: a line of the standard input when stdin is set,
// else by a prompt, typed twice when it is a new one. ok is false when there
// is neither: no terminal and no flag.
func (a *app) password(stdin bool, prompt string, twice bool) (pw string, ok bool, err error) {
	if stdin {
		line, err := bufio.NewReader(io.LimitReader(a.in, maxPassword+2)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", false, fmt.Errorf("the password cannot be read: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", false, usageError("--password-stdin: the standard input is empty; write the password as its first line")
		}
		return line, true, nil
	}
	if !isTerminal(a.in) {
		return "", false, nil
	}
	if pw, err = a.prompt(prompt); err != nil || !twice || pw == "" {
		return pw, true, err
	}
	again, err := a.prompt("The same again: ")
	if err == nil && again != pw {
		err = usageError("the two passwords differ; nothing was changed")
	}
	return pw, true, err
}

// prompt reads a line without showing it.
func (a *app) prompt(text string) (string, error) {
	fmt.Fprint(a.err, text)
	restore, err := echoOff(a.in)
	if err != nil {
		return "", fmt.Errorf("the terminal shows what is typed: %w; use --password-stdin", err)
	}
	defer fmt.Fprintln(a.err)
	defer restore()
	// Byte by byte: what follows the line is the next prompt's.
	var line []byte
	var b [1]byte
	for len(line) <= maxPassword {
		n, err := a.in.Read(b[:])
		if n == 0 || b[0] == '\n' {
			if err != nil && err != io.EOF {
				return "", err
			}
			break
		}
		line = append(line, b[0])
	}
	return strings.TrimRight(string(line), "\r"), a.ctx.Err()
}

// plural counts things, with the plural of what formed regularly.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if rest, ok := strings.CutSuffix(what, "y"); ok {
		return strconv.Itoa(n) + " " + rest + "ies"
	}
	return strconv.Itoa(n) + " " + what + "s"
}
