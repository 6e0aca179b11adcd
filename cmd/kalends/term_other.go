//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import (
	"errors"
	"os"
)

func isTerminal(*os.File) bool { return false }

// echoOff has no way to hide a password here: --password-stdin is the way.
func echoOff(*os.File) (func(), error) { return nil, errors.New("not supported on this system") }
